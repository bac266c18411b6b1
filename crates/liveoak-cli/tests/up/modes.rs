//! Manual children, and `--mode`.

use crate::support::{Stream, TestDir};

const ROBOT: &str = "[child.bus]\nshell = \"echo up; exec sleep 1000\"\n\
    [child.camera]\nshell = \"echo up; exec sleep 1000\"\nafter = [\"bus\"]\n\
    [child.mapper]\nshell = \"echo up; exec sleep 1000\"\n\
    [child.tool]\nshell = \"echo up; exec sleep 1000\"\nstart = \"manual\"\n\
    [mode.teleop]\nrun = [\"camera\"]\n[mode.service]\nrun = [\"tool\"]\n";

#[test]
fn without_a_mode_every_child_starts_that_is_not_manual() {
    let dir = TestDir::of(ROBOT);
    let up = dir.up(&[]);
    up.is_ready();
    for child in ["bus", "camera", "mapper"] {
        up.line(&format!("/t/{child}"), 0);
    }
    let ended = up.stop().with_code(0);
    assert!(!ended.log().contains("/t/tool: starting"), "{}", ended.log());
}

#[test]
fn with_a_mode_only_its_children_start_with_what_they_come_after() {
    for (mode, runs, not) in [("teleop", &["bus", "camera"][..], "mapper"), ("service", &["tool"], "bus")] {
        let dir = TestDir::of(ROBOT);
        let up = dir.up(&["--mode", mode]);
        up.is_ready();
        runs.iter().for_each(|child| drop(up.line(&format!("/t/{child}"), 0)));
        assert!(!up.so_far(Stream::Stderr).join("\n").contains(&format!("/t/{not}: starting")));
        up.stop().with_code(0);
    }
}

#[test]
fn an_unknown_mode_is_an_error_of_usage_that_shows_the_similar_one_and_nothing_starts() {
    let dir = TestDir::of(ROBOT);
    let ended = dir.run(&["--mode", "telop"]).with_code(2);
    ended.has_in_order(&["has no mode `telop`", "did you mean `teleop`?", "nothing was started"]);
    let ended = dir.run(&["--mode", "telop", "--log-format", "json"]).with_code(2);
    assert!(ended.log().contains("\"event\":\"config\""), "{}", ended.log());
    let ended = TestDir::of("[child.a]\ncommand = \"true\"\n").run(&["--mode", "teleop"]).with_code(2);
    ended.has_in_order(&["has no mode `teleop`", "declare it, as in: [mode.NAME]"]);
}

#[test]
fn a_tree_of_which_only_manual_children_are_left_ends() {
    let dir = TestDir::of(
        "[child.job]\ncommand = \"true\"\nrestart = \"transient\"\n[child.tool]\ncommand = \"sleep 1000\"\nstart = \"manual\"\n",
    );
    dir.run(&[]).with_code(0).has_in_order(&["/t has ended"]);
}

#[test]
fn a_mode_may_name_a_replica_set() {
    let dir = TestDir::of(
        "[child.pool]\nshell = \"echo up; exec sleep 1000\"\nreplicas = 2\n\
         [child.other]\ncommand = \"sleep 1000\"\n[mode.day]\nrun = [\"pool\"]\n",
    );
    let up = dir.up(&["--mode", "day"]);
    up.is_ready();
    ["/t/pool.1", "/t/pool.2"].iter().for_each(|child| drop(up.line(child, 0)));
    assert!(!up.stop().with_code(0).log().contains("/t/other: starting"));
}

#[test]
fn replicas_start_side_by_side() {
    // Each becomes ready only when the other has begun.
    let dir = TestDir::of(
        "[child.pool]\nshell = 'echo up; echo > {replica}; exec sleep 1000'\nreplicas = 2\n\
         ready = { command = [\"sh\", \"-c\", \"test -e 1 && test -e 2\"], every = \"20ms\", within = \"50s\" }\n",
    );
    let up = dir.up(&[]);
    up.is_ready();
    up.stop().with_code(0);
}
