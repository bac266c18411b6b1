//! The state that the lock of a tree protects: the machine, the body of each child, and the callers that wait for
//! answers.
//!
//! `T` is the type of the tree to which attempts refer. This file knows nothing else about `T`.

use crate::attempt::body::{Body, UserValue, add_user_value};
use crate::attempt::cell::{AttemptCell, AttemptListener};
use crate::attempt::dedicated_runtime::DedicatedRuntime;
use crate::engine::ended::LastExits;
use crate::engine::modes::Modes;
use crate::engine::paged_vec::PagedVec;
pub(crate) use crate::engine::requests::Answer;
use crate::engine::requests::{ReplySender, Requests};
use liveoak_core::{Asker, Attempt, Awaited, ChildId, Machine, Refusal, RequestId, Time};
use std::any::Any;
use std::hash::{BuildHasher, RandomState};
use std::iter::successors;
use std::sync::Arc;
use tokio::runtime::Handle;

/// What one child runs. `serial` tells apart the children that use the same slot one after another.
pub(crate) enum ChildEntry<T> {
    Vacant,
    Leaf {
        serial: u32,
        body: Arc<dyn Body<T>>,
        cell: Option<Arc<AttemptCell<T>>>,
    },
    Supervisor {
        serial: u32,
        dedicated: Option<Box<RuntimeEntry<T>>>,
        /// What makes the members of a group. Its destructor is user code.
        member_maker: Option<Arc<dyn Any + Send + Sync>>,
    },
}

/// The dedicated runtime of one supervisor.
pub(crate) struct RuntimeEntry<T> {
    pub(crate) settings: DedicatedRuntime,
    /// The runtime, while it exists.
    pub(crate) handle: Option<Handle>,
    /// The attempt that keeps the runtime.
    pub(crate) cell: Option<Arc<AttemptCell<T>>>,
}

impl<T: 'static> ChildEntry<T> {
    pub(crate) const fn is_of(&self, id: ChildId) -> bool {
        match self {
            Self::Vacant => false,
            Self::Leaf { serial, .. } | Self::Supervisor { serial, .. } => *serial == id.serial,
        }
    }

    /// Takes the entry apart, outside the lock. Adds the values whose destructors are user code to `values`.
    pub(crate) fn dispose(self, values: &mut Vec<UserValue>) {
        match self {
            Self::Leaf { body, .. } => body.dispose(values),
            Self::Supervisor { member_maker: Some(maker), .. } => add_user_value(values, maker),
            Self::Supervisor { member_maker: None, .. } | Self::Vacant => {}
        }
    }

    pub(crate) const fn is_supervisor(&self) -> bool {
        matches!(self, Self::Supervisor { .. })
    }

    /// Returns the id of the child, which uses `slot`.
    pub(crate) const fn id(&self, slot: u32) -> Option<ChildId> {
        match self {
            Self::Leaf { serial, .. } | Self::Supervisor { serial, .. } => {
                Some(ChildId { slot, serial: *serial })
            }
            Self::Vacant => None,
        }
    }

    fn cell(&self) -> Option<&Arc<AttemptCell<T>>> {
        match self {
            Self::Leaf { cell, .. } => cell.as_ref(),
            Self::Supervisor { dedicated: Some(own), .. } => own.cell.as_ref(),
            Self::Supervisor { dedicated: None, .. } | Self::Vacant => None,
        }
    }
}

pub(crate) struct TreeState<T> {
    pub(crate) machine: Machine,
    /// What each child runs, by slot.
    pub(crate) children: PagedVec<ChildEntry<T>>,
    /// The entries that a new child found in its slot, each with the id of its old child. They are dropped outside the
    /// lock.
    pub(crate) replaced: Vec<(ChildEntry<T>, ChildId)>,
    /// The callers that wait for an answer.
    pub(crate) requests: Requests,
    pub(crate) modes: Modes,
    random: u64,
    /// When the timer task will wake up.
    pub(crate) timer_task_wakeup: Time,
    /// `true` if the timer task will check for work before it sleeps again.
    pub(crate) timer_task_pending: bool,
    /// `true` if any supervisor has, or had, a dedicated runtime, or any child has a chosen runtime.
    has_other_runtimes: bool,
    /// When the stop of the whole tree must be over, if a command said so.
    pub(crate) stopped_by: Option<Time>,
    /// `true` if the whole tree was killed.
    pub(crate) killed: bool,
    /// `true` if the runtime of the tree is lost, or its machine has panicked: nothing can be started any more.
    pub(crate) runtime_lost: bool,
    /// The attempts that still run, if the machine or the driver has panicked.
    pub(crate) failed: Option<Box<LastExits>>,
}

impl<T: AttemptListener> TreeState<T> {
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            machine,
            children: PagedVec::default(),
            replaced: Vec::new(),
            requests: Requests::default(),
            modes: Modes::default(),
            // A different seed per tree and per process, from the standard library's own source.
            random: RandomState::new().hash_one(0u8) | 1,
            timer_task_wakeup: Time::NEVER,
            timer_task_pending: false,
            has_other_runtimes: false,
            stopped_by: None,
            killed: false,
            runtime_lost: false,
            failed: None,
        }
    }

    /// Returns the next random number (SplitMix64).
    pub(crate) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Adds a child by `add`, as a request. Returns the result of `add`, and either the answer or the reason why `asker`
    /// cannot wait for it.
    pub(crate) fn request_to_add<C>(
        &mut self,
        asker: Option<Asker>,
        add: impl FnOnce(&mut Machine, RequestId) -> Result<(ChildId, C), Refusal>,
    ) -> Result<(ChildId, C, Result<Answer, Refusal>), Refusal> {
        let answer = self.requests.begin()?;
        let request = answer.request;
        let added = add(&mut self.machine, request);
        if added.is_err() {
            drop(self.requests.take(request));
        }
        let (id, added) = added?;
        let waits_for_itself = self.refuse_own_wait(asker, request, id);
        let answer =
            if waits_for_itself { Err(Refusal::WouldWaitForItself { begun: true }) } else { Ok(answer) };
        Ok((id, added, answer))
    }

    /// Withdraws a request and returns `true`, if the answer to the request depends on `asker` itself.
    pub(crate) fn refuse_own_wait(&mut self, asker: Option<Asker>, request: RequestId, id: ChildId) -> bool {
        let awaited = Awaited::Answer(request, id);
        let refused = asker.is_some_and(|asker| self.machine.would_wait_for_itself(asker, awaited));
        if refused {
            // Nothing waits for the answer yet, so no waker is dropped with the sender.
            drop(self.withdraw(request, id));
        }
        refused
    }

    /// Forgets a request whose caller does not wait for the answer. Returns the sender of the answer. It may hold a
    /// waker, so drop it outside the lock.
    #[must_use]
    pub(crate) fn withdraw(&mut self, request: RequestId, id: ChildId) -> Option<ReplySender> {
        let sender = self.requests.take(request);
        if sender.is_some() {
            self.machine.withdraw(request, id);
        }
        sender
    }

    fn set_entry(&mut self, id: ChildId, entry: ChildEntry<T>) {
        let before = self.children.replace(id.slot, entry, || ChildEntry::Vacant);
        if let Some(child) = before.id(id.slot) {
            self.replaced.push((before, child));
        }
    }

    pub(crate) fn set_leaf(&mut self, id: ChildId, body: Arc<dyn Body<T>>) {
        self.set_entry(id, ChildEntry::Leaf { serial: id.serial, body, cell: None });
    }

    /// Adds a supervisor, maybe with a dedicated runtime, or a group.
    pub(crate) fn set_supervisor(
        &mut self,
        id: ChildId,
        runtime: Option<DedicatedRuntime>,
        member_maker: Option<Arc<dyn Any + Send + Sync>>,
    ) {
        self.has_other_runtimes |= runtime.is_some();
        let own = |settings| Box::new(RuntimeEntry { settings, handle: None, cell: None });
        let dedicated = runtime.map(own);
        self.set_entry(id, ChildEntry::Supervisor { serial: id.serial, dedicated, member_maker });
    }

    /// Stores the handle of a dedicated runtime. If the attempt `cell` was abandoned while it created the runtime, the
    /// next attempt must not use it: the handle is ignored.
    pub(crate) fn runtime_opened(&mut self, cell: &Arc<AttemptCell<T>>, handle: Handle) {
        if let Some(ChildEntry::Supervisor { dedicated: Some(own), .. }) = self.children.get_mut(cell.id.slot)
            && own.cell.as_ref().is_some_and(|current| Arc::ptr_eq(current, cell))
        {
            own.handle = Some(handle);
        }
    }

    /// Adds a declared leaf, which may have a runtime that the user has chosen. Members of groups have none.
    pub(crate) fn set_declared_leaf(&mut self, id: ChildId, body: Arc<dyn Body<T>>) {
        self.has_other_runtimes |= body.runtime().is_some();
        self.set_leaf(id, body);
    }

    /// Gives a leaf another body, for its next attempt. A live attempt keeps the body that it has.
    pub(crate) fn swap_body(&mut self, id: ChildId, new: Arc<dyn Body<T>>) {
        self.has_other_runtimes |= new.runtime().is_some();
        if let Some(ChildEntry::Leaf { serial, body, .. }) = self.children.get_mut(id.slot)
            && *serial == id.serial
        {
            let body = std::mem::replace(body, new);
            self.replaced.push((ChildEntry::Leaf { serial: id.serial, body, cell: None }, id));
        } else {
            // The body of the child was let go.
            self.set_leaf(id, new);
        }
    }

    /// Returns `true` if the nearest dedicated runtime of a supervisor, its own or one above it, has one thread only.
    pub(crate) fn has_one_thread(&self, supervisor: ChildId) -> bool {
        let mut line = successors(Some(supervisor), |id| self.machine.parent(*id));
        let nearest = line.find_map(|id| match self.children.get(id.slot) {
            Some(ChildEntry::Supervisor { dedicated: Some(own), .. }) => Some(own.settings.is_one_thread()),
            Some(_) | None => None,
        });
        nearest.unwrap_or_default()
    }

    /// Returns the runtime on which the child `id` starts: the chosen one, else the nearest dedicated one above it, or
    /// `None` for the tree's.
    #[inline]
    pub(crate) fn runtime_for(&self, id: ChildId) -> Option<Handle> {
        if self.has_other_runtimes { self.other_runtime_for(id) } else { None }
    }

    fn other_runtime_for(&self, id: ChildId) -> Option<Handle> {
        if let Some(ChildEntry::Leaf { body, .. }) = self.children.get(id.slot)
            && let Some(chosen) = body.runtime()
        {
            return Some(chosen.clone());
        }
        let mut above = successors(self.machine.parent(id), |id| self.machine.parent(*id));
        above.find_map(|id| match self.children.get(id.slot) {
            Some(ChildEntry::Supervisor { dedicated: Some(own), .. }) => own.handle.clone(),
            Some(_) | None => None,
        })
    }

    /// Forgets the cell of an attempt that has ended. Returns `true` if it was not forgotten before.
    pub(crate) fn release(&mut self, ended: &Arc<AttemptCell<T>>) -> bool {
        let is_held = |held: &mut Arc<AttemptCell<T>>| Arc::ptr_eq(held, ended);
        match self.children.get_mut(ended.id.slot) {
            Some(ChildEntry::Leaf { cell, .. }) => cell.take_if(is_held).is_some(),
            Some(ChildEntry::Supervisor { dedicated: Some(own), .. }) => {
                let released = own.cell.take_if(is_held).is_some();
                if released {
                    own.handle = None;
                }
                released
            }
            Some(ChildEntry::Supervisor { dedicated: None, .. } | ChildEntry::Vacant) | None => false,
        }
    }

    /// Lets contexts that outlive their attempt still return the exit of the previous attempt.
    pub(crate) fn keep_previous_exit(&self, ended: &AttemptCell<T>) {
        if let Some(exit) = self.machine.exit_before(ended.id, ended.attempt) {
            ended.subtasks.keep_previous_exit(exit.clone());
        }
    }

    /// Returns the cell of the current attempt in the slot of `id`, whatever child uses the slot now.
    pub(crate) fn cell_in_slot(&self, id: ChildId) -> Option<&Arc<AttemptCell<T>>> {
        self.children.get(id.slot).and_then(ChildEntry::cell)
    }

    /// Returns the cell of a live attempt. Returns `None` for an attempt that has ended, so that a late effect changes
    /// nothing.
    pub(crate) fn live_cell(&self, id: ChildId, attempt: Attempt) -> Option<Arc<AttemptCell<T>>> {
        let cell = self.cell_in_slot(id)?;
        (cell.id == id && cell.attempt == attempt).then(|| Arc::clone(cell))
    }

    /// Returns `true` if the attempts of a child are dedicated runtimes.
    pub(crate) fn is_runtime(&self, id: ChildId) -> bool {
        self.children.get(id.slot).is_some_and(ChildEntry::is_supervisor)
    }

    pub(crate) fn live_cells(&self) -> Vec<Arc<AttemptCell<T>>> {
        self.children.iter().filter_map(ChildEntry::cell).cloned().collect()
    }

    /// Returns when the timer task must wake up, if the task does not know this yet: at an earlier deadline, or
    /// immediately ([`Time::ZERO`]) if effects are left to it.
    pub(crate) fn new_wakeup(&mut self) -> Option<Time> {
        let deadline = self.next_deadline();
        if self.machine.has_effects() && !self.timer_task_pending {
            self.timer_task_pending = true;
            self.timer_task_wakeup = self.timer_task_wakeup.min(deadline);
            return Some(Time::ZERO);
        }
        (deadline < self.timer_task_wakeup).then(|| {
            self.timer_task_wakeup = deadline;
            deadline
        })
    }

    pub(crate) fn next_deadline(&self) -> Time {
        self.machine.poll_deadline().unwrap_or(Time::NEVER)
    }
}
