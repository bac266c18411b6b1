//! How the surroundings of a program are read from the file: its probe, the paths in it, and its standard input.

use super::{errors, errors_at, program, read, read_text};
use liveoak_process::{Probe, Stdin};
use std::path::Path;
use std::time::Duration;

fn with(line: &str) -> String {
    format!("[child.a]\ncommand = \"x\"\n{line}\n")
}

fn probe(ready: &str) -> Option<Probe> {
    program(&read(&with(&format!("ready = {{ {ready} }}"))).root.children[0]).ready.clone()
}

#[test]
fn a_probe_is_tried_every_100ms_for_1s_each_unless_the_file_says_otherwise() {
    let tcp = || Probe::tcp("a:80").expect("an address");
    assert_eq!(probe("tcp = \"a:80\""), Some(tcp()));
    let (every, timeout) = (Duration::from_millis(250), Duration::from_secs(5));
    assert_eq!((tcp().interval(), tcp().time_limit()), (Duration::from_millis(100), Duration::from_secs(1)));
    let read = probe("tcp = \"a:80\", every = \"250ms\", timeout = \"5s\", within = \"1m\"");
    assert_eq!(read, Some(tcp().every(every).timeout(timeout)));
    assert_eq!(probe("file = \"/a\", timeout = \"5s\""), Some(Probe::file("/a").timeout(timeout)));
}

#[test]
fn the_keys_every_and_timeout_must_be_above_zero_and_are_refused_where_they_have_no_effect() {
    let refused = |ready: &str| errors(&with(&format!("ready = {{ {ready} }}")));
    assert_eq!(refused("tcp = \"a:80\", every = \"0s\""), ["`child.a.ready.every` is zero"]);
    assert_eq!(refused("tcp = \"a:80\", timeout = \"0s\""), ["`child.a.ready.timeout` is zero"]);
    assert_eq!(refused("log = \"x\", every = \"1s\""), ["`every` has no effect with `log`"]);
    assert_eq!(
        refused("timeout = \"1s\", every = \"1s\", delay = \"1s\""),
        ["`timeout` has no effect with `delay`", "`every` has no effect with `delay`"],
        "in the order of the file"
    );
}

/// Returns the advice of the only error of a probe.
fn advice(ready: &str) -> Option<String> {
    let report = read_text(Path::new("/nowhere"), &with(&format!("ready = {{ {ready} }}")));
    let report = report.expect_err("a wrong probe").diagnostics;
    let [only] = &report[..] else { panic!("{ready}: {report:?}") };
    only.help.clone()
}

#[test]
fn the_reader_accepts_the_address_that_the_error_for_a_wrong_one_suggests() {
    for (wrong, right) in [
        ("tcp = 8080", "tcp = \"127.0.0.1:8080\""),
        ("tcp = \"8080\"", "tcp = \"127.0.0.1:8080\""),
        ("tcp = \" 8080 \"", "tcp = \"127.0.0.1:8080\""),
        ("tcp = \":8080\"", "tcp = \"127.0.0.1:8080\""),
        ("tcp = \"localhost 8080\"", "tcp = \"localhost:8080\""),
        ("tcp = \"::1:8080\"", "tcp = \"[::1]:8080\""),
        ("tcp = \"tcp://db:5432\"", "tcp = \"db:5432\""),
        ("tcp = \"http://localhost:8080/up\"", "tcp = \"localhost:8080\""),
        ("tcp = \"localhost:8080/up\"", "tcp = \"localhost:8080\""),
        ("http = 8080", "http = \"http://127.0.0.1:8080\""),
        ("http = \"8080\"", "http = \"http://127.0.0.1:8080\""),
        ("http = \"8080/up\"", "http = \"http://127.0.0.1:8080/up\""),
        ("http = \":8080/up\"", "http = \"http://127.0.0.1:8080/up\""),
        ("http = \"localhost:8080/up\"", "http = \"http://localhost:8080/up\""),
        ("http = \"//localhost/up\"", "http = \"http://localhost/up\""),
        ("http = \"http://localhost/up#top\"", "http = \"http://localhost/up\""),
    ] {
        assert_eq!(advice(wrong), Some(format!("write {right}")), "{wrong}");
        assert!(probe(right).is_some(), "{right}");
    }
    // The error suggests only addresses that would be accepted.
    for wrong in [
        "tcp = 99999",
        "tcp = -1",
        "tcp = 0",
        "tcp = \"localhost\"",
        "tcp = true",
        "http = 0",
        "http = \"/up\"",
    ] {
        assert_eq!(advice(wrong), None, "{wrong}");
    }
    let https = "http = \"https://localhost:8443/up\"";
    assert!(errors_at(&with(&format!("ready = {{ {https} }}")))[0].contains("https is not supported"));
}

#[test]
fn a_value_that_cannot_be_a_path_is_an_error_in_the_file() {
    let long = |length: usize| "x".repeat(length);
    let deep = format!("{}x", "folder/".repeat(600));
    let good = format!("{}x", "folder/".repeat(500));
    let ready = |key: &str, path: &str| with(&format!("ready = {{ {key} = \"{path}\" }}"));
    for key in ["unix", "file"] {
        for (path, label) in [
            (long(256), "a name in it has 256 bytes"),
            (format!("{}/x", long(256)), "a name in it has 256 bytes"),
            (deep.clone(), "the whole path has 4210 bytes"),
        ] {
            let labels = errors_at(&ready(key, &path));
            assert!(labels[0] == label, "{key}: {labels:?}");
        }
        for path in ["", " ", "a\\u0000b"] {
            assert_eq!(errors(&ready(key, path)).len(), 1, "{key}: {path:?}");
        }
        assert_eq!(errors(&ready(key, &good)), [""; 0], "{key}");
    }
    assert_eq!(errors_at(&with(&format!("cwd = \"{}\"", long(256)))), ["a name in it has 256 bytes"]);
    let program = format!("[child.a]\ncommand = \"./{}\"", long(256));
    assert_eq!(errors_at(&program), ["a name in it has 256 bytes"]);
    // A server cannot bind a longer name in any folder.
    assert_eq!(errors(&ready("unix", &long(107))), [""; 0]);
    assert_eq!(errors_at(&ready("unix", &long(108))), ["the name of the socket has 108 bytes"]);
    assert_eq!(errors_at(&ready("unix", "..")), ["it names a folder"]);
    assert_eq!(errors_at(&ready("unix", "/")), ["it names a folder"]);
}

#[test]
fn stdin_is_empty_open_or_inherited_by_one_child_of_the_file() {
    let stdin = |line: &str| program(&read(&with(line)).root.children[0]).command.stdin;
    assert_eq!(stdin(""), Stdin::Null);
    assert_eq!(stdin("stdin = \"null\""), Stdin::Null);
    assert_eq!(stdin("stdin = \"open\""), Stdin::Open);
    assert_eq!(stdin("stdin = \"inherit\""), Stdin::Inherit);
    assert_eq!(errors(&with("stdin = true")), ["`child.a.stdin` must be a string"]);
    assert_eq!(errors(&with("stdin = \"opne\"")), ["`child.a.stdin` has an unknown value"]);
    let two = with("stdin = \"inherit\"") + "[child.s.child.b]\ncommand = \"x\"\nstdin = \"inherit\"";
    assert_eq!(errors(&two), ["a second child has `stdin = \"inherit\"`"]);
    let replicas = "stdin = \"inherit\"\nreplicas = 2";
    assert_eq!(errors(&with(replicas)), ["replicas cannot have `stdin = \"inherit\"`"]);
    assert_eq!(stdin("stdin = \"open\"\nreplicas = 2"), Stdin::Open);
}

#[test]
fn a_key_of_a_stop_or_of_a_limit_that_nothing_uses_is_refused_at_its_place() {
    let kill = with("stop = { within = \"0s\", signal = \"SIGINT\", ask = \"leader\" }");
    let message = |key: &str| format!("`{key}` has no effect with within = \"0s\"");
    assert_eq!(errors(&kill), [message("signal"), message("ask")]);
    assert_eq!(errors(&with("stop = { within = \"0s\", unready_for = \"1s\" }")), [message("unready_for")]);
    let late = errors(&with("stop = { within = \"2s\", unready_for = \"2s\" }"));
    assert!(late.len() == 1 && late[0].contains("could never be asked to stop"), "{late:?}");
    assert_eq!(errors(&with("stop = { within = \"0s\", kill_wait = \"1s\" }")), [""; 0]);
    let default = with("stop = { within = \"0s\" }") + "[defaults.stop]\nsignal = \"SIGINT\"\n";
    assert_eq!(errors(&default), [""; 0], "a default is not written at the child");
    let limit = with("limit = { restarts = \"unlimited\", give_up = \"escalate\", retry_after = \"1s\" }");
    let found = errors(&limit);
    assert!(found.contains(&"`give_up` has no effect when restarts are unlimited".to_owned()), "{found:?}");
    assert!(
        found.contains(&"`retry_after` has no effect when restarts are unlimited".to_owned()),
        "{found:?}"
    );
}

#[test]
fn a_program_drains_for_its_own_time_or_for_that_of_the_defaults() {
    let second = Duration::from_secs(1);
    let drains = |text: &str| read(text).root.children[0].spec.unready_for;
    assert_eq!(drains(&with("")), Duration::ZERO);
    assert_eq!(drains(&with("stop = { unready_for = \"1s\" }")), second);
    let defaults = |own: &str| with(own) + "[defaults.stop]\nunready_for = \"1s\"\n";
    assert_eq!(drains(&defaults("")), second);
    assert_eq!(drains(&defaults("stop = { unready_for = \"2s\" }")), 2 * second);
    assert_eq!(drains(&defaults("stop = { within = \"0s\" }")), Duration::ZERO, "it is killed at once");
}
