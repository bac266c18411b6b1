//! `Supervisor::run` and signals: each test starts this test program as a child process, and sends signals to it.

use liveoak_runtime::testing::Puppet;
use liveoak_runtime::*;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child as Program, ChildStdout, Command as Run, Stdio};
use std::time::{Duration, Instant};

/// Starts one of the ignored tests below as a process of its own, and waits until it reports that it is ready.
fn program(test: &str) -> (Program, Lines<BufReader<ChildStdout>>) {
    let mut program = Run::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    until(&mut lines, "child: ready");
    (program, lines)
}

fn until(lines: &mut Lines<BufReader<ChildStdout>>, wanted: &str) {
    let found = lines.any(|line| line.unwrap().contains(wanted));
    assert!(found, "the program never said {wanted:?}");
}

fn say(line: &str) {
    // One direct write, which the test harness does not capture.
    let _ = std::io::stdout().write_all(format!("child: {line}\n").as_bytes());
}

fn send(program: &Program, signal: &str) {
    let sent = Run::new("kill").args([signal, &program.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Waits for the program's end. Returns `true` if it ended with success.
fn ended(mut program: Program) -> bool {
    let since = Instant::now();
    loop {
        if let Some(status) = program.try_wait().unwrap() {
            return status.success();
        }
        if since.elapsed() > Duration::from_secs(30) {
            let _ = program.kill();
            panic!("the program does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn runs<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_stops_when_asked() {
    runs(async {
        let child = Child::task("a", |ctx: Ctx| async move {
            say("ready");
            ctx.stopping().await;
            say("stopping");
        });
        let outcome = Supervisor::new("t").child(child).run().await;
        assert!(outcome.is_ok(), "{outcome:?}");
    });
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_never_stops() {
    runs(async {
        let deaf = Puppet::new("deaf").ignoring_stop();
        let says = Child::task("says", |ctx: Ctx| async move {
            say("ready");
            ctx.stopping().await;
            say("stopping");
            std::future::pending::<()>().await;
        });
        let outcome = Supervisor::new("t")
            .stop_within(Duration::from_secs(600))
            .child(deaf.child().stop_within(Duration::MAX))
            .child(says.stop_within(Duration::MAX))
            .run()
            .await;
        let Err(Error::Forced(report)) = &outcome else { panic!("{outcome:?}") };
        assert_eq!(report.forced().count(), 2);
        let text = outcome.unwrap_err().to_string();
        assert!(text.starts_with("stopped, but by force: /t/"), "{text}");
        assert!(text.contains("/t/deaf (killed)") && text.contains("/t/says (killed)"), "{text}");
    });
}

#[test]
fn the_first_signal_stops_gracefully() {
    for signal in ["-TERM", "-INT"] {
        let (program, mut lines) = program("helper_stops_when_asked");
        send(&program, signal);
        until(&mut lines, "child: stopping");
        lines.for_each(drop);
        assert!(ended(program), "{signal}");
    }
}

#[test]
fn the_second_signal_kills_at_once() {
    let (program, mut lines) = program("helper_never_stops");
    send(&program, "-TERM");
    until(&mut lines, "child: stopping");
    send(&program, "-INT");
    lines.for_each(drop);
    assert!(ended(program));
}
