//! A timer that needs no Tokio runtime: a thread that sleeps.

use std::future::Future;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use tokio::sync::oneshot;

/// Completes after `duration` of real time, on whatever runtime it is polled, even if all threads of all runtimes are
/// blocked. The thread ends when the future is dropped. If the system refuses the thread, completes immediately.
pub(crate) fn own_timer(duration: Duration) -> impl Future<Output = ()> + Send {
    let ((done, is_done), (alive, dropped)) = (oneshot::channel::<()>(), channel::<()>());
    let sleep = move || {
        if let Err(RecvTimeoutError::Timeout) = dropped.recv_timeout(duration) {
            let _ = done.send(());
        }
    };
    let _thread = std::thread::Builder::new().name("liveoak-timer".to_owned()).spawn(sleep);
    async move {
        let _alive = alive;
        let _ = is_done.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_runs_outside_of_every_runtime_and_its_thread_ends_with_the_future() {
        futures_of(own_timer(Duration::from_millis(1)));
        drop(own_timer(Duration::MAX));
    }

    fn futures_of(future: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime without timers")
            .block_on(future);
    }
}
