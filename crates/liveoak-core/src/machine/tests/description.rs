//! What a child is (title, tags, role, criticality), and where its settings come from.

use super::shape::{SECOND, group, leaf, secs, sup};
use super::test_driver::TestDriver;
use crate::{
    Backoff, CheckKind, CheckSpec, ChildDeclaration, ChildForm, ChildSpec, Command, Criticality, Defaults,
    Exit, GiveUp, Limit, Machine, Name, Ready, Restart, Role, Severity, Source,
};
use std::sync::Arc;
use std::time::Duration;

/// Returns a child with the built-in defaults.
fn plain(name: &str) -> ChildDeclaration {
    leaf(name).with(|spec| *spec = ChildSpec::default())
}

fn nested(name: &str, children: impl IntoIterator<Item = ChildDeclaration>) -> ChildDeclaration {
    sup(name, children).with(|spec| *spec = ChildSpec::of_supervisor())
}

fn with_defaults(mut tree: ChildDeclaration, defaults: Defaults) -> ChildDeclaration {
    let ChildForm::Supervisor(spec) = &mut tree.form else { panic!("a supervisor") };
    spec.defaults = Some(Arc::new(defaults));
    tree
}

fn with_role(child: ChildDeclaration, role: Role) -> ChildDeclaration {
    child.with(|spec| spec.describe().role = Some(role))
}

fn with_criticality(child: ChildDeclaration, criticality: Criticality) -> ChildDeclaration {
    child.with(|spec| spec.describe().criticality = Some(criticality))
}

/// Returns the spec of a child as the machine has it.
fn spec_of(driver: &mut TestDriver, path: &str) -> ChildSpec {
    (*driver.view(path).spec).clone()
}

/// Returns the spec of the only child of a tree with these defaults.
#[track_caller]
fn resolved(child: ChildDeclaration, defaults: Defaults) -> ChildSpec {
    let mut driver = TestDriver::new(&with_defaults(nested("t", [child]), defaults));
    spec_of(&mut driver, "a")
}

/// Returns all problems of a tree with this child, as text.
#[track_caller]
fn refused(child: ChildDeclaration) -> String {
    Machine::new(&nested("t", [child])).expect_err("a wrong spec").to_string()
}

const WARM: Backoff = Backoff::constant(Duration::from_secs(7));

fn all_defaults() -> Defaults {
    Defaults::new()
        .restart(Restart::Temporary)
        .backoff(WARM)
        .limit(Limit::new(1, SECOND).on_exceeded(GiveUp::QUARANTINE))
        .start_within(secs(40))
        .stop_within(secs(50))
        .kill_wait(secs(60))
}

#[test]
fn each_role_presets_restart_backoff_limit_and_the_times_of_checks() {
    use Restart::{Permanent, Transient};
    let trial = GiveUp::Quarantine { retry_after: Some(secs(60)) };
    let table = [
        (Role::Service, Permanent, (100, 30), Limit::new(10, secs(60)), (10, 3)),
        (Role::Worker, Permanent, (500, 60), Limit::new(10, secs(300)), (30, 3)),
        (Role::Job, Transient, (1000, 300), Limit::new(5, secs(3600)), (30, 3)),
        (Role::Sidecar, Permanent, (500, 30), Limit::new(10, secs(60)).on_exceeded(trial), (10, 5)),
        (Role::Supervisor, Permanent, (500, 60), Limit::new(5, secs(300)), (10, 3)),
    ];
    assert_eq!(table.map(|row| row.0), *Role::ALL, "every role has a row");
    for (role, restart, (from, to), limit, (every, failures)) in table {
        let child = if role == Role::Supervisor { nested("a", [plain("b")]) } else { plain("a") };
        let checks = [CheckKind::Readiness, CheckKind::Liveness, CheckKind::Startup]
            .map(|kind| CheckSpec::new(Name::new(kind.as_str()).expect("a name"), kind));
        let child = child.with(|spec| {
            spec.checks = (role != Role::Supervisor).then(|| Arc::from(checks.to_vec()));
        });
        let spec = resolved(with_role(child, role), all_defaults());
        let backoff = Backoff { from: Duration::from_millis(from), to: secs(to), ..Backoff::default() };
        assert_eq!((spec.restart, spec.backoff, spec.limit), (restart, Some(backoff), Some(limit)), "{role}");
        let sources = spec.sources;
        assert_eq!([sources.restart, sources.backoff, sources.limit], [Source::Role; 3], "{role}");
        for check in spec.checks() {
            let expected = match check.kind {
                CheckKind::Startup => (CheckSpec::DEFAULT_EVERY, u32::MAX),
                CheckKind::Readiness | CheckKind::Liveness => (secs(every), failures),
            };
            assert_eq!((check.every, check.failures), expected, "{role} {:?}", check.kind);
        }
    }
}

#[test]
fn a_child_s_own_settings_override_those_of_its_role_and_of_the_defaults() {
    let mut check = CheckSpec::new(Name::new("http").expect("a name"), CheckKind::Liveness);
    check.set_every(secs(2));
    check.set_failures(1);
    let limit = Limit::new(2, secs(3)).on_exceeded(GiveUp::Escalate);
    let own = plain("a").with(|spec| {
        spec.ready = Ready::Reported;
        spec.set_restart(Restart::Transient);
        spec.set_backoff(None);
        spec.set_limit(limit);
        spec.set_start_within(secs(1));
        spec.set_stop_within(secs(2));
        spec.set_kill_wait(secs(3));
        spec.add_check(check);
    });
    let own = with_criticality(with_role(own, Role::Sidecar), Criticality::Low);
    let spec = resolved(own, all_defaults());
    assert_eq!((spec.restart, spec.backoff, spec.limit), (Restart::Transient, None, Some(limit)));
    assert_eq!((spec.start_within, spec.stop_within, spec.kill_wait), (secs(1), secs(2), secs(3)));
    assert_eq!((spec.checks()[0].every, spec.checks()[0].failures), (secs(2), 1));
}

#[test]
fn every_setting_of_the_defaults_reaches_a_child_that_does_not_set_it_itself() {
    let spec = resolved(plain("a"), all_defaults());
    let limit = Limit::new(1, SECOND).on_exceeded(GiveUp::QUARANTINE);
    assert_eq!((spec.restart, spec.backoff, spec.limit), (Restart::Temporary, Some(WARM), Some(limit)));
    assert_eq!((spec.start_within, spec.stop_within, spec.kill_wait), (secs(40), secs(50), secs(60)));
}

#[test]
fn deadlines_of_defaults_reach_leaves_and_members_but_not_supervisors() {
    let tree = nested(
        "t",
        [nested("s", [plain("a")]), group("g").members(|group| group.template = ChildSpec::default())],
    );
    let deadlines = Defaults::new().start_within(secs(40)).stop_within(secs(50)).kill_wait(secs(60));
    let mut driver = TestDriver::started(&with_defaults(tree, deadlines));
    driver.add_member("g", Some("m")).expect("room");
    let of = |spec: ChildSpec| (spec.start_within, spec.stop_within, spec.kill_wait);
    for path in ["s/a", "g/m"] {
        assert_eq!(of(spec_of(&mut driver, path)), (secs(40), secs(50), secs(60)), "{path}");
    }
    assert_eq!(of(spec_of(&mut driver, "s")), of(ChildSpec::of_supervisor()));
}

#[test]
fn the_nearest_defaults_count_and_those_above_fill_what_they_do_not_set() {
    let inner = with_defaults(nested("s", [plain("a")]), Defaults::new().restart(Restart::Transient));
    let mut driver = TestDriver::new(&with_defaults(nested("t", [inner]), all_defaults()));
    let spec = spec_of(&mut driver, "s/a");
    assert_eq!((spec.restart, spec.backoff), (Restart::Transient, Some(WARM)));
    assert_eq!(
        spec_of(&mut driver, "s").restart,
        Restart::Temporary,
        "a supervisor is a child of the one above"
    );
}

#[test]
fn a_child_that_is_added_to_a_running_tree_inherits_as_a_declared_one_does() {
    let inner = with_defaults(nested("s", [plain("x")]), Defaults::new().backoff(None));
    let mut driver = TestDriver::started(&with_defaults(
        nested("t", [inner]),
        Defaults::new().restart(Restart::Transient),
    ));
    driver.add("s", &plain("a")).expect("it is added");
    driver.add("s", &nested("n", [with_role(plain("job"), Role::Job)])).expect("it is added");
    let spec = spec_of(&mut driver, "s/a");
    assert_eq!((spec.restart, spec.backoff), (Restart::Transient, None));
    let job = Role::Job.preset();
    assert_eq!(spec_of(&mut driver, "s/n/job").backoff, Some(job.backoff));
}

#[test]
fn what_happens_at_the_limit_comes_from_the_child_then_its_role_then_its_criticality_then_the_defaults() {
    let trial = GiveUp::Quarantine { retry_after: Some(secs(60)) };
    let inherits = |give_up| Defaults::new().limit(Limit::new(1, SECOND).on_exceeded(give_up));
    let give_up = |spec: ChildSpec| spec.limit.map(|limit| (limit.give_up, limit.give_up_source));
    let bare = || plain("a").with(|spec| spec.set_limit(Limit::new(4, SECOND)));
    let own = || plain("a").with(|spec| spec.set_limit(Limit::new(4, SECOND).on_exceeded(GiveUp::Escalate)));
    let low = |child| with_criticality(child, Criticality::Low);
    let sidecar = |child| with_role(child, Role::Sidecar);
    let table = [
        (low(sidecar(own())), Defaults::new(), Some((GiveUp::Escalate, Source::Own))),
        (low(sidecar(bare())), Defaults::new(), Some((trial, Source::Role))),
        (low(with_role(bare(), Role::Job)), Defaults::new(), Some((GiveUp::QUARANTINE, Source::Criticality))),
        (low(bare()), inherits(GiveUp::Escalate), Some((GiveUp::QUARANTINE, Source::Criticality))),
        (low(plain("a")), inherits(GiveUp::Escalate), Some((GiveUp::QUARANTINE, Source::Criticality))),
        (low(plain("a")), Defaults::new(), Some((GiveUp::QUARANTINE, Source::Criticality))),
        (plain("a"), inherits(GiveUp::QUARANTINE), Some((GiveUp::QUARANTINE, Source::Defaults))),
        (bare(), inherits(GiveUp::QUARANTINE), Some((GiveUp::Escalate, Source::BuiltIn))),
        (plain("a"), Defaults::new(), None),
    ];
    for (nth, (child, defaults, expected)) in table.into_iter().enumerate() {
        assert_eq!(give_up(resolved(child, defaults)), expected, "row {nth}");
    }
}

#[test]
fn each_criticality_has_a_default_for_what_happens_at_the_limit_and_a_missing_one_decides_nothing() {
    let quarantined = [(None, false), (Some(Criticality::Low), true), (Some(Criticality::Normal), true)];
    let escalates = [(Some(Criticality::High), false), (Some(Criticality::Critical), false)];
    for (criticality, quarantines) in quarantined.into_iter().chain(escalates) {
        let child = plain("a").with(|spec| {
            spec.backoff = None;
            spec.describe().criticality = criticality;
        });
        let mut driver = TestDriver::started(&nested("t", [child, plain("b")]));
        (0..11).for_each(|_| driver.fail("a"));
        assert_eq!(driver.down.is_none(), quarantines, "{criticality:?}");
    }
}

#[test]
fn under_an_intensity_a_criticality_gives_a_child_no_limit_of_its_own() {
    let tree = nested("t", [with_criticality(plain("a"), Criticality::Low)]).intensity(0, SECOND);
    let mut driver = TestDriver::started(&tree);
    assert_eq!(spec_of(&mut driver, "a").limit, None);
}

#[test]
fn the_severity_of_an_event_follows_the_criticality_of_its_child() {
    use Severity::{Error, Info, Warn};
    let table = [
        (None, [Warn, Info, Error, Info]),
        (Some(Criticality::Low), [Info, Info, Warn, Info]),
        (Some(Criticality::Normal), [Warn, Info, Error, Info]),
        (Some(Criticality::High), [Error, Info, Error, Info]),
        (Some(Criticality::Critical), [Error, Warn, Error, Warn]),
    ];
    for (criticality, expected) in table {
        let limit = Limit::new(1, secs(60)).on_exceeded(GiveUp::QUARANTINE);
        let child = plain("a").with(|spec| {
            spec.set_limit(limit);
            spec.describe().criticality = criticality;
        });
        let other = plain("b").with(|spec| spec.describe().criticality = criticality);
        let mut driver = TestDriver::started(&nested("t", [child, other]));
        driver.fail("a");
        driver.advance(secs(1));
        driver.fail("a");
        driver.ask("b", Command::Stop).expect("it stops");
        let severity = |path: &str, word: &str| {
            let path = format!("/t/{path}");
            let mut events = driver.events.iter();
            events
                .find(|event| event.path.as_str() == path && event.kind.name() == word)
                .expect("an event")
                .severity
        };
        let found = [("a", "exited"), ("a", "backing-off"), ("a", "quarantined"), ("b", "stopped")]
            .map(|(path, word)| severity(path, word));
        assert_eq!(found, expected, "{criticality:?}");
    }
}

#[test]
fn the_start_and_the_end_of_the_root_are_information_and_steps_of_members_are_details() {
    let mut driver = TestDriver::new(&nested("t", [plain("a"), group("g")]));
    driver.start();
    driver.add_member("g", Some("m")).expect("room");
    driver.stop();
    let lines = |least: Severity| -> Vec<String> {
        let events = driver.events.iter().filter(|event| event.severity >= least);
        events.map(|event| format!("{} {}", event.path, event.kind.name())).collect()
    };
    let expected =
        ["/t starting", "/t/a ready", "/t/g ready", "/t ready", "/t/g stopped", "/t/a stopped", "/t exited"];
    assert_eq!(lines(Severity::Info), expected);
    assert!(lines(Severity::Debug).contains(&"/t/g/m ready".to_owned()));
}

#[test]
fn events_and_views_carry_the_description() {
    let child = plain("a").with(|spec| {
        let description = spec.describe();
        description.title = Some("Orders API".into());
        description.tags = vec!["edge".into(), "eu".into()];
    });
    let mut driver = TestDriver::started(&nested("t", [with_role(child, Role::Service)]));
    let view = driver.view("a");
    assert_eq!(
        (view.title(), view.role(), view.criticality()),
        (Some("Orders API"), Some(Role::Service), None)
    );
    assert_eq!(view.tags().iter().map(|tag| &**tag).collect::<Vec<_>>(), ["edge", "eu"]);
    driver.fail("a");
    let event = driver.events.last().expect("an event");
    let title = event.description.as_ref().and_then(|description| description.title.as_deref());
    assert_eq!(title, Some("Orders API"));
}

#[test]
fn an_explanation_names_the_title_the_description_and_the_source_of_each_setting() {
    let child = plain("a").with(|spec| {
        spec.set_stop_within(secs(9));
        let description = spec.describe();
        description.title = Some("Orders API".into());
        description.tags = vec!["edge".into()];
        description.criticality = Some(Criticality::Low);
    });
    let defaults = Defaults::new().start_within(secs(40));
    let tree = with_defaults(nested("t", [with_role(child, Role::Job)]), defaults);
    let text = TestDriver::started(&tree).explain("a").to_string();
    assert!(text.starts_with("/t/a (Orders API) is running"), "{text}");
    for line in [
        "  what      role job, criticality low, tags edge\n",
        "  from      role: restart, backoff, limit; criticality: give-up; defaults: start deadline; own: stop deadline\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let text = TestDriver::started(&nested("t", [plain("a")])).explain("a").to_string();
    assert!(!text.contains("what") && !text.contains("from  "), "{text}");
}

#[test]
fn titles_and_tags_are_checked_and_bounded() {
    let titled = |title: &str| plain("a").with(|spec| spec.describe().title = Some(title.into()));
    let tagged = |tags: &[&str]| {
        plain("a").with(|spec| spec.describe().tags = tags.iter().map(|tag| Arc::from(*tag)).collect())
    };
    let long = "x".repeat(129);
    let many: Vec<String> = (0..17).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (child, expected) in [
        (titled(" "), "/t/a: title: the title is empty"),
        (titled(&long), "/t/a: title: the title has 129 bytes; expected one line of 1 to 128 bytes"),
        (titled("a\nb"), "/t/a: title: the title has a control character or a line end"),
        (titled("a\u{1b}[31m"), "/t/a: title: the title has a control character"),
        (tagged(&[""]), "/t/a: tags: a tag is empty"),
        (tagged(&[&long[..65]]), "/t/a: tags: a tag has 65 bytes"),
        (tagged(&["a b"]), "/t/a: tags: the tag \"a b\" contains ' '"),
        (tagged(&["a,b"]), "/t/a: tags: the tag \"a,b\" contains ','"),
        (tagged(&["a", "b", "a"]), "/t/a: tags: the tag \"a\" stands there twice"),
        (tagged(&many), "/t/a: tags: 17 tags are too many; expected at most 16"),
    ] {
        let found = refused(child);
        assert!(found.starts_with(expected), "{found}");
    }
    for child in [
        titled(&long[..128]),
        titled("Bestellungen – Süd"),
        tagged(&many[..16]),
        tagged(&["team:mail", "env=prod"]),
    ] {
        Machine::new(&nested("t", [child])).expect("a good spec");
    }
}

#[test]
fn a_role_that_has_no_effect_is_refused_where_it_is_written() {
    let found = refused(with_role(plain("a"), Role::Supervisor));
    assert!(found.starts_with("/t/a: role: only a child with children is a supervisor"), "{found}");
    let members = group("a").members(|group| group.template.describe().role = Some(Role::Supervisor));
    assert!(refused(members).starts_with("/t/a: role: only a child with children"));
    let root = with_role(nested("t", [plain("a")]), Role::Supervisor);
    let found = Machine::new(&root).expect_err("the root").to_string();
    assert!(found.starts_with("/t: role: a role presets how a child is restarted"), "{found}");
}

#[test]
fn wrong_defaults_are_refused_at_the_supervisor_that_has_them() {
    let zero = Duration::ZERO;
    let wrong = Backoff { from: secs(2), to: SECOND, ..Backoff::default() };
    let trial = GiveUp::Quarantine { retry_after: Some(zero) };
    for (defaults, field) in [
        (Defaults::new().start_within(zero), "defaults.start_within"),
        (Defaults::new().kill_wait(zero), "defaults.kill_wait"),
        (Defaults::new().backoff(Backoff::constant(zero)), "defaults.backoff.from"),
        (Defaults::new().backoff(wrong), "defaults.backoff.to"),
        (Defaults::new().limit(Limit::new(1, zero)), "defaults.limit"),
        (Defaults::new().limit(Limit::new(70_000, SECOND)), "defaults.limit"),
        (Defaults::new().limit(Limit::new(1, SECOND).on_exceeded(trial)), "defaults.limit.retry_after"),
    ] {
        let found =
            Machine::new(&with_defaults(nested("t", [plain("a")]), defaults)).expect_err("wrong").to_string();
        assert!(found.starts_with(&format!("/t: {field}: ")), "{found}");
    }
}

#[test]
fn a_second_resolution_changes_nothing() {
    let child = with_criticality(with_role(plain("a"), Role::Sidecar), Criticality::High);
    let tree = with_defaults(nested("t", [child, plain("b")]), all_defaults());
    let once = tree.resolved().into_owned();
    assert_ne!(once, tree);
    assert_eq!(*once.resolved(), once);
}

#[test]
fn a_role_for_which_a_limit_is_exceeded_is_quarantined_and_tried_again() {
    let mut driver = TestDriver::started(&nested("t", [with_role(plain("a"), Role::Sidecar), plain("b")]));
    for _ in 0..11 {
        while driver.state("a") != "running" {
            driver.advance(SECOND);
        }
        driver.exit("a", Exit::failed("down"));
    }
    assert_eq!(driver.state("a"), "quarantined");
    driver.advance(secs(60));
    assert_eq!(driver.state("a"), "running");
}
