//! Two complete tables: what a command does in each phase, and when an `after` edge holds.

use super::shape::{leaf, secs, sup};
use super::test_driver::{Obeys, TestDriver, word};
use crate::{Command, Condition, Exit, GiveUp, Health, Limit, Refusal};

/// Returns a tree in which `s/a` is in the phase called `phase`.
fn in_phase(phase: &str) -> TestDriver {
    let a = leaf("a").transient().reports().delayed(secs(100));
    let a = match phase {
        "waiting" => a.after("w", Condition::Healthy),
        "quarantined" => a.limit(Limit::new(0, secs(1)).on_exceeded(GiveUp::QUARANTINE)),
        _ => a,
    };
    let mut driver = TestDriver::started(&sup("t", [sup("s", [leaf("w"), a]), leaf("z")]));
    match phase {
        "running" => {}
        "waiting" => {
            driver.health("s/w", Health::Degraded);
            driver.policy("s/a").ready = true;
            driver.command("s/a", Command::Restart);
        }
        "starting" => {
            driver.policy("s/a").ready = false;
            driver.command("s/a", Command::Restart);
            driver.policy("s/a").ready = true;
        }
        "backing-off" | "quarantined" => driver.fail("s/a"),
        "stopping" => {
            driver.obeys("s/a", Obeys::Test);
            driver.command("s/a", Command::Stop);
        }
        "restarting" => {
            driver.obeys("s/a", Obeys::Test);
            driver.command("s/a", Command::Restart);
        }
        "removing" => {
            driver.obeys("s/a", Obeys::Test);
            driver.command("s/a", Command::Remove);
        }
        "stopped" => {
            driver.command("s/a", Command::Stop);
        }
        "finished" => driver.complete("s/a"),
        "ignored" => driver.exit("s/a", Exit::Ignored),
        "down" => {
            driver.command("s", Command::Stop);
        }
        _ => panic!("no such phase: {phase}"),
    }
    let state = if matches!(phase, "restarting" | "removing") { "stopping" } else { phase };
    assert_eq!(driver.state("s/a"), state, "set up");
    driver.log();
    driver
}

const COMMANDS: [Command; 4] = [Command::Start, Command::Stop, Command::Restart, Command::Remove];

/// Each phase, with the answer and the state after start, stop, restart and remove.
const TABLE: [(&str, [&str; 4]); 12] = [
    ("waiting", ["not down, waiting", "stopped, stopped", "none, waiting", "removed, gone"]),
    ("starting", ["not down, starting", "stopped, stopped", "ready, running", "removed, gone"]),
    ("running", ["not down, running", "stopped, stopped", "ready, running", "removed, gone"]),
    ("backing-off", ["not down, backing-off", "stopped, stopped", "ready, running", "removed, gone"]),
    ("stopping", ["ready, running", "stopped, stopped", "ready, running", "removed, gone"]),
    ("restarting", ["not down, running", "stopped, stopped", "ready, running", "removed, gone"]),
    ("removing", ["supervisor down, gone", "stopped, gone", "supervisor down, gone", "removed, gone"]),
    ("stopped", ["ready, running", "stopped, stopped", "ready, running", "removed, gone"]),
    ("finished", ["ready, running", "stopped, stopped", "ready, running", "removed, gone"]),
    ("ignored", ["ready, running", "stopped, stopped", "ready, running", "removed, gone"]),
    ("quarantined", ["ready, running", "stopped, stopped", "ready, running", "removed, gone"]),
    ("down", ["supervisor down, down", "stopped, stopped", "supervisor down, down", "removed, gone"]),
];

#[test]
fn each_command_has_the_expected_answer_and_effect_in_each_phase() {
    for (phase, row) in TABLE {
        for (command, expected) in COMMANDS.into_iter().zip(row) {
            let mut driver = in_phase(phase);
            let request = driver.command("s/a", command);
            if matches!(phase, "stopping" | "restarting" | "removing") {
                driver.obeys("s/a", Obeys::Ask);
                driver.exit("s/a", Exit::Stopped);
            }
            let answer = driver.answer(request).map_or("none", |answer| word(&answer));
            let state = driver.state("s/a");
            assert_eq!(format!("{answer}, {state}"), expected, "{command:?} while {phase}");
            assert_eq!(
                driver.states(["s/w", "z"]),
                [if phase == "down" { "down" } else { "running" }, "running"]
            );
            // A child that was stopped by command does not start by itself; the driver checks that nothing starts.
            driver.advance(secs(1_000));
            if expected.ends_with("stopped") || expected.ends_with("gone") {
                assert!(!driver.is_alive("s/a"), "{command:?} while {phase}");
            }
            driver.stop();
            assert!(driver.answer(request).is_some(), "{command:?} while {phase} is answered in the end");
        }
    }
}

#[test]
fn commands_on_no_child_on_the_root_and_on_an_ended_tree_are_refused_with_the_reason() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    let old = driver.id("a");
    assert_eq!(word(&driver.ask("", Command::Remove)), "is root");
    assert_eq!(word(&driver.ask("", Command::Start)), "not down");
    assert_eq!(word(&driver.ask("a", Command::Remove)), "removed");
    for command in COMMANDS {
        let request = driver.command_to(old, command);
        assert_eq!(word(&driver.answer(request).expect("at once")), "not found");
    }
    let root = driver.id("");
    driver.stop();
    for command in COMMANDS {
        let request = driver.command_to(root, command);
        assert_eq!(word(&driver.answer(request).expect("at once")), "tree down");
    }
}

const CONDITIONS: [Condition; 4] =
    [Condition::Started, Condition::Ready, Condition::Healthy, Condition::Completed];

/// Each state of the sibling, with what follows for the conditions started, ready, healthy and completed: the child
/// starts, waits, or is held (which the command is told at once).
const EDGES: [(&str, [&str; 4]); 13] = [
    ("waiting", ["waits", "waits", "waits", "waits"]),
    ("resting", ["held", "held", "held", "held"]),
    ("starting", ["open", "waits", "waits", "waits"]),
    ("running", ["open", "open", "open", "waits"]),
    ("degraded", ["open", "open", "waits", "waits"]),
    ("backing-off", ["waits", "waits", "waits", "waits"]),
    ("stopping", ["waits", "waits", "waits", "waits"]),
    ("stopped", ["held", "held", "held", "held"]),
    ("finished", ["open", "open", "open", "open"]),
    ("finished badly", ["held", "held", "held", "held"]),
    ("ignored", ["open", "open", "open", "open"]),
    ("quarantined", ["held", "held", "held", "held"]),
    ("removed", ["needed", "needed", "needed", "needed"]),
];

#[test]
fn an_after_edge_is_satisfied_exactly_when_its_condition_holds_for_the_sibling() {
    for (state, row) in EDGES {
        for (condition, expected) in CONDITIONS.into_iter().zip(row) {
            assert_eq!(edge(state, condition), expected, "{condition:?} of a child that is {state}");
        }
    }
}

/// Returns what happens to a child `after` x that is started by command while x is in this state.
fn edge(state: &str, condition: Condition) -> &'static str {
    let x = leaf("x").reports().delayed(secs(100)).after("b", Condition::Ready);
    let x = if state == "finished badly" { x.temporary() } else { x.transient() };
    let x = match state {
        "quarantined" => x.limit(Limit::new(0, secs(1)).on_exceeded(GiveUp::QUARANTINE)),
        _ => x,
    };
    let mut driver =
        TestDriver::started(&sup("t", [leaf("b").reports(), x, leaf("z").after("x", condition)]).edges());
    driver.command("z", Command::Stop);
    match state {
        "running" => {}
        "waiting" => {
            driver.policy("b").ready = false;
            driver.command("b", Command::Restart);
            driver.command("x", Command::Restart);
        }
        "resting" => {
            driver.command("b", Command::Stop);
            driver.command("x", Command::Restart);
        }
        "starting" => {
            driver.policy("x").ready = false;
            driver.command("x", Command::Restart);
        }
        "degraded" => driver.health("x", Health::Degraded),
        "backing-off" | "quarantined" | "finished badly" => driver.fail("x"),
        "stopping" => {
            driver.obeys("x", Obeys::Test);
            driver.command("x", Command::Stop);
        }
        "stopped" => {
            driver.command("x", Command::Stop);
        }
        "finished" => driver.complete("x"),
        "ignored" => driver.exit("x", Exit::Ignored),
        "removed" => return word(&driver.ask("x", Command::Remove)),
        _ => panic!("no such state: {state}"),
    }
    let request = driver.command("z", Command::Start);
    match (driver.answer(request).map(|answer| word(&answer)), driver.state("z")) {
        (Some("ready"), "running") => "open",
        (None, "waiting") => {
            driver.policy("x").ready = false;
            driver.advance(secs(30));
            let answer = driver.answer(request).expect("within the start deadline");
            assert!(matches!(answer, Err(Refusal::WaitsFor { path }) if path.as_str() == "/t/x"), "{state}");
            "waits"
        }
        (Some("waits"), "waiting") => "held",
        other => panic!("{condition:?} of a child that is {state}: {other:?}"),
    }
}
