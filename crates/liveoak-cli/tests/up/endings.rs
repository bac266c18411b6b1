//! The exit codes: 0 for a clean end, 1 for a failed tree, 2 for wrong usage or config, 3 for a forced stop.

use std::process::Stdio;

use rustix::process::Signal;

use crate::support::{TestDir, Up};

const STUBBORN: &str = "shell = \"trap '' TERM INT; echo up; while :; do sleep 0.1; done\"\n";

#[test]
fn each_stop_signal_ends_the_tree_cleanly() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT"), (Signal::HUP, "SIGHUP")] {
        let dir = TestDir::of("[child.a]\ncommand = \"sleep 1000\"\n");
        let up = dir.up(&[]);
        up.is_ready();
        up.signal(signal);
        let ended = up.end().with_code(0);
        ended.has_in_order(&[
            &format!("{name}: stopping all children"),
            "/t/a: stopped (asked)",
            "/t: stopped as asked",
            "1 child stopped in ",
            "  /t/a  asked  ",
        ]);
    }
}

#[test]
fn under_nohup_a_sighup_does_not_end_the_tree() {
    let dir = TestDir::of("[child.a]\ncommand = \"sleep 1000\"\n");
    dir.file("nohup.sh", format!("trap '' HUP\nexec '{}' up\n", env!("CARGO_BIN_EXE_liveoak")), 0o644);
    let mut command = dir.command(&[]);
    let mut shell = std::process::Command::new("sh");
    shell.arg("nohup.sh").current_dir(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    shell.envs(command.env_remove("NO_COLOR").get_envs().filter_map(|(name, value)| Some((name, value?))));
    let up = Up::watch(shell.spawn().expect("a shell"));
    up.is_ready();
    up.signal(Signal::HUP);
    let ended = up.stop().with_code(0);
    assert!(!ended.log().contains("SIGHUP"), "{}", ended.log());
}

#[test]
fn the_tree_stops_when_the_time_given_with_for_is_over() {
    let dir = TestDir::of("[child.a]\ncommand = \"sleep 1000\"\n");
    let ended = dir.run(&["--for", "100ms"]).with_code(0);
    ended.has_in_order(&["the time of --for is over: stopping all children", "/t: stopped as asked"]);
}

#[test]
fn a_tree_whose_children_have_all_finished_ends_cleanly() {
    let dir = TestDir::of(
        "[child.a]\ncommand = \"true\"\nrestart = \"transient\"\n[child.b]\ncommand = \"true\"\nrestart = \"temporary\"\n",
    );
    let ended = dir.run(&[]).with_code(0);
    assert_eq!(
        ended.stderr.last().map(String::as_str),
        Some("/t has ended: every child has finished for good")
    );
}

#[test]
fn a_failed_child_that_is_not_restarted_fails_the_tree() {
    let dir = TestDir::of("[child.a]\nshell = \"exit 4\"\nrestart = \"temporary\"\n");
    let ended = dir.run(&[]).with_code(1);
    ended.has_in_order(&["/t has failed: /t/a ended for good: exit code 4", "  /t/a  finished  exit code 4"]);
}

#[test]
fn a_supervisor_that_gives_up_fails_the_tree_and_stops_the_others() {
    let dir = TestDir::of(
        "intensity = { restarts = 2, period = \"1m\", give_up = \"escalate\" }\n[child.a]\ncommand = \"sleep 1000\"\n\
         [child.b]\nshell = \"exit 7\"\nbackoff = false\n",
    );
    let ended = dir.run(&["--report", "report.json"]).with_code(1);
    ended.has_in_order(&[
        "/t/a: stopped (asked)",
        "/t has failed: gave up on /t/b: restart 3 within 1m exceeds the limit of its supervisor, 2; \
         its last exit: exit code 7",
        "1 child stopped",
    ]);
    assert_eq!(ended.stderr.iter().filter(|line| line.contains("/t/b: exit code 7")).count(), 3);
    assert_eq!(dir.report()["exit"]["kind"], "gave-up");
}

#[test]
fn a_program_that_fails_too_often_in_a_row_is_given_up_on_although_the_failures_are_far_apart() {
    let dir = TestDir::of(
        "[child.a]\nshell = \"exit 7\"\nbackoff = { from = \"20ms\", to = \"20ms\" }\n\
         limit = { restarts = 2, period = \"1ms\" }\n",
    );
    let ended = dir.run(&["--report", "report.json"]).with_code(1);
    ended.has_in_order(&[
        "/t has failed: gave up on /t/a: failure 3 in a row exceeds its own limit, 2; its last exit: exit code 7",
    ]);
    assert_eq!(dir.report()["exit"]["kind"], "gave-up");
}

#[test]
fn an_auto_shutdown_that_a_crash_caused_fails_the_tree() {
    let dir = TestDir::of(
        "auto_shutdown = \"all-significant\"\n[child.s]\nrestart = \"transient\"\nsignificant = true\nauto_shutdown = \"any-significant\"\n\
         [child.s.child.beside]\ncommand = \"sleep 1000\"\n\
         [child.s.child.main]\nshell = \"exit 4\"\nrestart = \"temporary\"\nsignificant = true\n",
    );
    let ended = dir.run(&["--report", "report.json"]).with_code(1);
    ended.has_in_order(&[
        "/t/s: ends, because its significant child /t/s/main has ended: exit code 4",
        "/t: ends, because its significant child /t/s has ended",
        "/t has failed: ended because its significant child /t/s had ended: ended because its significant child \
         /t/s/main had ended: exit code 4",
    ]);
    assert_eq!(dir.report()["exit"]["kind"], "auto-shutdown-failed");
    assert_eq!(dir.report()["exit"]["failure"], true);
}

#[test]
fn up_warns_of_a_child_that_cannot_exceed_the_intensity_alone() {
    let dir = TestDir::of(
        "intensity = { restarts = 10, period = \"1m\" }\n[child.a]\ncommand = \"sleep 1000\"\n\
         [child.b]\ncommand = \"sleep 1000\"\n",
    );
    let up = dir.up(&[]);
    up.logs("/t: intensity: a, b: such a child alone may never exceed it");
    up.stop().with_code(0);
}

#[test]
fn a_child_that_ignores_the_stop_is_killed_and_reported() {
    let dir = TestDir::of(&format!("[child.a]\n{STUBBORN}stop = {{ within = \"200ms\" }}\n"));
    let up = dir.up(&["--report", "report.json"]);
    up.line("/t/a", 0);
    let ended = up.stop().with_code(3);
    ended.has_in_order(&["/t/a: stopped (killed)", "1 child stopped in ", "  /t/a  killed  "]);
    assert!(ended.log().contains("1 was killed"));
    let report = dir.report();
    assert_eq!((&report["clean"], &report["children"][0]["stage"]), (&false.into(), &"killed".into()));
    assert_eq!(report["children"][0]["exit"]["text"], "ended by SIGKILL");
}

/// A program that does not stop in time, in a tree with a long budget.
fn stubborn() -> TestDir {
    TestDir::of(&format!("stop = {{ within = \"5m\" }}\n[child.a]\n{STUBBORN}stop = {{ within = \"5m\" }}\n"))
}

#[test]
fn a_sigint_more_than_a_second_after_any_first_signal_kills() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let dir = stubborn();
        let up = dir.up(&[]);
        up.line("/t/a", 0);
        up.signal(signal);
        up.logs("Ctrl-C (SIGINT) kills all remaining children");
        up.signal(Signal::INT);
        let ended = up.end().with_code(3);
        ended.has_in_order(&["SIGINT: killing all children", "/t/a: stopped (killed)", "1 was killed"]);
    }
}

#[test]
fn signals_within_a_second_count_as_one_and_only_sigint_kills() {
    let dir = stubborn();
    let up = dir.up(&[]);
    up.line("/t/a", 0);
    up.signal(Signal::INT);
    up.logs("SIGINT: stopping all children");
    up.signal(Signal::INT);
    up.signal(Signal::TERM);
    up.logs("Ctrl-C (SIGINT) kills all remaining children");
    up.signal(Signal::TERM);
    up.signal(Signal::HUP);
    up.signal(Signal::INT);
    let ended = up.end().with_code(3);
    assert_eq!(ended.stderr.iter().filter(|line| line.contains("killing all children")).count(), 1);
}

#[test]
fn when_the_time_given_with_for_is_over_the_first_sigint_only_prints_a_message() {
    let dir = stubborn();
    let up = dir.up(&["--for", "300ms"]);
    up.logs("the time of --for is over: stopping all children");
    up.signal(Signal::INT);
    up.logs("SIGINT: all children are being stopped already");
    up.logs("Ctrl-C (SIGINT) kills all remaining children");
    up.signal(Signal::INT);
    up.end().with_code(3).has_in_order(&["SIGINT: killing all children", "1 was killed"]);
}

#[test]
fn a_failed_first_start_fails_the_tree() {
    let dir =
        TestDir::of("first_start = \"fail\"\n[child.a]\ncommand = \"false\"\nready = { delay = \"20s\" }\n");
    let ended = dir.run(&[]).with_code(1);
    assert_eq!(
        ended.stderr.last().map(String::as_str),
        Some("/t has failed: /t/a failed to start: exit code 1")
    );
}

#[test]
fn wrong_usage_is_reported_before_anything_starts() {
    let dir = TestDir::of("[child.a]\ncommand = \"touch started\"\nrestart = \"temporary\"\n");
    for args in [
        &["--fro", "1s"][..],
        &["--for", "soon"],
        &["--for", "0s"],
        &["--log-format", "xml"],
        &["--log-level", "loud"],
        &["a.toml", "b.toml"],
        &["--report"],
    ] {
        let ended = dir.run(args).with_code(2);
        assert!(ended.stderr[0].starts_with("error: "), "{}", ended.log());
    }
    assert!(!dir.exists("started"));
}
