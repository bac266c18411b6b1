//! Small helpers that know nothing of supervision. Every storey may use them.

pub(crate) mod in_place;
pub(crate) mod limits;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod own_timer;
pub(crate) mod signal_handler;
pub(crate) mod signals;
#[cfg_attr(not(all(feature = "stacks", target_os = "linux")), path = "no_stack.rs")]
pub(crate) mod stack;
#[cfg(all(feature = "stacks", target_os = "linux"))]
mod stack_handler;
pub(crate) mod sync;
pub(crate) mod waker_guard;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// The output of the future that finished first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The output of the first future.
    Left(A),
    /// The output of the second future.
    Right(B),
}

/// Polls both futures until one is done, and drops the other. If both are done, the first wins. As cancel safe as both.
pub async fn race<A: Future, B: Future>(a: A, b: B) -> Either<A::Output, B::Output> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|cx| {
        if let Poll::Ready(out) = a.as_mut().poll(cx) {
            return Poll::Ready(Either::Left(out));
        }
        b.as_mut().poll(cx).map(Either::Right)
    })
    .await
}
