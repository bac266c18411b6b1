//! The machine: it decides the life of every child of one tree, and leaves the work to the driver.
//!
//! Inputs of one closed set go in ([`Input`]), and effects of one closed set come out ([`Effect`]). Each child is one
//! small state machine ([`Phase`](state::Phase)). Whenever something changed below a supervisor, the machine evaluates
//! the supervisor: it takes the next steps that are due ([`advance`](Machine::advance), called by `settle`). The states
//! of the children alone decide these steps. There is no plan in progress that could be out of date. So a stop, a
//! removal or a second failure during a restart needs no special case.
//!
//! ```text
//!            start                    ready
//!   idle ──────────► waiting ─► starting ─► running
//!    ▲                 ▲  ▲         │          │ ended by itself ─► table restart × exit
//!    │                 │  └─ backing off ◄─────┴────────────────────┘ │
//!    └─────────────────┴── stopping (asked ► killed ► abandoned) ◄── stop, restart set, missed deadline
//! ```
//!
//! The files form layers. A method calls only methods of its own file and of files before it in this list:
//!
//! 1. `interface` - inputs, effects, commands and their replies
//! 2. `plan` - the plan of a stop: when it becomes more forceful
//! 3. `check_run` - the checks of one attempt: when each is tried, and which fail
//! 4. `child_name` - the names of children: given, or made from a slot
//! 5. `state` - the state of one child, and the legal combinations of its fields
//! 6. `health` - the health of one child: what it reports, and what its checks say
//! 7. `copy` - copies of the arena for snapshots, taken a few slots at a time
//! 8. `arena` - where children are kept and found
//! 9. `stability` - which attempts are stable, and what a stable run resets
//! 10. `phase` - what changes along with a phase; one deadline for each child and purpose
//! 11. `driver_queue` - the effects and events that the driver has not polled yet
//! 12. `watch` - waits for the end of an attempt, or for the readiness of a child
//! 13. `condition` - whether a child may start, what it waits for, and which children a restart takes down
//! 14. `wish` - why a child that does not start with its supervisor is wanted
//! 15. `history` - the last exits of each child and the last commands of the tree
//! 16. `snapshot` - the snapshot of the tree
//! 17. `explain` - what a child does now and why, as one value
//! 18. `reply` - when a command is answered, and the report of a stop
//! 19. `self_wait` - waits of a body for the end or the readiness of its own attempt
//! 20. `survivors` - processes that are still alive after their attempt was abandoned
//! 21. `paused` - what a pause means for one child
//! 22. `checks` - when the checks of a child are tried
//! 23. `brought` - what a start brings along
//! 24. `start` - the start of one attempt
//! 25. `trial` - trial attempts of quarantined children
//! 26. `pause` - the commands to pause and to resume
//! 27. `stopped` - what follows when a child is down
//! 28. `stop` - the orders to ask and to kill, also within a time that a command says
//! 29. `unneeded` - the stop of what was brought along
//! 30. `needs` - dependencies that hold while a child runs
//! 31. `auto_shutdown` - the end of a supervisor with its significant children
//! 32. `restart` - limits, backoff, restart set, giving up
//! 33. `exit` - the end of an attempt, and what follows its exit
//! 34. `stop_progress` - the next children to ask, abandoning, the end of a supervisor
//! 35. `stuck` - what follows when a poll takes too long
//! 36. `time_jump` - deadlines that are seen late, because the process could not run
//! 37. `verdict` - what follows from the answers of checks
//! 38. `advance` - the next steps of each supervisor, and what happens when a deadline has come
//! 39. `command` - what each command does; adding children and members
//! 40. `wanted` - which children are wanted: the steps of a change to a mode
//! 41. `apply` - another declaration takes the place of the tree's
//! 42. `failure` - the end of a machine that has panicked
//! 43. `mod` - the machine itself: it takes inputs and gives effects
//!
//! Numbers like "C10" are rows of docs/conformance.md, which compares the rules with those of OTP.

mod advance;
mod apply;
mod arena;
mod auto_shutdown;
mod brought;
mod check_run;
mod checks;
mod child_name;
mod command;
mod condition;
mod copy;
mod driver_queue;
mod exit;
mod explain;
mod failure;
mod health;
mod history;
mod interface;
mod needs;
mod pause;
mod paused;
mod phase;
mod plan;
mod reply;
mod restart;
mod self_wait;
mod snapshot;
mod stability;
mod start;
mod state;
mod stop;
mod stop_progress;
mod stopped;
mod stuck;
mod survivors;
mod time_jump;
mod trial;
mod unneeded;
mod verdict;
mod wanted;
mod watch;
mod wish;

#[cfg(test)]
mod tests;

pub use apply::OrderPlace;
pub use driver_queue::MAX_QUEUED_EFFECTS;
#[cfg(feature = "testing")]
pub use driver_queue::PanicAt;
pub use interface::{Command, Effect, Input, MAX_WAITERS, Outcome, Refusal, Wanted};
pub use self_wait::{Asker, Awaited};
pub use snapshot::TreeCopy;
pub use wanted::ModeStep;
pub use watch::Moment;

use crate::{Attempt, ChildDeclaration, ChildForm, ChildId, Origin, Severity, SpecErrors, Time};
use arena::Arena;
use driver_queue::DriverQueue;
use state::{Index, Purpose};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;
use watch::Watches;

/// The supervision machine of one tree.
#[derive(Debug)]
pub struct Machine {
    /// All children.
    arena: Arena,
    /// The root of the tree.
    root: Index,
    /// The time of the current input.
    now: Time,
    /// The random number of the current input.
    random: u64,
    /// The effects that the driver has not polled yet.
    driver_queue: DriverQueue,
    /// The supervisors to evaluate, by depth. The deepest comes first, because the next steps of a supervisor depend on the
    /// supervisors below it.
    to_evaluate: BinaryHeap<(u32, Reverse<Index>)>,
    /// The deadlines of all children. Simultaneous ones come in the order of their children's slots.
    timers: BTreeSet<(Time, Index, Purpose)>,
    /// When deadlines were last seen late, because the process did not run.
    last_jump: Time,
    /// The callers that wait for a moment in the life of a child.
    watches: Watches,
    /// The number of starts that were ordered so far.
    starts: u64,
    /// Who gives the current input, and why.
    origin: Option<Arc<Origin>>,
    /// The time within which the current input stops its child, instead of the declared one.
    stop_budget: Option<Duration>,
    /// What happened to the tree before.
    history: history::TreeHistory,
    /// Another declaration is taking the place of the present one, so nothing counts as not needed any more.
    applies: bool,
    /// The tree has ended.
    ended: bool,
    /// Where a test lets it panic.
    #[cfg(feature = "testing")]
    panics_at: Option<PanicAt>,
}

impl Machine {
    /// Creates the machine of the tree that `root` declares. Returns the machine and the ids of all declared children:
    /// the root first, each supervisor before its children, and children in the order of their declaration. Nothing
    /// starts before [`Input::Start`].
    ///
    /// # Errors
    /// Returns all errors in the specs.
    ///
    /// # Panics
    /// When `root` is a leaf: a tree is a supervisor or a group.
    pub fn new(root: &ChildDeclaration) -> Result<(Self, Vec<ChildId>), SpecErrors> {
        let is_leaf = matches!(root.form, ChildForm::Leaf);
        assert!(!is_leaf, "the root of a tree is a supervisor or a group, not a leaf");
        let resolved = root.resolved();
        let root = &*resolved;
        root.check_resolved()?;
        let mut arena = Arena::new();
        let ids = arena.insert(None, root, Time::ZERO);
        let machine = Self {
            arena,
            root: Index::of_slot(ids[0].slot),
            now: Time::ZERO,
            random: 0,
            driver_queue: DriverQueue::default(),
            to_evaluate: BinaryHeap::new(),
            timers: BTreeSet::new(),
            last_jump: Time::ZERO,
            watches: Watches::default(),
            starts: 0,
            origin: None,
            stop_budget: None,
            history: history::TreeHistory::default(),
            applies: false,
            ended: false,
            #[cfg(feature = "testing")]
            panics_at: None,
        };
        Ok((machine, ids))
    }

    /// Handles an input at the time `now`. `random` is used for jitter only. Time does not go back: if `now` is earlier
    /// than a previous `now`, the latest previous one counts.
    pub fn handle(&mut self, now: Time, random: u64, input: Input) {
        self.now = self.now.max(now);
        self.random = random;
        match input {
            Input::Start => self.start_tree(),
            Input::Ready(id, attempt) => self.if_live(id, attempt, Self::reported_ready),
            Input::Exited(id, attempt, exit) => {
                self.if_live(id, attempt, |machine, child| machine.reported_exit(child, exit))
            }
            Input::Ending(id, attempt, exit) => {
                self.if_live(id, attempt, |machine, child| machine.reported_ending(child, exit));
            }
            Input::MaySurvive(id, attempt, survivors) => {
                self.if_live(id, attempt, |machine, child| machine.reported_survivors(child, survivors));
            }
            Input::Gone(id, attempt) => self.reported_gone(id, attempt),
            Input::Heartbeat(id, attempt, beaten) => {
                self.if_live(id, attempt, |machine, child| machine.reported_heartbeat(child, beaten));
            }
            Input::Health(id, attempt, health, reason) => {
                self.if_live(id, attempt, |machine, child| machine.reported_health(child, health, reason));
            }
            Input::Stuck(id, attempt, poll) => {
                self.if_live(id, attempt, |machine, child| machine.reported_stuck(child, poll));
            }
            Input::Unstuck(id, attempt) => self.if_live(id, attempt, Self::reported_unstuck),
            Input::Checked(id, attempt, index, number, answer) => {
                self.if_live(id, attempt, |machine, child| {
                    machine.reported_check(child, index, number, answer)
                });
            }
            Input::Command { request, id, command } => self.command(request, id, command),
            Input::Want { request, id, wanted } => self.want(request, id, wanted),
            Input::Watch { request, id, moment } => self.watch(request, id, moment),
            Input::Stop => self.stop_tree(),
            Input::Kill => self.kill_tree(),
            Input::Tick => self.tick(),
        }
        #[cfg(feature = "testing")]
        self.panic_if_due(PanicAt::Input);
        self.settle();
        (self.origin, self.stop_budget) = (None, None);
    }

    /// Handles an input about an attempt if the attempt is the live attempt of the child. A late message changes nothing.
    fn if_live(&mut self, id: ChildId, attempt: Attempt, handle: impl FnOnce(&mut Self, Index)) {
        if let Some(child) = self.arena.index_of(id)
            && self.arena[child].phase.is_live()
            && self.arena[child].attempt == attempt.0
        {
            handle(self, child);
        }
    }

    /// Returns the next effect. After every input, a driver polls until it gets `None`.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        loop {
            if let Some(effect) = self.driver_queue.effects.pop_front() {
                return Some(effect);
            }
            if !self.step_walk() {
                return None;
            }
            self.settle();
        }
    }

    /// Returns the next effect like [`poll_effect`](Self::poll_effect), but does not continue the stop, the pause or the
    /// resume of a dynamic group, which can have an effect for each member. Use it in a driver that shares the work among threads.
    #[inline]
    pub fn poll_queued_effect(&mut self) -> Option<Effect> {
        #[cfg(feature = "testing")]
        self.panic_if_due(PanicAt::Effect);
        self.driver_queue.effects.pop_front()
    }

    /// Returns `true` if [`poll_effect`](Self::poll_effect) may have more effects.
    #[inline]
    #[must_use]
    pub fn has_effects(&self) -> bool {
        !self.driver_queue.effects.is_empty() || !self.driver_queue.walks.is_empty()
    }

    /// Returns the time at which the machine needs an [`Input::Tick`] at the latest. Each input can change this time.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Time> {
        self.timers.first().map(|(at, ..)| *at)
    }

    /// Sets the least severity of events that are wanted. With `None` there is no subscriber, and events cost nothing.
    pub const fn set_interest(&mut self, least: Option<Severity>) {
        self.driver_queue.interest = least;
    }

    /// Returns the number of the last event.
    #[must_use]
    pub const fn last_event(&self) -> u64 {
        self.driver_queue.last_event
    }

    /// Returns `true` if the tree has ended.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Returns `true` if the tree has ended, or stops.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.ended || self.arena[self.root].phase.is_stopping()
    }
}
