//! The output of the children on stdout: `path | line`.
//!
//! On a terminal the paths are padded to one width, and each child has a colour. The colours are assigned in the order of the
//! file and then repeat. In a pipe or a file, each line is exactly the path, ` | `, and the line, so that other programs can
//! read it. Liveoak's own messages go to stderr.
//!
//! A piece of a line that has not ended is printed as a line of its own, because lines of other children may follow it.

use std::collections::HashMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use liveoak::Path;
use liveoak::process::{Backpressure, OutputLine, OutputSink};
use liveoak_config::{Config, Form, SupervisorConfig};

use super::writer::{Fill, StreamWriter};
use crate::output::{self, COLOURS};

/// The largest width that paths are padded to.
const MAX_WIDTH: usize = 40;

/// Returns the backpressure on the programs: it slows them down while too much of their output waits, or the reader of `stdout` is gone.
pub(crate) fn backpressure(stdout: StreamWriter) -> Backpressure {
    let pace = Mutex::new(Pace { next: Instant::now() });
    Arc::new(move || {
        let fill = stdout.fill();
        pace.lock().unwrap_or_else(PoisonError::into_inner).pause(fill, Instant::now())
    })
}

/// Spreads the reads of all programs over time. A read takes up to 64 KiB. The more programs flood their output, the more
/// each of them is slowed down. So the total CPU time stays small.
struct Pace {
    /// The earliest time of the next read.
    next: Instant,
}

/// The longest pause before a read of one program, however many programs are waiting.
const MAX_PAUSE: Duration = Duration::from_secs(2);

impl Pace {
    /// Returns how long a reader waits before its next read.
    fn pause(&mut self, fill: Fill, now: Instant) -> Duration {
        let step = match fill {
            Fill::Free => return Duration::ZERO,
            Fill::NearlyFull => Duration::from_millis(10),
            Fill::Dropping => Duration::from_millis(50),
            Fill::Full => Duration::from_millis(200),
        };
        self.next = (self.next.max(now) + step).min(now + MAX_PAUSE);
        self.next - now
    }
}

/// Returns the sink that writes the children's output to `stdout`.
pub(crate) fn sink(config: &Config, stdout: StreamWriter) -> OutputSink {
    let terminal = std::io::stdout().is_terminal();
    let coloured = output::colour_on_stdout();
    let width =
        if terminal { widest(&config.root, config.name.as_str().len() + 1).min(MAX_WIDTH) } else { 0 };
    let colours = if coloured { colours(config) } else { HashMap::new() };
    Arc::new(move |path: &Path, line: OutputLine<'_>| {
        // The last piece of a line may be empty; it is not printed.
        if line.continues && line.text.is_empty() {
            return;
        }
        stdout.put(|to| {
            let colour = colours.get(path.as_str()).copied();
            let colour = colour.or_else(|| coloured.then(|| colour_of_new(path.as_str())));
            append_line(to, path.as_str(), line.text, width, colour);
        });
    })
}

/// Returns the width of the longest path of a program below a supervisor whose own path has `above` characters.
fn widest(supervisor: &SupervisorConfig, above: usize) -> usize {
    let widths = supervisor.children.iter().map(|child| {
        let width = above + 1 + child.name.as_str().len();
        match &child.form {
            Form::Program(_) | Form::Kind(_) => width,
            Form::Supervisor(supervisor) => widest(supervisor, width),
        }
    });
    widths.max().unwrap_or(0)
}

/// Returns the colour of each program. The replicas of `config` must be expanded already. The replicas of a child share a
/// colour, unless there are enough colours for all programs.
fn colours(config: &Config) -> HashMap<String, &'static str> {
    let mut paths = Vec::new();
    programs(&config.root, &format!("/{}", config.name), &mut paths);
    let share = paths.len() > COLOURS.len();
    // Only the name of a replica has a dot.
    let child = |path: &'_ str| path.split('.').next().unwrap_or_default().to_owned();
    let mut colours = COLOURS.iter().copied().cycle();
    let mut latest: Option<(String, &'static str)> = None;
    let mut all = HashMap::new();
    for path in paths {
        let child = child(&path);
        let colour = match &latest {
            Some((before, colour)) if share && *before == child => colour,
            _ => colours.next().unwrap_or(COLOURS[0]),
        };
        latest = Some((child, colour));
        all.insert(path, colour);
    }
    all
}

/// Returns the colour of a program that the file did not have at the start.
fn colour_of_new(path: &str) -> &'static str {
    let sum = path.bytes().fold(0, |sum: usize, byte| sum.wrapping_add(usize::from(byte)));
    COLOURS[sum % COLOURS.len()]
}

/// Adds the paths of the programs below a supervisor, in the order of the file.
fn programs(supervisor: &SupervisorConfig, above: &str, paths: &mut Vec<String>) {
    for child in &supervisor.children {
        let path = format!("{above}/{}", child.name);
        match &child.form {
            Form::Program(_) => paths.push(path),
            Form::Supervisor(nested) => programs(nested, &path, paths),
            Form::Kind(_) => {}
        }
    }
}

fn append_line(to: &mut Vec<u8>, path: &str, text: &str, width: usize, colour: Option<&str>) {
    // Writing to a vector does not fail.
    let _ = match colour {
        // The program's text may set colours too. The reset at the end keeps these colours out of the next line.
        Some(colour) => writeln!(to, "\x1b[{colour}m{path:width$} |\x1b[0m {text}\x1b[0m"),
        None => writeln!(to, "{path:width$} | {text}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the colours of a file with these children, in the order of the file.
    fn colours_of(children: &str) -> Vec<&'static str> {
        let folder = std::env::temp_dir().join(format!("liveoak-colours-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join(format!("{}.toml", children.len()));
        std::fs::write(&file, format!("name = \"t\"\n{children}")).expect("written");
        let config = liveoak_config::load(&file).expect("a good file").expanded();
        let _ = std::fs::remove_dir_all(&folder);
        let mut paths = Vec::new();
        programs(&config.root, "/t", &mut paths);
        let colours = colours(&config);
        paths.iter().map(|path| colours[path]).collect()
    }

    #[test]
    fn every_colour_is_used_before_one_is_used_again_and_neighbours_differ() {
        let children: String = (0..25).map(|n| format!("[child.s{n}.child.c]\ncommand = \"x\"\n")).collect();
        let colours = colours_of(&children);
        assert_eq!(colours[..10], COLOURS);
        assert!(colours.windows(10).all(|ten| ten.iter().enumerate().all(|(n, c)| !ten[..n].contains(c))));
        assert_eq!(colours.len(), 25);
    }

    #[test]
    fn replicas_share_a_colour_only_if_there_are_more_programs_than_colours() {
        let set =
            |name: &str, replicas: u8| format!("[child.{name}]\ncommand = \"x\"\nreplicas = {replicas}\n");
        assert_eq!(colours_of(&set("a", 3)), COLOURS[..3]);
        let colours = colours_of(&(set("a", 9) + &set("b", 2) + &set("c", 1)));
        assert!(colours[..9].iter().all(|colour| *colour == COLOURS[0]));
        assert_eq!(colours[9..], [COLOURS[1], COLOURS[1], COLOURS[2]]);
    }

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

    #[test]
    fn the_fuller_the_buffer_is_the_slower_all_programs_together_are_read() {
        let begin = Instant::now();
        let mut pace = Pace { next: begin };
        let ms = Duration::from_millis;
        assert_eq!(pace.pause(Fill::Free, begin), Duration::ZERO);
        let pauses = [1, 2, 3].map(|_| pace.pause(Fill::Full, begin));
        assert_eq!(pauses, [ms(200), ms(400), ms(600)]);
        assert_eq!(pace.pause(Fill::Free, begin), Duration::ZERO);
        let later = begin + ms(5_000);
        assert_eq!(pace.pause(Fill::NearlyFull, later), ms(10));
        for _ in 0..1_000 {
            assert!(pace.pause(Fill::Full, later) <= MAX_PAUSE);
        }
        assert_eq!(pace.pause(Fill::Dropping, later + MAX_PAUSE), ms(50));
    }
}
