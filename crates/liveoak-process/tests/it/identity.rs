//! The variables that identify an attempt, for its program and for the command of its probe.

use crate::support::{Dir, start, within};
use liveoak_process::{CommandLine, OutputSink, Probe, ProcessChild, Program, SpawnError, SpawnFailed};
use liveoak_runtime::{Child, Exit, Restart, StartError, Supervisor};
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};

/// Keeps the lines of all children, as `path: text`.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn sink(&self) -> OutputSink {
        let lines = self.clone();
        Arc::new(move |path: &liveoak_runtime::Path, line: liveoak_process::OutputLine<'_>| {
            lines.0.lock().unwrap().push(format!("{path}: {}", line.text));
        })
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Runs a tree `t` of one child until it ends.
async fn run(child: Program, lines: &Lines) {
    let child = child.output(lines.sink()).restart(Restart::Temporary);
    let tree = Supervisor::new("t").child(child).end_when_done().begin().expect("a runtime");
    within(tree.join()).await;
}

/// Starts a tree whose child `a` has this probe, and returns why the first start failed.
async fn refused(probe: Probe, child: Program) -> String {
    let started = within(Supervisor::new("t").child(child.ready(probe)).start()).await;
    let Err(StartError::Failed { failure, .. }) = started else { panic!("the start did not fail") };
    let Exit::Failed(failure) = &failure.exit else { panic!("{:?}", failure.exit) };
    let error = failure.error().and_then(|error| error.downcast_ref::<SpawnFailed>());
    let Some(SpawnFailed(error @ SpawnError::ReadyCheck { .. })) = error else { panic!("{failure}") };
    assert!(!error.is_retryable());
    failure.to_string()
}

#[tokio::test]
async fn each_attempt_gets_its_path_its_replica_and_its_number() {
    let (lines, dir) = (Lines::default(), Dir::new());
    let script =
        "echo $LIVEOAK_PATH $LIVEOAK_REPLICA $LIVEOAK_ATTEMPT; test -e seen || { touch seen; exit 3; }";
    let child = Child::shell("a.2", script).cwd(dir.path()).env("LIVEOAK_PATH", "/other").replica(2);
    let child = child.output(lines.sink()).restart(Restart::Transient).backoff(None);
    let tree = Supervisor::new("t").child(child).end_when_done().begin().expect("a runtime");
    within(tree.join()).await;
    assert_eq!(lines.take(), ["/t/a.2: /t/a.2 2 1", "/t/a.2: /t/a.2 2 2"]);

    run(Child::shell("b", "echo $LIVEOAK_REPLICA").with(CommandLine::env_clear), &lines).await;
    assert_eq!(lines.take(), ["/t/b: 1"]);
}

#[tokio::test]
async fn a_probe_command_has_the_environment_of_the_program() {
    let (lines, dir) = (Lines::default(), Dir::new());
    let check = "#!/bin/sh\necho $A $B $PWD $LIVEOAK_PATH $LIVEOAK_REPLICA $LIVEOAK_ATTEMPT > asked\n";
    dir.file("tools/is-up", check, 0o755);
    dir.file("tools/server", "#!/bin/sh\nwhile ! test -s asked; do sleep 0.01; done; cat asked\n", 0o755);
    let child = Child::command("a", ["server"]).cwd(dir.path()).env("PATH", "tools:/usr/bin:/bin");
    let child = child.env("A", "theirs").env("B", "theirs").replica(7);
    let probe = Probe::command(CommandLine::new("is-up").env("B", "own"));
    run(child.ready(probe), &lines).await;
    assert_eq!(lines.take(), [format!("/t/a: theirs own {} /t/a 7 1", dir.path().display())]);
}

#[tokio::test]
async fn a_probe_command_that_cannot_be_run_fails_the_start_at_once_with_a_reason() {
    let dir = Dir::new();
    dir.file("plain", "", 0o644);
    dir.file("bad-script", "#!/no/such/shell\n", 0o755);
    dir.file("no-program", "\0\0\0\0", 0o755);
    let at = |name: &str| dir.at(name).display().to_string();
    for (command, why) in [
        ("no-such-check", "find no-such-check in PATH (2 folders)".to_owned()),
        ("./missing", format!("run {}: there is no such file", at("missing"))),
        ("./plain", format!("run {}: it is not executable by this user", at("plain"))),
        ("./", format!("run {}/: it is a directory", dir.path().display())),
        ("./bad-script", format!("run {}: its interpreter", at("bad-script"))),
        ("./no-program", format!("run {}: it is neither a binary", at("no-program"))),
    ] {
        let child = Child::command("a", ["sleep", "1000"]).cwd(dir.path()).env("PATH", "/usr/bin:/bin");
        let probe = Probe::command(CommandLine::new(command).arg("hunter2"));
        let text = refused(probe, child).await;
        let expected = format!("could not run the ready check: could not {}", why.replace("/./", "/"));
        assert!(text.starts_with(&expected) && !text.contains("hunter2"), "{command}: {text}");
    }
    let probe = Probe::command(CommandLine::new("true").cwd("no-folder"));
    let text = refused(probe, Child::command("a", ["sleep", "1000"]).cwd(dir.path())).await;
    assert!(text.ends_with(&format!("enter {}: there is no such directory", at("no-folder"))), "{text}");
}

#[tokio::test]
async fn a_program_whose_probe_cannot_be_looked_up_is_not_started() {
    let dir = Dir::new();
    let child = Child::shell("a", "touch started; exec sleep 1000").cwd(dir.path());
    refused(Probe::command(CommandLine::new("./missing")), child).await;
    assert!(!dir.at("started").exists());
}

#[tokio::test]
async fn pwd_is_the_folder_as_it_was_given_and_oldpwd_is_unset() {
    let dir = Dir::new();
    std::fs::create_dir_all(dir.at("real/inner")).unwrap();
    symlink(dir.at("real"), dir.at("link")).unwrap();
    let real = dir.path().canonicalize().unwrap();
    for (cwd, told) in [
        (dir.at("link"), dir.at("link")),
        (dir.at("link/inner/"), dir.at("link/inner")),
        (dir.at("./real/."), dir.at("real")),
        // After a symbolic link, `..` does not lead to the folder before it in the text.
        (dir.at("link/inner/.."), real.join("real")),
    ] {
        let command = CommandLine::argv(["sh", "-c", "printenv PWD OLDPWD; pwd -P"]).cwd(&cwd);
        let (mut process, mut output) = start(&command).await;
        assert_eq!(output.line().await, told.display().to_string(), "{}", cwd.display());
        assert_eq!(output.line().await, cwd.canonicalize().unwrap().display().to_string());
        within(process.exited()).await;
    }
    let (mut process, mut output) = start(&CommandLine::argv(["printenv", "PWD"])).await;
    let told = output.line().await;
    assert_eq!(
        std::fs::canonicalize(told).unwrap(),
        std::env::current_dir().unwrap().canonicalize().unwrap()
    );
    within(process.exited()).await;
}
