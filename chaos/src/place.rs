//! A folder of this run, with a small file system of its own where that can be had, and the processes that carry the
//! run's mark.

use crate::programs::NAME;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The variable that marks the processes of a run.
const MARK: &str = "LIVEOAK_CHAOS";

/// Who runs it when we are root, who may have as many processes as it likes.
const NOBODY: u32 = 65534;

/// A small file system, seen by nobody else.
const MOUNT: &str = "mount -t tmpfs -o size=1m,mode=777 chaos disk";

/// See the module. The folder goes with it, and so does every process that is left.
pub(crate) struct Place {
    folder: PathBuf,
    mark: String,
    /// What `liveoak` is started through, to have a file system of its own; empty if none can be had.
    through: Vec<&'static str>,
    /// What it is then started through, to end when we do and to be nobody.
    as_whom: Vec<&'static str>,
    liveoak: PathBuf,
    /// The `liveoak`s of this run.
    started: Mutex<Vec<u32>>,
}

/// A living process of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) group: u32,
    /// In ticks since the machine's start: with the number, it means this process and no later one.
    pub(crate) began: u64,
    /// Of which program; none for `liveoak` itself and its guardian.
    pub(crate) name: Option<String>,
}

impl Process {
    pub(crate) fn age(&self) -> Duration {
        let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let uptime = text.split(' ').next().and_then(|seconds| seconds.parse().ok()).unwrap_or_default();
        // proc_pid_stat(5): the kernel tells everybody hundredths of a second.
        Duration::from_secs_f64(uptime).saturating_sub(Duration::from_millis(self.began * 10))
    }
}

impl Place {
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
        let mut place = Self {
            folder,
            mark,
            through: vec![],
            as_whom: vec![],
            liveoak: liveoak.to_owned(),
            started: Mutex::default(),
        };
        let ways = [vec!["unshare", "--mount"], vec!["unshare", "--mount", "--map-root-user"]];
        place.through =
            ways.into_iter().find(|way| place.works(way, &["sh", "-c", MOUNT])).unwrap_or_default();
        let dies_with_us = vec!["setpriv", "--pdeathsig", "KILL"];
        let nobody =
            [&dies_with_us[..], &["--reuid", "65534", "--regid", "65534", "--clear-groups"]].concat();
        let ways = if root { vec![nobody, dies_with_us] } else { vec![dies_with_us] };
        place.as_whom = ways.into_iter().find(|way| place.works(way, &["true"])).unwrap_or_default();
        if root && !place.works(&place.as_whom, &[&liveoak.display().to_string(), "--version"]) {
            // It stands where nobody may look.
            place.liveoak = place.at("liveoak");
            fs::copy(liveoak, &place.liveoak)?;
        }
        Ok(place)
    }

    fn works(&self, way: &[&str], rest: &[&str]) -> bool {
        let words = [way, rest].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(&self.folder).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Runs a command as the user that `liveoak` runs as: whether it succeeded.
    pub(crate) fn as_liveoak(&self, words: &[&str]) -> bool {
        self.works(&self.as_whom, words)
    }

    /// Whether the programs have a small file system that they can fill.
    pub(crate) fn has_disk(&self) -> bool {
        !self.through.is_empty()
    }

    /// Whether limits of processes bind.
    pub(crate) fn has_process_limit(&self) -> bool {
        !geteuid().is_root() || self.as_whom.contains(&"--reuid")
    }

    /// Whether `liveoak` is killed when we are.
    pub(crate) fn dies_with_us(&self) -> bool {
        !self.as_whom.is_empty()
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// `liveoak up` in this place. Should all else fail, it ends by itself after `time`.
    pub(crate) fn up(&self, time: Duration) -> Command {
        let first = if self.has_disk() { MOUNT } else { "ulimit -f 2048" };
        let script = format!("{first} && exec \"$@\"");
        let words = [&self.through[..], &["sh", "-c", &script, "sh"], &self.as_whom[..]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(&self.liveoak);
        command.args(["up", "--log-format", "json", "--log-level", "debug", "--report", "report.json"]);
        command.args(["--for", &format!("{}s", time.as_secs())]);
        command.current_dir(&self.folder).env(MARK, &self.mark);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// From now on the guardian of this `liveoak` is one of the run's processes.
    pub(crate) fn has_started(&self, liveoak: u32) {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).push(liveoak);
    }

    /// All living processes of this run.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let entries = fs::read_dir("/proc").into_iter().flatten();
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter_map(|pid| self.process(pid)).collect()
    }

    /// The process with this number, if it is alive and of this run.
    pub(crate) fn process(&self, pid: u32) -> Option<Process> {
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
        alive.then_some(Process { pid, group, began: began.parse().ok()?, name: variable(NAME) })
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

    /// The living guardians of the run.
    pub(crate) fn guardians(&self) -> Vec<Process> {
        self.processes().into_iter().filter(|process| self.is_guardian(process.pid)).collect()
    }

    /// What the attempts of a program have written down so far, one for each.
    pub(crate) fn pids(&self, name: &str) -> Vec<u32> {
        let text = fs::read_to_string(self.at("pids").join(name)).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// The leader of the latest attempt of a program if it is alive, and which attempt that is, counted from 1.
    pub(crate) fn leader(&self, name: &str) -> Option<(usize, Process)> {
        let pids = self.pids(name);
        let process = self.process(*pids.last()?)?;
        (process.name.as_deref() == Some(name)).then_some((pids.len(), process))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Those that are just being started carry no mark yet: once more.
        for _ in 0..3 {
            self.processes().into_iter().for_each(|process| send(process.pid, Signal::KILL));
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Sends a signal to a process of this run.
pub(crate) fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may be gone already.
        let _ = kill_process(pid, signal);
    }
}
