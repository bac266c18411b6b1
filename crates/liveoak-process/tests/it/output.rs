//! Output of programs: all bytes arrive, and neither the program nor other tasks are blocked.

use crate::program::{LONG_LINE, TestProgram};
use crate::support::{Line, TIME_LIMIT, look_for, shell, start, within};
use liveoak_process::{CommandLine, MAX_LINE, OutputEnd, OutputMode, Process, Status, Stream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

fn line(stream: Stream, text: &str) -> Line {
    Line { stream, text: text.to_owned(), continued: false }
}

#[tokio::test]
async fn both_streams_arrive_line_by_line() {
    let (mut process, mut output) = shell(r"printf 'one\r\ntwo\n\n'; printf 'err\nlast' >&2").await;
    assert_eq!(within(process.output_end()).await, OutputEnd::Complete);
    let (stdout, stderr): (Vec<Line>, Vec<Line>) =
        output.rest().await.into_iter().partition(|line| line.stream == Stream::Stdout);
    assert_eq!(stdout, ["one", "two", ""].map(|text| line(Stream::Stdout, text)));
    assert_eq!(stderr, ["err", "last"].map(|text| line(Stream::Stderr, text)));
}

#[tokio::test]
async fn a_full_stdout_pipe_never_blocks_the_child_forever() {
    // Far more than the pipes can hold, on both streams.
    let flood = "yes oak | head -n 300000; yes leaf | head -n 300000 >&2; exit 4";
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let sink = move |_: liveoak_process::OutputLine<'_>| {
        counted.fetch_add(1, Ordering::Relaxed);
    };
    let mut process = within(Process::spawn(&CommandLine::shell(flood), sink)).await.unwrap();
    assert_eq!(within(process.exited()).await, Status::Code(4));
    assert_eq!(within(process.output_end()).await, OutputEnd::Complete);
    assert_eq!(count.load(Ordering::Relaxed), 600_000);
}

#[test]
fn a_line_of_64_mib_is_split_and_not_held_in_memory() {
    let mut program = TestProgram::start("long line", "");
    let mut number = || program.word().parse::<usize>().unwrap();
    let (length, longest, pieces, peak) = (number(), number(), number(), number());
    assert_eq!((length, longest, pieces), (LONG_LINE, MAX_LINE, LONG_LINE / MAX_LINE));
    assert_eq!(program.word(), "after");
    assert!(peak < LONG_LINE / 2, "{peak} bytes more than before: the whole line was held in memory");
}

#[tokio::test]
async fn invalid_utf8_is_replaced_and_a_nul_is_dropped() {
    let (mut process, mut output) = shell(r"printf 'a\377\376b\0c\033[1m\nnext\n'").await;
    within(process.output_end()).await;
    let expected = ["a\u{fffd}\u{fffd}bc\u{1b}[1m", "next"].map(|text| line(Stream::Stdout, text));
    assert_eq!(output.rest().await, expected);
}

#[tokio::test]
async fn output_after_exit_is_not_lost() {
    // On a loaded machine the exit may be known before the reader has read a byte. The pipe then still has all of them.
    let (mut process, mut output) = shell("seq 1 10000; printf end; exit 1").await;
    assert_eq!(within(process.exited()).await, Status::Code(1));
    within(process.finish(TIME_LIMIT)).await;
    assert_eq!(within(process.output_end()).await, OutputEnd::Complete);
    let lines = output.rest().await;
    assert_eq!((lines.len(), lines.last().unwrap().text.as_str()), (10_001, "end"));
}

#[tokio::test]
async fn output_of_a_program_that_was_killed_is_not_lost() {
    let (mut process, mut output) = shell("echo first; printf 'half a line'; kill -KILL $$").await;
    within(process.output_end()).await;
    assert_eq!(output.rest().await, ["first", "half a line"].map(|text| line(Stream::Stdout, text)));
}

#[tokio::test]
async fn grandchildren_that_hold_the_pipe_open_do_not_delay_the_exit() {
    let (mut process, mut output) = shell("sleep 1000 & echo out; exit 5").await;
    assert_eq!(within(process.exited()).await, Status::Code(5));
    assert!(process.group_alive(), "a grandchild holds the pipe open");
    assert_eq!(within(process.output_end()).await, OutputEnd::HeldOpen);
    assert_eq!(output.rest().await, [line(Stream::Stdout, "out")]);
}

#[tokio::test]
async fn a_descendant_that_never_stops_writing_does_not_keep_the_reader_busy_forever() {
    // Short lines would make the test slow, because the test allocates for each line.
    let (mut process, mut output) = shell("yes $(printf '%01000d' 0) & exit 5").await;
    assert_eq!(within(process.exited()).await, Status::Code(5));
    assert_eq!(within(process.output_end()).await, OutputEnd::HeldOpen);
    assert!(!output.rest().await.is_empty());
}

#[tokio::test]
async fn a_flood_of_output_lets_the_other_tasks_of_its_thread_run() {
    /// The bytes that may be read in one turn, and one more read that goes beyond.
    const TURN: usize = (256 + 64) * 1024;
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let sink = move |line: liveoak_process::OutputLine<'_>| {
        count.fetch_add(line.text.len() + 1, Ordering::Relaxed);
    };
    // Two processes continue to write after the exit. They are read until the grace ends; then the pipes are drained.
    let flood = CommandLine::shell(
        "line=$(printf %060d 0); yes $line & yes $line >&2 & yes $line | head -c 4000000; exit 5",
    );
    let mut process = within(Process::spawn(&flood, sink)).await.unwrap();
    let (mut longest, mut total) = (0, 0);
    let watch = async {
        loop {
            let turn = taken.swap(0, Ordering::Relaxed);
            (longest, total) = (longest.max(turn), total + turn);
            tokio::task::yield_now().await;
        }
    };
    let end = tokio::select! {
        end = within(process.output_end()) => end,
        () = watch => unreachable!("it watches forever"),
    };
    assert_eq!(end, OutputEnd::HeldOpen);
    assert!(total >= 4_000_000, "only {total} bytes were read");
    assert!(longest <= TURN, "{longest} bytes in one turn");
}

#[test]
fn a_flood_of_output_is_read_on_another_thread_when_its_own_is_blocked() {
    /// The number of bytes that are read before the thread is blocked. As many bytes must be read while it is blocked.
    const ENOUGH: usize = 2_000_000;
    /// The reader yields at least once while it reads this many bytes.
    const TURN: usize = (256 + 64) * 1024;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let (count, (release, released)) = (taken.clone(), channel::<()>());
    let mut block = Some(released);
    let mut last_pause = 0;
    let sink = move |line: liveoak_process::OutputLine<'_>| {
        let so_far = count.fetch_add(line.text.len() + 1, Ordering::Relaxed);
        if let Some(released) = block.take_if(|_| so_far > ENOUGH) {
            // A task that is spawned here is the next task of this thread.
            tokio::spawn(async move { released.recv() });
        }
        // The pipe must be full until the reader yields. A read that does not fill the buffer lets Tokio wait for the
        // next event of the pipe, and no thread watches events if the other one slept when this one was blocked.
        if (ENOUGH..ENOUGH + TURN).contains(&so_far) && so_far - last_pause > 32 * 1024 {
            last_pause = so_far;
            std::thread::sleep(Duration::from_millis(30));
        }
    };
    // With its line end a line has 1 KiB, so that lines fill a pipe and the reader's buffer to the last byte.
    let flood = CommandLine::shell("exec yes $(printf %01023d 0)");
    let mut process = runtime.block_on(within(Process::spawn(&flood, sink))).unwrap();
    look_for("reading beside the blocked thread", || {
        (taken.load(Ordering::Relaxed) > 2 * ENOUGH).then_some(())
    });
    drop(release);
    runtime.block_on(within(process.finish(Duration::ZERO)));
}

#[tokio::test]
async fn the_end_of_the_output_is_not_mistaken_for_the_exit() {
    let (mut process, mut output) = shell("echo bye; exec >&- 2>&-; read word; exec sleep 1000").await;
    assert_eq!(within(process.output_end()).await, OutputEnd::Complete);
    assert_eq!(output.rest().await, [line(Stream::Stdout, "bye")]);
    assert_eq!(process.try_exited(), None);
}

#[tokio::test]
async fn output_that_is_not_captured_is_not_read() {
    let command = CommandLine::shell("echo out; echo err >&2").stdout(OutputMode::Null);
    let (mut process, mut output) = start(&command).await;
    assert_eq!(within(process.output_end()).await, OutputEnd::Complete);
    assert_eq!(output.rest().await, [line(Stream::Stderr, "err")]);
    let (mut process, mut output) = start(&command.stderr(OutputMode::Null)).await;
    assert_eq!(within(process.output_end()).await, OutputEnd::Complete);
    assert_eq!(output.rest().await, []);
}

#[tokio::test]
async fn a_sink_that_panics_loses_only_the_line() {
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let sink = move |line: liveoak_process::OutputLine<'_>| {
        assert!(!line.text.contains("bad"), "on purpose, in the sink");
        let _ = sender.send(line.text.to_owned());
    };
    let line = "echo bad; sleep 0.1; echo good; echo bad; echo good; exit 7";
    let mut process = within(Process::spawn(&CommandLine::shell(line), sink)).await.unwrap();
    assert_eq!(within(process.exited()).await, Status::Code(7));
    assert_eq!(within(process.output_end()).await, OutputEnd::Complete);
    assert_eq!([lines.recv().await.unwrap(), lines.recv().await.unwrap()], ["good", "good"]);
    assert_eq!(lines.recv().await, None);
}

#[tokio::test]
async fn an_unfinished_line_is_passed_on_while_the_program_waits_and_continues_later() {
    let line =
        "trap 'echo done; exit' TERM; printf 'migrating... '; printf 'a prompt: ' >&2; sleep 1000 & wait";
    let (mut process, mut output) = shell(line).await;
    let mut seen = [output.line().await, output.line().await];
    seen.sort();
    assert_eq!(seen, ["a prompt: ", "migrating... "]);
    process.stop().unwrap();
    within(process.output_end()).await;
    let rest = output.rest().await;
    let continued: Vec<_> = rest.iter().filter(|line| line.stream == Stream::Stdout).collect();
    assert_eq!(continued, [&line_of("done")]);
}

#[tokio::test]
async fn a_line_that_never_pauses_is_passed_on_in_pieces() {
    let dots = "while :; do printf .; sleep 0.05; done";
    let (mut process, mut output) = shell(dots).await;
    let piece = output.line().await;
    assert!(piece.len() > 1 && piece.bytes().all(|byte| byte == b'.'), "{piece}");
    within(process.finish(Duration::ZERO)).await;
}

#[tokio::test]
async fn a_program_with_one_pipe_for_both_outputs_keeps_their_order() {
    let script = "for n in $(seq 300); do echo out $n; echo err $n >&2; done";
    let (mut process, mut output) = start(&CommandLine::shell(script).merge_output()).await;
    assert_eq!(within(process.output_end()).await, OutputEnd::Complete);
    let expected: Vec<Line> =
        (1..=300).flat_map(|n| [line_of(&format!("out {n}")), line_of(&format!("err {n}"))]).collect();
    assert_eq!(output.rest().await, expected);
    let nowhere = CommandLine::shell(script).merge_output().stdout(OutputMode::Null);
    let (mut process, mut output) = start(&nowhere).await;
    assert_eq!(within(process.output_end()).await, OutputEnd::Complete);
    assert_eq!(output.rest().await, []);
}

fn line_of(text: &str) -> Line {
    line(Stream::Stdout, text)
}
