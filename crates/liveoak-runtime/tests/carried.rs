//! Values that one attempt leaves to the next.

use liveoak_runtime::testing::paused;
use liveoak_runtime::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What each attempt does: what it takes is noted before.
#[derive(Clone, Copy)]
enum Act {
    /// Leaves a value and fails.
    Leave,
    /// Leaves a value and panics.
    LeaveAndPanic,
    /// Leaves a value that survives a panic, and panics.
    LeaveForGood,
    /// Fails without looking at what was left.
    IgnoreAndFail,
    /// Leaves two values and fails.
    LeaveTwice,
    /// Leaves a value and waits for the stop.
    LeaveAndWait,
    Wait,
}

/// A value that counts how many of it live.
struct Counted(u64, Arc<AtomicUsize>);

impl Counted {
    fn new(value: u64, live: &Arc<AtomicUsize>) -> Self {
        live.fetch_add(1, Ordering::SeqCst);
        Self(value, Arc::clone(live))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}

type Taken = Arc<Mutex<Vec<Option<u64>>>>;

fn child(acts: &'static [Act], taken: &Taken, live: &Arc<AtomicUsize>) -> Child {
    let (taken, live) = (Arc::clone(taken), Arc::clone(live));
    let body = move |ctx: Ctx| {
        let (taken, live) = (Arc::clone(&taken), Arc::clone(&live));
        async move {
            let attempt = ctx.attempt().0;
            let act = acts.get(attempt as usize - 1).copied().unwrap_or(Act::Wait);
            if !matches!(act, Act::IgnoreAndFail) {
                assert!(ctx.carried::<String>().is_none(), "it is of another type");
                taken.lock().unwrap().push(ctx.carried::<Counted>().map(|counted| counted.0));
            }
            let value = |of: u64| Counted::new(of, &live);
            match act {
                Act::Leave => assert!(ctx.carry(value(attempt)).is_ok()),
                Act::LeaveTwice => {
                    assert!(ctx.carry(value(70)).is_ok() && ctx.carry(value(attempt)).is_ok());
                }
                Act::LeaveAndPanic => {
                    assert!(ctx.carry(value(attempt)).is_ok());
                    panic!("meant by the test");
                }
                Act::LeaveForGood => {
                    assert!(ctx.carry_after_panic(value(attempt)).is_ok());
                    panic!("meant by the test");
                }
                Act::IgnoreAndFail => {}
                Act::LeaveAndWait => {
                    assert!(ctx.carry(value(attempt)).is_ok());
                    ctx.stopping().await;
                    return Ok(());
                }
                Act::Wait => {
                    ctx.stopping().await;
                    return Ok(());
                }
            }
            Err("again")
        }
    };
    Child::task("a", body).backoff(None)
}

/// Runs a child until an attempt waits. Returns what the attempts have taken, and how many values live then.
fn taken(acts: &'static [Act]) -> (Vec<Option<u64>>, usize) {
    paused(async {
        let (taken, live) = (Taken::default(), Arc::new(AtomicUsize::new(0)));
        let tree = Supervisor::new("t").child(child(acts, &taken, &live)).start().await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let living = live.load(Ordering::SeqCst);
        tree.stop().await;
        assert_eq!(live.load(Ordering::SeqCst), 0, "nothing outlives the tree");
        let taken = taken.lock().unwrap().clone();
        (taken, living)
    })
}

#[test]
fn a_value_is_taken_by_the_next_attempt_only() {
    use Act::{IgnoreAndFail, Leave, LeaveTwice, Wait};
    assert_eq!(taken(&[Leave, Leave, Wait]), (vec![None, Some(1), Some(2)], 0));
    assert_eq!(taken(&[Leave, IgnoreAndFail, Wait]), (vec![None, None], 0), "it was not taken in time");
    assert_eq!(taken(&[LeaveTwice, Wait]), (vec![None, Some(1)], 0), "the last one counts");
}

#[test]
fn a_value_is_dropped_after_a_panic_unless_it_was_left_for_that_too() {
    use Act::{Leave, LeaveAndPanic, LeaveForGood, Wait};
    assert_eq!(taken(&[LeaveAndPanic, Wait]), (vec![None, None], 0));
    assert_eq!(taken(&[LeaveForGood, Leave, Wait]), (vec![None, Some(1), Some(2)], 0));
}

#[test]
fn a_value_outlives_a_stop_by_command_and_a_restart_of_the_supervisor_but_not_a_removal() {
    static ACTS: [Act; 3] = [Act::LeaveAndWait, Act::LeaveAndWait, Act::LeaveAndWait];
    paused(async {
        let (taken, live) = (Taken::default(), Arc::new(AtomicUsize::new(0)));
        let inner = Supervisor::new("s").child(child(&ACTS, &taken, &live));
        let tree = Supervisor::new("t").child(inner).start().await.unwrap();
        tokio::task::yield_now().await;
        tree.stop_child("/t/s/a").await.unwrap();
        assert_eq!(live.load(Ordering::SeqCst), 1);
        tree.start_child("/t/s/a").await.unwrap();
        tokio::task::yield_now().await;
        tree.restart_child("/t/s").await.unwrap();
        tokio::task::yield_now().await;
        assert_eq!(*taken.lock().unwrap(), [None, Some(1), Some(2)]);
        assert_eq!(live.load(Ordering::SeqCst), 1);
        tree.remove_child("/t/s/a").await.unwrap();
        assert_eq!(live.load(Ordering::SeqCst), 0);
        tree.stop().await;
    });
}

#[test]
fn an_attempt_that_has_ended_cannot_leave_a_value_and_gets_it_back() {
    paused(async {
        let kept: Arc<Mutex<Option<Ctx>>> = Arc::default();
        let theirs = Arc::clone(&kept);
        let body = move |ctx: Ctx| {
            *theirs.lock().unwrap() = Some(ctx.clone());
            async move { ctx.stopping().await }
        };
        let tree = Supervisor::new("t").child(Child::task("a", body)).start().await.unwrap();
        tokio::task::yield_now().await;
        let first = kept.lock().unwrap().clone().unwrap();
        tree.restart_child("/t/a").await.unwrap();
        tokio::task::yield_now().await;
        let refused = first.carry(String::from("late")).unwrap_err();
        assert!(matches!(refused.refusal(), Refusal::TooLate), "{refused}");
        assert_eq!(refused.into_value().as_deref(), Some("late"));
        let second = kept.lock().unwrap().clone().unwrap();
        assert!(second.carried::<String>().is_none());
        tree.stop().await;
    });
}

#[test]
fn each_member_of_a_group_has_its_own_value() {
    paused(async {
        let told = Arc::new(Mutex::new(Vec::<(u32, Option<u32>)>::new()));
        let theirs = Arc::clone(&told);
        let group = Group::<u32>::new("g", move |ctx: Ctx, n| {
            let told = Arc::clone(&theirs);
            async move {
                told.lock().unwrap().push((n, ctx.carried::<u32>()));
                drop(ctx.carry(n * 10));
                if ctx.attempt().0 == 1 {
                    return Err("once");
                }
                ctx.stopping().await;
                Ok(())
            }
        });
        let members = group.backoff(None);
        let handle = members.handle();
        let tree = Supervisor::new("t").child(members).start().await.unwrap();
        (1..=2).for_each(|n| drop(handle.spawn(n).unwrap()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut noted = told.lock().unwrap().clone();
        noted.sort_unstable();
        assert_eq!(noted, [(1, None), (1, Some(10)), (2, None), (2, Some(20))]);
        tree.stop().await;
    });
}

#[test]
fn a_value_of_an_attempt_that_panicked_is_dropped_before_the_next_attempt_begins() {
    static PANICS: [Act; 1] = [Act::LeaveAndPanic];
    static SURVIVES: [Act; 1] = [Act::LeaveForGood];
    for (acts, expected) in [(&PANICS, 0), (&SURVIVES, 1)] {
        paused(async {
            let (taken, live) = (Taken::default(), Arc::new(AtomicUsize::new(0)));
            let child = child(acts, &taken, &live).backoff(Backoff::default());
            let tree = Supervisor::new("t").child(child).start().await.unwrap();
            tree.wait_for("/t/a", |view| view.state.as_str() == "backing-off").await.unwrap();
            testing::eventually("destructors have run", || live.load(Ordering::SeqCst) == expected).await;
            assert_eq!(taken.lock().unwrap().len(), 1, "the next attempt has not begun");
            tree.stop().await;
            assert_eq!(live.load(Ordering::SeqCst), 0);
        });
    }
}
