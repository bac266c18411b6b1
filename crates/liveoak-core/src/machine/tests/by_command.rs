//! Every command in every state of a child: the answer, and what the child is afterwards.

use super::shape::{SECOND, leaf, secs, sup};
use super::test_driver::{Obeys, TestDriver, word};
use crate::{ChildDeclaration, Command, GiveUp, Limit, Survivors};
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
        "quarantined by command" => drop(driver.ask("c", Command::Quarantine)),
        "quarantined with a process" => {
            let attempt = driver.attempt("c");
            let survivors = Arc::new(Survivors { pids: vec![7], refused: None });
            let id = driver.id("c");
            driver.input(crate::Input::MaySurvive(id, attempt, survivors));
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

/// Each state of a child, and what each command of [`COMMANDS`] does: the answer, and the state afterwards. `…` is an answer that
/// comes later; `+` is a child that is paused.
const TABLE: &str = "
down|supervisor down, down|stopped, stopped|supervisor down, down|paused, down+|resumed, down|quarantined, quarantined|not quarantined, down|removed, gone
waiting|not down, waiting|stopped, stopped|…, waiting|paused, paused+|resumed, waiting|quarantined, quarantined|not quarantined, waiting|removed, gone
starting|not down, starting|stopped, stopped|…, starting|paused, starting+|resumed, starting|quarantined, quarantined|not quarantined, starting|removed, gone
running|not down, running|stopped, stopped|ready, running|paused, running+|resumed, running|quarantined, quarantined|not quarantined, running|removed, gone
running, paused|not down, running+|stopped, stopped+|ready, running|paused, running+|resumed, running|quarantined, quarantined+|not quarantined, running+|removed, gone
backing-off|not down, backing-off|stopped, stopped|ready, running|paused, paused+|resumed, backing-off|quarantined, quarantined|not quarantined, backing-off|removed, gone
stopping|…, stopping|…, stopping|…, stopping|paused, stopping+|resumed, stopping|…, stopping|not quarantined, stopping|…, stopping
stopping for a restart|not down, stopping|…, stopping|…, stopping|paused, stopping+|resumed, stopping|…, stopping|not quarantined, stopping|…, stopping
stopping for a quarantine|…, stopping|…, stopping|…, stopping|paused, stopping+|resumed, stopping|…, stopping|…, stopping|…, stopping
stopping for a removal|supervisor down, stopping|…, stopping|supervisor down, stopping|supervisor down, stopping|resumed, stopping|supervisor down, stopping|not quarantined, stopping|…, stopping
stopped|ready, running|stopped, stopped|ready, running|paused, stopped+|resumed, stopped|quarantined, quarantined|not quarantined, stopped|removed, gone
finished|ready, running|stopped, stopped|ready, running|paused, finished+|resumed, finished|quarantined, quarantined|not quarantined, finished|removed, gone
ignored|ready, running|stopped, stopped|ready, running|paused, ignored+|resumed, ignored|quarantined, quarantined|not quarantined, ignored|removed, gone
paused|ready, running|stopped, stopped+|ready, running|paused, paused+|ready, running|quarantined, quarantined+|not quarantined, paused+|removed, gone
quarantined by limit|ready, running|stopped, stopped|ready, running|paused, quarantined+|resumed, quarantined|quarantined, quarantined|ready, running|removed, gone
quarantined with a retry|ready, running|stopped, stopped|ready, running|paused, quarantined+|resumed, quarantined|quarantined, quarantined|ready, running|removed, gone
quarantined by command|ready, running|stopped, stopped|ready, running|paused, quarantined+|resumed, quarantined|quarantined, quarantined|ready, running|removed, gone
quarantined with a process|still runs, quarantined|stopped, stopped|still runs, quarantined|paused, quarantined+|resumed, quarantined|quarantined, quarantined|still runs, quarantined|removed, gone
on trial|not down, running|stopped, stopped|ready, running|paused, running+|resumed, running|quarantined, quarantined|ready, running|removed, gone
";

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
    for row in TABLE.lines().filter(|row| !row.is_empty()) {
        let mut cells = row.split('|');
        let state = cells.next().expect("a state");
        let expected: Vec<String> = cells.map(str::to_owned).collect();
        let found: Vec<String> = COMMANDS.iter().map(|command| answered(state, *command)).collect();
        assert_eq!(found, expected, "{state}: {COMMANDS:?}");
    }
}
