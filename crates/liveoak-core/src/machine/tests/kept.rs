//! Which bodies are let go when a child is over, and which children can be started again.

use super::shape::{group, leaf, sup};
use super::test_driver::{TestDriver, word};
use crate::{ChildDeclaration, Command, Effect, Exit, Input, Limit, Restart};
use std::time::Duration;

/// Returns a leaf whose body is let go when it is over.
fn job(name: &str) -> ChildDeclaration {
    leaf(name).temporary().with(|child| child.keep = false)
}

#[test]
fn c18_the_body_of_a_finished_child_is_dropped_if_nothing_can_start_the_child_again() {
    use Restart::{Permanent, Temporary, Transient};
    for own in [Permanent, Transient, Temporary] {
        for above in [Permanent, Transient, Temporary] {
            for keep in [false, true] {
                for exit in [Exit::Completed, Exit::failed("boom")] {
                    let child = job("a").restart(own).with(|child| child.keep = keep);
                    let tree = sup("t", [sup("s", [child, leaf("b")]).restart(above)]);
                    let mut driver = TestDriver::started(&tree);
                    driver.exit("s/a", exit.clone());
                    let over = own == Temporary && above == Temporary && !keep;
                    assert_eq!(driver.was_let_go("s/a"), over, "{own} below {above}, kept: {keep}, {exit}");
                    if own == Temporary {
                        assert_eq!(driver.state("s/a"), "finished", "it stays listed");
                        let expected = if over { "only once" } else { "ready" };
                        assert_eq!(word(&driver.ask("s/a", Command::Start)), expected);
                    }
                }
            }
        }
    }
}

#[test]
fn a_child_that_was_stopped_by_command_or_is_quarantined_keeps_its_body() {
    let limit = Limit::new(0, Duration::from_secs(1)).on_exceeded(crate::GiveUp::QUARANTINE);
    let tree = sup("t", [job("a"), job("b").restart(Restart::Transient).limit(limit)]);
    let mut driver = TestDriver::started(&tree);
    driver.ask("a", Command::Stop).expect("it stops");
    driver.fail("b");
    for (path, state) in [("a", "stopped"), ("b", "quarantined")] {
        assert_eq!(driver.state(path), state);
        assert!(!driver.was_let_go(path));
        assert_eq!(word(&driver.ask(path, Command::Start)), "ready");
    }
}

#[test]
fn the_end_of_a_temporary_supervisor_drops_all_bodies_below_it_that_are_not_kept() {
    let limit = Limit::new(0, Duration::from_secs(1));
    let permanent = |name| leaf(name).with(|child| child.keep = false);
    let fails = permanent("fails").limit(limit);
    let inner = sup("inner", [permanent("deep"), leaf("kept")]);
    let below = sup("s", [permanent("a"), inner, group("g"), fails]).temporary();
    let mut driver = TestDriver::started(&sup("t", [below.clone(), leaf("other")]));
    driver.fail("s/fails");
    assert_eq!(driver.state("s"), "finished");
    for (path, let_go) in
        [("s/a", true), ("s/inner/deep", true), ("s/inner/kept", false), ("s/g", true), ("s/fails", true)]
    {
        assert_eq!(driver.was_let_go(path), let_go, "{path}");
    }
    assert_eq!(word(&driver.ask("s", Command::Start)), "only once");
    assert_eq!(word(&driver.ask("s", Command::Restart)), "only once");
    // Declared to be kept as a whole.
    let below = below.with(|sup| sup.keep = true);
    let mut driver = TestDriver::started(&sup("t", [below, leaf("other")]));
    driver.fail("s/fails");
    assert!(!driver.was_let_go("s/a"));
    assert_eq!(word(&driver.ask("s", Command::Start)), "ready");
}

#[test]
fn a_child_that_runs_once_has_one_attempt_however_often_its_supervisor_starts() {
    let once = || job("once").with(|child| child.once = true);
    for ends_by_itself in [true, false] {
        let tree = sup("t", [sup("s", [once(), leaf("b")])]);
        let mut driver = TestDriver::started(&tree);
        if ends_by_itself {
            driver.fail("s/once");
        }
        let first = if ends_by_itself { "failed" } else { "stopped" };
        for _ in 0..2 {
            assert_eq!(word(&driver.ask("s", Command::Restart)), "ready");
            assert_eq!(driver.state("s/once"), "finished");
            let view = driver.view("s/once");
            assert_eq!((view.attempt.0, view.last_exit.as_ref().map(Exit::kind)), (1, Some(first)));
        }
        assert!(driver.was_let_go("s/once"));
        assert_eq!(word(&driver.ask("s/once", Command::Start)), "only once");
        assert_eq!(word(&driver.ask("s/once", Command::Restart)), "only once");
    }
    // Before its first attempt, it is like any other child.
    let tree = sup("t", [leaf("a").reports(), once()]);
    let mut driver = TestDriver::new(&tree);
    driver.policy("a").ready = false;
    driver.start();
    driver.command("once", Command::Stop);
    driver.ready("a");
    assert_eq!(word(&driver.ask("once", Command::Start)), "ready");
}

#[test]
fn a_child_that_runs_once_drops_its_captured_values_even_with_keep() {
    let once = job("once").with(|child| (child.once, child.keep) = (true, true));
    let mut driver = TestDriver::started(&sup("t", [sup("s", [once]), leaf("b")]));
    driver.complete("s/once");
    assert!(driver.was_let_go("s/once"));
}

#[test]
fn the_answer_to_a_stop_or_a_removal_comes_after_the_effects_that_release_the_bodies() {
    for (command, let_go) in [(Command::Stop, "let go"), (Command::Remove, "forget")] {
        for added in [false, true] {
            let leaves = || [job("a"), job("b")];
            let mut driver = TestDriver::started(&sup("t", [leaf("z"), sup("declared", leaves())]));
            driver.add("", &sup("added", leaves()).temporary()).expect("it is added");
            let path = if added { "added" } else { "declared" };
            if command == Command::Stop {
                // All its children are over, so a stop of the temporary one lets go of nothing more.
                driver.complete(&format!("{path}/a"));
            }
            let (id, request) = (driver.id(path), driver.request());
            let live: Vec<_> = ["a", "b"]
                .iter()
                .filter_map(|name| {
                    let id = driver.find(&format!("{path}/{name}"))?;
                    Some((id, driver.lives(id)?))
                })
                .collect();
            driver.machine.handle(driver.now, 0, Input::Command { request, id, command });
            let mut effects = Vec::new();
            let mut ended = live.into_iter().rev();
            loop {
                while let Some(effect) = driver.machine.poll_effect() {
                    match effect {
                        Effect::LetGo(_) => effects.push("let go"),
                        Effect::Forget(..) => effects.push("forget"),
                        Effect::Reply { .. } => effects.push("reply"),
                        _ => {}
                    }
                }
                let Some((id, attempt)) = ended.next() else { break };
                driver.machine.handle(driver.now, 0, Input::Exited(id, attempt, Exit::Stopped));
            }
            assert_eq!(effects.last(), Some(&"reply"), "{command:?} {path}: {effects:?}");
            let count = effects.iter().filter(|effect| **effect == let_go).count();
            assert!(count > 0 || command == Command::Stop, "{command:?} {path}: {effects:?}");
            std::mem::forget(driver);
        }
    }
}

#[test]
fn the_root_has_no_error_of_its_own_to_keep() {
    let tree = sup("t", [leaf("a")]).with(|spec| spec.keep_error = true);
    let errors = crate::Machine::new(&tree).err().map(|errors| errors.0).unwrap_or_default();
    assert_eq!(errors.iter().map(|error| error.field).collect::<Vec<_>>(), ["keep_error"]);
}
