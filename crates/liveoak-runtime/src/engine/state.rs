//! What the lock of a tree protects: the machine, and what each child runs.
//!
//! `T` is the tree itself, as its attempts refer to it. This file does not know more of it.

use crate::attempt::body::Body;
use crate::attempt::cell::{AttemptCell, Owner};
use crate::attempt::dedicated_runtime::DedicatedRuntime;
use crate::engine::ended::drop_catching_panics;
use crate::engine::error_keep_alive::ErrorKeepAlive;
use crate::engine::paged_vec::PagedVec;
use crate::engine::replies::Replies;
use liveoak_core::{Attempt, ChildId, Machine, Time};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use tokio::runtime::Handle;

/// What one child runs. `serial` tells apart the children that use the same slot one after another.
pub(crate) enum ChildEntry<T> {
    Vacant,
    Leaf { serial: u32, body: Arc<dyn Body<T>>, cell: Option<Arc<AttemptCell<T>>> },
    Supervisor { serial: u32, dedicated: Option<Box<OwnRuntime<T>>> },
}

/// The dedicated runtime of a supervisor.
pub(crate) struct OwnRuntime<T> {
    pub(crate) settings: DedicatedRuntime,
    /// The runtime, while it exists.
    pub(crate) handle: Option<Handle>,
    /// The attempt that keeps the runtime.
    pub(crate) cell: Option<Arc<AttemptCell<T>>>,
}

impl<T> ChildEntry<T> {
    pub(crate) const fn is_of(&self, id: ChildId) -> bool {
        match self {
            Self::Vacant => false,
            Self::Leaf { serial, .. } | Self::Supervisor { serial, .. } => *serial == id.serial,
        }
    }

    /// Returns the cell of the live attempt.
    fn cell(&self) -> Option<&Arc<AttemptCell<T>>> {
        match self {
            Self::Leaf { cell, .. } => cell.as_ref(),
            Self::Supervisor { dedicated: Some(own), .. } => own.cell.as_ref(),
            Self::Supervisor { dedicated: None, .. } | Self::Vacant => None,
        }
    }
}

/// The state of one tree.
pub(crate) struct TreeState<T> {
    pub(crate) machine: Machine,
    /// What each child runs, by slot.
    pub(crate) children: PagedVec<ChildEntry<T>>,
    /// Entries that a new child found in its slot. To be dropped outside the lock.
    pub(crate) replaced: Vec<ChildEntry<T>>,
    /// The errors of exits, whose destructors are user code.
    pub(crate) errors: ErrorKeepAlive,
    /// The commands that wait for their answer.
    pub(crate) replies: Replies,
    /// The state of the random number generator.
    random: u64,
    /// When the timer task will wake up.
    pub(crate) timer_task_wakeup: Time,
    /// `true` if the timer task will check for work before it sleeps again.
    pub(crate) timer_task_pending: bool,
    /// `true` if any supervisor has, or had, a dedicated runtime.
    has_dedicated_runtimes: bool,
    /// `true` if the runtime of the tree is lost: nothing can be started any more.
    pub(crate) runtime_lost: bool,
}

/// The values of the user that a tree drops when it has ended, and the requests that get no answer any more.
pub(crate) struct UserValues<T> {
    children: PagedVec<ChildEntry<T>>,
    errors: ErrorKeepAlive,
    replies: Replies,
}

impl<T> Drop for UserValues<T> {
    fn drop(&mut self) {
        // One by one: each destructor may panic.
        let children = self.children.drain().filter(|child| !matches!(child, ChildEntry::Vacant));
        children.for_each(drop_catching_panics);
        self.errors.drain().for_each(drop_catching_panics);
        self.replies.drain().for_each(drop_catching_panics);
    }
}

impl<T: Owner> TreeState<T> {
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            machine,
            children: PagedVec::default(),
            replaced: Vec::new(),
            errors: ErrorKeepAlive::default(),
            replies: Replies::default(),
            // A different seed per tree and per process, from the standard library's own source.
            random: RandomState::new().hash_one(0u8) | 1,
            timer_task_wakeup: Time::NEVER,
            timer_task_pending: false,
            has_dedicated_runtimes: false,
            runtime_lost: false,
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

    fn set_entry(&mut self, id: ChildId, entry: ChildEntry<T>) {
        let before = self.children.replace(id.slot, entry, || ChildEntry::Vacant);
        if !matches!(before, ChildEntry::Vacant) {
            self.replaced.push(before);
        }
    }

    /// Sets what a leaf runs.
    pub(crate) fn set_leaf(&mut self, id: ChildId, body: Arc<dyn Body<T>>) {
        self.set_entry(id, ChildEntry::Leaf { serial: id.serial, body, cell: None });
    }

    /// Adds a supervisor, maybe with a dedicated runtime.
    pub(crate) fn set_supervisor(&mut self, id: ChildId, runtime: Option<DedicatedRuntime>) {
        self.has_dedicated_runtimes |= runtime.is_some();
        let own = |settings| Box::new(OwnRuntime { settings, handle: None, cell: None });
        self.set_entry(id, ChildEntry::Supervisor { serial: id.serial, dedicated: runtime.map(own) });
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

    /// Returns the runtime on which the child `id` starts: the nearest dedicated one above it, or `None` for the tree's.
    pub(crate) fn runtime_for(&self, id: ChildId) -> Option<Handle> {
        if !self.has_dedicated_runtimes {
            return None;
        }
        let mut above = self.machine.parent(id);
        while let Some(id) = above {
            if let Some(ChildEntry::Supervisor { dedicated: Some(own), .. }) = self.children.get(id.slot)
                && let Some(handle) = &own.handle
            {
                return Some(handle.clone());
            }
            above = self.machine.parent(id);
        }
        None
    }

    /// Forgets the cell of an attempt that has ended.
    pub(crate) fn release(&mut self, ended: &Arc<AttemptCell<T>>) {
        let held = match self.children.get_mut(ended.id.slot) {
            Some(ChildEntry::Leaf { cell, .. }) => cell,
            Some(ChildEntry::Supervisor { dedicated: Some(own), .. }) => {
                if own.cell.as_ref().is_some_and(|cell| Arc::ptr_eq(cell, ended)) {
                    own.handle = None;
                }
                &mut own.cell
            }
            Some(ChildEntry::Supervisor { dedicated: None, .. } | ChildEntry::Vacant) | None => return,
        };
        if held.as_ref().is_some_and(|cell| Arc::ptr_eq(cell, ended)) {
            *held = None;
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

    /// Returns the cells of all live attempts.
    pub(crate) fn live_cells(&self) -> Vec<Arc<AttemptCell<T>>> {
        self.children.iter().filter_map(ChildEntry::cell).cloned().collect()
    }

    /// Returns when the timer task must wake up, if it does not know that yet: at an earlier deadline, or at once
    /// ([`Time::ZERO`]) if effects are left to it.
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

    /// Returns the earliest deadline of the machine.
    pub(crate) fn next_deadline(&self) -> Time {
        self.machine.poll_deadline().unwrap_or(Time::NEVER)
    }

    /// Takes all values of the user out of the state. The caller drops them outside the lock.
    pub(crate) fn take_user_values(&mut self) -> UserValues<T> {
        UserValues {
            children: std::mem::take(&mut self.children),
            // A machine that still runs may forget exits under the lock, so the errors stay.
            errors: if self.machine.has_ended() {
                std::mem::take(&mut self.errors)
            } else {
                ErrorKeepAlive::default()
            },
            replies: std::mem::take(&mut self.replies),
        }
    }
}
