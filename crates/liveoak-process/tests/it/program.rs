//! The program that dies: this test binary, started again as a process of its own.

use crate::support::{Stranger, look_for, shell, start, within};
use liveoak_process::{Command, Process, guardian_id};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Mutex};

/// Bytes of a line that stands for one without end: four thousand times the bound.
pub(crate) const LONG_LINE: usize = 64 * 1024 * 1024;

/// Says which part the copy of this binary plays.
const ROLE: &str = "LIVEOAK_TEST_ROLE";

/// Starts the lines meant for the test among those of the test harness.
const MARK: &str = "@ ";

/// Three generations in one group, two of which no parent-death signal reaches; the pids are printed.
const FAMILY: &str = "echo $$; (sh -c 'trap \"\" TERM HUP; echo $$; exec sleep 1000' & echo; wait) & wait";

/// The program that dies.
pub(crate) struct Program {
    pub(crate) child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// With `setup`, shell words that come before the program itself.
    pub(crate) fn start(role: &str, setup: &str) -> Program {
        let mut command = std::process::Command::new("/bin/sh");
        command
            .args(["-c", &format!("{setup} exec \"$0\" --exact program::the_program --ignored --nocapture")]);
        command.arg(std::env::current_exe().unwrap()).env(ROLE, role);
        let mut child = command.process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Program { child, lines }
    }

    /// The next thing it says.
    pub(crate) fn word(&mut self) -> String {
        let mut said = self.lines.by_ref().map(Result::unwrap);
        let line = said.find_map(|line| line.split_once(MARK).map(|(_, word)| word.to_owned()));
        line.expect("the program ended early")
    }

    pub(crate) fn stranger(&mut self) -> Stranger {
        Stranger::new(self.word().parse().unwrap())
    }

    pub(crate) fn kill_9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::print_stdout, reason = "how the program that is going to die talks to the test")]
fn say(word: impl std::fmt::Display) {
    println!("{MARK}{word}");
}

#[test]
#[ignore = "the program that the tests of this file start and kill: `cargo test -p liveoak-process --test it`"]
fn the_program() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match std::env::var(ROLE).expect("started by a test").as_str() {
        "family" => runtime.block_on(family(1)),
        "crowd" => runtime.block_on(family(150)),
        "guardian killed" => runtime.block_on(guardian_killed()),
        "long line" => runtime.block_on(long_line()),
        "signals" => runtime.block_on(signals()),
        "descriptors" => runtime.block_on(descriptors()),
        "one descriptor" => runtime.block_on(one_descriptor()),
        other => panic!("no such role: {other}"),
    }
}

/// Starts families and waits to be killed.
async fn family(count: u32) {
    let mut all = Vec::new();
    for _ in 0..count {
        let (process, mut output) = shell(FAMILY).await;
        for _ in 0..3 {
            let line = output.line().await;
            if !line.is_empty() {
                say(line);
            }
        }
        all.push(process);
    }
    say(guardian_id().expect("a guardian"));
    std::future::pending::<()>().await;
}

async fn guardian_killed() {
    let (_process, mut output) = shell("sh -c 'echo $$; exec sleep 1000' & wait").await;
    say(output.line().await);
    let first = guardian_id().expect("a guardian");
    say(first);
    look_for("new guardian", || guardian_id().filter(|&id| id != first).map(say));
    std::future::pending::<()>().await;
}

async fn signals() {
    let command = Command::argv(["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]);
    let (mut process, mut output) = start(&command).await;
    within(process.output_end()).await;
    output.rest().await.iter().for_each(|line| say(&line.text));
}

async fn descriptors() {
    let mut hoard = Vec::new();
    drop(shell("exit 0").await);
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    let error = Process::spawn(&Command::shell("exit 0"), |_| {}).await.expect_err("no descriptor is left");
    say(error.is_retryable());
    say(error);
    drop(hoard);
    say(shell("exit 0").await.0.exited().await);
}

/// Looks for a group, of which a member lives on, with as many descriptors as the look needs, and fewer.
async fn one_descriptor() {
    let (mut process, _output) = shell("sleep 1000 & exit 0").await;
    process.exited().await;
    let mut hoard = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    for free in 0..3 {
        say(format!("{free} {}", process.group_alive()));
        let gone = tokio::time::timeout(std::time::Duration::from_millis(100), process.group_gone()).await;
        say(format!("{free} {}", gone.is_err()));
        drop(hoard.pop());
    }
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    process.kill().unwrap();
    let gone = tokio::spawn(async move { process.finish(std::time::Duration::ZERO).await });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    say(format!("none {}", !gone.is_finished()));
    drop(hoard);
    say(format!("some {}", within(gone).await.is_ok()));
}

/// In a process of its own, so that its peak memory is the line's doing.
async fn long_line() {
    let before = peak_memory();
    let line = format!(r"head -c {LONG_LINE} /dev/zero | tr '\0' x; echo; echo after");
    let seen = Arc::new(Mutex::new((0, 0, 0, String::new())));
    let into = seen.clone();
    let sink = move |line: liveoak_process::OutputLine<'_>| {
        let mut seen = into.lock().unwrap();
        if line.text.starts_with('x') {
            seen.0 += line.text.len();
            seen.1 = seen.1.max(line.text.len());
            seen.2 += 1;
        } else {
            seen.3 = line.text.to_owned();
        }
    };
    let mut process = Process::spawn(&Command::shell(line), sink).await.unwrap();
    within(process.output_end()).await;
    let (length, longest, pieces, last) = seen.lock().unwrap().clone();
    say(length);
    say(longest);
    say(pieces);
    say(peak_memory() - before);
    say(last);
}

/// In bytes, of this program so far.
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}
