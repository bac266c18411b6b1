//! The output of the programs on stdout: exact, complete, and never blocking a program or the tree.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use rustix::process::Signal;

use crate::support::{TestFolder, Up, look_for};

/// Returns the folder of a tree with one job, which runs this shell script.
fn job(script: &str) -> TestFolder {
    let folder = TestFolder::of("[child.a]\ncommand = \"sh job.sh\"\nrestart = \"temporary\"\n");
    folder.file("job.sh", script, 0o644);
    folder
}

#[test]
fn each_line_is_the_path_a_bar_and_the_text_whatever_its_bytes() {
    let folder =
        job("printf 'plain\\n\\n  two  \\ttabs\\ncaf\\351\\nnul\\000nul\\r\\n\\033[31mred\\nno end'");
    let output = folder.command(&[]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    let expected = "/t/a | plain\n/t/a | \n/t/a |   two  \ttabs\n/t/a | caf\u{fffd}\n/t/a | nulnul\n\
                    /t/a | \x1b[31mred\n/t/a | no end\n";
    assert_eq!(String::from_utf8(output.stdout).expect("UTF-8"), expected);
}

#[test]
fn the_stderr_of_programs_is_on_stdout_too() {
    let folder = job("echo this is stderr >&2");
    let ended = folder.run(&[]).with_code(0);
    assert_eq!(ended.stdout, ["/t/a | this is stderr"]);
    assert!(!ended.log().contains("this is stderr"));
}

#[test]
fn a_very_long_line_comes_in_pieces_and_is_complete() {
    let folder = job("head -c 1000000 /dev/zero | tr '\\0' x; echo; echo short");
    let ended = folder.run(&[]).with_code(0);
    let texts: Vec<&str> = ended.stdout.iter().filter_map(|line| line.strip_prefix("/t/a | ")).collect();
    assert_eq!(texts.len(), ended.stdout.len());
    assert_eq!(texts.last(), Some(&"short"));
    assert_eq!(texts.iter().map(|text| text.matches('x').count()).sum::<usize>(), 1_000_000);
    assert!(texts.len() > 60, "{}", texts.len());
}

#[test]
fn a_burst_just_before_the_exit_is_complete_and_in_order() {
    let folder = job("seq 200000; exit 0");
    let ended = folder.run(&[]).with_code(0);
    let numbers = ended.stdout.iter().filter_map(|line| line.strip_prefix("/t/a | ")?.parse::<u32>().ok());
    assert!(numbers.eq(1..=200_000), "{} lines", ended.stdout.len());
}

/// A program that writes a line, then much more, and then creates a file.
const TALKER: &str = "[child.a]\nshell = \"echo first; yes 0123456789012345678901234567890123456789 | head -c 40000000; \
                      touch told; exec sleep 1000\"\n";

fn told(folder: &TestFolder) {
    look_for("file that the program creates after its output", || folder.exists("told").then_some(()));
}

#[test]
fn a_reader_that_closes_stdout_stops_no_program() {
    let folder = TestFolder::of(TALKER);
    let mut child = folder.command(&[]).spawn().expect("it starts");
    let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
    let up = Up::watch(child);
    let mut line = String::new();
    reader.read_line(&mut line).expect("a line");
    assert_eq!(line, "/t/a | first\n");
    drop(reader);
    told(&folder);
    let ended = up.stop().with_code(0);
    assert!(!ended.log().contains("panicked"), "{}", ended.log());
    assert!(ended.log().contains("nothing was forced"));
}

#[test]
fn a_reader_of_stdout_that_never_reads_blocks_neither_programs_nor_the_stop() {
    let folder = TestFolder::of(TALKER);
    let mut child = folder.command(&[]).spawn().expect("it starts");
    let _never_read = child.stdout.take();
    let up = Up::watch(child);
    told(&folder);
    up.stop().with_code(0);
}

#[test]
fn a_reader_of_stderr_that_never_reads_does_not_block_the_stop() {
    let folder = TestFolder::of(
        "[child.a]\nshell = \"exit 1\"\nbackoff = false\nlimit = { restarts = \"unlimited\" }\n",
    );
    let mut child = folder.command(&["--log-level", "trace"]).spawn().expect("it starts");
    let _never_read = child.stderr.take();
    let up = Up::watch(child);
    // Each attempt logs several lines, so the pipe of 64 KiB is full soon.
    folder.file("ready", "", 0o644);
    look_for("a full pipe", || {
        let io = std::fs::read_to_string(format!("/proc/{}/io", up.pid())).ok()?;
        let written = io.lines().find_map(|line| line.strip_prefix("wchar: "))?.parse::<u64>().ok()?;
        (written > 60_000).then_some(())
    });
    up.stop().with_code(0);
}

#[test]
fn without_a_stdout_at_all_the_tree_runs() {
    let folder = job("echo nobody reads this; touch told");
    let child = folder.command(&[]).stdout(Stdio::null()).spawn().expect("it starts");
    Up::watch(child).end().with_code(0);
    assert!(folder.exists("told"));
}

#[test]
fn output_of_a_program_that_is_stopped_is_complete() {
    let folder = TestFolder::of(
        "[child.a]\ncommand = \"sh a.sh\"\nready = { log = \"^up$\" }\n[child.b]\ncommand = \"sleep 1000\"\n",
    );
    folder.file(
        "a.sh",
        "trap 'echo on its way; echo out >&2; exit 0' TERM\necho up\nsleep 1000 & wait",
        0o644,
    );
    let up = folder.up(&[]);
    up.is_ready();
    assert_eq!(up.line("/t/a", 0), "up");
    up.signal(Signal::TERM);
    let mut ended = up.end().with_code(0);
    ended.stdout.sort();
    assert_eq!(ended.stdout, ["/t/a | on its way", "/t/a | out", "/t/a | up"]);
}
