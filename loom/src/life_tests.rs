//! The life of an attempt: it is over once, when its body and all its subtasks are gone, and no subtask outlives it or is
//! waited for in vain.

use crate::latch::Watch;
use crate::life::{Abort, End, Life, poll_body};
use loom::future::block_on;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;

/// Says whether a subtask was aborted.
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

/// An attempt, and how often it was told to be over.
pub(crate) struct Attempt {
    pub(crate) life: Life<Handle, Exit, ()>,
    ends: AtomicUsize,
}

/// What polls a body holds it like this.
#[derive(Clone)]
pub(crate) struct Owner(pub(crate) Arc<Attempt>);

impl AsRef<Life<Handle, Exit, ()>> for Owner {
    fn as_ref(&self) -> &Life<Handle, Exit, ()> {
        &self.0.life
    }
}

impl Owner {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Attempt { life: Life::new(), ends: AtomicUsize::new(0) }))
    }

    /// The task of a body: it ends with the body, or is told to drop it.
    pub(crate) fn run(&self, body: impl Future<Output = ()>) {
        let mut body = pin!(body);
        let mut watch = Watch::default();
        let ended = block_on(poll_fn(|cx| {
            poll_body(self.clone(), &mut watch, cx, |owner, cx| (owner, body.as_mut().poll(cx))).1
        }));
        self.end(ended.map_or("killed", |()| "completed"));
    }

    pub(crate) fn end(&self, exit: Exit) {
        self.note(&self.0.life.body_ended(exit));
    }

    fn note(&self, end: &End<Exit>) {
        if let End::Over(_) = end {
            self.0.ends.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn ends(&self) -> usize {
        self.0.ends.load(Ordering::SeqCst)
    }

    /// Spawns a subtask, as a context does, that lives until it is aborted. None on an attempt that is over.
    fn spawn(&self) -> Option<(u64, Handle)> {
        let number = self.0.life.admit_subtask()?;
        let handle = Handle::default();
        self.0.life.keep_subtask(number, handle.clone());
        Some((number, handle))
    }

    fn subtask_ended(&self, number: u64, failed: Option<Exit>) {
        self.note(&self.0.life.subtask_ended(number, failed));
    }
}

#[test]
fn a_subtask_that_is_spawned_as_the_body_ends_is_aborted_or_refused_and_the_attempt_is_over() {
    loom::model(|| {
        let owner = Owner::new();
        let theirs = owner.clone();
        let spawner = thread::spawn(move || theirs.spawn());
        owner.end("completed");
        if let Some((number, handle)) = spawner.join().unwrap() {
            assert!(handle.is_aborted(), "the attempt waits for a subtask that nobody ends");
            assert_eq!(owner.ends(), 0, "it is over, and a subtask lives");
            assert!(owner.spawn().is_none(), "spawned after the end of the body");
            owner.subtask_ended(number, None);
        }
        assert_eq!(owner.ends(), 1);
        assert!(owner.spawn().is_none(), "spawned on an attempt that is over");
    });
}

#[test]
fn a_subtask_that_is_spawned_as_the_attempt_is_written_off_is_aborted_or_refused() {
    loom::model(|| {
        let owner = Owner::new();
        let theirs = owner.clone();
        let spawner = thread::spawn(move || theirs.spawn());
        owner.0.life.abandon();
        if let Some((_, handle)) = spawner.join().unwrap() {
            assert!(handle.is_aborted(), "a subtask outlives what was written off");
        }
        assert!(owner.spawn().is_none(), "spawned by what was written off");
    });
}

#[test]
fn a_body_and_its_subtasks_that_end_side_by_side_are_over_once() {
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
        assert!(owner.0.life.is_stopping(), "whoever holds a context of it is told");
    });
}

#[test]
fn an_end_that_is_told_twice_is_one() {
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
        let subtask = thread::spawn(move || theirs.0.life.subtask_ended(number, Some("panicked")));
        let body = owner.0.life.body_ended("completed");
        let subtask = subtask.join().unwrap();
        let either = [
            // The panic came first, or the body did.
            (End::Over("panicked"), End::Ending("panicked")),
            (End::Ending("completed"), End::Over("panicked")),
        ];
        assert!(either.contains(&(body.clone(), subtask.clone())), "{body:?}, {subtask:?}");
    });
}

#[test]
fn a_subtask_that_waits_for_the_stop_is_woken_by_the_end_of_its_body() {
    loom::model(|| {
        let owner = Owner::new();
        let theirs = owner.clone();
        let beside = thread::spawn(move || block_on(theirs.0.life.stopping()));
        owner.end("completed");
        beside.join().unwrap();
    });
}

#[test]
fn what_the_owner_keeps_is_there_for_whoever_asks_later() {
    loom::model(|| {
        let owner = Owner::new();
        let theirs = owner.clone();
        let keeper = thread::spawn(move || theirs.0.life.keep(()));
        let early = owner.0.life.kept();
        keeper.join().unwrap();
        assert!(early.is_none() || owner.0.life.kept().is_some());
        assert_eq!(owner.0.life.kept(), Some(()));
    });
}
