//! The crate `rust-tokio-supervisor`.

use crate::peer::{Kid, Lacks, Peer, Place, Plan, Running, Strategy, Told};
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

/// How long failures are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// How often all other protections, which count beside the limit, let something fail: more often than happens here.
const PLENTY: u32 = 1_000_000;

pub(crate) struct RustTokio;

struct Alive {
    handle: SupervisorHandle,
    events: broadcast::Receiver<String>,
    heard: Vec<Told>,
    later: Option<&'static str>,
}

fn factory(kid: Kid) -> Arc<dyn TaskFactory> {
    Arc::new(service_fn(move |ctx| {
        let kid = kid.clone();
        async move {
            let asked = ctx.cancellation_token();
            match kid.run(Box::pin(asked.clone().cancelled_owned())).await {
                Ok(()) if asked.is_cancelled() => TaskResult::Cancelled,
                Ok(()) => TaskResult::Succeeded,
                Err(message) => TaskResult::Failed(TaskFailure::new(TaskFailureKind::Error, "work", message)),
            }
        }
    }))
}

fn child(kid: Kid, plan: &Plan) -> Result<ChildSpec, SupervisorError> {
    let (id, name, permanent) = (ChildId::new(kid.name), kid.name, kid.permanent);
    let factory = factory(kid);
    let builder = if permanent {
        // The role that is restarted when it succeeds.
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
    let kids: Result<Vec<ChildSpec>, _> = plan.kids.iter().map(|kid| child(kid.clone(), plan)).collect();
    let strategy = match plan.strategy {
        Strategy::OneForOne => SupervisionStrategy::OneForOne,
        Strategy::OneForAll => SupervisionStrategy::OneForAll,
        Strategy::RestForOne => SupervisionStrategy::RestForOne,
    };
    let limits = plan.kids.iter().map(|kid| {
        let limit = Some(RestartLimit::new(plan.limit, WINDOW));
        ChildStrategyOverride {
            restart_limit: limit,
            ..ChildStrategyOverride::new(ChildId::new(kid.name), strategy)
        }
    });
    let limits = limits.collect();
    let builder = SupervisorSpecBuilder::root(kids?)
        .strategy(strategy)
        .child_strategy_overrides(limits)
        .tree_shutdown(TreeShutdownPolicy {
            max_orphan_threshold: PLENTY,
            ..TreeShutdownPolicy::with_budget(budget(plan))
        });
    let mut spec = if plan.kids.iter().any(|kid| kid.permanent) {
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
        "`SupervisorSpecBuilder` with workers and a `RestartLimit` for each child. Meltdown, budget, and the \
        number of lost children that ends the process are set so high that they do not act. Three failures of \
        any children within ten seconds always count as a hot loop. Where a success is to be restarted, the \
        child is a service and these limits have their defaults. The default feature is off, because the release \
        build fails with it. Stopped by `SupervisorHandle::shutdown_tree`."
    }

    async fn start(&self, plan: Plan) -> Result<Box<dyn Running>, Lacks> {
        let spec = supervisor(&plan).map_err(Lacks::failed)?;
        let mut registry = TaskFactoryRegistry::new();
        let later = plan.later.as_ref().map(|kid| kid.name);
        if let Some(kid) = plan.later {
            let name = kid.name;
            let entry = TaskFactoryDescriptor::new(name, name, name, [TaskKind::AsyncWorker], factory(kid));
            registry.register(entry).map_err(Lacks::failed)?;
        }
        let handle = Supervisor::start_with_factory_registry(spec, registry).await.map_err(Lacks::failed)?;
        let events = handle.subscribe_events();
        Ok(Box::new(Alive { handle, events, heard: vec![], later }))
    }
}

impl Alive {
    fn hear(&mut self) {
        loop {
            match self.events.try_recv() {
                Ok(text) => self.heard.push(Told::new(Place::Event, text)),
                Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(_) => return,
            }
        }
    }
}

#[async_trait]
impl Running for Alive {
    async fn add(&mut self) -> Result<(), Lacks> {
        let name = self.later.take().ok_or_else(|| Lacks::failed("nothing to add"))?;
        let manifest = format!("name: {name}\nkind: async_worker\nfactory_key: {name}\n");
        let added =
            self.handle.add_child(SupervisorPath::root(), manifest, "comparison", "added at run time");
        added.await.map_err(Lacks::failed)?;
        Ok(())
    }

    async fn told(&mut self) -> Vec<Told> {
        self.hear();
        let mut told = self.heard.clone();
        let recorder = self.handle.observability_recorder();
        told.extend(recorder.events.iter().filter_map(|event| {
            let what = &event.what;
            let tells = matches!(
                what,
                What::ChildFailed { .. }
                    | What::ChildPanicked { .. }
                    | What::ChildQuarantined { .. }
                    | What::ChildStopped { .. }
                    | What::Meltdown { .. }
            );
            tells.then(|| Told::new(Place::Event, format!("{:?}: {what:?}", event.r#where)))
        }));
        let steps = recorder.pipeline_stage_diagnostics.iter();
        told.extend(steps.filter(|step| step.stage == PipelineStage::ExecuteAction).map(|step| {
            let word = |word: &Option<String>| word.clone().unwrap_or_default();
            let (child, exit, action) =
                (word(&step.child_id), word(&step.exit_classification), word(&step.decided_action));
            Told::new(Place::Event, format!("{child}: {exit}, {action}"))
        }));
        match self.handle.current_state().await {
            Ok(CommandResult::CurrentState { state }) => {
                let record = |record: &rust_supervisor::control::outcome::ChildRuntimeRecord| {
                    let limit = &record.restart_limit;
                    let text = format!(
                        "{}: {:?}, {:?}, {} of {} restarts used",
                        record.child_id, record.operation, record.status, limit.used, limit.limit
                    );
                    Told::new(Place::State, text)
                };
                told.extend(state.child_runtime_records.iter().map(record));
            }
            Ok(other) => told.push(Told::new(Place::State, format!("{other:?}"))),
            Err(error) => told.push(Told::new(Place::State, error.to_string())),
        }
        told
    }

    async fn stop(&mut self) -> Vec<Told> {
        match self.handle.shutdown_tree("comparison", "the end").await {
            Ok(CommandResult::Shutdown { result }) => {
                let outcomes = result.report.map(|report| report.outcomes).unwrap_or_default();
                let entry = |outcome: &rust_supervisor::shutdown::report::ChildShutdownOutcome| {
                    Told::new(Place::Answer, format!("{}: {:?}", outcome.child_id, outcome.status))
                };
                outcomes.iter().map(entry).collect()
            }
            Ok(other) => vec![Told::new(Place::Answer, format!("{other:?}"))],
            Err(error) => vec![Told::new(Place::Answer, error.to_string())],
        }
    }

    fn let_go(self: Box<Self>) {}
}
