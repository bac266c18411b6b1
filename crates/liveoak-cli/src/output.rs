//! Writing to stdout and stderr. A reader that goes away, as in `liveoak schema | head -1`, ends the writing quietly.

use std::io::{self, IsTerminal as _, Write as _};

/// Writes a text to stdout.
///
/// # Errors
/// What the system says, except that nobody reads any more.
pub(crate) fn stdout(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    quiet(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Writes a text to stderr. There is nowhere left to tell of an error.
pub(crate) fn stderr(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Whether stderr is to be coloured: on a terminal that can, unless `NO_COLOR` says no.
pub(crate) fn colour_on_stderr() -> bool {
    io::stderr().is_terminal() && colour_is_wanted()
}

/// Whether stdout is to be coloured.
pub(crate) fn colour_on_stdout() -> bool {
    io::stdout().is_terminal() && colour_is_wanted()
}

fn colour_is_wanted() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !refused && !dumb
}

fn quiet(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
