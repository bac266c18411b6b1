//! Every command in every state of a child: the answer, and what the child is afterwards.

use super::shape::{SECOND, leaf, secs, sup};
use super::test_driver::{Obeys, TestDriver, word};
use crate::{ChildDeclaration, Command, GiveUp, Input, Limit, Survivors, Wanted};
use std::sync::Arc;

const COMMANDS: [Command; 8] = [
    Command::Start,
    Command::Stop,
    Command::Restart,
    Command::Pause,
    Command::Resume,
    Command::Quarantine,
    Command::Release,
    Command::Remove,
];

pub(super) const RETRY: std::time::Duration = secs(300);

pub(super) fn quarantines(retry_after: Option<std::time::Duration>) -> Limit {
    Limit::new(0, SECOND).on_exceeded(GiveUp::Quarantine { retry_after })
}

/// Brings the child `c` into a state. Its siblings are `b`, before it, and `d`, after it.
pub(super) fn driver_in(state: &str) -> TestDriver {
    let c = || leaf("c").with(|spec| spec.keep = true);
    let tree = |c: ChildDeclaration| sup("t", [leaf("b"), c, leaf("d")]);
    let started = |c: ChildDeclaration| TestDriver::started(&tree(c));
    let mut driver = match state {
        "down" => TestDriver::started(&sup("t", [sup("s", [c()])])),
        "waiting" => {
            let b = leaf("b").reports();
            let mut driver = TestDriver::new(&sup("t", [b, c(), leaf("d")]));
            driver.policy("b").ready = false;
            driver.start();
            driver
        }
        "starting" => {
            let mut driver = TestDriver::new(&tree(c().reports()));
            driver.policy("c").ready = false;
            driver.start();
            driver
        }
        "backing-off" => started(c().delayed(SECOND)),
        "finished" => started(c().transient()),
        "quarantined by limit" => started(c().limit(quarantines(None))),
        "quarantined with a retry" | "on trial" => started(c().limit(quarantines(Some(RETRY)))),
        _ => started(c()),
    };
    match state {
        "down" => drop(driver.ask("s", Command::Stop)),
        "waiting" | "starting" | "running" => {}
        "backing-off" | "quarantined by limit" | "quarantined with a retry" => driver.fail("c"),
        "on trial" => {
            driver.fail("c");
            driver.advance(RETRY);
        }
        "finished" => driver.complete("c"),
        "ignored" => driver.exit("c", crate::Exit::Ignored),
        "stopping" | "stopping for a restart" | "stopping for a quarantine" | "stopping for a removal" => {
            driver.obeys("c", Obeys::Test);
            let command = match state {
                "stopping" => Command::Stop,
                "stopping for a restart" => Command::Restart,
                "stopping for a removal" => Command::Remove,
                _ => Command::Quarantine,
            };
            driver.command("c", command);
        }
        "stopped" => drop(driver.ask("c", Command::Stop)),
        "not wanted" => {
            let (request, id) = (driver.request(), driver.id("c"));
            driver.input(Input::Want { request, id, wanted: Wanted::No });
        }
        "quarantined by command" => drop(driver.ask("c", Command::Quarantine)),
        "quarantined with a process" => {
            let attempt = driver.attempt("c");
            let survivors = Arc::new(Survivors { pids: vec![7], refused: None });
            let id = driver.id("c");
            driver.input(Input::MaySurvive(id, attempt, survivors));
            driver.obeys("c", Obeys::Nothing);
            driver.command("c", Command::Restart);
            driver.advance(secs(60));
        }
        "running, paused" => drop(driver.ask("c", Command::Pause)),
        "paused" => {
            let _ = driver.ask("c", Command::Pause);
            driver.fail("c");
        }
        _ => panic!("{state} is not prepared"),
    }
    driver
}

/// The page that says what each command of [`COMMANDS`] does in each state: the answer, and the state afterwards. `…` is an answer
/// that comes later; `+` is a child that is paused.
const PAGE: &str = include_str!("../../../../../docs/commands.md");

/// Returns the cells of each row of the table of states, first the state.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let rows = PAGE.lines().skip_while(|line| !line.starts_with("| state |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

/// Returns the answer to a command, and the state of the child afterwards.
fn answered(state: &str, command: Command) -> String {
    let mut driver = driver_in(state);
    let c = if state == "down" { "s/c" } else { "c" };
    let request = driver.command(c, command);
    let answer = driver.answer(request).map_or("…", |answer| word(&answer));
    let paused = driver.find(c).is_some() && driver.view(c).paused;
    format!("{answer}, {}{}", driver.state(c), if paused { "+" } else { "" })
}

#[test]
fn every_command_has_one_answer_and_one_effect_in_every_state() {
    for row in rows() {
        let state = row[0];
        let found: Vec<String> = COMMANDS.iter().map(|command| answered(state, *command)).collect();
        assert_eq!(found, row[1..], "{state}: {COMMANDS:?}");
    }
    assert_eq!(rows().count(), 20, "each state has a row");
}
