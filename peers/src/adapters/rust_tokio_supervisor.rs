//! The crate `rust-tokio-supervisor`.

use crate::peer::{CannotRun, Message, Peer, Plan, PlannedChild, Running, Source, Strategy};
use async_trait::async_trait;
use rust_supervisor::control::command::CommandResult;
use rust_supervisor::control::handle::SupervisorHandle;
use rust_supervisor::error::types::{SupervisorError, TaskFailure, TaskFailureKind};
use rust_supervisor::event::payload::What;
use rust_supervisor::id::types::{ChildId, SupervisorPath};
use rust_supervisor::observe::pipeline::PipelineStage;
use rust_supervisor::policy::budget::RestartBudgetConfig;
use rust_supervisor::policy::meltdown::MeltdownPolicy;
use rust_supervisor::runtime::supervisor::Supervisor;
use rust_supervisor::spec::child::{BackoffPolicy, ChildSpec, RestartPolicy, TaskKind};
use rust_supervisor::spec::child_builder::ChildSpecBuilder;
use rust_supervisor::spec::shutdown::{ShutdownBudget, TreeShutdownPolicy};
use rust_supervisor::spec::supervisor::{
    ChildStrategyOverride, RestartLimit, SupervisionStrategy, SupervisorSpec,
};
use rust_supervisor::spec::supervisor_builder::SupervisorSpecBuilder;
use rust_supervisor::task::factory::{TaskFactory, TaskResult, service_fn};
use rust_supervisor::task::factory_registry::{TaskFactoryDescriptor, TaskFactoryRegistry};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// The period in which failures are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// The limit for all other protections of that crate. It is never reached here.
const PLENTY: u32 = 1_000_000;

pub(crate) struct RustTokio;

struct RunningSupervisor {
    handle: SupervisorHandle,
    events: broadcast::Receiver<String>,
    heard: Vec<Message>,
    later: Option<&'static str>,
}

fn factory(child: PlannedChild) -> Arc<dyn TaskFactory> {
    Arc::new(service_fn(move |ctx| {
        let child = child.clone();
        async move {
            let asked = ctx.cancellation_token();
            match child.run(Box::pin(asked.clone().cancelled_owned())).await {
                Ok(()) if asked.is_cancelled() => TaskResult::Cancelled,
                Ok(()) => TaskResult::Succeeded,
                Err(message) => TaskResult::Failed(TaskFailure::new(TaskFailureKind::Error, "work", message)),
            }
        }
    }))
}

fn child_spec(child: PlannedChild, plan: &Plan) -> Result<ChildSpec, SupervisorError> {
    let (id, name, permanent) = (ChildId::new(child.name), child.name, child.permanent);
    let factory = factory(child);
    let builder = if permanent {
        // Only its role `service` is restarted after a success.
        ChildSpecBuilder::service(id, name, TaskKind::AsyncWorker, factory)
            .restart_policy(RestartPolicy::Permanent)
    } else {
        ChildSpecBuilder::worker(id, name, TaskKind::AsyncWorker, factory)
            .restart_policy(RestartPolicy::Transient)
    };
    builder.backoff_policy(BackoffPolicy::new(plan.backoff, plan.backoff * 10, 0.0)).build()
}

fn budget(plan: &Plan) -> ShutdownBudget {
    ShutdownBudget::new(plan.grace, Duration::from_millis(200))
}

fn supervisor(plan: &Plan) -> Result<SupervisorSpec, SupervisorError> {
    let children: Result<Vec<ChildSpec>, _> =
        plan.children.iter().map(|child| child_spec(child.clone(), plan)).collect();
    let strategy = match plan.strategy {
        Strategy::OneForOne => SupervisionStrategy::OneForOne,
        Strategy::OneForAll => SupervisionStrategy::OneForAll,
        Strategy::RestForOne => SupervisionStrategy::RestForOne,
    };
    let limits = plan.children.iter().map(|child| {
        let limit = Some(RestartLimit::new(plan.limit, WINDOW));
        ChildStrategyOverride {
            restart_limit: limit,
            ..ChildStrategyOverride::new(ChildId::new(child.name), strategy)
        }
    });
    let limits = limits.collect();
    let builder = SupervisorSpecBuilder::root(children?)
        .strategy(strategy)
        .child_strategy_overrides(limits)
        .tree_shutdown(TreeShutdownPolicy {
            max_orphan_threshold: PLENTY,
            ..TreeShutdownPolicy::with_budget(budget(plan))
        });
    let mut spec = if plan.children.iter().any(|child| child.permanent) {
        builder.build()?
    } else {
        let meltdown = MeltdownPolicy::new(PLENTY, WINDOW, PLENTY, WINDOW, PLENTY, WINDOW, WINDOW);
        let budget = RestartBudgetConfig::new(WINDOW, PLENTY, 1000.0);
        builder.meltdown_policy(meltdown).restart_budget_config(budget).build()?
    };
    spec.propagate_tree_shutdown_budget();
    Ok(spec)
}

#[async_trait]
impl Peer for RustTokio {
    fn name(&self) -> &'static str {
        "rust-tokio-supervisor"
    }

    fn usage(&self) -> &'static str {
        "`SupervisorSpecBuilder` with workers and a `RestartLimit` for each child. Its other protections (meltdown, \
        restart budget, lost children) are set so high that they never act; one protection cannot be changed: \
        three failures of any children within ten seconds count as a hot loop. Where a success is to be \
        restarted, a service with the default limits is used. Its default feature is off, because with it the \
        crate does not compile for release. Stopped by `SupervisorHandle::shutdown_tree`."
    }

    async fn start(&self, plan: Plan) -> Result<Box<dyn Running>, CannotRun> {
        let spec = supervisor(&plan).map_err(CannotRun::failed)?;
        let mut registry = TaskFactoryRegistry::new();
        let later = plan.later.as_ref().map(|child| child.name);
        if let Some(child) = plan.later {
            let name = child.name;
            let entry = TaskFactoryDescriptor::new(name, name, name, [TaskKind::AsyncWorker], factory(child));
            registry.register(entry).map_err(CannotRun::failed)?;
        }
        let handle =
            Supervisor::start_with_factory_registry(spec, registry).await.map_err(CannotRun::failed)?;
        let events = handle.subscribe_events();
        Ok(Box::new(RunningSupervisor { handle, events, heard: vec![], later }))
    }
}

impl RunningSupervisor {
    fn hear(&mut self) {
        loop {
            match self.events.try_recv() {
                Ok(text) => self.heard.push(Message::new(Source::Event, text)),
                Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(_) => return,
            }
        }
    }
}

#[async_trait]
impl Running for RunningSupervisor {
    async fn add(&mut self) -> Result<(), CannotRun> {
        let name = self.later.take().ok_or_else(|| CannotRun::failed("nothing to add"))?;
        let manifest = format!("name: {name}\nkind: async_worker\nfactory_key: {name}\n");
        let added =
            self.handle.add_child(SupervisorPath::root(), manifest, "comparison", "added at run time");
        added.await.map_err(CannotRun::failed)?;
        Ok(())
    }

    async fn messages(&mut self) -> Vec<Message> {
        self.hear();
        let mut messages = self.heard.clone();
        let recorder = self.handle.observability_recorder();
        messages.extend(recorder.events.iter().filter_map(|event| {
            let what = &event.what;
            let tells = matches!(
                what,
                What::ChildFailed { .. }
                    | What::ChildPanicked { .. }
                    | What::ChildQuarantined { .. }
                    | What::ChildStopped { .. }
                    | What::Meltdown { .. }
            );
            tells.then(|| Message::new(Source::Event, format!("{:?}: {what:?}", event.r#where)))
        }));
        let steps = recorder.pipeline_stage_diagnostics.iter();
        messages.extend(steps.filter(|step| step.stage == PipelineStage::ExecuteAction).map(|step| {
            let word = |word: &Option<String>| word.clone().unwrap_or_default();
            let (child, exit, action) =
                (word(&step.child_id), word(&step.exit_classification), word(&step.decided_action));
            Message::new(Source::Event, format!("{child}: {exit}, {action}"))
        }));
        match self.handle.current_state().await {
            Ok(CommandResult::CurrentState { state }) => {
                let record = |record: &rust_supervisor::control::outcome::ChildRuntimeRecord| {
                    let limit = &record.restart_limit;
                    let text = format!(
                        "{}: {:?}, {:?}, {} of {} restarts used",
                        record.child_id, record.operation, record.status, limit.used, limit.limit
                    );
                    Message::new(Source::State, text)
                };
                messages.extend(state.child_runtime_records.iter().map(record));
            }
            Ok(other) => messages.push(Message::new(Source::State, format!("{other:?}"))),
            Err(error) => messages.push(Message::new(Source::State, error.to_string())),
        }
        messages
    }

    async fn stop(&mut self) -> Vec<Message> {
        match self.handle.shutdown_tree("comparison", "the end").await {
            Ok(CommandResult::Shutdown { result }) => {
                let outcomes = result.report.map(|report| report.outcomes).unwrap_or_default();
                let entry = |outcome: &rust_supervisor::shutdown::report::ChildShutdownOutcome| {
                    Message::new(Source::Answer, format!("{}: {:?}", outcome.child_id, outcome.status))
                };
                outcomes.iter().map(entry).collect()
            }
            Ok(other) => vec![Message::new(Source::Answer, format!("{other:?}"))],
            Err(error) => vec![Message::new(Source::Answer, error.to_string())],
        }
    }

    fn drop_handles(self: Box<Self>) {}
}
