//! The end of the outputs: text that waits is written as long as the readers make progress.
//!
//! Liveoak gives up on an output
//!
//! - after [`NO_PROGRESS`] during which its reader took nothing,
//! - after [`REFUSED`] during which the system refused the writes: a full disk has no reader that will read later,
//! - immediately if it is a terminal that is gone,
//! - and when a further signal asks for that.

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use liveoak::internal::{StopSignal, StopSignals, Wish, race};
use tracing::Level;

use super::outputs::{Outputs, reason};
use super::status::StatusLog;
use super::writer::{Progress, StreamWriter};

/// How long `finish` waits for a reader that reads nothing.
pub(crate) const NO_PROGRESS: Duration = Duration::from_secs(30);

/// How long `finish` waits for an output that the system refuses to write.
const REFUSED: Duration = Duration::from_secs(5);

/// After this time without progress, a message says what `finish` waits for.
pub(crate) const SAID_AFTER: Duration = Duration::from_secs(2);

/// A SIGINT within this time after the beginning of `finish` still counts as one with the signal that ended the tree.
const ONE_WISH: Duration = Duration::from_secs(1);

/// After a signal has asked to end at once: how long writes in progress may still take.
const AFTER_SIGNAL: Duration = Duration::from_secs(1);

/// An output and how far it was when it last made progress.
struct Watched<'a> {
    name: &'static str,
    writer: &'a StreamWriter,
    /// The written bytes, and how many of them the reader had not read yet.
    seen: [u64; 2],
    since: Instant,
    /// Since when it has text that is not written; `None` if it has none. A message about the loss of one output gives the
    /// other output new text, and so a new period.
    busy_since: Option<Instant>,
    given_up: bool,
}

impl Watched<'_> {
    /// Returns how long `finish` still waits for this output, or `None` if it does not wait. `asked` is the time of a signal
    /// that asked to end at once.
    fn left(&mut self, now: Instant, asked: Option<Instant>) -> Option<Duration> {
        let progress = self.writer.progress();
        if self.given_up || progress.left == 0 {
            self.busy_since = None;
            return None;
        }
        let busy_since = *self.busy_since.get_or_insert_with(|| {
            self.since = now;
            now
        });
        let seen = [progress.written, progress.unread];
        if seen != self.seen {
            (self.seen, self.since) = (seen, now);
        }
        let mut left = patience(&progress).saturating_sub(now.saturating_duration_since(self.since));
        if let Some(asked) = asked {
            let stalled = now.saturating_duration_since(self.since);
            left = left.min((asked.max(busy_since) + AFTER_SIGNAL).saturating_duration_since(now));
            left = left.min(AFTER_SIGNAL.saturating_sub(stalled));
        }
        (!left.is_zero()).then_some(left)
    }
}

/// Returns how long `finish` waits for an output without progress.
fn patience(progress: &Progress) -> Duration {
    match progress.refused {
        Some(_) if progress.hung_up => Duration::ZERO,
        Some(_) => REFUSED,
        None => NO_PROGRESS,
    }
}

/// Waits until all text is written, or is given up on. Returns `true` if all was written. Output without a reader (the reader
/// has closed its end, or the terminal is gone) does not count.
pub(crate) fn finish(outputs: &Outputs, status: &StatusLog, mut signals: Option<StopSignals>) -> bool {
    let begun = Instant::now();
    let mut all: Vec<Watched<'_>> =
        outputs.each().into_iter().map(|(name, writer)| watch(name, writer, begun)).collect();
    let waker = Waker::from(Arc::clone(&outputs.bell));
    let mut given_up = pin!(given_up(signals.as_mut(), begun));
    let (mut asked, mut said, mut complete) = (None, false, true);
    loop {
        let rung = outputs.bell.rung();
        let now = Instant::now();
        if asked.is_none() && given_up.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            asked = Some(now);
        }
        let mut next: Option<Duration> = None;
        for output in &mut all {
            match output.left(now, asked) {
                Some(left) => next = Some(next.map_or(left, |next| next.min(left))),
                None if !output.given_up && output.writer.progress().left > 0 => {
                    output.given_up = true;
                    complete &= report_loss(output, outputs, status);
                    // The message about the loss may have to go to the other output.
                    next = Some(Duration::ZERO);
                }
                None => {}
            }
        }
        let Some(next) = next else { return complete };
        let stalls = |output: &&Watched<'_>| {
            !output.given_up && output.writer.progress().left > 0 && now - output.since >= SAID_AFTER
        };
        if let Some(output) = all.iter().find(stalls).filter(|_| !said) {
            said = true;
            say_waiting(output, outputs, status);
        }
        // The bell rings for writes only. The progress of the reader must be polled.
        outputs.bell.wait(rung, next.min(SAID_AFTER));
    }
}

fn watch<'a>(name: &'static str, writer: &'a StreamWriter, since: Instant) -> Watched<'a> {
    writer.begin_finish();
    Watched { name, writer, seen: [0; 2], since, busy_since: None, given_up: false }
}

/// Reports on the other output what `finish` waits for.
fn say_waiting(output: &Watched<'_>, outputs: &Outputs, status: &StatusLog) {
    let (name, left) = (output.name, output.writer.progress().left);
    let text = format!("waiting until the reader of {name} takes the last {left} bytes; Ctrl-C drops them");
    outputs.tell_about(name, &text, |text| status.message(Level::INFO, "output-waits", text));
}

/// Reports how much of an output is lost, if Liveoak gives up on it. Returns `true` if the output has no reader.
fn report_loss(output: &Watched<'_>, outputs: &Outputs, status: &StatusLog) -> bool {
    let progress = output.writer.progress();
    if progress.hung_up {
        return true;
    }
    let why = match progress.refused {
        Some(error) => reason(error).to_string(),
        None => "its reader reads nothing".to_owned(),
    };
    let text = format!("cannot write the last {} bytes to {}: {why}", progress.left, output.name);
    outputs.tell_about(output.name, &text, |text| status.error(text));
    false
}

/// Waits until a signal asks to end without the rest of the output: the first signal of all, or a SIGINT more than a second
/// after it.
pub(crate) async fn given_up(signals: Option<&mut StopSignals>, begun: Instant) {
    let Some(signals) = signals else { return pending().await };
    // After a kill, `signals` reports nothing new, so a new listener is made for later signals.
    let Ok(further) = StopSignals::listen() else { return pending().await };
    race(first_or_kill(signals), further_interrupt(further, begun)).await;
}

async fn first_or_kill(signals: &mut StopSignals) {
    loop {
        match signals.changed().await {
            Wish::None | Wish::StopOrKill(_) => {}
            Wish::Stop(_) | Wish::Kill => return,
        }
    }
}

async fn further_interrupt(mut further: StopSignals, begun: Instant) {
    loop {
        match further.changed().await {
            Wish::Stop(StopSignal::Interrupt) if begun.elapsed() >= ONE_WISH => return,
            Wish::Kill => return,
            Wish::None | Wish::Stop(_) | Wish::StopOrKill(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::descriptor::{OutputFile, Unread};
    use super::super::writer::{Bell, Room};
    use super::*;
    use rustix::io::Errno;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A file that takes no bytes. Its reader has not read this many bytes.
    #[derive(Default)]
    struct Stuck(Arc<AtomicU64>);

    impl OutputFile for Stuck {
        fn write(&mut self, _: &[u8]) -> Result<usize, Errno> {
            loop {
                std::thread::park();
            }
        }

        fn wait(&mut self) {}

        fn is_hung_up(&self) -> bool {
            false
        }

        fn chunk(&self) -> usize {
            4096
        }

        fn unread(&self) -> Unread {
            let unread = Arc::clone(&self.0);
            Box::new(move || unread.load(Ordering::Relaxed))
        }
    }

    fn no_note(_: u64) -> String {
        String::new()
    }

    #[test]
    fn an_output_that_gets_the_news_about_the_other_has_all_of_its_time_for_it() {
        let writer = StreamWriter::new(Stuck::default(), Arc::<Bell>::default(), [no_note; 2], Room::Run);
        let begun = Instant::now();
        for (asked, time) in [(None, NO_PROGRESS), (Some(begun), AFTER_SIGNAL)] {
            let mut output = watch("stderr", &writer, begun);
            assert_eq!(output.left(begun, asked), (writer.progress().left > 0).then_some(time));
            output.busy_since = None;
            writer.line("cannot write the last 7 bytes to stdout");
            let now = begun + NO_PROGRESS;
            assert_eq!(output.left(now, asked), Some(time));
            assert_eq!(output.left(now + time / 2, asked), Some(time / 2));
            assert_eq!(output.left(now + time, asked), None);
        }
    }

    #[test]
    fn a_reader_of_single_bytes_makes_progress_also_while_the_pipe_takes_no_further_write() {
        let unread = Arc::new(AtomicU64::new(65_536));
        let file = Stuck(Arc::clone(&unread));
        let writer = StreamWriter::new(file, Arc::<Bell>::default(), [no_note; 2], Room::Run);
        writer.line("a line that does not fit into the pipe");
        let begun = Instant::now();
        let mut output = watch("stdout", &writer, begun);
        for look in 0..100 {
            assert_eq!(output.left(begun + look * NO_PROGRESS / 2, None), Some(NO_PROGRESS));
            unread.fetch_sub(1, Ordering::Relaxed);
        }
        let last = begun + 100 * NO_PROGRESS / 2;
        assert_eq!(output.left(last, None), Some(NO_PROGRESS));
        assert_eq!(output.left(last + NO_PROGRESS, None), None);
    }
}
