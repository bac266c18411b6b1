//! The crate `tokio-graceful-shutdown`.

use crate::peer::{CannotRun, Message, Peer, Plan, PlannedChild, Running, Source, Strategy};
use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_graceful_shutdown::{NestedSubsystem, SubsystemBuilder, SubsystemHandle, Toplevel};
use tokio_util::sync::CancellationToken;

pub(crate) struct Subsystems;

struct RunningSubsystems {
    asked: CancellationToken,
    ran: JoinHandle<Vec<Message>>,
    adding: mpsc::Sender<PlannedChild>,
    later: Option<PlannedChild>,
    messages: Option<Vec<Message>>,
}

/// Starts a child that only the code of its parent stops.
fn start(parent: &SubsystemHandle, child: PlannedChild) -> NestedSubsystem {
    let name = child.name;
    let body = async move |subsystem: &mut SubsystemHandle| {
        let asked = subsystem.create_cancellation_token();
        child.run(Box::pin(asked.cancelled_owned())).await
    };
    parent.start(SubsystemBuilder::new(name, body).detached())
}

/// Stops the children one after the other, in reverse order.
async fn stop_in_reverse(children: Vec<NestedSubsystem>) {
    for child in children.into_iter().rev() {
        child.initiate_shutdown();
        // The error is also part of the error that the top level returns.
        let _ = child.join().await;
    }
}

#[async_trait]
impl Peer for Subsystems {
    fn name(&self) -> &'static str {
        "tokio-graceful-shutdown"
    }

    fn usage(&self) -> &'static str {
        "`Toplevel::new_with_shutdown_token`, run by `handle_shutdown_requests`; one `detached` subsystem for each \
        child. Code in their parent stops the children in reverse order, as in the crate's example of an orchestrated \
        shutdown. Without that code they stop all at once. Stopped by cancelling that token. It is made for stopping, \
        and its documentation says that restarts are not its task."
    }

    async fn start(&self, plan: Plan) -> Result<Box<dyn Running>, CannotRun> {
        if plan.strategy != Strategy::OneForOne {
            return Err(CannotRun::feature("strategies"));
        }
        if plan.restarts {
            return Err(CannotRun::feature("restarts"));
        }
        let (adding, mut added) = mpsc::channel::<PlannedChild>(1);
        let asked = CancellationToken::new();
        let children = plan.children;
        let root = async move |root: &mut SubsystemHandle| {
            let mut started: Vec<_> = children.into_iter().map(|child| start(root, child)).collect();
            loop {
                tokio::select! {
                    () = root.on_shutdown_requested() => break,
                    Some(child) = added.recv() => started.push(start(root, child)),
                    else => break,
                }
            }
            stop_in_reverse(started).await;
        };
        let top: Toplevel = Toplevel::new_with_shutdown_token(root, asked.clone());
        let ran = tokio::spawn(async move {
            let Err(error) = top.handle_shutdown_requests(plan.grace).await else { return vec![] };
            let whole = Message::new(Source::Answer, error.to_string());
            let parts = error.get_subsystem_errors().iter();
            let parts = parts.map(|part| Message::new(Source::Answer, part.to_string()));
            std::iter::once(whole).chain(parts).collect()
        });
        Ok(Box::new(RunningSubsystems { asked, ran, adding, later: plan.later, messages: None }))
    }
}

impl RunningSubsystems {
    async fn ended(&mut self) -> Vec<Message> {
        if let Some(messages) = &self.messages {
            return messages.clone();
        }
        let messages = match (&mut self.ran).await {
            Ok(messages) => messages,
            Err(error) => vec![Message::new(Source::Answer, error.to_string())],
        };
        self.messages.insert(messages).clone()
    }
}

#[async_trait]
impl Running for RunningSubsystems {
    async fn add(&mut self) -> Result<(), CannotRun> {
        let child = self.later.take().ok_or_else(|| CannotRun::failed("nothing to add"))?;
        self.adding.send(child).await.map_err(CannotRun::failed)
    }

    async fn messages(&mut self) -> Vec<Message> {
        if self.ran.is_finished() || self.messages.is_some() { self.ended().await } else { vec![] }
    }

    async fn stop(&mut self) -> Vec<Message> {
        self.asked.cancel();
        self.ended().await
    }

    fn drop_handles(self: Box<Self>) {
        self.ran.abort();
    }
}
