//! The programs' output on stdout: it is exact and complete, and it blocks neither the programs nor the stop.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use rustix::process::Signal;

use crate::support::{Stream, TestDir, Up, look_for};

/// Returns a tree of one job that runs this shell script and ends.
fn job(script: &str) -> TestDir {
    let dir = TestDir::of("[child.a]\ncommand = \"sh job.sh\"\nrestart = \"temporary\"\n");
    dir.file("job.sh", script, 0o644);
    dir
}

#[test]
fn each_line_is_the_path_a_bar_and_the_line_whatever_its_bytes() {
    let dir = job("printf 'plain\\n\\n  two  \\ttabs\\ncaf\\351\\nnul\\000nul\\r\\n\\033[31mred\\nno end'");
    let output = dir.command(&[]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    let expected = "/t/a | plain\n/t/a | \n/t/a |   two  \ttabs\n/t/a | caf\u{fffd}\n/t/a | nulnul\n\
                    /t/a | \x1b[31mred\n/t/a | no end\n";
    assert_eq!(String::from_utf8(output.stdout).expect("UTF-8"), expected);
}

#[test]
fn stderr_of_programs_is_on_stdout_too() {
    let dir = job("echo this is stderr >&2");
    let ended = dir.run(&[]).with_code(0);
    assert_eq!(ended.stdout, ["/t/a | this is stderr"]);
    assert!(!ended.log().contains("this is stderr"));
}

#[test]
fn a_very_long_line_is_split_but_complete() {
    let dir = job("head -c 1000000 /dev/zero | tr '\\0' x; echo; echo short");
    let ended = dir.run(&[]).with_code(0);
    let texts: Vec<&str> = ended.stdout.iter().filter_map(|line| line.strip_prefix("/t/a | ")).collect();
    assert_eq!(texts.len(), ended.stdout.len());
    assert_eq!(texts.last(), Some(&"short"));
    assert_eq!(texts.iter().map(|text| text.matches('x').count()).sum::<usize>(), 1_000_000);
    assert!(texts.len() > 60, "{}", texts.len());
}

#[test]
fn a_burst_just_before_the_exit_is_complete_and_in_order() {
    let dir = job("seq 200000; exit 0");
    let ended = dir.run(&[]).with_code(0);
    let numbers = ended.stdout.iter().filter_map(|line| line.strip_prefix("/t/a | ")?.parse::<u32>().ok());
    assert!(numbers.eq(1..=200_000), "{} lines", ended.stdout.len());
}

/// A child that writes a line, then 14 MB, and then touches a file. It fills the buffer to the point where it is slowed down.
const TALKER: &str = "[child.a]\nshell = \"echo first; yes 0123456789012345678901234567890123456789 | head -c 14000000; \
                      touch written; exec sleep 1000\"\n";

/// A child that writes a line, then 2 MB, and then touches a file.
const SHORT_TALKER: &str = "[child.a]\nshell = \"echo first; yes 0123456789012345678901234567890123456789 | head -c 2000000; \
                            touch written; exec sleep 1000\"\n";

/// Waits until the child has written everything.
fn has_written(dir: &TestDir) {
    look_for("file that the child touches after its output", || dir.exists("written").then_some(()));
}

#[test]
fn the_tree_runs_on_after_the_reader_has_closed_stdout() {
    let dir = TestDir::of(SHORT_TALKER);
    let mut child = dir.command(&[]).spawn().expect("it starts");
    let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
    let up = Up::watch(child);
    let mut line = String::new();
    reader.read_line(&mut line).expect("a line");
    assert_eq!(line, "/t/a | first\n");
    drop(reader);
    has_written(&dir);
    let ended = up.stop().with_code(0);
    assert!(!ended.log().contains("panicked"), "{}", ended.log());
    assert!(ended.log().contains("none was killed"));
    ended.position_of(
        "the reader of stdout has closed it: nothing more is written to stdout, and the tree continues to run",
    );
}

#[test]
fn a_reader_of_stdout_that_never_reads_blocks_neither_programs_nor_the_stop() {
    let dir = TestDir::of(TALKER);
    let mut child = dir.command(&[]).spawn().expect("it starts");
    let _never_read = child.stdout.take();
    let up = Up::watch(child);
    has_written(&dir);
    stop_without_reading_the_output(up);
}

/// Stops the tree. Then `liveoak up` waits for the reader of its output, and a Ctrl-C ends this wait.
fn stop_without_reading_the_output(up: Up) {
    up.signal(Signal::TERM);
    // A signal within a second of the first one would count as the same request.
    up.logs("waiting until the reader of stdout takes the last");
    up.signal(Signal::INT);
    let ended = up.end().with_code(1);
    ended.has_in_order(&[
        "none was killed",
        "error: cannot write the last",
        "to stdout: its reader reads nothing",
    ]);
}

#[test]
fn a_reader_of_stderr_that_never_reads_does_not_block_the_stop() {
    let dir = TestDir::of(
        "[child.a]\nshell = \"echo began; exit 1\"\nbackoff = false\nlimit = { restarts = \"unlimited\" }\n",
    );
    let mut child = dir.command(&["--log-level", "trace"]).spawn().expect("it starts");
    let never_read = child.stderr.take().expect("a pipe");
    rustix::pipe::fcntl_setpipe_size(&never_read, 4096).expect("a small pipe");
    let up = Up::watch(child);
    // Each attempt logs several lines, so more wait all the time.
    up.line("/t/a", 200);
    look_for("a full pipe", || (rustix::io::ioctl_fionread(&never_read).ok()? > 3000).then_some(()));
    up.signal(Signal::TERM);
    up.until(Stream::Stdout, "what the end waits for", |lines| {
        lines
            .iter()
            .any(|line| line.contains("waiting until the reader of stderr takes the last"))
            .then_some(())
    });
    up.signal(Signal::INT);
    up.end().with_code(1);
}

#[test]
fn the_tree_runs_with_stdout_on_dev_null() {
    let dir = job("echo not read; touch written");
    let child = dir.command(&[]).stdout(Stdio::null()).spawn().expect("it starts");
    Up::watch(child).end().with_code(0);
    assert!(dir.exists("written"));
}

#[test]
fn output_of_a_program_that_is_stopped_is_complete() {
    let dir = TestDir::of(
        "[child.a]\ncommand = \"sh a.sh\"\nready = { log = \"^up$\" }\n[child.b]\ncommand = \"sleep 1000\"\n",
    );
    // "up" is printed by the background process. From then on, no copy of the shell with the same trap can get the signal.
    let script = "trap 'echo on its way; echo out >&2; exit 0' TERM\nsh -c 'echo up; exec sleep 1000' & wait";
    dir.file("a.sh", script, 0o644);
    let up = dir.up(&[]);
    up.is_ready();
    assert_eq!(up.line("/t/a", 0), "up");
    up.signal(Signal::TERM);
    let mut ended = up.end().with_code(0);
    ended.stdout.sort();
    assert_eq!(ended.stdout, ["/t/a | on its way", "/t/a | out", "/t/a | up"]);
}
