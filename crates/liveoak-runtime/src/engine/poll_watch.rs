//! The thread that sees polls which take too long, while they run.
//!
//! A poll that blocks keeps a worker of its runtime, and all workers may be blocked. So a plain thread looks at the slots
//! of all threads ([`polls`]) several times within each limit. A poll that it sees again has run since the last
//! look. The thread measures the time between its looks; a poll itself never reads the clock. A look that comes late
//! counts as two at most, so a process that was suspended has no stuck children.
//!
//! A tree has this thread once a child with a limit has started. Trees without limits have none. The shortest limit of the
//! attempts that live says how often the thread looks; while there is none, it sleeps.

use crate::attempt::cell::AttemptListener as _;
use crate::attempt::polls::{self, Poll, Slot};
use crate::engine::driver::TreeInner;
use crate::engine::poll_limits::PollLimits;
use crate::util::lock::{ignore_poison, lock};
use crate::util::log::log;
use crate::util::stack::Stack;
use liveoak_core::{Attempt, ChildId, Input, StuckPoll, Time};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

/// How often the thread looks within the shortest limit of the attempts that live.
const LOOKS: u32 = 4;

/// The shortest and the longest time between two looks.
const BETWEEN_LOOKS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));

/// Shared by a tree and its thread.
#[derive(Default)]
pub(crate) struct PollWatch {
    schedule: Mutex<Schedule>,
    changed: Condvar,
}

#[derive(Default)]
struct Schedule {
    limits: PollLimits,
    /// The thread was started.
    has_thread: bool,
    ended: bool,
}

impl Schedule {
    /// Returns the time between two looks, or `None` if no attempt with a limit lives.
    fn every(&self) -> Option<Duration> {
        let shortest = self.limits.shortest()?;
        Some((shortest / LOOKS).clamp(BETWEEN_LOOKS.0, BETWEEN_LOOKS.1))
    }
}

/// The polls that the last look has seen.
#[derive(Default)]
struct Seen {
    /// How long each poll has run at least, by the address of its slot and its number.
    polls: HashMap<(usize, u64), Duration>,
    /// The attempts that were reported as stuck.
    stuck: HashSet<(ChildId, Attempt)>,
}

impl PollWatch {
    /// Watches the polls of a tree, of which an attempt with the limit `longest` starts, until [`attempt_over`](Self::attempt_over)
    /// is called with the returned number. If the system refuses the thread, the log says so, and the start of the next such
    /// attempt tries again.
    pub(crate) fn begin(self: &Arc<Self>, tree: &Arc<TreeInner>, longest: Duration) -> u8 {
        let mut schedule = lock(&self.schedule);
        let before = schedule.every();
        let number = schedule.limits.begin(longest);
        let is_sooner = before != schedule.every();
        let had_thread = std::mem::replace(&mut schedule.has_thread, true);
        drop(schedule);
        if is_sooner {
            self.changed.notify_one();
        }
        if !had_thread {
            let (watch, tree) = (Arc::clone(self), Arc::downgrade(tree));
            let name = "liveoak-polls".to_owned();
            if let Err(error) = std::thread::Builder::new().name(name).spawn(move || watch.run(&tree)) {
                // The next attempt with a limit tries again.
                lock(&self.schedule).has_thread = false;
                log(move || tracing::warn!(target: "liveoak", "polls are not watched: {error}"));
            }
        }
        number
    }

    /// Notes that an attempt with a limit is over. The thread notices it when it looks the next time.
    pub(crate) fn attempt_over(&self, number: u8) {
        lock(&self.schedule).limits.end(number);
    }

    /// Ends the thread: the tree has ended.
    pub(crate) fn end(&self) {
        lock(&self.schedule).ended = true;
        self.changed.notify_one();
    }

    fn run(&self, tree: &Weak<TreeInner>) {
        let mut seen = Seen::default();
        let mut last = Instant::now();
        loop {
            let schedule = lock(&self.schedule);
            if schedule.ended {
                return;
            }
            let Some(every) = schedule.every() else {
                drop(ignore_poison(self.changed.wait(schedule)));
                last = Instant::now();
                continue;
            };
            let left = (last + every).saturating_duration_since(Instant::now());
            let schedule = ignore_poison(self.changed.wait_timeout(schedule, left)).0;
            if schedule.ended {
                return;
            }
            drop(schedule);
            let now = Instant::now();
            let passed = now - last;
            if passed < every {
                continue;
            }
            last = now;
            let Some(tree) = tree.upgrade() else { return };
            let _ = tree.guarded(|| tree.look_at_polls(&mut seen, passed.min(every * 2)));
        }
    }
}

impl TreeInner {
    /// Looks at all threads once, `passed` after the last look, and reports the polls that have become too long or are
    /// over.
    fn look_at_polls(self: &Arc<Self>, seen: &mut Seen, passed: Duration) {
        let mut polls = HashMap::new();
        let mut stuck = HashSet::new();
        for slot in polls::slots() {
            let Some((number, poll)) = slot.read().filter(|(_, poll)| poll.tree == self.address()) else {
                continue;
            };
            let key = (Arc::as_ptr(&slot).addr(), number);
            let ran = seen.polls.get(&key).map_or(Duration::ZERO, |ran| *ran + passed);
            polls.insert(key, ran);
            let attempt = (poll.id, poll.attempt);
            if !ran.is_zero() && !stuck.contains(&attempt) && self.is_stuck(seen, &slot, (number, &poll), ran)
            {
                stuck.insert(attempt);
            }
        }
        for (id, attempt) in seen.stuck.difference(&stuck) {
            let input = Input::Unstuck(*id, *attempt);
            self.report(self.clock.now(), input);
        }
        *seen = Seen { polls, stuck };
    }

    /// Returns `true` if a poll that has run for `ran` exceeds its limit. Reports it, unless its attempt was reported.
    fn is_stuck(self: &Arc<Self>, seen: &Seen, slot: &Slot, poll: (u64, &Poll), ran: Duration) -> bool {
        let (number, poll) = poll;
        let limit = self.state().machine.poll_limit(poll.id).filter(|limit| limit.longest <= ran);
        let Some(limit) = limit else { return false };
        if !seen.stuck.contains(&(poll.id, poll.attempt)) {
            let now = self.clock.now();
            let since = now.since(Time::ZERO).saturating_sub(ran);
            let (attempt, since) = (poll.attempt, Time::ZERO.after(since));
            let place = slot.place().into();
            let stuck = StuckPoll { attempt, since, limit, place, stack: None };
            self.report(now, Input::Stuck(poll.id, attempt, Arc::new(stuck.clone())));
            // A poll that is over by now has no stack.
            if let Some(stack) = slot.stack()
                && slot.read().is_some_and(|(now, _)| now == number)
            {
                self.report_stack(poll.id, stuck, stack);
            }
        }
        true
    }

    /// Reports the stack of a stuck poll when the names of its functions are known. That may take seconds, so another thread
    /// finds them.
    fn report_stack(self: &Arc<Self>, id: ChildId, stuck: StuckPoll, stack: Stack) {
        let tree = Arc::downgrade(self);
        stack.find_names(move |names| {
            let Some(tree) = tree.upgrade() else { return };
            let stuck = StuckPoll { stack: Some(names.into()), ..stuck };
            let _ = tree.guarded(|| {
                let path = {
                    let machine = &tree.state().machine;
                    if machine.is_stuck_in(id, &stuck) { None } else { machine.path(id) }
                };
                // The stack of an attempt that was abandoned meanwhile is for the log alone.
                if let Some(path) = path {
                    let (attempt, stack) = (stuck.attempt, stuck.stack.unwrap_or_default());
                    return log(move || {
                        tracing::warn!(
                            target: "liveoak", path = %path, event = "stuck",
                            "{path}: attempt {attempt} was stuck in\n    {}", stack.replace('\n', "\n    ")
                        );
                    });
                }
                tree.report(tree.clock.now(), Input::Stuck(id, stuck.attempt, Arc::new(stuck)));
            });
        });
    }
}
