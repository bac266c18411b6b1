//! Programs as children of a tree: one attempt is one process group, from its first process to its last.

use crate::support::{Dir, PATIENCE, Stranger, look_for, state, within};
use liveoak_process::{
    CommandLine, OutputSink, Probe, ProcessChild, Program, SpawnError, SpawnFailed, Stream,
};
use liveoak_runtime::{Child, Exit, Limit, Restart, StartError, StopStage, Supervisor, Tree};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Shell code of a process that ignores the stop signal, and then prints its process id.
const STUBBORN: &str = r#"sh -c 'trap "" TERM; echo $$; while :; do sleep 0.05; done'"#;

/// The output of all children of a tree, as `path: text`.
struct Talk(UnboundedReceiver<String>);

impl Talk {
    fn new() -> (Talk, OutputSink) {
        let (sender, receiver) = unbounded_channel();
        let sink = move |path: &liveoak_runtime::Path, line: liveoak_process::OutputLine<'_>| {
            let _ = sender.send(format!("{path}: {}", line.text));
        };
        (Talk(receiver), Arc::new(sink))
    }

    async fn line(&mut self) -> String {
        within(self.0.recv()).await.expect("the output goes on")
    }

    /// Opens the process whose id is the next line of the child `/t/a`.
    async fn process(&mut self) -> Stranger {
        let line = self.line().await;
        let number = line.strip_prefix("/t/a: ").and_then(|text| text.parse().ok());
        Stranger::new(number.unwrap_or_else(|| panic!("{line:?} is no number")))
    }

    /// Returns `true` if the process whose id is the next line is dead.
    async fn process_has_ended(&mut self) -> bool {
        let line = self.line().await;
        let number = line.strip_prefix("/t/a: ").and_then(|text| text.parse().ok()).expect("a number");
        state(number).is_none()
    }
}

/// Starts a tree of one child `a`, which runs a shell line.
fn tree(line: &str, sink: &OutputSink, change: impl FnOnce(Program) -> Program) -> Tree {
    let child = change(Child::shell("a", line).output(Arc::clone(sink)));
    Supervisor::new("t").child(child).begin().expect("a runtime")
}

fn only_entry(report: &liveoak_runtime::StopReport) -> (StopStage, String) {
    let [entry] = &report.entries[..] else { panic!("one child expected: {report:?}") };
    (entry.stage, entry.exit.as_ref().map(ToString::to_string).unwrap_or_default())
}

#[tokio::test]
async fn the_exit_comes_after_the_end_of_the_whole_group_and_its_output() {
    let (mut talk, sink) = Talk::new();
    // The member prints its own id: before its exec, a fork of the shell may swallow a signal.
    let line = "trap 'echo bye; exit 0' TERM; sh -c 'echo $$; exec sleep 1000' & wait";
    let tree = tree(line, &sink, |program| program);
    let member = talk.process().await;
    let report = within(tree.stop()).await;
    assert!(member.has_ended(), "a member outlived the attempt");
    assert_eq!(only_entry(&report), (StopStage::Asked, "completed".to_owned()));
    assert_eq!(talk.line().await, "/t/a: bye");
}

#[tokio::test]
async fn a_group_that_outlives_its_leader_during_the_stop_is_killed_at_the_deadline() {
    let (mut talk, sink) = Talk::new();
    let line = format!("trap 'exit 0' TERM; {STUBBORN} & wait");
    let tree = tree(&line, &sink, |program| program.stop_within(Duration::from_millis(200)));
    let member = talk.process().await;
    let began = Instant::now();
    let report = within(tree.stop()).await;
    assert!(began.elapsed() >= Duration::from_millis(200), "the group had no time to stop");
    assert!(member.has_ended());
    assert_eq!(only_entry(&report).0, StopStage::Killed);
}

#[tokio::test]
async fn processes_that_outlive_their_leader_and_must_be_killed_are_reported_as_forced() {
    let (mut talk, sink) = Talk::new();
    let line = format!("trap '' TERM; {STUBBORN} & exit 0");
    let tree = tree(&line, &sink, |program| program.stop_within(Duration::from_millis(300)));
    let member = talk.process().await;
    let report = within(tree.stop()).await;
    assert!(member.has_ended());
    assert_eq!(only_entry(&report), (StopStage::Killed, "completed".to_owned()));
}

#[tokio::test]
async fn processes_that_outlive_their_leader_end_before_the_next_attempt_starts() {
    let (mut talk, sink) = Talk::new();
    let dir = Dir::new();
    let line = format!("{STUBBORN} & until [ -e go ]; do sleep 0.02; done; rm go; exit 1");
    let tree = tree(&line, &sink, |program| {
        program.cwd(dir.path()).stop_within(Duration::from_millis(100)).backoff(None)
    });
    let mut before = talk.process().await;
    for _ in 0..3 {
        dir.file("go", "", 0o644);
        let next = talk.process().await;
        assert!(before.has_ended(), "two attempts at once");
        before = next;
    }
    within(tree.kill()).await;
    assert!(before.has_ended());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_stop_that_waits_for_processes_of_a_dead_leader_is_bounded_by_the_childs_own_time() {
    let (mut talk, sink) = Talk::new();
    let line = format!("{STUBBORN} & until [ -e go ]; do sleep 0.02; done; exit 0");
    let dir = Dir::new();
    let tree = tree(&line, &sink, |program| {
        program.cwd(dir.path()).stop_within(Duration::from_secs(2)).restart(Restart::Transient)
    });
    let member = talk.process().await;
    dir.file("go", "", 0o644);
    let leader_ended = || {
        let children = std::fs::read_to_string(format!("/proc/{}/stat", member.pid)).ok()?;
        let group: u32 = children.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()?;
        matches!(state(group), None | Some('Z')).then_some(())
    };
    look_for("end of the leader", leader_ended);
    within(tree.stop()).await;
    assert!(member.has_ended());
}

#[tokio::test]
async fn a_tree_killed_while_its_programs_are_being_spawned_leaves_none() {
    let dir = Dir::new();
    for round in 0..20 {
        let mut root = Supervisor::new("t");
        for nth in 0..10 {
            let command =
                CommandLine::argv(["sleep", "1000"]).env("LIVEOAK_ROUND", dir.at(&round.to_string()));
            root = root.child(Program::new(format!("a{nth}"), command));
        }
        let tree = root.order(liveoak_runtime::Order::Edges).begin().expect("a runtime");
        // Each round kills a little later, when no, some or all programs are spawned.
        for _ in 0..round * 3 {
            tokio::task::yield_now().await;
        }
        within(tree.kill()).await;
        assert_eq!(living_with(dir.path()), Vec::<u32>::new(), "round {round}");
    }
}

#[tokio::test]
async fn a_tree_that_is_dropped_while_its_programs_are_being_spawned_leaves_none() {
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
    // A dropped tree cannot be awaited, so its end is polled.
    let mut looks = 0;
    while !living_with(dir.path()).is_empty() {
        looks += 1;
        assert!(looks < 2000, "a program outlives its tree");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns the living processes that have this path in their environment.
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
async fn a_stop_before_the_program_is_ready_is_served_at_once() {
    let (mut talk, sink) = Talk::new();
    let probe = Probe::file("/no/such/file/anywhere");
    let tree = tree("echo $$; exec sleep 1000", &sink, |program| program.ready(probe).start_within(PATIENCE));
    let leader = talk.process().await;
    let report = within(tree.stop()).await;
    assert!(leader.has_ended());
    assert_eq!(only_entry(&report), (StopStage::Asked, "ended by SIGTERM".to_owned()));
}

#[tokio::test]
async fn a_program_that_is_not_ready_in_time_is_stopped_and_its_start_has_failed() {
    let (mut talk, sink) = Talk::new();
    let probe = Probe::file("/no/such/file/anywhere");
    let child = Child::shell("a", "echo $$; exec sleep 1000").output(sink).ready(probe);
    let start = Supervisor::new("t").child(child.start_within(Duration::from_millis(300))).start();
    let error = within(start).await.expect_err("it is never ready");
    assert!(talk.process_has_ended().await);
    let StartError::Failed { failure, .. } = error else { panic!("{error}") };
    assert!(matches!(failure.exit, Exit::StartTimeout(_)), "{}", failure.exit);
}

#[tokio::test]
async fn a_program_that_ends_before_it_is_ready_has_failed_its_start_with_its_own_exit() {
    let child = Child::shell("a", "exit 6").ready(Probe::delay(PATIENCE)).start_within(PATIENCE * 2);
    let error = within(Supervisor::new("t").child(child).start()).await.expect_err("it ends");
    let StartError::Failed { failure, .. } = error else { panic!("{error}") };
    assert!(matches!(failure.exit, Exit::Code(6)), "{}", failure.exit);
}

#[tokio::test]
async fn a_line_written_right_after_the_start_makes_a_child_ready() {
    for _ in 0..20 {
        let child =
            Child::shell("a", "echo now; exec sleep 1000").ready(Probe::log("^now$").expect("a pattern"));
        let tree = within(Supervisor::new("t").child(child).start()).await.expect("it is ready");
        within(tree.kill()).await;
    }
}

#[tokio::test]
async fn each_attempt_has_to_become_ready_again() {
    let (mut talk, sink) = Talk::new();
    let dir = Dir::new();
    let line = "echo $$; [ -e quiet ] || echo up; exec sleep 1000";
    let tree = tree(line, &sink, |program| {
        program.cwd(dir.path()).ready(Probe::log("^up$").expect("a pattern")).backoff(None)
    });
    within(tree.ready()).await.expect("the first attempt says so");
    let first = talk.process().await;
    assert_eq!(talk.line().await, "/t/a: up");
    dir.file("quiet", "", 0o644);
    first.kill();
    let second = talk.process().await;
    assert_ne!(first.pid, second.pid);
    let snapshot = tree.snapshot();
    let state = &snapshot.get("/t/a").expect("the child").state;
    assert_eq!(state.as_str(), "starting");
    within(tree.stop()).await;
}

#[tokio::test]
async fn a_program_with_no_time_to_stop_is_killed_and_not_asked() {
    let (mut talk, sink) = Talk::new();
    let line = "trap 'echo asked' TERM; echo $$; while :; do sleep 0.05; done";
    let tree = tree(line, &sink, |program| program.stop_within(Duration::ZERO));
    let leader = talk.process().await;
    let report = within(tree.stop()).await;
    assert!(leader.has_ended());
    assert_eq!(only_entry(&report), (StopStage::Killed, "ended by SIGKILL".to_owned()));
    drop((tree, sink));
    assert!(talk.0.try_recv().is_err(), "it was asked");
}

#[tokio::test]
async fn the_exit_of_a_program_that_cannot_be_started_contains_the_error() {
    let child = Child::command("a", ["/no/such/program"]);
    let error =
        within(Supervisor::new("t").child(child).start()).await.expect_err("there is no such program");
    let said = error.to_string();
    assert!(said.contains("could not run /no/such/program: there is no such file"), "{said}");
    let StartError::Failed { failure, .. } = error else { panic!("{said}") };
    let Exit::Failed(failure) = &failure.exit else { panic!("{said}") };
    let SpawnFailed(cause) = failure.error().downcast_ref().expect("why it did not start");
    assert!(matches!(cause, SpawnError::NotFound { path } if path.ends_with("program")));
}

#[tokio::test]
async fn the_command_line_decides_which_exits_are_a_success() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    for (code, success, restart) in [(3, vec![0, 3], Restart::Transient), (0, vec![3], Restart::Temporary)] {
        let child = Child::shell("a", format!("exit {code}")).with(|command| command.success(success));
        let root = Supervisor::new("t").child(child.restart(restart)).end_when_done();
        let tree = root.begin().expect("a runtime");
        let ended = within(tree.join()).await;
        seen.lock().expect("no panic").push(ended.exit.is_failure());
    }
    assert_eq!(*seen.lock().expect("no panic"), [false, true]);
}

#[tokio::test]
async fn output_of_both_streams_arrives_with_the_path_of_its_child() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let sink: OutputSink = Arc::new(move |path, line| {
        kept.lock().expect("no panic").push((path.to_string(), line.stream, line.text.to_owned()));
    });
    let child = Child::shell("a", "echo out; echo err >&2").output(sink).restart(Restart::Temporary);
    let nested = Supervisor::new("s").child(child);
    let tree = Supervisor::new("t").child(nested).end_when_done().begin().expect("a runtime");
    within(tree.join()).await;
    let mut lines = lines.lock().expect("no panic").clone();
    lines.sort_by_key(|(_, stream, _)| *stream == Stream::Stderr);
    let path = "/t/s/a".to_owned();
    assert_eq!(
        lines,
        [(path.clone(), Stream::Stdout, "out".to_owned()), (path, Stream::Stderr, "err".to_owned())]
    );
}

#[tokio::test]
async fn attempts_without_end_leave_no_descriptor_behind() {
    let open = || std::fs::read_dir("/proc/self/fd").expect("/proc").count();
    let (mut talk, sink) = Talk::new();
    let tree = tree("echo x", &sink, |program| program.backoff(None).limit(Limit::unlimited()));
    for _ in 0..20 {
        talk.line().await;
    }
    let before = open();
    for _ in 0..200 {
        talk.line().await;
    }
    within(tree.stop()).await;
    // Other tests in this program use some descriptors at the same time.
    let begin = Instant::now();
    while open() >= before + 100 {
        if begin.elapsed() > Duration::from_secs(30) {
            panic!("{before} descriptors became {}", open());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
