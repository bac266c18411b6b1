//! Look-ups: calls to a file system or a name server. They can hang, because a dead mount never answers.
//!
//! Each call runs on a thread of its own and has a deadline. A thread that hangs cannot be ended, so two rules bound
//! the number of threads. Calls about the same path or name run one after another, so a dead mount blocks one thread
//! for each path and not one for each attempt. And there are at most [`MAX_THREADS`] threads.
//!
//! Tokio's blocking pool is not used, because the end of a runtime waits for it.

use crate::log::catch;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, oneshot};

/// The most threads. Further calls wait, and fail at their deadline.
const MAX_THREADS: usize = 64;

static THREADS: Semaphore = Semaphore::const_new(MAX_THREADS);

/// One lock for each path or name about which a call runs or waits.
static TURNS: Mutex<BTreeMap<OsString, Arc<AsyncMutex<()>>>> = Mutex::new(BTreeMap::new());

/// The reason why a call gave no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// The call took too long, or an earlier call about the same path or name hangs.
    TimedOut,
    /// The system has no thread left, or the call panicked.
    Failed(io::Error),
}

/// Runs `call` on a thread of its own, for at most `limit`. `about` is the path or name that the call asks about.
///
/// # Cancel safety
/// If the future is dropped, the call runs on, and its result is dropped on its thread.
pub(crate) async fn off_thread<T: Send + 'static>(
    about: OsString,
    limit: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoAnswer> {
    let answer = async {
        let turn = turn_of(about).lock_owned().await;
        // The semaphore is never closed.
        let thread = THREADS.acquire().await.map_err(|closed| NoAnswer::Failed(io::Error::other(closed)))?;
        let (reply, answer) = oneshot::channel();
        let run = move || {
            catch(move || {
                let result = call();
                drop((turn, thread));
                drop(reply.send(result));
            });
        };
        std::thread::Builder::new().name("liveoak-lookup".into()).spawn(run).map_err(NoAnswer::Failed)?;
        answer.await.map_err(|_| NoAnswer::Failed(io::Error::other("a look-up panicked (a bug in liveoak)")))
    };
    tokio::time::timeout(limit, answer).await.unwrap_or(Err(NoAnswer::TimedOut))
}

/// Returns the lock of a path or name, and removes the locks that no call uses.
fn turn_of(about: OsString) -> Arc<AsyncMutex<()>> {
    let mut turns: MutexGuard<'_, BTreeMap<_, Arc<AsyncMutex<()>>>> =
        TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.retain(|_, turn| Arc::strong_count(turn) > 1);
    Arc::clone(turns.entry(about).or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    const SOON: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_call_that_hangs_blocks_one_thread_and_delays_no_call_about_another_path() {
        let (release, hangs) = channel::<()>();
        let hung = off_thread("a dead mount".into(), SOON, move || hangs.recv()).await;
        assert!(matches!(hung, Err(NoAnswer::TimedOut)));
        for _ in 0..3 {
            let again = off_thread("a dead mount".into(), SOON, || panic!("a second call began")).await;
            assert!(matches!(again, Err(NoAnswer::TimedOut)));
        }
        assert_eq!(off_thread("another".into(), LONG, || 7).await.unwrap(), 7);
        drop(release);
        assert_eq!(off_thread("a dead mount".into(), LONG, || 8).await.unwrap(), 8);
    }

    #[tokio::test]
    async fn a_call_that_panics_is_an_error_and_the_next_one_works() {
        let panicked = off_thread("panics".into(), LONG, || panic!("raised by the test")).await;
        assert!(matches!(panicked, Err(NoAnswer::Failed(_))));
        assert_eq!(off_thread("panics".into(), LONG, || 9).await.unwrap(), 9);
    }
}
