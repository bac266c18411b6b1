//! Random runs of real trees, on one thread and in paused time: exits, commands, stops and drops in a random order. The seed
//! decides everything, so the same seed gives the same run.
//!
//! * `trees` builds the random tree of a run: two supervisors with three children each, and a dynamic group.
//! * `bodies` has the children. Each attempt draws a [`Script`](bodies::Script) of what it does.
//! * `operators` sends random commands, and watches the events and snapshots of the tree.
//! * `ledger` records what each attempt does, and checks every event against that record at the moment of the event.
//! * `replica` is shared with core's tests: a tree that is rebuilt from events alone.
//!
//! `LIVEOAK_SEED=<seed> cargo test -p liveoak-runtime --test seeded` runs one seed. With `LIVEOAK_SEEDS=<count>` it
//! runs that many seeds.

mod bodies;
#[path = "../dice/mod.rs"]
mod dice;
mod ledger;
mod operators;
#[path = "../../../liveoak-core/src/machine/tests/replica.rs"]
mod replica;
mod trees;

use dice::{Dice, run_seeds};
use ledger::{Ledger, SUPERVISORS};
use liveoak_runtime::testing::paused;
use liveoak_runtime::*;
use operators::{Operator, pause, watch};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use trees::{Captured, Plan};

/// The number of seeds, unless `LIVEOAK_SEEDS` is set.
const SEEDS: u64 = 1_000;

/// The longest time of one run, in the time of its tree.
const MINUTE: Duration = Duration::from_secs(60);

/// Situations that must occur in at least one run. Without them the runs would prove little.
const WORDS: [&str; 36] = [
    // Events.
    "added",
    "removed",
    "waiting",
    "starting",
    "ready",
    "exited",
    "backing-off",
    "stopping",
    "killed",
    "abandoned",
    "stopped",
    "finished",
    "ignored",
    "quarantined",
    "gave-up",
    "start-failed",
    "auto-shutdown",
    "restart-set",
    "health",
    // Exits of attempts.
    "completed",
    "failed",
    "panicked",
    "start-timeout",
    "heartbeat-timeout",
    // Stop stages of children, and whether the stop of a tree was clean.
    "asked",
    "cancelled",
    "clean",
    "forced",
    // How trees end.
    "end by stop",
    "end by kill",
    "end by drop",
    "end with the runtime",
    "end by itself",
    "two stops",
    // Answers to commands.
    "answer ready",
    "answer superseded",
];

/// Ends a tree in a random way, and checks the time and the report.
async fn end(plan: &Plan, tree: Tree, dice: &mut Dice) {
    let (ledger, handle, living) = (&plan.ledger, tree.handle(), plan.ledger.living());
    if matches!(tree.snapshot().root.state, ChildState::Idle(_)) {
        return ledger.word("end by itself");
    }
    let was_stopping = matches!(tree.snapshot().root.state, ChildState::Stopping { .. });
    let before = tree.now();
    let report = match dice.roll(5) {
        0 => {
            ledger.word("end by drop");
            ledger.allow_kills();
            drop(tree);
            handle.join().await.expect("the end").report
        }
        1 => {
            ledger.word("end by kill");
            ledger.allow_kills();
            tree.kill().await
        }
        2 => {
            ledger.word("two stops");
            let (one, other) = tokio::join!(tree.stop(), handle.stop());
            assert!(Arc::ptr_eq(&one, &other.expect("a report")), "two stops returned two reports");
            one
        }
        _ => {
            ledger.word("end by stop");
            tree.stop().await
        }
    };
    let took = handle.now().since(before);
    assert!(took <= plan.budget.max(KILL_WAIT), "the stop took {took:?}");
    if !was_stopping {
        check_report(ledger, &report, &living);
    }
}

/// Checks that the report lists every child that lived and was stopped, with its stop stage.
fn check_report(ledger: &Ledger, report: &StopReport, living: &[String]) {
    ledger.word(if report.is_clean() { "clean" } else { "forced" });
    for path in living {
        let is_it = |entry: &&StopEntry| entry.path.as_str() == path;
        if ledger.was_stopped(path) && !report.entries.iter().any(|entry| is_it(&entry)) {
            ledger.fault(format!("{path}: it lived, but is missing in the report"));
        }
    }
    for (n, entry) in report.entries.iter().enumerate() {
        ledger.word(entry.stage.as_str());
        if report.entries[n + 1..].iter().any(|later| later.path == entry.path) {
            ledger.fault(format!("{}: it is reported twice", entry.path));
        }
        ledger.check_stop_stage(entry);
    }
}

/// Runs one seed. Returns a line for each event and answer, and the situations that occurred.
fn run(seed: u64) -> (Vec<String>, BTreeSet<&'static str>) {
    let mut dice = Dice(seed);
    let ledger = Ledger::begin();
    let budget = if dice.roll(4) == 0 { Duration::from_millis(100) } else { MINUTE / 2 };
    if budget < KILL_WAIT {
        ledger.allow_kills();
    }
    let captured = Captured::new(ledger.clone(), "/t".to_owned(), None);
    let plan = Arc::new(Plan { seed, ledger: ledger.clone(), captured, budget });
    let life =
        async { tokio::time::timeout(MINUTE, life(&plan, &mut dice)).await.expect("the run ends in time") };
    let left = paused(life);
    if let Some(left) = left {
        paused(outlive(left, &ledger));
    }
    assert!(!plan.captured.is_held(), "the tree still holds what its closures captured");
    ledger.close();
    (ledger.lines(), ledger.words())
}

/// Runs the tree until its end. Returns the tree if its runtime is to end first.
async fn life(plan: &Arc<Plan>, dice: &mut Dice) -> Option<Left> {
    let (seed, ledger) = (plan.seed, &plan.ledger);
    let (tree, members) = trees::tree(plan, dice);
    let tree = tree.begin().unwrap();
    let handle = tree.handle();
    let watcher = tokio::spawn(watch(tree.handle(), ledger.clone(), Dice(seed ^ 1 << 48)));
    let operators: Vec<_> = (0..3)
        .map(|n| {
            let dice = Dice(seed ^ (n + 1) << 32);
            let (plan, members) = (Arc::clone(plan), members.clone());
            tokio::spawn(Operator { plan, tree: tree.handle(), members, dice }.work())
        })
        .collect();
    for _ in 0..dice.roll(24) {
        pause(dice).await;
    }
    if dice.roll(16) == 0 {
        // Long enough for an attempt to be abandoned and followed by another.
        tokio::time::sleep(KILL_WAIT * 2).await;
    }
    if dice.roll(8) == 0 {
        ledger.word("end with the runtime");
        ledger.runtime_ends();
        let was_running = matches!(tree.snapshot().root.state, ChildState::Running);
        return Some(Left { tree, was_running, begun: ledger.begun() });
    }
    end(plan, tree, dice).await;
    let _ended = handle.join().await;
    for operator in operators {
        operator.await.unwrap();
    }
    watcher.await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    None
}

/// A tree whose runtime is dropped before the tree has ended.
struct Left {
    tree: Tree,
    was_running: bool,
    /// The paths of the children that had begun.
    begun: Vec<String>,
}

/// Checks, after the runtime's end, that the tree has ended as well and refuses commands.
async fn outlive(left: Left, ledger: &Ledger) {
    assert_eq!(ledger.living(), [""; 0], "children that outlive the runtime");
    let handle = left.tree.handle();
    let ended = tokio::time::timeout(MINUTE, handle.join())
        .await
        .expect("the tree ends with its runtime")
        .expect("the end");
    let ended_by_it = |entry: &&StopEntry| left.was_running && entry.stage != StopStage::Cancelled;
    for entry in ended.report.entries.iter().filter(ended_by_it) {
        let path = entry.path.as_str();
        let lived = SUPERVISORS.contains(&path) || left.begun.iter().any(|begun| begun == path);
        assert!(lived, "{path} did not live, but is reported");
    }
    for path in ["/t", "/t/a", "/t/g"] {
        match handle.restart_child(path).await {
            Err(Refusal::TreeEnded) => {}
            // It was removed before.
            Err(Refusal::NotFound) if path != "/t" => {}
            answer => panic!("{path}: {answer:?}"),
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

#[test]
fn no_child_has_two_live_attempts_and_nothing_outlives_the_tree_in_any_order_of_inputs() {
    let seeds = match number("LIVEOAK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LIVEOAK_SEEDS").unwrap_or(SEEDS),
    };
    let (count, words) = (seeds.end - seeds.start, RefCell::new(BTreeSet::new()));
    run_seeds("seeded", seeds, |seed| words.borrow_mut().extend(run(seed).1));
    let missing: Vec<_> = WORDS.iter().filter(|word| !words.borrow().contains(**word)).collect();
    assert!(
        missing.is_empty() || count < SEEDS,
        "in {count} runs these situations never occurred: {missing:?}"
    );
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let seeds = number("LIVEOAK_SEED").map_or(0..100, |seed| seed..seed + 1);
    run_seeds("seeded", seeds, |seed| {
        let (one, other) = (run(seed).0, run(seed).0);
        let first = one.iter().zip(&other).position(|(one, other)| one != other);
        let first = first.unwrap_or_else(|| one.len().min(other.len()));
        assert_eq!(one.get(first), other.get(first), "after {:#?}", &one[first.saturating_sub(5)..first]);
    });
}
