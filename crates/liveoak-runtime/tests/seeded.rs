//! Exits, commands, stops and drops in every order that luck finds, on one thread and in paused time: a seed tells all that
//! happens, and the same seed gives the same again. `LIVEOAK_SEED=<seed> cargo test -p liveoak-runtime --test seeded`
//! runs one, `LIVEOAK_SEEDS=<count>` as many as are asked for.

mod dice;

use dice::{Dice, run_seeds};
use liveoak_runtime::testing::paused;
use liveoak_runtime::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How many seeds are tried if nobody asks for more.
const SEEDS: u64 = 1_500;

/// A moment: now, after some others, or later.
async fn pause(dice: &mut Dice) {
    for _ in 0..dice.roll(4) {
        tokio::task::yield_now().await;
    }
    if dice.roll(3) == 0 {
        tokio::time::sleep(Duration::from_millis(dice.roll(40))).await;
    }
}

/// Counts the living attempts of one child, and their subtasks.
#[derive(Clone, Default)]
struct Census(Arc<AtomicUsize>, Arc<AtomicUsize>);

struct Counted(Census);

impl Counted {
    fn new(census: &Census) -> Self {
        assert_eq!(census.0.fetch_add(1, Ordering::SeqCst), 0, "two attempts are alive");
        let left = census.1.load(Ordering::SeqCst);
        assert_eq!(left, 0, "a subtask outlives its attempt");
        Self(census.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Work of an attempt that is aborted with it.
struct Part(Census);

impl Part {
    fn new(census: &Census) -> Self {
        census.1.fetch_add(1, Ordering::SeqCst);
        Self(census.clone())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.0.1.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A child that does something else in each attempt.
fn restless(name: &str, seed: u64, census: &Census) -> Child {
    let (census, name_seed) = (census.clone(), name.bytes().map(u64::from).sum::<u64>());
    let mut dice = Dice(seed ^ name_seed);
    let child = Child::task(name, move |ctx: Ctx| {
        let counted = Counted::new(&census);
        let mut dice = Dice(seed ^ name_seed ^ ctx.attempt().0 << 8);
        async move {
            let part = Part::new(&counted.0);
            let _counted = counted;
            pause(&mut dice).await;
            if dice.roll(3) == 0 {
                ctx.spawn(async move {
                    let _part = part;
                    tokio::time::sleep(Duration::from_millis(3)).await;
                });
            }
            if dice.roll(8) > 0 {
                ctx.ready();
            }
            match dice.roll(6) {
                0 => std::future::pending().await,
                1 => ctx.stopping().await,
                2 => {
                    ctx.stopping().await;
                    pause(&mut dice).await;
                }
                _ => pause(&mut dice).await,
            }
            match dice.roll(4) {
                0 => Err("on purpose"),
                _ => Ok(()),
            }
        }
    });
    let restart = [Restart::Permanent, Restart::Transient, Restart::Temporary][dice.roll(3) as usize];
    let child = child.restart(restart).backoff(None).limit(Limit::new(20, Duration::from_millis(40)));
    let child = child.stop_within(Duration::from_millis(dice.roll(3) * 10));
    if dice.roll(2) == 0 { child.start_within(Duration::from_millis(30)) } else { child }
}

fn tree(seed: u64, dice: &mut Dice, censuses: &[Census]) -> Supervisor {
    let strategies = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
    let some = |names: [&str; 3], censuses: &[Census]| -> Vec<Child> {
        names.iter().zip(censuses).map(|(name, census)| restless(name, seed, census)).collect()
    };
    let (outer, inner) = (some(["a", "b", "c"], censuses), some(["x", "y", "z"], &censuses[3..]));
    let nested = Supervisor::new("n").strategy(strategies[dice.roll(3) as usize]);
    let nested = inner.into_iter().fold(nested, Supervisor::child);
    let tree = Supervisor::new("t").strategy(strategies[dice.roll(3) as usize]);
    let tree = outer.into_iter().fold(tree, Supervisor::child).child(nested);
    tree.stop_within(Duration::from_millis(100))
}

/// Somebody who commands.
async fn operator(tree: TreeHandle, mut dice: Dice) {
    for _ in 0..dice.roll(8) {
        pause(&mut dice).await;
        let path = ["/t/a", "/t/b", "/t/c", "/t/n", "/t/n/x", "/t/n/y", "/t/n/z"][dice.roll(7) as usize];
        // Refusals are answers as well.
        match dice.roll(4) {
            0 => drop(tree.start_child(path).await),
            1 => drop(tree.stop_child(path).await),
            2 => drop(tree.restart_child(path).await),
            _ => {
                // Nobody waits for the answer.
                let tree = tree.clone();
                tokio::spawn(async move { tree.restart_child(path).await });
            }
        }
    }
}

/// One run; what the events told.
fn run(seed: u64) -> Vec<String> {
    paused(async {
        let mut dice = Dice(seed);
        let censuses: Vec<Census> = (0..6).map(|_| Census::default()).collect();
        let tree = tree(seed, &mut dice, &censuses).begin().unwrap();
        let (snapshot, mut events) = tree.watch();
        let mut last = snapshot.number;
        let operators: Vec<_> =
            (0..3).map(|n| tokio::spawn(operator(tree.handle(), Dice(seed ^ (n + 1) << 32)))).collect();
        for _ in 0..dice.roll(6) {
            pause(&mut dice).await;
        }
        let handle = tree.handle();
        match dice.roll(4) {
            0 => drop(tree),
            1 => drop(tree.kill().await),
            2 => {
                let (one, other) = tokio::join!(tree.stop(), handle.stop());
                assert!(Arc::ptr_eq(&one, &other), "two stops, two reports");
            }
            _ => drop(tree.stop().await),
        }
        let before = handle.now();
        handle.join().await;
        let late = handle.now().since(before);
        assert!(late <= Duration::from_millis(100), "{late:?} after the stop");
        let alive = || censuses.iter().map(|census| census.0.load(Ordering::SeqCst)).sum::<usize>();
        // What was killed is dropped by its own task, which has yet to be polled.
        tokio::task::yield_now().await;
        for operator in operators {
            operator.await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(alive(), 0, "alive after the end");
        let mut told = Vec::new();
        while let Some(next) = events.next().await {
            let Next::Event(event) = next else { continue };
            assert_eq!(event.number, last + 1, "events without a gap");
            last = event.number;
            told.push(format!("{} {} {}", event.at.as_nanos(), event.path, event.kind.name()));
        }
        told
    })
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

#[test]
fn in_whatever_order_things_happen_no_child_lives_twice_and_nothing_outlives_the_tree() {
    let seeds = match number("LIVEOAK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LIVEOAK_SEEDS").unwrap_or(SEEDS),
    };
    run_seeds("seeded", seeds, |seed| drop(run(seed)));
}

#[test]
fn the_same_seed_gives_the_same_again() {
    for seed in 0..100 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
