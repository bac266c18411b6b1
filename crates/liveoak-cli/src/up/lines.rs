//! The output of the children on stdout: `path | line`.
//!
//! On a terminal the paths are padded to one width, and each child has a colour. In a pipe or a file each line is
//! exactly the path, ` | `, and the line, so that other programs can read it. Liveoak's own messages go to stderr, not
//! here.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io::IsTerminal as _;
use std::sync::Arc;

use liveoak::Path;
use liveoak::process::{OutputLine, OutputSink};
use liveoak_config::{Config, Form, SupervisorConfig};

use super::writer::StreamWriter;
use crate::output;

/// Colours (SGR, ECMA-48) that are readable on dark and on light backgrounds.
const COLOURS: [&str; 10] = ["36", "32", "35", "34", "33", "96", "92", "95", "94", "93"];

/// The largest width that paths are padded to.
const MAX_WIDTH: usize = 40;

/// Returns the sink that writes the children's output to `stdout`.
pub(crate) fn sink(config: &Config, stdout: StreamWriter) -> OutputSink {
    let terminal = std::io::stdout().is_terminal();
    let coloured = output::colour_on_stdout();
    let width =
        if terminal { widest(&config.root, config.name.as_str().len() + 1).min(MAX_WIDTH) } else { 0 };
    Arc::new(move |path: &Path, line: OutputLine<'_>| {
        let colour = coloured.then(|| colour_of(path));
        stdout.text(&format_line(path.as_str(), line.text, width, colour));
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

fn format_line(path: &str, text: &str, width: usize, colour: Option<&str>) -> Vec<u8> {
    let line = match colour {
        // The program's text may set colours too. The last reset keeps them out of the next line.
        Some(colour) => format!("\x1b[{colour}m{path:width$} |\x1b[0m {text}\x1b[0m\n"),
        None => format!("{path:width$} | {text}\n"),
    };
    line.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

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
