//! Commands: what a program runs, and what a probe runs.

use crate::reader::Reader;
use crate::table::{Node, Table};
use liveoak_process::CommandLine;
use std::path::{Path, PathBuf};
use toml::de::DeValue;

/// Words that mean something to a shell and, alone, to hardly any program.
const SHELL_WORDS: [&str; 9] = ["|", "||", "&&", "&", ">", ">>", "<", "2>", "2>&1"];

impl Reader<'_> {
    /// Reads the `command` or `shell` of a child that runs in `cwd`. Wrong values are recorded and a stand-in is returned.
    pub(crate) fn what_to_run(&mut self, table: &Table<'_>, cwd: &Path) -> CommandLine {
        let (command, shell) = (table.get("command"), table.get("shell"));
        if let (Some(command), Some(shell)) = (command, shell) {
            let error = shell.key_error("this child has both `command` and `shell`");
            let error = error
                .label("this runs in a shell")
                .related(command.key_span.clone(), "this runs without one");
            self.problems.push(error.help("keep one of the two"));
        }
        let command = command.and_then(|node| self.command(node, cwd));
        let script = shell.and_then(|node| node.filled("shell = \"a | b\"", &mut self.problems));
        command.or(script.map(CommandLine::shell)).unwrap_or_else(|| CommandLine::new(""))
    }

    /// Reads a command: an array of words, or a string that is split into words as a shell would.
    pub(crate) fn command(&mut self, node: &Node<'_>, cwd: &Path) -> Option<CommandLine> {
        let example = format!("{} = [\"redis-server\", \"--port\", \"7000\"]", node.key);
        let words = match (node.value, node.elements()) {
            (_, Some(elements)) => {
                let mut words = Vec::new();
                for element in &elements {
                    words.push(element.string(&example, &mut self.problems)?.to_owned());
                }
                words
            }
            (DeValue::String(_), None) => {
                let text = node.filled(&example, &mut self.problems)?;
                self.split(node, text)?
            }
            _ => {
                self.problems.push(node.wrong_type("an array of strings or a string", &example));
                return None;
            }
        };
        let mut words = words.into_iter();
        let Some(program) = words.next().filter(|program| !program.trim().is_empty()) else {
            let error = node.error(format!("`{}` names no program", node.path)).label("nothing to run");
            self.problems.push(error.expected(format!("a program and its arguments, as in: {example}")));
            return None;
        };
        let program = match program.contains('/') {
            true => self.path(node, &program, cwd),
            false => PathBuf::from(program),
        };
        Some(CommandLine::new(program).args(words).cwd(cwd))
    }

    fn split(&mut self, node: &Node<'_>, text: &str) -> Option<Vec<String>> {
        let Some(words) = shlex::split(text) else {
            let error = node.error(format!("`{}` cannot be split into words", node.path));
            let error = error.label("a quote is opened and not closed, or a `\\` stands at the end");
            self.problems.push(error.help("close it, or write an array of words: then nothing needs quotes"));
            return None;
        };
        // Both must hold: `grep 'a | b'` has the word only before quotes are minded, `grep '|'` only after.
        let bare =
            |word: &&&str| words.iter().any(|w| w == **word) && text.split_whitespace().any(|w| w == **word);
        if let Some(word) = SHELL_WORDS.iter().find(bare) {
            let error = node.error(format!("`{word}` has no meaning here: no shell runs"));
            let error = error.label("the program would get it as a word");
            self.problems.push(
                error.help("write shell = \"...\" instead, or an array of words if it is meant literally"),
            );
            return None;
        }
        Some(words)
    }
}
