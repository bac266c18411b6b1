//! Turns the effects of the machine into actions, in batches. The only file that does.
//!
//! An effect is taken from the machine under the lock and becomes an [`Action`], which holds all that is needed to
//! perform it outside the lock. Two kinds of effect are done here at once, because they run no user code: an event is
//! queued, and a heartbeat check is answered.

use crate::attempt::body::Body;
use crate::attempt::cell::{AttemptCell, AttemptListener};
use crate::attempt::dedicated_runtime::DedicatedRuntime;
use crate::engine::ended::Ended;
use crate::engine::events::Broadcast;
use crate::engine::state::{ChildEntry, ReplySender, TreeState};
use liveoak_core::{Attempt, ChildId, Effect, Input, Outcome, Refusal, Time};
use std::sync::Arc;
use tokio::runtime::Handle;

/// How many effects a thread performs before it leaves the rest to the timer task. About a millisecond's work.
const EFFECTS_PER_TURN: usize = 4096;

/// How many effects are taken at a time, beside the first.
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
    /// Drops what a removed child ran.
    Drop(ChildEntry<T>),
    Reply(ReplySender, Result<Outcome, Refusal>),
    TreeReady,
    TreeEnded(Ended),
}

/// The effects that one thread performs in one turn, a few at a time.
pub(crate) struct Batch<T> {
    /// The actions that were taken last, without the first.
    pub(crate) more: Vec<Action<T>>,
    /// How many steps of the stop of dynamic groups this turn may still take. Each step goes on to the next member that
    /// needs an effect.
    group_steps: usize,
    /// The number of effects taken in this turn.
    taken: usize,
    /// `true` if the machine had no more effects for this turn.
    pub(crate) drained: bool,
}

impl<T: AttemptListener> Batch<T> {
    pub(crate) const fn new(group_steps: usize) -> Self {
        Self { more: Vec::new(), group_steps, taken: 0, drained: false }
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
        self.taken += 1;
        self.drained = true;
        let first = first.and_then(|effect| state.prepare(tree, events, effect));
        if let Some(second) = second {
            self.take_more(second, state, tree, events);
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
        self.taken += effects.len();
        self.drained = effects.len() < BATCH;
        state.prefetch(&effects);
        self.more.extend(effects.into_iter().filter_map(|effect| state.prepare(tree, events, effect)));
    }

    fn next_effect(&mut self, state: &mut TreeState<T>) -> Option<Effect> {
        state.machine.poll_queued_effect().or_else(|| {
            self.group_steps = self.group_steps.checked_sub(1)?;
            state.machine.poll_effect()
        })
    }

    /// Returns `true` if the thread has done enough, and the timer task does the rest.
    pub(crate) const fn ends_turn(&self) -> bool {
        self.taken >= EFFECTS_PER_TURN
    }
}

impl<T: AttemptListener> TreeState<T> {
    /// Reads the cells of asks and kills. The cells lie scattered in memory. Plain reads of them are fetched
    /// in parallel; the reference counting that follows would fetch them one after another.
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
                self.release(&cell);
                self.keep_previous_exit(&cell);
                Action::Abandon(cell)
            }
            Effect::Forget(id) => {
                let entry = self.children.get_mut(id.slot).filter(|entry| entry.is_of(id))?;
                Action::Drop(std::mem::replace(entry, ChildEntry::Vacant))
            }
            Effect::LetGo(id) => {
                let entry = self.children.get_mut(id.slot).filter(|entry| entry.is_of(id))?;
                match entry {
                    ChildEntry::Leaf { .. } => Action::Drop(std::mem::replace(entry, ChildEntry::Vacant)),
                    // The group stays listed, and may have a dedicated runtime that is still being closed.
                    ChildEntry::Supervisor { serial, member_maker, .. } => {
                        Action::Drop(ChildEntry::Supervisor {
                            serial: *serial,
                            dedicated: None,
                            member_maker: member_maker.take(),
                        })
                    }
                    ChildEntry::Vacant => return None,
                }
            }
            Effect::CheckHeartbeat(id, attempt) => {
                let beaten = self.live_cell(id, attempt)?.orders.take_beat();
                let random = self.random();
                // The machine's time does not go back: zero means "no later than now".
                self.machine.handle(Time::ZERO, random, Input::Heartbeat(id, attempt, beaten));
                return None;
            }
            Effect::Reply { request, result } => Action::Reply(self.waiting.remove(&request)?, result),
            Effect::Event(event) => {
                events.push(*event);
                return None;
            }
            Effect::TreeReady => Action::TreeReady,
            Effect::TreeEnded { exit, report } => Action::TreeEnded(Ended { exit, report }),
        })
    }

    fn prepare_start(&mut self, tree: &T, id: ChildId, attempt: Attempt) -> Option<Action<T>> {
        if self.runtime_lost {
            return None;
        }
        let handle = self.runtime_for(id);
        match self.children.get_mut(id.slot).filter(|entry| entry.is_of(id))? {
            ChildEntry::Leaf { body, cell: held, .. } => {
                let cell = AttemptCell::new(tree.clone(), id, attempt, handle.is_none());
                *held = Some(Arc::clone(&cell));
                Some(Action::Start { body: Arc::clone(body), cell, handle })
            }
            ChildEntry::Supervisor { dedicated: Some(own), .. } => {
                // The thread that keeps a dedicated runtime is in no runtime's context.
                let cell = AttemptCell::new(tree.clone(), id, attempt, false);
                own.cell = Some(Arc::clone(&cell));
                Some(Action::OpenRuntime { settings: own.settings.clone(), cell })
            }
            ChildEntry::Supervisor { dedicated: None, .. } | ChildEntry::Vacant => None,
        }
    }
}
