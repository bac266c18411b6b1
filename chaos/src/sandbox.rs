//! The sandbox of a run: a folder, if possible with a small file system of its own, and the processes that carry the
//! run's mark.
//!
//! It isolates only the disk, the limits and the user. Processes see the whole machine.

use crate::programs::NAME;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The environment variable that marks the processes of a run.
const MARK: &str = "LIVEOAK_CHAOS";

/// The user for `liveoak` if this program runs as root, because root has no limit of processes.
const NOBODY: u32 = 65534;

/// Mounts a small file system that other processes do not see.
const MOUNT: &str = "mount -t tmpfs -o size=1m,mode=777 chaos disk";

/// The sandbox. Dropping it kills all processes of the run and removes the folder.
pub(crate) struct Sandbox {
    folder: PathBuf,
    mark: String,
    /// The command line that gives `liveoak` a file system of its own; empty if that is impossible.
    mount_prefix: Vec<&'static str>,
    /// The command line that changes the user, and that makes `liveoak` die with this program.
    user_prefix: Vec<&'static str>,
    liveoak: PathBuf,
    started: Mutex<Vec<u32>>,
}

/// A living process of the run, as read from `/proc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessInfo {
    pub(crate) pid: u32,
    pub(crate) group: u32,
    /// The start time in ticks since the start of the machine. With the process id it identifies this process for ever.
    pub(crate) began: u64,
    /// The program's name; `None` for `liveoak` itself and its guardian.
    pub(crate) name: Option<String>,
}

impl ProcessInfo {
    pub(crate) fn age(&self) -> Duration {
        let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let uptime = text.split(' ').next().and_then(|seconds| seconds.parse().ok()).unwrap_or_default();
        // proc_pid_stat(5): ticks are hundredths of a second.
        Duration::from_secs_f64(uptime).saturating_sub(Duration::from_millis(self.began * 10))
    }
}

impl Sandbox {
    pub(crate) fn new(liveoak: &Path) -> io::Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let mark = format!("{}-{now}", std::process::id());
        let folder = std::env::temp_dir().join(format!("liveoak-chaos-{mark}"));
        let root = geteuid().is_root();
        for part in ["", "disk", "pids"] {
            fs::DirBuilder::new().mode(0o700).create(folder.join(part))?;
            if root {
                chown(folder.join(part), Some(NOBODY), Some(NOBODY))?;
            }
        }
        let mut sandbox = Self {
            folder,
            mark,
            mount_prefix: vec![],
            user_prefix: vec![],
            liveoak: liveoak.to_owned(),
            started: Mutex::default(),
        };
        let ways = [vec!["unshare", "--mount"], vec!["unshare", "--mount", "--map-root-user"]];
        sandbox.mount_prefix =
            ways.into_iter().find(|way| sandbox.succeeds(way, &["sh", "-c", MOUNT])).unwrap_or_default();
        let dies_with_us = vec!["setpriv", "--pdeathsig", "KILL"];
        let nobody =
            [&dies_with_us[..], &["--reuid", "65534", "--regid", "65534", "--clear-groups"]].concat();
        let ways = if root { vec![nobody, dies_with_us] } else { vec![dies_with_us] };
        sandbox.user_prefix =
            ways.into_iter().find(|way| sandbox.succeeds(way, &["true"])).unwrap_or_default();
        if root && !sandbox.succeeds(&sandbox.user_prefix, &[&liveoak.display().to_string(), "--version"]) {
            // The user may not read the folder of the binary.
            sandbox.liveoak = sandbox.at("liveoak");
            fs::copy(liveoak, &sandbox.liveoak)?;
        }
        Ok(sandbox)
    }

    fn succeeds(&self, way: &[&str], rest: &[&str]) -> bool {
        let words = [way, rest].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(&self.folder).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Runs a command as the user of `liveoak`. Returns `true` if it succeeded.
    pub(crate) fn as_liveoak(&self, words: &[&str]) -> bool {
        self.succeeds(&self.user_prefix, words)
    }

    /// Returns `true` if the programs have a small file system that they can fill.
    pub(crate) fn has_disk(&self) -> bool {
        !self.mount_prefix.is_empty()
    }

    /// Returns `true` if the limit of processes applies to `liveoak`.
    pub(crate) fn has_process_limit(&self) -> bool {
        !geteuid().is_root() || self.user_prefix.contains(&"--reuid")
    }

    /// Returns `true` if `liveoak` is killed when this program is.
    pub(crate) fn dies_with_us(&self) -> bool {
        !self.user_prefix.is_empty()
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns the command for `liveoak up` in this sandbox. It ends by itself after `time`, if it is not stopped
    /// before.
    pub(crate) fn up(&self, time: Duration) -> Command {
        let first = if self.has_disk() { MOUNT } else { "ulimit -f 2048" };
        let script = format!("{first} && exec \"$@\"");
        let words = [&self.mount_prefix[..], &["sh", "-c", &script, "sh"], &self.user_prefix[..]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(&self.liveoak);
        command.args(["up", "--log-format", "json", "--log-level", "debug", "--report", "report.json"]);
        command.args(["--for", &format!("{}s", time.as_secs())]);
        command.current_dir(&self.folder).env(MARK, &self.mark);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Records a started `liveoak`, so that its guardian counts as a process of the run.
    pub(crate) fn has_started(&self, liveoak: u32) {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).push(liveoak);
    }

    pub(crate) fn processes(&self) -> Vec<ProcessInfo> {
        let entries = fs::read_dir("/proc").into_iter().flatten();
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter_map(|pid| self.process(pid)).collect()
    }

    /// Returns the process with this id, if it is alive and belongs to this run.
    pub(crate) fn process(&self, pid: u32) -> Option<ProcessInfo> {
        let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let variable = |name: &str| {
            let mut all = environ.split(|byte| *byte == 0).filter_map(|entry| str::from_utf8(entry).ok());
            all.find_map(|entry| entry.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
        };
        let marked = variable(MARK).is_some_and(|mark| mark == self.mark);
        if !marked && !self.is_guardian(pid) {
            return None;
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let (state, group, began) = (*fields.first()?, fields.get(2)?.parse().ok()?, fields.get(19)?);
        let alive = !matches!(state, "Z" | "X");
        alive.then_some(ProcessInfo { pid, group, began: began.parse().ok()?, name: variable(NAME) })
    }

    fn is_guardian(&self, pid: u32) -> bool {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).collect();
        let of = match words[..] {
            [.., b"liveoak-guardian", of, b""] => str::from_utf8(of).ok().and_then(|of| of.parse().ok()),
            _ => None,
        };
        of.is_some_and(|of| self.started.lock().unwrap_or_else(PoisonError::into_inner).contains(&of))
    }

    pub(crate) fn guardians(&self) -> Vec<ProcessInfo> {
        self.processes().into_iter().filter(|process| self.is_guardian(process.pid)).collect()
    }

    /// Returns the process ids that the attempts of a program have recorded so far, one per attempt.
    pub(crate) fn pids(&self, name: &str) -> Vec<u32> {
        let text = fs::read_to_string(self.at("pids").join(name)).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Returns the number of the latest attempt of a program, counted from 1, and its leader, if that is alive.
    pub(crate) fn leader(&self, name: &str) -> Option<(usize, ProcessInfo)> {
        let pids = self.pids(name);
        let process = self.process(*pids.last()?)?;
        (process.name.as_deref() == Some(name)).then_some((pids.len(), process))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Processes that are just being started carry no mark yet, so this is done several times.
        for _ in 0..3 {
            self.processes().into_iter().for_each(|process| send(process.pid, Signal::KILL));
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended already.
        let _ = kill_process(pid, signal);
    }
}
