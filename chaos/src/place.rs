//! A folder of this run, with a small file system of its own where that can be had, and the processes that carry the
//! run's mark.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The variable that marks the processes of a run.
const MARK: &str = "LIVEOAK_CHAOS";

/// See the module. The folder goes with it, and so does every process that is left.
pub(crate) struct Place {
    folder: PathBuf,
    mark: String,
    /// What `liveoak` is started through, to have a file system of its own.
    through: Vec<&'static str>,
}

fn works(line: &[&str]) -> bool {
    let [program, arguments @ ..] = line else { return false };
    let mut command = Command::new(program);
    command.args(arguments).arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

impl Place {
    pub(crate) fn new() -> io::Result<Self> {
        let unique = std::process::id().to_string();
        let folder = std::env::temp_dir().join(format!("liveoak-chaos-{unique}"));
        for part in ["disk", "pids"] {
            fs::create_dir_all(folder.join(part))?;
            fs::set_permissions(folder.join(part), fs::Permissions::from_mode(0o777))?;
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        let ways = [vec!["unshare", "--mount"], vec!["unshare", "--mount", "--map-root-user"]];
        let through = ways.into_iter().find(|way| works(way)).unwrap_or_default();
        Ok(Self { folder, mark: unique, through })
    }

    /// Whether the programs have a small file system that they can fill.
    pub(crate) fn has_disk(&self) -> bool {
        !self.through.is_empty()
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// `liveoak up` in this place.
    pub(crate) fn up(&self, liveoak: &Path) -> Command {
        let script = if self.has_disk() {
            "mount -t tmpfs -o size=1m,mode=777 chaos disk && exec \"$@\""
        } else {
            "ulimit -f 2048 && exec \"$@\""
        };
        let mut words = self.through.clone();
        words.extend(["sh", "-c", script, "sh"]);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(liveoak);
        command.args(["up", "--log-format", "json", "--log-level", "debug", "--report", "report.json"]);
        command.current_dir(&self.folder).env(MARK, &self.mark);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// All living processes of this run.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let entries = fs::read_dir("/proc").into_iter().flatten();
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid| self.owns(*pid)).collect()
    }

    /// Whether a process is alive and of this run.
    pub(crate) fn owns(&self, pid: u32) -> bool {
        let mark = format!("{MARK}={}", self.mark);
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()) && !is_zombie(pid)
    }

    /// The process that a program has written down, if it is alive and of this run.
    pub(crate) fn process_of(&self, name: &str) -> Option<u32> {
        let pid = fs::read_to_string(self.at("pids").join(name)).ok()?.trim().parse().ok()?;
        self.owns(pid).then_some(pid)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.processes().into_iter().for_each(|pid| send(pid, Signal::KILL));
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| matches!(rest.trim_start().chars().next(), Some('Z' | 'X')))
}

/// Sends a signal to a process of this run.
pub(crate) fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may be gone already.
        let _ = kill_process(pid, signal);
    }
}
