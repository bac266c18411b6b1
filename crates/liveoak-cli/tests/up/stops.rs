//! The stop of single programs: their signal, their time, their group.

use crate::support::{Place, look_for};

#[test]
fn a_program_is_asked_by_its_own_signal() {
    let place = Place::of("[child.a]\ncommand = \"sh a.sh\"\nstop = { signal = \"SIGINT\" }\n");
    place.file(
        "a.sh",
        "trap 'echo INT; exit 0' INT\ntrap 'echo TERM; exit 0' TERM\necho up\nwhile :; do sleep 0.05; done",
        0o644,
    );
    let up = place.up(&["--report", "report.json"]);
    up.line("/t/a", 0);
    let ended = up.stop().with_code(0);
    assert_eq!(ended.stdout, ["/t/a | up", "/t/a | INT"]);
    assert_eq!(place.report()["children"][0]["exit"]["kind"], "completed");
}

#[test]
fn a_program_without_time_is_killed_without_being_asked() {
    let place = Place::of("[child.a]\ncommand = \"sh a.sh\"\nstop = { within = \"0s\" }\n");
    place.file("a.sh", "trap 'echo asked > asked' TERM\necho up\nwhile :; do sleep 0.05; done", 0o644);
    let up = place.up(&[]);
    up.line("/t/a", 0);
    let ended = up.stop().with_code(3);
    assert!(!place.exists("asked"));
    ended.has_in_order(&["/t/a: stopped (killed)", "  /t/a  killed"]);
}

#[test]
fn members_of_a_group_that_outlive_their_leader_are_part_of_the_stop() {
    let place = Place::of("[child.a]\ncommand = \"sh a.sh\"\nstop = { within = \"300ms\" }\n");
    // The leader ends when asked; what it has started does not.
    place.file("a.sh", "trap 'exit 0' TERM\nsh stubborn.sh & wait\n", 0o644);
    place.file("stubborn.sh", "trap '' TERM\necho up\nwhile :; do sleep 0.05; done\n", 0o644);
    let up = place.up(&[]);
    up.line("/t/a", 0);
    up.stop().with_code(3).has_in_order(&["  /t/a  killed  "]);
    place.is_left_empty();
}

#[test]
fn many_that_ignore_the_stop_share_one_budget() {
    let place = Place::of(
        "stop = { within = \"2s\" }\n[child.a]\nshell = \"trap '' TERM; echo up; while :; do sleep 0.1; done\"\n\
         stop = { within = \"5m\" }\nreplicas = 8\n",
    );
    let up = place.up(&["--report", "report.json"]);
    for nth in 1..=8 {
        up.line(&format!("/t/a.{nth}"), 0);
    }
    up.stop().with_code(3);
    let report = place.report();
    let killed =
        report["children"].as_array().expect("a list").iter().filter(|child| child["stage"] == "killed");
    assert_eq!(killed.count(), 8);
}

#[test]
fn a_stopped_process_is_stopped_all_the_same() {
    let place = Place::of("[child.a]\nshell = \"echo $$; exec sleep 1000\"\n");
    let up = place.up(&[]);
    let pid = up.number("/t/a", 0);
    place.send(pid, rustix::process::Signal::STOP);
    look_for("a stopped process", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.contains(") T ").then_some(())
    });
    up.stop().with_code(0);
}

#[test]
fn nothing_starts_again_after_the_stop_was_asked() {
    let place =
        Place::of("[child.a]\nshell = \"echo run; exit 1\"\nbackoff = { from = \"10s\", to = \"10s\" }\n");
    let up = place.up(&["--report", "report.json"]);
    up.logs("/t/a: restarts in");
    let ended = up.stop().with_code(0);
    assert_eq!(ended.stdout, ["/t/a | run"]);
    ended.has_in_order(&[
        "0 children stopped in ",
        "  /t/a  cancelled  0.00s  was waiting for its restart after: exit code 1",
    ]);
    assert_eq!(place.report()["children"][0]["stage"], "cancelled");
}
