//! The machine: the life of every child of one tree, decided and not done.
//!
//! One closed set of inputs goes in ([`Input`]), one of effects comes out ([`Effect`]). Each child is one small
//! state machine ([`Phase`](node::Phase)); each supervisor, whenever something changed below it, looks at its
//! children and does the next step that is due ([`advance`](start)). There are no plans in progress that
//! could go stale: what to do next is always read off the states themselves. So a stop, a removal or a second
//! failure in the middle of anything needs no special case.
//!
//! ```text
//!            start                    ready
//!   idle ──────────► waiting ─► starting ─► running
//!    ▲                 ▲  ▲         │          │ ended by itself ─► table restart × exit
//!    │                 │  └─ backing off ◄─────┴────────────────────┘ │
//!    └──── gone ◄── stopping (asked ► killed ► abandoned) ◄── stop, group restart, missed deadline
//! ```

mod command;
mod ended;
mod node;
mod start;
mod stop;
mod timers;
mod tree;
mod view;

#[cfg(test)]
mod tests;

pub use command::{Command, MAX_WAITERS, Outcome, Refusal};
pub use stop::KILL_WAIT;

use crate::{Attempt, ChildId, Event, EventKind, Exit, Health, RequestId, Severity, StopReport, Time};
use node::{Node, Slot};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;

/// Everything that can happen to a tree.
#[derive(Debug)]
pub enum Input {
    /// Start the tree. Once.
    Start,
    /// An attempt is ready, or the place of a supervisor is made.
    Ready {
        /// Whose.
        id: ChildId,
        /// Which; an old one changes nothing.
        attempt: Attempt,
    },
    /// An attempt is gone: nothing of it runs any more.
    Exited {
        /// Whose.
        id: ChildId,
        /// Which; an old one changes nothing.
        attempt: Attempt,
        /// How it ended.
        exit: Exit,
    },
    /// An attempt has ended by itself as far as its body goes, but something of it still runs and is being ended. From
    /// here on it counts as stopping, within the child's time; `exit` decides what follows when it is gone.
    Ending {
        /// Whose.
        id: ChildId,
        /// Which; an old one changes nothing.
        attempt: Attempt,
        /// How its body ended.
        exit: Exit,
    },
    /// The answer to [`Effect::CheckHeartbeat`].
    Heartbeat {
        /// Whose.
        id: ChildId,
        /// Which; an old one changes nothing.
        attempt: Attempt,
        /// Whether there was a heartbeat since the last check.
        beaten: bool,
    },
    /// A child said how it is.
    Health {
        /// Whose.
        id: ChildId,
        /// Which; an old one changes nothing.
        attempt: Attempt,
        /// How.
        health: Health,
    },
    /// Somebody wants something of one child. Answered once, by [`Effect::Reply`].
    Command {
        /// Whose answer.
        request: RequestId,
        /// Which child.
        id: ChildId,
        /// What.
        command: Command,
    },
    /// Stop the tree, in order, within its budget. Latched; a second one changes nothing.
    Stop,
    /// Kill the whole tree now.
    Kill,
    /// Time has passed.
    Tick,
}

/// Everything a driver is asked to do, in the order given.
#[derive(Debug)]
pub enum Effect {
    /// Begin this attempt (of a supervisor: make its place).
    Start {
        /// Of which child.
        id: ChildId,
        /// Which.
        attempt: Attempt,
    },
    /// Ask this attempt to stop (of a supervisor: close its place).
    Ask {
        /// Of which child.
        id: ChildId,
        /// Which.
        attempt: Attempt,
    },
    /// End this attempt by force.
    Kill {
        /// Of which child.
        id: ChildId,
        /// Which.
        attempt: Attempt,
    },
    /// Nothing waits for this attempt any more; whatever it still does must not matter.
    Abandon {
        /// Of which child.
        id: ChildId,
        /// Which.
        attempt: Attempt,
    },
    /// The child is no longer part of the tree.
    Forget {
        /// Which child.
        id: ChildId,
    },
    /// Say whether this attempt gave a heartbeat since the last time ([`Input::Heartbeat`]).
    CheckHeartbeat {
        /// Of which child.
        id: ChildId,
        /// Which.
        attempt: Attempt,
    },
    /// The answer to a command.
    Reply {
        /// Whose.
        request: RequestId,
        /// What came of it.
        result: Result<Outcome, Refusal>,
    },
    /// A transition, for those who watch.
    Event(Box<Event>),
    /// The whole tree is ready for the first time.
    TreeReady,
    /// The tree has ended; nothing of it runs.
    TreeEnded {
        /// How the root ended.
        exit: Exit,
        /// What its stop did.
        report: Arc<StopReport>,
    },
}

/// The supervision machine of one tree.
#[derive(Debug)]
pub struct Machine {
    /// All children, by slot.
    slots: Vec<Slot>,
    /// The first vacant slot.
    vacant: u32,
    /// The slot of the root.
    root: u32,
    /// The time of the current input.
    now: Time,
    /// The random number of the current input.
    random: u64,
    /// What is to be done. Holds a few effects per input that was not yet followed by polling.
    effects: VecDeque<Effect>,
    /// Groups whose members are being asked, killed or written off one by one, as effects are polled.
    sweeps: VecDeque<stop::Sweep>,
    /// Supervisors that something changed for, by depth: what one does rests on what has settled below it.
    dirty: BinaryHeap<(u32, Reverse<u32>)>,
    /// The deadlines of all children, one each.
    timers: BTreeSet<(Time, u32)>,
    /// The number of the last event.
    events: u64,
    /// The least severity that somebody watches.
    interest: Option<Severity>,
    /// How many children are in [`Phase::Waiting`](node::Phase::Waiting).
    waiting: u32,
    /// Whether any supervisor was declared to end when all is done.
    some_end_when_done: bool,
    /// Whether the tree has ended.
    down: bool,
}

impl Machine {
    /// Tells the machine what happened, when, and with which random number (used for jitter only). Time does not
    /// go back: an earlier `now` counts as the latest one seen.
    pub fn handle(&mut self, now: Time, random: u64, input: Input) {
        self.at(now, random);
        match input {
            Input::Start => self.start_tree(),
            Input::Ready { id, attempt } => {
                if let Some(i) = self.live_attempt(id, attempt) {
                    self.reported_ready(i);
                }
            }
            Input::Exited { id, attempt, exit } => {
                if let Some(i) = self.live_attempt(id, attempt) {
                    self.reported_exit(i, exit);
                }
            }
            Input::Ending { id, attempt, exit } => {
                if let Some(i) = self.live_attempt(id, attempt) {
                    self.reported_ending(i, exit);
                }
            }
            Input::Heartbeat { id, attempt, beaten } => {
                if let Some(i) = self.live_attempt(id, attempt) {
                    self.reported_heartbeat(i, beaten);
                }
            }
            Input::Health { id, attempt, health } => {
                if let Some(i) = self.live_attempt(id, attempt) {
                    self.reported_health(i, health);
                }
            }
            Input::Command { request, id, command } => self.command(request, id, command),
            Input::Stop => self.stop_tree(),
            Input::Kill => self.kill_tree(),
            Input::Tick => self.tick(),
        }
        self.settle();
    }

    /// The next thing to do, if any. Poll until there is nothing after every input.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        loop {
            if let Some(effect) = self.effects.pop_front() {
                return Some(effect);
            }
            if !self.step_sweep() {
                return None;
            }
            self.settle();
        }
    }

    /// Like [`poll_effect`](Self::poll_effect), but leaves the walks over stopping groups to others: each of their steps is
    /// as many effects as the group has members. For drivers that share the work.
    pub fn poll_prompt_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Whether [`poll_effect`](Self::poll_effect) has more to give.
    #[must_use]
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty() || !self.sweeps.is_empty()
    }

    /// When the machine wants an [`Input::Tick`] at the latest. Changes with every input.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// From which severity on events are wanted; none means that nobody watches, and events cost nothing.
    pub const fn set_interest(&mut self, least: Option<Severity>) {
        self.interest = least;
    }

    /// The number of the last event.
    #[must_use]
    pub const fn last_event(&self) -> u64 {
        self.events
    }

    /// Whether the tree has ended.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.down
    }

    fn at(&mut self, now: Time, random: u64) {
        self.now = self.now.max(now);
        self.random = random;
    }

    /// Lets every supervisor for which something changed do its next steps, the deepest first, until nothing is due.
    fn settle(&mut self) {
        while let Some((_, Reverse(i))) = self.dirty.pop() {
            if let Slot::Used(Node { sup: Some(sup), .. }) = &mut self.slots[i as usize] {
                sup.queued = false;
                self.advance(i);
            }
        }
    }

    /// The slot of a child whose living attempt is `attempt` (law 2: anything else is late and changes nothing).
    fn live_attempt(&self, id: ChildId, attempt: Attempt) -> Option<u32> {
        let i = self.slot_of(id)?;
        let node = self.node(i);
        (node.phase.is_live() && node.attempt == attempt.0).then_some(i)
    }

    fn emit(&mut self, i: u32, kind: impl FnOnce() -> EventKind) {
        self.events += 1;
        if let Some(least) = self.interest {
            let kind = kind();
            if kind.severity() >= least {
                let event = Event {
                    number: self.events,
                    at: self.now,
                    path: self.path_of(i),
                    id: self.id_of(i),
                    kind,
                };
                self.effects.push_back(Effect::Event(Box::new(event)));
            }
        }
    }

    fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }
}
