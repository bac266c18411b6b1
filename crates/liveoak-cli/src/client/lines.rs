//! How one event, or one line of output, is printed.

use std::collections::HashMap;
use std::fmt::Write as _;

use liveoak::api::{Event, OutputLine};
use liveoak_config::one_line;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::print::json_line;
use super::table::{Screen, Style};
use super::words::count;
use crate::output::COLOURS;

/// The largest width that paths are padded to.
const MAX_WIDTH: usize = 40;

/// What a stream consists of.
pub(crate) trait Item: Serialize + DeserializeOwned {
    /// Returns the child. Items about losses have none.
    fn path(&self) -> Option<&str>;
    /// Returns the item as whole lines for people.
    fn text(&self, form: &mut Form) -> String;
}

/// How items are printed.
#[derive(Debug)]
pub(crate) struct Form {
    /// One JSON object a line.
    pub(crate) json: bool,
    /// Put the moment of a line of output before it.
    pub(crate) times: bool,
    screen: Screen,
    /// The width of the longest path so far.
    width: usize,
    /// The colours of the paths so far.
    colours: HashMap<String, &'static str>,
}

impl Form {
    /// Returns the form for stdout.
    pub(crate) fn of_stdout(json: bool, times: bool) -> Self {
        Self { json, times, screen: Screen::of_stdout(), width: 0, colours: HashMap::new() }
    }

    /// Returns an item as it is printed.
    pub(crate) fn printed(&mut self, item: &impl Item) -> String {
        if self.json { json_line(item) } else { item.text(self) }
    }

    fn colour(&mut self, path: &str) -> &'static str {
        let next = COLOURS[self.colours.len() % COLOURS.len()];
        self.colours.entry(path.to_owned()).or_insert(next)
    }
}

impl Item for Event {
    fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    fn text(&self, form: &mut Form) -> String {
        let at = self.at.map(|at| form.screen.styled(&format!("{at} "), Style::Dim)).unwrap_or_default();
        if self.path.is_none() {
            let lost = count(self.count.unwrap_or_default(), "event was", "events were");
            return format!("{at}{}\n", form.screen.styled(&format!("{lost} lost here"), Style::Warn));
        }
        let style = match self.severity.as_deref() {
            Some("error") => Style::Bad,
            Some("warn") => Style::Warn,
            Some("debug") => Style::Dim,
            _ => Style::Plain,
        };
        let told = self
            .text
            .clone()
            .unwrap_or_else(|| format!("{}: {}", self.path.as_deref().unwrap_or_default(), self.kind));
        let mut text = form.screen.styled(&one_line(&told), style);
        let caller = match (&self.by, &self.because) {
            (Some(by), Some(because)) => format!(" (by {by}: {because})"),
            (Some(by), None) => format!(" (by {by})"),
            (None, Some(because)) => format!(" ({because})"),
            (None, None) => String::new(),
        };
        text.push_str(&form.screen.styled(&one_line(&caller), Style::Dim));
        format!("{at}{text}\n")
    }
}

impl Item for OutputLine {
    fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Returns the line after its path, as `liveoak up` prints it. What the program wrote is printed as it is.
    fn text(&self, form: &mut Form) -> String {
        let mut text = String::new();
        if form.times {
            text.push_str(&form.screen.styled(&format!("{} ", self.at), Style::Dim));
        }
        let Some(path) = &self.path else {
            let lost = count(self.count.unwrap_or_default(), "line was", "lines were");
            return format!("{text}{}\n", form.screen.styled(&format!("{lost} lost here"), Style::Warn));
        };
        let path = one_line(path);
        let is_terminal = form.screen.width.is_some();
        if is_terminal {
            form.width = form.width.max(path.chars().count()).min(MAX_WIDTH);
        }
        let width = form.width;
        // Writing to a string does not fail.
        let _ = if form.screen.colour {
            // The program's text may set colours too. The reset at the end keeps these colours out of the next line.
            writeln!(text, "\x1b[{}m{path:width$} |\x1b[0m {}\x1b[0m", form.colour(&path), self.line)
        } else {
            writeln!(text, "{path:width$} | {}", self.line)
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use liveoak::api::Timestamp;
    use std::time::SystemTime;

    fn form(colour: bool, width: Option<usize>) -> Form {
        let screen = Screen { colour, width };
        Form { json: false, times: false, screen, width: 0, colours: HashMap::new() }
    }

    fn line(path: &str, line: &str) -> OutputLine {
        OutputLine {
            run: 1,
            n: 1,
            at: Timestamp(SystemTime::UNIX_EPOCH),
            path: Some(path.to_owned()),
            attempt: Some(1),
            stream: "stdout".to_owned(),
            line: line.to_owned(),
            count: None,
        }
    }

    #[test]
    fn a_line_of_output_stands_after_its_path_and_paths_are_padded_on_terminals_only() {
        let (mut pipe, mut terminal) = (form(false, None), form(false, Some(80)));
        let lines = [line("/t/long", "a"), line("/t/b", "b")];
        let all = |form: &mut Form| lines.iter().map(|line| form.printed(line)).collect::<String>();
        assert_eq!(all(&mut pipe), "/t/long | a\n/t/b | b\n");
        assert_eq!(all(&mut terminal), "/t/long | a\n/t/b    | b\n");
        let mut timed = Form { times: true, ..form(false, None) };
        assert_eq!(timed.printed(&lines[1]), "1970-01-01T00:00:00.000Z /t/b | b\n");
    }

    #[test]
    fn each_child_keeps_its_colour() {
        let mut form = form(true, Some(80));
        let shown: Vec<String> = ["/t/a", "/t/b", "/t/a"].map(|path| form.printed(&line(path, "x"))).into();
        assert_eq!(shown[0], shown[2]);
        assert_ne!(shown[0].split('m').next(), shown[1].split('m').next());
    }

    #[test]
    fn a_loss_and_the_caller_of_a_command_are_told() {
        let mut form = form(false, None);
        assert_eq!(form.printed(&Event::lost(1, 8, 1)), "1 event was lost here\n");
        let lost = OutputLine { path: None, count: Some(3), ..line("", "") };
        assert_eq!(form.printed(&lost), "3 lines were lost here\n");
        let event = Event {
            path: Some("/t/a".to_owned()),
            kind: "stopping".to_owned(),
            by: Some("ops".to_owned()),
            because: Some("deploy\n".to_owned()),
            ..Event::default()
        };
        assert_eq!(form.printed(&event), "/t/a: stopping (by ops: deploy\\n)\n");
    }
}
