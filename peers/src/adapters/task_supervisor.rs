//! The crate `task-supervisor`.

use crate::peer::{CannotRun, Message, Peer, Plan, PlannedChild, Running, Source, Strategy};
use async_trait::async_trait;
use std::time::Duration;
use task_supervisor::{CancellationToken, SupervisedTask, SupervisorBuilder, SupervisorHandle, TaskResult};

pub(crate) struct TaskSupervisor;

#[derive(Clone)]
struct PlannedTask(PlannedChild);

impl SupervisedTask for PlannedTask {
    async fn run(self, cancel: CancellationToken) -> TaskResult {
        self.0.run(Box::pin(cancel.cancelled_owned())).await.map_err(Into::into)
    }
}

struct RunningTasks {
    handle: SupervisorHandle,
    later: Option<PlannedChild>,
}

#[async_trait]
impl Peer for TaskSupervisor {
    fn name(&self) -> &'static str {
        "task-supervisor"
    }

    fn usage(&self) -> &'static str {
        "`SupervisorBuilder` with its limit, delays and `with_stop_timeout`; stopped by \
        `SupervisorHandle::shutdown`. `with_dead_tasks_threshold` is not used; it would end the supervisor when a \
        share of its tasks has exceeded the limit."
    }

    async fn start(&self, plan: Plan) -> Result<Box<dyn Running>, CannotRun> {
        if plan.strategy != Strategy::OneForOne {
            return Err(CannotRun::feature("strategies"));
        }
        let builder = SupervisorBuilder::new()
            .with_restart_limit(plan.limit, Duration::from_secs(60))
            .with_base_restart_delay(plan.backoff)
            .with_max_restart_delay(plan.backoff * 10)
            .with_stop_timeout(plan.grace);
        let with_child = |builder: SupervisorBuilder, child: PlannedChild| {
            builder.with_task(child.name, PlannedTask(child))
        };
        let handle = plan.children.into_iter().fold(builder, with_child).spawn();
        Ok(Box::new(RunningTasks { handle, later: plan.later }))
    }
}

#[async_trait]
impl Running for RunningTasks {
    async fn add(&mut self) -> Result<(), CannotRun> {
        let child = self.later.take().ok_or_else(|| CannotRun::failed("nothing to add"))?;
        self.handle.add_task(child.name, PlannedTask(child)).await.map_err(CannotRun::failed)
    }

    async fn messages(&mut self) -> Vec<Message> {
        match self.handle.task_statuses().await {
            Ok(statuses) => {
                let state = |(name, status)| Message::new(Source::State, format!("{name}: {status}"));
                statuses.into_iter().map(state).collect()
            }
            Err(closed) => vec![Message::new(Source::Answer, closed.to_string())],
        }
    }

    async fn stop(&mut self) -> Vec<Message> {
        match self.handle.shutdown().await {
            Ok(()) => vec![],
            Err(error) => vec![Message::new(Source::Answer, error.to_string())],
        }
    }

    fn drop_handles(self: Box<Self>) {}
}
