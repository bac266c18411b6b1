//! The crate `task-supervisor`.

use crate::peer::{Kid, Lacks, Peer, Place, Plan, Running, Strategy, Told};
use async_trait::async_trait;
use std::time::Duration;
use task_supervisor::{CancellationToken, SupervisedTask, SupervisorBuilder, SupervisorHandle, TaskResult};

pub(crate) struct Tasks;

#[derive(Clone)]
struct Task(Kid);

impl SupervisedTask for Task {
    async fn run(self, cancel: CancellationToken) -> TaskResult {
        self.0.run(Box::pin(cancel.cancelled_owned())).await.map_err(Into::into)
    }
}

struct Alive {
    handle: SupervisorHandle,
    later: Option<Kid>,
}

#[async_trait]
impl Peer for Tasks {
    fn name(&self) -> &'static str {
        "task-supervisor"
    }

    fn usage(&self) -> &'static str {
        "`SupervisorBuilder` with its limit, delays and `with_stop_timeout`. Stopped by \
        `SupervisorHandle::shutdown`. `with_dead_tasks_threshold`, which ends the supervisor when a share of its \
        tasks is dead, is not used."
    }

    async fn start(&self, plan: Plan) -> Result<Box<dyn Running>, Lacks> {
        if plan.strategy != Strategy::OneForOne {
            return Err(Lacks::feature("strategies"));
        }
        let builder = SupervisorBuilder::new()
            .with_restart_limit(plan.limit, Duration::from_secs(60))
            .with_base_restart_delay(plan.backoff)
            .with_max_restart_delay(plan.backoff * 10)
            .with_stop_timeout(plan.grace);
        let with_kid = |builder: SupervisorBuilder, kid: Kid| builder.with_task(kid.name, Task(kid));
        let handle = plan.kids.into_iter().fold(builder, with_kid).spawn();
        Ok(Box::new(Alive { handle, later: plan.later }))
    }
}

#[async_trait]
impl Running for Alive {
    async fn add(&mut self) -> Result<(), Lacks> {
        let kid = self.later.take().ok_or_else(|| Lacks::failed("nothing to add"))?;
        self.handle.add_task(kid.name, Task(kid)).await.map_err(Lacks::failed)
    }

    async fn told(&mut self) -> Vec<Told> {
        match self.handle.task_statuses().await {
            Ok(statuses) => {
                let state = |(name, status)| Told::new(Place::State, format!("{name}: {status}"));
                statuses.into_iter().map(state).collect()
            }
            Err(closed) => vec![Told::new(Place::Answer, closed.to_string())],
        }
    }

    async fn stop(&mut self) -> Vec<Told> {
        match self.handle.shutdown().await {
            Ok(()) => vec![],
            Err(error) => vec![Told::new(Place::Answer, error.to_string())],
        }
    }

    fn let_go(self: Box<Self>) {}
}
