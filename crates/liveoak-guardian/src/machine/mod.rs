//! What a guardian decides, without a system call: inputs go in, actions and events come out.
//!
//! The loop (`serve.rs`) turns what happens into an [`Input`], gives it to [`Machine::handle`], and then carries out
//! each [`Action`] until there is none. Events wait in the machine until the client's socket takes them
//! (`events.rs`).
//!
//! Invariants:
//!
//! 1. A program has one slot from its start until the client releases it. Its leader is not reaped before its set is
//!    empty, so neither its process id nor the number of its group can belong to other processes.
//! 2. Each event of a program is told once to each client, in the order in which it happened. No event is dropped
//!    while a client or a successor may read it: a slot has room for each of its events, and is freed after the last
//!    one was sent.
//! 3. The clock is looked at before everything else. So a request that arrives after the deadline does not count as
//!    one that arrived before it.
//! 4. Once a program is being killed, each of its processes is killed as soon as it is seen, until none is left.
//! 5. Nothing is started after the deadline has passed, and nothing while everything is ending.

mod ending;
mod events;
mod programs;
mod requests;
#[cfg(test)]
mod tests;

use crate::ending::{Ending, Usage};
use crate::memory::Table;
use crate::message::{NotAdopted, OnDeadline, Reach, Request, Secret, Step, Tag};
use crate::pid_set::PidSet;
use crate::ring::Ring;
pub(crate) use events::Sending;
use events::{EVENTS_OF_A_PROGRAM, Queued};
use std::io;

/// The bits of a mark that hold the slot of a program.
pub const SLOT_BITS: u32 = 14;

/// The most programs at the same time, including those that are gone and not released.
pub const MAX_PROGRAMS: usize = 1 << SLOT_BITS;

/// The most answers that wait to be sent. While as many wait, no further request is read.
pub(crate) const MAX_REPLIES: usize = 256;

/// The number of a program's place in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(pub(crate) u32);

impl Slot {
    /// Returns the index.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Something that happened.
#[expect(
    clippy::large_enum_variant,
    reason = "a tag stands in the value, because a guardian has no allocator"
)]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input {
    /// The client sent a message.
    Request(Request),
    /// The client sent bytes that are no message of this kind.
    Unreadable { kind: u8 },
    /// A program was forked.
    Forked { slot: Slot, pid: u32 },
    /// A program was not forked.
    NotForked { slot: Slot, step: Step, errno: i32 },
    /// A forked process has executed its program.
    Executed { slot: Slot },
    /// A forked process could not execute its program, and is about to exit.
    NotExecuted { slot: Slot, step: Step, errno: i32 },
    /// A leader has ended. It was not reaped.
    LeaderEnded { slot: Slot, ending: Ending, usage: Usage },
    /// A leader was suspended by a signal, or continued.
    Suspended { slot: Slot, by: Option<u8> },
    /// A signal was sent, or refused.
    Signalled { slot: Slot, errno: i32 },
    /// The system has refused to kill a process.
    KillRefused { slot: Slot, pid: u32, errno: i32 },
    /// The children of the guardian are about to be counted.
    CensusBegins,
    /// A living child that is not a leader, and the slot that its mark names.
    Orphan { pid: u32, slot: Option<Slot> },
    /// All children were counted.
    CensusEnds,
    /// The client's socket is closed.
    ClientClosed,
    /// The client's process has ended.
    ClientDied,
    /// A process with this user's rights has called on the listening socket.
    Successor { secret: Secret },
    /// Time has passed.
    Tick,
}

/// Something that the loop must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Fork a program with the descriptors of the present request.
    Start { slot: Slot },
    /// Kill the leader of a program and its group.
    KillProgram { slot: Slot },
    /// Kill a child that is not a leader.
    KillOrphan { pid: u32, slot: Option<Slot> },
    /// Send a signal to a program.
    Signal { slot: Slot, signal: u8, reach: Reach },
    /// Reap a leader. No process of the program is left.
    Reap { slot: Slot, pid: u32 },
    /// Close the streams of a program.
    CloseStreams { slot: Slot },
    /// Close all descriptors of a program.
    Free { slot: Slot },
    /// Kill the client's process.
    KillClient,
    /// Make the calling process the client.
    Adopt,
    /// Refuse the calling process.
    Refuse { reason: NotAdopted },
    /// End the guardian.
    Exit,
}

/// What is known of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientState {
    /// It has not sent its first message.
    New,
    Connected,
    /// Its socket is closed. Its process may be alive.
    Closed,
    Dead,
}

/// The state of a program. Each is left only for one that stands below it, except that `Free` begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Free,
    /// It is about to be forked, or was forked.
    Starting,
    Running,
    /// Its exec failed; the process is about to exit.
    Failing,
    /// Its leader has ended and was not reaped.
    Ended,
    /// No process of it is left, and the leader was reaped.
    Gone,
    /// It was not started.
    Refused,
}

/// What is known of a program.
#[derive(Clone, Copy, Debug)]
struct Program {
    id: u64,
    /// Zero before the fork.
    pid: u32,
    phase: Phase,
    /// `true` from the first kill on (invariant 4).
    killing: bool,
    /// `true` once the exit was put into the queue.
    exit_told: bool,
    /// `true` once its last event was sent, so that it may be released.
    over_told: bool,
    suspended: Option<u8>,
    /// `true` while an event about a suspension waits.
    suspension_queued: bool,
    /// The process that the system refuses to kill, and the error; told once.
    refused_kill: Option<(u32, i32)>,
    /// How the leader ended; `Lost` before.
    ending: Ending,
    usage: Usage,
    /// The processes that the present census has found, without the leader.
    members: u32,
    /// The same number when the exit was told.
    left: u32,
    /// Why it was not started.
    step: Step,
    errno: i32,
}

const FREE: Program = Program {
    id: 0,
    pid: 0,
    phase: Phase::Free,
    killing: false,
    exit_told: false,
    over_told: false,
    suspended: None,
    suspension_queued: false,
    refused_kill: None,
    ending: Ending::Lost,
    usage: Usage { user_us: 0, system_us: 0, memory_kib: 0 },
    members: 0,
    left: 0,
    step: Step::Request,
    errno: 0,
};

/// The state of a guardian.
pub(crate) struct Machine {
    /// By slot. Grows up to the most programs that ever lived at the same time.
    programs: Table<Program>,
    /// The ids of `programs`, so that a look-up touches little memory. Zero for a free slot.
    ids: Table<u64>,
    /// The tags of `programs`.
    tags: Table<Tag>,
    /// The ids of the leaders that were not reaped, and of a client that is a child.
    leaders: PidSet,
    /// The strays that were told.
    told_strays: PidSet,
    /// The strays that the last census has found.
    strays: u32,
    /// `true` if `strays` is the result of a census that began after everything began to end.
    counted: bool,
    /// The events that wait to be sent. Bounded by invariant 2 and [`MAX_REPLIES`].
    queue: Ring<Queued>,
    /// The answers in `queue`.
    replies: usize,
    /// What the loop must do. Emptied after each input.
    actions: Ring<Action>,
    client: ClientState,
    mark: u64,
    secret: Secret,
    /// How long programs are kept after the client's death; zero to kill them.
    hold_ns: u64,
    /// When the programs are killed that are kept.
    held_until: Option<u64>,
    deadline: Option<(u64, OnDeadline)>,
    /// `true` after the deadline has passed, until a new one is set.
    expired: bool,
    /// `true` if everything ends (invariant 5).
    ending: bool,
    /// The next slot that is handed over to a successor, and whether the head of the hand-over was sent.
    hand_over: Option<(usize, bool)>,
    /// `true` once [`Action::Exit`] was given.
    over: bool,
    own_pid: u32,
}

impl Machine {
    /// Creates the state of a guardian whose client has not yet sent a message. All memory is mapped here.
    ///
    /// # Errors
    /// When the system has no address space left.
    pub(crate) fn new(own_pid: u32) -> io::Result<Machine> {
        Machine::with_room(own_pid, MAX_PROGRAMS)
    }

    /// Does the same for at most `room` programs.
    fn with_room(own_pid: u32, room: usize) -> io::Result<Machine> {
        Ok(Machine {
            programs: Table::new(room)?,
            ids: Table::new(room)?,
            tags: Table::new(room)?,
            leaders: PidSet::new()?,
            told_strays: PidSet::new()?,
            strays: 0,
            counted: false,
            queue: Ring::new(room * EVENTS_OF_A_PROGRAM + MAX_REPLIES * 2)?,
            replies: 0,
            // One input acts at most once on each program, and reaps or frees it at most once.
            actions: Ring::new(room * 3 + 16)?,
            client: ClientState::New,
            mark: 0,
            secret: Secret([0; 32]),
            hold_ns: 0,
            held_until: None,
            deadline: None,
            expired: false,
            ending: false,
            hand_over: None,
            over: false,
            own_pid,
        })
    }

    /// Takes an input at the moment `now` of `CLOCK_BOOTTIME`. Afterwards the caller carries out
    /// [`next_action`](Machine::next_action) until there is none.
    pub(crate) fn handle(&mut self, now: u64, input: Input) {
        self.look_at_clock(now);
        match input {
            Input::Request(request) => self.request(now, request),
            Input::Unreadable { kind } => self.reply(Queued::Invalid { kind, id: 0 }),
            Input::Forked { slot, pid } => self.forked(slot, pid),
            Input::NotForked { slot, step, errno } => self.not_started(slot, step, errno),
            Input::Executed { slot } => self.executed(slot),
            Input::NotExecuted { slot, step, errno } => self.not_executed(slot, step, errno),
            Input::LeaderEnded { slot, ending, usage } => self.leader_ended(slot, ending, usage),
            Input::Suspended { slot, by } => self.suspended(slot, by),
            Input::Signalled { slot, errno } => self.signalled(slot, errno),
            Input::KillRefused { slot, pid, errno } => self.kill_refused(slot, pid, errno),
            Input::CensusBegins => self.begin_census(),
            Input::Orphan { pid, slot } => self.count_orphan(pid, slot),
            Input::CensusEnds => self.end_census(),
            Input::ClientClosed => self.client_closed(now),
            Input::ClientDied => self.client_died(now),
            Input::Successor { secret } => self.successor(&secret),
            Input::Tick => {}
        }
        self.exit_if_over();
    }

    /// Returns the next thing to do.
    pub(crate) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop()
    }

    /// Returns the next moment at which [`Input::Tick`] is needed.
    pub(crate) fn wake_at(&self) -> Option<u64> {
        let deadline = self.deadline.map(|(at, _)| at);
        deadline.into_iter().chain(self.held_until).min()
    }

    /// Returns `true` if a request can be answered now.
    pub(crate) fn accepts_requests(&self) -> bool {
        self.replies < MAX_REPLIES
    }

    /// Returns `true` if the end of some program is known only after a census.
    pub(crate) fn wants_census(&self) -> bool {
        self.programs.iter().any(|program| program.phase == Phase::Ended) || self.ending && !self.over
    }

    /// Returns `true` if a child of the guardian is the leader of a program.
    pub(crate) fn is_leader(&self, pid: u32) -> bool {
        self.leaders.contains(pid)
    }

    /// Makes a child of the guardian known that is the client, so that it is not taken for an orphan.
    pub(crate) fn client_is_child(&mut self, pid: u32) {
        self.leaders.insert(pid);
    }

    /// Returns the slot of a leader.
    pub(crate) fn slot_of(&self, pid: u32) -> Option<Slot> {
        let at = self.programs.iter().position(|program| {
            program.pid == pid && !matches!(program.phase, Phase::Free | Phase::Gone | Phase::Refused)
        })?;
        u32::try_from(at).ok().map(Slot)
    }

    /// Returns the process id of a program, which may have ended but was not reaped.
    pub(crate) fn pid_of(&self, slot: Slot) -> Option<u32> {
        let program = self.programs.get(slot.index())?;
        let lives = !matches!(program.phase, Phase::Free | Phase::Gone | Phase::Refused);
        (lives && program.pid != 0).then_some(program.pid)
    }

    /// Returns `true` if streams are kept for a successor.
    pub(crate) fn keeps_streams(&self) -> bool {
        self.hold_ns > 0
    }

    /// Returns the mark of a program.
    pub(crate) fn mark_of(&self, slot: Slot) -> u64 {
        self.mark | u64::from(slot.0)
    }

    /// Returns the slot that a mark names, if it is a mark of this guardian.
    pub(crate) fn slot_of_mark(&self, mark: u64) -> Option<Slot> {
        let slot = Slot(u32::try_from(mark & (MAX_PROGRAMS as u64 - 1)).ok()?);
        (mark & !(MAX_PROGRAMS as u64 - 1) == self.mark && self.mark != 0).then_some(slot)
    }

    fn act(&mut self, action: Action) {
        // There is room: one input acts at most three times on each program, and the loop empties the queue.
        let _room = self.actions.push(action);
    }
}
