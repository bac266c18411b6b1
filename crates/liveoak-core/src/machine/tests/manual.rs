//! Manual children: they start only when they are asked for, together with what they come after. The name of each test is
//! the rule.

use super::shape::{SECOND, group, leaf, secs, sup};
use super::test_driver::{Obeys, TestDriver};
use crate::{
    ChildDeclaration, Command, Condition, Exit, GiveUp, Input, Limit, Mode, Outcome, Refusal, Strategy,
};
use proptest::prelude::{ProptestConfig, any, proptest};
use proptest::{collection::vec, prop_assert, prop_assert_eq};

fn mode(name: &str, run: &[&str]) -> Mode {
    let run = run.iter().map(|pattern| pattern.parse().expect("a good pattern")).collect();
    Mode { name: super::shape::name(name), run }
}

/// The tree of most tests: `ui` comes after `db`, which comes after `disk`; all three are manual.
fn tools() -> ChildDeclaration {
    let disk = leaf("disk").manual();
    let db = leaf("db").manual().after("disk", Condition::Ready);
    let ui = leaf("ui").manual().after("db", Condition::Ready);
    sup("t", [leaf("main"), disk, db, ui])
}

const ALL: [&str; 3] = ["disk", "db", "ui"];

fn kept_down(answer: Result<Outcome, Refusal>) -> String {
    match answer {
        Err(Refusal::KeptDown { path, state }) => format!("{path} {state}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_manual_child_is_listed_and_starts_only_when_it_is_asked_for() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), leaf("m").manual(), leaf("b")]));
    assert_eq!(driver.states(["a", "m", "b"]), ["running", "not-wanted", "running"]);
    assert_eq!(driver.view("").state.as_str(), "running", "the supervisor is ready without it");
    let why = driver.explain("m").why;
    assert!(why.starts_with("it starts only when it is asked for"), "{why}");
    driver.ask("m", Command::Start).expect("it starts");
    assert_eq!(driver.state("m"), "running");
}

#[test]
fn a_start_brings_along_what_is_down_by_declaration_in_order() {
    let mut driver = TestDriver::started(&tools());
    driver.log();
    driver.ask("ui", Command::Start).expect("it starts");
    assert_eq!(driver.log(), ["start disk", "start db", "start ui"]);
    let why = driver.explain("db").why;
    assert!(why.contains("it was started because /t/ui comes after it"), "{why}");
}

#[test]
fn what_was_brought_along_stops_in_reverse_order_when_nothing_wants_it_any_more() {
    let mut driver = TestDriver::started(&tools());
    driver.ask("ui", Command::Start).expect("it starts");
    driver.log();
    driver.ask("ui", Command::Stop).expect("it stops");
    assert_eq!(driver.log(), ["ask ui", "gone ui", "ask db", "gone db", "ask disk", "gone disk"]);
    assert_eq!(driver.states(ALL), ["not-wanted", "not-wanted", "stopped"]);
    assert_eq!(driver.state("main"), "running");
}

#[test]
fn what_was_brought_along_runs_until_what_uses_it_is_down() {
    let mut driver = TestDriver::started(&tools());
    driver.ask("ui", Command::Start).expect("it starts");
    driver.obeys("ui", Obeys::Test);
    driver.command("ui", Command::Stop);
    assert_eq!(driver.states(ALL), ["running", "running", "stopping"]);
    driver.exit("ui", Exit::Stopped);
    assert_eq!(driver.states(ALL), ["not-wanted", "not-wanted", "stopped"]);
}

#[test]
fn what_two_children_brought_along_stops_with_the_last_of_them() {
    let tree = sup(
        "t",
        [
            leaf("db").manual(),
            leaf("a").manual().after("db", Condition::Ready),
            leaf("b").manual().after("db", Condition::Started),
        ],
    );
    let mut driver = TestDriver::started(&tree);
    driver.ask("a", Command::Start).expect("it starts");
    driver.ask("b", Command::Start).expect("it starts");
    let attempt = driver.attempt("db");
    driver.ask("a", Command::Stop).expect("it stops");
    assert_eq!((driver.state("db"), driver.attempt("db")), ("running", attempt));
    driver.ask("b", Command::Stop).expect("it stops");
    assert_eq!(driver.state("db"), "not-wanted");
}

#[test]
fn a_child_that_a_command_asked_for_stays_when_what_it_was_brought_along_for_stops() {
    let mut driver = TestDriver::started(&tools());
    driver.ask("ui", Command::Start).expect("it starts");
    let answer = driver.ask("db", Command::Start);
    assert!(matches!(answer, Ok(Outcome::Ready { .. })), "{answer:?}");
    assert_eq!(driver.view("db").attempt.0, 1);
    driver.ask("ui", Command::Stop).expect("it stops");
    assert_eq!(driver.states(ALL), ["running", "running", "stopped"]);
    driver.ask("db", Command::Stop).expect("it stops");
    assert_eq!(driver.states(ALL), ["not-wanted", "stopped", "stopped"]);
}

#[test]
fn a_start_is_refused_by_name_if_it_would_wait_for_what_a_command_stopped_or_what_is_quarantined() {
    let start = |driver: &mut TestDriver| kept_down(driver.ask("ui", Command::Start));
    let mut driver = TestDriver::started(&tools());
    driver.ask("disk", Command::Start).expect("it starts");
    driver.ask("disk", Command::Stop).expect("it stops");
    assert_eq!(start(&mut driver), "/t/disk stopped");
    assert_eq!(driver.states(ALL), ["stopped", "not-wanted", "not-wanted"], "nothing is done");
    let _ = driver.ask("disk", Command::Quarantine);
    assert_eq!(start(&mut driver), "/t/disk quarantined");
    driver.ask("disk", Command::Release).expect("it starts");
    driver.ask("ui", Command::Start).expect("it starts");
    assert_eq!(driver.states(ALL), ["running"; 3]);
}

#[test]
fn a_start_is_refused_while_what_it_would_wait_for_is_paused_and_down_or_is_being_stopped() {
    let mut driver = TestDriver::started(&tools());
    let _ = driver.ask("disk", Command::Pause);
    assert_eq!(kept_down(driver.ask("ui", Command::Start)), "/t/disk not-wanted");
    let _ = driver.ask("disk", Command::Resume);
    driver.ask("disk", Command::Start).expect("it starts");
    driver.obeys("disk", Obeys::Test);
    driver.command("disk", Command::Stop);
    assert_eq!(kept_down(driver.ask("ui", Command::Start)), "/t/disk stopping");
}

#[test]
fn a_start_is_refused_if_a_child_that_waits_would_hold_it_up_for_a_stopped_one() {
    let tree = sup(
        "t",
        [leaf("a"), leaf("b").after("a", Condition::Ready), leaf("m").manual().after("b", Condition::Ready)],
    );
    let mut driver = TestDriver::started(&tree.strategy(Strategy::OneForAll));
    let _ = driver.ask("a", Command::Stop);
    driver.command("b", Command::Restart);
    assert_eq!(driver.state("b"), "waiting");
    assert_eq!(kept_down(driver.ask("m", Command::Start)), "/t/a stopped");
}

#[test]
fn a_child_that_starts_by_itself_brings_along_what_it_comes_after() {
    let tree = sup("t", [leaf("db").manual(), leaf("web").after("db", Condition::Ready)]);
    let mut driver = TestDriver::started(&tree);
    assert_eq!(driver.states(["db", "web"]), ["running"; 2]);
    driver.ask("web", Command::Stop).expect("it stops");
    assert_eq!(driver.states(["db", "web"]), ["not-wanted", "stopped"]);
    driver.ask("web", Command::Start).expect("it starts");
    assert_eq!(driver.states(["db", "web"]), ["running"; 2]);
}

#[test]
fn an_added_child_brings_along_what_it_comes_after() {
    let mut driver = TestDriver::started(&sup("t", [leaf("db").manual()]));
    driver.add("", &leaf("job").temporary().after("db", Condition::Ready)).expect("it is added");
    assert_eq!(driver.states(["db", "job"]), ["running"; 2]);
    driver.complete("job");
    assert_eq!(driver.state("db"), "not-wanted", "the job has left the tree");
}

#[test]
fn a_start_during_the_stop_of_what_it_needs_starts_both_again() {
    let mut driver = TestDriver::started(&tools());
    driver.ask("ui", Command::Start).expect("it starts");
    driver.obeys("db", Obeys::Test);
    driver.ask("ui", Command::Stop).expect("it stops");
    assert_eq!(driver.states(ALL), ["running", "stopping", "stopped"]);
    let start = driver.command("ui", Command::Start);
    driver.exit("db", Exit::Stopped);
    assert!(matches!(driver.answer(start), Some(Ok(Outcome::Ready { .. }))));
    assert_eq!(driver.states(ALL), ["running"; 3]);
}

#[test]
fn what_was_brought_along_stays_while_what_uses_it_waits_for_its_restart() {
    let ui = leaf("ui").manual().after("db", Condition::Ready).delayed(secs(10));
    let mut driver = TestDriver::started(&sup("t", [leaf("db").manual(), ui]));
    driver.ask("ui", Command::Start).expect("it starts");
    driver.fail("ui");
    assert_eq!(driver.states(["db", "ui"]), ["running", "backing-off"]);
    driver.advance(secs(10));
    assert_eq!(driver.states(["db", "ui"]), ["running"; 2]);
    assert_eq!(driver.view("db").attempt.0, 1);
}

#[test]
fn what_was_brought_along_stops_when_what_uses_it_is_removed_or_has_finished() {
    for removed in [true, false] {
        let ui = leaf("ui").manual().transient().after("db", Condition::Ready);
        let mut driver = TestDriver::started(&sup("t", [leaf("db").manual(), ui]));
        driver.ask("ui", Command::Start).expect("it starts");
        if removed {
            let _ = driver.ask("ui", Command::Remove);
        } else {
            driver.complete("ui");
        }
        assert_eq!(driver.state("db"), "not-wanted");
    }
}

#[test]
fn a_job_that_is_brought_along_runs_to_its_end_before_the_child_that_waits_for_it() {
    let job = leaf("job").manual().temporary();
    let ui = leaf("ui").manual().after("job", Condition::Completed);
    let mut driver = TestDriver::started(&sup("t", [job, ui]));
    driver.command("ui", Command::Start);
    assert_eq!(driver.states(["job", "ui"]), ["running", "waiting"]);
    driver.fail("job");
    assert_eq!(driver.states(["job", "ui"]), ["finished", "waiting"]);
    driver.ask("ui", Command::Stop).expect("it stops");
    assert_eq!(driver.states(["job", "ui"]), ["not-wanted", "stopped"], "the next start tries it again");
    driver.command("ui", Command::Start);
    driver.complete("job");
    assert_eq!(driver.states(["job", "ui"]), ["finished", "running"]);
    driver.ask("ui", Command::Stop).expect("it stops");
    driver.ask("ui", Command::Start).expect("it starts");
    assert_eq!(driver.states(["job", "ui"]), ["finished", "running"], "a success is not repeated");
    assert_eq!(driver.view("job").attempt.0, 2);
}

#[test]
fn what_was_brought_along_stops_although_another_sibling_of_the_start_never_became_ready() {
    let slow = leaf("slow").manual().reports().start_within(secs(5)).delayed(secs(1));
    let ui = leaf("ui").manual().after("db", Condition::Ready).after("slow", Condition::Ready);
    let mut driver = TestDriver::started(&sup("t", [leaf("db").manual(), slow, ui]));
    driver.policy("slow").ready = false;
    let start = driver.command("ui", Command::Start);
    driver.advance(secs(60));
    assert!(
        matches!(driver.answer(start), Some(Err(Refusal::WaitsFor { .. }))),
        "{:?}",
        driver.answer(start)
    );
    driver.ask("ui", Command::Stop).expect("it stops");
    driver.advance(secs(60));
    assert_eq!(driver.states(["db", "slow", "ui"]), ["not-wanted", "not-wanted", "stopped"]);
}

#[test]
fn a_manual_child_that_is_down_counts_as_done() {
    for ending in ["never started", "stopped", "quarantined", "failed"] {
        let job = leaf("job").transient();
        let mut driver = TestDriver::started(&sup("t", [job, leaf("m").manual()]).rules(|rules| {
            rules.end_when_done = true;
        }));
        match ending {
            "never started" => {}
            "failed" => {
                driver.policy("m").ready = false;
            }
            _ => {
                driver.ask("m", Command::Start).expect("it starts");
                let command = if ending == "stopped" { Command::Stop } else { Command::Quarantine };
                driver.ask("m", command).expect("it stops");
            }
        }
        driver.complete("job");
        assert_eq!(driver.down_kind(), "completed", "{ending}");
    }
}

#[test]
fn a_manual_child_that_runs_keeps_the_tree_running() {
    let tree = sup("t", [leaf("job").transient(), leaf("m").manual().transient()]);
    let mut driver = TestDriver::started(&tree.rules(|rules| rules.end_when_done = true));
    driver.ask("m", Command::Start).expect("it starts");
    driver.complete("job");
    assert_eq!(driver.state("m"), "running");
    driver.complete("m");
    assert_eq!(driver.down_kind(), "completed");
}

#[test]
fn a_manual_child_that_was_started_stays_wanted_over_restarts_of_its_supervisor() {
    let inner = sup(
        "s",
        [
            leaf("x").limit(Limit::new(0, SECOND)),
            leaf("db").manual(),
            leaf("ui").manual().after("db", Condition::Ready),
            leaf("other").manual(),
        ],
    );
    let mut driver = TestDriver::started(&sup("t", [inner]));
    driver.ask("s/ui", Command::Start).expect("it starts");
    driver.fail("s/x");
    assert_eq!(driver.states(["s/db", "s/ui", "s/other"]), ["running", "running", "not-wanted"]);
    assert_eq!(driver.view("s/ui").attempt.0, 2);
    driver.ask("s/ui", Command::Stop).expect("it stops");
    driver.fail("s/x");
    assert_eq!(driver.states(["s/db", "s/ui", "s/other"]), ["not-wanted", "stopped", "not-wanted"]);
}

#[test]
fn a_failed_start_by_command_leaves_a_manual_child_down_as_declared() {
    let tree = sup("t", [leaf("db").manual(), leaf("ui").manual().reports().after("db", Condition::Ready)]);
    let mut driver = TestDriver::started(&tree);
    driver.policy("ui").ready = false;
    let start = driver.command("ui", Command::Start);
    driver.fail("ui");
    assert!(matches!(driver.answer(start), Some(Err(Refusal::Failed(_)))));
    assert_eq!(driver.states(["db", "ui"]), ["not-wanted"; 2]);
    let why = driver.explain("ui").why;
    assert!(why.contains("failed") && why.contains("only when it is asked for"), "{why}");
}

#[test]
fn a_quarantined_child_wants_what_it_comes_after_only_if_it_will_be_tried_again() {
    for retry_after in [None, Some(secs(60))] {
        let limit = Limit::new(0, SECOND).on_exceeded(GiveUp::Quarantine { retry_after });
        let ui = leaf("ui").manual().limit(limit).after("db", Condition::Ready);
        let mut driver = TestDriver::started(&sup("t", [leaf("db").manual(), ui]));
        driver.ask("ui", Command::Start).expect("it starts");
        driver.fail("ui");
        let expected = if retry_after.is_some() { "running" } else { "not-wanted" };
        assert_eq!(driver.states(["db", "ui"]), [expected, "quarantined"]);
        driver.ask("ui", Command::Release).expect("it starts");
        assert_eq!(driver.states(["db", "ui"]), ["running"; 2]);
    }
}

#[test]
fn a_mode_wants_a_manual_child_that_it_names_and_no_other() {
    let tree = sup("t", [sup("s", [leaf("a"), leaf("m").manual()]), leaf("n").manual()]);
    let run = |pattern: &str| {
        let mut driver = TestDriver::new(&tree);
        let wanted = mode("x", &[pattern]);
        driver.machine.prepare_mode(crate::Time::ZERO, Some(&wanted));
        driver.machine.set_interest(None);
        driver.machine.handle(crate::Time::ZERO, 0, Input::Start);
        let plan = driver.machine.plan_mode(Some(&wanted));
        plan.into_iter().map(|step| step.step.to_string()).collect::<Vec<_>>()
    };
    let is = |steps: &[String], wanted: &[&str]| {
        for path in ["/t/s/a", "/t/s/m", "/t/n"] {
            // A child of a supervisor that is down has no step of its own.
            let step = steps.iter().find(|step| step.contains(path));
            let runs = step.is_some_and(|step| step.contains("it is wanted already"));
            assert_eq!(runs, wanted.contains(&path), "{steps:?}");
        }
    };
    is(&run("s"), &["/t/s/a"]);
    is(&run("s/*"), &["/t/s/a", "/t/s/m"]);
    is(&run("n"), &["/t/n"]);
    is(&run("**"), &["/t/s/a", "/t/s/m", "/t/n"]);
}

#[test]
fn without_a_mode_a_manual_child_is_wanted_if_a_command_asked_for_it() {
    let mut driver = TestDriver::started(&tools());
    let steps = |driver: &TestDriver| -> Vec<String> {
        let steps = driver.machine.plan_mode(None).into_iter();
        steps.map(|step| step.step.to_string()).filter(|step| !step.contains("main")).collect()
    };
    assert!(steps(&driver).iter().all(|step| step.contains("it is not wanted, and is down")));
    driver.ask("ui", Command::Start).expect("it starts");
    assert!(steps(&driver).iter().all(|step| step.contains("it is wanted already")), "{:?}", steps(&driver));
}

#[test]
fn what_has_nothing_to_wait_for_cannot_be_manual() {
    let errors = |tree: &ChildDeclaration| tree.check().expect_err("a broken rule").to_string();
    assert!(errors(&sup("t", [leaf("a")]).manual()).contains("/t: manual: the root"));
    let members = group("g").members(|group| group.template.manual = true);
    assert!(errors(&sup("t", [members])).contains("/t/g: manual: a member"));
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    let refused = driver.add("", &leaf("m").manual()).expect_err("refused").to_string();
    assert!(refused.contains("/t/m: manual: a child that is added starts when it is added"), "{refused}");
    driver.add("", &sup("s", [leaf("m").manual()])).expect("a supervisor may have manual children");
    assert_eq!(driver.states(["s", "s/m"]), ["running", "not-wanted"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn once_all_is_well_exactly_what_is_wanted_runs(
        acts in vec((any::<u8>(), 0usize..5), 1..40),
        strategy in 0usize..3,
        edges in any::<bool>(),
    ) {
        let names = ["a", "b", "c", "d", "e"];
        let child = |name| leaf(name).limit(Limit::unlimited());
        let tree = sup("t", [
            child("a").manual(),
            child("b").manual().after("a", Condition::Ready),
            child("c").after("b", Condition::Started),
            child("d").manual().after("b", Condition::Ready),
            child("e").manual().after("d", Condition::Ready).after("a", Condition::Ready),
        ]);
        let strategies = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
        let tree = if edges { tree.edges() } else { tree }.strategy(strategies[strategy]);
        let mut driver = TestDriver::started(&tree);
        let mut asked = [false, false, true, false, false];
        let mut stopped = [false; 5];
        for (number, at) in acts {
            let child = names[at];
            match number % 4 {
                0 if driver.is_alive(child) => driver.fail(child),
                1 => {
                    let _ = driver.ask(child, Command::Stop);
                    (asked[at], stopped[at]) = (false, true);
                }
                2 => match driver.ask(child, Command::Start) {
                    Ok(_) | Err(Refusal::WaitsFor { .. }) => (asked[at], stopped[at]) = (true, false),
                    Err(Refusal::KeptDown { .. }) | Err(Refusal::NotDown { .. }) => {}
                    Err(other) => panic!("{other}"),
                },
                _ => driver.advance(secs(1)),
            }
        }
        // Each child is started that a command stopped and that something wants.
        let after: [&[usize]; 5] = [&[], &[0], &[1], &[1], &[3, 0]];
        let mut wanted = asked;
        for at in (0..5).rev() {
            if wanted[at] {
                after[at].iter().for_each(|before| wanted[*before] = true);
            }
        }
        for at in 0..5 {
            if wanted[at] && stopped[at] {
                let _ = driver.ask(names[at], Command::Start);
                asked[at] = true;
            }
        }
        driver.advance(secs(60));
        for at in 0..5 {
            let state = driver.state(names[at]);
            prop_assert_eq!(wanted[at], state == "running", "{} is {}", names[at], state);
            prop_assert!(wanted[at] || ["not-wanted", "stopped"].contains(&state), "{} is {}", names[at], state);
        }
    }
}
