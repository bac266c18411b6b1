//! The stop of programs: the stop signal, the stop deadline and the process group.

use crate::support::{TestDir, look_for};

#[test]
fn a_program_is_asked_with_its_own_stop_signal() {
    let dir = TestDir::of("[child.a]\ncommand = \"sh a.sh\"\nstop = { signal = \"SIGINT\" }\n");
    dir.file(
        "a.sh",
        "trap 'echo INT; exit 0' INT\ntrap 'echo TERM; exit 0' TERM\necho up\nwhile :; do sleep 0.05; done",
        0o644,
    );
    let up = dir.up(&["--report", "report.json"]);
    up.line("/t/a", 0);
    let ended = up.stop().with_code(0);
    assert_eq!(ended.stdout, ["/t/a | up", "/t/a | INT"]);
    assert_eq!(dir.report()["children"][0]["exit"]["kind"], "completed");
}

#[test]
fn a_program_with_a_stop_deadline_of_zero_is_killed_without_being_asked() {
    let dir = TestDir::of("[child.a]\ncommand = \"sh a.sh\"\nstop = { within = \"0s\" }\n");
    dir.file("a.sh", "trap 'echo asked > asked' TERM\necho up\nwhile :; do sleep 0.05; done", 0o644);
    let up = dir.up(&[]);
    up.line("/t/a", 0);
    let ended = up.stop().with_code(3);
    assert!(!dir.exists("asked"));
    ended.has_in_order(&["/t/a: stopped (killed)", "  /t/a  killed"]);
}

#[test]
fn while_a_program_is_unready_before_its_stop_a_line_says_when_it_is_asked() {
    let dir = TestDir::of(
        "[child.a]\nshell = \"echo up; exec sleep 1000\"\nstop = { within = \"20s\", unready_for = \"4s\" }\n",
    );
    let up = dir.up(&[]);
    up.line("/t/a", 0);
    up.signal(rustix::process::Signal::TERM);
    up.logs("waiting for /t/a, which is not ready any more: asked to stop in 2 s");
    up.end().with_code(0);
}

#[test]
fn processes_that_outlive_their_group_leader_are_part_of_the_stop() {
    let dir = TestDir::of("[child.a]\ncommand = \"sh a.sh\"\nstop = { within = \"300ms\" }\n");
    // The leader ends when asked. The process that it has started does not end.
    dir.file("a.sh", "trap 'exit 0' TERM\nsh stubborn.sh & wait\n", 0o644);
    dir.file("stubborn.sh", "trap '' TERM\necho up\nwhile :; do sleep 0.05; done\n", 0o644);
    let up = dir.up(&[]);
    up.line("/t/a", 0);
    up.stop().with_code(3).has_in_order(&["  /t/a  killed  "]);
    dir.has_no_processes_left();
}

#[test]
fn many_programs_that_ignore_the_stop_share_one_budget() {
    let dir = TestDir::of(
        "stop = { within = \"2s\" }\n[child.a]\nshell = \"trap '' TERM; echo up; while :; do sleep 0.1; done\"\n\
         stop = { within = \"5m\" }\nreplicas = 8\n",
    );
    let up = dir.up(&["--report", "report.json"]);
    for nth in 1..=8 {
        up.line(&format!("/t/a.{nth}"), 0);
    }
    up.stop().with_code(3);
    let report = dir.report();
    let killed =
        report["children"].as_array().expect("a list").iter().filter(|child| child["stage"] == "killed");
    assert_eq!(killed.count(), 8);
}

#[test]
fn a_suspended_process_can_be_stopped() {
    let dir = TestDir::of("[child.a]\nshell = \"echo $$; exec sleep 1000\"\n");
    let up = dir.up(&[]);
    let pid = up.number("/t/a", 0);
    dir.send(pid, rustix::process::Signal::STOP);
    look_for("a stopped process", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.contains(") T ").then_some(())
    });
    up.stop().with_code(0);
}

#[test]
fn nothing_is_restarted_after_a_stop_request() {
    let dir =
        TestDir::of("[child.a]\nshell = \"echo run; exit 1\"\nbackoff = { from = \"10s\", to = \"10s\" }\n");
    let up = dir.up(&["--report", "report.json"]);
    up.logs("/t/a: restarts in");
    let ended = up.stop().with_code(0);
    assert_eq!(ended.stdout, ["/t/a | run"]);
    ended.has_in_order(&[
        "0 children stopped in ",
        "  /t/a  cancelled  0.00s  was waiting for its restart after: exit code 1",
    ]);
    assert_eq!(dir.report()["children"][0]["stage"], "cancelled");
}
