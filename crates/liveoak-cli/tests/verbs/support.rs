//! What the tests share: [`Home`], the folder of one test, and what a verb printed there.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use regex_lite::Regex;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub(crate) use crate::waiting::look_for;

/// The folder of a test: `p` is the folder of its project, `run/liveoak` that of its sockets. Removed at the end.
pub(crate) struct Home(PathBuf);

/// What a verb has done.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Asserts the exit code. Shows the output if it is different.
    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "\n{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that stderr has these texts.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Ran {
        for text in texts {
            assert!(self.stderr.contains(text), "no {text:?} in:\n{}", self.stderr);
        }
        self
    }

    /// Returns stdout as one JSON value.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}:\n{}", self.stdout))
    }

    /// Returns both streams and the exit code.
    pub(crate) fn transcript(&self) -> String {
        let times = Regex::new(r"up .*since").expect("a pattern");
        let stdout = times.replace_all(&self.stdout, "up TIME, since");
        let mut text = stdout.into_owned();
        text.extend(self.stderr.lines().map(|line| format!("! {line}\n")));
        format!("{text}= {}\n", self.code.map_or("killed".to_owned(), |code| code.to_string()))
    }
}

impl Home {
    pub(crate) fn new() -> Home {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Short: the path of a socket has at most 107 bytes.
        let folder = std::env::temp_dir().join(format!("lv-{}-{number}", std::process::id()));
        fs::create_dir_all(folder.join("p/below")).expect("a folder");
        fs::create_dir_all(folder.join("run/liveoak")).expect("a folder");
        for private in ["run", "run/liveoak"] {
            let permissions = fs::Permissions::from_mode(0o700);
            fs::set_permissions(folder.join(private), permissions).expect("permissions");
        }
        Home(folder.canonicalize().expect("the folder"))
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Returns the socket of a tree of this name.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.at(&format!("run/liveoak/{name}.sock"))
    }

    /// Returns a text without the path of this folder.
    pub(crate) fn without_path(&self, text: &str) -> String {
        text.replace(&*self.0.to_string_lossy(), "HOME")
    }

    /// Returns the command `liveoak` with these arguments, in the folder of the project.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_liveoak"));
        command.args(args).current_dir(self.at("p")).env("XDG_RUNTIME_DIR", self.at("run"));
        command.env("XDG_STATE_HOME", self.at("state"));
        for variable in ["LIVEOAK_SOCKET", "NO_COLOR", "CLICOLOR_FORCE", "LANG", "LC_CTYPE"] {
            command.env_remove(variable);
        }
        command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `liveoak` with these arguments until it ends.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.command(args).ran()
    }

    /// Starts `liveoak` with these arguments.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        Running::new(&mut self.command(args))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a command to its end.
pub(crate) trait RunToEnd {
    /// Runs it. Its output is short enough for a pipe, or comes while it is read.
    fn ran(&mut self) -> Ran;
}

impl RunToEnd for Command {
    fn ran(&mut self) -> Ran {
        let output = self.output().expect("the program starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// A running `liveoak`. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn new(command: &mut Command) -> Running {
        let mut child = command.spawn().expect("the program starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Running { child, stdout }
    }

    /// Returns the next line of stdout without its end.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("readable");
        assert!(line.ends_with('\n'), "stdout has ended after {line:?}");
        line.trim_end_matches('\n').to_owned()
    }

    /// Waits until stderr has a line with this text.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) {
        let stderr = self.child.stderr.as_mut().expect("a pipe");
        let (mut line, mut byte) = (Vec::new(), [0]);
        while stderr.read(&mut byte).expect("readable") == 1 {
            line.push(byte[0]);
            if byte[0] == b'\n' && String::from_utf8_lossy(&std::mem::take(&mut line)).contains(text) {
                return;
            }
        }
        panic!("stderr has ended without {text:?}");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // The process is our child and not reaped, so its id is still its own.
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("it is alive");
    }

    /// Closes our end of stdout, and waits for the end.
    #[track_caller]
    pub(crate) fn end_after_close(self) -> Option<i32> {
        let Running { mut child, stdout } = self;
        drop(stdout);
        look_for("end of liveoak", || child.try_wait().expect("it is ours")).code()
    }

    /// Waits for the end. Returns what was not read yet.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ran {
        let status = look_for("end of liveoak", || self.child.try_wait().expect("it is ours"));
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).expect("readable");
        if let Some(pipe) = self.child.stderr.as_mut() {
            pipe.read_to_string(&mut stderr).expect("readable");
        }
        Ran { code: status.code(), stdout, stderr }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// Writes a file.
pub(crate) fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
}
