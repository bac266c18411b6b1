//! The crate `mecha10-runtime`.

use crate::peer::{Kid, Lacks, Peer, Place, Plan, Running, Strategy, Told};
use async_trait::async_trait;
use mecha10_runtime::launcher::Launcher;
use mecha10_runtime::{HealthChecker, NodeRunner, RestartPolicy, Runtime};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long it takes until the runtime listens for signals, generously.
const LISTENS: Duration = Duration::from_millis(200);

pub(crate) struct Mecha10;

struct Node(Kid);

#[async_trait]
impl NodeRunner for Node {
    fn name(&self) -> &str {
        self.0.name
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        self.0.run_until_dropped().await.map_err(anyhow::Error::msg)
    }

    async fn shutdown(&mut self) -> anyhow::Result<()> {
        self.0.run_hook().await.map_err(anyhow::Error::msg)
    }
}

struct Alive {
    ran: JoinHandle<anyhow::Result<()>>,
    health: Arc<HealthChecker>,
    launcher: Option<Arc<Launcher>>,
    later: Option<Kid>,
    answer: Option<Vec<Told>>,
}

#[async_trait]
impl Peer for Mecha10 {
    fn name(&self) -> &'static str {
        "mecha10-runtime"
    }

    fn usage(&self) -> &'static str {
        "`Runtime::run_node` or `run_nodes`, with `RestartPolicy::OnFailure` (`Always` for a permanent child), \
        and the launcher for a child that is added. Stopped by SIGTERM to the program, because this way has a \
        deadline. The build needs OpenSSL's headers."
    }

    async fn start(&self, plan: Plan) -> Result<Box<dyn Running>, Lacks> {
        if plan.strategy != Strategy::OneForOne {
            return Err(Lacks::feature("strategies"));
        }
        let backoff = plan.backoff;
        let policy = if plan.kids.iter().any(|kid| kid.permanent) {
            RestartPolicy::Always { backoff }
        } else {
            RestartPolicy::OnFailure { max_retries: plan.limit as usize, backoff }
        };
        let builder = Runtime::builder().restart_policy(policy).shutdown_timeout(plan.grace);
        let mut runtime = builder.with_launcher(true).build();
        let health = Arc::clone(runtime.health_checker());
        let launcher = runtime.launcher().cloned();
        let node = |kid| -> Box<dyn NodeRunner> { Box::new(Node(kid)) };
        let name = plan.kids.first().map_or("none", |kid| kid.name);
        let mut nodes: Vec<_> = plan.kids.into_iter().map(node).collect();
        let ran = tokio::spawn(async move {
            match (nodes.len(), nodes.pop()) {
                (1, Some(node)) => runtime.run_node(name, node).await,
                (_, last) => runtime.run_nodes(nodes.into_iter().chain(last).collect()).await,
            }
        });
        tokio::time::sleep(LISTENS).await;
        Ok(Box::new(Alive { ran, health, launcher, later: plan.later, answer: None }))
    }
}

impl Alive {
    async fn ended(&mut self) -> Vec<Told> {
        if let Some(told) = &self.answer {
            return told.clone();
        }
        let text = match (&mut self.ran).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let told = text.into_iter().map(|text| Told::new(Place::Answer, text)).collect();
        self.answer.insert(told).clone()
    }
}

#[async_trait]
impl Running for Alive {
    async fn add(&mut self) -> Result<(), Lacks> {
        let kid = self.later.take().ok_or_else(|| Lacks::failed("nothing to add"))?;
        let launcher = self.launcher.as_ref().ok_or_else(|| Lacks::failed("no launcher"))?;
        let name = kid.name;
        launcher.register(name.to_owned(), move || Box::new(Node(kid.clone()))).await;
        launcher.launch(name).await.map_err(Lacks::failed)?;
        Ok(())
    }

    async fn told(&mut self) -> Vec<Told> {
        let health = self.health.check_all().await;
        let state = |(name, health)| Told::new(Place::State, format!("{name}: {health:?}"));
        let mut told: Vec<Told> = health.into_iter().map(state).collect();
        if self.ran.is_finished() || self.answer.is_some() {
            told.extend(self.ended().await);
        }
        told
    }

    async fn stop(&mut self) -> Vec<Told> {
        if !self.ran.is_finished()
            && let Err(error) =
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)
        {
            return vec![Told::new(Place::Answer, error.to_string())];
        }
        self.ended().await
    }

    fn let_go(self: Box<Self>) {
        self.ran.abort();
    }
}
