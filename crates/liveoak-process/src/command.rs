//! What to run: plain data.
//!
//! Nothing is checked here; a command line that cannot be started is a [`SpawnError`](crate::SpawnError) of
//! [`Process::spawn`](crate::Process::spawn).

use crate::environment::Environment;
use crate::exit_watch::Status;
use crate::os::foreground_group;
use crate::signal::Signal;
use crate::spawn_error::SpawnError;
use rustix::process::getpgrp;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

/// The shell of [`CommandLine::shell`].
const SHELL: &str = "/bin/sh";

/// Where a program's standard input comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stdin {
    /// `/dev/null`: a read ends immediately. The default, because a supervised program has no user at a keyboard.
    #[default]
    Null,
    /// A pipe on which nothing arrives and which does not end: a read waits. For programs that end, or do less, when
    /// their input ends, such as the watch modes of build tools. The pipe ends when the current process does.
    Open,
    /// The input of the current process, shared between both. Only one program can use it.
    ///
    /// The program gets the descriptor and nothing else. If it is a terminal, the program can read lines, but it is not
    /// in the foreground: Ctrl-C and Ctrl-Z go to the current process. If the current process itself is not in the
    /// foreground of the terminal, the program is not started ([`SpawnError::NotInForeground`](crate::SpawnError)).
    Inherit,
}

impl Stdin {
    /// All values.
    pub const ALL: &'static [Self] = &[Self::Null, Self::Open, Self::Inherit];

    /// Returns the word of the value in `liveoak.toml`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Open => "open",
            Self::Inherit => "inherit",
        }
    }

    /// Returns what the value means.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Null => "Empty: a read ends immediately.",
            Self::Open => "A pipe that never ends: a read waits.",
            Self::Inherit => "The input of liveoak, for one child.",
        }
    }

    /// Returns `false` if [`Stdin::Inherit`] would be refused now: the input of the current process is a terminal, and the
    /// current process is not in its foreground. A program would then take the keys that are meant for the foreground.
    pub fn can_be_inherited() -> bool {
        let input = std::io::stdin();
        !input.is_terminal() || foreground_group(input.as_fd()) == Some(getpgrp())
    }
}

/// Where the output of a program goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputMode {
    /// Read line by line and passed to the sink of [`Process::spawn`](crate::Process::spawn).
    #[default]
    Capture,
    /// The same file, pipe or terminal as the current process's own output.
    Inherit,
    /// `/dev/null`: the output is thrown away.
    Null,
}

/// A list of words: the program, then its arguments. Any collection of words can be used, such as `["sleep", "5"]`.
///
/// A single string cannot, because it would have to be split:
///
/// ```compile_fail,E0277
/// liveoak_process::CommandLine::argv("sleep 5");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a list of a program and its arguments",
    label = "write a list, such as [\"sleep\", \"5\"]",
    note = "a whole line, such as \"sleep 5\", is run by `Child::shell` and `CommandLine::shell`"
)]
pub trait Argv {
    /// Returns the words.
    fn into_words(self) -> impl Iterator<Item = OsString>;
}

impl<I, S> Argv for I
where
    I: IntoIterator<Item = S>,
    S: Into<OsString>,
{
    fn into_words(self) -> impl Iterator<Item = OsString> {
        self.into_iter().map(Into::into)
    }
}

/// Which processes get the stop signal first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ask {
    /// Every process of the group, like Ctrl-C in a terminal.
    #[default]
    Group,
    /// Only the program itself (the leader), for programs that end their own workers. When the leader has ended, the
    /// remaining processes of the group are asked.
    Leader,
}

impl Ask {
    /// All values, in the order in which messages list them.
    pub const ALL: &'static [Ask] = &[Ask::Group, Ask::Leader];

    /// Returns the value as one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Ask::Group => "group",
            Ask::Leader => "leader",
        }
    }

    /// Returns what the value means.
    pub const fn description(self) -> &'static str {
        match self {
            Ask::Group => "every process of the group gets the signal",
            Ask::Leader => {
                "only the program itself gets the signal; when it has ended, the rest of its group gets it"
            }
        }
    }
}

/// A program to run, as a list of words. No shell splits it: blanks and quotes reach the program unchanged.
///
/// Defaults: the current process's environment and directory, input from `/dev/null`, both outputs captured, success is
/// exit code 0, the stop signal is `SIGTERM`.
///
/// `Debug` and `Display` show neither arguments nor values of variables, because they often are secrets and messages end
/// in logs. [`with_arguments`](CommandLine::with_arguments) shows the arguments; the fields are public.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandLine {
    /// The program as given.
    pub program: OsString,
    /// The arguments, without the program itself.
    pub args: Vec<OsString>,
    /// The variables that are set on top of the inherited ones.
    pub env: BTreeMap<OsString, OsString>,
    /// `true` if no variable is inherited.
    pub env_cleared: bool,
    /// The directory to run in; `None` for that of the current process.
    pub cwd: Option<PathBuf>,
    /// Where standard input comes from.
    pub stdin: Stdin,
    /// Where standard output goes.
    pub stdout: OutputMode,
    /// Where standard error goes. Without effect if `merge_output` is set.
    pub stderr: OutputMode,
    /// `true` if standard error goes where standard output goes, as with `2>&1` in a shell.
    pub merge_output: bool,
    /// The exit codes that are a success.
    pub success: Vec<i32>,
    /// The signal that asks the program to stop.
    pub stop_signal: Signal,
    /// Which processes get the stop signal first.
    pub ask: Ask,
}

impl CommandLine {
    /// Creates the command line of a program without arguments.
    ///
    /// A bare name (`redis-server`) is searched in the `PATH` that the program will see. A name with a slash
    /// (`./server`, `bin/server`) is a path, and a relative one starts at the *command's* directory
    /// ([`cwd`](CommandLine::cwd)), not at the current process's.
    pub fn new(program: impl Into<OsString>) -> CommandLine {
        CommandLine {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            env_cleared: false,
            cwd: None,
            stdin: Stdin::default(),
            stdout: OutputMode::default(),
            stderr: OutputMode::default(),
            merge_output: false,
            success: vec![0],
            stop_signal: Signal::TERM,
            ask: Ask::default(),
        }
    }

    /// Creates a command line from a list: the program, then its arguments. An empty list is refused when spawned.
    pub fn argv(argv: impl Argv) -> CommandLine {
        let mut argv = argv.into_words();
        let program = argv.next().unwrap_or_default();
        CommandLine::new(program).args(argv)
    }

    /// Creates the command line `/bin/sh -c LINE`: the shell splits and expands the line. With `exec` before a
    /// program, that program replaces the shell as the leader, and its exit status counts.
    pub fn shell(line: impl Into<OsString>) -> CommandLine {
        CommandLine::new(SHELL).arg("-c").arg(line)
    }

    /// Returns the line that the shell runs, if [`shell`](CommandLine::shell) has created this command line.
    pub fn shell_line(&self) -> Option<&OsStr> {
        match self.args.as_slice() {
            [option, line] if self.program == SHELL && option == "-c" => Some(line),
            _ => None,
        }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> CommandLine {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> CommandLine {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets one variable. It overrides an inherited variable of the same name.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> CommandLine {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Inherits no variable and forgets those set so far. Without a `PATH`, bare names are searched in `/bin:/usr/bin`.
    /// A child of a tree still gets the variables that identify it (see [`Program`](crate::Program)).
    pub fn env_clear(mut self) -> CommandLine {
        self.env.clear();
        self.env_cleared = true;
        self
    }

    /// Sets the directory to run in. A relative one starts at the current process's directory at the time of the spawn.
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> CommandLine {
        self.cwd = Some(dir.into());
        self
    }

    /// Sets where standard input comes from.
    pub fn stdin(mut self, input: Stdin) -> CommandLine {
        self.stdin = input;
        self
    }

    /// Sets where standard output goes.
    pub fn stdout(mut self, mode: OutputMode) -> CommandLine {
        self.stdout = mode;
        self
    }

    /// Sets where standard error goes.
    pub fn stderr(mut self, mode: OutputMode) -> CommandLine {
        self.stderr = mode;
        self
    }

    /// Gives the program one pipe (or file) for both outputs, as with `2>&1` in a shell, so that their lines keep the order
    /// in which they were written. All captured lines then come from [`Stdout`](crate::Stream::Stdout).
    pub fn merge_output(mut self) -> CommandLine {
        self.merge_output = true;
        self
    }

    /// Sets the exit codes that are a success. Default: `[0]`. With an empty list every exit code is a failure.
    pub fn success(mut self, codes: impl IntoIterator<Item = i32>) -> CommandLine {
        self.success = codes.into_iter().collect();
        self
    }

    /// Sets the signal that asks the program to stop. Default: `SIGTERM`.
    pub fn stop_signal(mut self, signal: Signal) -> CommandLine {
        self.stop_signal = signal;
        self
    }

    /// Sets which processes get the stop signal first. Default: [`Ask::Group`].
    pub fn ask(mut self, whom: Ask) -> CommandLine {
        self.ask = whom;
        self
    }

    /// Returns a warning if this command line is probably a mistake: only a shell would get the stop signal.
    pub fn warning(&self) -> Option<&'static str> {
        self.asks_only_a_shell().then_some(
            "only the shell is asked to stop, and a shell does not pass the signal on; write `exec` before the program, or \
             handle the signal with `trap`",
        )
    }

    /// Returns `true` if `ask` is [`Ask::Leader`], and the line of a [`shell`](CommandLine::shell) command has neither
    /// `exec` nor `trap`.
    fn asks_only_a_shell(&self) -> bool {
        let Some(line) = self.shell_line().filter(|_| self.ask == Ask::Leader) else { return false };
        let line = line.to_string_lossy();
        !line.split([';', '&', '|', '\n', '(', ')', '{', '}']).any(|part| {
            // Assignments may stand before the command, and keywords such as `then` and `do`.
            let before = |word: &&str| word.contains('=') || ["then", "do", "else", "!"].contains(word);
            let first = part.split_whitespace().find(|word| !before(word));
            first.is_some_and(|word| word == "exec" || word == "trap")
        })
    }

    /// Returns `true` if the status is an exit code that is a success. A death by signal or a lost status never counts as
    /// success.
    pub fn succeeded(&self, status: Status) -> bool {
        matches!(status, Status::Code(code) if self.success.contains(&code))
    }

    /// Returns all words as a shell would read them, arguments included, for messages that may show them.
    pub fn with_arguments(&self) -> impl fmt::Display + '_ {
        WithArguments(self)
    }
    /// Looks up the program as a start would, in the `PATH` and from the directory of the program. Nothing is started.
    ///
    /// # Errors
    /// Returns the error that a start would have now. A later start may find files that another program
    /// creates meanwhile.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime, and on a runtime without timers.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn find_program(&self) -> Result<PathBuf, SpawnError> {
        crate::resolve::find_program(self, Environment::of_program(self)).await
    }
}

impl fmt::Display for CommandLine {
    /// Writes the program, and how many arguments it gets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_word(f, &self.program)?;
        match self.args.len() {
            0 => Ok(()),
            1 => f.write_str(" (1 argument not shown)"),
            many => write!(f, " ({many} arguments not shown)"),
        }
    }
}

impl fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&OsString> = self.env.keys().collect();
        f.debug_struct("CommandLine")
            .field("program", &self.program)
            .field("args", &format_args!("{} not shown", self.args.len()))
            .field("env", &format_args!("{names:?}, values not shown"))
            .field("env_cleared", &self.env_cleared)
            .field("cwd", &self.cwd)
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .field("merge_output", &self.merge_output)
            .field("success", &self.success)
            .field("stop_signal", &self.stop_signal)
            .field("ask", &self.ask)
            .finish()
    }
}

/// A command line that shows its arguments; see [`CommandLine::with_arguments`].
struct WithArguments<'a>(&'a CommandLine);

impl fmt::Display for WithArguments<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_word(f, &self.0.program)?;
        self.0.args.iter().try_for_each(|word| {
            f.write_str(" ")?;
            write_word(f, word)
        })
    }
}

/// Writes a word as a shell would read it: in single quotes if it has special characters.
fn write_word(f: &mut fmt::Formatter<'_>, word: &OsStr) -> fmt::Result {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "-_./:=+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        f.write_str(&word)
    } else {
        write!(f, "'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_prints_as_a_shell_would_read_it() {
        let command = CommandLine::argv(["sh", "-c", "echo it's", "", "a=b"]);
        assert_eq!(command.with_arguments().to_string(), r"sh -c 'echo it'\''s' '' a=b");
    }

    #[test]
    fn neither_display_nor_debug_shows_arguments_or_values_of_variables() {
        let command = CommandLine::argv(["my tool", "--token", "hunter2"]).env("PASSWORD", "hunter2");
        let command = command.env("TOKEN", "hunter2");
        assert_eq!(command.to_string(), "'my tool' (2 arguments not shown)");
        assert_eq!(
            CommandLine::shell("echo hunter2").arg("x").to_string(),
            "/bin/sh (3 arguments not shown)"
        );
        assert_eq!(CommandLine::new("true").to_string(), "true");
        for text in [format!("{command:?}"), format!("{command:#?}"), command.to_string()] {
            assert!(!text.contains("hunter2") && !text.contains("--token"), "{text}");
        }
        let names = "args: 2 not shown, env: [\"PASSWORD\", \"TOKEN\"], values not shown";
        assert!(format!("{command:?}").contains(names), "{command:?}");
    }

    #[test]
    fn only_the_exit_codes_of_the_command_line_are_a_success() {
        let command = CommandLine::new("x").success([3, 4]);
        assert!(command.succeeded(Status::Code(4)) && !command.succeeded(Status::Code(0)));
        assert!(!command.succeeded(Status::Signal { signal: Signal::TERM, core_dumped: false }));
    }

    #[test]
    fn a_shell_that_alone_would_get_the_stop_signal_is_distinguished_from_one_that_execs_or_traps() {
        let asks_only_a_shell = |line: &str| CommandLine::shell(line).ask(Ask::Leader).asks_only_a_shell();
        for line in
            ["gunicorn app", "cd a && ./server", "echo exec; ./server", "./exec", "A=b ./server | cat"]
        {
            assert!(asks_only_a_shell(line), "{line}");
        }
        for line in [
            "exec gunicorn app",
            "cd a && exec ./server",
            "A=b exec ./server",
            "trap 'kill $p' TERM\n./server & p=$!; wait",
            "if true; then exec ./a; else exec ./b; fi",
        ] {
            assert!(!asks_only_a_shell(line), "{line}");
        }
        assert!(CommandLine::shell("./server").ask(Ask::Leader).warning().is_some());
        assert!(!CommandLine::shell("./server").asks_only_a_shell(), "the whole group is asked");
        assert!(!CommandLine::new("./server").ask(Ask::Leader).asks_only_a_shell(), "there is no shell");
    }
}
