//! `liveoak up -d`: starts in the background.

use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, test_kill_process};
use serde_json::Value;

use crate::support::{TestDir, look_for};

const STEADY: &str = "[child.a]\ncommand = [\"sleep\", \"1000\"]\n";

fn run(dir: &TestDir, args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = dir.verb(args).output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

/// Ends the tree of the folder, and waits until its process is gone.
fn down(dir: &TestDir, pid: i32) {
    let (code, _, errors) = run(dir, &["down"]);
    assert_eq!(code, Some(0), "{errors}");
    let pid = Pid::from_raw(pid).expect("a process");
    look_for("end of the process", || test_kill_process(pid).is_err().then_some(()));
}

fn started(json: &str) -> (i32, String) {
    let answer: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let pid = answer["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    (pid.expect("a pid"), answer["socket"].as_str().expect("a socket").to_owned())
}

#[test]
fn a_tree_in_the_background_is_ready_when_the_start_is_answered_and_has_no_descriptor_of_the_caller() {
    let dir = TestDir::of(STEADY);
    // The output is read to its end, which comes only when no process has the pipes any more.
    let (code, out, errors) = run(&dir, &["up", "-d", "--json"]);
    assert_eq!(code, Some(0), "{errors}");
    let (pid, socket) = started(&out);
    assert!(socket.ends_with(".own/run/liveoak/t.sock"), "{socket}");
    let (code, out, _) = run(&dir, &["ps", "a", "--json"]);
    let list: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &list[0]["path"], &list[0]["state"]), (Some(0), &"/t/a".into(), &"running".into()));
    let again = run(&dir, &["up", "-d"]);
    assert_eq!(again.0, Some(1));
    assert!(again.2.contains(&format!("runs already, as process {pid}")), "{}", again.2);
    down(&dir, pid);
}

#[test]
fn a_start_in_the_background_that_fails_is_told_like_any_other() {
    let dir = TestDir::of("[child.a]\ncommand = [\"/no/such\"]\n");
    let (code, out, errors) = run(&dir, &["up", "-d"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(errors.contains("could not run /no/such"), "{errors}");
    let wrong = TestDir::of("[child.a]\ncommnd = \"x\"\n");
    let (code, _, errors) = run(&wrong, &["up", "-d"]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("did you mean `command`") && errors.contains("nothing was started"), "{errors}");
}

#[test]
fn a_slow_start_in_the_background_goes_on_after_the_time_and_says_what_is_waited_for() {
    let toml = "[child.a]\ncommand = [\"sleep\", \"1000\"]\nready = { file = \"never\", within = \"1h\" }\n";
    let dir = TestDir::of(toml);
    let (code, out, errors) = run(&dir, &["up", "-d", "--within", "300ms"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(errors.contains("it goes on") && errors.contains("/t/a is starting"), "{errors}");
    let pid = errors.split("process ").nth(1).and_then(|text| text.split(',').next()?.parse().ok());
    down(&dir, pid.expect("a pid"));
}

#[test]
fn a_file_that_has_ended_can_be_started_again_and_a_killed_one_leaves_no_lock() {
    let dir = TestDir::of(STEADY);
    let (pid, _) = started(&run(&dir, &["up", "-d", "--json"]).1);
    let killed = Pid::from_raw(pid).expect("a process");
    rustix::process::kill_process(killed, Signal::KILL).expect("killed");
    look_for("end of the process", || test_kill_process(killed).is_err().then_some(()));
    let (code, out, errors) = run(&dir, &["up", "-d", "--json"]);
    assert_eq!(code, Some(0), "{errors}");
    down(&dir, started(&out).0);
}

const NEVER_READY: &str =
    "[child.a]\ncommand = [\"sleep\", \"1000\"]\nready = { file = \"never\", within = \"1h\" }\n";

#[test]
fn a_start_in_the_background_that_a_command_ends_has_failed() {
    let dir = TestDir::of(NEVER_READY);
    let start =
        dir.verb(&["up", "-d"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    look_for("start", || (run(&dir, &["ps"]).0 == Some(0)).then_some(()));
    assert_eq!(run(&dir, &["down", "--by", "me"]).0, Some(0), "the tree itself has ended well");
    let Output { status, stdout, stderr } = start.wait_with_output().expect("it ends");
    let errors = String::from_utf8_lossy(&stderr);
    assert_eq!((status.code(), stdout.as_slice()), (Some(1), &b""[..]), "{errors}");
    assert!(errors.contains("asked to stop before it was ready"), "{errors}");
}

#[test]
fn a_tree_in_the_background_that_has_done_its_work_is_no_failure() {
    let dir = TestDir::of("[child.a]\ncommand = [\"true\"]\nrestart = \"temporary\"\n");
    let (code, out, errors) = run(&dir, &["up", "-d"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(out.contains("t has ended already") || out.contains("t is ready"), "{out}");
}

#[test]
fn an_interrupt_ends_the_wait_for_a_start_and_not_the_start() {
    let dir = TestDir::of(NEVER_READY);
    let start =
        dir.verb(&["up", "-d"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    look_for("start", || (run(&dir, &["ps"]).0 == Some(0)).then_some(()));
    let pid = i32::try_from(start.id()).ok().and_then(Pid::from_raw).expect("a process");
    rustix::process::kill_process(pid, Signal::INT).expect("it is alive");
    let Output { status, stderr, .. } = start.wait_with_output().expect("it ends");
    let errors = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(130), "{errors}");
    assert!(errors.contains("interrupted; the start goes on"), "{errors}");
    let (code, out, errors) = run(&dir, &["status", "--json"]);
    assert_eq!(code, Some(1), "{errors}");
    let answer: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(answer["state"], "starting");
    down(&dir, answer["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a pid"));
}

#[test]
fn a_file_after_two_dashes_is_started_in_the_background() {
    let dir = TestDir::of(STEADY);
    std::fs::rename(dir.at("liveoak.toml"), dir.at("-d")).expect("renamed");
    let (code, out, errors) = run(&dir, &["up", "-d", "--json", "--", "-d"]);
    assert_eq!(code, Some(0), "{errors}");
    let (pid, _) = started(&out);
    let (_, out, _) = run(&dir, &["status", "--json"]);
    let file = serde_json::from_str::<Value>(&out).expect("JSON")["file"].clone();
    assert_eq!(file.as_str().map(std::path::Path::new), Some(dir.at("-d").as_path()));
    down(&dir, pid);
}
