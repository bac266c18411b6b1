//! The programs that people put before `liveoak up`: what a SIGTERM to each of them does.

use std::process::Command;

use rustix::process::{Signal, kill_process};

use crate::signals::{liveoak, pid, saved, saves, start, through};
use crate::support::{Ended, TestDir, Up};

/// Returns `true` if this system can run the command.
fn works(words: &[&str]) -> bool {
    Command::new(words[0]).args(&words[1..]).output().is_ok_and(|output| output.status.success())
}

/// Sends SIGTERM to the program in front, waits for the end of everything, and checks that the stop was orderly.
fn stops_in_order(dir: &TestDir, up: Up, what: &str) -> Ended {
    up.signal(Signal::TERM);
    saved(dir, what);
    let ended = up.end();
    assert!(!ended.log().contains("killing"), "{what}: {}", ended.log());
    ended
}

#[test]
fn sigterm_to_a_program_that_execs_liveoak_stops_the_tree_in_order() {
    for words in [&["env", "A=1"][..], &["nice", "-n", "1"], &["nohup"], &["sh", "-c", "exec LIVEOAK"]] {
        let dir = saves();
        let up = start(&dir, words);
        stops_in_order(&dir, up, words[0]).with_code(0);
    }
}

#[test]
fn sigterm_to_a_program_that_passes_it_on_stops_the_tree_in_order() {
    let dir = saves();
    let up = start(&dir, &["timeout", "1000"]);
    stops_in_order(&dir, up, "timeout").with_code(0);

    // A script in which `setsid` runs in the background and execs the program.
    let dir = saves();
    let up = start(&dir, &["sh", "-c", "setsid LIVEOAK & trap 'kill $!' TERM; wait; wait"]);
    stops_in_order(&dir, up, "setsid");
}

#[test]
fn sigterm_to_sudo_stops_the_tree_in_order() {
    // The environment marks the processes of a test.
    let sudo = ["sudo", "-n", "-E"];
    if !works(&["sudo", "-n", "-E", "true"]) {
        // `sudo` is not installed, or asks for a password.
        return;
    }
    let dir = saves();
    let up = start(&dir, &sudo);
    stops_in_order(&dir, up, "sudo").with_code(0);
}

#[test]
fn sigterm_to_npm_run_stops_the_tree_in_order_if_the_script_execs_liveoak() {
    if !works(&["npm", "--version"]) {
        return;
    }
    let dir = saves();
    let script = format!(r#"{{ "scripts": {{ "tree": "exec {} up" }} }}"#, env!("CARGO_BIN_EXE_liveoak"));
    dir.file("package.json", script, 0o644);
    // npm passes the signal on to its shell alone. The word after the script's name has no effect.
    let mut npm = through(&dir, &["npm", "run", "tree", "--for=LIVEOAK"]);
    // npm keeps its logs there.
    npm.env("npm_config_cache", dir.at("npm")).env("npm_config_update_notifier", "false");
    let up = Up::watch(npm.spawn().expect("npm is installed"));
    up.line("/t/a", 0);
    stops_in_order(&dir, up, "npm run");
}

#[test]
fn sigterm_to_make_stops_the_tree_in_order() {
    let dir = saves();
    dir.file("Makefile", format!("run:\n\t@{} up\n", env!("CARGO_BIN_EXE_liveoak")), 0o644);
    let make = through(&dir, &["make", "-s", "run", "FOR=LIVEOAK"]).spawn();
    let up = Up::watch(make.expect("make is installed"));
    up.line("/t/a", 0);
    stops_in_order(&dir, up, "make");
}

#[test]
fn a_shell_that_keeps_sigterm_to_itself_leaves_the_tree_running_and_down_finds_it() {
    let dir = saves();
    let up = start(&dir, &["sh", "-c", "LIVEOAK; echo after"]);
    let liveoak = liveoak(&dir);
    up.signal(Signal::TERM);
    dir.has(liveoak);
    assert!(!dir.exists("saved"), "the tree was asked to stop");
    assert!(dir.verb(&["down"]).status().expect("it runs").success());
    saved(&dir, "sh -c");
}

#[test]
fn a_container_stop_asks_liveoak_as_process_1_and_the_stop_is_orderly() {
    let unshare = ["unshare", "-Urpf", "--mount-proc"];
    if !works(&["unshare", "-Urpf", "--mount-proc", "true"]) {
        // This cannot be tested in a sandbox without namespaces.
        return;
    }
    for signals in [&[Signal::TERM][..], &[Signal::INT], &[Signal::TERM, Signal::TERM]] {
        let dir = saves();
        let up = start(&dir, &unshare);
        let liveoak = pid(liveoak(&dir));
        for signal in signals {
            kill_process(liveoak, *signal).expect("it lives");
        }
        saved(&dir, "process 1");
        let ended = up.end().with_code(0);
        assert!(!ended.log().contains("killing"), "{}", ended.log());
    }
}
