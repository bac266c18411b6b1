//! The latch, as the life of an attempt uses it: no order is lost, whoever waits and however it falls.

use crate::latch::{Latch, Shield};
use crate::life_tests::Owner;
use loom::future::block_on;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::sync::Arc;

#[test]
fn a_body_that_waits_for_its_stop_sees_it() {
    loom::model(|| {
        let owner = Owner::new();
        let theirs = owner.clone();
        let asker = thread::spawn(move || theirs.0.life.ask());
        owner.run(owner.0.life.stopping());
        asker.join().unwrap();
    });
}

#[test]
fn a_body_that_waits_for_something_else_is_killed_all_the_same() {
    loom::model(|| {
        let owner = Owner::new();
        let theirs = owner.clone();
        let killer = thread::spawn(move || {
            theirs.0.life.ask();
            theirs.0.life.kill();
        });
        owner.run(std::future::pending());
        killer.join().unwrap();
    });
}

#[test]
fn a_stop_and_a_kill_that_come_from_two_sides_are_both_seen() {
    loom::model(|| {
        let owner = Owner::new();
        owner.0.life.leave_kill_to_body();
        let (asks, kills) = (owner.clone(), owner.clone());
        let asker = thread::spawn(move || asks.0.life.ask());
        let killer = thread::spawn(move || kills.0.life.kill());
        owner.run(async {
            owner.0.life.stopping().await;
            owner.0.life.killed().await;
        });
        asker.join().unwrap();
        killer.join().unwrap();
    });
}

#[test]
fn whoever_waits_beside_the_body_is_woken_as_well() {
    loom::model(|| {
        let owner = Owner::new();
        let (theirs, beside) = (owner.clone(), owner.clone());
        let asker = thread::spawn(move || theirs.0.life.ask());
        let beside = thread::spawn(move || block_on(beside.0.life.stopping()));
        owner.run(owner.0.life.stopping());
        asker.join().unwrap();
        beside.join().unwrap();
    });
}

#[test]
fn whoever_waits_beside_the_body_for_its_kill_is_woken_by_the_stop_and_waits_on() {
    loom::model(|| {
        let owner = Owner::new();
        let beside = owner.clone();
        let beside = thread::spawn(move || block_on(beside.0.life.killed()));
        owner.0.life.ask();
        owner.0.life.kill();
        beside.join().unwrap();
    });
}

#[test]
fn whoever_waits_beside_a_body_that_ends_by_itself_is_woken() {
    loom::model(|| {
        let owner = Owner::new();
        let beside = owner.clone();
        let beside = thread::spawn(move || block_on(beside.0.life.stopping()));
        owner.run(async {});
        beside.join().unwrap();
    });
}

#[test]
fn an_order_at_the_moment_of_the_end_hurts_nobody() {
    loom::model(|| {
        let owner = Owner::new();
        let theirs = owner.clone();
        let killer = thread::spawn(move || theirs.0.life.kill());
        owner.run(async {});
        killer.join().unwrap();
        assert!(owner.0.life.is_stopping() && owner.0.life.is_killed());
        // As those wait whose wakers are the user's.
        block_on(Shield::new().wait(owner.0.life.killed()));
    });
}

#[test]
fn what_was_written_before_an_order_is_seen_with_it() {
    loom::model(|| {
        let owner = Owner::new();
        let written = Arc::new(AtomicUsize::new(0));
        let (theirs, writes) = (owner.clone(), Arc::clone(&written));
        let asker = thread::spawn(move || {
            writes.store(1, Ordering::Relaxed);
            theirs.0.life.ask();
        });
        if owner.0.life.is_stopping() {
            assert_eq!(written.load(Ordering::Relaxed), 1);
        }
        asker.join().unwrap();
    });
}

#[test]
fn no_heartbeat_is_lost_and_no_order_with_it() {
    loom::model(|| {
        let owner = Owner::new();
        let (beats, asks) = (owner.clone(), owner.clone());
        let beats = thread::spawn(move || beats.0.life.beat());
        let asks = thread::spawn(move || asks.0.life.ask());
        let early = owner.0.life.take_beat();
        beats.join().unwrap();
        asks.join().unwrap();
        let late = owner.0.life.take_beat();
        assert!(early != late, "the beat was seen once");
        assert!(owner.0.life.is_stopping());
    });
}

#[test]
fn what_is_noted_loses_no_order_and_no_order_loses_it() {
    const ORDER: u8 = 1;
    const NOTE: u8 = 2;
    loom::model(|| {
        let latch = Arc::new(Latch::new(()));
        let theirs = Arc::clone(&latch);
        let asker = thread::spawn(move || theirs.raise(ORDER));
        latch.note(NOTE);
        asker.join().unwrap();
        assert!(latch.has(ORDER) && latch.has(NOTE));
    });
}
