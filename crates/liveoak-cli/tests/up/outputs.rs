//! No write error silences an output for good, and no output is lost at the end.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::{Stream, TestDir, Up, look_for};

/// A child that prints these numbers and ends.
fn counts_to(last: u32) -> TestDir {
    TestDir::of(&format!("[child.a]\ncommand = \"seq {last}\"\nrestart = \"temporary\"\n"))
}

/// Asserts that the text has all numbers of the child, in order, on lines of their own.
#[track_caller]
fn has_all(text: &str, last: u32) {
    let numbers = text.lines().filter_map(|line| line.strip_prefix("/t/a | ")?.parse::<u32>().ok());
    assert!(numbers.eq(1..=last), "{} lines", text.lines().count());
}

#[test]
fn a_non_blocking_stdout_loses_nothing_while_its_reader_is_slow() {
    let dir = counts_to(100_000);
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    rustix::io::ioctl_fionbio(&writer, true).expect("non-blocking");
    let up = Up::watch(dir.command(&[]).stdout(writer).spawn().expect("it starts"));
    up.logs("/t has ended");
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    has_all(&text, 100_000);
    up.end().with_code(0);
}

#[test]
fn a_reader_that_begins_to_read_at_the_end_loses_nothing() {
    let dir = counts_to(120_000);
    let mut child = dir.command(&[]).spawn().expect("it starts");
    let mut reader = child.stdout.take().expect("a pipe");
    let up = Up::watch(child);
    // After some time without progress, a line names the output that Liveoak waits for.
    up.logs("waiting until the reader of stdout takes the last");
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    has_all(&text, 120_000);
    up.end().with_code(0);
}

#[test]
fn a_further_ctrl_c_drops_the_remaining_output_and_the_loss_is_reported() {
    let dir = counts_to(120_000);
    let mut child = dir.command(&[]).spawn().expect("it starts");
    let _never_read = child.stdout.take();
    let up = Up::watch(child);
    up.logs("/t has ended");
    up.signal(Signal::INT);
    let ended = up.end().with_code(1);
    ended.has_in_order(&[
        "/t has ended",
        "error: cannot write the last",
        "to stdout: its reader reads nothing",
    ]);
}

#[test]
fn a_full_disk_is_reported_on_the_other_stream_and_ends_neither_the_tree_nor_the_other_stream() {
    let dir = TestDir::of("[child.a]\nshell = \"echo lost; exec sleep 1000\"\n");
    let full = || OpenOptions::new().write(true).open("/dev/full").expect("it exists");
    let up = Up::watch(dir.command(&[]).stdout(full()).spawn().expect("it starts"));
    up.logs("cannot write to stdout: No space left on device (os error 28); up to 16 MiB of its lines wait");
    up.signal(Signal::TERM);
    up.logs("/t: stopped as asked");
    up.logs("waiting until the reader of stdout takes the last");
    up.signal(Signal::INT);
    up.end().with_code(1).has_in_order(&["1 child stopped", "error: cannot write the last"]);

    let up = Up::watch(dir.command(&[]).stderr(full()).spawn().expect("it starts"));
    up.until(Stream::Stdout, "the error", |lines| {
        lines
            .iter()
            .any(|line| line.starts_with("liveoak: cannot write to stderr: No space left"))
            .then_some(())
    });
    assert_eq!(up.line("/t/a", 0), "lost");
    up.signal(Signal::TERM);
    up.until(Stream::Stdout, "what the end waits for", |lines| (lines.len() > 2).then_some(()));
    up.signal(Signal::INT);
    up.end().with_code(1);
}

#[test]
fn an_output_that_is_not_open_for_writing_is_reported_on_the_other_stream() {
    let dir = counts_to(1);
    let read_only = File::open("/dev/null").expect("it exists");
    let ended = Up::watch(dir.command(&[]).stdout(read_only).spawn().expect("it starts")).end().with_code(0);
    ended.position_of(
        "cannot write to stdout: Bad file descriptor (os error 9); nothing is written to stdout",
    );
}

#[test]
fn a_file_size_limit_does_not_end_the_run_and_programs_have_the_default_sigxfsz() {
    let dir =
        TestDir::of("[child.a]\nshell = \"grep SigIgn /proc/self/status; seq 100000; exec sleep 1000\"\n");
    // The size is in blocks of 512 bytes.
    let mut command = Command::new("sh");
    let up = dir.command(&[]);
    command.args(["-c", "ulimit -f 16; exec \"$0\" up > output"]).arg(up.get_program());
    command.current_dir(dir.path()).envs(up.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let up = Up::watch(command.stderr(Stdio::piped()).spawn().expect("it starts"));
    up.logs("cannot write to stdout: File too large");
    up.signal(Signal::TERM);
    up.logs("/t: stopped as asked");
    up.logs("waiting until the reader of stdout takes the last");
    up.signal(Signal::INT);
    up.end().with_code(1);
    let text = fs::read_to_string(dir.at("output")).expect("the output");
    let ignored = text.lines().next().and_then(|line| line.strip_prefix("/t/a | SigIgn:\t"));
    let ignored = u64::from_str_radix(ignored.expect("the first line"), 16).expect("a number");
    for signal in [Signal::PIPE, Signal::XFSZ] {
        assert_eq!(ignored >> (signal.as_raw() - 1) & 1, 0, "{signal:?} is ignored");
    }
    assert_eq!(text.len(), 16 * 512);
}

#[test]
fn stdout_and_stderr_in_the_same_file_neither_overwrite_each_other_nor_tear_lines() {
    let dir = counts_to(20_000);
    // Two openings have two positions.
    let open =
        || OpenOptions::new().write(true).create(true).truncate(false).open(dir.at("both")).expect("a file");
    let child =
        dir.command(&["--log-format", "json", "--log-level", "trace"]).stdout(open()).stderr(open()).spawn();
    Up::watch(child.expect("it starts")).end().with_code(0);
    let text = fs::read_to_string(dir.at("both")).expect("text");
    has_all(&text, 20_000);
    for line in text.lines().filter(|line| !line.starts_with("/t/a | ")) {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn an_unfinished_line_is_printed_while_the_program_waits_and_lines_of_other_programs_may_follow_it() {
    let dir = TestDir::of(
        "[child.a]\nshell = \"printf 'migrating... '; until [ -e go ]; do sleep 0.01; done; echo done\"\nrestart = \"temporary\"\n\
         [child.b]\nshell = \"until [ -e seen ]; do sleep 0.01; done; printf '1 of 2\\\\r2 of 2\\\\r\\\\n'; touch go\"\nrestart = \"temporary\"\n",
    );
    let up = dir.up(&[]);
    assert_eq!(up.line("/t/a", 0), "migrating... ");
    dir.file("seen", "", 0o644);
    let ended = up.end().with_code(0);
    assert_eq!(ended.stdout[..2], ["/t/a | migrating... ", "/t/b | 1 of 2"]);
    // What two programs write at the same time has no order.
    let mut last = ended.stdout[2..].to_vec();
    last.sort();
    assert_eq!(last, ["/t/a | done", "/t/b | 2 of 2"]);
}

#[test]
fn a_prompt_without_an_end_of_line_makes_a_program_ready_and_shows_once() {
    let dir = TestDir::of(
        "[child.a]\nshell = \"printf 'star'; until [ -e go ]; do sleep 0.01; done; printf 'ted> '; exec sleep 1000\"\nready = { log = '^started> $' }\n",
    );
    let up = dir.up(&[]);
    assert_eq!(up.line("/t/a", 0), "star");
    dir.file("go", "", 0o644);
    up.is_ready();
    let ended = up.stop().with_code(0);
    assert_eq!(ended.stdout, ["/t/a | star", "/t/a | ted> "]);
}

#[test]
fn with_merge_the_lines_of_both_outputs_keep_their_order() {
    let dir = TestDir::of(
        "[child.a]\nshell = \"for n in $(seq 300); do echo o$n; echo e$n >&2; done\"\noutput = { merge = true }\nrestart = \"temporary\"\n",
    );
    let ended = dir.run(&[]).with_code(0);
    let expected: Vec<String> =
        (1..=300).flat_map(|n| [format!("/t/a | o{n}"), format!("/t/a | e{n}")]).collect();
    assert_eq!(ended.stdout, expected);
}

#[test]
fn check_and_schema_wait_for_the_reader_of_a_non_blocking_stdout() {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).expect("a small pipe");
    rustix::io::ioctl_fionbio(&writer, true).expect("non-blocking");
    let mut schema = Command::new(env!("CARGO_BIN_EXE_liveoak"));
    let mut child = schema.arg("schema").stdout(writer).spawn().expect("it starts");
    drop(schema);
    let mut text = String::new();
    // The first bytes are in the pipe. The others wait for this reader.
    look_for("a full pipe", || (rustix::io::ioctl_fionread(&reader).ok()? >= 4096).then_some(()));
    reader.read_to_string(&mut text).expect("text");
    serde_json::from_str::<serde_json::Value>(&text).expect("the whole schema");
    assert!(child.wait().expect("it is ours").success());
}

#[test]
fn a_help_text_that_cannot_be_written_is_an_error_unless_its_reader_is_gone() {
    let help = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_liveoak"));
        command.arg("--help").stdin(Stdio::null());
        command
    };
    let full = OpenOptions::new().write(true).open("/dev/full").expect("it exists");
    let ended = help().stdout(full).output().expect("it runs");
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8(ended.stderr).expect("text");
    assert!(said.starts_with("error: cannot write the output: No space left on device"), "{said}");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    assert_eq!(help().stdout(writer).status().expect("it runs").code(), Some(0));
}
