//! A recorded tree and the events after it give the tree as it was, for random trees, commands and failures.

use liveoak_api::convert::Converter;
use liveoak_api::{Event, Replay, Tree};
use liveoak_runtime::testing::paused;
use liveoak_runtime::{
    Backoff, Check, Child, Ctx, EventOrLost, Events, GiveUp, Health, Limit, Restart, Strategy, Supervisor,
    TreeHandle,
};
use serde_json::Value;
use std::time::{Duration, SystemTime};

const SEEDS: u64 = 16;
const STEPS: u64 = 60;
const PATHS: &[&str] = &[
    "steady",
    "flaky",
    "moody",
    "checked",
    "job",
    "deaf",
    "ingest",
    "ingest/one",
    "ingest/two",
    "added",
    "added/below",
];

/// A small generator of random numbers (SplitMix64).
struct Dice(u64);

impl Dice {
    /// Returns a number below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn steady(name: &str) -> Child {
    Child::task(name, |ctx: Ctx| async move { ctx.stopping().await })
}

/// A child that fails after some seconds, and now and then just ends.
fn flaky(name: &str) -> Child {
    let body = |ctx: Ctx| async move {
        let attempt = ctx.attempt().0;
        if !ctx.sleep(s(attempt * 7 % 5)).await || attempt.is_multiple_of(3) {
            return Ok(());
        }
        Err("no disk")
    };
    Child::task(name, body).backoff(Backoff::constant(s(2)))
}

/// A child that says how it is, and changes its mind.
fn moody() -> Child {
    let body = |ctx: Ctx| async move {
        let all = [Health::Degraded, Health::Unhealthy, Health::Healthy, Health::Degraded];
        for (health, nth) in all.iter().cycle().zip(0_u64..) {
            if !ctx.sleep(s(3 + nth % 4)).await {
                return;
            }
            ctx.health(*health, format!("mood {nth}"));
        }
    };
    Child::task("moody", body).reports_health()
}

/// A child that is ready for some seconds, and then not for some.
fn checked() -> Child {
    let body = |ctx: Ctx| async move { ctx.stopping().await };
    let ask = |ctx: Ctx| async move {
        let is_busy = ctx.tree().now().since(liveoak_runtime::Time::ZERO).as_secs() / 7 % 2 == 1;
        if is_busy { Err("busy") } else { Ok(()) }
    };
    Child::task("checked", body).readiness(Check::every(s(1)).failures(1), ask)
}

/// A child that does not stop by itself.
fn deaf() -> Child {
    Child::task("deaf", |_: Ctx| async { std::future::pending::<()>().await }).stop_within(s(2))
}

fn shop(dice: &mut Dice) -> Supervisor {
    let strategy = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne][dice.roll(3) as usize];
    let trial = GiveUp::Quarantine { retry_after: Some(s(9)) };
    let give_up = [GiveUp::QUARANTINE, trial][dice.roll(2) as usize];
    let ingest = Supervisor::new("ingest").strategy(strategy).child(flaky("one")).child(steady("two"));
    Supervisor::new("shop")
        .child(steady("steady").title("Steady"))
        .child(flaky("flaky").limit(Limit::new(2, s(60)).on_exceeded(give_up)))
        .child(moody())
        .child(checked())
        .child(flaky("job").restart(Restart::Transient))
        .child(deaf())
        .child(ingest.limit(Limit::new(3, s(60)).on_exceeded(give_up)))
}

/// Gives a random command. What is refused changes nothing.
fn command(tree: &TreeHandle, dice: &mut Dice) {
    let path = PATHS[dice.roll(PATHS.len() as u64) as usize];
    let path = format!("/shop/{path}");
    let refused = match dice.roll(11) {
        0 => tree.begin_stop_child(path),
        1 | 2 => tree.begin_start_child(path),
        3 => tree.begin_restart_child(path),
        4 => tree.begin_pause_child(path),
        5 => tree.begin_resume_child(path),
        6 => tree.begin_quarantine_child(path),
        7 => tree.begin_release_child(path),
        8 => tree.begin_remove_child("/shop/added"),
        9 => return drop(tree.begin_add_child("/shop", steady("added"))),
        _ => {
            let added = Supervisor::new("added").child(checked()).child(flaky("below"));
            return drop(tree.begin_add_child("/shop", added));
        }
    };
    drop(refused);
}

/// Reads what JSON says, as from a journal.
fn again<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

/// Returns the next events up to the number `last`.
async fn events_to(events: &mut Events, last: u64, seen: &mut Vec<Event>, tree: &TreeHandle) {
    while seen.last().is_none_or(|event| event.n < last) {
        match events.next().await {
            Some(EventOrLost::Event(event)) => seen.push(again(&Converter::new(tree, 1).event(&event))),
            other => panic!("{other:?}"),
        }
    }
}

/// Leaves out what no event tells.
fn told(tree: &Tree) -> Value {
    fn strip(child: &mut Value) {
        let of = child.as_object_mut().unwrap();
        for field in [
            "pid",
            "at",
            "state_s",
            "remaining_s",
            "retry_s",
            "waiting_for",
            "checks",
            "exact",
            "criticality",
        ] {
            of.remove(field);
        }
        if of["path"].as_str().unwrap().starts_with("/shop/added") {
            of.remove("role");
            of.remove("strategy");
        }
        of.get_mut("children").into_iter().flat_map(|all| all.as_array_mut().unwrap()).for_each(strip);
    }
    let mut tree = serde_json::to_value(tree).unwrap();
    strip(&mut tree);
    tree
}

fn assert_replayed(from: &Tree, events: &[Event], is: &Tree, what: &str) {
    let mut replay = Replay::new(from.clone());
    events
        .iter()
        .filter(|event| (from.n + 1..=is.n).contains(&event.n))
        .for_each(|event| replay.apply(event));
    let was = replay.at(SystemTime::UNIX_EPOCH, true);
    let (is, was) = (told(is), told(&was));
    if is != was {
        let text = |value: &Value| serde_json::to_string_pretty(value).unwrap();
        let (is, was) = (text(&is), text(&was));
        let lines = is.lines().zip(was.lines()).filter(|(is, was)| is != was).take(6);
        let first = lines.map(|(is, was)| format!("is {is}, replayed {was}")).collect::<Vec<_>>().join("\n");
        panic!("{what}, from event {} to a later one:\n{first}\n{is}", from.n);
    }
}

#[test]
fn a_recorded_tree_and_the_events_after_it_are_the_tree_as_it_was() {
    for seed in 0..SEEDS {
        paused(async {
            let mut dice = Dice(seed);
            let tree = shop(&mut dice).begin().unwrap();
            let (begin, mut events) = tree.watch();
            let mut seen = Vec::new();
            let mut trees = vec![again(&Converter::new(&tree, 1).tree(&begin))];
            for _ in 0..STEPS {
                match dice.roll(3) {
                    0 => tokio::time::sleep(Duration::from_millis(dice.roll(6000))).await,
                    1 => tokio::task::yield_now().await,
                    _ => command(&tree, &mut dice),
                }
                let snapshot = tree.snapshot();
                events_to(&mut events, snapshot.number, &mut seen, &tree).await;
                trees.push(again(&Converter::new(&tree, 1).tree(&snapshot)));
            }
            tree.stop().await;
            let snapshot = tree.snapshot();
            events_to(&mut events, snapshot.number, &mut seen, &tree).await;
            trees.push(again(&Converter::new(&tree, 1).tree(&snapshot)));
            for (nth, is) in trees.iter().enumerate() {
                let what = format!("seed {seed}, step {nth}");
                assert_replayed(&trees[0], &seen, is, &what);
                assert_replayed(&trees[dice.roll(nth as u64 + 1) as usize], &seen, is, &what);
            }
        });
    }
}
