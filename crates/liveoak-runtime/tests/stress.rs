//! A storm of concurrent commands, exits and additions on several threads, in real time. A failure prints its seed;
//! `LIVEOAK_SEED=<seed> cargo test -p liveoak-runtime --test stress` runs that seed again. With real threads the second
//! run is similar to the first, but not equal.

mod dice;

use dice::{Dice, run_seeds};
use liveoak_runtime::testing::Puppet;
use liveoak_runtime::*;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

fn seeds() -> Vec<u64> {
    match std::env::var("LIVEOAK_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (0..8u8).map(|n| RandomState::new().hash_one(n)).collect(),
    }
}

/// Counts the live attempts of one child, and how often an attempt began while another lived.
#[derive(Default)]
struct Census {
    live: AtomicUsize,
    overlaps: AtomicUsize,
}

struct Counted(Arc<Census>);

impl Counted {
    fn new(census: &Arc<Census>) -> Self {
        if census.live.fetch_add(1, Ordering::SeqCst) > 0 {
            census.overlaps.fetch_add(1, Ordering::SeqCst);
        }
        Self(Arc::clone(census))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Returns a child that lives for a random time and ends in a random way.
fn restless(name: String, seed: u64, census: &Arc<Census>) -> Child {
    let census = Arc::clone(census);
    let child = Child::task(name, move |ctx: Ctx| {
        let census = Arc::clone(&census);
        let mut dice = Dice(seed ^ ctx.attempt().0);
        async move {
            let _counted = Counted::new(&census);
            for _ in 0..dice.roll(3) {
                ctx.spawn(async { tokio::task::yield_now().await });
            }
            let endless = dice.roll(4) == 0;
            ctx.ready();
            if endless {
                std::future::pending::<()>().await;
            }
            let alive = ctx.sleep(Duration::from_micros(dice.roll(2000))).await;
            match dice.roll(4) {
                _ if !alive => Ok(()),
                0 => Ok(()),
                1 => panic!("on purpose"),
                2 => {
                    ctx.spawn(async { panic!("on purpose, in a subtask") });
                    std::future::pending().await
                }
                _ => Err("on purpose"),
            }
        }
    });
    child
        .reports_ready()
        .stop_within(Duration::from_millis(seed % 5))
        .backoff(seed.is_multiple_of(3).then_some(Backoff {
            from: Duration::from_millis(1),
            to: Duration::from_millis(4),
            reset_after: Duration::from_secs(1),
            ..Backoff::default()
        }))
        .limit(Limit::unlimited())
}

/// Gives one random command to the tree.
async fn command(tree: &TreeHandle, dice: &mut Dice, seed: u64, late: &Arc<Census>) {
    let supervisor = ["/t/one", "/t/all", "/t/rest", "/t/dedicated"][dice.roll(4) as usize];
    let path = match dice.roll(5) {
        0 => supervisor.to_owned(),
        n => format!("{supervisor}/c{}", n - 1),
    };
    match dice.roll(8) {
        0 | 1 => drop(tree.restart_child(path).await),
        2 => drop(tree.stop_child(path).await),
        3 | 4 => drop(tree.start_child(path).await),
        5 => {
            let child = restless("added".into(), seed ^ dice.roll(1000), late);
            drop(tree.add_child("/t/one", child).await);
        }
        6 => drop(tree.remove_child("/t/one/added").await),
        _ => drop(tree.watch()),
    }
}

fn quiet_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.payload_as_str().is_some_and(|text| text.starts_with("on purpose")) {
                before(info);
            }
        }));
    });
}

fn storm(seed: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let censuses: Vec<Arc<Census>> = (0..16).map(|_| Arc::default()).collect();
    let (late, members) = (Arc::new(Census::default()), Arc::new(AtomicUsize::new(0)));
    runtime.block_on(async {
        let mut number = 0;
        let mut some = |name: &str| {
            let mut supervisor = Supervisor::new(name).limit(Limit::unlimited());
            for n in 0..4 {
                let census = &censuses[number];
                number += 1;
                supervisor = supervisor.child(restless(format!("c{n}"), seed ^ number as u64, census));
            }
            supervisor
        };
        let counted = Arc::clone(&members);
        let group = Group::<u64>::temporary("g", move |ctx: Ctx, n| {
            counted.fetch_add(1, Ordering::SeqCst);
            let census = Arc::clone(&counted);
            async move {
                struct CountsDown(Arc<AtomicUsize>);
                impl Drop for CountsDown {
                    fn drop(&mut self) {
                        self.0.fetch_sub(1, Ordering::SeqCst);
                    }
                }
                let _counts_down = CountsDown(census);
                ctx.sleep(Duration::from_micros(n)).await;
            }
        });
        let handle = group.handle();
        let thread = Puppet::new("thread");
        let tree = Supervisor::new("t")
            .order(Order::Edges)
            .stop_within(Duration::from_secs(20))
            .child(some("one"))
            .child(some("all").strategy(Strategy::OneForAll))
            .child(some("rest").strategy(Strategy::RestForOne))
            .child(some("dedicated").dedicated_runtime(DedicatedRuntime::new("storm", 1)))
            .child(group)
            .child(thread.thread().backoff(None).limit(Limit::unlimited()))
            .begin()
            .unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let mut operators = Vec::new();
        for operator in 0..6 {
            let (tree, over, late) = (tree.handle(), Arc::clone(&over), Arc::clone(&late));
            let (handle, thread) = (handle.clone(), thread.clone());
            let mut dice = Dice(seed.wrapping_mul(operator + 2));
            operators.push(tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let work = command(&tree, &mut dice, seed, &late);
                    let _ = tokio::time::timeout(Duration::from_millis(5), work).await;
                    let _ = handle.spawn(dice.roll(3000));
                    if dice.roll(50) == 0 {
                        thread.fail("on purpose");
                    }
                }
            }));
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
        let (report, also) = (tree.stop().await, tree.handle().stop().await.expect("a report"));
        assert!(Arc::ptr_eq(&report, &also));
        over.store(true, Ordering::Relaxed);
        for operator in operators {
            operator.await.unwrap();
        }
        assert!(report.entries.iter().all(|entry| entry.stage != StopStage::Abandoned), "{report:?}");
        assert!(!thread.overlapped() && thread.live() == 0);
    });
    for census in censuses.iter().chain([&late]) {
        assert_eq!(census.overlaps.load(Ordering::SeqCst), 0, "two attempts of one child lived at once");
        assert_eq!(census.live.load(Ordering::SeqCst), 0, "an attempt outlives its tree");
    }
    assert_eq!(members.load(Ordering::SeqCst), 0, "a member outlives its tree");
}

#[test]
fn under_concurrent_commands_a_child_has_one_live_attempt_and_the_stop_ends() {
    quiet_panics();
    run_seeds("stress", seeds(), storm);
}
