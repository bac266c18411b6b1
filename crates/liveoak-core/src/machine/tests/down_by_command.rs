//! What siblings and supervisors make of a child that is paused or quarantined by command; the name of each test is the rule.

use super::by_command::{RETRY, driver_in, quarantines};
use super::shape::{SECOND, group, leaf, millis, secs, sup};
use super::test_driver::{TestDriver, word};
use crate::{AutoShutdown, ChildDeclaration, Command, Condition, GiveUp, Health, Limit, Restart, Strategy};
use std::sync::Arc;

#[test]
fn what_ends_while_paused_is_not_started_again_until_it_is_resumed() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let tree = sup("t", [leaf("b"), leaf("c").limit(Limit::new(0, SECOND)), leaf("d")]);
        let mut driver = TestDriver::started(&tree.strategy(strategy));
        assert_eq!(word(&driver.ask("c", Command::Pause)), "paused");
        assert_eq!((driver.state("c"), driver.view("c").paused), ("running", true));
        driver.fail("c");
        driver.advance(secs(1_000));
        // Without the pause, the limit of no restart would end the tree.
        assert_eq!(driver.log(), ["gone c"], "{strategy:?}");
        let view = driver.view("c");
        assert_eq!((view.state.as_str(), view.paused, view.health), ("paused", true, Health::Degraded));
        assert_eq!(word(&driver.ask("c", Command::Resume)), "ready");
        let view = driver.view("c");
        assert_eq!((view.state.as_str(), view.paused, view.restarts), ("running", false, 0));
        driver.fail("c");
        assert_eq!(driver.down_kind(), "gave-up", "the ordinary rules apply again");
    }
}

#[test]
fn a_paused_child_that_ends_for_good_is_finished() {
    let mut driver = TestDriver::started(&sup("t", [leaf("b"), leaf("c").transient()]));
    let _ = driver.ask("c", Command::Pause);
    driver.complete("c");
    assert_eq!(driver.state("c"), "finished");
}

/// Returns a driver in whose tree `c` is down because of this command, or because it ended while paused.
fn down_by(command: Command, tree: &ChildDeclaration) -> TestDriver {
    let mut driver = TestDriver::started(tree);
    let _ = driver.ask("c", command);
    if command == Command::Pause {
        driver.fail("c");
    }
    driver.log();
    driver
}

const DOWN_BY: [(Command, &str); 3] =
    [(Command::Stop, "stopped"), (Command::Pause, "paused"), (Command::Quarantine, "quarantined")];

#[test]
fn a_group_restart_goes_on_without_a_child_that_is_down_by_command() {
    for (command, state) in DOWN_BY {
        let tree = sup("t", [leaf("b"), leaf("c"), leaf("d")]).strategy(Strategy::OneForAll);
        let mut driver = down_by(command, &tree);
        driver.fail("b");
        assert_eq!(driver.log(), ["gone b", "ask d", "gone d", "start b", "start d"], "{command:?}");
        assert_eq!(driver.states(["b", "c", "d"]), ["running", state, "running"]);
    }
}

#[test]
fn a_group_restart_stops_a_paused_child_that_runs_and_goes_on_without_it() {
    let tree = sup("t", [leaf("b"), leaf("c"), leaf("d")]).strategy(Strategy::OneForAll);
    let mut driver = TestDriver::started(&tree);
    let _ = driver.ask("c", Command::Pause);
    driver.fail("b");
    assert_eq!(driver.states(["b", "c", "d"]), ["running", "paused", "running"]);
    assert_eq!(word(&driver.ask("c", Command::Resume)), "ready");
}

#[test]
fn a_child_that_is_down_by_command_stays_down_over_a_restart_of_its_supervisor_which_is_ready_without_it() {
    for (command, state) in DOWN_BY {
        // The first failure of `b` ends its supervisor, which is restarted.
        let b = leaf("b").limit(Limit::new(0, SECOND));
        let mut driver = TestDriver::started(&sup("t", [sup("s", [b, leaf("c"), leaf("d")])]));
        let _ = driver.ask("s/c", command);
        if command == Command::Pause {
            driver.fail("s/c");
        }
        driver.fail("s/b");
        assert_eq!(driver.view("s").attempt.0, 2, "{command:?}");
        let states = driver.states(["s", "s/b", "s/c", "s/d"]);
        assert_eq!(states, ["running", "running", state, "running"], "{command:?}");
    }
}

#[test]
fn a_restart_of_the_supervisor_ends_a_quarantine_by_limit_but_not_one_by_command() {
    let c = leaf("c").limit(quarantines(None));
    let mut driver = TestDriver::started(&sup("t", [sup("s", [leaf("b"), c])]));
    driver.fail("s/c");
    let _ = driver.ask("s", Command::Restart);
    assert_eq!(driver.state("s/c"), "running");
    driver.fail("s/c");
    let _ = driver.ask("s/c", Command::Quarantine);
    let _ = driver.ask("s", Command::Restart);
    assert_eq!((driver.state("s/c"), driver.view("s/c").health), ("quarantined", Health::Unhealthy));
}

#[test]
fn siblings_that_start_after_a_child_that_is_down_by_command_are_held_until_it_is_back() {
    for (command, _) in DOWN_BY {
        let d = leaf("d").after("c", Condition::Ready);
        let mut driver = down_by(command, &sup("t", [leaf("b"), leaf("c"), d]));
        let _ = driver.command("d", Command::Restart);
        assert_eq!(driver.state("d"), "waiting", "{command:?}");
        let back = match command {
            Command::Pause => Command::Resume,
            Command::Quarantine => Command::Release,
            _ => Command::Start,
        };
        let _ = driver.ask("c", back);
        assert_eq!(driver.states(["c", "d"]), ["running", "running"], "{command:?}");
    }
}

#[test]
fn a_supervisor_that_ends_when_all_is_done_waits_for_a_child_that_is_down_by_command() {
    for (command, _) in DOWN_BY {
        let jobs = sup("t", [leaf("b").transient(), leaf("c").transient()])
            .rules(|rules| rules.end_when_done = true);
        let mut driver = down_by(command, &jobs);
        driver.complete("b");
        assert!(driver.down.is_none(), "{command:?}");
        let _ = driver.ask("c", Command::Start);
        driver.complete("c");
        assert_eq!(driver.down_kind(), "completed", "{command:?}");
    }
}

#[test]
fn a_significant_child_that_is_down_by_command_neither_ends_its_supervisor_nor_keeps_it_running() {
    for auto in [AutoShutdown::AnySignificant, AutoShutdown::AllSignificant] {
        for (command, _) in DOWN_BY {
            let children = [leaf("b").transient().significant(), leaf("c").transient().significant()];
            let tree = sup("t", children).rules(|rules| rules.auto_shutdown = auto);
            let mut driver = down_by(command, &tree);
            assert!(driver.down.is_none(), "{command:?} under {auto:?}");
            driver.complete("b");
            assert_eq!(driver.down_kind(), "auto-shutdown", "{command:?} under {auto:?}");
        }
    }
}

#[test]
fn a_pause_and_a_resume_of_a_supervisor_include_all_children_below_it() {
    let tree = sup("t", [sup("s", [leaf("b"), sup("u", [leaf("c")])])]);
    let mut driver = TestDriver::started(&tree);
    let _ = driver.ask("s", Command::Pause);
    driver.fail("s/b");
    driver.fail("s/u/c");
    assert_eq!(driver.states(["s", "s/b", "s/u", "s/u/c"]), ["running", "paused", "running", "paused"]);
    assert_eq!(word(&driver.ask("s", Command::Resume)), "resumed");
    assert_eq!(driver.states(["s/b", "s/u/c"]), ["running", "running"]);
    assert!(!driver.view("s/u/c").paused);
}

#[test]
fn a_pause_and_a_resume_of_a_group_include_all_its_members() {
    let tree = group("t").members(|group| group.template.restart = Restart::Permanent);
    let mut driver = TestDriver::started(&tree);
    let _ = driver.add_member("", Some("m"));
    let _ = driver.ask("", Command::Pause);
    driver.fail("m");
    let _ = driver.add_member("", Some("n"));
    assert_eq!((driver.state("m"), driver.view("n").paused), ("paused", false));
    let _ = driver.ask("", Command::Resume);
    assert_eq!((driver.state("m"), driver.view("m").paused), ("running", false));
}

#[test]
fn a_command_that_starts_a_paused_child_ends_its_pause() {
    for command in [Command::Start, Command::Restart, Command::Resume] {
        let mut driver = down_by(Command::Pause, &sup("t", [leaf("b"), leaf("c")]));
        assert_eq!(word(&driver.ask("c", command)), "ready", "{command:?}");
        assert!(!driver.view("c").paused, "{command:?}");
    }
    let mut driver = TestDriver::started(&sup("t", [sup("s", [leaf("c")])]));
    let _ = driver.ask("s", Command::Pause);
    let _ = driver.ask("s", Command::Restart);
    assert_eq!((driver.state("s/c"), driver.view("s/c").paused), ("running", false));
}

#[test]
fn a_paused_child_that_fails_in_a_first_start_does_not_fail_its_supervisor() {
    let mut driver = TestDriver::new(&sup("t", [leaf("b"), leaf("c").reports(), leaf("d")]));
    driver.policy("c").ready = false;
    driver.start();
    let _ = driver.ask("c", Command::Pause);
    driver.fail("c");
    assert_eq!(driver.states(["", "b", "c", "d"]), ["running", "running", "paused", "running"]);
}

#[test]
fn a_paused_child_makes_no_trial_until_it_is_resumed() {
    let mut driver = driver_in("quarantined with a retry");
    let _ = driver.ask("c", Command::Pause);
    driver.advance(RETRY * 3);
    assert_eq!((driver.state("c"), driver.view("c").retry_in), ("quarantined", None));
    let _ = driver.ask("c", Command::Resume);
    assert_eq!(driver.view("c").retry_in, Some(RETRY), "the time begins anew");
    driver.advance(RETRY);
    assert!(driver.view("c").trial);
}

#[test]
fn a_resume_of_a_child_that_is_not_paused_changes_nothing() {
    let mut driver = driver_in("quarantined with a retry");
    driver.advance(RETRY - millis(1));
    let _ = driver.ask("c", Command::Resume);
    assert_eq!(driver.view("c").retry_in, Some(millis(1)));
}

#[test]
fn a_child_that_is_quarantined_by_command_makes_no_trial() {
    for state in ["quarantined with a retry", "on trial", "running"] {
        let mut driver = driver_in(state);
        let _ = driver.ask("c", Command::Quarantine);
        driver.advance(RETRY * 3);
        let view = driver.view("c");
        assert_eq!((view.state.as_str(), view.retry_in, view.trial), ("quarantined", None, false), "{state}");
    }
}

#[test]
fn after_a_release_the_ordinary_rules_apply_and_failures_before_it_do_not_count() {
    let give_up = GiveUp::Quarantine { retry_after: None };
    let c = leaf("c").limit(Limit::new(1, secs(100)).on_exceeded(give_up));
    let mut driver = TestDriver::started(&sup("t", [leaf("b"), c]));
    driver.fail("c");
    driver.fail("c");
    assert_eq!(driver.state("c"), "quarantined");
    assert_eq!(word(&driver.ask("c", Command::Release)), "ready");
    driver.fail("c");
    assert_eq!(driver.state("c"), "running", "one restart is allowed again");
    driver.fail("c");
    assert_eq!(driver.state("c"), "quarantined");
}

#[test]
fn a_release_is_refused_while_a_process_of_the_last_attempt_lives() {
    let mut driver = driver_in("quarantined with a process");
    let refusal = driver.ask("c", Command::Release).expect_err("the process lives");
    assert!(refusal.to_string().contains("process 7"), "{refusal}");
    let _ = driver.ask("c", Command::Quarantine);
    let (id, attempt) = (driver.id("c"), driver.view("c").attempt);
    driver.input(crate::Input::Gone(id, attempt));
    assert_eq!(driver.state("c"), "quarantined", "the command lasts longer than the process");
    assert_eq!(word(&driver.ask("c", Command::Release)), "ready");
}

#[test]
fn the_root_is_never_quarantined() {
    let mut driver = TestDriver::started(&sup("t", [leaf("c")]));
    assert_eq!(word(&driver.ask("", Command::Quarantine)), "is root");
}

#[test]
fn a_member_that_leaves_its_group_when_it_is_stopped_leaves_it_when_it_is_quarantined() {
    let tree = group("t").members(|group| group.template.restart = Restart::Temporary);
    let mut driver = TestDriver::started(&tree);
    let _ = driver.add_member("", Some("m"));
    assert_eq!(word(&driver.ask("m", Command::Quarantine)), "stopped", "the answer says what happened");
    assert_eq!(driver.state("m"), "gone");
}

#[test]
fn a_trial_of_a_supervisor_whose_jobs_succeed_ends_its_quarantine() {
    let jobs = sup("s", [leaf("c").temporary()]).rules(|rules| rules.end_when_done = true);
    let jobs = jobs.transient().limit(quarantines(Some(RETRY)));
    let mut driver = TestDriver::started(&sup("t", [leaf("b"), jobs]));
    driver.fail("s/c");
    assert_eq!(driver.state("s"), "quarantined");
    driver.advance(RETRY);
    driver.complete("s/c");
    assert_eq!(driver.state("s"), "finished", "the exit of a trial is that of its jobs");
}

#[test]
fn an_explanation_says_who_paused_or_quarantined_a_child() {
    let origin = crate::Origin { by: Some("ada".into()), because: Some("upgrade".into()) };
    for (command, states) in [
        (
            Command::Pause,
            vec!["a command paused it (by ada: upgrade, 0ms ago)", "it starts again when it is resumed"],
        ),
        (Command::Quarantine, vec!["a command quarantined it (by ada: upgrade, 0ms ago)"]),
    ] {
        let mut driver = TestDriver::started(&sup("t", [leaf("b"), leaf("c")]));
        driver.machine.set_origin(Some(Arc::new(origin.clone())));
        let _ = driver.ask("c", command);
        let (now, id) = (driver.now, driver.id("c"));
        if command == Command::Pause {
            let explanation = driver.machine.explain(now, id).expect("a child");
            assert!(explanation.paused && explanation.to_string().contains("  paused "), "{explanation}");
            let why = explanation.why;
            assert!(why.starts_with("attempt 1 is ready; a command paused it (by ada"), "{why}");
            driver.fail("c");
        }
        let explanation = driver.machine.explain(now, id).expect("a child");
        for part in states {
            assert!(explanation.why.contains(part), "{}", explanation.why);
        }
        let last = explanation.commands.last().map(|command| (*command.origin).clone());
        assert_eq!(last.as_ref(), Some(&origin));
    }
}
