//! Title, tags, role and criticality of a child in a file; the name of each test is the rule.

use super::{read, read_text};
use crate::{ChildConfig, Form};
use liveoak_core::{Backoff, Criticality, GiveUp, Limit, Restart, Role, Source};
use std::path::Path;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

/// Reads a file with one child that has these keys, below these keys of the top level.
#[track_caller]
fn child(top: &str, keys: &str) -> ChildConfig {
    read(&format!("{top}\n[child.a]\n{keys}")).root.children.remove(0)
}

#[test]
fn a_child_has_a_title_tags_a_role_and_a_criticality() {
    let keys = "command = \"x\"\ntitle = \"Orders API\"\nrole = \"service\"\ncriticality = \"high\"\ntags = [\"edge\", \"eu\"]";
    let spec = child("", keys).spec;
    let description = spec.description.expect("it is described");
    assert_eq!(description.title.as_deref(), Some("Orders API"));
    assert_eq!(description.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["edge", "eu"]);
    assert_eq!((description.role, description.criticality), (Some(Role::Service), Some(Criticality::High)));
    assert_eq!(child("", "command = \"x\"").spec.description, None);
}

#[test]
fn an_own_key_comes_before_the_role_and_the_role_before_the_defaults() {
    let top =
        "[defaults]\nrestart = \"temporary\"\nbackoff = false\nlimit = { restarts = 1, period = \"1s\" }";
    let spec = child(top, "command = \"x\"\nrole = \"job\"\nbackoff = { constant = \"3s\" }").spec;
    assert_eq!((spec.restart, spec.backoff), (Restart::Transient, Some(Backoff::constant(3 * S))));
    assert_eq!(
        (spec.sources.restart, spec.sources.backoff, spec.sources.limit),
        (Source::Role, Source::Own, Source::Role)
    );
    assert_eq!(
        spec.limit,
        Some(Limit::new(5, 3600 * S).on_exceeded(GiveUp::QUARANTINE)),
        "by default of the file"
    );
}

#[test]
fn what_happens_at_the_limit_comes_from_the_first_that_says_it() {
    let quarantine = GiveUp::QUARANTINE;
    let trial = GiveUp::Quarantine { retry_after: Some(60 * S) };
    let limit = "limit = { restarts = 3, period = \"1m\"";
    let defaults = "[defaults]\nlimit = { restarts = 1, period = \"1s\", give_up = \"escalate\" }";
    for (top, keys, expected) in [
        ("", String::new(), quarantine),
        ("", format!("{limit} }}"), quarantine),
        ("", "criticality = \"critical\"".into(), GiveUp::Escalate),
        ("", format!("criticality = \"high\"\n{limit} }}"), GiveUp::Escalate),
        ("", format!("criticality = \"high\"\n{limit}, give_up = \"quarantine\" }}"), quarantine),
        ("", format!("criticality = \"high\"\nrole = \"sidecar\"\n{limit} }}"), trial),
        ("", "criticality = \"high\"\nrole = \"job\"".into(), GiveUp::Escalate),
        (defaults, String::new(), GiveUp::Escalate),
        (defaults, "criticality = \"low\"".into(), quarantine),
        (defaults, format!("{limit} }}"), quarantine),
    ] {
        let spec = child(top, &format!("command = \"x\"\n{keys}")).spec;
        assert_eq!(spec.limit.map(|limit| limit.give_up), Some(expected), "{top} {keys}");
    }
}

#[test]
fn a_criticality_gives_no_limit_to_a_child_whose_supervisor_has_an_intensity() {
    let top = "intensity = { restarts = 9, period = \"10m\" }";
    assert_eq!(child(top, "command = \"x\"\ncriticality = \"low\"").spec.limit, None);
    let limit = child(top, "command = \"x\"\nrole = \"job\"").spec.limit.expect("a limit by its role");
    assert_eq!((limit.restarts, limit.give_up), (5, GiveUp::QUARANTINE));
}

#[test]
fn the_role_presets_the_times_of_checks_that_do_not_set_them() {
    let check = "command = \"x\"\nrole = \"worker\"\nliveness = { command = \"y\"";
    let spec = child("", &format!("{check} }}")).spec;
    assert_eq!((spec.checks()[0].every, spec.checks()[0].failures), (30 * S, 3));
    let spec = child("", &format!("{check}, every = \"1s\", failures = 9 }}")).spec;
    assert_eq!((spec.checks()[0].every, spec.checks()[0].failures), (S, 9));
}

#[test]
fn a_supervisor_has_a_role_and_its_children_do_not_inherit_it() {
    let file = "[child.s]\nrole = \"supervisor\"\ntitle = \"Ingest\"\n[child.s.child.a]\ncommand = \"x\"";
    let config = read(file);
    let nested = &config.root.children[0];
    assert_eq!(nested.spec.limit.map(|limit| limit.restarts), Some(5));
    let Form::Supervisor(below) = &nested.form else { panic!("a supervisor") };
    assert_eq!(
        (below.children[0].spec.description.clone(), below.children[0].spec.sources.restart),
        (None, Source::BuiltIn)
    );
}

#[test]
fn wrong_titles_tags_roles_and_criticalities_are_errors_at_their_place() {
    for (keys, expected) in [
        ("title = \"\"", "child.a.title"),
        ("title = 1", "child.a.title"),
        ("title = \"a\\nb\"", "child.a.title"),
        ("tags = \"edge\"", "child.a.tags"),
        ("tags = [\"a b\"]", "child.a.tags"),
        ("tags = [\"a\", \"a\"]", "child.a.tags"),
        (
            "tags = [\"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\", \"10\", \"11\", \"12\", \"13\", \"14\", \"15\", \"16\", \"17\"]",
            "child.a.tags",
        ),
        ("role = \"boss\"", "child.a.role"),
        ("role = \"supervisor\"", "child.a.role"),
        ("criticality = \"urgent\"", "child.a.criticality"),
    ] {
        let text = format!("[child.a]\ncommand = \"x\"\n{keys}");
        let report = read_text(Path::new("/nowhere"), &text).expect_err(keys);
        let paths: Vec<&str> = report.diagnostics.iter().map(|found| &*found.path).collect();
        assert!(paths.len() == 1 && paths[0].starts_with(expected), "{keys}: {paths:?}");
    }
}
