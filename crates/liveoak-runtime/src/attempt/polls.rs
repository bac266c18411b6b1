//! Which attempt each thread is polling now. Only polls of children with a poll limit are noted.
//!
//! Each thread that polls such a child has a *slot*, which another thread can read at any time, also while the poll
//! blocks. A poll notes its attempt in the slot of its thread and removes it afterwards: a few stores, without a look at
//! the clock. The reader (`engine/poll_watch.rs`) sees the same poll again and again and counts the time itself. So the
//! cost of a look depends on the number of threads, not of children.
//!
//! Subtasks, and the tries of checks, count as polls of their attempt. Threads and blocking calls are not polled.

use crate::util::lock::lock;
use crate::util::stack::Stack;
use liveoak_core::{Attempt, ChildId};
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// The slots of all threads that have polled a child with a limit. A thread takes its slot out when it ends.
static SLOTS: Mutex<Vec<Arc<Slot>>> = Mutex::new(Vec::new());

thread_local! {
    static OWN: OwnSlot = OwnSlot::new();
}

/// One poll: the tree (its address), the child and the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Poll {
    pub(crate) tree: usize,
    pub(crate) id: ChildId,
    pub(crate) attempt: Attempt,
}

/// What one thread polls. Only this thread writes it.
pub(crate) struct Slot {
    /// Odd while the thread polls. It is changed before and after each change of the other fields, so a reader that finds
    /// the same odd number before and after it reads them has read one poll.
    number: AtomicU64,
    tree: AtomicUsize,
    child: AtomicU32,
    serial: AtomicU32,
    attempt: AtomicU64,
    /// The name of the thread.
    name: Option<Box<str>>,
    /// The number by which the system knows the thread, if it tells.
    thread: Option<Box<str>>,
}

impl Slot {
    fn new(name: Option<Box<str>>, thread: Option<Box<str>>) -> Self {
        Self {
            number: AtomicU64::new(0),
            tree: AtomicUsize::new(0),
            child: AtomicU32::new(0),
            serial: AtomicU32::new(0),
            attempt: AtomicU64::new(0),
            name,
            thread,
        }
    }

    /// Notes that the thread polls `poll` now. Returns the poll that it polled so far: polls can be nested.
    fn begin(&self, poll: Poll) -> Option<Poll> {
        let number = self.number.load(Ordering::Relaxed);
        let outer = (number % 2 == 1).then(|| self.fields());
        self.set(number + number % 2, poll);
        outer
    }

    fn end(&self, outer: Option<Poll>) {
        let number = self.number.load(Ordering::Relaxed) + 1;
        self.number.store(number, Ordering::Relaxed);
        if let Some(outer) = outer {
            self.set(number, outer);
        }
    }

    /// Writes the fields. `number` is even, and greater than each earlier number or equal to the current one.
    fn set(&self, number: u64, poll: Poll) {
        self.number.store(number, Ordering::Relaxed);
        // Each of these stores is a release: a reader that finds its value also finds the even number.
        self.tree.store(poll.tree, Ordering::Release);
        self.child.store(poll.id.slot, Ordering::Release);
        self.serial.store(poll.id.serial, Ordering::Release);
        self.attempt.store(poll.attempt.0, Ordering::Release);
        self.number.store(number + 1, Ordering::Release);
    }

    fn fields(&self) -> Poll {
        Poll {
            tree: self.tree.load(Ordering::Acquire),
            id: ChildId {
                slot: self.child.load(Ordering::Acquire),
                serial: self.serial.load(Ordering::Acquire),
            },
            attempt: Attempt(self.attempt.load(Ordering::Acquire)),
        }
    }

    /// Returns the poll that the thread is in, and a number that only this poll has.
    pub(crate) fn read(&self) -> Option<(u64, Poll)> {
        let before = self.number.load(Ordering::Acquire);
        let poll = self.fields();
        let after = self.number.load(Ordering::Relaxed);
        (before % 2 == 1 && before == after).then_some((before, poll))
    }

    /// Returns the stack of the thread at this moment, if the feature `stacks` is on and the thread answers.
    pub(crate) fn stack(&self) -> Option<Stack> {
        Stack::of_thread(self.thread.as_deref()?.rsplit('/').next()?.parse().ok()?)
    }

    /// Describes the thread and what it is doing now, as far as the system tells.
    pub(crate) fn place(&self) -> String {
        let name = self.name.as_deref().unwrap_or("(without a name)");
        let Some(thread) = self.thread.as_deref() else { return format!("the thread {name}") };
        let number = thread.rsplit('/').next().unwrap_or(thread);
        let doing = doing(thread).map_or_else(String::new, |doing| format!(", {doing}"));
        format!("the thread {name} ({number}{doing})")
    }
}

/// Returns what a thread is doing: Linux shows whether it runs or sleeps, and in which function of the kernel.
fn doing(thread: &str) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{thread}/stat")).ok()?;
    // The name of the thread stands in parentheses before the state, and may hold parentheses itself.
    let state = stat.rsplit_once(')')?.1.trim_start().chars().next()?;
    let doing = match state {
        'R' => "it runs",
        'S' => "it sleeps",
        'D' => "it waits for a device",
        'T' | 't' => "it is suspended",
        _ => return None,
    };
    let function = std::fs::read_to_string(format!("/proc/{thread}/wchan")).unwrap_or_default();
    let is_known = state != 'R' && !matches!(function.as_str(), "" | "0");
    Some(if is_known { format!("{doing} in {function}") } else { doing.to_owned() })
}

/// The slot of the thread that owns it.
struct OwnSlot(Arc<Slot>);

impl OwnSlot {
    fn new() -> Self {
        let name = std::thread::current().name().map(Into::into);
        let thread = std::fs::read_link("/proc/thread-self").ok();
        let slot = Arc::new(Slot::new(name, thread.and_then(|thread| Some(thread.to_str()?.into()))));
        lock(&SLOTS).push(Arc::clone(&slot));
        Self(slot)
    }
}

impl Drop for OwnSlot {
    fn drop(&mut self) {
        lock(&SLOTS).retain(|slot| !Arc::ptr_eq(slot, &self.0));
    }
}

/// Notes the end of a poll when it is dropped. It stays on the thread of the poll.
pub(crate) struct PollEnd {
    outer: Option<Poll>,
    on_this_thread: PhantomData<Rc<()>>,
}

/// Notes that this thread polls an attempt, until the value is dropped. While the thread ends, nothing is noted.
pub(crate) fn begin(poll: Poll) -> Option<PollEnd> {
    let outer = OWN.try_with(|own| own.0.begin(poll)).ok()?;
    Some(PollEnd { outer, on_this_thread: PhantomData })
}

impl Drop for PollEnd {
    fn drop(&mut self) {
        let _ = OWN.try_with(|own| own.0.end(self.outer));
    }
}

/// Returns the slots of all threads.
pub(crate) fn slots() -> Vec<Arc<Slot>> {
    lock(&SLOTS).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(serial: u32) -> Poll {
        Poll { tree: 1, id: ChildId { slot: 7, serial }, attempt: Attempt(3) }
    }

    #[test]
    fn a_slot_shows_the_innermost_poll_and_each_poll_has_a_number_of_its_own() {
        let slot = Slot::new(None, None);
        assert_eq!(slot.read(), None);
        let none = slot.begin(poll(1));
        let (first, read) = slot.read().expect("a poll");
        assert_eq!((none, read), (None, poll(1)));
        let outer = slot.begin(poll(2));
        let (second, read) = slot.read().expect("a poll");
        assert_eq!((outer, read), (Some(poll(1)), poll(2)));
        slot.end(outer);
        let (third, read) = slot.read().expect("the outer poll again");
        assert_eq!(read, poll(1));
        assert!(first < second && second < third);
        slot.end(none);
        assert_eq!(slot.read(), None);
    }

    #[test]
    fn a_thread_that_has_ended_has_no_slot() {
        let before = std::thread::spawn(|| {
            let _end = begin(poll(77));
            slots().iter().filter(|slot| slot.read().is_some_and(|(_, read)| read == poll(77))).count()
        });
        assert_eq!(before.join().expect("no panic"), 1);
        let ended = slots().iter().any(|slot| slot.fields() == poll(77));
        assert!(!ended);
    }

    #[test]
    fn the_place_of_a_poll_names_the_thread() {
        let thread = std::thread::Builder::new().name("worker-of-a-test".to_owned());
        let place =
            thread.spawn(|| OWN.with(|own| own.0.place())).expect("a thread").join().expect("no panic");
        assert!(place.contains("worker-of-a-test"), "{place}");
    }
}
