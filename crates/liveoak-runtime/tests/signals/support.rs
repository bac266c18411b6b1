//! Starts the ignored tests of this program as processes of their own.

use liveoak_runtime::testing::Puppet;
use liveoak_runtime::*;
use std::cell::RefCell;
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child as OsChild, Command as Run, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The limit of every wait for a program. Only a failed test waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The signals that ask a program to end.
pub(crate) const SIGNALS: [(&str, i32); 3] = [("-INT", 2), ("-TERM", 15), ("-HUP", 1)];

/// Runs the ignored test `name` of this program, whose assertions hold, and returns what it prints.
pub(crate) fn output_of(name: &str) -> String {
    let program = std::env::current_exe().unwrap();
    let ran = Run::new(program).args(["--exact", name, "--ignored", "--nocapture"]).output().unwrap();
    let output = [ran.stdout, ran.stderr].concat();
    let output = String::from_utf8_lossy(&output).into_owned();
    assert!(ran.status.success(), "{}: {output}", ran.status);
    output
}

/// A test that runs as a process of its own. Killed when it is dropped.
pub(crate) struct Program {
    process: OsChild,
    lines: Receiver<String>,
    /// The lines before those that a test has waited for. Two threads print their lines in any order.
    skipped: RefCell<Vec<String>>,
}

impl Program {
    /// Starts the ignored test `name` of this program, and waits until it prints that it is ready.
    pub(crate) fn start(name: &str) -> Self {
        Self::start_under(&[], name)
    }

    /// Does the same under a program that executes it, such as `env`.
    pub(crate) fn start_under(under: &[&str], name: &str) -> Self {
        let mut words: Vec<String> = under.iter().map(|&word| word.to_owned()).collect();
        words.push(std::env::current_exe().unwrap().to_str().unwrap().to_owned());
        words.extend(["--exact", name, "--ignored", "--nocapture"].map(str::to_owned));
        let mut process = Run::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(process.stdout.take().unwrap()), Box::new(process.stderr.take().unwrap())];
        for stream in streams {
            let sender = sender.clone();
            thread::spawn(move || {
                BufReader::new(stream).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
            });
        }
        let program = Self { process, lines, skipped: RefCell::default() };
        program.until("child: ready");
        program
    }

    /// Waits for a line that contains `wanted`.
    pub(crate) fn until(&self, wanted: &str) {
        let mut seen = self.skipped.borrow_mut();
        if let Some(at) = seen.iter().position(|line| line.contains(wanted)) {
            seen.remove(at);
            return;
        }
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(wanted) => return,
                Ok(line) => seen.push(line),
                Err(error) => panic!("the program never said {wanted:?} ({error}): {:#?}", *seen),
            }
        }
    }

    /// Waits until a child has printed again that it runs, more than once: earlier lines may still be in the pipe.
    pub(crate) fn until_it_still_runs(&self) {
        self.skipped.borrow_mut().clear();
        while self.lines.try_recv().is_ok() {}
        (0..5).for_each(|_| self.until("child: runs"));
    }

    pub(crate) fn send(&self, signal: &str) {
        let sent = Run::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end of the program.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            if since.elapsed() > PATIENCE {
                panic!("the program does not end");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end of the program, whose assertions must all hold.
    pub(crate) fn ended_well(&mut self) {
        let status = self.ended();
        let lines: Vec<String> = self.lines.iter().collect();
        assert!(status.success(), "{status}: {lines:#?}");
    }

    /// Waits for the end of the program, and expects that `signal` killed it.
    pub(crate) fn killed_by(&mut self, signal: i32) {
        assert_eq!(self.ended().signal(), Some(signal));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Prints a line, in one direct write that the test harness does not capture.
pub(crate) fn say(line: &str) {
    let _ = std::io::stdout().write_all(format!("child: {line}\n").as_bytes());
}

/// Runs a test on several threads.
pub(crate) fn runs<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

/// A child that prints that it is ready, and then waits for its stop.
pub(crate) fn polite() -> Child {
    Child::task("polite", |ctx: Ctx| async move {
        say("ready");
        ctx.stopping().await;
        say("stopping");
    })
}

/// A child that needs half a second to tidy up.
pub(crate) fn tidy() -> Child {
    Child::task("tidy", |ctx: Ctx| async move {
        say("ready");
        ctx.stopping().await;
        say("stopping");
        tokio::time::sleep(Duration::from_millis(500)).await;
        say("tidied up");
    })
}

/// A tree that does not stop before it is killed. One of its children prints again and again that it runs.
pub(crate) fn deaf() -> Supervisor {
    Supervisor::new("t")
        .stop_within(Duration::from_secs(600))
        .child(Puppet::new("deaf").ignoring_stop().child().stop_within(Duration::MAX))
        .child(Child::task("says", says).stop_within(Duration::MAX))
}

async fn says(_: Ctx) -> Infallible {
    say("ready");
    loop {
        say("runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for a signal that never comes, as the program does after its tree.
pub(crate) fn wait_long() {
    say("over");
    thread::sleep(Duration::from_secs(300));
}
