//! Writes to stdout and stderr, and formats texts for people. When the reader of a pipe closes it, as in
//! `liveoak schema | head -1`, the output ends without an error.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _};
use std::os::fd::BorrowedFd;

use liveoak_config::one_line;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Colours (SGR, ECMA-48) for the paths of children that are readable on dark and on light backgrounds.
pub(crate) const COLOURS: [&str; 10] = ["36", "32", "35", "34", "33", "96", "92", "95", "94", "93"];

/// Writes a text to stdout.
///
/// # Errors
/// Returns the error of the system, unless the reader has closed the pipe.
pub(crate) fn stdout(text: &str) -> io::Result<()> {
    match write_all(rustix::stdio::stdout(), text.as_bytes()) {
        Err(Errno::PIPE) => Ok(()),
        written => Ok(written?),
    }
}

/// Writes a text to stdout. Returns `false` if the reader has closed the pipe.
///
/// # Errors
/// Returns every other error of the system.
pub(crate) fn stdout_while_open(text: &str) -> io::Result<bool> {
    match write_all(rustix::stdio::stdout(), text.as_bytes()) {
        Err(Errno::PIPE) => Ok(false),
        written => Ok(written.map(|()| true)?),
    }
}

/// Writes a text to stderr. An error is ignored: there is no other place to report it.
pub(crate) fn stderr(text: &str) {
    let _ = write_all(rustix::stdio::stderr(), text.as_bytes());
}

/// Writes all bytes. Waits if the descriptor is non-blocking and its reader is slow.
fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
                // If the poll is interrupted, the write is tried once more than needed.
                let _ = poll(&mut fds, None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns JSON in which DEL and the control characters from U+0080 to U+009F are escaped. JSON may contain them as they are, but
/// a terminal would obey them. All other control characters are escaped in any JSON.
pub(crate) fn escaped_json(json: &str) -> Cow<'_, str> {
    let is_raw = |c: char| matches!(c, '\u{7f}'..='\u{9f}');
    if !json.contains(is_raw) {
        return Cow::Borrowed(json);
    }
    let escaped = |c: char| if is_raw(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(json.chars().map(escaped).collect())
}

/// Returns `true` if stderr is to be coloured: it is a terminal that can show colours, or `CLICOLOR_FORCE` is set, and
/// `NO_COLOR` is not set.
pub(crate) fn colour_on_stderr() -> bool {
    colour_is_wanted(io::stderr().is_terminal())
}

/// Returns `true` if stdout is to be coloured, by the same rule.
pub(crate) fn colour_on_stdout() -> bool {
    colour_is_wanted(io::stdout().is_terminal())
}

fn colour_is_wanted(terminal: bool) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let forced = std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0");
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !refused && (forced || terminal && !dumb)
}

/// Returns rows as lines of aligned columns, each line after `indent`. The last column is not padded. Control characters are escaped.
pub(crate) fn table<const N: usize>(indent: &str, rows: &[[String; N]]) -> String {
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| one_line(cell))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[Cow<'_, str>; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{indent}{}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn json_has_no_control_character_that_a_terminal_obeys() {
        for c in (0..=0x9f).filter_map(char::from_u32) {
            let value = Value::from(format!("a{c}ö"));
            let json = value.to_string();
            let escaped = escaped_json(&json);
            assert!(!escaped.contains(char::is_control), "{escaped:?}");
            assert_eq!(serde_json::from_str::<Value>(&escaped).expect("JSON"), value);
        }
        assert_eq!(escaped_json("\"\u{9b}31m\u{7f}\""), r#""\u009b31m\u007f""#);
    }
}
