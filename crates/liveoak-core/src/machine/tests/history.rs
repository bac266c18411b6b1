//! What is kept of the past, and who gave a command and why.

use super::shape::{SECOND, group, leaf, secs, sup};
use super::test_driver::{Obeys, TestDriver};
use crate::{
    Command, EventKind, Exit, Input, Limit, MAX_EXIT_TEXT_BYTES, MAX_HISTORY, MAX_KEPT_COMMANDS, Origin,
};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Returns the origin of a command.
pub(super) fn by(who: &str, why: &str) -> Option<Arc<Origin>> {
    Some(Arc::new(Origin { by: Some(who.into()), because: Some(why.into()) }))
}

impl TestDriver {
    /// Returns the kept exits of a child, each as attempt and text.
    #[track_caller]
    fn exits(&mut self, path: &str) -> Vec<(u64, String)> {
        let Some(history) = self.view(path).history else { return Vec::new() };
        history.exits.iter().map(|exit| (exit.attempt.0, exit.text.clone())).collect()
    }

    /// Returns the events that have an origin since the last call, each as path and kind.
    fn events_by(&mut self, who: &str) -> Vec<String> {
        let is_by = |origin: &Arc<Origin>| origin.by.as_ref().is_some_and(|by| by.as_str() == who);
        let events = std::mem::take(&mut self.events);
        let given = events.into_iter().filter(|event| event.origin.as_ref().is_some_and(is_by));
        given.map(|event| format!("{} {}", event.path.name(), event.kind.name())).collect()
    }
}

#[test]
fn exits_are_kept_from_the_first_failure_on_and_only_the_last_ones() {
    let a = leaf("a").limit(Limit::unlimited()).with(|spec| spec.history = 3);
    let mut driver = TestDriver::started(&sup("t", [a]));
    driver.complete("a");
    driver.complete("a");
    assert_eq!(driver.exits("a"), []);
    driver.fail("a");
    driver.complete("a");
    assert_eq!(driver.exits("a"), [(3, "failed: boom".to_owned()), (4, "completed".to_owned())]);
    driver.exit("a", Exit::Code(5));
    driver.exit("a", Exit::Code(6));
    let numbers: Vec<u64> = driver.exits("a").into_iter().map(|(attempt, _)| attempt).collect();
    assert_eq!(numbers, [4, 5, 6]);
}

#[test]
fn a_child_with_a_history_of_zero_keeps_no_exits() {
    let a = leaf("a").with(|spec| spec.history = 0);
    let mut driver = TestDriver::started(&sup("t", [a]));
    driver.fail("a");
    assert_eq!(driver.exits("a"), []);
}

#[test]
fn a_child_keeps_eight_exits_unless_declared_otherwise() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").limit(Limit::unlimited())]));
    for _ in 0..20 {
        driver.fail("a");
    }
    assert_eq!(driver.exits("a").len(), 8);
}

#[test]
fn a_member_of_a_group_that_fails_keeps_its_exits() {
    let mut driver = TestDriver::started(&sup("t", [group("g")]));
    driver.add_member("g", Some("x")).expect("room");
    driver.fail("g/x");
    assert_eq!(driver.exits("g/x"), [(1, "failed: boom".to_owned())]);
}

#[test]
fn a_history_beyond_the_bound_is_refused() {
    let tree = |count| sup("t", [leaf("a").with(|spec| spec.history = count)]);
    assert!(tree(MAX_HISTORY).check().is_ok());
    let errors = tree(MAX_HISTORY + 1).check().expect_err("too many").to_string();
    assert!(errors.contains("history: 65 exits are too many to keep; expected 0 to 64"), "{errors}");
}

/// An error whose destructor shows that the error is held.
#[derive(Debug)]
struct Held(Arc<()>);

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", "x".repeat(10_000 * Arc::strong_count(&self.0)))
    }
}

impl Error for Held {}

#[test]
fn a_kept_exit_is_a_bounded_text_and_holds_no_error() {
    let a = leaf("a").with(|spec| spec.keep_error = true);
    let mut driver = TestDriver::started(&sup("t", [a]));
    let held = Arc::new(());
    driver.careful = false;
    driver.exit("a", Exit::failed(Held(Arc::clone(&held))));
    driver.exit("a", Exit::Code(1));
    driver.events.clear();
    driver.copies = Default::default();
    let text = &driver.exits("a")[0].1;
    assert!(text.len() <= MAX_EXIT_TEXT_BYTES && text.ends_with('…'));
    assert_eq!(Arc::strong_count(&held), 1, "the history holds the error");
}

#[test]
fn a_snapshot_keeps_the_exits_of_its_moment() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    driver.fail("a");
    let before = driver.view("a");
    driver.fail("a");
    assert_eq!(before.history.expect("it failed").exits.len(), 1);
    assert_eq!(driver.exits("a").len(), 2);
}

#[test]
fn the_use_of_each_limit_is_in_the_snapshot() {
    let a = leaf("a").limit(Limit::new(3, secs(5)));
    let tree = sup("t", [a, sup("s", [leaf("b"), leaf("c")]).intensity(4, secs(60))]);
    let mut driver = TestDriver::started(&tree);
    driver.fail("a");
    driver.advance(secs(4));
    driver.fail("a");
    driver.fail("s/b");
    driver.fail("s/c");
    let used = |driver: &mut TestDriver, path: &str| {
        let history = driver.view(path).history;
        history.and_then(|history| history.limit.or(history.intensity)).map(|used| used.to_string())
    };
    let shown =
        |driver: &mut TestDriver| ["a", "s", "s/b"].map(|path| used(driver, path).unwrap_or_default());
    let first = "2 of 3 restarts in 5s, 2 failures in a row";
    assert_eq!(shown(&mut driver), [first, "2 of 4 restarts in 1m", ""]);
    let explained = driver.explain("s/b");
    assert!(explained.window_is_shared);
    assert_eq!(explained.window.map(|used| used.used), Some(2));
    // A restart is used up for the period of the limit.
    driver.advance(secs(2));
    assert_eq!(used(&mut driver, "a").as_deref(), Some("1 of 3 restarts in 5s, 2 failures in a row"));
}

#[test]
fn the_spec_of_a_child_and_of_a_member_is_in_the_snapshot() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").stop_within(secs(9)), group("g")]));
    driver.add_member("g", Some("x")).expect("room");
    driver.add_member("g", None).expect("room");
    let copy = {
        let mut copy = driver.machine.begin_copy(driver.now);
        assert!(driver.machine.go_on_copying(&mut copy, usize::MAX));
        copy.into_snapshot()
    };
    let template = leaf("x").spec;
    for node in copy.nodes().filter(|node| node.path.as_str().starts_with("/t/g/")) {
        assert_eq!(*node.spec, template, "{}", node.path);
    }
    assert_eq!(copy.get("/t/a").expect("there").spec.stop_within, secs(9));
}

#[test]
fn a_tree_keeps_its_last_commands_also_those_that_were_refused() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), leaf("b")]));
    driver.machine.set_origin(by("ci", "deploy"));
    driver.command("a", Command::Restart);
    driver.command("a", Command::Start);
    driver.add("", &leaf("c")).expect("a good spec");
    let commands: Vec<String> =
        driver.snapshot().commands.iter().map(|command| format!("{} {command}", command.path)).collect();
    let refused = "/t/a start (refused: the child is not down: it is running)";
    assert_eq!(commands, ["/t/a restart by ci: deploy", refused, "/t/c add"]);
    for _ in 0..100 {
        driver.command("b", Command::Restart);
    }
    assert_eq!(driver.snapshot().commands.len(), MAX_KEPT_COMMANDS);
    // The child remembers its own last command, and so does its explanation.
    let last = driver.view("a").history.expect("it had commands").command.expect("one was carried out");
    assert_eq!(last.to_string(), "restart by ci: deploy");
    assert_eq!(driver.explain("a").commands, [last]);
}

#[test]
fn who_and_why_are_in_the_events_until_the_command_has_taken_effect() {
    let mut driver = TestDriver::new(&sup("t", [leaf("a").reports(), leaf("b")]));
    driver.start();
    driver.obeys("a", Obeys::Test);
    driver.policy("a").ready = false;
    driver.events.clear();
    driver.machine.set_origin(by("ci", "deploy"));
    driver.command("a", Command::Restart);
    driver.fail("b");
    driver.exit("a", Exit::Stopped);
    driver.advance(SECOND);
    driver.ready("a");
    driver.fail("a");
    let of_a = ["a stopping", "a exited", "a waiting", "a starting", "a ready"];
    assert_eq!(driver.events_by("ci"), of_a);
}

#[test]
fn who_and_why_of_a_stop_of_the_tree_are_in_the_events_of_every_child() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), sup("s", [leaf("b")])]));
    driver.events.clear();
    driver.machine.set_origin(by("ada", "maintenance"));
    driver.input(Input::Stop);
    let events = driver.events_by("ada");
    for event in ["t stopping", "b exited", "b stopped", "s exited", "a exited", "t exited"] {
        assert!(events.contains(&event.to_owned()), "{event} is not in {events:?}");
    }
    let end = driver.machine.end_command().expect("a command began the end");
    assert_eq!(end.to_string(), "stop by ada: maintenance");
}

#[test]
fn a_command_without_an_actor_and_a_reason_gives_its_events_no_origin() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    driver.machine.set_origin(Some(Arc::default()));
    driver.command("a", Command::Restart);
    driver.command("a", Command::Stop);
    assert!(driver.events.iter().all(|event| event.origin.is_none()));
}

#[test]
fn an_origin_is_used_up_by_one_input_even_if_the_command_is_refused() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    driver.machine.set_origin(by("ci", "deploy"));
    driver.add("", &leaf("a")).expect_err("the name is taken");
    driver.command("a", Command::Stop);
    assert_eq!(driver.events_by("ci"), Vec::<String>::new());
}

#[test]
fn the_end_of_a_tree_has_a_command_only_if_a_command_began_it() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").limit(Limit::new(0, SECOND)), leaf("b")]));
    driver.obeys("b", Obeys::Test);
    driver.fail("a");
    driver.machine.set_origin(by("ada", "too late"));
    driver.input(Input::Stop);
    driver.exit("b", Exit::Stopped);
    assert!(driver.down.is_some() && driver.machine.end_command().is_none());
    let first = driver.machine.first_failure().expect("a failed");
    assert_eq!((first.path.as_str(), first.exit.text.as_str()), ("/t/a", "failed: boom"));
}

#[test]
fn the_first_failure_stays_the_first_and_a_stop_is_no_failure() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), leaf("b")]));
    driver.obeys("a", Obeys::Kill);
    driver.command("a", Command::Restart);
    driver.advance(secs(10));
    assert!(driver.events.iter().any(|event| matches!(event.kind, EventKind::Killed { .. })));
    assert!(driver.machine.first_failure().is_none(), "a kill by command is no failure of the child itself");
    driver.exit("b", Exit::Code(4));
    driver.fail("a");
    assert_eq!(driver.machine.first_failure().expect("b failed").path.as_str(), "/t/b");
}
