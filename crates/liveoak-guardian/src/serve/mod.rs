//! The loop of a guardian: it waits, turns what happens into inputs of the [`Machine`], and carries out what that decides.
//!
//! One thread, no allocation, and no call that waits for anything but [`epoll_wait(2)`]. The loop is woken by the socket,
//! by the end of a leader or of the client (pidfds), by the answer of a process before its exec (pipes), by signals
//! (`SIGCHLD` for orphans and suspensions) and by the timer; at rest by nothing.
//!
//! [`epoll_wait(2)`]: https://man7.org/linux/man-pages/man2/epoll_wait.2.html

mod killing;
mod launching;
mod talking;

use crate::channel::Received;
use crate::children::Children;
use crate::launch::{ANSWER_BYTES, read_answer};
use crate::machine::{Action, Input, MAX_PROGRAMS, Machine, Slot};
use crate::memory::{Stack, Table};
use crate::message::Stream;
use crate::os;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getpid, getrlimit, set_child_subreaper, setrlimit};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The stack of a process between its fork and its exec. Its largest values are two reads of 4 KiB.
const CHILD_STACK: usize = 256 * 1024;

/// The events of one wait.
const EVENTS: usize = 64;

const NANOS: u64 = 1_000_000_000;

/// How long a message waits that the system refuses to take for a lack of memory or of descriptors.
const SEND_AGAIN: u64 = NANOS / 100;

/// The signals that a guardian passes on to a client that it is the parent of.
const PASSED_ON: [c_int; 8] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
    libc::SIGCONT,
];

/// What a descriptor is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Leader(Slot),
    Answer(Slot),
    Client,
    Signals,
    Timer,
    Listener,
    Caller,
    Socket,
}

impl Source {
    /// Returns the number that stands for it in the kernel.
    fn data(self) -> EventData {
        let (kind, slot) = match self {
            Source::Leader(slot) => (0, slot.0),
            Source::Answer(slot) => (1, slot.0),
            Source::Client => (2, 0),
            Source::Signals => (3, 0),
            Source::Timer => (4, 0),
            Source::Listener => (5, 0),
            Source::Caller => (6, 0),
            Source::Socket => (7, 0),
        };
        EventData::new_u64(kind << 32 | u64::from(slot))
    }

    fn of(data: EventData) -> Option<Source> {
        let data = data.u64();
        let slot = Slot(u32::try_from(data & 0xffff_ffff).ok()?);
        Some(match data >> 32 {
            0 => Source::Leader(slot),
            1 => Source::Answer(slot),
            2 => Source::Client,
            3 => Source::Signals,
            4 => Source::Timer,
            5 => Source::Listener,
            6 => Source::Caller,
            7 => Source::Socket,
            _ => return None,
        })
    }
}

/// The descriptors of a program.
#[derive(Default)]
struct Handles {
    pidfd: Option<OwnedFd>,
    /// The pipe on which the process answers before its exec.
    answer: Option<OwnedFd>,
    /// The client's ends of the streams, until they were sent, or as long as a successor may need them.
    streams: [Option<OwnedFd>; 3],
}

/// A guardian at work.
pub(crate) struct Server {
    machine: Machine,
    /// By slot.
    handles: Table<Handles>,
    children: Children,
    epoll: OwnedFd,
    /// The client's socket.
    socket: Option<OwnedFd>,
    /// The pidfd of the client, until it has died.
    client: Option<OwnedFd>,
    /// Where a successor calls.
    listener: Option<OwnedFd>,
    /// A process that has called and not yet sent its message.
    caller: Option<OwnedFd>,
    signals: OwnedFd,
    timer: OwnedFd,
    /// `/dev/null`, above the standard descriptors.
    null: OwnedFd,
    stack: Stack,
    /// The limit of open files with which the guardian was started.
    open_files: Rlimit,
    own_pid: u32,
    /// The streams and descriptors of the request that is being carried out.
    present: ([Stream; 3], Received),
    /// What the socket is watched for.
    interest: EventFlags,
    /// The moment for which the timer is set.
    armed: Option<u64>,
    /// When a message is sent again that the system did not take.
    send_again: Option<u64>,
    /// `true` if a child may have ended, or something was killed.
    census_due: bool,
    /// The client, if it is a child of the guardian, and its exit code once it has ended.
    child: Option<(u32, Option<i32>)>,
    over: bool,
}

/// Returns the present moment of `CLOCK_BOOTTIME`.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(time.tv_sec).saturating_mul(NANOS).saturating_add(part(time.tv_nsec))
}

impl Server {
    /// Makes the current process a guardian. `client` is the client's process id if that is a child of it.
    ///
    /// # Errors
    /// When the system has no memory or descriptor left. All memory is mapped here.
    pub(crate) fn new(socket: OwnedFd, client: Option<u32>) -> io::Result<Server> {
        let own = getpid();
        let own_pid = own.as_raw_nonzero().get().unsigned_abs();
        if client.is_none() {
            // Signals of the terminal and of the client's process group do not reach the guardian.
            let _leads_one_already = rustix::process::setsid();
        }
        set_child_subreaper(Some(own))?;
        let _unnamed = rustix::thread::set_name(c"liveoak-guard");
        rustix::process::chdir(c"/")?;
        let passed_on = if client.is_some() { &PASSED_ON[..] } else { &[] };
        let mut wanted = [libc::SIGCHLD; PASSED_ON.len() + 1];
        wanted.iter_mut().skip(1).zip(passed_on).for_each(|(place, signal)| *place = *signal);
        let signals = os::take_signals(&wanted)?;
        let null = openat(CWD, c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        // The guardian keeps no terminal and no pipe of the client open.
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
        let open_files = getrlimit(Resource::Nofile);
        let most = Rlimit { current: open_files.maximum, maximum: open_files.maximum };
        let _refused = setrlimit(Resource::Nofile, most);
        let mut machine = Machine::new(own_pid)?;
        client.iter().for_each(|pid| machine.client_is_child(*pid));
        let server = Server {
            machine,
            handles: Table::new(MAX_PROGRAMS)?,
            children: Children::new(own_pid)?,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            socket: Some(socket),
            client: None,
            listener: None,
            caller: None,
            signals,
            timer: timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?,
            null,
            stack: Stack::new(CHILD_STACK)?,
            open_files,
            own_pid,
            present: ([Stream::Null; 3], Received::nothing()),
            interest: EventFlags::IN,
            armed: None,
            send_again: None,
            census_due: true,
            child: client.map(|pid| (pid, None)),
            over: false,
        };
        server.watch(server.signals.as_fd(), Source::Signals, EventFlags::IN)?;
        server.watch(server.timer.as_fd(), Source::Timer, EventFlags::IN)?;
        if let Some(socket) = &server.socket {
            server.watch(socket.as_fd(), Source::Socket, EventFlags::IN)?;
        }
        Ok(server)
    }

    /// Works until everything has ended, and returns the exit code of the process.
    pub(crate) fn run(mut self) -> i32 {
        while !self.over {
            self.turn();
        }
        self.child.and_then(|(_, code)| code).unwrap_or(0)
    }

    fn watch(&self, descriptor: BorrowedFd<'_>, source: Source, flags: EventFlags) -> Result<(), Errno> {
        epoll::add(&self.epoll, descriptor, source.data(), flags)
    }

    /// Stops watching a descriptor and closes it. A process before its exec may have a copy of the descriptor, so the
    /// kernel would go on watching it.
    fn close(epoll: &OwnedFd, descriptor: Option<OwnedFd>) {
        if let Some(descriptor) = descriptor {
            let _not_watched = epoll::delete(epoll, &descriptor);
        }
    }

    fn turn(&mut self) {
        self.set_timer();
        let nothing = Event { flags: EventFlags::empty(), data: EventData::new_u64(0) };
        let mut events = [nothing; EVENTS];
        let count = epoll::wait(&self.epoll, &mut events, None).unwrap_or(0);
        self.take(Input::Tick);
        // Requests come last: what happened before them is known when they are judged.
        for requests in [false, true] {
            for event in events.iter().take(count) {
                if let Some(source) =
                    Source::of(event.data).filter(|source| (*source == Source::Socket) == requests)
                {
                    self.happened(source);
                }
            }
        }
        if self.census_due || self.machine.wants_census() {
            self.census();
        }
        self.send_events();
    }

    fn happened(&mut self, source: Source) {
        match source {
            Source::Leader(slot) => self.leader_ready(slot),
            Source::Answer(slot) => self.answer_ready(slot),
            Source::Client => self.client_ended(),
            Source::Signals => self.signals_ready(),
            Source::Timer => {
                let _cleared = rustix::io::read(&self.timer, &mut [0; 8]);
                self.armed = None;
            }
            Source::Listener => self.listener_ready(),
            Source::Caller => self.caller_ready(),
            Source::Socket => self.socket_ready(),
        }
    }

    /// Gives an input to the machine, and carries out what it decides.
    fn take(&mut self, input: Input) {
        self.machine.handle(now(), input);
        while let Some(action) = self.machine.next_action() {
            self.carry_out(action);
        }
    }

    /// Carries out one action. What follows from it is told to the machine, and carried out by [`take`](Server::take).
    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Start { slot } => self.start(slot),
            Action::KillProgram { slot } => self.kill_program(slot),
            Action::KillOrphan { pid, slot } => self.kill_orphan(pid, slot),
            Action::Signal { slot, signal, reach } => self.signal(slot, signal, reach),
            Action::Reap { pid, .. } => {
                os::reap(pid);
            }
            Action::CloseStreams { slot } => {
                if let Some(handles) = self.handles.get_mut(slot.index()) {
                    handles.streams = [const { None }; 3];
                }
            }
            Action::Free { slot } => {
                if let Some(handles) = self.handles.get_mut(slot.index()) {
                    *handles = Handles::default();
                }
            }
            Action::KillClient => {
                if let Some(client) = &self.client {
                    let _dead_already = os::kill_by_pidfd(client.as_fd(), libc::SIGKILL as u8);
                }
            }
            Action::Adopt => self.adopt(),
            Action::Refuse { reason } => self.refuse(reason),
            Action::Exit => self.over = true,
        }
    }

    /// Sets the timer to the next moment at which something is due.
    fn set_timer(&mut self) {
        let wanted = self.machine.wake_at().into_iter().chain(self.send_again).min();
        if wanted == self.armed {
            return;
        }
        let at = wanted.map_or(0, |at| at.max(1));
        let part = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let it_value = Timespec { tv_sec: part(at / NANOS), tv_nsec: part(at % NANOS) };
        let time = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        if timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &time).is_ok() {
            self.armed = wanted;
        }
    }

    /// Looks how a leader has ended.
    fn leader_ready(&mut self, slot: Slot) {
        self.answer_ready(slot);
        let Some((ending, usage)) = self.machine.pid_of(slot).and_then(os::peek) else { return };
        if let Some(pidfd) = self.handles.get(slot.index()).and_then(|handles| handles.pidfd.as_ref()) {
            // It stays readable, and is kept for a successor.
            let _not_watched = epoll::delete(&self.epoll, pidfd);
        }
        self.take(Input::LeaderEnded { slot, ending, usage });
    }

    /// Reads how the exec of a process has gone.
    fn answer_ready(&mut self, slot: Slot) {
        let Some(handles) = self.handles.get_mut(slot.index()) else { return };
        let Some(answer) = &handles.answer else { return };
        let mut bytes = [0; ANSWER_BYTES];
        let input = match rustix::io::read(answer, &mut bytes) {
            Ok(0) => Input::Executed { slot },
            Ok(_) => match read_answer(&bytes) {
                Some((step, errno)) => Input::NotExecuted { slot, step, errno },
                None => Input::Executed { slot },
            },
            Err(_) => return,
        };
        Server::close(&self.epoll, handles.answer.take());
        self.take(input);
    }

    fn client_ended(&mut self) {
        Server::close(&self.epoll, self.client.take());
        if let Some((pid, code)) = &mut self.child {
            *code = os::peek(*pid).map(|(ending, _)| ending.exit_code());
            os::reap(*pid);
        }
        self.take(Input::ClientDied);
    }

    fn signals_ready(&mut self) {
        while let Some((signal, code)) = os::read_signal(self.signals.as_fd()) {
            if signal == libc::SIGCHLD {
                self.census_due = true;
            } else if let (Some(client), Ok(signal)) = (&self.client, u8::try_from(signal)) {
                // A signal of the terminal has reached the client already.
                if code != SI_KERNEL {
                    let _dead_already = os::kill_by_pidfd(client.as_fd(), signal);
                }
            }
        }
        while let Some((pid, by)) = os::next_suspension() {
            if let Some(slot) = self.machine.slot_of(pid) {
                self.take(Input::Suspended { slot, by });
            }
        }
    }
}

/// The code of a signal that the kernel sent, for example for a key in the terminal (`sigaction(2)`).
const SI_KERNEL: c_int = 0x80;
