//! The file of `--report`: no report of an earlier run stays, and a file that is not a regular file is only written to.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{TestDir, Up};

/// A tree that ends by itself.
const JOB: &str = "[child.a]\nshell = \"echo out\"\nrestart = \"temporary\"\n";

/// A tree that runs.
const SERVICE: &str = "[child.a]\ncommand = \"sleep 1000\"\n";

const STALE: &str = "{ \"clean\": true }\n";

/// Returns the report at the end of a text.
#[track_caller]
fn report_in(text: &str) -> Value {
    let begin = text.find("{\n").unwrap_or_else(|| panic!("no report in:\n{text}"));
    serde_json::from_str(&text[begin..]).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

#[test]
fn an_earlier_report_is_removed_after_an_error_of_the_file_or_of_the_command_line() {
    for (toml, args) in [
        ("not toml", &["--report", "report.json"][..]),
        ("not toml", &["--report=report.json", "--log-format", "json"]),
        (JOB, &["--report", "report.json", "no-such-file.toml"]),
        (JOB, &["--report", "report.json", "--for", "soon"]),
        (JOB, &["--no-such-option", "--report=report.json"]),
    ] {
        let dir = TestDir::of(toml);
        dir.file("report.json", STALE, 0o644);
        dir.run(args).with_code(2);
        assert!(!dir.exists("report.json"), "{args:?}");
    }
}

#[test]
fn an_earlier_report_is_removed_if_the_system_has_too_few_descriptors_to_start_a_tree() {
    for descriptors in [4, 6, 8, 10] {
        let dir = TestDir::of(JOB);
        dir.file("report.json", STALE, 0o644);
        let up = dir.command(&[]);
        let script = format!("ulimit -n {descriptors}; exec \"$0\" up --report report.json");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(up.get_program()).current_dir(dir.path());
        command.envs(up.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = command.stdin(Stdio::null()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{descriptors}: {output:?}");
        assert!(!dir.exists("report.json"), "{descriptors}");
    }
}

#[test]
fn an_earlier_report_is_removed_while_the_tree_runs_and_after_a_crash() {
    let dir = TestDir::of(SERVICE);
    dir.file("report.json", STALE, 0o644);
    let up = dir.up(&["--report", "report.json"]);
    up.is_ready();
    assert!(!dir.exists("report.json"));
    up.signal(Signal::KILL);
    up.end();
    assert!(!dir.exists("report.json"));
    let names: Vec<_> =
        fs::read_dir(dir.path()).expect("a folder").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(names, ["liveoak.toml"], "no other file is left");
}

#[test]
fn a_report_keeps_links_and_permissions_and_leaves_no_other_file() {
    let dir = TestDir::of(JOB);
    fs::create_dir(dir.at("real")).expect("a folder");
    dir.file("real/report", STALE, 0o600);
    symlink("real/report", dir.at("report.json")).expect("a link");
    symlink("real/new", dir.at("dangling")).expect("a link");
    for (link, real) in [("report.json", "real/report"), ("dangling", "real/new"), ("dangling", "real/new")] {
        dir.run(&["--report", link]).with_code(0);
        assert!(fs::symlink_metadata(dir.at(link)).expect("it is there").is_symlink());
        assert_eq!(report_in(&fs::read_to_string(dir.at(real)).expect("a report"))["clean"], true);
    }
    let mode = fs::metadata(dir.at("real/report")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(dir.at("real")).expect("a folder").count(), 2);
}

#[test]
fn a_report_into_an_output_is_appended_to_it_and_never_empties_it() {
    let dir = TestDir::of(JOB);
    symlink("out", dir.at("link")).expect("a link");
    for path in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "out", "link", "./out"] {
        for append in [false, true] {
            dir.file("out", "before\n", 0o644);
            let mut open = OpenOptions::new();
            let mut out = open.write(true).append(append).open(dir.at("out")).expect("a file");
            if !append {
                out.write_all(b"before\n").expect("written");
            }
            let child = dir.command(&["--report", path]).stdout(out).spawn().expect("it starts");
            Up::watch(child).end().with_code(0);
            let text = fs::read_to_string(dir.at("out")).expect("text");
            assert!(text.starts_with("before\n/t/a | out\n{\n"), "{path}:\n{text}");
            assert_eq!(report_in(&text)["tree"], "/t");
        }
    }
    let ended = dir.run(&["--report", "/dev/stderr"]).with_code(0);
    assert_eq!(report_in(&ended.log())["tree"], "/t");
}

#[test]
fn a_report_into_another_descriptor_is_appended_at_its_position() {
    let dir = TestDir::of(JOB);
    let up = dir.command(&[]);
    let script = "exec 3> other; echo before >&3; \"$0\" up --report /dev/fd/3; echo after >&3";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(up.get_program()).current_dir(dir.path());
    command.envs(up.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it runs");
    assert!(status.success());
    let text = fs::read_to_string(dir.at("other")).expect("text");
    assert_eq!(report_in(text.strip_suffix("after\n").expect("the last line"))["tree"], "/t");
    assert!(text.starts_with("before\n{\n"), "{text}");
    let ended = dir.run(&["--report", "/dev/fd/77"]).with_code(2);
    assert!(ended.log().starts_with("error: cannot write the report to /dev/fd/77: "), "{}", ended.log());
}

#[test]
fn a_fifo_without_a_reader_does_not_delay_the_start_and_gets_the_report_at_the_end() {
    let dir = TestDir::of(SERVICE);
    let fifo = dir.at("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("it runs").success());
    let up = dir.up(&["--report", "fifo"]);
    up.is_ready();
    up.signal(Signal::TERM);
    up.logs("/t: stopped as asked");
    let mut text = String::new();
    File::open(&fifo).expect("a reader").read_to_string(&mut text).expect("text");
    assert_eq!(report_in(&text)["clean"], true);
    up.end().with_code(0);
}

#[test]
fn a_report_without_a_reader_is_an_error_and_a_signal_ends_the_wait_for_a_reader() {
    let dir = TestDir::of(JOB);
    assert!(Command::new("mkfifo").arg(dir.at("fifo")).status().expect("it runs").success());
    let up = dir.up(&["--report", "fifo"]);
    up.logs("waiting until a reader takes the report from fifo, for at most 30 s without progress; Ctrl-C drops it");
    up.signal(Signal::INT);
    let ended = up.end().with_code(1);
    ended.has_in_order(&["cannot write the report to fifo: a signal ended the wait for its reader"]);
}

#[test]
fn a_unix_socket_gets_the_report_at_the_end() {
    let dir = TestDir::of(JOB);
    let listener = UnixListener::bind(dir.at("socket")).expect("a socket");
    dir.run(&["--report", "socket"]).with_code(0);
    let mut text = String::new();
    listener.accept().expect("it connected").0.read_to_string(&mut text).expect("text");
    assert_eq!(report_in(&text)["tree"], "/t");
}

#[test]
fn a_device_is_written_to_and_stays() {
    let dir = TestDir::of(JOB);
    dir.run(&["--report", "/dev/null"]).with_code(0);
    assert!(!fs::metadata("/dev/null").expect("it is there").is_file());
}

#[test]
fn the_report_may_not_replace_liveoak_toml() {
    let dir = TestDir::of(JOB);
    let ended = dir.run(&["--report", "./liveoak.toml"]).with_code(2);
    assert!(ended.log().contains("cannot write the report to ./liveoak.toml: this is the file of the tree"));
    assert!(fs::read_to_string(dir.at("liveoak.toml")).expect("text").ends_with(JOB));
}
