//! The crate `ractor-supervisor`, with `ractor`.

use crate::peer::{ChildForm, Kid, Lacks, Peer, Place, Plan, Running, Strategy, Told};
use async_trait::async_trait;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use ractor_supervisor::{
    ChildBackoffFn, ChildSpec, DynamicSupervisor, DynamicSupervisorMsg, DynamicSupervisorOptions, Restart,
    SpawnFn, Supervisor, SupervisorArguments, SupervisorOptions, SupervisorStrategy,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long restarts are counted.
const WINDOW: Duration = Duration::from_secs(60);

pub(crate) struct Ractor;

/// A child: works on one message until it is done, or rests between messages.
struct Worker;

/// What a worker that rests holds, and what it does at the end.
struct Held {
    kid: Kid,
    resting: Mutex<Option<Work>>,
}

#[ractor::async_trait]
impl Actor for Worker {
    type Msg = ();
    type State = Held;
    type Arguments = Kid;

    async fn pre_start(&self, myself: ActorRef<()>, kid: Kid) -> Result<Held, ActorProcessingErr> {
        let resting = kid.rests.then(|| kid.run_until_dropped());
        if resting.is_none() {
            myself.cast(())?;
        }
        Ok(Held { kid, resting: Mutex::new(resting) })
    }

    async fn handle(&self, myself: ActorRef<()>, (): (), held: &mut Held) -> Result<(), ActorProcessingErr> {
        held.kid.run_until_dropped().await?;
        myself.stop(None);
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<()>, held: &mut Held) -> Result<(), ActorProcessingErr> {
        held.resting.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(held.kid.run_hook().await?)
    }
}

/// The parent of the supervisor, which is told how that ends.
struct Parent(Arc<Mutex<Vec<Told>>>);

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
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Told::new(Place::Event, text));
        Ok(())
    }
}

fn name(cell: &ActorCell) -> String {
    cell.get_name().unwrap_or_default()
}

async fn spawn(supervisor: ActorCell, id: String, kid: Kid) -> Result<ActorCell, SpawnErr> {
    let (child, _) = Supervisor::spawn_linked(id, Worker, kid, supervisor).await?;
    Ok(child.get_cell())
}

fn spec(kid: Kid, backoff: Duration) -> ChildSpec {
    ChildSpec {
        id: kid.name.to_owned(),
        restart: if kid.permanent { Restart::Permanent } else { Restart::Transient },
        spawn_fn: SpawnFn::new(move |supervisor, id| spawn(supervisor, id, kid.clone())),
        backoff_fn: Some(ChildBackoffFn::new(move |_, _, _, _| Some(backoff))),
        reset_after: None,
    }
}

struct Alive {
    supervisor: ActorCell,
    dynamic: Option<ActorRef<DynamicSupervisorMsg>>,
    later: Option<ChildSpec>,
    grace: Duration,
    events: Arc<Mutex<Vec<Told>>>,
}

#[async_trait]
impl Peer for Ractor {
    fn name(&self) -> &'static str {
        "ractor-supervisor"
    }

    fn usage(&self) -> &'static str {
        "`Supervisor`, and `DynamicSupervisor` for a child that is added. The actors work in a message handler \
        and clean up in `post_stop`. There is a `backoff_fn` and a parent actor that listens. Stopped by \
        `stop_children_and_wait`, then `stop_and_wait`, of the supervisor's actor."
    }

    async fn start(&self, plan: Plan) -> Result<Box<dyn Running>, Lacks> {
        let events = Arc::new(Mutex::new(Vec::new()));
        let parent = Actor::spawn(Some("parent".to_owned()), Parent(Arc::clone(&events)), ());
        let parent = parent.await.map_err(Lacks::failed)?.0.get_cell();
        let id = "supervisor".to_owned();
        let max_restarts = plan.limit as usize;
        let later = plan.later.map(|kid| spec(kid, plan.backoff));
        if later.is_some() {
            let options = DynamicSupervisorOptions {
                max_children: None,
                max_restarts,
                max_window: WINDOW,
                reset_after: None,
            };
            let spawned = DynamicSupervisor::spawn_linked(id, DynamicSupervisor, options, parent).await;
            let (dynamic, _) = spawned.map_err(Lacks::failed)?;
            for kid in plan.kids {
                let child = DynamicSupervisor::spawn_child(dynamic.clone(), spec(kid, plan.backoff));
                child.await.map_err(Lacks::failed)?;
            }
            let supervisor = dynamic.get_cell();
            return Ok(Box::new(Alive {
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
        let child_specs = plan.kids.into_iter().map(|kid| spec(kid, plan.backoff)).collect();
        let arguments = SupervisorArguments { child_specs, options };
        let spawned = Supervisor::spawn_linked(id, Supervisor, arguments, parent).await;
        let (supervisor, _) = spawned.map_err(Lacks::failed)?;
        Ok(Box::new(Alive {
            supervisor: supervisor.get_cell(),
            dynamic: None,
            later,
            grace: plan.grace,
            events,
        }))
    }
}

#[async_trait]
impl Running for Alive {
    async fn add(&mut self) -> Result<(), Lacks> {
        let (Some(dynamic), Some(spec)) = (self.dynamic.clone(), self.later.take()) else {
            return Err(Lacks::failed("nothing to add"));
        };
        DynamicSupervisor::spawn_child(dynamic, spec).await.map_err(Lacks::failed)
    }

    async fn told(&mut self) -> Vec<Told> {
        let state =
            |cell: &ActorCell| Told::new(Place::State, format!("{}: {:?}", name(cell), cell.get_status()));
        let mut told: Vec<Told> = self.supervisor.get_children().iter().map(state).collect();
        told.push(state(&self.supervisor));
        told.extend(self.events.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        told
    }

    async fn stop(&mut self) -> Vec<Told> {
        self.supervisor.stop_children_and_wait(None, Some(self.grace)).await;
        match self.supervisor.stop_and_wait(None, Some(self.grace)).await {
            Ok(()) => vec![],
            Err(error) => vec![Told::new(Place::Answer, error.to_string())],
        }
    }

    fn let_go(self: Box<Self>) {}
}
