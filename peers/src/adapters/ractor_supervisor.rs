//! The crate `ractor-supervisor`, with `ractor`.

use crate::peer::{CannotRun, ChildFuture, Message, Peer, Plan, PlannedChild, Running, Source, Strategy};
use async_trait::async_trait;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use ractor_supervisor::{
    ChildBackoffFn, ChildSpec, DynamicSupervisor, DynamicSupervisorMsg, DynamicSupervisorOptions, Restart,
    SpawnFn, Supervisor, SupervisorArguments, SupervisorOptions, SupervisorStrategy,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The period in which restarts are counted.
const WINDOW: Duration = Duration::from_secs(60);

pub(crate) struct Ractor;

/// The actor of a child. It works inside its message handler, or, if it only waits, between messages.
struct Worker;

/// The state of a worker: its plan, and its work if that only waits.
struct WorkerState {
    child: PlannedChild,
    waiting: Mutex<Option<ChildFuture>>,
}

#[ractor::async_trait]
impl Actor for Worker {
    type Msg = ();
    type State = WorkerState;
    type Arguments = PlannedChild;

    async fn pre_start(
        &self,
        myself: ActorRef<()>,
        child: PlannedChild,
    ) -> Result<WorkerState, ActorProcessingErr> {
        let waiting = child.waits_only.then(|| child.run_until_dropped());
        if waiting.is_none() {
            myself.cast(())?;
        }
        Ok(WorkerState { child, waiting: Mutex::new(waiting) })
    }

    async fn handle(
        &self,
        myself: ActorRef<()>,
        (): (),
        held: &mut WorkerState,
    ) -> Result<(), ActorProcessingErr> {
        held.child.run_until_dropped().await?;
        myself.stop(None);
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<()>, held: &mut WorkerState) -> Result<(), ActorProcessingErr> {
        held.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(held.child.run_cleanup().await?)
    }
}

/// The parent actor of the supervisor. It records how its children end.
struct Parent(Arc<Mutex<Vec<Message>>>);

#[ractor::async_trait]
impl Actor for Parent {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let text = match event {
            SupervisionEvent::ActorFailed(who, why) => format!("{}: failed: {why}", name(&who)),
            SupervisionEvent::ActorTerminated(who, _, _) => format!("{}: terminated", name(&who)),
            _ => return Ok(()),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Message::new(Source::Event, text));
        Ok(())
    }
}

fn name(cell: &ActorCell) -> String {
    cell.get_name().unwrap_or_default()
}

async fn spawn(supervisor: ActorCell, id: String, child: PlannedChild) -> Result<ActorCell, SpawnErr> {
    let (child, _) = Supervisor::spawn_linked(id, Worker, child, supervisor).await?;
    Ok(child.get_cell())
}

fn spec(child: PlannedChild, backoff: Duration) -> ChildSpec {
    ChildSpec {
        id: child.name.to_owned(),
        restart: if child.permanent { Restart::Permanent } else { Restart::Transient },
        spawn_fn: SpawnFn::new(move |supervisor, id| spawn(supervisor, id, child.clone())),
        backoff_fn: Some(ChildBackoffFn::new(move |_, _, _, _| Some(backoff))),
        reset_after: None,
    }
}

struct RunningActors {
    supervisor: ActorCell,
    dynamic: Option<ActorRef<DynamicSupervisorMsg>>,
    later: Option<ChildSpec>,
    grace: Duration,
    events: Arc<Mutex<Vec<Message>>>,
}

#[async_trait]
impl Peer for Ractor {
    fn name(&self) -> &'static str {
        "ractor-supervisor"
    }

    fn usage(&self) -> &'static str {
        "`Supervisor` (for a child that is added, `DynamicSupervisor`) with actors that do their work in a message \
        handler and clean up in `post_stop`, a `backoff_fn`, and a parent actor that listens; stopped by \
        `stop_children_and_wait`, then `stop_and_wait`, of the supervisor's actor."
    }

    async fn start(&self, plan: Plan) -> Result<Box<dyn Running>, CannotRun> {
        let events = Arc::new(Mutex::new(Vec::new()));
        let parent = Actor::spawn(Some("parent".to_owned()), Parent(Arc::clone(&events)), ());
        let parent = parent.await.map_err(CannotRun::failed)?.0.get_cell();
        let id = "supervisor".to_owned();
        let max_restarts = plan.limit as usize;
        let later = plan.later.map(|child| spec(child, plan.backoff));
        if later.is_some() {
            let options = DynamicSupervisorOptions {
                max_children: None,
                max_restarts,
                max_window: WINDOW,
                reset_after: None,
            };
            let spawned = DynamicSupervisor::spawn_linked(id, DynamicSupervisor, options, parent).await;
            let (dynamic, _) = spawned.map_err(CannotRun::failed)?;
            for child in plan.children {
                let child = DynamicSupervisor::spawn_child(dynamic.clone(), spec(child, plan.backoff));
                child.await.map_err(CannotRun::failed)?;
            }
            let supervisor = dynamic.get_cell();
            return Ok(Box::new(RunningActors {
                supervisor,
                dynamic: Some(dynamic),
                later,
                grace: plan.grace,
                events,
            }));
        }
        let strategy = match plan.strategy {
            Strategy::OneForOne => SupervisorStrategy::OneForOne,
            Strategy::OneForAll => SupervisorStrategy::OneForAll,
            Strategy::RestForOne => SupervisorStrategy::RestForOne,
        };
        let options = SupervisorOptions { strategy, max_restarts, max_window: WINDOW, reset_after: None };
        let child_specs = plan.children.into_iter().map(|child| spec(child, plan.backoff)).collect();
        let arguments = SupervisorArguments { child_specs, options };
        let spawned = Supervisor::spawn_linked(id, Supervisor, arguments, parent).await;
        let (supervisor, _) = spawned.map_err(CannotRun::failed)?;
        Ok(Box::new(RunningActors {
            supervisor: supervisor.get_cell(),
            dynamic: None,
            later,
            grace: plan.grace,
            events,
        }))
    }
}

#[async_trait]
impl Running for RunningActors {
    async fn add(&mut self) -> Result<(), CannotRun> {
        let (Some(dynamic), Some(spec)) = (self.dynamic.clone(), self.later.take()) else {
            return Err(CannotRun::failed("nothing to add"));
        };
        DynamicSupervisor::spawn_child(dynamic, spec).await.map_err(CannotRun::failed)
    }

    async fn messages(&mut self) -> Vec<Message> {
        let state = |cell: &ActorCell| {
            Message::new(Source::State, format!("{}: {:?}", name(cell), cell.get_status()))
        };
        let mut messages: Vec<Message> = self.supervisor.get_children().iter().map(state).collect();
        messages.push(state(&self.supervisor));
        messages.extend(self.events.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        messages
    }

    async fn stop(&mut self) -> Vec<Message> {
        self.supervisor.stop_children_and_wait(None, Some(self.grace)).await;
        match self.supervisor.stop_and_wait(None, Some(self.grace)).await {
            Ok(()) => vec![],
            Err(error) => vec![Message::new(Source::Answer, error.to_string())],
        }
    }

    fn drop_handles(self: Box<Self>) {}
}
