//! A writer blocks no caller, loses no text that fits, and gives up only if no write can succeed any more.

use super::super::descriptor::Descriptor;
use super::*;
use std::io::Read as _;
use std::sync::mpsc::{Receiver, Sender, channel};

/// A file in which each write waits until the test decides its result: an error or success. Once the test has dropped its end of
/// the channel, all writes succeed.
struct Scripted {
    next: Receiver<Result<(), Errno>>,
    written: Sender<Vec<u8>>,
}

impl OutputFile for Scripted {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        self.next.recv().unwrap_or(Ok(()))?;
        let _ = self.written.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn wait(&mut self) {}

    fn is_hung_up(&self) -> bool {
        false
    }

    fn chunk(&self) -> usize {
        4096
    }
}

fn program_note(lost: u64) -> String {
    format!("{lost} lines of programs lost\n")
}

fn log_note(lost: u64) -> String {
    format!("{lost} lines of the log lost\n")
}

fn writer_to(file: impl OutputFile + 'static) -> StreamWriter {
    StreamWriter::new(file, Arc::default(), [program_note, log_note], Room::Program)
}

/// Waits until all is written or no write can succeed any more.
fn finish(writer: &StreamWriter) {
    writer.begin_finish();
    loop {
        let seen = writer.buffer.bell.rung();
        if writer.progress().left == 0 {
            return;
        }
        writer.buffer.bell.wait(seen, Duration::from_secs(60));
    }
}

/// A writer to a file that the test controls, with all news about it.
struct Rig {
    writer: StreamWriter,
    next: Sender<Result<(), Errno>>,
    written: Receiver<Vec<u8>>,
    news: Arc<Mutex<Vec<News>>>,
}

impl Rig {
    fn new() -> Self {
        let (next, script) = channel();
        let (sender, written) = channel();
        let writer = writer_to(Scripted { next: script, written: sender });
        let news = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&news);
        writer.on_news(move |news| told.lock().expect("no panic").push(news));
        Self { writer, next, written, news }
    }

    /// Fills the buffer: one line is being written, the others wait.
    fn fill(&self, line: &str) {
        self.writer.line(line);
        while !self.writer.buffer.state().pending.is_empty() {
            std::thread::yield_now();
        }
        for _ in 0..CAPACITY / (line.len() + 1) {
            self.writer.line(line);
        }
    }

    /// Lets all writes succeed. Returns all that was written.
    fn end(self) -> (String, Vec<News>) {
        let Self { writer, next, written, news } = self;
        drop(next);
        finish(&writer);
        let all: Vec<u8> = written.try_iter().flatten().collect();
        let news = news.lock().expect("no panic").clone();
        (String::from_utf8(all).expect("text"), news)
    }
}

#[test]
fn a_reader_that_does_not_read_blocks_no_caller_and_gets_a_note_about_the_lost_lines() {
    let rig = Rig::new();
    let line = "x".repeat(1023);
    assert_eq!(rig.writer.fill(), Fill::Free);
    rig.fill(&line);
    assert_eq!(rig.writer.fill(), Fill::Full);
    for _ in 0..9 {
        rig.writer.line(&line);
    }
    let (text, news) = rig.end();
    assert_eq!(text.lines().filter(|text| **text == line).count(), CAPACITY / 1024);
    assert!(text.ends_with("\n10 lines of programs lost\n"), "{}", text.lines().last().unwrap_or_default());
    assert_eq!(news, []);
}

#[test]
fn a_flood_that_is_not_read_makes_one_note_about_many_losses_until_enough_room_is_free() {
    let rig = Rig::new();
    let line = "x".repeat(1023);
    rig.fill(&line);
    for round in 1..=5 {
        rig.writer.line(&line);
        rig.next.send(Ok(())).expect("the file is open");
        while rig.writer.progress().written < round * 1024 {
            std::thread::yield_now();
        }
    }
    let (text, _) = rig.end();
    let notes: Vec<_> = text.lines().filter(|text| text.contains("lost")).collect();
    assert_eq!(notes, ["6 lines of programs lost"]);
}

#[test]
fn lines_of_programs_leave_room_for_the_log_and_for_messages_about_the_run() {
    let rig = Rig::new();
    let line = "x".repeat(1023);
    rig.fill(&line);
    let log = rig.writer.with_room(Room::Log);
    let run = rig.writer.with_room(Room::Run);
    for _ in 0..ROOM_FOR_LOG / 1024 + 5 {
        log.line(&line);
    }
    run.line("the report");
    let (text, _) = rig.end();
    assert!(text.contains("\nthe report\n"));
    assert!(text.contains("\n1 lines of programs lost\n"));
    // The note about the programs takes room too.
    assert!(text.contains("\n6 lines of the log lost\n"));
}

#[test]
fn a_burst_of_lines_loses_nothing_if_the_reader_reads() {
    let rig = Rig::new();
    for _ in 0..10_000 {
        let _ = rig.next.send(Ok(()));
    }
    for number in 0..100_000 {
        rig.writer.line(&number.to_string());
    }
    let (text, _) = rig.end();
    assert!(text.lines().enumerate().all(|(number, line)| line == number.to_string()));
    assert_eq!(text.lines().count(), 100_000);
}

#[test]
fn a_write_that_the_system_refuses_is_reported_and_tried_again_until_it_succeeds() {
    for error in [Errno::NOSPC, Errno::IO, Errno::DQUOT, Errno::FBIG, Errno::NOMEM, Errno::CONNRESET] {
        let rig = Rig::new();
        rig.writer.line("first");
        for next in [Err(error), Err(error), Err(Errno::INTR), Err(error), Ok(()), Err(error)] {
            rig.next.send(next).expect("it is tried again");
        }
        rig.writer.line("second");
        let (text, news) = rig.end();
        assert_eq!(text, "first\nsecond\n", "{error:?}");
        let once = [News::Refused(error), News::Resumed];
        assert!(news == once || news == [once, once].concat(), "{error:?}: {news:?}");
    }
}

#[test]
fn a_reader_that_is_gone_ends_the_output_and_this_is_reported() {
    for error in [Errno::PIPE, Errno::BADF] {
        let rig = Rig::new();
        rig.writer.line("not read");
        rig.next.send(Err(error)).expect("it is written");
        finish(&rig.writer);
        rig.writer.line("not read either");
        assert_eq!(rig.writer.progress().ended, Some(error));
        assert_eq!(rig.writer.fill(), Fill::Dropping);
        let (text, news) = rig.end();
        assert_eq!((text.as_str(), news), ("", vec![News::Ended(error)]));
    }
}

#[test]
fn a_non_blocking_descriptor_loses_nothing() {
    let (mut reader, writer) = io::pipe().expect("a pipe");
    rustix::io::ioctl_fionbio(&writer, true).expect("non-blocking");
    let output = writer_to(Descriptor::new(writer));
    let text = "a line of text\n".repeat(20_000);
    output.text(text.as_bytes());
    let mut seen = vec![0; text.len()];
    reader.read_exact(&mut seen).expect("all of it");
    assert!(seen == text.as_bytes());
    finish(&output);
}

#[test]
fn lines_of_several_threads_are_whole() {
    let (mut reader, writer) = io::pipe().expect("a pipe");
    let output = writer_to(Descriptor::new(writer));
    let writers: Vec<_> = ['a', 'b', 'c']
        .map(|letter| {
            let output = output.clone();
            std::thread::spawn(move || {
                for length in 1..2_000 {
                    output.line(&letter.to_string().repeat(length));
                }
            })
        })
        .into();
    let read = std::thread::spawn(move || {
        let mut text = vec![0; 3 * (2..=2_000).sum::<usize>()];
        reader.read_exact(&mut text).expect("all of it");
        String::from_utf8(text).expect("text")
    });
    writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
    let text = read.join().expect("no panic");
    let mut next = [1; 3];
    for line in text.lines() {
        let letter = line.as_bytes()[0];
        let next = &mut next[usize::from(letter - b'a')];
        assert!(line.len() == *next && line.bytes().all(|byte| byte == letter), "{line}");
        *next += 1;
    }
    assert_eq!(next, [2_000; 3]);
}

#[test]
fn the_pause_before_the_next_try_grows_up_to_a_second() {
    let pauses: Vec<_> = (0..40).map(retry_pause).collect();
    assert!(pauses.is_sorted());
    assert_eq!((pauses[0], pauses[39]), RETRY);
}
