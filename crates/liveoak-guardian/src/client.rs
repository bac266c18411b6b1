//! The client's side: starts a guardian, sends requests, receives events.
//!
//! Nothing here waits for the guardian, except where a function says so. A program with an executor watches
//! [`Client`]'s descriptor for readability and calls [`Client::receive`].

use crate::channel::{self, Received};
use crate::forked::{ForkedGuardian, serve_as_parent};
use crate::machine::SLOT_BITS;
use crate::memory::Stack;
use crate::message::{Event, NotAdopted, OnDeadline, Reach, Request, Secret, Stream, Tag};
use crate::os;
use crate::spec::Spec;
use crate::wire::{MAX_MESSAGE, read_event, write_request};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use rustix::process::{PidfdFlags, WaitId, WaitIdOptions, getpid, pidfd_open, waitid};
use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long a guardian may take to begin, and how long a request may wait because the guardian does not read.
const PATIENCE: Duration = Duration::from_secs(1);

/// The stack of a guardian. Its largest values are a few buffers of 4 KiB.
const GUARDIAN_STACK: usize = 512 * 1024;

/// How a guardian treats the death of its client.
#[derive(Debug, Default)]
pub struct Succession {
    /// How long programs are kept. Zero kills them at once.
    pub hold: Duration,
    /// Where a successor calls ([`listen_for_successor`]). Needed if programs are kept.
    pub listener: Option<OwnedFd>,
    /// What a successor must know. Keep it in a file that only this user can read.
    pub secret: Option<Secret>,
}

/// A connection to a guardian, which ends all programs when this value is dropped.
///
/// The programs get user, groups, capabilities, niceness and namespaces that this process had when it started the
/// guardian. A start is refused if the user or the group has changed since.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    /// The guardian's pidfd.
    guardian: OwnedFd,
    pid: u32,
    /// The guardian, if it was executed.
    _child: Option<Child>,
}

/// The descriptors of a program.
#[derive(Debug, Default)]
pub struct Descriptors {
    /// Its pidfd.
    pub pidfd: Option<OwnedFd>,
    /// The write end of its standard input, and the read ends of standard output and error, if these are pipes.
    pub streams: [Option<OwnedFd>; 3],
}

/// What has happened to a guardian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardianChange {
    /// A signal has suspended it. Programs run on, but nothing is started, reported or killed.
    Suspended,
    /// It was continued.
    Continued,
    /// It has ended. The kernel has killed the leaders of its programs.
    Ended,
}

/// Why a successor got no guardian.
#[derive(Debug)]
pub enum TakeOverError {
    /// No guardian listens there.
    Io(io::Error),
    /// The guardian has refused.
    Refused(NotAdopted),
}

impl fmt::Display for TakeOverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TakeOverError::Io(_) => f.write_str("no guardian answers"),
            TakeOverError::Refused(NotAdopted::ClientAlive) => {
                f.write_str("the guardian's client is alive, or another successor has taken over")
            }
            TakeOverError::Refused(NotAdopted::Secret) => {
                f.write_str("the guardian does not know this secret")
            }
            TakeOverError::Refused(NotAdopted::User) => f.write_str("the guardian belongs to another user"),
            TakeOverError::Refused(NotAdopted::Ending) => f.write_str("the guardian is killing its programs"),
            TakeOverError::Refused(NotAdopted::Request) => {
                f.write_str("the guardian does not know the request")
            }
        }
    }
}

impl std::error::Error for TakeOverError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TakeOverError::Io(error) => Some(error),
            TakeOverError::Refused(_) => None,
        }
    }
}

/// Opens a socket on which a successor can call, for this user only.
///
/// # Errors
/// When the path is in use or too long.
pub fn listen_for_successor(path: &Path) -> io::Result<OwnedFd> {
    let socket = seqpacket()?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    // Until here a caller of another user could connect, but the guardian refuses it.
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listen(&socket, 4)?;
    Ok(socket)
}

fn seqpacket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

impl Secret {
    /// Creates a secret from the system's random numbers.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn random() -> io::Result<Secret> {
        random().map(Secret)
    }
}

impl Client {
    /// Forks a guardian from the current process, whatever threads it has. Waits at most a second for it.
    ///
    /// # Errors
    /// When the system has no process, memory or descriptor left.
    pub fn fork(succession: Succession) -> io::Result<Client> {
        let (socket, theirs) = channel::pair()?;
        let stack = Stack::new(GUARDIAN_STACK)?;
        let forked = ForkedGuardian { socket: theirs.as_fd(), stack: stack.range() };
        // A look at the clock makes its code ready, which reads files at the first call.
        let _ready = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let (pid, guardian) = os::without_signals(|| os::fork(&stack, &forked, ForkedGuardian::run))
            .map_err(io::Error::from_raw_os_error)?;
        drop(theirs);
        Client { socket, guardian, pid, _child: None }.begin(succession)
    }

    /// Starts a guardian by executing `command`, which must call [`serve_inherited`](crate::serve_inherited) in its first
    /// thread and do nothing else. Waits at most a second for it.
    ///
    /// # Errors
    /// As [`fork`](Client::fork), and when the program does not start.
    pub fn execute(mut command: Command, succession: Succession) -> io::Result<Client> {
        let (socket, theirs) = channel::pair()?;
        os::pass_as_3(&mut command, theirs);
        let child = command.process_group(0).spawn()?;
        let pid = child.id();
        let guardian = pidfd_open(pid_of(pid)?, PidfdFlags::empty())?;
        Client { socket, guardian, pid, _child: Some(child) }.begin(succession)
    }

    /// Splits the current process, for a program that is process 1 of a container: the function returns in a child process,
    /// and the present process becomes the guardian. The guardian reaps what it inherits, passes signals on, and ends with
    /// the exit code of the child after nothing is left. Waits at most a second.
    ///
    /// # Errors
    /// When the current process has more than one thread, and as [`fork`](Client::fork).
    pub fn split() -> io::Result<Client> {
        if fs::read_dir("/proc/self/task")?.count() != 1 {
            return Err(io::Error::other("a process with more than one thread cannot be split"));
        }
        let (socket, theirs) = channel::pair()?;
        let guardian = pidfd_open(getpid(), PidfdFlags::empty())?;
        let pid = std::process::id();
        match os::fork_alone().map_err(io::Error::from_raw_os_error)? {
            Some(child) => os::exit(serve_as_parent(theirs.as_fd(), child)),
            None => {
                drop(theirs);
                Client { socket, guardian, pid, _child: None }.begin(Succession::default())
            }
        }
    }

    /// Becomes the client of a guardian whose client has died. Waits at most a second for its answer. Returns the number
    /// of programs; an [`Event::Held`] follows for each of them.
    ///
    /// # Errors
    /// When no guardian listens there, or it refuses.
    pub fn take_over(path: &Path, secret: Secret) -> Result<(Client, u32), TakeOverError> {
        let call = || -> io::Result<Client> {
            let socket = seqpacket()?;
            connect(&socket, &SocketAddrUnix::new(path)?)?;
            // Replaced by the guardian's as soon as its id is known.
            let guardian = pidfd_open(getpid(), PidfdFlags::empty())?;
            let client = Client { socket, guardian, pid: 0, _child: None };
            client.send(&Request::TakeOver { secret }, &[])?;
            Ok(client)
        };
        let mut client = call().map_err(TakeOverError::Io)?;
        match client.receive_within(PATIENCE).map_err(TakeOverError::Io)? {
            Some((Event::Adopted { pid, programs }, _)) => {
                let guardian = pid_of(pid).and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?));
                (client.pid, client.guardian) = (pid, guardian.map_err(TakeOverError::Io)?);
                Ok((client, programs))
            }
            Some((Event::NotAdopted { reason }, _)) => Err(TakeOverError::Refused(reason)),
            _ => Err(TakeOverError::Io(io::ErrorKind::TimedOut.into())),
        }
    }

    fn begin(mut self, succession: Succession) -> io::Result<Client> {
        let mark = u64::from_le_bytes(random()?) >> 2 & !((1 << SLOT_BITS) - 1) | 1 << SLOT_BITS;
        let hold_ns = u64::try_from(succession.hold.as_nanos()).unwrap_or(u64::MAX);
        let secret = succession.secret.map_or_else(Secret::random, Ok)?;
        let own = pidfd_open(getpid(), PidfdFlags::empty())?;
        let listener = succession.listener.as_ref().filter(|_| hold_ns > 0);
        let with: Vec<BorrowedFd<'_>> = [own.as_fd()].into_iter().chain(listener.map(AsFd::as_fd)).collect();
        self.send(&Request::Begin { mark, hold_ns, secret }, &with)?;
        match self.receive_within(PATIENCE)? {
            Some((Event::Hello { pid }, _)) => self.pid = pid,
            Some(_) => return Err(io::ErrorKind::InvalidInput.into()),
            None => return Err(io::Error::new(io::ErrorKind::TimedOut, "the guardian does not answer")),
        }
        Ok(self)
    }

    /// Returns the guardian's process id.
    pub fn guardian_id(&self) -> u32 {
        self.pid
    }

    /// Returns the guardian's pidfd, which is readable once the guardian has ended.
    pub fn guardian(&self) -> BorrowedFd<'_> {
        self.guardian.as_fd()
    }

    /// Starts a program. `given` are the streams that are [given](Stream::Given), in their order. Answered by
    /// [`Event::Started`] or [`Event::Refused`].
    ///
    /// # Errors
    /// When the guardian is gone, does not read for a second, or the system has no memory or descriptor left.
    pub fn spawn(
        &self,
        id: u64,
        spec: &Spec,
        streams: [Stream; 3],
        given: &[BorrowedFd<'_>],
        tag: Tag,
    ) -> io::Result<()> {
        let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let sealed = spec.seal(user, group)?;
        let folder = openat(CWD, c".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let with: Vec<BorrowedFd<'_>> =
            [sealed.as_fd(), folder.as_fd()].into_iter().chain(given.iter().copied()).collect();
        self.send(&Request::Spawn { id, streams, tag }, &with)
    }

    /// Sends a signal to a program. Answered by [`Event::Signalled`].
    ///
    /// # Errors
    /// When the guardian is gone, or does not read for a second.
    pub fn signal(&self, id: u64, signal: u8, reach: Reach) -> io::Result<()> {
        self.send(&Request::Signal { id, signal, reach }, &[])
    }

    /// Kills each process of a program, until [`Event::Gone`].
    ///
    /// # Errors
    /// As [`signal`](Client::signal).
    pub fn kill(&self, id: u64) -> io::Result<()> {
        self.send(&Request::Kill { id }, &[])
    }

    /// Forgets a program after [`Event::Gone`] or [`Event::Refused`]. Until then a successor learns of it.
    ///
    /// # Errors
    /// As [`signal`](Client::signal).
    pub fn release(&self, id: u64) -> io::Result<()> {
        self.send(&Request::Release { id }, &[])
    }

    /// Sets the deadline to `after` from now, or moves it. When it passes, the guardian kills the programs, even if this
    /// process is suspended. The time in which the machine sleeps counts.
    ///
    /// # Errors
    /// As [`signal`](Client::signal).
    pub fn arm(&self, after: Duration, action: OnDeadline) -> io::Result<()> {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let now =
            Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0));
        let deadline_ns = u64::try_from(now.saturating_add(after).as_nanos()).unwrap_or(u64::MAX);
        self.send(&Request::Arm { deadline_ns, action }, &[])
    }

    /// Sends any request, with its descriptors. Waits up to a second while the guardian does not read.
    ///
    /// # Errors
    /// `TimedOut` after that second: the guardian is suspended, or this process does not receive its events. `BrokenPipe`
    /// if it is gone.
    pub fn send(&self, request: &Request, with: &[BorrowedFd<'_>]) -> io::Result<()> {
        let message = write_request(request);
        loop {
            match channel::send(self.socket.as_fd(), message.as_bytes(), with) {
                Err(Errno::AGAIN) if self.wait(PollFlags::OUT, PATIENCE)? => {}
                Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                done => return Ok(done?),
            }
        }
    }

    /// Returns the next event, or `None` if there is none now.
    ///
    /// # Errors
    /// `UnexpectedEof` if the guardian has ended.
    pub fn receive(&self) -> io::Result<Option<(Event, Descriptors)>> {
        let mut bytes = [0; MAX_MESSAGE + 1];
        match channel::receive(self.socket.as_fd(), &mut bytes) {
            Ok((0, _)) | Err(Errno::CONNRESET) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((len, received)) => {
                let event = read_event(bytes.get(..len).unwrap_or_default());
                let event = event.map_err(|_| io::ErrorKind::InvalidData)?;
                Ok(Some((event, Descriptors::of(&event, received))))
            }
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits up to `within` for the next event.
    ///
    /// # Errors
    /// As [`receive`](Client::receive).
    pub fn receive_within(&self, within: Duration) -> io::Result<Option<(Event, Descriptors)>> {
        let end = Instant::now() + within;
        loop {
            let received = self.receive()?;
            if received.is_some()
                || !self.wait(PollFlags::IN, end.saturating_duration_since(Instant::now()))?
            {
                return Ok(received);
            }
        }
    }

    /// Waits until the socket is ready. Returns `false` after `within`.
    fn wait(&self, flags: PollFlags, within: Duration) -> io::Result<bool> {
        let within = Timespec::try_from(within).map_err(|_| io::ErrorKind::InvalidInput)?;
        loop {
            match poll(&mut [PollFd::new(&self.socket, flags)], Some(&within)) {
                Err(Errno::INTR) => {}
                ready => return Ok(ready? > 0),
            }
        }
    }

    /// Blocks until the guardian is suspended, continued, or has ended, and returns which. For a thread of its own. Works
    /// only for a guardian that this process has forked or executed.
    ///
    /// # Errors
    /// When the guardian is no child of this process.
    pub fn wait_for_change(&self) -> io::Result<GuardianChange> {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::CONTINUED | WaitIdOptions::EXITED;
        loop {
            match waitid(WaitId::PidFd(self.guardian.as_fd()), options) {
                Err(Errno::INTR) => {}
                status => {
                    return Ok(match status? {
                        Some(status) if status.stopped() => GuardianChange::Suspended,
                        Some(status) if status.continued() => GuardianChange::Continued,
                        _ => GuardianChange::Ended,
                    });
                }
            }
        }
    }

    /// Ends all programs and the guardian, and waits up to `within` until nothing is left. Returns `false` if something is
    /// left, which the guardian goes on killing.
    ///
    /// # Errors
    /// When the guardian has ended before.
    pub fn end(self, within: Duration) -> io::Result<bool> {
        self.send(&Request::End, &[])?;
        let end = Instant::now() + within;
        loop {
            match self.receive_within(end.saturating_duration_since(Instant::now())) {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
        }
        // It has closed its socket, so it is about to end.
        let _not_a_child = waitid(WaitId::PidFd(self.guardian.as_fd()), WaitIdOptions::EXITED);
        Ok(true)
    }
}

fn pid_of(pid: u32) -> io::Result<rustix::process::Pid> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Client {
    fn as_raw_fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

impl Descriptors {
    /// Puts the descriptors beside an event where they belong.
    fn of(event: &Event, mut received: Received) -> Descriptors {
        let (Event::Started { pipes, .. } | Event::Held { pipes, .. }) = event else {
            return Descriptors::default();
        };
        let pidfd = received.take();
        Descriptors { pidfd, streams: pipes.map(|pipe| if pipe { received.take() } else { None }) }
    }
}
