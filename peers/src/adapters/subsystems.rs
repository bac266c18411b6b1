//! The crate `tokio-graceful-shutdown`.

use crate::peer::{Kid, Lacks, Peer, Place, Plan, Running, Strategy, Told};
use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_graceful_shutdown::{NestedSubsystem, SubsystemBuilder, SubsystemHandle, Toplevel};
use tokio_util::sync::CancellationToken;

pub(crate) struct Subsystems;

struct Alive {
    asked: CancellationToken,
    ran: JoinHandle<Vec<Told>>,
    adding: mpsc::Sender<Kid>,
    later: Option<Kid>,
    told: Option<Vec<Told>>,
}

/// Starts a child that is stopped by its parent's own code only.
fn start(parent: &SubsystemHandle, kid: Kid) -> NestedSubsystem {
    let name = kid.name;
    let body = async move |subsystem: &mut SubsystemHandle| {
        let asked = subsystem.create_cancellation_token();
        kid.run(Box::pin(asked.cancelled_owned())).await
    };
    parent.start(SubsystemBuilder::new(name, body).detached())
}

/// Stops the children one after the other, in reverse.
async fn stop_in_reverse(kids: Vec<NestedSubsystem>) {
    for kid in kids.into_iter().rev() {
        kid.initiate_shutdown();
        // What went wrong is in what the whole returns.
        let _ = kid.join().await;
    }
}

#[async_trait]
impl Peer for Subsystems {
    fn name(&self) -> &'static str {
        "tokio-graceful-shutdown"
    }

    fn usage(&self) -> &'static str {
        "`Toplevel::new_with_shutdown_token`, run by `handle_shutdown_requests`, with one `detached` subsystem \
        for each child. Code of ours in their parent stops them in reverse, like its example of an orchestrated \
        shutdown; without this code, they stop all at once. Stopped by cancelling the token. This crate is about \
        stopping; its documentation says that restarts are not its purpose."
    }

    async fn start(&self, plan: Plan) -> Result<Box<dyn Running>, Lacks> {
        if plan.strategy != Strategy::OneForOne {
            return Err(Lacks::feature("strategies"));
        }
        if plan.restarts {
            return Err(Lacks::feature("restarts"));
        }
        let (adding, mut added) = mpsc::channel::<Kid>(1);
        let asked = CancellationToken::new();
        let kids = plan.kids;
        let root = async move |root: &mut SubsystemHandle| {
            let mut started: Vec<_> = kids.into_iter().map(|kid| start(root, kid)).collect();
            loop {
                tokio::select! {
                    () = root.on_shutdown_requested() => break,
                    Some(kid) = added.recv() => started.push(start(root, kid)),
                    else => break,
                }
            }
            stop_in_reverse(started).await;
        };
        let top: Toplevel = Toplevel::new_with_shutdown_token(root, asked.clone());
        let ran = tokio::spawn(async move {
            let Err(error) = top.handle_shutdown_requests(plan.grace).await else { return vec![] };
            let whole = Told::new(Place::Answer, error.to_string());
            let parts = error.get_subsystem_errors().iter();
            let parts = parts.map(|part| Told::new(Place::Answer, part.to_string()));
            std::iter::once(whole).chain(parts).collect()
        });
        Ok(Box::new(Alive { asked, ran, adding, later: plan.later, told: None }))
    }
}

impl Alive {
    async fn ended(&mut self) -> Vec<Told> {
        if let Some(told) = &self.told {
            return told.clone();
        }
        let told = match (&mut self.ran).await {
            Ok(told) => told,
            Err(error) => vec![Told::new(Place::Answer, error.to_string())],
        };
        self.told.insert(told).clone()
    }
}

#[async_trait]
impl Running for Alive {
    async fn add(&mut self) -> Result<(), Lacks> {
        let kid = self.later.take().ok_or_else(|| Lacks::failed("nothing to add"))?;
        self.adding.send(kid).await.map_err(Lacks::failed)
    }

    async fn told(&mut self) -> Vec<Told> {
        if self.ran.is_finished() || self.told.is_some() { self.ended().await } else { vec![] }
    }

    async fn stop(&mut self) -> Vec<Told> {
        self.asked.cancel();
        self.ended().await
    }

    fn let_go(self: Box<Self>) {
        self.ran.abort();
    }
}
