//! Which leaders are suspended: stopped by `SIGSTOP`, `SIGTSTP`, `SIGTTIN` or `SIGTTOU` (state `T`).
//!
//! A pidfd does not become readable when its process is suspended, and this crate installs no handler for `SIGCHLD`. So
//! one thread, `liveoak-stops`, blocks in `waitid(2)` until any child process of the current process is suspended or
//! continued. Then it takes the reports of the watched leaders. It leaves the report of any other child process,
//! because the program that embeds this crate may wait for it. While such a report is pending, the thread looks
//! again after each [`FOREIGN_PAUSE`].
//!
//! The thread starts with the first watched leader. If there is no thread left, suspended programs are not noticed.

use crate::log::catch;
use crate::signal::Signal;
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// The pause while a report about another child process is pending.
const FOREIGN_PAUSE: Duration = Duration::from_secs(1);

/// The signal that has suspended a leader; `None` while it is not suspended.
type State = Option<Signal>;

/// A leader whose reports the thread takes.
#[derive(Clone)]
struct Watched {
    pidfd: Arc<OwnedFd>,
    state: Arc<watch::Sender<State>>,
}

#[derive(Default)]
struct Watch {
    /// The leaders, by a number that is never used again. Bounded by the running programs.
    leaders: BTreeMap<u64, Watched>,
    next: u64,
    thread_runs: bool,
    /// `true` if the kernel does not report suspended processes.
    unavailable: bool,
}

static WATCH: Mutex<Watch> =
    Mutex::new(Watch { leaders: BTreeMap::new(), next: 0, thread_runs: false, unavailable: false });

/// Notified when a leader is added.
static ADDED: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, Watch> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells whether one leader is suspended, until it is dropped.
#[derive(Debug)]
pub(crate) struct Suspension {
    number: u64,
    state: watch::Receiver<State>,
    /// The state that was last reported to the tree.
    pub(crate) reported: State,
}

impl Suspension {
    /// Watches the leader behind `pidfd`.
    pub(crate) fn watch(pidfd: Arc<OwnedFd>) -> Suspension {
        let (sender, state) = watch::channel(None);
        let watched = Watched { pidfd, state: Arc::new(sender) };
        let mut all = lock();
        let number = all.next;
        all.next += 1;
        all.leaders.insert(number, watched.clone());
        if !all.thread_runs && !all.unavailable {
            let thread = std::thread::Builder::new().name("liveoak-stops".into()).spawn(run);
            all.thread_runs = thread.is_ok();
        }
        drop(all);
        ADDED.notify_all();
        // It may have been suspended before it was added.
        let _unchanged = watched.update();
        Suspension { number, state, reported: None }
    }

    /// Returns the signal that has suspended the leader, if it is suspended.
    pub(crate) fn signal(&self) -> State {
        *self.state.borrow()
    }

    /// Returns a receiver that sees the state of the same leader.
    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }
}

impl Drop for Suspension {
    fn drop(&mut self) {
        lock().leaders.remove(&self.number);
    }
}

/// Waits for the next change, and returns the new state. Never returns after the end of the watch.
pub(crate) async fn changed(state: &mut watch::Receiver<State>) -> State {
    if state.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    *state.borrow_and_update()
}

/// Waits until the leader is not suspended.
pub(crate) async fn until_continued(mut state: watch::Receiver<State>) {
    let _ended = state.wait_for(Option::is_none).await;
}

impl Watched {
    /// Takes the leader's next report, if there is one. Returns `true` if so.
    fn update(&self) -> bool {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::CONTINUED | WaitIdOptions::NOHANG;
        let Ok(Some(report)) = waitid(WaitId::PidFd(self.pidfd.as_fd()), options) else { return false };
        let state = state_of(&report);
        // This wakes tasks, whose wakers may be code of the user.
        let _panicked = catch(|| {
            self.state.send_if_modified(|last| std::mem::replace(last, state) != state);
        });
        true
    }
}

fn state_of(report: &WaitIdStatus) -> State {
    report.stopping_signal().map(Signal::reported)
}

/// Waits for reports, for as long as the current process runs.
fn run() {
    let any = WaitIdOptions::STOPPED | WaitIdOptions::CONTINUED | WaitIdOptions::NOWAIT;
    loop {
        match waitid(WaitId::All, any) {
            Ok(_) => {
                let leaders: Vec<Watched> = lock().leaders.values().cloned().collect();
                if leaders.iter().filter(|leader| leader.update()).count() == 0 {
                    std::thread::sleep(FOREIGN_PAUSE);
                }
            }
            Err(Errno::INTR) => {}
            // There is no child process.
            Err(Errno::CHILD) => {
                let all = lock();
                let pause = if all.leaders.is_empty() { Duration::MAX } else { FOREIGN_PAUSE };
                drop(ADDED.wait_timeout(all, pause));
            }
            Err(_) => {
                let mut all = lock();
                (all.thread_runs, all.unavailable) = (false, true);
                return;
            }
        }
    }
}
