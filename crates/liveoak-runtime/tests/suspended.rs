//! A process that is suspended for a while and then continued. Each test starts this test binary as a child process,
//! and sends SIGSTOP and SIGCONT to it.

use liveoak_runtime::*;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child as Program, ChildStdout, Command as Run, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The heartbeat that the children promise. They beat four times as often.
const PERIOD: Duration = Duration::from_secs(2);

/// How long the program is suspended: longer than the period and the second that a deadline may be late.
const SUSPENDED: Duration = Duration::from_secs(4);

const CHILDREN: u64 = 20;

fn program(test: &str) -> (Program, Lines<BufReader<ChildStdout>>) {
    let mut program = Run::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    assert!(said(&mut lines, "child: ready"));
    (program, lines)
}

fn said(lines: &mut Lines<BufReader<ChildStdout>>, wanted: &str) -> bool {
    lines.any(|line| line.unwrap().contains(wanted))
}

fn say(line: &str) {
    // One direct write, which the test harness does not capture.
    let _ = std::io::stdout().write_all(format!("child: {line}\n").as_bytes());
}

fn send(program: &Program, signal: &str) {
    let sent = Run::new("kill").args([signal, &program.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Runs children that give their heartbeats. After a time jump, when each child has had the time for three more
/// heartbeats, prints how many children were killed.
async fn beating_children() {
    let beats = Arc::new(AtomicU64::new(0));
    let child = |n: u64| {
        let beats = Arc::clone(&beats);
        let body = move |ctx: Ctx| {
            let beats = Arc::clone(&beats);
            async move {
                ctx.heartbeat();
                while ctx.sleep(PERIOD / 4).await {
                    ctx.heartbeat();
                    beats.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        Child::task(format!("c{n}"), body).heartbeat(PERIOD)
    };
    let tree = Supervisor::new("t").children((0..CHILDREN).map(child)).start().await.unwrap();
    let mut events = tree.events();
    let more_beats = async |count: u64| {
        let until = beats.load(Ordering::Relaxed) + count * CHILDREN;
        while beats.load(Ordering::Relaxed) < until {
            tokio::time::sleep(PERIOD / 40).await;
        }
    };
    more_beats(1).await;
    say("ready");
    loop {
        let Some(EventOrLost::Event(event)) = events.next().await else { panic!("the tree has ended") };
        if matches!(event.kind, EventKind::TimeJump { .. }) {
            break;
        }
    }
    more_beats(3).await;
    let snapshot = tree.snapshot();
    let killed = snapshot.root.children.iter().filter(|node| node.last_exit.is_some()).count();
    say(&format!("{killed} were killed"));
    tree.stop().await;
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test suspended`"]
fn helper_with_several_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(beating_children());
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test suspended`"]
fn helper_with_one_thread() {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(beating_children());
}

#[test]
fn healthy_children_are_not_killed_as_stuck_after_the_program_was_suspended() {
    for helper in ["helper_with_several_threads", "helper_with_one_thread"] {
        let (mut program, mut lines) = program(helper);
        send(&program, "-STOP");
        std::thread::sleep(SUSPENDED);
        send(&program, "-CONT");
        assert!(said(&mut lines, "child: 0 were killed"), "{helper}");
        assert!(program.wait().unwrap().success(), "{helper}");
    }
}
