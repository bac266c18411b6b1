//! The messages between a client and its guardian, as values.
//!
//! `wire.rs` has their form in bytes. Descriptors travel beside a message; the documentation of the message names them
//! in their order.

use crate::ending::{Ending, Usage};

/// The longest tag of a program, in bytes.
pub const MAX_TAG: usize = 256;

/// The bytes of the secret that a successor must know.
pub const SECRET_BYTES: usize = 32;

/// The secret of a succession.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u8; SECRET_BYTES]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// Compares two secrets in a time that does not depend on where they differ.
    pub(crate) fn matches(&self, other: &Secret) -> bool {
        self.0.iter().zip(other.0).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

/// Bytes that a client gives to a program, and that a successor gets back: for example the path of a child.
#[derive(Clone, Copy)]
pub struct Tag {
    bytes: [u8; MAX_TAG],
    len: u16,
}

impl Tag {
    /// A tag without bytes.
    pub const EMPTY: Tag = Tag { bytes: [0; MAX_TAG], len: 0 };

    /// Creates a tag, or returns `None` if there are more than [`MAX_TAG`] bytes.
    pub fn new(bytes: &[u8]) -> Option<Tag> {
        let mut tag = Tag { bytes: [0; MAX_TAG], len: u16::try_from(bytes.len()).ok()? };
        tag.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(tag)
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl PartialEq for Tag {
    fn eq(&self, other: &Tag) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Tag {}

impl std::fmt::Debug for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tag({:?})", String::from_utf8_lossy(self.as_bytes()))
    }
}

/// Where one of the three standard streams of a program leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// To `/dev/null`.
    Null,
    /// Through a pipe. The client gets the other end.
    Pipe,
    /// To a descriptor that the client sends.
    Given,
    /// To the same place as standard output. Only for standard error.
    Merged,
}

/// Which processes of a program a signal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only the leader.
    Leader,
    /// The leader and its process group.
    Group,
    /// The whole set: the group, and each descendant of the leader, whatever its group and session.
    Set,
}

/// What ends when the deadline passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDeadline {
    /// The programs.
    KillPrograms,
    /// The programs and the client.
    KillProgramsAndClient,
}

/// A message of the client.
#[expect(
    clippy::large_enum_variant,
    reason = "a tag stands in the value, because a guardian has no allocator"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Begins the work. The first message; refused later. With a pidfd of the client, and for an adoption with the
    /// listening socket on which a successor calls.
    Begin {
        /// Identifies the guardian in the marks of its programs. The lowest [`SLOT_BITS`](crate::SLOT_BITS) bits are
        /// not used.
        mark: u64,
        /// How long programs are kept when the client has died. Zero kills them at once.
        hold_ns: u64,
        /// What a successor must know.
        secret: Secret,
    },
    /// Starts a program. With its sealed [`Spec`](crate::Spec), the folder if the spec names none, and the given
    /// streams.
    Spawn {
        /// The number by which later messages name the program. Not zero, and used once.
        id: u64,
        /// Standard input, output and error.
        streams: [Stream; 3],
        /// Returned to a successor.
        tag: Tag,
    },
    /// Sends a signal. Answered by [`Event::Signalled`].
    Signal {
        /// The program.
        id: u64,
        /// The number of the signal.
        signal: u8,
        /// Which processes get it.
        reach: Reach,
    },
    /// Kills each process of the program, also those that appear later, until none is left.
    Kill {
        /// The program.
        id: u64,
    },
    /// Drops the guardian's copies of the streams of a program, so that a process that still writes to them fails.
    CloseStreams {
        /// The program.
        id: u64,
    },
    /// Forgets a program that is gone or was refused. Until then a successor learns of it.
    Release {
        /// The program.
        id: u64,
    },
    /// Sets the deadline, or moves it.
    Arm {
        /// The moment, in nanoseconds of `CLOCK_BOOTTIME`.
        deadline_ns: u64,
        /// What ends then.
        action: OnDeadline,
    },
    /// Removes the deadline.
    Disarm,
    /// Asks for an [`Event::Pong`].
    Ping {
        /// Returned in the answer.
        nonce: u64,
    },
    /// Kills everything, and ends the guardian when nothing is left.
    End,
    /// Asks to become the client of a guardian whose client has died.
    TakeOver {
        /// What the dead client has chosen.
        secret: Secret,
    },
}

/// The step at which a start failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The request: an id that is in use, or a descriptor is missing.
    Request,
    /// There is no place for a further program.
    Full,
    /// The deadline has passed, or the guardian is ending everything.
    Ending,
    /// The pipes of the program.
    Pipes,
    /// The fork.
    Fork,
    /// The spec could not be read.
    Spec,
    /// The user or group is not the one that the client expects.
    Identity,
    /// The standard streams.
    Streams,
    /// The process group, the parent-death signal, or a limit.
    Setup,
    /// The folder.
    Folder,
    /// The exec.
    Exec,
}

/// What is known of a program at a succession.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldState {
    /// It was forked, and has not yet executed its program.
    Starting,
    /// It runs.
    Running,
    /// Its leader has ended; descendants are alive.
    Ended,
    /// Nothing of it is left.
    Gone,
    /// It was not started.
    Refused,
}

/// Why a successor was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdopted {
    /// The client is alive, or a successor has taken over already.
    ClientAlive,
    /// The secret is wrong.
    Secret,
    /// Another user called.
    User,
    /// The programs are being killed.
    Ending,
    /// The first message was not [`Request::TakeOver`].
    Request,
}

/// A message of the guardian.
#[expect(
    clippy::large_enum_variant,
    reason = "a tag stands in the value, because a guardian has no allocator"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The answer to [`Request::Begin`].
    Hello {
        /// The guardian's process id.
        pid: u32,
    },
    /// A program was executed. With its pidfd, and the client's ends of the streams that are pipes.
    Started {
        /// The program.
        id: u64,
        /// Its process id, which is also the number of its process group.
        pid: u32,
        /// Which of the three streams are among the descriptors.
        pipes: [bool; 3],
    },
    /// A program was not started.
    Refused {
        /// The program.
        id: u64,
        /// Where the start failed.
        step: Step,
        /// The error number, or zero.
        errno: i32,
    },
    /// A program's leader has ended.
    Exited {
        /// The program.
        id: u64,
        /// How it ended.
        ending: Ending,
        /// What it has used.
        usage: Usage,
        /// How many further processes of the program live as children of the guardian. Not zero after code 0 means
        /// that the program became a daemon.
        left: u32,
    },
    /// No process of a program is left.
    Gone {
        /// The program.
        id: u64,
    },
    /// A signal has suspended the leader of a program, or it was continued.
    Suspended {
        /// The program.
        id: u64,
        /// The signal, or `None` after the continuation.
        by: Option<u8>,
    },
    /// The answer to [`Request::Signal`].
    Signalled {
        /// The program.
        id: u64,
        /// The error number, or zero.
        errno: i32,
    },
    /// The system refuses to kill a process of a program.
    KillRefused {
        /// The program.
        id: u64,
        /// The process.
        pid: u32,
        /// The error number.
        errno: i32,
    },
    /// The answer to [`Request::Ping`].
    Pong {
        /// As in the request.
        nonce: u64,
    },
    /// The deadline has passed. The programs are being killed.
    Expired,
    /// A message could not be read, names an unknown program, or is not allowed now.
    Invalid {
        /// The kind of the message, or zero.
        kind: u8,
        /// The program that it names, or zero.
        id: u64,
    },
    /// A process became a child of the guardian, and it is not known to which program it belongs.
    Stray {
        /// The process.
        pid: u32,
    },
    /// The first message to a successor. [`Event::Held`] follows for each program.
    Adopted {
        /// The guardian's process id.
        pid: u32,
        /// How many programs are handed over.
        programs: u32,
    },
    /// A successor was refused.
    NotAdopted {
        /// The reason.
        reason: NotAdopted,
    },
    /// A program that is handed over. With its pidfd unless it was refused, and the client's ends of the pipes.
    Held {
        /// The program.
        id: u64,
        /// Its process id.
        pid: u32,
        /// What is known of it.
        state: HeldState,
        /// How its leader ended, if it has.
        ending: Option<Ending>,
        /// What its leader has used, if it has ended.
        usage: Usage,
        /// Which of the three streams are among the descriptors.
        pipes: [bool; 3],
        /// As in the request.
        tag: Tag,
    },
}
