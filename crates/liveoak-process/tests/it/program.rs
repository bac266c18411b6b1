//! A program that the tests kill: this test binary, started again as a separate process. The environment variable
//! [`ROLE`] chooses what it does. It writes marked lines to stdout, which the test reads.

use crate::support::{POLL_INTERVAL, WatchedProcess, look_for, shell, start, within};
use liveoak_process::{CommandLine, Finished, OutputSink, Process, ProcessChild, guardian_id};
use liveoak_runtime::{Child as Supervised, Restart, Supervisor, Tree};
use rustix::process::{Pid, Resource, Rlimit};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;

/// The number of bytes of a very long line: about 4,000 times the bound of a line.
pub(crate) const LONG_LINE: usize = 64 * 1024 * 1024;

/// A short time in which an event must not happen.
const A_MOMENT: Duration = Duration::from_millis(100);

/// A limit of descriptors that leaves only standard input, output and error.
const STANDARD: u64 = 3;

/// A limit of descriptors that is enough for those in use and some more.
const SOME: u64 = 64;

/// The environment variable with the role of the copy of this binary.
const ROLE: &str = "LIVEOAK_TEST_ROLE";

/// Marks the lines for the test, among the lines of the test harness.
const MARK: &str = "@ ";

/// Three generations in one process group; the parent-death signal does not reach two of them. The process ids are printed.
const FAMILY: &str = "echo $$; (sh -c 'trap \"\" TERM HUP; echo $$; exec sleep 1000' & echo; wait) & wait";

/// The running program.
pub(crate) struct TestProgram {
    pub(crate) child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl TestProgram {
    /// Starts the program in this role. `setup` is a piece of shell that runs before it.
    pub(crate) fn start(role: &str, setup: &str) -> TestProgram {
        let mut command = std::process::Command::new("/bin/sh");
        command.args([
            "-c",
            &format!(
                "{setup} exec \"$0\" --exact program::run_as_the_program_under_test --ignored --nocapture"
            ),
        ]);
        command.arg(std::env::current_exe().unwrap()).env(ROLE, role);
        let mut child = command.process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        TestProgram { child, lines }
    }

    /// Waits for the next marked line.
    pub(crate) fn word(&mut self) -> String {
        let mut said = self.lines.by_ref().map(Result::unwrap);
        let line = said.find_map(|line| line.split_once(MARK).map(|(_, word)| word.to_owned()));
        line.expect("the program ended early")
    }

    pub(crate) fn process(&mut self) -> WatchedProcess {
        WatchedProcess::new(self.word().parse().unwrap())
    }

    pub(crate) fn kill_9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for TestProgram {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::print_stdout, reason = "the program talks to the test through stdout")]
fn say(word: impl std::fmt::Display) {
    println!("{MARK}{word}");
}

#[test]
#[ignore = "the program that other tests start and kill: `cargo test -p liveoak-process --test it`"]
fn run_as_the_program_under_test() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match std::env::var(ROLE).expect("started by a test").as_str() {
        "family" => runtime.block_on(family(1)),
        "crowd" => runtime.block_on(family(150)),
        "guardian killed" => runtime.block_on(guardian_killed()),
        "long line" => runtime.block_on(long_line()),
        "signals" => runtime.block_on(signals()),
        "descriptors" => runtime.block_on(descriptors()),
        "one descriptor" => runtime.block_on(one_descriptor()),
        "no descriptor" => runtime.block_on(no_descriptor()),
        "unseen children" => runtime.block_on(unseen_children()),
        other => panic!("no such role: {other}"),
    }
}

/// Starts `count` families, and waits to be killed.
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
    let command = CommandLine::argv(["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]);
    let (mut process, mut output) = start(&command).await;
    within(process.output_end()).await;
    output.rest().await.iter().for_each(|line| say(&line.text));
}

/// Opens all free descriptors.
fn take_all_descriptors() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

async fn descriptors() {
    drop(shell("exit 0").await);
    let taken = take_all_descriptors();
    let error =
        Process::spawn(&CommandLine::shell("exit 0"), |_| {}).await.expect_err("no descriptor is left");
    say(error.is_retryable());
    say(error);
    drop(taken);
    say(shell("exit 0").await.0.exited().await);
}

/// Checks a process group in which one process lives, with fewer and fewer free descriptors.
async fn one_descriptor() {
    let (mut process, _output) = shell("sleep 1000 & exit 0").await;
    process.exited().await;
    let mut kept = take_all_descriptors();
    for free in 0..3 {
        say(format!("{free} {}", process.group_alive()));
        let gone = timeout(A_MOMENT, process.group_ended()).await;
        say(format!("{free} {}", gone.is_err()));
        drop(kept.pop());
    }
    kept.append(&mut take_all_descriptors());
    process.kill().unwrap();
    let gone = tokio::spawn(async move { process.group_ended().await });
    tokio::time::sleep(A_MOMENT).await;
    say(format!("none {}", !gone.is_finished()));
    drop(kept);
    say(format!("some {}", within(gone).await.is_ok()));
}

/// Finishes two process groups whose leaders are dead, without a free descriptor to see them. In one of them a process that
/// ignores the stop signal still lives.
async fn no_descriptor() {
    let survivor = r#"sh -c 'trap "" TERM; echo $$; exec sleep 1000' &"#;
    let (mut alive, mut output) = shell(survivor).await;
    say(output.line().await);
    let (mut dead, _output) = shell("exit 3").await;
    alive.exited().await;
    dead.exited().await;
    allow_descriptors(STANDARD);
    say(within(alive.finish(A_MOMENT)).await.status);
    let Finished { status, forced } = within(dead.finish(A_MOMENT)).await;
    say(format!("{status}, forced: {forced}"));
    std::future::pending::<()>().await;
}

/// Kills the programs of three trees while no descriptor is free to see it. Stops one tree. The other trees continue by
/// themselves.
async fn unseen_children() {
    let (waiting, leader) = unseen_child(Duration::MAX).await;
    let (ending, another) = unseen_child(A_MOMENT).await;
    let (stopped, last) = unseen_child(A_MOMENT).await;
    allow_descriptors(STANDARD);
    for pid in [leader, another, last] {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    let report = within(stopped.stop()).await;
    say(format!("{:?}", report.entries.iter().map(|entry| entry.stage).collect::<Vec<_>>()));
    let node = |tree: &Tree| tree.snapshot().get("/t/a").expect("the child").clone();
    within(async {
        while node(&waiting).state.as_str() != "stopping" || node(&ending).last_exit.is_none() {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    })
    .await;
    say(node(&ending).last_exit.expect("just seen"));
    allow_descriptors(SOME);
    within(async {
        while node(&waiting).last_exit.is_none() {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    })
    .await;
    say(node(&waiting).last_exit.expect("just seen"));
}

/// Sets the limit of open descriptors: from now on only descriptors below this number can be opened.
fn allow_descriptors(below: u64) {
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(below), maximum }).unwrap();
}

/// Begins a tree of one program. Returns the tree and the program's process id.
async fn unseen_child(stop_within: Duration) -> (Tree, Pid) {
    let (sender, mut numbers) = tokio::sync::mpsc::unbounded_channel();
    let sink: OutputSink = Arc::new(move |_, line| {
        let _ = sender.send(line.text.parse().unwrap());
    });
    let child = Supervised::shell("a", "echo $$; exec sleep 1000").output(sink).stop_within(stop_within);
    let tree = Supervisor::new("t").child(child.restart(Restart::Temporary)).begin().unwrap();
    (tree, Pid::from_raw(within(numbers.recv()).await.unwrap()).unwrap())
}

/// Reads the long line. This process does no other work, so the line causes its peak memory.
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
    let mut process = Process::spawn(&CommandLine::shell(line), sink).await.unwrap();
    within(process.output_end()).await;
    let (length, longest, pieces, last) = seen.lock().unwrap().clone();
    say(length);
    say(longest);
    say(pieces);
    say(peak_memory() - before);
    say(last);
}

/// Returns the peak memory of this process so far, in bytes.
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}
