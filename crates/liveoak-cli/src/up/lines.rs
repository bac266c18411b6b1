//! The output of the children on stdout: `path | line`.
//!
//! On a terminal the paths are padded to one width, and each child has a colour. In a pipe or a file each line is
//! exactly the path, ` | `, and the line, so that other programs can read it. Liveoak's own messages go to stderr, not
//! here.
//!
//! A piece of a line that has not ended is a line of its own, so that lines of other children can stand between.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use liveoak::Path;
use liveoak::process::{Backpressure, OutputLine, OutputSink};
use liveoak_config::{Config, Form, SupervisorConfig};

use super::writer::{Fill, StreamWriter};
use crate::output;

/// Colours (SGR, ECMA-48) that are readable on dark and on light backgrounds.
const COLOURS: [&str; 10] = ["36", "32", "35", "34", "33", "96", "92", "95", "94", "93"];

/// The largest width that paths are padded to.
const MAX_WIDTH: usize = 40;

/// How long the reader of a program's output waits before its next read while too much output waits for its own reader, or is
/// dropped because that reader is gone. With reads of 64 KiB this is more than a megabyte a second.
const PAUSE: Duration = Duration::from_millis(50);

/// The same while nothing more fits: a quarter of a megabyte a second.
const LONG_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// With more programs than this, the pauses are longer, so that all of them together cost little CPU time.
const PROGRAMS_PER_PAUSE: u32 = 8;

/// Returns what slows the programs down while too much of their output waits, or the reader of `stdout` is gone.
pub(crate) fn backpressure(config: &Config, stdout: StreamWriter) -> Backpressure {
    let times = (programs(&config.root) / PROGRAMS_PER_PAUSE).max(1);
    Arc::new(move || {
        let pause = match stdout.fill() {
            Fill::Free => Duration::ZERO,
            Fill::NearlyFull | Fill::Dropping => PAUSE,
            Fill::Full => LONG_PAUSE,
        };
        pause.saturating_mul(times).min(MAX_PAUSE)
    })
}

/// Returns the number of programs below a supervisor.
fn programs(supervisor: &SupervisorConfig) -> u32 {
    let counts = supervisor.children.iter().map(|child| match &child.form {
        Form::Program(_) => 1,
        Form::Supervisor(supervisor) => programs(supervisor),
    });
    counts.sum()
}

/// Returns the sink that writes the children's output to `stdout`.
pub(crate) fn sink(config: &Config, stdout: StreamWriter) -> OutputSink {
    let terminal = std::io::stdout().is_terminal();
    let coloured = output::colour_on_stdout();
    let width =
        if terminal { widest(&config.root, config.name.as_str().len() + 1).min(MAX_WIDTH) } else { 0 };
    Arc::new(move |path: &Path, line: OutputLine<'_>| {
        // The end of a line that came in pieces, with nothing left: it makes no empty line.
        if line.continues && line.text.is_empty() {
            return;
        }
        stdout.put(|to| {
            let colour = coloured.then(|| colour_of(path));
            append_line(to, path.as_str(), line.text, width, colour);
        });
    })
}

/// Returns the width of the longest path of a program below a supervisor whose own path has `above` characters.
fn widest(supervisor: &SupervisorConfig, above: usize) -> usize {
    let widths = supervisor.children.iter().map(|child| {
        let width = above + 1 + child.name.as_str().len();
        match &child.form {
            Form::Program(_) => width,
            Form::Supervisor(supervisor) => widest(supervisor, width),
        }
    });
    widths.max().unwrap_or(0)
}

fn colour_of(path: &Path) -> &'static str {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    COLOURS[(hasher.finish() % COLOURS.len() as u64) as usize]
}

fn append_line(to: &mut Vec<u8>, path: &str, text: &str, width: usize, colour: Option<&str>) {
    // Writing to a vector does not fail.
    let _ = match colour {
        // The program's text may set colours too. The last reset keeps them out of the next line.
        Some(colour) => writeln!(to, "\x1b[{colour}m{path:width$} |\x1b[0m {text}\x1b[0m"),
        None => writeln!(to, "{path:width$} | {text}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format_line(path: &str, text: &str, width: usize, colour: Option<&str>) -> Vec<u8> {
        let mut line = Vec::new();
        append_line(&mut line, path, text, width, colour);
        line
    }

    #[test]
    fn in_a_pipe_a_line_is_the_path_a_bar_and_the_text() {
        assert_eq!(format_line("/shop/db", "ready to  serve", 0, None), b"/shop/db | ready to  serve\n");
        assert_eq!(format_line("/shop/db", "", 0, None), b"/shop/db | \n");
    }

    #[test]
    fn on_a_terminal_paths_are_padded_and_colours_end_with_the_line() {
        assert_eq!(format_line("/s/a", "x", 6, Some("36")), b"\x1b[36m/s/a   |\x1b[0m x\x1b[0m\n");
    }
}
