//! `start` of children, and the modes of a file. The name of each test is the rule.

use super::kinds::read_with_kinds;
use super::{read, read_text};
use crate::bounds::{MAX_MODES, MAX_PATTERNS};
use crate::{Config, Form, plan};
use std::path::Path;

/// The children of most tests.
const ROBOT: &str = "name = \"robot\"\n[child.camera]\ncommand = \"x\"\nreplicas = 2\n\
                     [child.motors.child.left]\ncommand = \"x\"\n[child.motors.child.right]\ncommand = \"x\"\n";

fn errors(modes: &str) -> Vec<String> {
    let report = read_text(Path::new("/srv"), &format!("{ROBOT}{modes}")).expect_err("a wrong file");
    let errors = report.json()["errors"].as_array().expect("errors").clone();
    let text = |error: &serde_json::Value, key: &str| error[key].as_str().unwrap_or_default().to_owned();
    errors.iter().map(|error| ["path", "message", "help"].map(|key| text(error, key)).join(" | ")).collect()
}

fn robot(modes: &str) -> Config {
    read(&format!("{ROBOT}{modes}"))
}

#[test]
fn a_child_starts_by_itself_unless_the_file_says_that_it_is_manual() {
    for (key, manual) in [("", false), ("start = \"auto\"", false), ("start = \"manual\"", true)] {
        let config = read(&format!(
            "[child.a]\ncommand = \"x\"\n{key}\n[child.s]\n{key}\n[child.s.child.b]\ncommand = \"x\""
        ));
        let children = config.root.children.iter().map(|child| child.spec.manual);
        assert_eq!(children.collect::<Vec<_>>(), [manual; 2], "{key}");
    }
    let wrong = read_text(Path::new("/srv"), "[child.a]\ncommand = \"x\"\nstart = \"manaul\"");
    let text = wrong.expect_err("a wrong word").text(false);
    assert!(text.contains("did you mean \"manual\"?"), "{text}");
}

#[test]
fn a_file_decides_whether_a_child_of_a_kind_is_manual_only_if_it_says_so() {
    for (key, manual) in [("", None), ("start = \"auto\"", Some(false)), ("start = \"manual\"", Some(true))] {
        let config = read_with_kinds(&format!("[child.a]\nkind = \"motor\"\n{key}"));
        let Form::Kind(kind) = &config.root.children[0].form else { panic!("a kind") };
        assert_eq!(kind.manual, manual);
    }
}

#[test]
fn a_mode_names_children_replica_sets_and_all_children_of_a_supervisor() {
    let config = robot(
        "[mode.teleop]\nrun = [\"camera\", \"motors/*\"]\n[mode.one]\nrun = [\"camera.2\", \"/motors\"]\n[mode.none]\nrun = []",
    );
    let names: Vec<&str> = config.modes.iter().map(|mode| mode.name.as_str()).collect();
    assert_eq!(names, ["teleop", "one", "none"]);
    let run: Vec<&str> = config.modes[0].run.iter().map(|pattern| pattern.as_str()).collect();
    assert_eq!(run, ["camera", "motors/*"]);
    assert!(config.mode("one").is_ok());
    assert!(robot("").modes.is_empty());
}

#[test]
fn a_pattern_that_matches_no_child_is_an_error_with_the_one_that_was_probably_meant() {
    let modes = "[mode.a]\nrun = [\"camra\", \"motor/*\", \"motors/lefd\"]\n[mode.b]\nrun = [\"/robot/camera\", \"whatever\"]";
    assert_eq!(
        errors(modes),
        [
            "mode.a.run[0] | the pattern `camra` matches no child | did you mean \"camera\"?",
            "mode.a.run[1] | the pattern `motor/*` matches no child | did you mean \"motors/*\"?",
            "mode.a.run[2] | the pattern `motors/lefd` matches no child | did you mean \"motors/left\"?",
            "mode.b.run[0] | the pattern `/robot/camera` matches no child | a path in a mode begins below the tree; write \"camera\"",
            "mode.b.run[1] | the pattern `whatever` matches no child | ",
        ]
    );
}

#[test]
fn everything_else_that_is_wrong_with_a_mode_is_shown_at_its_place() {
    let modes = "[mode.a]\nrnu = []\n[mode.\"b.c\"]\nrun = [\"camera\"]\n[mode.d]\nrun = \"camera\"\n\
                 [mode.e]\nrun = [\"motors//left\", 3]";
    let found = errors(modes);
    for (at, expected) in [
        (0, "mode.a | mode `a` has no `run`"),
        (1, "mode.a.rnu | unknown key `rnu`"),
        (2, "mode.\"b.c\" | this cannot be a mode's name"),
        (3, "mode.d.run | `mode.d.run` must be an array of patterns"),
        (4, "mode.e.run[0] | this is not a pattern for paths"),
        (5, "mode.e.run[1] | `mode.e.run[1]` must be a string"),
    ] {
        assert!(found[at].starts_with(expected), "{}\n{found:#?}", found[at]);
    }
    assert_eq!(found.len(), 6, "{found:#?}");
}

#[test]
fn a_file_has_a_bounded_number_of_modes_and_of_patterns() {
    let modes = |count: usize| -> String {
        (0..count).map(|n| format!("[mode.m{n}]\nrun = [\"camera\"]\n")).collect()
    };
    assert_eq!(robot(&modes(MAX_MODES)).modes.len(), MAX_MODES);
    assert_eq!(errors(&modes(MAX_MODES + 1)), ["mode.m100 | this file declares too many modes | "]);
    let patterns = |count: usize| format!("[mode.m]\nrun = [{}]", "\"camera\", ".repeat(count));
    assert_eq!(robot(&patterns(MAX_PATTERNS)).modes[0].run.len(), MAX_PATTERNS);
    let found = errors(&patterns(MAX_PATTERNS + 1));
    assert_eq!(found, ["mode.m.run[1000] | the modes of this file have too many patterns | "]);
}

#[test]
fn an_unknown_mode_is_refused_with_the_one_that_was_probably_meant() {
    let config = robot("[mode.teleop]\nrun = [\"camera\"]\n[mode.mapping]\nrun = [\"camera\"]");
    let text = config.mode("telop").expect_err("unknown").text(false);
    assert!(text.contains("liveoak.toml has no mode `telop`"), "{text}");
    assert!(text.contains("one of `teleop`, `mapping`") && text.contains("did you mean `teleop`?"), "{text}");
    let text = robot("").mode("teleop").expect_err("unknown").text(false);
    assert!(text.contains("declare it, as in: [mode.NAME]"), "{text}");
}

#[test]
fn the_plan_of_a_changed_file_says_that_the_modes_or_the_start_of_a_child_differ() {
    let lines = |old: &Config, new: &Config| -> Vec<String> {
        let steps = plan(old, new);
        steps.iter().map(ToString::to_string).filter(|step| !step.starts_with("keep")).collect()
    };
    let (old, new) = (robot(""), robot("[mode.a]\nrun = [\"camera\"]"));
    assert_eq!(lines(&old, &new), ["change /robot: the modes differ"]);
    assert!(lines(&new, &new).is_empty());
    let child = |key: &str| read(&format!("name = \"t\"\n[child.a]\ncommand = \"x\"\n{key}"));
    let expected = "change /t/a: `manual` differs: false, now true";
    assert_eq!(lines(&child(""), &child("start = \"manual\"")), [expected]);
    let kind = |key: &str| read_with_kinds(&format!("name = \"t\"\n[child.a]\nkind = \"motor\"\n{key}"));
    assert_eq!(lines(&kind(""), &kind("start = \"auto\"")), ["change /t/a: its `start` differs"]);
}
