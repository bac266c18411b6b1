//! The machine behind one short lock, and the doing of its effects.
//!
//! 1. The machine and the table of what each child runs are touched under the lock only; user code never runs
//!    under it, not even a destructor.
//! 2. Effects are taken under the lock and done outside it, by whoever finds them. They need no order among each
//!    other: a stop and a kill are latched in the attempt's [`Cell`], so that they hold also for an attempt that is
//!    begun a moment later, and an attempt is begun only after the one before it was reported gone. Events alone are
//!    handed out in their order ([`Broadcast`]).
//! 3. Nobody works for others for long: after [`EFFECTS_PER_TURN`] the tree's own task goes on, and yields in between.
//! 4. The tree's task sleeps until the earliest deadline; whoever makes an earlier one wakes it.

use crate::body::Body;
use crate::cell::Cell;
use crate::clock::Clock;
use crate::events::Broadcast;
use crate::group::MemberBody;
use crate::place::Place;
use crate::tree::Ended;
use liveoak_core::{
    Attempt, ChildId, Done, Effect, Exit, Input, Machine, Path, Refusal, Snapshot, Ticket, Time,
};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

/// How many effects a thread does before it leaves the rest to the tree's task. About a millisecond's work.
const EFFECTS_PER_TURN: usize = 4096;

/// How many effects are taken at a time.
const BATCH: usize = 8;

/// How often a taken lock is looked at before sleeping on it.
const LOOKS: u32 = 200;

/// What a slot of the machine runs.
pub(crate) enum Local {
    Vacant,
    Leaf { body: Arc<dyn Body>, cell: Option<Arc<Cell>> },
    Sup { place: Option<Box<LocalPlace>> },
}

pub(crate) struct LocalPlace {
    pub(crate) place: Place,
    pub(crate) handle: Option<Handle>,
    pub(crate) cell: Option<Arc<Cell>>,
}

/// What stands under the lock.
pub(crate) struct Core {
    pub(crate) machine: Machine,
    pub(crate) locals: Vec<Local>,
    /// Commands that wait for their answer; as many as there are callers waiting.
    replies: HashMap<Ticket, oneshot::Sender<Result<Done, Refusal>>>,
    next_ticket: u64,
    random: u64,
    /// When the tree's task will wake.
    armed: Time,
    /// Whether any supervisor has a place of its own.
    pub(crate) has_places: bool,
    /// Whether the runtime is gone: nothing can be begun any more.
    collapsed: bool,
}

/// One tree at run time.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    core: Mutex<Core>,
    pub(crate) events: Broadcast,
    /// Set when the whole tree is ready for the first time.
    up: OnceLock<()>,
    /// Set when the tree has ended.
    ended: OnceLock<Ended>,
    /// Wakes those who wait for `up` or `ended`.
    milestones: Notify,
    /// Wakes the tree's task: an earlier deadline, or effects left over.
    rearm: Notify,
}

/// An effect, made ready to be done outside the lock.
enum Action {
    Begin { body: Arc<dyn Body>, cell: Arc<Cell>, handle: Handle },
    Open { place: Place, cell: Arc<Cell> },
    Ask(Arc<Cell>),
    Kill(Arc<dyn Body>, Arc<Cell>),
    Abandon(Arc<dyn Body>, Arc<Cell>),
    CheckHeartbeat(Arc<Cell>),
    Drop(Local),
    Reply(oneshot::Sender<Result<Done, Refusal>>, Result<Done, Refusal>),
    Up,
    Down(Ended),
    Nothing,
}

impl Shared {
    pub(crate) fn new(machine: Machine, handle: Handle) -> Arc<Self> {
        let core = Core {
            machine,
            locals: Vec::new(),
            replies: HashMap::new(),
            next_ticket: 0,
            // A different seed per tree and per process, from the standard library's own source.
            random: RandomState::new().hash_one(0u8) | 1,
            armed: Time::NEVER,
            has_places: false,
            collapsed: false,
        };
        Arc::new(Self {
            clock: Clock::new(handle),
            core: Mutex::new(core),
            events: Broadcast::default(),
            up: OnceLock::new(),
            ended: OnceLock::new(),
            milestones: Notify::new(),
            rearm: Notify::new(),
        })
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        // It is held for well under a microsecond, so a few looks are cheaper than a sleep.
        for _ in 0..LOOKS {
            match self.core.try_lock() {
                Ok(core) => return core,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
            }
        }
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Feeds one input in, and does what follows.
    pub(crate) fn feed(self: &Arc<Self>, now: Time, input: Input) {
        let mut core = self.core();
        core.machine.set_interest(self.events.interest());
        let random = core.random();
        core.machine.handle(now, random, input);
        self.drive(core);
    }

    /// An attempt is gone.
    pub(crate) fn exited(self: &Arc<Self>, cell: &Arc<Cell>, exit: Exit) {
        let now = if cell.on_root { self.clock.now_inside() } else { self.clock.now() };
        let mut core = self.core();
        core.release(cell);
        core.machine.set_interest(self.events.interest());
        let random = core.random();
        core.machine.handle(now, random, Input::Exited { id: cell.id, attempt: cell.attempt, exit });
        self.drive(core);
    }

    /// Runs `f` on the core, for additions, and does what follows.
    pub(crate) fn with_core<T>(self: &Arc<Self>, f: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.core();
        core.machine.set_interest(self.events.interest());
        let result = f(&mut core);
        self.drive(core);
        result
    }

    /// A command on one child; the answer comes when its effect is there.
    ///
    /// Dropping the future does not undo the command.
    pub(crate) async fn command(
        self: &Arc<Self>,
        path: &Path,
        command: liveoak_core::Command,
    ) -> Result<Done, Refusal> {
        let answer = {
            let mut core = self.core();
            let Some(id) = core.machine.find(path) else { return Err(Refusal::NotFound) };
            let (ticket, answer) = core.expect_reply();
            drop(core);
            self.feed(self.clock.now(), Input::Command { ticket, id, command });
            answer
        };
        answer.await.unwrap_or(Err(Refusal::TreeDown))
    }

    pub(crate) fn path(&self, id: ChildId) -> Option<Path> {
        self.core().machine.path(id)
    }

    pub(crate) fn last_exit(&self, id: ChildId) -> Option<Exit> {
        self.core().machine.last_exit(id).cloned()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let now = self.clock.now();
        self.core().machine.snapshot(now)
    }

    /// A snapshot, and the events from the next one on.
    pub(crate) fn watch(&self) -> (Snapshot, crate::events::Events) {
        let now = self.clock.now();
        let mut core = self.core();
        let snapshot = core.machine.snapshot(now);
        let events = self.events.subscribe(snapshot.number);
        (snapshot, events)
    }

    /// Waits until the tree was ready or has ended; what it ended with, if it did before it was ready.
    pub(crate) async fn until_up(&self) -> Result<(), Ended> {
        loop {
            let news = self.milestones.notified();
            if self.up.get().is_some() {
                return Ok(());
            }
            if let Some(ended) = self.ended.get() {
                return Err(ended.clone());
            }
            news.await;
        }
    }

    pub(crate) async fn until_ended(&self) -> Ended {
        loop {
            let news = self.milestones.notified();
            if let Some(ended) = self.ended.get() {
                return ended.clone();
            }
            news.await;
        }
    }

    pub(crate) fn ended(&self) -> Option<&Ended> {
        self.ended.get()
    }

    /// Does what is to be done.
    fn drive<'a>(self: &'a Arc<Self>, mut core: MutexGuard<'a, Core>) {
        let mut done = 0;
        loop {
            let mut batch = [const { Action::Nothing }; BATCH];
            let mut taken = 0;
            while taken < BATCH {
                let Some(effect) = core.machine.poll_effect() else { break };
                batch[taken] = core.prepare(self, effect);
                taken += 1;
            }
            let drained = taken < BATCH;
            let mut wake = false;
            if drained {
                let deadline = core.machine.poll_deadline().unwrap_or(Time::NEVER);
                wake = deadline < core.armed;
                if wake {
                    core.armed = deadline;
                }
            }
            drop(core);
            // Whoever waits for a milestone finds the events before it told.
            self.events.flush();
            for action in batch {
                self.perform(action);
            }
            done += taken;
            if wake || !drained && done >= EFFECTS_PER_TURN {
                self.rearm.notify_one();
            }
            if drained || done >= EFFECTS_PER_TURN {
                break;
            }
            core = self.core();
        }
    }

    fn perform(self: &Arc<Self>, action: Action) {
        match action {
            Action::Begin { body, cell, handle } => body.begin(cell, &handle),
            Action::Open { place, cell } => {
                place.begin(cell, |cell, handle| cell.tree.place_opened(cell, handle))
            }
            Action::Ask(cell) => cell.ask(),
            Action::Kill(body, cell) => body.kill(&cell),
            Action::Abandon(body, cell) => body.abandon(&cell),
            Action::CheckHeartbeat(cell) => {
                let beaten = cell.take_beat();
                self.feed(self.clock.now(), Input::Heartbeat { id: cell.id, attempt: cell.attempt, beaten });
            }
            Action::Drop(local) => {
                // The destructors of what a closure has captured are user code.
                let _ = crate::panic::catch(Some("destructor"), || drop(local));
            }
            Action::Reply(sender, result) => {
                // Whoever asked may have stopped waiting.
                let _ = sender.send(result);
            }
            Action::Up => {
                let _ = self.up.set(());
                self.milestones.notify_waiters();
            }
            Action::Down(ended) => {
                let _ = self.ended.set(ended);
                self.milestones.notify_waiters();
                self.rearm.notify_one();
            }
            Action::Nothing => {}
        }
    }

    fn place_opened(self: &Arc<Self>, cell: &Arc<Cell>, handle: Handle) {
        let mut core = self.core();
        if let Some(Local::Sup { place: Some(place) }) = core.locals.get_mut(cell.id.slot as usize) {
            place.handle = Some(handle);
        }
        drop(core);
        self.feed(self.clock.now(), Input::Ready { id: cell.id, attempt: cell.attempt });
    }

    /// The tree's own task: deadlines, and effects that others left over. Ends with the tree.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        loop {
            let news = self.rearm.notified();
            let deadline = {
                let mut core = self.core();
                let deadline = core.machine.poll_deadline().unwrap_or(Time::NEVER);
                core.armed = deadline;
                deadline
            };
            if self.ended.get().is_some() {
                break;
            }
            if deadline == Time::NEVER {
                news.await;
            } else {
                let sleep = tokio::time::sleep_until(self.clock.instant(deadline));
                crate::race::race(news, sleep).await;
            }
            self.feed(self.clock.now_inside(), Input::Tick);
            // Others on this thread first, if there is much to do.
            tokio::task::yield_now().await;
        }
    }

    /// The runtime is going away under the tree. Nothing can be waited for any more: everything is ordered to end.
    fn collapse(self: &Arc<Self>) {
        let (cells, places) = {
            let mut core = self.core();
            core.collapsed = true;
            core.everything_alive()
        };
        for (body, cell) in cells {
            body.kill(&cell);
            body.abandon(&cell);
        }
        for cell in places {
            cell.order_kill();
        }
        self.feed(self.clock.now(), Input::Kill);
        let ended = Ended { exit: Exit::Killed, report: Arc::default() };
        let _ = self.ended.set(ended);
        self.milestones.notify_waiters();
    }
}

/// Orders everything to end when the tree's task is dropped before the tree has ended.
pub(crate) struct Alarm(pub(crate) Arc<Shared>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if self.0.ended.get().is_none() {
            self.0.collapse();
        }
    }
}

impl Core {
    /// SplitMix64: the next random number.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A ticket, and where its answer will arrive.
    pub(crate) fn expect_reply(&mut self) -> (Ticket, oneshot::Receiver<Result<Done, Refusal>>) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let (sender, receiver) = oneshot::channel();
        self.replies.insert(ticket, sender);
        (ticket, receiver)
    }

    pub(crate) fn forget_reply(&mut self, ticket: Ticket) {
        self.replies.remove(&ticket);
    }

    /// Sets what a slot runs.
    pub(crate) fn set_local(&mut self, id: ChildId, local: Local) {
        let slot = id.slot as usize;
        if self.locals.len() <= slot {
            self.locals.resize_with(slot + 1, || Local::Vacant);
        }
        self.locals[slot] = local;
    }

    pub(crate) fn set_member(&mut self, id: ChildId, body: MemberBody) {
        self.set_local(id, Local::Leaf { body, cell: None });
    }

    /// Lets go of the cell of an attempt that is gone.
    fn release(&mut self, gone: &Arc<Cell>) {
        let held = match self.locals.get_mut(gone.id.slot as usize) {
            Some(Local::Leaf { cell, .. }) => cell,
            Some(Local::Sup { place: Some(place) }) => {
                if place.cell.as_ref().is_some_and(|cell| Arc::ptr_eq(cell, gone)) {
                    place.handle = None;
                }
                &mut place.cell
            }
            Some(Local::Sup { place: None } | Local::Vacant) | None => return,
        };
        if held.as_ref().is_some_and(|cell| Arc::ptr_eq(cell, gone)) {
            *held = None;
        }
    }

    /// The runtime for the children of the supervisor above `id`: the nearest place, or the tree's own.
    fn runtime_for(&self, id: ChildId, shared: &Shared) -> (Handle, bool) {
        if self.has_places {
            let mut above = self.machine.parent(id);
            while let Some(id) = above {
                if let Some(Local::Sup { place: Some(place) }) = self.locals.get(id.slot as usize)
                    && let Some(handle) = &place.handle
                {
                    return (handle.clone(), false);
                }
                above = self.machine.parent(id);
            }
        }
        (shared.clock.handle().clone(), true)
    }

    /// The body and the cell of a living attempt.
    fn alive(&self, id: ChildId, attempt: Attempt) -> Option<(Arc<dyn Body>, Arc<Cell>)> {
        match self.locals.get(id.slot as usize)? {
            Local::Leaf { body, cell: Some(cell) } if cell.id == id && cell.attempt == attempt => {
                Some((Arc::clone(body), Arc::clone(cell)))
            }
            Local::Leaf { .. } | Local::Sup { .. } | Local::Vacant => None,
        }
    }

    fn place_cell(&self, id: ChildId, attempt: Attempt) -> Option<Arc<Cell>> {
        match self.locals.get(id.slot as usize)? {
            Local::Sup { place: Some(place) } => {
                place.cell.clone().filter(|cell| cell.id == id && cell.attempt == attempt)
            }
            Local::Leaf { .. } | Local::Sup { place: None } | Local::Vacant => None,
        }
    }

    #[expect(clippy::type_complexity, reason = "two lists, taken apart at once")]
    fn everything_alive(&self) -> (Vec<(Arc<dyn Body>, Arc<Cell>)>, Vec<Arc<Cell>>) {
        let (mut bodies, mut places) = (Vec::new(), Vec::new());
        for local in &self.locals {
            match local {
                Local::Leaf { body, cell: Some(cell) } => bodies.push((Arc::clone(body), Arc::clone(cell))),
                Local::Sup { place: Some(place) } => places.extend(place.cell.clone()),
                Local::Leaf { cell: None, .. } | Local::Sup { place: None } | Local::Vacant => {}
            }
        }
        (bodies, places)
    }

    /// The one place where effects become actions.
    fn prepare(&mut self, shared: &Arc<Shared>, effect: Effect) -> Action {
        match effect {
            Effect::Spawn { id, attempt } => self.prepare_spawn(shared, id, attempt),
            Effect::Ask { id, attempt } => match self.alive(id, attempt) {
                Some((_, cell)) => Action::Ask(cell),
                None => self.place_cell(id, attempt).map_or(Action::Nothing, Action::Ask),
            },
            Effect::Kill { id, attempt } => match self.alive(id, attempt) {
                Some((body, cell)) => Action::Kill(body, cell),
                None => self.place_cell(id, attempt).map_or(Action::Nothing, Action::Ask),
            },
            Effect::Abandon { id, attempt } => match self.alive(id, attempt) {
                Some((body, cell)) => {
                    self.release(&cell);
                    Action::Abandon(body, cell)
                }
                None => match self.place_cell(id, attempt) {
                    Some(cell) => {
                        self.release(&cell);
                        Action::Ask(cell)
                    }
                    None => Action::Nothing,
                },
            },
            Effect::Forget { id } => match self.locals.get_mut(id.slot as usize) {
                Some(local) => Action::Drop(std::mem::replace(local, Local::Vacant)),
                None => Action::Nothing,
            },
            Effect::CheckHeartbeat { id, attempt } => {
                self.alive(id, attempt).map_or(Action::Nothing, |(_, cell)| Action::CheckHeartbeat(cell))
            }
            Effect::Reply { ticket, result } => match self.replies.remove(&ticket) {
                Some(sender) => Action::Reply(sender, result),
                None => Action::Nothing,
            },
            Effect::Event(event) => {
                shared.events.push(*event);
                Action::Nothing
            }
            Effect::Up => Action::Up,
            Effect::Down { exit, report } => Action::Down(Ended { exit, report }),
        }
    }

    fn prepare_spawn(&mut self, shared: &Arc<Shared>, id: ChildId, attempt: Attempt) -> Action {
        if self.collapsed {
            return Action::Nothing;
        }
        let (handle, on_root) = self.runtime_for(id, shared);
        let cell = Cell::new(Arc::clone(shared), id, attempt, on_root);
        match self.locals.get_mut(id.slot as usize) {
            Some(Local::Leaf { body, cell: held }) => {
                *held = Some(Arc::clone(&cell));
                Action::Begin { body: Arc::clone(body), cell, handle }
            }
            Some(Local::Sup { place: Some(place) }) => {
                place.cell = Some(Arc::clone(&cell));
                Action::Open { place: place.place.clone(), cell }
            }
            Some(Local::Sup { place: None } | Local::Vacant) | None => Action::Nothing,
        }
    }
}
