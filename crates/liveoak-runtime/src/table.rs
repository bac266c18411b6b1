//! What stands under the tree's lock: the machine, and what each child runs. And the one place where the machine's
//! effects become actions, to be done outside the lock.

use crate::body::Body;
use crate::cell::Cell;
use crate::dedicated_runtime::DedicatedRuntime;
use crate::driver::Shared;
use crate::failures::Failures;
use crate::group::MemberBody;
use crate::latch::Shield;
use crate::pages::Pages;
use crate::tree::Ended;
use liveoak_core::{Attempt, ChildId, Effect, Input, Machine, Outcome, Refusal, RequestId, Time};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// How many effects are taken at a time, beside the first.
const BATCH: usize = 15;

/// What a slot of the machine runs, and for which of the slot's children.
pub(crate) enum Local {
    Vacant,
    Leaf { serial: u32, body: Arc<dyn Body>, cell: Option<Arc<Cell>> },
    Sup { serial: u32, place: Option<Box<LocalPlace>> },
}

impl Local {
    const fn is_of(&self, id: ChildId) -> bool {
        match self {
            Self::Vacant => false,
            Self::Leaf { serial, .. } | Self::Sup { serial, .. } => *serial == id.serial,
        }
    }

    /// The cell of what runs now.
    fn cell(&self) -> Option<&Arc<Cell>> {
        match self {
            Self::Leaf { cell, .. } => cell.as_ref(),
            Self::Sup { place: Some(place), .. } => place.cell.as_ref(),
            Self::Sup { place: None, .. } | Self::Vacant => None,
        }
    }
}

pub(crate) struct LocalPlace {
    pub(crate) place: DedicatedRuntime,
    pub(crate) handle: Option<Handle>,
    pub(crate) cell: Option<Arc<Cell>>,
}

/// What stands under the lock.
pub(crate) struct Core {
    pub(crate) machine: Machine,
    /// What each child runs, by slot.
    locals: Pages<Local>,
    /// What a new child found in its slot: to be dropped outside the lock.
    pub(crate) replaced: Vec<Local>,
    /// The errors that exits carry, which are the user's to drop.
    pub(crate) failures: Failures,
    /// Commands that wait for their answer; as many as there are callers waiting.
    replies: HashMap<RequestId, oneshot::Sender<Result<Outcome, Refusal>>>,
    next_ticket: u64,
    random: u64,
    /// When the tree's task will wake.
    pub(crate) armed: Time,
    /// Whether the tree's task will look at everything before it sleeps again.
    pub(crate) keeper_awake: bool,
    /// Whether any supervisor has a place of its own.
    has_places: bool,
    /// Whether the runtime is gone: nothing can be begun any more.
    pub(crate) collapsed: bool,
}

/// An effect, made ready to be done outside the lock.
pub(crate) enum Action {
    /// Without a handle, on the tree's own runtime.
    Start {
        body: Arc<dyn Body>,
        cell: Arc<Cell>,
        handle: Option<Handle>,
    },
    OpenRuntime {
        place: DedicatedRuntime,
        cell: Arc<Cell>,
    },
    Ask(Arc<Cell>),
    Kill(Arc<Cell>),
    Abandon(Arc<Cell>),
    Drop(Local),
    Reply(oneshot::Sender<Result<Outcome, Refusal>>, Result<Outcome, Refusal>),
    Up,
    Down(Ended),
    Nothing,
}

/// The answer to a command.
pub(crate) struct Answer(oneshot::Receiver<Result<Outcome, Refusal>>);

impl Answer {
    /// Waits for it; a tree that is gone answers as one that is down.
    pub(crate) async fn told(self) -> Result<Outcome, Refusal> {
        Shield::new().wait(self.0).await.unwrap_or(Err(Refusal::TreeEnded))
    }
}

/// What a tree lets go of when it has ended.
pub(crate) struct LetGo {
    locals: Pages<Local>,
    failures: Failures,
    replies: HashMap<RequestId, oneshot::Sender<Result<Outcome, Refusal>>>,
}

impl Drop for LetGo {
    fn drop(&mut self) {
        // One by one: each destructor may panic.
        self.locals.drain().filter(|local| !matches!(local, Local::Vacant)).for_each(dispose);
        self.failures.drain().for_each(dispose);
        self.replies.drain().for_each(dispose);
    }
}

/// Drops what the user gave: destructors are user code, and may panic.
pub(crate) fn dispose<T>(value: T) {
    let _ = crate::panic::catch(Some("destructor"), || drop(value));
}

impl Core {
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            machine,
            locals: Pages::default(),
            replaced: Vec::new(),
            failures: Failures::default(),
            replies: HashMap::new(),
            next_ticket: 0,
            // A different seed per tree and per process, from the standard library's own source.
            random: RandomState::new().hash_one(0u8) | 1,
            armed: Time::NEVER,
            keeper_awake: false,
            has_places: false,
            collapsed: false,
        }
    }

    /// SplitMix64: the next random number.
    pub(crate) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A request, and where its answer will arrive.
    pub(crate) fn expect_reply(&mut self) -> (RequestId, Answer) {
        let request = RequestId(self.next_ticket);
        self.next_ticket += 1;
        let (sender, receiver) = oneshot::channel();
        self.replies.insert(request, sender);
        (request, Answer(receiver))
    }

    pub(crate) fn forget_reply(&mut self, request: RequestId) {
        self.replies.remove(&request);
    }

    fn set_local(&mut self, id: ChildId, local: Local) {
        let before = self.locals.replace(id.slot, local, || Local::Vacant);
        if !matches!(before, Local::Vacant) {
            self.replaced.push(before);
        }
    }

    /// Sets what a child runs.
    pub(crate) fn set_leaf(&mut self, id: ChildId, body: MemberBody) {
        self.set_local(id, Local::Leaf { serial: id.serial, body, cell: None });
    }

    /// Makes a child a supervisor, maybe with a place of its own.
    pub(crate) fn set_supervisor(&mut self, id: ChildId, place: Option<DedicatedRuntime>) {
        self.has_places |= place.is_some();
        let place = place.map(|place| Box::new(LocalPlace { place, handle: None, cell: None }));
        self.set_local(id, Local::Sup { serial: id.serial, place });
    }

    /// The runtime of the place of `cell` is there. A place that was written off while it was being made is nobody's
    /// place any more.
    pub(crate) fn place_opened(&mut self, cell: &Arc<Cell>, handle: Handle) {
        if let Some(Local::Sup { place: Some(place), .. }) = self.locals.get_mut(cell.id.slot)
            && place.cell.as_ref().is_some_and(|current| Arc::ptr_eq(current, cell))
        {
            place.handle = Some(handle);
        }
    }

    /// Everything of the user's, and everybody who waits for an answer: to be dropped outside the lock.
    pub(crate) fn let_go(&mut self) -> LetGo {
        LetGo {
            locals: std::mem::take(&mut self.locals),
            // As long as the machine runs it forgets exits, and may do so under the lock.
            failures: if self.machine.has_ended() {
                std::mem::take(&mut self.failures)
            } else {
                Failures::default()
            },
            replies: std::mem::take(&mut self.replies),
        }
    }

    /// Lets go of the cell of an attempt that is gone.
    pub(crate) fn release(&mut self, gone: &Arc<Cell>) {
        let held = match self.locals.get_mut(gone.id.slot) {
            Some(Local::Leaf { cell, .. }) => cell,
            Some(Local::Sup { place: Some(place), .. }) => {
                if place.cell.as_ref().is_some_and(|cell| Arc::ptr_eq(cell, gone)) {
                    place.handle = None;
                }
                &mut place.cell
            }
            Some(Local::Sup { place: None, .. } | Local::Vacant) | None => return,
        };
        if held.as_ref().is_some_and(|cell| Arc::ptr_eq(cell, gone)) {
            *held = None;
        }
    }

    /// The runtime for the children of the supervisor above `id`: the nearest place; none for the tree's own.
    fn runtime_for(&self, id: ChildId) -> Option<Handle> {
        if self.has_places {
            let mut above = self.machine.parent(id);
            while let Some(id) = above {
                if let Some(Local::Sup { place: Some(place), .. }) = self.locals.get(id.slot)
                    && let Some(handle) = &place.handle
                {
                    return Some(handle.clone());
                }
                above = self.machine.parent(id);
            }
        }
        None
    }

    /// The next effect, of a walk over a group only as long as there are `steps` left.
    pub(crate) fn next_effect(&mut self, steps: &mut usize) -> Option<Effect> {
        self.machine.poll_prompt_effect().or_else(|| {
            *steps = steps.checked_sub(1)?;
            self.machine.poll_effect()
        })
    }

    /// Takes effects from `second` on, up to [`BATCH`] of them, and makes them ready. Whether that was all there is.
    pub(crate) fn prepare_more(
        &mut self,
        shared: &Arc<Shared>,
        second: Effect,
        steps: &mut usize,
        actions: &mut Vec<Action>,
    ) -> bool {
        let mut effects = Vec::with_capacity(BATCH);
        effects.push(second);
        while effects.len() < BATCH {
            let Some(effect) = self.next_effect(steps) else { break };
            effects.push(effect);
        }
        let drained = effects.len() < BATCH;
        self.warm_up(&effects);
        actions.extend(effects.into_iter().map(|effect| self.prepare(shared, effect)));
        drained
    }

    /// Looks at every cell that `effects` are about. They lie scattered in memory, and plain reads are fetched side by
    /// side, while the counting that follows goes one by one.
    fn warm_up(&self, effects: &[Effect]) {
        let attempts = effects.iter().map(|effect| match effect {
            Effect::Ask { id, .. } | Effect::Kill { id, .. } => {
                self.locals.get(id.slot).and_then(Local::cell).map_or(0, |cell| cell.attempt.0)
            }
            _ => 0,
        });
        std::hint::black_box(attempts.fold(0, u64::wrapping_add));
    }

    /// The cell of a living attempt, or of a place.
    fn alive(&self, id: ChildId, attempt: Attempt) -> Option<Arc<Cell>> {
        let cell = self.locals.get(id.slot)?.cell()?;
        (cell.id == id && cell.attempt == attempt).then(|| Arc::clone(cell))
    }

    /// Every living attempt and place.
    pub(crate) fn everything_alive(&self) -> Vec<Arc<Cell>> {
        self.locals.iter().filter_map(Local::cell).cloned().collect()
    }

    /// What the tree's task must be told, if anything: that there is an earlier deadline, or that effects are left to
    /// it ([`Time::ZERO`]: as soon as may be).
    pub(crate) fn news_for_keeper(&mut self) -> Option<Time> {
        let deadline = self.machine.poll_deadline().unwrap_or(Time::NEVER);
        if self.machine.has_effects() && !self.keeper_awake {
            self.keeper_awake = true;
            self.armed = self.armed.min(deadline);
            return Some(Time::ZERO);
        }
        (deadline < self.armed).then(|| {
            self.armed = deadline;
            deadline
        })
    }

    /// The one place where effects become actions.
    pub(crate) fn prepare(&mut self, shared: &Arc<Shared>, effect: Effect) -> Action {
        match effect {
            Effect::Start { id, attempt } => self.prepare_spawn(shared, id, attempt),
            Effect::Ask { id, attempt } => self.alive(id, attempt).map_or(Action::Nothing, Action::Ask),
            Effect::Kill { id, attempt } => self.alive(id, attempt).map_or(Action::Nothing, Action::Kill),
            Effect::Abandon { id, attempt } => match self.alive(id, attempt) {
                Some(cell) => {
                    self.release(&cell);
                    Action::Abandon(cell)
                }
                None => Action::Nothing,
            },
            Effect::Forget { id } => match self.locals.get_mut(id.slot) {
                Some(local) if local.is_of(id) => Action::Drop(std::mem::replace(local, Local::Vacant)),
                Some(_) | None => Action::Nothing,
            },
            Effect::CheckHeartbeat { id, attempt } => {
                if let Some(cell) = self.alive(id, attempt) {
                    let (beaten, random) = (cell.take_beat(), self.random());
                    // No later than now: the machine keeps its time.
                    self.machine.handle(Time::ZERO, random, Input::Heartbeat { id, attempt, beaten });
                }
                Action::Nothing
            }
            Effect::Reply { request, result } => match self.replies.remove(&request) {
                Some(sender) => Action::Reply(sender, result),
                None => Action::Nothing,
            },
            Effect::Event(event) => {
                shared.events.push(*event);
                Action::Nothing
            }
            Effect::TreeReady => Action::Up,
            Effect::TreeEnded { exit, report } => Action::Down(Ended { exit, report }),
        }
    }

    fn prepare_spawn(&mut self, shared: &Arc<Shared>, id: ChildId, attempt: Attempt) -> Action {
        if self.collapsed {
            return Action::Nothing;
        }
        let handle = self.runtime_for(id);
        match self.locals.get_mut(id.slot) {
            Some(Local::Leaf { serial, body, cell: held }) if *serial == id.serial => {
                let cell = Cell::new(Arc::clone(shared), id, attempt, handle.is_none());
                *held = Some(Arc::clone(&cell));
                Action::Start { body: Arc::clone(body), cell, handle }
            }
            Some(Local::Sup { serial, place: Some(place) }) if *serial == id.serial => {
                // The thread that keeps a place is in no runtime's context.
                let cell = Cell::new(Arc::clone(shared), id, attempt, false);
                place.cell = Some(Arc::clone(&cell));
                Action::OpenRuntime { place: place.place.clone(), cell }
            }
            Some(_) | None => Action::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use liveoak_core::{ChildDeclaration, ChildForm, ChildSpec, Name, SupervisorSpec};

    #[test]
    fn a_place_that_was_written_off_while_it_was_being_made_does_not_become_the_place_of_the_next_attempt() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _inside = runtime.enter();
        let spec = SupervisorSpec { dedicated_runtime: true, ..SupervisorSpec::default() };
        let name = Name::new("t").expect("a name");
        let declared =
            ChildDeclaration { name, spec: ChildSpec::of_root(), form: ChildForm::Supervisor(spec) };
        let (machine, _) = Machine::new(&declared).expect("a tree");
        let id = machine.root();
        let shared = Shared::new(machine, runtime.handle().clone());
        let cell = |attempt| Cell::new(Arc::clone(&shared), id, Attempt(attempt), false);
        let (old, new) = (cell(1), cell(2));
        let handle_is_there = shared.with_core(|core| {
            core.set_supervisor(id, Some(DedicatedRuntime::new("place", 1)));
            let handle = |core: &Core| match core.locals.get(id.slot) {
                Some(Local::Sup { place: Some(place), .. }) => place.handle.is_some(),
                Some(_) | None => false,
            };
            if let Some(Local::Sup { place: Some(place), .. }) = core.locals.get_mut(id.slot) {
                place.cell = Some(Arc::clone(&new));
            }
            core.place_opened(&old, runtime.handle().clone());
            let after_old = handle(core);
            core.place_opened(&new, runtime.handle().clone());
            (after_old, handle(core))
        });
        assert_eq!(handle_is_there, (false, true));
    }
}
