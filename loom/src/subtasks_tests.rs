//! The subtasks of an attempt: the attempt ends once, when its body and all its subtasks have ended. No subtask
//! outlives it, and it waits for no subtask that never ends.

use crate::attempt::orders::{Orders, TaskRegistration, poll_body};
use crate::attempt::subtasks::{Abort, End, Subtasks};
use loom::future::block_on;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;

/// Records whether a subtask was aborted.
#[derive(Clone, Default)]
pub(crate) struct Handle(Arc<AtomicBool>);

impl Abort for Handle {
    fn abort(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Handle {
    fn is_aborted(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) type Exit = &'static str;

/// An attempt, and how often its end was reported.
pub(crate) struct Attempt {
    pub(crate) orders: Orders,
    subtasks: Subtasks<Handle, Exit, Option<u8>>,
    ends: AtomicUsize,
}

/// A shared attempt, as the task of a body holds it.
#[derive(Clone)]
pub(crate) struct Owner(pub(crate) Arc<Attempt>);

impl AsRef<Orders> for Owner {
    fn as_ref(&self) -> &Orders {
        &self.0.orders
    }
}

impl Owner {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Attempt {
            orders: Orders::new(),
            subtasks: Subtasks::new(),
            ends: AtomicUsize::new(0),
        }))
    }

    /// Runs the task of a body. Returns `true` if the body ended by itself, and `false` if it was dropped.
    pub(crate) fn run(&self, body: impl Future<Output = ()>) -> bool {
        let mut body = pin!(body);
        let mut registration = TaskRegistration::default();
        let ended = block_on(poll_fn(|cx| {
            poll_body(self.clone(), &mut registration, cx, |cell, cx| (cell, body.as_mut().poll(cx))).1
        }));
        self.end(ended.map_or("killed", |()| "completed"));
        ended.is_some()
    }

    pub(crate) fn end(&self, exit: Exit) {
        self.count(&self.0.subtasks.body_ended(&self.0.orders, exit));
    }

    fn count(&self, end: &End<Exit>) {
        if let End::Attempt(_) = end {
            self.0.ends.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn ends(&self) -> usize {
        self.0.ends.load(Ordering::SeqCst)
    }

    /// Spawns a subtask as a context does. It lives until it is aborted. Returns `None` after the end of the attempt.
    fn spawn(&self) -> Option<(u64, Handle)> {
        let number = self.0.subtasks.admit(&self.0.orders).ok()?;
        let handle = Handle::default();
        self.0.subtasks.store_handle(&self.0.orders, number, handle.clone());
        Some((number, handle))
    }

    fn subtask_ended(&self, number: u64, panic: Option<Exit>) {
        self.count(&self.0.subtasks.ended(&self.0.orders, number, panic));
    }

    fn abandon(&self) {
        self.0.orders.abandon();
        self.0.subtasks.abort_all();
    }
}

#[test]
fn a_subtask_that_is_spawned_as_the_body_ends_is_aborted_or_refused_and_the_attempt_ends() {
    loom::model(|| {
        let owner = Owner::new();
        let theirs = owner.clone();
        let spawner = thread::spawn(move || theirs.spawn());
        owner.end("completed");
        if let Some((number, handle)) = spawner.join().unwrap() {
            assert!(handle.is_aborted(), "the attempt waits for a subtask that is not aborted");
            assert_eq!(owner.ends(), 0, "the attempt has ended, and a subtask lives");
            assert!(owner.spawn().is_none(), "spawned after the end of the body");
            owner.subtask_ended(number, None);
        }
        assert_eq!(owner.ends(), 1);
        assert!(owner.spawn().is_none(), "spawned after the end of the attempt");
    });
}

#[test]
fn a_subtask_that_is_spawned_as_the_attempt_is_abandoned_is_aborted_or_refused() {
    loom::model(|| {
        let owner = Owner::new();
        let theirs = owner.clone();
        let spawner = thread::spawn(move || theirs.spawn());
        owner.abandon();
        if let Some((_, handle)) = spawner.join().unwrap() {
            assert!(handle.is_aborted(), "a subtask outlives an abandoned attempt");
        }
        assert!(owner.spawn().is_none(), "spawned by an abandoned attempt");
    });
}

#[test]
fn an_attempt_whose_body_and_subtasks_end_at_the_same_time_ends_once() {
    loom::model(|| {
        let owner = Owner::new();
        let subtasks = [owner.spawn().unwrap().0, owner.spawn().unwrap().0].map(|number| {
            let owner = owner.clone();
            thread::spawn(move || owner.subtask_ended(number, None))
        });
        owner.end("completed");
        for subtask in subtasks {
            subtask.join().unwrap();
        }
        assert_eq!(owner.ends(), 1);
        assert!(owner.0.orders.is_stopping(), "code with a context of the attempt is told to stop");
    });
}

#[test]
fn an_end_that_is_reported_twice_counts_once() {
    loom::model(|| {
        let owner = Owner::new();
        let number = owner.spawn().unwrap().0;
        let ends = ["completed", "killed"].map(|exit| {
            let owner = owner.clone();
            thread::spawn(move || owner.end(exit))
        });
        owner.subtask_ended(number, None);
        for end in ends {
            end.join().unwrap();
        }
        assert_eq!(owner.ends(), 1);
    });
}

#[test]
fn a_panic_of_a_subtask_is_the_exit_whenever_the_body_ends() {
    loom::model(|| {
        let owner = Owner::new();
        let number = owner.spawn().unwrap().0;
        let theirs = owner.clone();
        let subtask =
            thread::spawn(move || theirs.0.subtasks.ended(&theirs.0.orders, number, Some("panicked")));
        let body = owner.0.subtasks.body_ended(&owner.0.orders, "completed");
        let subtask = subtask.join().unwrap();
        let either = [
            // The panic came first, or the body did.
            (End::Attempt("panicked"), End::Ending("panicked")),
            (End::Ending("completed"), End::Attempt("panicked")),
        ];
        assert!(either.contains(&(body.clone(), subtask.clone())), "{body:?}, {subtask:?}");
    });
}

#[test]
fn a_subtask_that_waits_for_the_stop_is_woken_by_the_end_of_its_body() {
    loom::model(|| {
        let owner = Owner::new();
        let theirs = owner.clone();
        let beside = thread::spawn(move || block_on(theirs.0.orders.stopping()));
        owner.end("completed");
        beside.join().unwrap();
    });
}

#[test]
fn the_identity_that_was_stored_first_is_found_later() {
    loom::model(|| {
        let owner = Owner::new();
        let theirs = owner.clone();
        let store = |owner: &Owner, value| owner.0.subtasks.identity(|known| *known.get_or_insert(value));
        let writer = thread::spawn(move || store(&theirs, 1));
        let ours = store(&owner, 2);
        let found = writer.join().unwrap();
        assert_eq!(found, ours, "both threads have the value that was stored first");
        assert_eq!(owner.0.subtasks.identity(|known| *known), Some(ours));
    });
}

#[test]
fn the_last_subtask_may_end_at_any_time_while_the_body_ends() {
    loom::model(|| {
        let owner = Owner::new();
        let number = owner.spawn().unwrap().0;
        let theirs = owner.clone();
        let subtask = thread::spawn(move || theirs.subtask_ended(number, None));
        let beside = owner.clone();
        let beside = thread::spawn(move || block_on(beside.0.orders.stopping()));
        owner.end("completed");
        subtask.join().unwrap();
        beside.join().unwrap();
        assert_eq!(owner.ends(), 1);
    });
}
