//! Children with a state of their own: `init`, `run`, `stop`.

use crate::api::ctx::Ctx;
use crate::attempt::body::BoxError;
use crate::attempt::panic::catch;
use crate::util::{Either, race};
use liveoak_core::Exit;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// The result of a successful `init`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Init {
    /// The service is ready; `run` begins.
    #[default]
    Ready,
    /// `run` begins, and reports when the service is ready ([`Ctx::ready`]).
    NotYet,
    /// The service is not needed here. It counts as started; nothing runs.
    Ignore,
}

/// A child with a state of its own. Each attempt gets a new value from the factory of
/// [`Child::service`](crate::Child::service), and keeps nothing of the previous attempt.
///
/// | hook | when it runs | if the attempt is stopped or killed |
/// |---|---|---|
/// | `init` | first; the child is ready when `init` returns | a stop drops it immediately; this is not a failure |
/// | `run` | after `init` | on a stop it can wait for [`Ctx::stopping`] and return; after half of the child's `stop_within` (without its `unready_for`) it is dropped |
/// | `stop` | after `run` returned or was dropped, also after an error or a kill; not after a panic | it may take `stop_within` if `run` ended by itself, the rest of `stop_within` on a stop, and the `kill_wait` of the child after a kill |
///
/// # Cancel safety
/// A stop or a kill can drop `init` and `run` at an await point. Write them so that no work is lost in this case.
pub trait Service: Send + 'static {
    /// Acquires what the service needs.
    fn init(&mut self, ctx: &Ctx) -> impl Future<Output = Result<Init, BoxError>> + Send {
        let _ = ctx;
        async { Ok(Init::Ready) }
    }

    /// Does the work. `Ok` means that the work is done; a permanent child is restarted even then.
    fn run(&mut self, ctx: &Ctx) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Releases what `init` has acquired.
    fn stop(&mut self, ctx: &Ctx) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = ctx;
        async { Ok(()) }
    }
}

/// Runs one attempt of a service: `factory`, `init`, `run`, `stop`.
pub(crate) async fn run_service<S: Service>(factory: Arc<impl Fn() -> S>, ctx: Ctx) -> Exit {
    let mut service = match catch(Some("factory"), || factory()) {
        Ok(service) => service,
        Err(panicked) => return panicked,
    };
    match race(ctx.stopping(), caught("init", service.init(&ctx))).await {
        Either::Left(()) => return Exit::Stopped,
        Either::Right(Ok(Ok(Init::Ready))) => ctx.ready(),
        Either::Right(Ok(Ok(Init::NotYet))) => {}
        Either::Right(Ok(Ok(Init::Ignore))) => return Exit::Ignored,
        Either::Right(Ok(Err(error))) => return Exit::failed(error),
        Either::Right(Err(panicked)) => return panicked,
    }
    let exit = run(&mut service, &ctx).await;
    if let Exit::Panicked(_) = exit {
        return exit;
    }
    if !ctx.is_stopping() {
        // `run` ended by itself: the child no longer counts as running, and the hook may take as long as a stop.
        ctx.report_exit(exit.clone());
    }
    // The kill may have come after the end of `run`. The hook still runs.
    let killed = ctx.cell.orders.is_killed();
    let hook = caught("stop hook", service.stop(&ctx));
    // A kill that comes while the hook runs drops the hook, because the time for the stop is used up.
    let hooked = if killed { Either::Right(hook.await) } else { race(ctx.killed(), hook).await };
    match hooked {
        Either::Left(()) => Exit::Killed,
        Either::Right(Ok(Ok(()))) => exit,
        Either::Right(Ok(Err(error))) if !exit.is_failure() => Exit::failed(error),
        Either::Right(Ok(Err(_))) => exit,
        Either::Right(Err(panicked)) => panicked,
    }
}

/// Runs `run` until it returns, is killed, or has not returned in time after the request to stop.
async fn run<S: Service>(service: &mut S, ctx: &Ctx) -> Exit {
    let half_of_stop = async {
        ctx.stopping().await;
        tokio::time::sleep(time_for_stop(ctx) / 2).await;
    };
    match race(race(ctx.killed(), caught("run", service.run(ctx))), half_of_stop).await {
        Either::Left(Either::Left(())) => Exit::Killed,
        Either::Left(Either::Right(Ok(Ok(())))) => Exit::Completed,
        Either::Left(Either::Right(Ok(Err(error)))) => Exit::failed(error),
        Either::Left(Either::Right(Err(panicked))) => panicked,
        Either::Right(()) => Exit::Stopped,
    }
}

/// Returns the time from the request to stop to the kill, as the child is declared now.
fn time_for_stop(ctx: &Ctx) -> Duration {
    let state = ctx.cell.tree.state();
    state
        .machine
        .spec(ctx.cell.id)
        .map_or(Duration::ZERO, |spec| spec.stop_within.saturating_sub(spec.unready_for))
}

/// Waits for `future`, and returns its panic as an exit.
async fn caught<T>(during: &'static str, future: impl Future<Output = T>) -> Result<T, Exit> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch(Some(during), || future.as_mut().poll(cx)) {
        Ok(poll) => poll.map(Ok),
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}
