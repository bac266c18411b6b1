//! Programs as children of a tree. An attempt is a whole process group: it ends when the last process of the group has ended.

use crate::support::{Dir, TIME_LIMIT, WatchedProcess, look_for, state, within};
use liveoak_process::{
    CommandLine, OutputSink, Probe, ProcessChild, Program, SpawnError, SpawnFailed, Stream,
};
use liveoak_runtime::{Check, Child, Exit, Limit, Restart, StartError, StopStage, Supervisor, Tree};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A shell line that starts a process which ignores the stop signal and then prints its process id.
const STUBBORN: &str = r#"sh -c 'trap "" TERM; echo $$; while :; do sleep 0.05; done'"#;

/// The output of all children of a tree, as `path: text`.
struct TreeOutput(UnboundedReceiver<String>);

impl TreeOutput {
    fn new() -> (TreeOutput, OutputSink) {
        let (sender, receiver) = unbounded_channel();
        let sink = move |path: &liveoak_runtime::Path, line: liveoak_process::OutputLine<'_>| {
            let _ = sender.send(format!("{path}: {}", line.text));
        };
        (TreeOutput(receiver), Arc::new(sink))
    }

    async fn line(&mut self) -> String {
        within(self.0.recv()).await.expect("another line of output")
    }

    /// Reads the next line, which is the id of a live process of the child `/t/a`.
    async fn process(&mut self) -> WatchedProcess {
        let line = self.line().await;
        let number = line.strip_prefix("/t/a: ").and_then(|text| text.parse().ok());
        WatchedProcess::new(number.unwrap_or_else(|| panic!("{line:?} is not a number")))
    }

    /// Returns `true` if the process whose id is in the next line has ended and was reaped.
    async fn process_has_ended(&mut self) -> bool {
        let line = self.line().await;
        let number = line.strip_prefix("/t/a: ").and_then(|text| text.parse().ok()).expect("a number");
        state(number).is_none()
    }
}

/// Begins a tree of one child `a` that runs a shell line.
fn tree(line: &str, sink: &OutputSink, change: impl FnOnce(Program) -> Program) -> Tree {
    let child = change(Child::shell("a", line).output(Arc::clone(sink)));
    Supervisor::new("t").child(child).begin().expect("a runtime")
}

fn only_entry(report: &liveoak_runtime::StopReport) -> (StopStage, String) {
    let [entry] = &report.entries[..] else { panic!("one child expected: {report:?}") };
    (entry.stage, entry.exit.as_ref().map(ToString::to_string).unwrap_or_default())
}

#[tokio::test]
async fn an_attempt_ends_when_its_whole_process_group_has_ended_and_its_output_is_delivered() {
    let (mut output, sink) = TreeOutput::new();
    // The inner process prints its id after its exec: before that, the shell's fork may swallow a signal.
    let line = "trap 'echo bye; exit 0' TERM; sh -c 'echo $$; exec sleep 1000' & wait";
    let tree = tree(line, &sink, |program| program);
    let survivor = output.process().await;
    let report = within(tree.stop()).await;
    assert!(survivor.has_ended(), "a process outlived the attempt");
    assert_eq!(only_entry(&report), (StopStage::Asked, "completed".to_owned()));
    assert_eq!(output.line().await, "/t/a: bye");
}

#[tokio::test]
async fn a_process_group_that_outlives_its_leader_during_the_stop_is_killed_at_the_deadline() {
    let (mut output, sink) = TreeOutput::new();
    let line = format!("trap 'exit 0' TERM; {STUBBORN} & wait");
    let tree = tree(&line, &sink, |program| program.stop_within(Duration::from_millis(200)));
    let survivor = output.process().await;
    let began = Instant::now();
    let report = within(tree.stop()).await;
    assert!(began.elapsed() >= Duration::from_millis(200), "the process group had no time to stop");
    assert!(survivor.has_ended());
    assert_eq!(only_entry(&report).0, StopStage::Killed);
}

#[tokio::test]
async fn an_end_is_forced_if_processes_that_outlive_their_leader_must_be_killed() {
    let (mut output, sink) = TreeOutput::new();
    let line = format!("trap '' TERM; {STUBBORN} & exit 0");
    let tree = tree(&line, &sink, |program| program.stop_within(Duration::from_millis(300)));
    let survivor = output.process().await;
    let report = within(tree.stop()).await;
    assert!(survivor.has_ended());
    assert_eq!(only_entry(&report), (StopStage::Killed, "completed".to_owned()));
}

#[tokio::test]
async fn processes_that_outlive_their_leader_have_ended_before_the_next_attempt_starts() {
    let (mut output, sink) = TreeOutput::new();
    let dir = Dir::new();
    let line = format!("{STUBBORN} & until [ -e go ]; do sleep 0.02; done; rm go; exit 1");
    let tree = tree(&line, &sink, |program| {
        program.cwd(dir.path()).stop_within(Duration::from_millis(100)).backoff(None)
    });
    let mut before = output.process().await;
    for _ in 0..3 {
        dir.file("go", "", 0o644);
        let next = output.process().await;
        assert!(before.has_ended(), "two attempts at once");
        before = next;
    }
    within(tree.kill()).await;
    assert!(before.has_ended());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_stop_deadline_of_the_child_bounds_the_wait_for_processes_that_outlive_their_leader() {
    let (mut output, sink) = TreeOutput::new();
    let line = format!("{STUBBORN} & until [ -e go ]; do sleep 0.02; done; exit 0");
    let dir = Dir::new();
    let tree = tree(&line, &sink, |program| {
        program.cwd(dir.path()).stop_within(Duration::from_secs(2)).restart(Restart::Transient)
    });
    let survivor = output.process().await;
    dir.file("go", "", 0o644);
    let leader_has_ended = || {
        let children = std::fs::read_to_string(format!("/proc/{}/stat", survivor.pid)).ok()?;
        let group: u32 = children.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()?;
        matches!(state(group), None | Some('Z')).then_some(())
    };
    look_for("end of the leader", leader_has_ended);
    within(tree.stop()).await;
    assert!(survivor.has_ended());
}

#[tokio::test]
async fn a_kill_of_the_tree_during_the_start_of_its_programs_leaves_no_process() {
    let dir = Dir::new();
    for round in 0..20 {
        let mut root = Supervisor::new("t");
        for nth in 0..10 {
            let command =
                CommandLine::argv(["sleep", "1000"]).env("LIVEOAK_ROUND", dir.at(&round.to_string()));
            root = root.child(Program::new(format!("a{nth}"), command));
        }
        let tree = root.order(liveoak_runtime::Order::Edges).begin().expect("a runtime");
        // Each round kills the tree a little later. At that time none, some or all of the programs are spawned.
        for _ in 0..round * 3 {
            tokio::task::yield_now().await;
        }
        within(tree.kill()).await;
        assert_eq!(living_with(dir.path()), Vec::<u32>::new(), "round {round}");
    }
}

#[tokio::test]
async fn a_drop_of_the_tree_during_the_start_of_its_programs_leaves_no_process() {
    let dir = Dir::new();
    for round in 0..10 {
        let command = CommandLine::argv(["sleep", "1000"]).env("LIVEOAK_ROUND", dir.at(&round.to_string()));
        let tree = Supervisor::new("t").child(Program::new("a", command)).begin().expect("a runtime");
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        drop(tree);
        tokio::task::yield_now().await;
    }
    // The end of a dropped tree cannot be awaited, so the processes are polled.
    let mut looks = 0;
    while !living_with(dir.path()).is_empty() {
        looks += 1;
        assert!(looks < 2000, "a program outlives its tree");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns the live processes that have this path in their environment.
fn living_with(path: &std::path::Path) -> Vec<u32> {
    let path = path.to_str().expect("text").as_bytes();
    let entries = std::fs::read_dir("/proc").expect("/proc");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let marked = |pid: &u32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.windows(path.len()).any(|window| window == path) && state(*pid) != Some('Z')
    };
    pids.filter(marked).collect()
}

#[tokio::test]
async fn a_program_that_is_not_ready_is_stopped_immediately() {
    let (mut output, sink) = TreeOutput::new();
    let probe = Probe::file("/no/such/file/anywhere");
    let tree =
        tree("echo $$; exec sleep 1000", &sink, |program| program.ready(probe).start_within(TIME_LIMIT));
    let leader = output.process().await;
    let report = within(tree.stop()).await;
    assert!(leader.has_ended());
    assert_eq!(only_entry(&report), (StopStage::Asked, "ended by SIGTERM".to_owned()));
}

#[tokio::test]
async fn a_program_that_is_not_ready_in_time_is_stopped_and_its_start_fails() {
    let (mut output, sink) = TreeOutput::new();
    let probe = Probe::file("/no/such/file/anywhere");
    let child = Child::shell("a", "echo $$; exec sleep 1000").output(sink).ready(probe);
    let start = Supervisor::new("t").child(child.start_within(Duration::from_millis(300))).start();
    let error = within(start).await.expect_err("it is never ready");
    assert!(output.process_has_ended().await);
    let StartError::Failed { failure, .. } = error else { panic!("{error}") };
    assert!(matches!(failure.exit, Exit::StartTimeout(_)), "{}", failure.exit);
}

#[tokio::test]
async fn a_program_that_ends_before_it_is_ready_fails_its_start_with_its_own_exit() {
    let child = Child::shell("a", "exit 6").ready(Probe::delay(TIME_LIMIT)).start_within(TIME_LIMIT * 2);
    let error = within(Supervisor::new("t").child(child).start()).await.expect_err("it ends");
    let StartError::Failed { failure, .. } = error else { panic!("{error}") };
    assert!(matches!(failure.exit, Exit::Code(6)), "{}", failure.exit);
}

#[tokio::test]
async fn a_line_written_in_the_first_instant_makes_the_program_ready() {
    for _ in 0..20 {
        let child =
            Child::shell("a", "echo now; exec sleep 1000").ready(Probe::log("^now$").expect("a pattern"));
        let tree = within(Supervisor::new("t").child(child).start()).await.expect("it is ready");
        within(tree.kill()).await;
    }
}

#[tokio::test]
async fn every_attempt_waits_for_its_own_readiness() {
    let (mut output, sink) = TreeOutput::new();
    let dir = Dir::new();
    let line = "echo $$; [ -e quiet ] || echo up; exec sleep 1000";
    let tree = tree(line, &sink, |program| {
        program.cwd(dir.path()).ready(Probe::log("^up$").expect("a pattern")).backoff(None)
    });
    within(tree.ready()).await.expect("the first attempt prints its line");
    let first = output.process().await;
    assert_eq!(output.line().await, "/t/a: up");
    dir.file("quiet", "", 0o644);
    first.kill();
    let second = output.process().await;
    assert_ne!(first.pid, second.pid);
    let snapshot = tree.snapshot();
    let state = &snapshot.get("/t/a").expect("the child").state;
    assert_eq!(state.as_str(), "starting");
    within(tree.stop()).await;
}

#[tokio::test]
async fn a_program_with_a_stop_deadline_of_zero_is_killed_without_being_asked() {
    let (mut output, sink) = TreeOutput::new();
    let line = "trap 'echo asked' TERM; echo $$; while :; do sleep 0.05; done";
    let tree = tree(line, &sink, |program| program.stop_within(Duration::ZERO));
    let leader = output.process().await;
    let report = within(tree.stop()).await;
    assert!(leader.has_ended());
    assert_eq!(only_entry(&report), (StopStage::Killed, "ended by SIGKILL".to_owned()));
    drop((tree, sink));
    assert!(output.0.try_recv().is_err(), "it was asked");
}

#[tokio::test]
async fn a_failed_start_of_a_program_reports_the_reason_and_keeps_the_error() {
    let child = Child::command("a", ["/no/such/program"]);
    let error =
        within(Supervisor::new("t").child(child).start()).await.expect_err("there is no such program");
    let said = error.to_string();
    assert!(said.contains("could not run /no/such/program: there is no such file"), "{said}");
    let StartError::Failed { failure, .. } = error else { panic!("{said}") };
    let Exit::Failed(failure) = &failure.exit else { panic!("{said}") };
    let SpawnFailed(cause) =
        failure.error().and_then(|error| error.downcast_ref()).expect("why it did not start");
    assert!(matches!(cause, SpawnError::NotFound { path } if path.ends_with("program")));
}

#[tokio::test]
async fn the_command_line_decides_which_exit_codes_are_a_success() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    for (code, success, restart) in [(3, vec![0, 3], Restart::Transient), (0, vec![3], Restart::Temporary)] {
        let child = Child::shell("a", format!("exit {code}")).with(|command| command.success(success));
        let root = Supervisor::new("t").child(child.restart(restart)).end_when_done();
        let tree = root.begin().expect("a runtime");
        let ended = within(tree.join()).await;
        seen.lock().expect("the lock is not poisoned").push(ended.exit.is_failure());
    }
    assert_eq!(*seen.lock().expect("the lock is not poisoned"), [false, true]);
}

#[tokio::test]
async fn output_of_both_streams_arrives_with_the_path_of_its_child() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let sink: OutputSink = Arc::new(move |path, line| {
        kept.lock().expect("the lock is not poisoned").push((
            path.to_string(),
            line.stream,
            line.text.to_owned(),
        ));
    });
    let child = Child::shell("a", "echo out; echo err >&2").output(sink).restart(Restart::Temporary);
    let nested = Supervisor::new("s").child(child);
    let tree = Supervisor::new("t").child(nested).end_when_done().begin().expect("a runtime");
    within(tree.join()).await;
    let mut lines = lines.lock().expect("the lock is not poisoned").clone();
    lines.sort_by_key(|(_, stream, _)| *stream == Stream::Stderr);
    let path = "/t/s/a".to_owned();
    assert_eq!(
        lines,
        [(path.clone(), Stream::Stdout, "out".to_owned()), (path, Stream::Stderr, "err".to_owned())]
    );
}

#[tokio::test]
async fn many_attempts_leave_no_open_descriptor() {
    let open = || std::fs::read_dir("/proc/self/fd").expect("/proc").count();
    let (mut output, sink) = TreeOutput::new();
    let tree = tree("echo x", &sink, |program| program.backoff(None).limit(Limit::unlimited()));
    for _ in 0..20 {
        output.line().await;
    }
    let before = open();
    for _ in 0..200 {
        output.line().await;
    }
    within(tree.stop()).await;
    // Other tests may run in this process at the same time, and have some descriptors open for a while.
    let begin = Instant::now();
    while open() >= before + 100 {
        if begin.elapsed() > Duration::from_secs(30) {
            panic!("{before} descriptors became {}", open());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_exit_code_of_restart_codes_starts_the_program_again_at_once_without_a_charge() {
    let (mut output, sink) = TreeOutput::new();
    let line = "echo $LIVEOAK_ATTEMPT; [ $LIVEOAK_ATTEMPT -gt 10 ] || exit 75; exec sleep 1000";
    let limit = Limit::new(0, Duration::from_secs(60));
    let tree = tree(line, &sink, |program| program.restart_codes([75, 76]).limit(limit));
    for attempt in 1..=11 {
        assert_eq!(output.line().await, format!("/t/a: {attempt}"));
    }
    let exit = tree.snapshot().get("/t/a").and_then(|view| view.last_exit.clone()).expect("an exit");
    assert_eq!(exit.to_string(), "asked for its restart: exit code 75");
    within(tree.stop()).await;
}

#[tokio::test]
async fn restart_codes_that_are_also_a_success_and_those_of_a_temporary_child_are_refused() {
    let refused = |program: Program| async move {
        match Supervisor::new("t").child(program).start().await {
            Err(StartError::Spec(errors)) => errors.to_string(),
            other => panic!("refused, not {other:?}"),
        }
    };
    assert_eq!(
        refused(Child::shell("a", "exit 0").restart_codes([75, 0])).await,
        "/t/a: restart_codes: the exit code 0 is also a success; expected it in one of the two lists"
    );
    let temporary = Child::shell("a", "exit 0").restart(Restart::Temporary).restart_codes([75]);
    assert_eq!(
        refused(temporary).await,
        "/t/a: restart_codes: a temporary child is never restarted, so it cannot ask for a restart; expected permanent or transient"
    );
}

#[tokio::test]
async fn the_start_refuses_settings_of_a_program_and_of_its_probes_that_have_no_effect() {
    let refused = |program: Program| match Supervisor::new("t").child(program).begin() {
        Ok(_) => Vec::new(),
        Err(StartError::Spec(errors)) => errors.0.into_iter().map(|error| error.field).collect(),
        Err(error) => panic!("{error}"),
    };
    let s = Duration::from_secs(1);
    let program = || Child::command("a", ["sleep", "1000"]);
    let check = || Check::every(s);
    let log = || Probe::log("up").expect("a pattern");
    assert_eq!(refused(program().ready(Probe::delay(s).every(s))), ["ready.every"]);
    assert_eq!(refused(program().ready(log().every(s).timeout(s))), ["ready.every", "ready.timeout"]);
    assert_eq!(refused(program().readiness(check(), log())), ["checks"]);
    assert_eq!(refused(program().liveness(check(), Probe::delay(s))), ["checks"]);
    assert_eq!(refused(program().liveness(check(), Probe::file("/").every(s))), ["checks.every"]);
    assert_eq!(refused(program().liveness(check(), Probe::file("/").timeout(2 * s))), ["checks.timeout"]);
    assert_eq!(refused(program().start_within(s)), ["start_within"]);
    assert_eq!(refused(program().restart(Restart::Temporary).backoff(None)), ["backoff"]);
    assert_eq!(refused(program().start_within(s).ready(log())), [""; 0]);
    assert_eq!(refused(program().ready(Probe::file("/").every(s).timeout(s))), [""; 0]);
    assert_eq!(refused(program().liveness(check(), Probe::file("/"))), [""; 0]);
}
