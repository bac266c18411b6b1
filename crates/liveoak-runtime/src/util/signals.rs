//! The signals that ask the process to end, and the meaning of several such signals.
//!
//! A [`StopSignals`] listens from its creation until it is dropped. Several may listen at the same time, and each gets
//! every signal. The first listener installs the handler (`util/signal_handler.rs`) and starts the thread
//! `liveoak-signal`, which takes the signals and notes the times. The thread needs nothing of a Tokio runtime. When the
//! last listener is dropped, the former action of each signal is restored.
//!
//! One pure rule, [`Wishes`], decides whether the signals so far ask for a stop or for a kill.
//!
//! A [`StateRequests`] listens in the same way for SIGQUIT, which asks for the state of the tree. Only the `liveoak`
//! program uses it: a library must not take SIGQUIT over. A [`HangupRequests`] takes SIGHUP as a request to read a file again,
//! instead of a request to stop; only the `liveoak` program uses it.

use crate::util::signal_handler::{self, Replaced, STOP_SIGNALS, TELL_SIGNALS, ThreadMask};
use crate::util::waker_guard::WakerGuard;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Signals within this time after the first signal count as one. A terminal sends Ctrl-C to a whole process group, and a
/// parent in that group may pass the same signal on.
pub(crate) const ONE_WISH: Duration = Duration::from_secs(1);

/// The longest wait of the thread while no time is due. It then waits only for a wake-up.
const LONG: Duration = Duration::from_secs(3600);

/// A signal that asks the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: a service manager, `kill`.
    Terminate,
    /// SIGHUP: the terminal is gone.
    Hangup,
}

impl StopSignal {
    fn from_number(signal: libc::c_int) -> Option<Self> {
        match signal {
            libc::SIGINT => Some(Self::Interrupt),
            libc::SIGTERM => Some(Self::Terminate),
            libc::SIGHUP => Some(Self::Hangup),
            _ => None,
        }
    }

    /// Returns the signal's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::Hangup => "SIGHUP",
        }
    }
}

/// The request that all signals so far amount to. It never becomes less forceful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// There was no signal.
    None,
    /// Stop in order.
    Stop(StopSignal),
    /// Stop in order. From now on, a SIGINT asks for a kill.
    StopOrKill(StopSignal),
    /// Kill the remaining children.
    Kill,
}

/// The rule that turns signals into a [`Wish`]. The first signal asks for a stop. Signals within [`ONE_WISH`] after it
/// count as the same request. A later SIGINT asks for a kill, whatever the first signal was. SIGTERM and SIGHUP never
/// ask for a kill.
#[derive(Clone, Copy, Debug, Default)]
struct Wishes {
    first: Option<(StopSignal, Instant)>,
    kill: bool,
}

impl Wishes {
    fn signal(&mut self, signal: StopSignal, now: Instant) {
        match self.first {
            None => self.first = Some((signal, now)),
            Some((_, first)) if now.saturating_duration_since(first) < ONE_WISH => {}
            Some(_) => self.kill |= signal == StopSignal::Interrupt,
        }
    }

    fn wish(&self, now: Instant) -> Wish {
        match self.first {
            None => Wish::None,
            Some(_) if self.kill => Wish::Kill,
            Some((signal, first)) if now.saturating_duration_since(first) < ONE_WISH => Wish::Stop(signal),
            Some((signal, _)) => Wish::StopOrKill(signal),
        }
    }

    /// Returns how long until the request changes without another signal.
    fn changes_in(&self, now: Instant) -> Option<Duration> {
        let (_, first) = self.first?;
        ONE_WISH.checked_sub(now.saturating_duration_since(first)).filter(|left| !left.is_zero())
    }
}

/// Listens for the signals that ask this process to end, until it is dropped.
#[derive(Debug)]
pub struct StopSignals {
    id: u64,
    wish: watch::Receiver<Wish>,
    guard: WakerGuard,
}

struct Listener {
    id: u64,
    wishes: Wishes,
    wish: watch::Sender<Wish>,
}

/// All listeners of this process.
struct Listeners {
    all: Vec<Listener>,
    /// The listeners for SIGQUIT, with the number of these signals so far.
    state: Vec<(u64, watch::Sender<u64>)>,
    /// Those for which SIGHUP is no request to stop, with the number of these signals so far.
    hangup: Vec<(u64, watch::Sender<u64>)>,
    next_id: u64,
    /// The actions that are to be restored after the last listener.
    replaced: Vec<Replaced>,
    /// The socket that the thread reads, once there was a listener. While the thread runs, the thread has it.
    reader: Option<UnixStream>,
    thread_runs: bool,
}

static LISTENERS: Mutex<Listeners> = Mutex::new(Listeners {
    all: Vec::new(),
    state: Vec::new(),
    hangup: Vec::new(),
    next_id: 0,
    replaced: Vec::new(),
    reader: None,
    thread_runs: false,
});

fn listeners() -> MutexGuard<'static, Listeners> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StopSignals {
    /// Listens from now on. A signal that is ignored stays ignored. If the process has its own handler for SIGHUP, this
    /// handler stays.
    ///
    /// # Errors
    /// When the system has no thread or file descriptor left.
    pub fn listen() -> io::Result<Self> {
        let mut listeners = listeners();
        listeners.start_thread()?;
        if listeners.all.is_empty() {
            listeners.install(&STOP_SIGNALS)?;
        }
        let (sender, wish) = watch::channel(Wish::None);
        let id = listeners.new_id();
        listeners.all.push(Listener { id, wishes: Wishes::default(), wish: sender });
        // The thread unblocks the signals.
        signal_handler::wake();
        Ok(Self { id, wish, guard: WakerGuard::new() })
    }

    /// Returns `true` if SIGINT reaches this process. A shell starts a background job with SIGINT ignored, for example, and
    /// then Ctrl-C kills nothing.
    pub fn hears_interrupts(&self) -> bool {
        signal_handler::is_installed(libc::SIGINT)
    }

    /// Returns `true` if SIGHUP reaches this process. `nohup` starts a program with SIGHUP ignored.
    pub fn hears_hangups(&self) -> bool {
        signal_handler::is_installed(libc::SIGHUP)
    }

    /// Waits until the request differs from that of the last call, and returns it. Cancel safe.
    pub async fn changed(&mut self) -> Wish {
        let Self { wish, guard, .. } = self;
        if guard.wait(wish.changed()).await.is_err() {
            // The sender lives as long as this value.
            std::future::pending::<()>().await;
        }
        *wish.borrow_and_update()
    }
}

impl Drop for StopSignals {
    fn drop(&mut self) {
        let mut listeners = listeners();
        let Some(at) = listeners.all.iter().position(|listener| listener.id == self.id) else { return };
        let gone = listeners.all.swap_remove(at);
        if listeners.all.is_empty() {
            listeners.restore(&STOP_SIGNALS);
            // The last signals came too late for the listener. If it had got no signal before, they are raised again,
            // now without a listener.
            let late: Vec<_> = signal_handler::take_arrived().collect();
            if gone.wishes.first.is_none() {
                let asks_to_stop = |signal: &libc::c_int| STOP_SIGNALS.contains(signal);
                late.into_iter().filter(asks_to_stop).for_each(signal_handler::raise);
            }
            signal_handler::wake();
        }
    }
}

/// Listens for SIGQUIT, which asks this process to report the state of its tree, until it is dropped. Meanwhile SIGUSR1
/// has no effect, instead of ending the process.
#[derive(Debug)]
pub struct StateRequests {
    id: u64,
    asked: watch::Receiver<u64>,
    guard: WakerGuard,
}

impl StateRequests {
    /// Listens from now on, even if the signals were ignored. A handler that the process has for one of them stays.
    ///
    /// # Errors
    /// When the system has no thread or file descriptor left.
    pub fn listen() -> io::Result<Self> {
        let mut listeners = listeners();
        listeners.start_thread()?;
        if listeners.state.is_empty() {
            listeners.install(&TELL_SIGNALS)?;
        }
        let (sender, asked) = watch::channel(0);
        let id = listeners.new_id();
        listeners.state.push((id, sender));
        signal_handler::wake();
        Ok(Self { id, asked, guard: WakerGuard::new() })
    }

    /// Waits for a request that came since the last call. Several requests may count as one. Cancel safe.
    pub async fn next(&mut self) {
        let Self { asked, guard, .. } = self;
        if guard.wait(asked.changed()).await.is_err() {
            // The sender lives as long as this value.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for StateRequests {
    fn drop(&mut self) {
        let mut listeners = listeners();
        listeners.state.retain(|(id, _)| *id != self.id);
        if listeners.state.is_empty() {
            listeners.restore(&TELL_SIGNALS);
            signal_handler::wake();
        }
    }
}

/// Takes SIGHUP as a request of its own, until it is dropped: no [`StopSignals`] takes it as a request to stop meanwhile. The
/// handler is that of a [`StopSignals`], so there must be one.
#[derive(Debug)]
pub struct HangupRequests {
    id: u64,
    asked: watch::Receiver<u64>,
    guard: WakerGuard,
}

impl HangupRequests {
    /// Takes SIGHUP from now on.
    #[must_use]
    pub fn listen() -> Self {
        let mut listeners = listeners();
        let (sender, asked) = watch::channel(0);
        let id = listeners.new_id();
        listeners.hangup.push((id, sender));
        Self { id, asked, guard: WakerGuard::new() }
    }

    /// Waits for a request that came since the last call. Several requests may count as one. Cancel safe.
    pub async fn next(&mut self) {
        let Self { asked, guard, .. } = self;
        if guard.wait(asked.changed()).await.is_err() {
            // The sender lives as long as this value.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for HangupRequests {
    fn drop(&mut self) {
        listeners().hangup.retain(|(id, _)| *id != self.id);
    }
}

impl Listeners {
    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty() && self.state.is_empty()
    }

    /// Installs the handler for `signals`. If the system refuses one of them, none is installed.
    fn install(&mut self, signals: &[libc::c_int]) -> io::Result<()> {
        signal_handler::set_listening(true);
        for &signal in signals {
            match signal_handler::install(signal) {
                Ok(replaced) => self.replaced.extend(replaced),
                Err(error) => {
                    self.restore(signals);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Restores the former actions of `signals`, for which nothing listens any more.
    fn restore(&mut self, signals: &[libc::c_int]) {
        let over = self.replaced.extract_if(.., |replaced| signals.contains(&replaced.signal()));
        over.for_each(|replaced| signal_handler::restore(&replaced));
        signal_handler::set_listening(!self.is_empty());
    }

    /// Starts the thread that takes the signals, unless it runs.
    fn start_thread(&mut self) -> io::Result<()> {
        if self.thread_runs {
            return Ok(());
        }
        if self.reader.is_none() {
            let (reader, writer) = UnixStream::pair()?;
            writer.set_nonblocking(true)?;
            signal_handler::set_wake(writer);
            self.reader = Some(reader);
        }
        let Some(reader) = &self.reader else { return Ok(()) };
        let reader = reader.try_clone()?;
        std::thread::Builder::new().name("liveoak-signal".into()).spawn(move || take_signals(reader))?;
        self.thread_runs = true;
        Ok(())
    }

    /// Passes on the signals that came. Returns how long until a request changes without another signal.
    fn pass_on(&mut self, now: Instant) -> Duration {
        for signal in signal_handler::take_arrived() {
            if signal == libc::SIGQUIT {
                self.state.iter().for_each(|(_, asked)| asked.send_modify(|count| *count += 1));
            }
            // If other code has installed a handler for SIGHUP meanwhile, the process handles SIGHUP itself, so the signal is no
            // request to stop.
            let elsewhere = signal == libc::SIGHUP && !signal_handler::is_installed(signal);
            if signal == libc::SIGHUP && !self.hangup.is_empty() {
                let asked = self.hangup.iter().filter(|_| !elsewhere);
                asked.for_each(|(_, asked)| asked.send_modify(|count| *count += 1));
                continue;
            }
            let Some(signal) = StopSignal::from_number(signal).filter(|_| !elsewhere) else { continue };
            self.all.iter_mut().for_each(|listener| listener.wishes.signal(signal, now));
        }
        for listener in &self.all {
            let wish = listener.wishes.wish(now);
            listener.wish.send_if_modified(|last| std::mem::replace(last, wish) != wish);
        }
        self.all.iter().filter_map(|listener| listener.wishes.changes_in(now)).min().unwrap_or(LONG)
    }
}

/// Takes signals on a thread of its own, until nothing listens any more.
fn take_signals(mut reader: UnixStream) {
    let mask = ThreadMask::of_this_thread();
    loop {
        let mut listeners = listeners();
        if listeners.is_empty() {
            listeners.thread_runs = false;
            return;
        }
        mask.unblock_only(listeners.replaced.iter().map(Replaced::signal));
        let wait = listeners.pass_on(Instant::now());
        drop(listeners);
        // An error of either call only makes the thread look once more than needed.
        let _ = reader.set_read_timeout(Some(wait.max(Duration::from_millis(1))));
        let _ = reader.read(&mut [0; 64]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use StopSignal::{Hangup, Interrupt, Terminate};

    const SIGNALS: [StopSignal; 3] = [Interrupt, Terminate, Hangup];

    /// Returns the request after signals at times in milliseconds, seen at `now`.
    fn after(signals: &[(StopSignal, u64)], now: u64) -> Wish {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut wishes = Wishes::default();
        signals.iter().for_each(|&(signal, ms)| wishes.signal(signal, at(ms)));
        wishes.wish(at(now))
    }

    #[test]
    #[ignore = "run as a program by the next test: `cargo test -p liveoak-runtime --lib too_late`"]
    fn helper_gets_its_only_signal_too_late() {
        for signal in STOP_SIGNALS {
            let signals = StopSignals::listen().expect("a listener");
            signal_handler::arrive_unheard(signal);
            drop(signals);
        }
    }

    #[test]
    fn a_signal_that_comes_too_late_for_the_listener_has_its_former_effect() {
        let helper = "util::signals::tests::helper_gets_its_only_signal_too_late";
        let program = std::env::current_exe().expect("this program");
        let ran = std::process::Command::new(program).args(["--exact", helper, "--ignored"]).output();
        let status = ran.expect("it was started").status;
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert!(signal.is_some_and(|signal| STOP_SIGNALS.contains(&signal)), "{status}");
    }

    #[test]
    fn without_a_signal_nothing_is_requested() {
        assert_eq!(after(&[], 5_000), Wish::None);
    }

    #[test]
    fn signals_within_a_second_of_the_first_count_as_one() {
        for first in SIGNALS {
            for second in SIGNALS {
                for later in [0, 1, 999] {
                    let signals = [(first, 0), (second, later), (second, later)];
                    assert_eq!(after(&signals, 999), Wish::Stop(first));
                    assert_eq!(after(&signals, 1_000), Wish::StopOrKill(first));
                }
            }
        }
    }

    #[test]
    fn more_than_a_second_after_the_first_signal_any_sigint_kills() {
        for first in SIGNALS {
            for between in SIGNALS {
                let signals = [(first, 0), (between, 10), (Interrupt, 1_000)];
                assert_eq!(after(&signals, 1_000), Wish::Kill);
                assert_eq!(after(&signals, 9_000), Wish::Kill);
            }
        }
    }

    #[test]
    fn sigterm_and_sighup_never_kill() {
        for first in SIGNALS {
            for later in [Terminate, Hangup] {
                let signals = [(first, 0), (later, 1_000), (later, 5_000), (later, 9_000)];
                assert_eq!(after(&signals, 9_000), Wish::StopOrKill(first));
            }
        }
    }

    #[test]
    fn one_second_after_the_first_signal_a_kill_becomes_possible_without_another_signal() {
        let now = Instant::now();
        let mut wishes = Wishes::default();
        assert_eq!(wishes.changes_in(now), None);
        wishes.signal(Hangup, now);
        assert_eq!(wishes.changes_in(now), Some(ONE_WISH));
        assert_eq!(wishes.changes_in(now + ONE_WISH), None);
    }
}
