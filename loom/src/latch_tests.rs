//! The latch: no order is lost, whoever waits and however it falls.

use crate::latch::{Latch, Watch};
use loom::future::block_on;
use loom::thread;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

const STOP: u8 = 1;
const KILL: u8 = 2;
const BEAT: u8 = 4;
const OVER: u8 = 16;
const ORDERS: u8 = STOP | KILL;

/// The task of a body, which looks at its orders as the runtime's does; it ends with the body, or when it is killed.
fn task(latch: &Latch<()>, body: impl Future<Output = ()>) {
    let mut body = pin!(body);
    let mut watch = Watch::default();
    block_on(poll_fn(|cx| {
        let orders = watch.look(latch, cx, ORDERS);
        if orders & KILL != 0 || body.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        watch.wait(latch, cx, ORDERS, orders);
        Poll::Pending
    }));
}

#[test]
fn a_body_that_waits_for_its_stop_sees_it() {
    loom::model(|| {
        let latch = Arc::new(Latch::new(()));
        let theirs = Arc::clone(&latch);
        let asker = thread::spawn(move || theirs.raise(STOP));
        task(&latch, latch.wait(STOP));
        asker.join().unwrap();
    });
}

#[test]
fn a_body_that_waits_for_something_else_is_killed_all_the_same() {
    loom::model(|| {
        let latch = Arc::new(Latch::new(()));
        let theirs = Arc::clone(&latch);
        let killer = thread::spawn(move || {
            theirs.raise(STOP);
            theirs.raise(STOP | KILL);
        });
        task(&latch, std::future::pending());
        killer.join().unwrap();
    });
}

#[test]
fn a_stop_and_a_kill_that_come_from_two_sides_are_both_seen() {
    loom::model(|| {
        let latch = Arc::new(Latch::new(()));
        let sides = [STOP, KILL].map(|order| {
            let latch = Arc::clone(&latch);
            thread::spawn(move || latch.raise(order))
        });
        task(&latch, async {
            latch.wait(STOP).await;
            latch.wait(KILL).await;
        });
        sides.map(|side| side.join().unwrap());
        assert!(latch.has(KILL));
    });
}

#[test]
fn whoever_waits_beside_the_body_is_woken_as_well() {
    loom::model(|| {
        let latch = Arc::new(Latch::new(()));
        let (theirs, beside) = (Arc::clone(&latch), Arc::clone(&latch));
        let asker = thread::spawn(move || theirs.raise(STOP));
        let beside = thread::spawn(move || block_on(beside.wait(STOP)));
        task(&latch, latch.wait(STOP));
        asker.join().unwrap();
        beside.join().unwrap();
    });
}

#[test]
fn whoever_waits_beside_a_body_that_ends_by_itself_is_woken() {
    loom::model(|| {
        let latch = Arc::new(Latch::new(()));
        let beside = Arc::clone(&latch);
        let beside = thread::spawn(move || block_on(beside.wait(STOP)));
        task(&latch, async {});
        latch.close(latch.lock(), OVER | STOP);
        beside.join().unwrap();
    });
}

#[test]
fn an_order_at_the_moment_of_the_end_hurts_nobody() {
    loom::model(|| {
        let latch = Arc::new(Latch::new(()));
        let theirs = Arc::clone(&latch);
        let killer = thread::spawn(move || theirs.raise(STOP | KILL));
        task(&latch, async {});
        latch.close(latch.lock(), OVER | STOP);
        killer.join().unwrap();
        assert!(latch.has(KILL) && latch.has(OVER));
    });
}

#[test]
fn no_heartbeat_is_lost_and_no_order_with_it() {
    loom::model(|| {
        let latch = Arc::new(Latch::new(()));
        let (beats, asks) = (Arc::clone(&latch), Arc::clone(&latch));
        let beats = thread::spawn(move || beats.touch(BEAT));
        let asks = thread::spawn(move || asks.raise(STOP));
        let early = latch.take(BEAT);
        beats.join().unwrap();
        asks.join().unwrap();
        let late = latch.take(BEAT);
        assert!(early != late, "the beat was seen once");
        assert!(latch.has(STOP));
    });
}
