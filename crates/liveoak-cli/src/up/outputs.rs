//! The two outputs of `liveoak up`: stdout and stderr. Each has a writer. If both are the same file, they share one.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::io::Errno;
use tracing::Level;

use super::descriptor::{Descriptor, FileId};
use super::status::StatusLog;
use super::writer::{Bell, LossNote, News, Room, StreamWriter};

/// The writers to stdout and stderr.
pub(crate) struct Outputs {
    pub(crate) stdout: StreamWriter,
    pub(crate) stderr: StreamWriter,
    /// The identities of both files, if they can be written.
    ids: [Option<FileId>; 2],
    /// Rung whenever a writer has written something.
    pub(super) bell: Arc<Bell>,
}

impl Outputs {
    /// Opens the outputs of this process. Nothing is written yet. `log_note` reports lost lines of the log.
    pub(crate) fn of_process(log_note: LossNote) -> Self {
        Self::new([rustix::stdio::stdout(), rustix::stdio::stderr()], log_note)
    }

    fn new([stdout, stderr]: [BorrowedFd<'static>; 2], log_note: LossNote) -> Self {
        let bell = Arc::new(Bell::default());
        let ids = [stdout, stderr].map(FileId::of_writable);
        let writer = |fd: BorrowedFd<'static>, room| {
            StreamWriter::new(Descriptor::new(fd), Arc::clone(&bell), [lost_lines_note, log_note], room)
        };
        let to_stdout = writer(stdout, Room::Program);
        let to_stderr = match ids {
            // Two writers would mix their lines, and in a regular file they would overwrite each other.
            [Some(one), Some(other)] if one == other => to_stdout.with_room(Room::Run),
            _ => writer(stderr, Room::Run),
        };
        Self { stdout: to_stdout, stderr: to_stderr, ids, bell }
    }

    /// Returns the writer to the file with this identity, if it is one of the two.
    pub(crate) fn writer_to(&self, id: FileId) -> Option<StreamWriter> {
        let [stdout, stderr] = self.ids;
        match Some(id) {
            found if found == stdout => Some(self.stdout.with_room(Room::Run)),
            found if found == stderr => Some(self.stderr.with_room(Room::Run)),
            _ => None,
        }
    }

    /// Reports errors of each output on the other output. If both are one file, nothing is reported.
    pub(crate) fn tell_each_other(&self, status: &StatusLog) {
        if self.stdout.is_same(&self.stderr) {
            return;
        }
        let (status, stdout) = (status.clone(), self.stdout.with_room(Room::Run));
        self.stdout.on_news(move |news| {
            let level = if news == News::Resumed { Level::INFO } else { Level::WARN };
            status.message(level, event_of(news), &in_words("stdout", news));
        });
        self.stderr.on_news(move |news| stdout.line(&by_liveoak(&in_words("stderr", news))));
    }

    /// Writes a message about the output `name` to the other output. `on_stderr` writes it to stderr.
    pub(super) fn tell_about(&self, name: &str, text: &str, on_stderr: impl FnOnce(&str)) {
        if self.stdout.is_same(&self.stderr) {
            return;
        }
        match name {
            "stderr" => self.stdout.with_room(Room::Run).line(&by_liveoak(text)),
            _ => on_stderr(text),
        }
    }

    /// Returns the writers with their names: two, or one if both outputs are one file.
    pub(super) fn each(&self) -> Vec<(&'static str, &StreamWriter)> {
        let mut all = vec![("stdout", &self.stdout)];
        if !self.stdout.is_same(&self.stderr) {
            all.push(("stderr", &self.stderr));
        }
        all
    }
}

/// Returns a line for stdout. It has no path in front, because no child wrote it.
fn by_liveoak(text: &str) -> String {
    format!("liveoak: {text}")
}

/// Returns the name of the news in JSON.
fn event_of(news: News) -> &'static str {
    match news {
        News::Refused(_) => "output-refused",
        News::Resumed => "output-resumed",
        News::Ended(_) => "output-ended",
    }
}

fn in_words(stream: &str, news: News) -> String {
    match news {
        News::Refused(error) => {
            let why = reason(error);
            format!(
                "cannot write to {stream}: {why}; up to 16 MiB of its lines wait, and the write is tried again"
            )
        }
        News::Resumed => format!("{stream} takes output again"),
        News::Ended(Errno::PIPE) => {
            format!(
                "the reader of {stream} has closed it: nothing more is written to {stream}, and the tree continues to run"
            )
        }
        News::Ended(error) => {
            format!(
                "cannot write to {stream}: {}; nothing is written to {stream}, and the tree continues to run",
                reason(error)
            )
        }
    }
}

/// Returns an error with the message of the system.
pub(super) fn reason(error: Errno) -> std::io::Error {
    error.into()
}

/// Returns the note about lost lines of programs. It has no path in front, because no child wrote it.
fn lost_lines_note(lost: u64) -> String {
    let lines = if lost == 1 { "1 line was".to_owned() } else { format!("{lost} lines were") };
    format!("liveoak: {lines} lost here, because the reader of this output was too slow\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    fn leaked(file: std::fs::File) -> BorrowedFd<'static> {
        let file: &'static std::fs::File = Box::leak(Box::new(file));
        file.as_fd()
    }

    fn null() -> std::fs::File {
        std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").expect("it exists")
    }

    fn note(_: u64) -> String {
        String::new()
    }

    #[test]
    fn outputs_that_are_the_same_file_have_one_writer() {
        let zero = std::fs::OpenOptions::new().write(true).open("/dev/zero").expect("it exists");
        let same = Outputs::new([leaked(null()), leaked(null())], note);
        assert!(same.stdout.is_same(&same.stderr));
        let different = Outputs::new([leaked(null()), leaked(zero)], note);
        assert!(!different.stdout.is_same(&different.stderr));
    }

    #[test]
    fn an_output_that_is_not_open_for_writing_shares_no_writer() {
        let read_only = std::fs::File::open("/dev/null").expect("it exists");
        let outputs = Outputs::new([leaked(read_only), leaked(null())], note);
        assert!(!outputs.stdout.is_same(&outputs.stderr));
    }
}
