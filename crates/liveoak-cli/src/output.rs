//! Writing to stdout and stderr. When the reader of a pipe closes it, as in `liveoak schema | head -1`, the writing
//! ends without an error.

use std::io::{self, IsTerminal as _, Write as _};

/// Writes a text to stdout.
///
/// # Errors
/// The error of the system, unless the reader has closed the pipe.
pub(crate) fn stdout(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    quiet(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Writes a text to stderr. An error is ignored: there is no other place to report it.
pub(crate) fn stderr(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Returns `true` if stderr is to be coloured: it is a terminal that can show colours, and `NO_COLOR` is not set.
pub(crate) fn colour_on_stderr() -> bool {
    io::stderr().is_terminal() && colour_is_wanted()
}

/// Returns `true` if stdout is to be coloured, by the same rule.
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
