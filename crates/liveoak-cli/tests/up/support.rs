//! What the tests share: [`TestDir`], the folder and the processes of one test, and [`Up`], a running `liveoak up` whose output
//! can be watched.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub(crate) use crate::waiting::{TIME_LIMIT, look_for};

/// The variable that marks the processes of a test.
const MARK: &str = "LIVEOAK_TEST_OF";

/// The folder of a test, removed at its end, and the mark of the test's processes. At the end of the test no process with
/// the mark may be alive.
pub(crate) struct TestDir {
    folder: PathBuf,
    /// The folder of what `liveoak` keeps for itself.
    own: PathBuf,
    mark: String,
    /// The process ids of the `liveoak`s that were started here and watched.
    started: Mutex<Vec<u32>>,
}

impl TestDir {
    pub(crate) fn new() -> TestDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let unique = format!("{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(format!("liveoak-up-{unique}"));
        fs::create_dir_all(&folder).expect("a folder");
        // Errors name the folder as the program sees it.
        let folder = folder.canonicalize().expect("the folder");
        let own = folder.with_extension("own");
        fs::create_dir_all(own.join("run")).expect("a folder");
        TestDir { folder, own, mark: format!("{MARK}={unique};"), started: Mutex::default() }
    }

    /// Makes a folder with this `liveoak.toml`, for a tree called `t`.
    pub(crate) fn of(toml: &str) -> TestDir {
        let dir = TestDir::new();
        dir.file("liveoak.toml", format!("name = \"t\"\n{toml}"), 0o644);
        dir
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.at(name).exists()
    }

    /// Writes a file with these permissions. Returns its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("permissions");
        path
    }

    /// Returns the command `liveoak up` with these arguments, in this folder.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_liveoak"));
        let (name, value) = self.mark.split_once('=').expect("a variable");
        command.arg("up").args(args).current_dir(&self.folder).env(name, value).env_remove("NO_COLOR");
        // The sockets and the state of the trees of a test are beside its folder.
        command.env("XDG_RUNTIME_DIR", self.own.join("run")).env("XDG_STATE_HOME", self.own.join("state"));
        command.env_remove("LIVEOAK_SOCKET");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Returns the command `liveoak` with these arguments, in this folder.
    pub(crate) fn verb(&self, args: &[&str]) -> Command {
        let up = self.command(&[]);
        let mut command = Command::new(up.get_program());
        command.args(args).current_dir(&self.folder);
        for (name, value) in up.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::null());
        command
    }

    /// Starts `liveoak up` and watches it.
    pub(crate) fn up(&self, args: &[&str]) -> Up {
        let up = Up::watch(self.command(args).spawn().expect("the program starts"));
        self.started.lock().unwrap_or_else(PoisonError::into_inner).push(up.pid());
        up
    }

    /// Runs `liveoak up` until it ends by itself.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        self.up(args).end()
    }

    /// Returns the document that `--report report.json` has written.
    pub(crate) fn report(&self) -> Value {
        let text = fs::read_to_string(self.at("report.json")).expect("a report");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in the report:\n{text}"))
    }

    /// Returns the live processes of this test, `liveoak` itself included.
    pub(crate) fn processes(&self) -> Vec<u32> {
        all_processes().filter(|pid| self.owns(*pid)).collect()
    }

    /// Returns the live guardians of this test's `liveoak` processes. They do not carry the mark.
    fn guardians(&self) -> Vec<u32> {
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let words: Vec<String> =
            started.iter().map(|liveoak| format!("liveoak-guardian\0{liveoak}\0")).collect();
        let guards = |pid: &u32| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.iter().any(|end| line.ends_with(end)) && !is_zombie(*pid)
        };
        all_processes().filter(guards).collect()
    }

    /// Returns `true` if a process is alive and belongs to this test.
    fn owns(&self, pid: u32) -> bool {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|entry| entry == self.mark.as_bytes()) && !is_zombie(pid)
    }

    /// Returns the live processes of this test that run `program`.
    pub(crate) fn running(&self, program: &str) -> Vec<u32> {
        let named = |pid: &u32| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            comm.trim_end() == program
        };
        self.processes().into_iter().filter(named).collect()
    }

    /// Asserts that a process is alive and belongs to this test. In the middle of an exec its environment cannot be read, so
    /// one look is not enough.
    #[track_caller]
    pub(crate) fn has(&self, pid: u32) {
        look_for("living process", || self.owns(pid).then_some(()));
    }

    /// Sends a signal to a process, which must be alive and belong to this test.
    #[track_caller]
    pub(crate) fn send(&self, pid: u32, signal: Signal) {
        self.has(pid);
        send(pid, signal);
    }

    /// Kills a process, which must be alive and belong to this test.
    #[track_caller]
    pub(crate) fn kill(&self, pid: u32) {
        self.send(pid, Signal::KILL);
    }

    /// Kills a process of this test that may have ended already.
    pub(crate) fn kill_if_alive(&self, pid: u32) {
        if self.owns(pid) {
            send(pid, Signal::KILL);
        }
    }

    /// Waits until no process of this test is alive, and no guardian.
    #[track_caller]
    pub(crate) fn has_no_processes_left(&self) {
        look_for("end of the last process", || {
            (self.processes().is_empty() && self.guardians().is_empty()).then_some(())
        });
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.has_no_processes_left();
        }
        let left = self.processes().into_iter().chain(self.guardians());
        left.for_each(|pid| send(pid, Signal::KILL));
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_dir_all(&self.own);
    }
}

fn all_processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("/proc");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| matches!(rest.trim_start().chars().next(), Some('Z' | 'X')))
}

fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    let _gone_already = kill_process(pid, signal);
}

/// The lines that were read from both streams so far.
#[derive(Default)]
struct Seen {
    lines: Mutex<[Vec<String>; 2]>,
    more: Condvar,
}

/// An output stream of `liveoak up`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// A running `liveoak up`. Killed when dropped.
pub(crate) struct Up {
    child: Child,
    seen: Arc<Seen>,
    readers: Vec<JoinHandle<()>>,
}

/// The exit code of `liveoak up`, and all that it wrote.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Ended {
    /// Returns all of stderr.
    pub(crate) fn log(&self) -> String {
        self.stderr.join("\n")
    }

    /// Asserts the exit code. Shows the log if it is different.
    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout.join("\n"), self.log());
        self
    }

    /// Returns the index of the first line of the log that contains `text`.
    #[track_caller]
    pub(crate) fn position_of(&self, text: &str) -> usize {
        let position = self.stderr.iter().position(|line| line.contains(text));
        position.unwrap_or_else(|| panic!("no {text:?} in:\n{}", self.log()))
    }

    /// Asserts that the log has lines with these texts in this order.
    #[track_caller]
    pub(crate) fn has_in_order(&self, texts: &[&str]) {
        let positions: Vec<usize> = texts.iter().map(|text| self.position_of(text)).collect();
        assert!(positions.is_sorted(), "not in the order of {texts:?}:\n{}", self.log());
    }
}

impl Up {
    /// Reads the streams of a process that are pipes.
    pub(crate) fn watch(mut child: Child) -> Up {
        let seen = Arc::new(Seen::default());
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(read(stdout, Arc::clone(&seen), Stream::Stdout));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(read(stderr, Arc::clone(&seen), Stream::Stderr));
        }
        Up { child, seen, readers }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // The process is our child and not reaped, so its id is still its own.
        send(self.child.id(), signal);
    }

    fn lines(&self) -> MutexGuard<'_, [Vec<String>; 2]> {
        self.seen.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the lines of a stream so far.
    pub(crate) fn so_far(&self, of: Stream) -> Vec<String> {
        self.lines()[of as usize].clone()
    }

    /// Waits until `look` finds something in the lines of a stream.
    #[track_caller]
    pub(crate) fn until<T>(&self, of: Stream, what: &str, look: impl Fn(&[String]) -> Option<T>) -> T {
        let begin = Instant::now();
        let mut lines = self.lines();
        loop {
            if let Some(found) = look(&lines[of as usize]) {
                return found;
            }
            let Some(left) = TIME_LIMIT.checked_sub(begin.elapsed()) else {
                panic!("no {what} in:\n{}\n{}", lines[0].join("\n"), lines[1].join("\n"));
            };
            let waited = self.seen.more.wait_timeout(lines, left);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a line of the log that contains `text`.
    #[track_caller]
    pub(crate) fn logs(&self, text: &str) {
        self.until(Stream::Stderr, text, |lines| lines.iter().any(|line| line.contains(text)).then_some(()));
    }

    /// Waits until the whole tree is ready.
    #[track_caller]
    pub(crate) fn is_ready(&self) {
        self.logs("/t: ready");
    }

    /// Waits for the `nth` line, from 0, that the child at `path` writes. Returns it without the path.
    #[track_caller]
    pub(crate) fn line(&self, path: &str, nth: usize) -> String {
        let prefix = format!("{path} | ");
        self.until(Stream::Stdout, &prefix, |lines| {
            lines.iter().filter_map(|line| line.strip_prefix(&prefix)).nth(nth).map(str::to_owned)
        })
    }

    /// Waits for the `nth` line of a child, which is a number.
    #[track_caller]
    pub(crate) fn number(&self, path: &str, nth: usize) -> u32 {
        let line = self.line(path, nth);
        line.parse().unwrap_or_else(|_| panic!("{line:?} of {path} is not a number"))
    }

    /// Waits until `liveoak up` has ended.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let status = look_for("end of liveoak", || self.child.try_wait().expect("it is ours"));
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader does not panic");
        }
        let [stdout, stderr] = std::mem::take(&mut *self.lines());
        Ended { code: status.code(), stdout, stderr }
    }

    /// Sends SIGTERM, and waits until `liveoak up` has ended.
    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.end()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(stream: impl Read + Send + 'static, seen: Arc<Seen>, of: Stream) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8(line).unwrap_or_else(|error| format!("NOT UTF-8: {error}"));
            seen.lines.lock().unwrap_or_else(PoisonError::into_inner)[of as usize].push(line);
            seen.more.notify_all();
        }
    })
}
