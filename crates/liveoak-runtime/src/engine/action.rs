//! Turns the effects of the machine into actions, in batches. No other file does this.
//!
//! An effect is taken from the machine under the lock and becomes an [`Action`], which holds all that is needed to
//! perform it outside the lock. Two kinds of effect are performed here, under the lock, because they run no user code: an
//! event is queued, and a heartbeat check is answered.

use crate::attempt::activity::Activity;
use crate::attempt::body::Body;
use crate::attempt::cell::{AttemptCell, AttemptListener};
use crate::attempt::dedicated_runtime::DedicatedRuntime;
use crate::engine::checks::BegunTry;
use crate::engine::ended::Ended;
use crate::engine::events::Broadcast;
use crate::engine::requests::ReplySender;
use crate::engine::state::{ChildEntry, TreeState};
use liveoak_core::{Attempt, ChildId, Effect, Outcome, Refusal};
use std::sync::Arc;
use tokio::runtime::Handle;

/// How many effects one thread performs in one turn before it leaves the rest to the timer task.
#[derive(Clone, Copy)]
pub(crate) struct TurnLimit {
    /// The effects, of any children. They only latch orders, wake tasks, and give tasks to Tokio.
    effects: usize,
    /// The steps of the stop of dynamic groups. Each step moves to the next member that needs an effect.
    group_steps: usize,
}

impl TurnLimit {
    /// The limit of a call by the user's code: the call performs its own effect and a limited number of other effects.
    pub(crate) const CALL: Self = Self { effects: EFFECTS_PER_CALL, group_steps: EFFECTS_PER_CALL };
    /// The limit of the end of an attempt, and of an addition: the same number of effects, but no steps of group stops.
    pub(crate) const NO_GROUP_STEPS: Self = Self { effects: EFFECTS_PER_CALL, group_steps: 0 };
    /// The limit of the timer task, about a millisecond of work. After that, the task yields to other tasks. This
    /// number of steps is enough to keep all threads busy with members that were asked to stop.
    pub(crate) const TIMER: Self = Self { effects: 4096, group_steps: 2048 };
}

/// How many effects a call by the user's code performs at most: about fifty microseconds of work.
pub(crate) const EFFECTS_PER_CALL: usize = 128;

/// How many effects are taken at a time, in addition to the first.
const BATCH: usize = 15;

/// An effect that is ready to be performed outside the lock.
pub(crate) enum Action<T> {
    /// Starts an attempt. Without a handle it runs on the tree's own runtime.
    Start {
        body: Arc<dyn Body<T>>,
        cell: Arc<AttemptCell<T>>,
        handle: Option<Handle>,
    },
    OpenRuntime {
        settings: DedicatedRuntime,
        cell: Arc<AttemptCell<T>>,
    },
    Ask(Arc<AttemptCell<T>>),
    Kill(Arc<AttemptCell<T>>),
    Abandon(Arc<AttemptCell<T>>),
    /// Drops the body of a child that has left the tree. The first id is the id of the child, the second the id of its
    /// supervisor.
    Dispose(ChildEntry<T>, ChildId, ChildId),
    /// Drops the body of a child that never starts again, but stays listed.
    LetGo(ChildEntry<T>, ChildId),
    /// Boxed, like the end of the tree: the other actions are small, and are moved more often.
    Reply(Box<(ReplySender, Result<Outcome, Refusal>)>),
    BeginTry(Box<BegunTry<T>>),
    EndTry(ChildId, Attempt, u32),
    /// Finds out whether the runtime of an attempt still runs tasks. Without a handle it is the tree's own runtime.
    Probe(Arc<AttemptCell<T>>, Option<Handle>),
    TreeReady,
    TreeEnded(Box<Ended>),
}

/// The effects that one thread performs in one turn, a few at a time.
pub(crate) struct Batch<T> {
    /// The actions that were taken last, without the first.
    pub(crate) more: Vec<Action<T>>,
    /// The number of effects and steps that are left for this turn.
    left: TurnLimit,
    /// `true` if the machine had no more effects for this turn.
    pub(crate) drained: bool,
}

impl<T: AttemptListener> Batch<T> {
    pub(crate) const fn new(left: TurnLimit) -> Self {
        Self { more: Vec::new(), left, drained: false }
    }

    /// Takes the next effects from the machine. Returns the first action apart from the others, because most inputs
    /// have one effect or none, which then needs no allocation. Inlined: it runs for every input.
    #[inline(always)]
    pub(crate) fn take(
        &mut self,
        state: &mut TreeState<T>,
        tree: &T,
        events: &Broadcast,
    ) -> Option<Action<T>> {
        let first = self.next_effect(state);
        let second = if first.is_some() { self.next_effect(state) } else { None };
        self.left.effects = self.left.effects.saturating_sub(1);
        self.drained = true;
        let first = first.and_then(|effect| state.prepare(tree, events, effect));
        let Some(second) = second else { return first };
        self.take_more(second, state, tree, events);
        if self.more.iter().chain(&first).any(|action| matches!(action, Action::Reply(..))) {
            // Answers come last, because the answer to a stop waits for the values that the children have left behind.
            self.more.extend(first);
            self.more.sort_by_key(|action| matches!(action, Action::Reply(..)));
            return None;
        }
        first
    }

    fn take_more(&mut self, second: Effect, state: &mut TreeState<T>, tree: &T, events: &Broadcast) {
        let mut effects = Vec::with_capacity(BATCH);
        effects.push(second);
        while effects.len() < BATCH {
            let Some(effect) = self.next_effect(state) else { break };
            effects.push(effect);
        }
        self.left.effects = self.left.effects.saturating_sub(effects.len());
        self.drained = effects.len() < BATCH;
        state.prefetch(&effects);
        self.more.extend(effects.into_iter().filter_map(|effect| state.prepare(tree, events, effect)));
    }

    fn next_effect(&mut self, state: &mut TreeState<T>) -> Option<Effect> {
        state.machine.poll_queued_effect().or_else(|| {
            self.left.group_steps = self.left.group_steps.checked_sub(1)?;
            state.machine.poll_effect()
        })
    }

    /// Returns `true` if the thread has reached its limit, so that the timer task does the rest.
    pub(crate) const fn ends_turn(&self) -> bool {
        self.left.effects == 0
    }
}

impl<T: AttemptListener> TreeState<T> {
    /// Reads the cells of asks and kills. The cells lie scattered in memory. The CPU fetches them in parallel when they
    /// are only read; the reference counting that follows would fetch them one after another.
    fn prefetch(&self, effects: &[Effect]) {
        let attempts = effects.iter().map(|effect| match effect {
            Effect::Ask(id, ..) | Effect::Kill(id, ..) => {
                self.cell_in_slot(*id).map_or(0, |cell| cell.attempt.0)
            }
            _ => 0,
        });
        std::hint::black_box(attempts.fold(0, u64::wrapping_add));
    }

    /// Turns an effect into an action. Returns `None` if nothing is left to do for it.
    fn prepare(&mut self, tree: &T, events: &Broadcast, effect: Effect) -> Option<Action<T>> {
        Some(match effect {
            Effect::Start(id, attempt) => self.prepare_start(tree, id, attempt)?,
            Effect::Ask(id, attempt) => Action::Ask(self.live_cell(id, attempt)?),
            Effect::Kill(id, attempt) => Action::Kill(self.live_cell(id, attempt)?),
            Effect::Abandon(id, attempt) => {
                let cell = self.live_cell(id, attempt)?;
                let _ = self.release(&cell);
                self.keep_previous_exit(&cell);
                Action::Abandon(cell)
            }
            Effect::Forget(id, supervisor) => {
                let entry = self.children.get_mut(id.slot).filter(|entry| entry.is_of(id))?;
                Action::Dispose(std::mem::replace(entry, ChildEntry::Vacant), id, supervisor)
            }
            Effect::LetGo(id) => {
                let entry = self.children.get_mut(id.slot).filter(|entry| entry.is_of(id))?;
                let values = match entry {
                    ChildEntry::Leaf { .. } => std::mem::replace(entry, ChildEntry::Vacant),
                    // The group stays listed, and may have a dedicated runtime that is still being closed.
                    ChildEntry::Supervisor { serial, member_maker, .. } => {
                        let member_maker = member_maker.take();
                        ChildEntry::Supervisor { serial: *serial, dedicated: None, member_maker }
                    }
                    ChildEntry::Vacant => return None,
                };
                Action::LetGo(values, id)
            }
            Effect::Check(id, attempt, index, number) => {
                Action::BeginTry(Box::new(self.new_try(id, attempt, index, number)?))
            }
            Effect::EndCheck(id, attempt, index) => Action::EndTry(id, attempt, index),
            Effect::CheckHeartbeat(id, attempt) => {
                let cell = self.live_cell(id, attempt)?;
                return self.check_heartbeat(cell);
            }
            Effect::Reply { request, result } => {
                Action::Reply(Box::new((self.requests.take(request)?, result)))
            }
            Effect::Event(event) => {
                events.push(*event);
                return None;
            }
            Effect::TreeReady => Action::TreeReady,
            Effect::TreeEnded { exit, report } => Action::TreeEnded(Box::new(Ended { exit, report })),
        })
    }

    fn prepare_start(&mut self, tree: &T, id: ChildId, attempt: Attempt) -> Option<Action<T>> {
        if self.runtime_lost {
            return None;
        }
        let handle = self.runtime_for(id);
        let spec = self.machine.spec(id)?;
        let keep_error = spec.keep_error;
        let limited = self.machine.has_poll_limits() && self.machine.poll_limit(id).is_some();
        let activity = Activity::new(spec.heartbeat.is_some(), limited);
        match self.children.get_mut(id.slot).filter(|entry| entry.is_of(id))? {
            ChildEntry::Leaf { body, cell: held, .. } => {
                let cell =
                    AttemptCell::new(tree.clone(), id, attempt, handle.is_none(), keep_error, activity);
                *held = Some(Arc::clone(&cell));
                Some(Action::Start { body: Arc::clone(body), cell, handle })
            }
            ChildEntry::Supervisor { dedicated: Some(own), .. } => {
                // The thread that keeps a dedicated runtime is not inside the context of a runtime.
                let cell = AttemptCell::new(tree.clone(), id, attempt, false, keep_error, activity);
                own.cell = Some(Arc::clone(&cell));
                Some(Action::OpenRuntime { settings: own.settings.clone(), cell })
            }
            ChildEntry::Supervisor { dedicated: None, .. } | ChildEntry::Vacant => None,
        }
    }
}
