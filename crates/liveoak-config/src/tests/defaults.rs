//! The `[defaults]` of a file and of a supervisor; the name of each test is the rule.

use super::{program, read, read_text};
use crate::{ChildConfig, Form};
use liveoak_core::{Backoff, ChildSpec, GiveUp, KILL_WAIT, Limit, Restart};
use liveoak_process::{Ask, Signal};
use std::path::Path;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

const FILE: &str = r#"
[defaults]
restart = "transient"
backoff = { constant = "3s" }
limit = { restarts = 1, period = "1m", retry_after = "5m" }
start_within = "20s"
stop = { signal = "SIGINT", within = "7s" }
output = { merge = true }

[child.plain]
command = "x"

[child.own]
command = "x"
restart = "permanent"
backoff = false
limit = { restarts = 9, period = "2m" }
stop = { within = "1s" }
output = { merge = false }
ready = { tcp = "127.0.0.1:1" }
start_within = "40s"

[child.nested.defaults]
backoff = { from = "1s" }
stop = { ask = "leader", kill_wait = "9s" }

[child.nested.child.inner]
command = "x"
"#;

fn children(config: &crate::Config) -> [&ChildConfig; 4] {
    let [plain, own, nested] = &config.root.children[..] else { panic!("three children") };
    let Form::Supervisor(below) = &nested.form else { panic!("a supervisor") };
    [plain, own, nested, &below.children[0]]
}

#[test]
fn a_child_inherits_every_default_that_it_does_not_set_itself() {
    let config = read(FILE);
    let [plain, own, ..] = children(&config);
    let limit = Limit::new(1, 60 * S).on_exceeded(GiveUp::Quarantine { retry_after: Some(300 * S) });
    assert_eq!((plain.spec.restart, plain.spec.limit), (Restart::Transient, Some(limit)));
    assert_eq!(plain.spec.backoff, Some(Backoff::constant(3 * S)));
    assert_eq!((plain.spec.start_within, plain.spec.stop_within), (20 * S, 7 * S));
    let command = &program(plain).command;
    assert_eq!((command.stop_signal, command.merge_output), (Signal::INT, true));
    assert_eq!((own.spec.restart, own.spec.backoff), (Restart::Permanent, None));
    assert_eq!(
        own.spec.limit,
        Some(Limit::new(9, 120 * S).on_exceeded(GiveUp::QUARANTINE)),
        "replaced as a whole"
    );
    assert_eq!((own.spec.start_within, own.spec.stop_within), (40 * S, S));
    let command = &program(own).command;
    assert_eq!((command.stop_signal, command.merge_output), (Signal::INT, false), "merged key by key");
}

#[test]
fn the_nearest_defaults_count_and_are_merged_with_those_above() {
    let config = read(FILE);
    let [.., inner] = children(&config);
    let backoff = Backoff { from: S, ..Backoff::default() };
    assert_eq!((inner.spec.restart, inner.spec.backoff), (Restart::Transient, Some(backoff)));
    assert_eq!((inner.spec.stop_within, inner.spec.kill_wait), (7 * S, 9 * S));
    let command = &program(inner).command;
    assert_eq!((command.stop_signal, command.ask), (Signal::INT, Ask::Leader));
}

#[test]
fn the_deadlines_of_defaults_reach_programs_and_never_supervisors() {
    let config = read(FILE);
    let [_, _, nested, _] = children(&config);
    assert_eq!(nested.spec.restart, Restart::Transient);
    let of_supervisor = ChildSpec::of_supervisor();
    assert_eq!(
        (nested.spec.start_within, nested.spec.stop_within),
        (of_supervisor.start_within, of_supervisor.stop_within)
    );
    assert_eq!(nested.spec.kill_wait, KILL_WAIT);
    assert_eq!((config.spec.restart, config.spec.stop_within), (Restart::Permanent, 30 * S), "nor the root");
}

#[test]
fn the_defaults_of_one_supervisor_do_not_reach_its_siblings() {
    let text = "[child.a.defaults]\nrestart = \"temporary\"\n[child.a.child.x]\ncommand = \"x\"\n[child.b]\ncommand = \"x\"\n";
    let config = read(text);
    assert_eq!(config.root.children[0].spec.restart, Restart::Permanent, "not the supervisor itself");
    assert_eq!(config.root.children[1].spec.restart, Restart::Permanent);
}

#[test]
fn a_default_without_effect_on_a_child_is_no_error_but_the_key_at_the_child_is() {
    let errors = |text: &str| {
        let report = read_text(Path::new("/srv"), text).err();
        report.map_or_else(Vec::new, |report| {
            report.diagnostics.iter().map(|found| found.path.clone()).collect()
        })
    };
    let at_once = "[child.a]\ncommand = \"x\"\n";
    assert_eq!(errors(&format!("[defaults]\nstart_within = \"9s\"\n{at_once}")), [""; 0]);
    assert_eq!(errors(&format!("{at_once}start_within = \"9s\"\n")), ["child.a.start_within"]);
    let waits = "[child.b]\ncommand = \"x\"\nafter = [\"a\"]\nstart_within = \"9s\"\n";
    assert_eq!(errors(&format!("{at_once}{waits}")), [""; 0]);
    let needs = waits.replace("after", "needs");
    assert_eq!(errors(&format!("{at_once}{needs}")), [""; 0], "a need is waited for too");
    let nothing = "after = []\nstart_within = \"9s\"\n";
    assert_eq!(errors(&format!("{at_once}{nothing}")), ["child.a.start_within"], "no sibling is waited for");
    let killed = "[defaults.stop]\nwithin = \"0s\"\n[child.a]\ncommand = \"x\"\n";
    assert_eq!(errors(killed), [""; 0]);
    let asked = format!("{killed}stop = {{ signal = \"SIGINT\" }}\n");
    assert_eq!(errors(&asked), ["child.a.stop.signal"], "it is killed at once, as the defaults say");
}

#[test]
fn ready_within_is_an_alias_of_start_within_and_both_together_are_an_error() {
    let file = |keys: &str| format!("[child.a]\ncommand = \"x\"\nready = {{ file = \"f\"{keys}\n");
    for keys in [", within = \"9s\" }", " }\nstart_within = \"9s\""] {
        assert_eq!(read(&file(keys)).root.children[0].spec.start_within, 9 * S, "{keys}");
    }
    let both = file(", within = \"9s\" }\nstart_within = \"9s\"");
    let report = read_text(Path::new("/srv"), &both).expect_err("both");
    assert!(
        report.text(false).contains("`within` and `start_within` are the same deadline"),
        "{}",
        report.text(false)
    );
}
