//! One request to stop may arrive as several signals, from the programs that start, pipe and stop other programs.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::support::{Stream, TestDir, Up, look_for};

/// A tree whose only program takes a moment to save its work when it is asked to stop.
pub(crate) fn saves() -> TestDir {
    let dir = TestDir::of("[child.a]\ncommand = \"sh a.sh\"\n");
    dir.file(
        "a.sh",
        "trap 'sleep 0.3; touch saved; exit 0' TERM\necho up\nwhile :; do sleep 0.05; done\n",
        0o644,
    );
    dir
}

/// Returns a command that runs `liveoak up` by other programs: the last of `words` is followed by its command line, or has
/// `LIVEOAK` where the command line belongs. It runs in a process group of its own.
pub(crate) fn through(dir: &TestDir, words: &[&str]) -> Command {
    let inner = dir.command(&[]);
    let line: Vec<&str> = std::iter::once(inner.get_program())
        .chain(inner.get_args())
        .map(|word| word.to_str().expect("text"))
        .collect();
    let is_script = words.iter().any(|word| word.contains("LIVEOAK"));
    let mut outer = Command::new(words[0]);
    outer.args(words[1..].iter().map(|word| word.replace("LIVEOAK", &line.join(" "))));
    if !is_script {
        outer.args(&line);
    }
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer.current_dir(dir.path()).process_group(0);
    outer.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    outer
}

pub(crate) fn pid(of: u32) -> Pid {
    i32::try_from(of).ok().and_then(Pid::from_raw).expect("a process id")
}

/// Returns the process id of the `liveoak` of this test.
pub(crate) fn liveoak(dir: &TestDir) -> u32 {
    look_for("liveoak", || dir.running("liveoak").first().copied())
}

/// Starts `liveoak up` through these words, and waits until its program runs.
pub(crate) fn start(dir: &TestDir, words: &[&str]) -> Up {
    let up = Up::watch(through(dir, words).spawn().expect("the programs of this test are installed"));
    up.line("/t/a", 0);
    up
}

/// Waits until no process of the test runs, and checks that the program could save its work.
pub(crate) fn saved(dir: &TestDir, what: &str) {
    dir.has_no_processes_left();
    assert!(dir.exists("saved"), "{what}: the program was killed");
}

/// Sends a signal to a process group, as a terminal does.
fn to_group(up: &Up, signal: Signal) {
    kill_process_group(pid(up.pid()), signal).expect("the group lives");
}

#[test]
fn the_two_signals_of_gnu_timeout_count_as_one_request() {
    for options in [&[][..], &["--foreground"], &["-k", "60"], &["-s", "INT"], &["-s", "HUP"]] {
        let dir = saves();
        let words: Vec<&str> = ["timeout"].iter().chain(options).chain(&["1000"]).copied().collect();
        let up = start(&dir, &words);
        // It passes its own signal on to its child, and to the whole group, where `liveoak` gets it again.
        up.signal(Signal::TERM);
        saved(&dir, &format!("{options:?}"));
        let ended = up.end();
        assert!(!ended.log().contains("killing"), "{options:?}: {}", ended.log());
    }
}

#[test]
fn ctrl_c_that_a_parent_passes_on_again_counts_once() {
    for second in [Signal::INT, Signal::TERM] {
        let dir = saves();
        let up = start(&dir, &["sh", "-c", "trap : INT; LIVEOAK; echo after >&2"]);
        to_group(&up, Signal::INT);
        kill_process(pid(liveoak(&dir)), second).expect("it stops");
        up.logs("after");
        saved(&dir, "npm run");
    }
}

#[test]
fn the_signals_of_a_trap_with_kill_0_count_as_one_request() {
    let dir = saves();
    let up = start(&dir, &["sh", "-c", "trap 'trap - TERM; kill 0' INT TERM; LIVEOAK & wait"]);
    to_group(&up, Signal::TERM);
    saved(&dir, "trap 'kill 0'");
}

#[test]
fn make_passes_ctrl_c_on_and_the_stop_is_orderly() {
    let dir = saves();
    let line = format!("run:\n\t@{} up\n", env!("CARGO_BIN_EXE_liveoak"));
    dir.file("Makefile", line, 0o644);
    let mut make = through(&dir, &["make", "-s", "run", "FOR=LIVEOAK"]);
    let up = Up::watch(make.spawn().expect("make is installed"));
    up.line("/t/a", 0);
    to_group(&up, Signal::INT);
    saved(&dir, "make");
}

#[test]
fn a_window_that_closes_stops_the_tree_in_order() {
    let dir = saves();
    let up = start(&dir, &["env"]);
    to_group(&up, Signal::HUP);
    to_group(&up, Signal::CONT);
    to_group(&up, Signal::HUP);
    saved(&dir, "a closed window");
    up.end().with_code(0).has_in_order(&["SIGHUP: stopping all children", "/t: stopped as asked"]);
}

#[test]
fn a_terminal_that_is_gone_stops_the_tree_in_order_although_nothing_can_be_written_any_more() {
    let dir = saves();
    // `script` runs the command on a terminal of its own, which ends with it.
    let script = through(&dir, &["script", "-qefc", "LIVEOAK", "/dev/null"]).spawn();
    let up = Up::watch(script.expect("script is installed"));
    up.until(Stream::Stdout, "line of the program", |lines| {
        lines.iter().any(|line| line.contains("/t/a") && line.contains(" up")).then_some(())
    });
    up.signal(Signal::KILL);
    saved(&dir, "a lost terminal");
}

#[test]
fn a_stop_in_a_separate_session_is_orderly() {
    let dir = saves();
    let up = start(&dir, &["setsid", "-w"]);
    kill_process(pid(liveoak(&dir)), Signal::TERM).expect("it lives");
    saved(&dir, "setsid");
    up.end().with_code(0);
}

#[test]
fn the_signals_of_a_service_manager_to_every_process_count_as_one_request() {
    let dir = saves();
    let up = start(&dir, &["env"]);
    // systemd with KillMode=mixed or control-group: the main process, then all that are left.
    for signal in [Signal::TERM, Signal::CONT, Signal::TERM, Signal::HUP] {
        to_group(&up, signal);
    }
    saved(&dir, "systemd");
    up.end().with_code(0);
}

#[test]
fn a_background_job_ignores_ctrl_c_and_the_log_names_another_way_to_kill() {
    let dir = TestDir::of(
        "stop = { within = \"5m\" }\n[child.a]\ncommand = \"sh a.sh\"\nstop = { within = \"5m\" }\n",
    );
    dir.file("a.sh", "trap '' TERM\necho up\nuntil [ -e go ]; do sleep 0.05; done\n", 0o644);
    // A shell without job control starts background jobs with SIGINT ignored.
    let up = start(&dir, &["sh", "-c", "LIVEOAK & trap '' INT TERM; wait"]);
    let liveoak = pid(liveoak(&dir));
    kill_process(liveoak, Signal::INT).expect("it lives");
    kill_process(liveoak, Signal::TERM).expect("it lives");
    up.logs("SIGTERM: stopping all children");
    up.logs("still stopping; SIGINT was ignored at the start, so only `kill -KILL ");
    kill_process(liveoak, Signal::INT).expect("it lives");
    dir.file("go", "", 0o644);
    let ended = up.end();
    assert!(!ended.log().contains("SIGINT: ") && !ended.log().contains("Ctrl-C"), "{}", ended.log());
    dir.has_no_processes_left();
}

#[test]
fn after_the_end_of_option_for_a_signal_of_the_program_timeout_is_no_second_request() {
    let dir = saves();
    let up = dir.up(&["--for", "400ms"]);
    up.line("/t/a", 0);
    up.logs("the time of --for is over: stopping all children");
    up.signal(Signal::TERM);
    up.signal(Signal::INT);
    saved(&dir, "--for");
    up.end().with_code(0);
}
