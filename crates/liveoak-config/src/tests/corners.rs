//! Values at the edge of what is accepted, and errors that are reported once.

use super::kinds::read_with_kinds;
use super::{errors, read, read_text};
use crate::{Form, load};
use liveoak_core::PlanAction;
use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

fn child(keys: &str) -> Vec<String> {
    errors(&format!("[child.a]\ncommand = \"x\"\n{keys}"))
}

#[test]
fn values_at_a_bound_are_accepted_or_refused_as_the_pages_say() {
    assert_eq!(
        child("ready = { delay = \"5s\", within = \"5s\" }"),
        ["this delay does not end before the deadline of the start"]
    );
    assert_eq!(child("ready = { delay = \"4999ms\", within = \"5s\" }"), [""; 0]);
    assert_eq!(child("ready = { tcp = \"\" }"), ["`child.a.ready.tcp` is empty"]);
    let named = |length: usize| errors(&format!("[child.{}]\ncommand = \"x\"", "n".repeat(length)));
    assert_eq!((named(64).len(), named(65).len()), (0, 1));
    assert_eq!(
        child("restart = \"temporary\"\nbackoff = false"),
        ["`backoff` has no effect on a temporary child"]
    );
    assert_eq!(
        child("backoff = { from = \"1m\", to = \"soon\" }"),
        ["`child.a.backoff.to` is not a duration"],
        "a wrong value is not compared"
    );
    let twice = "[child.a]\ncommand = \"x\"\nafter = [\"b\", \"b\"]\n[child.b]\ncommand = \"x\"";
    assert_eq!(errors(twice), ["`b` is named twice in one `after`"]);
}

#[test]
fn advice_is_given_only_where_it_can_be_followed() {
    let advice = |text: &str| {
        let report = read_text(Path::new("/nowhere"), text).expect_err(text);
        report.diagnostics[0].help.clone().unwrap_or_default()
    };
    let of = |keys: &str| advice(&format!("[child.a]\n{keys}"));
    assert!(of("command = \"a | b\"").contains("write shell = "));
    assert!(
        of("command = \"x\"\nready = { command = \"a | b\" }").contains("write [\"sh\", \"-c\", \"...\"]")
    );
    assert!(of("command = \"x\"\ncwd = 10").contains("in double quotes: \"10\""));
    assert!(!of("command = \"x\"\ncwd = 0x10").contains("in double quotes"));
    assert!(advice("[[child.a]]\ncommand = \"x\"").contains("single brackets"));
    assert!(!advice("child.a = [{ command = \"x\" }]").contains("single brackets"));
}

#[test]
fn a_child_beside_an_intensity_has_no_limit_of_its_own() {
    let limit = |intensity: &str| {
        read(&format!("{intensity}\n[child.a]\ncommand = \"x\"")).root.children[0].spec.limit
    };
    assert!(limit("").is_some());
    assert_eq!(limit("intensity = { restarts = 3, period = \"1m\" }"), None);
}

#[test]
fn an_env_file_that_several_children_name_is_read_once() {
    let text = "[child.a]\ncommand = \"x\"\nenv_file = \"e\"\n[child.b]\ncommand = \"x\"\nenv_file = \"e\"";
    let reads = Cell::new(0);
    let open = |_: &Path| {
        reads.set(reads.get() + 1);
        Ok("A=1".to_owned())
    };
    assert!(load::read(Path::new("f"), Path::new("/srv"), text, &open, None).is_ok());
    assert_eq!(reads.get(), 1);
    for problem in [
        || crate::source::Unreadable::Silent(Duration::from_secs(30)),
        || crate::source::Unreadable::ReadBefore("x".to_owned()),
    ] {
        let open = |_: &Path| Err(problem());
        let report =
            load::read(Path::new("f"), Path::new("/srv"), text, &open, None).expect_err("unreadable");
        assert_eq!(report.diagnostics.len(), 1, "the second child gets no second error");
    }
}

#[test]
fn an_env_file_cannot_set_the_variables_that_identify_a_program() {
    let text = "[child.a]\ncommand = \"x\"\nenv_file = \"e\"";
    let open = |_: &Path| Ok("LIVEOAK_PATH=1".to_owned());
    let report = load::read(Path::new("f"), Path::new("/srv"), text, &open, None).expect_err("refused");
    assert!(report.diagnostics[0].message.contains("sets `LIVEOAK_PATH`, which liveoak itself sets"));
}

#[test]
fn an_env_file_that_is_a_folder_is_named_as_one() {
    let folder = std::env::temp_dir();
    let text = format!("[child.a]\ncommand = \"x\"\nenv_file = \"{}\"", folder.display());
    let report = read_text(&folder, &text).expect_err("a folder");
    assert_eq!(report.diagnostics[0].label, "it is a directory");
}

#[test]
fn the_stop_of_a_kind_reaches_its_spec_and_the_plan() {
    let text = "name = \"t\"\n[child.a]\nkind = \"motor\"\nstop = { within = \"7s\", unready_for = \"2s\" }";
    let config = read_with_kinds(text);
    let spec = &config.root.children[0].spec;
    let times = (Duration::from_secs(7), Duration::from_secs(2));
    assert_eq!((spec.stop_within, spec.unready_for), times);
    let Form::Kind(kind) = &config.root.children[0].form else { panic!("a kind") };
    assert_eq!((kind.stop_within, kind.unready_for), (Some(times.0), Some(times.1)));
}

#[test]
fn a_single_program_that_becomes_a_replica_set_is_other_children() {
    let text = |replicas: u8| format!("name = \"t\"\n[child.a]\ncommand = \"x\"\nreplicas = {replicas}");
    let steps = crate::plan(&read(&text(1)), &read(&text(2)));
    let found: Vec<_> =
        steps.iter().filter(|step| step.step != PlanAction::Keep).map(ToString::to_string).collect();
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn a_program_that_gets_the_number_of_another_replica_is_started_again() {
    let old = read("name = \"t\"\n[child.a]\ncommand = \"x\"\nreplicas = 2").expanded();
    let mut new = old.clone();
    let Form::Program(second) = &mut new.root.children[1].form else { panic!("a program") };
    assert_eq!(std::mem::replace(&mut second.replica, 3), 2);
    let steps = crate::plan(&old, &new);
    let found: Vec<_> =
        steps.iter().filter(|step| step.step != PlanAction::Keep).map(ToString::to_string).collect();
    assert_eq!(found, ["restart /t/a.2: the number of the replica differs"]);
}

#[test]
fn wrong_arguments_of_a_kind_are_one_error_for_all_replicas() {
    let text = "[child.a]\nkind = \"camera\"\nreplicas = 3\nargs = { device = \"v{replica}\", fps = \"x\" }";
    assert_eq!(super::kinds::errors(text).len(), 1);
}
