//! The orders to an attempt: none is lost, whatever waits for it and in whatever order threads run.

use crate::subtasks_tests::Owner;
use crate::util::waker_guard::WakerGuard;
use loom::future::block_on;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::sync::Arc;

#[test]
fn a_body_that_waits_for_its_stop_sees_it() {
    loom::model(|| {
        let owner = Owner::new();
        let theirs = owner.clone();
        let asker = thread::spawn(move || theirs.0.orders.ask());
        owner.run(owner.0.orders.stopping());
        asker.join().unwrap();
    });
}

#[test]
fn a_kill_drops_a_body_that_waits_for_something_else() {
    loom::model(|| {
        let owner = Owner::new();
        let theirs = owner.clone();
        let killer = thread::spawn(move || {
            theirs.0.orders.ask();
            theirs.0.orders.kill();
        });
        owner.run(std::future::pending());
        killer.join().unwrap();
    });
}

#[test]
fn a_stop_and_a_kill_from_two_threads_are_both_seen() {
    loom::model(|| {
        let owner = Owner::new();
        owner.0.orders.leave_kill_to_body();
        let (asks, kills) = (owner.clone(), owner.clone());
        let asker = thread::spawn(move || asks.0.orders.ask());
        let killer = thread::spawn(move || kills.0.orders.kill());
        owner.run(async {
            owner.0.orders.stopping().await;
            owner.0.orders.killed().await;
        });
        asker.join().unwrap();
        killer.join().unwrap();
    });
}

#[test]
fn a_subtask_that_waits_for_the_stop_is_woken_with_the_body() {
    loom::model(|| {
        let owner = Owner::new();
        let (theirs, beside) = (owner.clone(), owner.clone());
        let asker = thread::spawn(move || theirs.0.orders.ask());
        let beside = thread::spawn(move || block_on(beside.0.orders.stopping()));
        owner.run(owner.0.orders.stopping());
        asker.join().unwrap();
        beside.join().unwrap();
    });
}

#[test]
fn a_subtask_that_waits_for_the_kill_is_not_woken_by_the_stop() {
    loom::model(|| {
        let owner = Owner::new();
        let beside = owner.clone();
        let beside = thread::spawn(move || block_on(beside.0.orders.killed()));
        owner.0.orders.ask();
        owner.0.orders.kill();
        beside.join().unwrap();
    });
}

#[test]
fn a_subtask_is_woken_when_the_body_ends_by_itself() {
    loom::model(|| {
        let owner = Owner::new();
        let beside = owner.clone();
        let beside = thread::spawn(move || block_on(beside.0.orders.stopping()));
        owner.run(async {});
        beside.join().unwrap();
    });
}

#[test]
fn an_attempt_that_is_killed_just_as_it_ends_still_sees_the_kill() {
    loom::model(|| {
        let owner = Owner::new();
        let theirs = owner.clone();
        let killer = thread::spawn(move || theirs.0.orders.kill());
        owner.run(async {});
        killer.join().unwrap();
        assert!(owner.0.orders.is_stopping() && owner.0.orders.is_killed());
        // Also with the wrapper that catches panics of user wakers.
        block_on(WakerGuard::new().wait(owner.0.orders.killed()));
    });
}

#[test]
fn memory_that_was_written_before_an_order_is_seen_with_it() {
    loom::model(|| {
        let owner = Owner::new();
        let written = Arc::new(AtomicUsize::new(0));
        let (theirs, writes) = (owner.clone(), Arc::clone(&written));
        let asker = thread::spawn(move || {
            writes.store(1, Ordering::Relaxed);
            theirs.0.orders.ask();
        });
        if owner.0.orders.is_stopping() {
            assert_eq!(written.load(Ordering::Relaxed), 1);
        }
        asker.join().unwrap();
    });
}

#[test]
fn a_heartbeat_and_an_order_at_the_same_time_are_both_seen() {
    loom::model(|| {
        let owner = Owner::new();
        let (beats, asks) = (owner.clone(), owner.clone());
        let beats = thread::spawn(move || beats.0.orders.beat());
        let asks = thread::spawn(move || asks.0.orders.ask());
        let early = owner.0.orders.take_beat();
        beats.join().unwrap();
        asks.join().unwrap();
        let late = owner.0.orders.take_beat();
        assert!(early != late, "the heartbeat is seen once");
        assert!(owner.0.orders.is_stopping());
    });
}

#[test]
fn a_flag_that_is_set_without_the_lock_is_not_lost_and_loses_no_stop_request() {
    loom::model(|| {
        let owner = Owner::new();
        let theirs = owner.clone();
        let asker = thread::spawn(move || theirs.0.orders.ask());
        owner.0.orders.leave_kill_to_body();
        asker.join().unwrap();
        owner.0.orders.kill();
        assert!(owner.0.orders.is_stopping() && owner.0.orders.is_killed());
        assert!(owner.run(async {}), "the kill is left to the body");
    });
}
