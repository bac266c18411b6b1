//! The plan of a changed file: which step each child gets, in which order, and that the reasons say what differs.

use super::kinds::read_with_kinds;
use crate::{PlanAction, plan};
use std::collections::BTreeSet;

/// Returns the steps from one text to another, each as one line. What is kept is left out.
fn steps(old: &str, new: &str) -> Vec<String> {
    let steps = plan(&read_with_kinds(old), &read_with_kinds(new));
    steps.iter().filter(|step| step.step != PlanAction::Keep).map(ToString::to_string).collect()
}

/// Returns the steps for the only child of a file when its keys change.
fn of_child(old: &str, new: &str) -> Vec<String> {
    steps(&format!("name = \"t\"\n[child.a]\n{old}"), &format!("name = \"t\"\n[child.a]\n{new}"))
}

#[test]
fn a_change_of_the_stop_of_a_kind_is_seen_even_if_the_kind_decides_the_rest() {
    for (old, new) in [("unready_for = \"6s\"", "unready_for = \"8s\""), ("within = \"5s\"", "")] {
        let kind = |stop: &str| format!("kind = \"motor\"\nstop = {{ {stop} }}");
        let found = of_child(&kind(old), &kind(new));
        assert!(
            found[0].starts_with("change /t/a: ") && found[0].contains("its `stop` differs"),
            "{found:?}"
        );
    }
}

#[test]
fn the_same_file_keeps_everything_also_when_it_is_written_in_another_way() {
    let old = "name = \"t\"\n[child.a]\ncommand = \"x y\"\nreplicas = 2\n[child.b.child.c]\nkind = \"motor\"";
    let new = "name = \"t\"\nchild.a = { replicas = 2, command = [\"x\", \"y\"], restart = \"permanent\" }\n\
               [child.b.child]\nc = { kind = \"motor\", args = {} }";
    let steps = plan(&read_with_kinds(old), &read_with_kinds(new));
    let lines: Vec<String> = steps.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["/t", "/t/a.1", "/t/a.2", "/t/b", "/t/b/c"].map(|path| format!("keep {path}: nothing differs"))
    );
}

#[test]
fn what_a_body_is_made_of_needs_a_restart_and_no_reason_shows_a_value() {
    for (old, new, reason) in [
        ("command = \"x 1\"", "command = \"x 2\"", "its command differs"),
        ("command = \"x\"", "shell = \"x\"", "its command differs"),
        ("command = \"x\"", "command = \"x\"\ncwd = \"d\"", "its `cwd` differs"),
        (
            "command = \"x\"\nenv = { A = \"secret\", B = \"1\" }",
            "command = \"x\"\nenv = { A = \"other\", B = \"1\", C = \"2\" }",
            "variables differ: `A`, `C`",
        ),
        ("command = \"x\"", "command = \"x\"\nstdin = \"open\"", "its `stdin` differs"),
        ("command = \"x\"", "command = \"x\"\noutput = { merge = true }", "its `output` differs"),
        ("command = \"x\"", "command = \"x\"\nsuccess = [0, 3]", "its `success` differs"),
        ("command = \"x\"", "command = \"x\"\nstop = { signal = \"SIGINT\" }", "its stop signal differs"),
        ("command = \"x\"", "command = \"x\"\nstop = { ask = \"leader\" }", "its `ask` differs"),
        (
            "command = \"x\"\nliveness = { file = \"secret\" }",
            "command = \"x\"\nliveness = { file = \"other\" }",
            "what its checks ask differs",
        ),
        (
            "kind = \"camera\"\nargs = { device = \"secret\", fps = 1 }",
            "kind = \"camera\"\nargs = { device = \"other\", fps = 1, mode = \"video\" }",
            "its arguments differ: `device`, `mode`",
        ),
        (
            "kind = \"camera\"\nargs = { device = \"x\" }",
            "kind = \"motor\"",
            "it is of another kind: `camera`, now `motor`",
        ),
        ("command = \"x\"", "kind = \"motor\"", "it was a program, and is of the kind `motor` now"),
        ("kind = \"motor\"", "command = \"x\"", "it was of the kind `motor`, and is a program now"),
    ] {
        let found = of_child(old, new);
        assert_eq!(found, [format!("restart /t/a: {reason}")], "{old} -> {new}");
        assert!(!found[0].contains("secret") && !found[0].contains("other\""), "{found:?}");
    }
}

#[test]
fn rules_are_changed_in_place() {
    for (key, reason) in [
        ("restart = \"transient\"", "`restart` differs: permanent, now transient"),
        ("backoff = false", "`backoff` differs: 100ms to 30s, reset after 10s, now none"),
        (
            "limit = { restarts = 3, period = \"5s\", give_up = \"escalate\" }",
            "`limit` differs: 10 in 60s, then quarantine, now 3 in 5s, then escalate",
        ),
        ("stop = { within = \"1m\" }", "`stop_within` differs: 5s, now 60s"),
        ("stop = { within = \"infinity\" }", "`stop_within` differs: 5s, now no limit"),
        ("ready = { delay = \"1s\" }", "its `ready` differs, which counts from its next start"),
    ] {
        let found = of_child("command = \"x\"", &format!("command = \"x\"\n{key}"));
        assert_eq!(found, [format!("change /t/a: {reason}")]);
    }
    let both = of_child("command = \"x\"", "command = \"y\"\nrestart = \"temporary\"");
    assert_eq!(both, ["restart /t/a: its command differs; `restart` differs: permanent, now temporary"]);
    let rules = steps(
        "name = \"t\"\n[child.s.child.a]\ncommand = \"x\"",
        "name = \"t\"\nstop = { within = \"9s\" }\n[child.s]\nstrategy = \"one-for-all\"\norder = \"edges\"\n[child.s.child.a]\ncommand = \"x\"",
    );
    assert_eq!(
        rules,
        [
            "change /t: `stop_within` differs: 30s, now 9s",
            "change /t/s: `strategy` differs: one-for-one, now one-for-all; `order` differs: declared, now edges"
        ]
    );
}

#[test]
fn children_stop_in_the_reverse_of_their_order_before_others_start_in_order() {
    let child = |name: &str, after: &str| format!("[child.{name}]\ncommand = \"x\"\nafter = [{after}]\n");
    let text = |children: &[(&str, &str)]| {
        let children: Vec<String> = children.iter().map(|(name, after)| child(name, after)).collect();
        format!("name = \"t\"\n{}", children.concat())
    };
    let old = text(&[("web", "\"api\""), ("api", "\"db\""), ("db", ""), ("kept", "")]);
    let new = text(&[("kept", ""), ("site", "\"store\""), ("store", "")]);
    assert_eq!(
        steps(&old, &new),
        [
            "stop /t/web: it is no longer declared",
            "stop /t/api: it is no longer declared",
            "stop /t/db: it is no longer declared",
            "start /t/store: it is new",
            "start /t/site: it is new",
        ]
    );
}

#[test]
fn a_restart_touches_neither_what_depends_on_the_child_nor_its_siblings() {
    let text = |command: &str| {
        format!(
            "name = \"t\"\n[child.g]\nstrategy = \"one-for-all\"\n[child.g.child.db]\ncommand = \"{command}\"\n\
             [child.g.child.web]\ncommand = \"x\"\nafter = [\"db\"]\n[child.other]\ncommand = \"x\""
        )
    };
    assert_eq!(steps(&text("x"), &text("y")), ["restart /t/g/db: its command differs"]);
}

#[test]
fn a_further_replica_starts_alone_and_what_waits_for_the_set_is_changed() {
    let text = |replicas: u8| {
        format!(
            "name = \"t\"\n[child.db]\ncommand = \"x\"\nreplicas = {replicas}\n[child.web]\ncommand = \"x\"\nafter = [\"db\"]"
        )
    };
    let more = "`after` differs: db.1 ready, db.2 ready, now db.1 ready, db.2 ready, db.3 ready";
    assert_eq!(
        steps(&text(2), &text(3)),
        ["start /t/db.3: it is new".to_owned(), format!("change /t/web: {more}")]
    );
    assert_eq!(steps(&text(3), &text(2))[0], "stop /t/db.3: it is no longer declared");
}

#[test]
fn a_child_that_becomes_a_supervisor_restarts_and_stands_for_all_below_it() {
    let found = of_child("command = \"x\"", "[child.a.child.b]\ncommand = \"x\"");
    assert_eq!(found, ["restart /t/a: it was a child without children, and is a supervisor now"]);
}

#[test]
fn another_name_of_the_tree_is_another_tree() {
    let text = |name: &str| format!("name = \"{name}\"\n[child.a]\ncommand = \"x\"");
    assert_eq!(steps(&text("t"), &text("u")), ["restart /t: the name of the tree differs: `t`, now `u`"]);
}

#[test]
fn children_that_change_places_are_kept_and_their_supervisor_says_so() {
    let text = |first: &str, second: &str| {
        format!("name = \"t\"\n[child.{first}]\ncommand = \"x\"\n[child.{second}]\ncommand = \"x\"")
    };
    assert_eq!(
        steps(&text("a", "b"), &text("b", "a")),
        ["change /t: the order of its children differs: a, b, now b, a"]
    );
}

#[test]
fn every_child_of_both_files_has_exactly_one_step() {
    let texts = [
        "name = \"t\"\n[child.a]\ncommand = \"x\"\n[child.s.child.b]\ncommand = \"x\"\n[child.s.child.c]\nkind = \"motor\"",
        "name = \"t\"\n[child.s.child.b]\ncommand = \"y\"\n[child.s.child.d]\ncommand = \"x\"",
        "name = \"t\"\n[child.s]\ncommand = \"x\"\n[child.a.child.b]\ncommand = \"x\"",
        "name = \"t\"\n[child.e]\ncommand = \"x\"\nreplicas = 3",
    ];
    for old in texts {
        for new in texts {
            let (before, now) = (read_with_kinds(old), read_with_kinds(new));
            let steps = plan(&before, &now);
            let paths: Vec<&str> = steps.iter().map(|step| step.path.as_str()).collect();
            let distinct: BTreeSet<&str> = paths.iter().copied().collect();
            assert_eq!(paths.len(), distinct.len(), "{steps:?}");
            for config in [before.expanded(), now.expanded()] {
                for child in &config.root.children {
                    let path = format!("/t/{}", child.name);
                    assert!(distinct.contains(path.as_str()), "{path} has no step: {steps:?}");
                }
            }
            let unchanged = steps.iter().all(|step| step.step == PlanAction::Keep);
            assert_eq!(unchanged, old == new, "{steps:?}");
        }
    }
}
