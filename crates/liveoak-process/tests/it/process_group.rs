//! A `Process` stands for its whole process group: its end, its signals, and processes that outlive the leader.

use crate::support::{Dir, TIME_LIMIT, WatchedProcess, look_for, shell, start, state, within};
use liveoak_process::{CommandLine, OUTPUT_GRACE, OutputEnd, Process, Signal, SignalError, Status};
use std::future::{Future, poll_fn};
use std::io::Write;
use std::task::Poll;
use std::time::{Duration, Instant};

const KILLED: Status = Status::Signal { signal: Signal::KILL, core_dumped: false };

/// A grace that is longer than any test.
const AMPLE: Duration = TIME_LIMIT;

#[tokio::test]
async fn an_exit_is_returned_with_its_code_at_every_call() {
    let (mut process, _) = shell("exit 42").await;
    assert_eq!(within(process.exited()).await, Status::Code(42));
    assert_eq!(within(process.exited()).await, Status::Code(42));
    assert_eq!(process.try_exited(), Some(Status::Code(42)));
    assert_eq!(within(process.finish(AMPLE)).await.status, Status::Code(42));
    assert_eq!(within(process.exited()).await, Status::Code(42));
}

#[tokio::test]
async fn an_exit_by_a_signal_names_it() {
    let (mut process, _) = shell("kill -USR1 $$").await;
    assert_eq!(within(process.exited()).await, Status::Signal { signal: Signal::USR1, core_dumped: false });
}

#[tokio::test]
async fn the_wait_for_an_exit_can_be_dropped_and_begun_again() {
    let (mut process, _) = shell("exec sleep 1000").await;
    for _ in 0..3 {
        let mut exited = Box::pin(process.exited());
        let first = poll_fn(|cx| Poll::Ready(exited.as_mut().poll(cx))).await;
        assert!(first.is_pending());
    }
    assert_eq!(process.try_exited(), None);
    process.kill().unwrap();
    assert_eq!(within(process.exited()).await, KILLED);
}

#[tokio::test]
async fn the_stop_continues_with_the_process_group_after_the_exit_of_its_leader() {
    let dir = Dir::new();
    dir.file("survivor", "trap 'echo > stopped; exit 0' TERM; echo $$; while :; do :; done", 0o644);
    let (mut process, mut output) = start(&CommandLine::shell("sh survivor & exit 3").cwd(dir.path())).await;
    let survivor = WatchedProcess::new(output.number().await);
    assert_eq!(within(process.exited()).await, Status::Code(3));
    assert!(process.group_alive(), "the survivor lives");
    let finished = within(process.finish(AMPLE)).await;
    assert_eq!((finished.status, finished.forced), (Status::Code(3), false));
    assert!(survivor.has_ended(), "finish returned before the last process had ended");
    assert!(dir.at("stopped").exists(), "the survivor was killed without being asked");
    assert!(!process.group_alive());
}

#[tokio::test]
async fn a_process_of_the_group_that_ignores_the_stop_is_killed_after_the_grace() {
    let (mut process, mut output) = shell("trap '' TERM; (echo ready; exec sleep 1000) & wait; exit 0").await;
    assert_eq!(output.line().await, "ready");
    let grace = Duration::from_millis(50);
    let asked = Instant::now();
    let finished = within(process.finish(grace)).await;
    assert!(asked.elapsed() >= grace);
    assert_eq!((finished.status, finished.forced), (KILLED, true));
    let again = within(process.finish(grace)).await;
    assert_eq!(again, finished);
}

#[tokio::test]
async fn a_process_group_without_live_processes_finishes_without_a_signal() {
    let (mut process, _) = shell("exit 0").await;
    within(process.exited()).await;
    assert!(!process.group_alive(), "a zombie is not alive");
    let finished = within(process.finish(Duration::ZERO)).await;
    assert_eq!((finished.status, finished.forced), (Status::Code(0), false));
}

#[tokio::test]
async fn the_stop_signal_is_that_of_the_command_line() {
    let command = CommandLine::shell("trap 'exit 7' INT; echo ready; while :; do :; done");
    let (mut process, mut output) = start(&command.stop_signal(Signal::INT)).await;
    output.line().await;
    let finished = within(process.finish(AMPLE)).await;
    assert_eq!((finished.status, finished.forced), (Status::Code(7), false));
}

#[tokio::test]
async fn suspended_children_can_be_killed() {
    let (mut process, mut output) = shell("(echo; exec sleep 1000) & kill -STOP $$").await;
    output.line().await;
    look_for("stopped process", || (state(process.id()) == Some('T')).then_some(()));
    process.signal(Signal::STOP).unwrap();
    process.kill().unwrap();
    assert_eq!(within(process.exited()).await, KILLED);
    within(process.group_ended()).await;
}

#[tokio::test]
async fn suspended_children_receive_the_stop() {
    let (mut process, _) = shell("kill -STOP $$; sleep 1000").await;
    look_for("stopped process", || (state(process.id()) == Some('T')).then_some(()));
    let finished = within(process.finish(AMPLE)).await;
    assert_eq!(finished.status, Status::Signal { signal: Signal::TERM, core_dumped: false });
    assert!(!finished.forced);
}

#[tokio::test]
async fn a_dropped_process_is_killed_with_its_group_and_reaped() {
    let (process, mut output) = shell("sh -c 'trap \"\" TERM; echo $$; exec sleep 1000' & wait").await;
    let survivor = WatchedProcess::new(output.number().await);
    let leader = process.id();
    drop(process);
    survivor.ends();
    look_for("reaped leader", || state(leader).is_none().then_some(()));
}

#[tokio::test]
async fn a_finished_process_is_reaped_and_no_longer_signalled() {
    let (mut process, _) = shell("exit 0").await;
    within(process.exited()).await;
    assert_eq!(state(process.id()), Some('Z'), "the process id is kept as long as it can be signalled");
    process.signal(Signal::TERM).unwrap();
    within(process.finish(AMPLE)).await;
    assert_eq!(state(process.id()), None);
    assert!(matches!(process.kill(), Err(SignalError::Ended)));
}

#[tokio::test]
async fn a_spawn_that_is_dropped_leaves_no_process() {
    let dir = Dir::new();
    let command = CommandLine::shell("echo $$ > pid.new; mv pid.new pid; exec sleep 1000").cwd(dir.path());
    // The first poll begins the look-up of the program, the second one sends the request to the spawner. On a busy
    // machine the answer may already be there. In this case the test tries again.
    let spawn = loop {
        let mut spawn = Box::pin(Process::spawn(&command, |_| {}));
        let mut polls = 0;
        let polled_twice = poll_fn(|cx| {
            polls += 1;
            match spawn.as_mut().poll(cx) {
                Poll::Pending if polls < 2 => Poll::Pending,
                polled => Poll::Ready(polled.is_pending()),
            }
        });
        if polled_twice.await {
            break spawn;
        }
        let _none_yet = std::fs::remove_file(dir.at("pid"));
    };
    let pid = look_for("pid file", || std::fs::read_to_string(dir.at("pid")).ok());
    let child = WatchedProcess::new(pid.trim().parse().unwrap());
    assert!(!child.has_ended());
    drop(spawn);
    child.ends();
}

#[test]
fn a_process_survives_the_end_of_the_thread_that_spawned_it() {
    let dir = Dir::new();
    let fifo = dir.at("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let command = CommandLine::shell("read word < fifo; exit 9").cwd(dir.path());
    let mut process = std::thread::spawn(move || {
        let workers =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let spawn = workers.spawn(async move { Process::spawn(&command, |_| {}).await.unwrap() });
        workers.block_on(spawn).unwrap()
    })
    .join()
    .unwrap();
    // The worker, its runtime and their thread have ended. If the child had been bound to them, it would be dead now.
    // The FIFO is also opened for reading. If the child were dead, an open only for writing would wait for a reader.
    let mut fifo = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    fifo.write_all(b"go\n").unwrap();
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let status = other.block_on(async { within(process.exited()).await });
    assert_eq!(status, Status::Code(9));
}

#[tokio::test]
async fn every_process_leads_a_process_group_of_its_own() {
    let (_process, mut output) = shell("echo $$; cut -d' ' -f5 /proc/$$/stat; exec sleep 1000").await;
    assert_eq!(output.number().await, output.number().await);
}

#[tokio::test]
async fn descriptors_of_the_parent_are_not_inherited() {
    // The parent has a process, a pipe and the guardian's pipe open.
    let (_first, _) = shell("exec sleep 1000").await;
    let (_read, _write) = rustix::pipe::pipe().unwrap();
    let (mut process, mut output) = start(&CommandLine::new("/bin/ls").arg("/proc/self/fd")).await;
    within(process.output_end()).await;
    let open: Vec<String> = output.rest().await.into_iter().map(|line| line.text).collect();
    // 3 is the directory that ls reads.
    assert_eq!(open, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn environment_directory_and_input_are_those_of_the_command_line() {
    let dir = Dir::new();
    let command =
        CommandLine::argv(["/bin/sh", "-c", "cat; pwd; echo $A; echo ${HOME-none}; echo $0", "a 'b' $c"]);
    let command = command.env("A", "gone").env_clear().env("A", "x y").cwd(dir.path());
    let (mut process, mut output) = start(&command).await;
    assert_eq!(output.line().await, dir.path().canonicalize().unwrap().to_str().unwrap());
    assert_eq!(output.line().await, "x y");
    assert_eq!(output.line().await, "none");
    assert_eq!(output.line().await, "a 'b' $c");
    assert_eq!(within(process.exited()).await, Status::Code(0));
    assert_eq!(within(process.output_end()).await, OutputEnd::Complete);
}

#[tokio::test]
async fn many_processes_end_at_once_and_each_is_seen() {
    let mut all = Vec::new();
    for number in 0..100 {
        all.push((number, shell(&format!("exit {number}")).await.0));
    }
    for (number, process) in &mut all {
        assert_eq!(within(process.exited()).await, Status::Code(*number));
        within(process.finish(OUTPUT_GRACE)).await;
    }
}

#[tokio::test]
async fn no_process_is_signalled_after_other_code_has_reaped_the_leader() {
    let (mut process, _) = shell("exit 5").await;
    let pid = rustix::process::Pid::from_raw(process.id().try_into().unwrap());
    rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()).unwrap();
    assert_eq!(within(process.exited()).await, Status::Lost);
    assert!(matches!(process.kill(), Err(SignalError::Ended)));
    assert_eq!(within(process.finish(AMPLE)).await.status, Status::Lost);
}
