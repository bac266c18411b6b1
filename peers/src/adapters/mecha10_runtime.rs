//! The crate `mecha10-runtime`.

use crate::peer::{CannotRun, Message, Peer, Plan, PlannedChild, Running, Source, Strategy};
use async_trait::async_trait;
use mecha10_runtime::launcher::Launcher;
use mecha10_runtime::{HealthChecker, NodeRunner, RestartPolicy, Runtime};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The time after which the runtime certainly listens for signals.
const LISTENS: Duration = Duration::from_millis(200);

pub(crate) struct Mecha10;

struct Node(PlannedChild);

#[async_trait]
impl NodeRunner for Node {
    fn name(&self) -> &str {
        self.0.name
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        self.0.run_until_dropped().await.map_err(anyhow::Error::msg)
    }

    async fn shutdown(&mut self) -> anyhow::Result<()> {
        self.0.run_cleanup().await.map_err(anyhow::Error::msg)
    }
}

struct RunningNodes {
    ran: JoinHandle<anyhow::Result<()>>,
    health: Arc<HealthChecker>,
    launcher: Option<Arc<Launcher>>,
    later: Option<PlannedChild>,
    answer: Option<Vec<Message>>,
}

#[async_trait]
impl Peer for Mecha10 {
    fn name(&self) -> &'static str {
        "mecha10-runtime"
    }

    fn usage(&self) -> &'static str {
        "`Runtime::run_node` or `run_nodes`, with `RestartPolicy::OnFailure` (`Always` for a permanent child), and \
        the launcher for a child that is added; stopped by SIGTERM to the program, the only way that has a \
        deadline. Building it needs OpenSSL's headers."
    }

    async fn start(&self, plan: Plan) -> Result<Box<dyn Running>, CannotRun> {
        if plan.strategy != Strategy::OneForOne {
            return Err(CannotRun::feature("strategies"));
        }
        let backoff = plan.backoff;
        let policy = if plan.children.iter().any(|child| child.permanent) {
            RestartPolicy::Always { backoff }
        } else {
            RestartPolicy::OnFailure { max_retries: plan.limit as usize, backoff }
        };
        let builder = Runtime::builder().restart_policy(policy).shutdown_timeout(plan.grace);
        let mut runtime = builder.with_launcher(true).build();
        let health = Arc::clone(runtime.health_checker());
        let launcher = runtime.launcher().cloned();
        let node = |child| -> Box<dyn NodeRunner> { Box::new(Node(child)) };
        let name = plan.children.first().map_or("none", |child| child.name);
        let mut nodes: Vec<_> = plan.children.into_iter().map(node).collect();
        let ran = tokio::spawn(async move {
            match (nodes.len(), nodes.pop()) {
                (1, Some(node)) => runtime.run_node(name, node).await,
                (_, last) => runtime.run_nodes(nodes.into_iter().chain(last).collect()).await,
            }
        });
        tokio::time::sleep(LISTENS).await;
        Ok(Box::new(RunningNodes { ran, health, launcher, later: plan.later, answer: None }))
    }
}

impl RunningNodes {
    async fn ended(&mut self) -> Vec<Message> {
        if let Some(messages) = &self.answer {
            return messages.clone();
        }
        let text = match (&mut self.ran).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let messages = text.into_iter().map(|text| Message::new(Source::Answer, text)).collect();
        self.answer.insert(messages).clone()
    }
}

#[async_trait]
impl Running for RunningNodes {
    async fn add(&mut self) -> Result<(), CannotRun> {
        let child = self.later.take().ok_or_else(|| CannotRun::failed("nothing to add"))?;
        let launcher = self.launcher.as_ref().ok_or_else(|| CannotRun::failed("no launcher"))?;
        let name = child.name;
        launcher.register(name.to_owned(), move || Box::new(Node(child.clone()))).await;
        launcher.launch(name).await.map_err(CannotRun::failed)?;
        Ok(())
    }

    async fn messages(&mut self) -> Vec<Message> {
        let health = self.health.check_all().await;
        let state = |(name, health)| Message::new(Source::State, format!("{name}: {health:?}"));
        let mut messages: Vec<Message> = health.into_iter().map(state).collect();
        if self.ran.is_finished() || self.answer.is_some() {
            messages.extend(self.ended().await);
        }
        messages
    }

    async fn stop(&mut self) -> Vec<Message> {
        if !self.ran.is_finished()
            && let Err(error) =
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)
        {
            return vec![Message::new(Source::Answer, error.to_string())];
        }
        self.ended().await
    }

    fn drop_handles(self: Box<Self>) {
        self.ran.abort();
    }
}
