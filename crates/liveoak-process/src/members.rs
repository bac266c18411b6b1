//! The living members of a process group.
//!
//! `kill(2)` with signal 0 cannot find them: it counts a dead leader that was not reaped. So `/proc` is read, but only
//! after a leader has exited. It lists every process of the machine. `getpgid(2)` returns the process group of each
//! (well below 1 µs), and `stat` is read for the members only. A wait watches the pidfds of some members until the next
//! read.

use crate::os::{is_in_group, watch_readable};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, test_kill_process};
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// How many members are watched between two reads of `/proc`. The loop reads `/proc` again anyway.
const WATCHED_AT_ONCE: usize = 16;

/// The pause before the next try when no descriptor is left to read `/proc` or to watch a member.
const NO_DESCRIPTOR_PAUSE: Duration = Duration::from_millis(50);

/// Returns the living members of `group`. A zombie is not alive.
///
/// # Errors
/// When there is no `/proc`, or no descriptor left to read it: then nothing is known.
pub(crate) fn living(group: Pid) -> io::Result<Vec<Pid>> {
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|&pid| is_in_group(pid, group))
            && is_living_member(pid, group)?
        {
            members.push(pid);
        }
    }
    Ok(members)
}

/// A living member of a process group that the current process may not signal.
#[derive(Debug)]
pub(crate) struct Unkillable {
    pub(crate) pid: Pid,
    /// The error of `kill(2)`.
    error: io::Error,
    /// The user that it runs as, if known.
    user: Option<u32>,
}

impl fmt::Display for Unkillable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unkillable { pid, error, user } = self;
        write!(f, "process {}: {error}", pid.as_raw_nonzero())?;
        match user {
            Some(user) => write!(f, ", it runs as user {user}"),
            None => Ok(()),
        }
    }
}

/// Returns the living members of `group` that the current process may not signal. A signal to a whole group succeeds if
/// any one member could be signalled, so each member is tried, with signal 0.
///
/// # Errors
/// As [`living`].
pub(crate) fn unkillable(group: Pid) -> io::Result<Vec<Unkillable>> {
    let refused = |pid: Pid| match test_kill_process(pid) {
        Ok(()) | Err(Errno::SRCH) => None,
        Err(error) => {
            let user = fs::metadata(format!("/proc/{}", pid.as_raw_nonzero())).ok().map(|meta| meta.uid());
            Some(Unkillable { pid, error: error.into(), user })
        }
    };
    Ok(living(group)?.into_iter().filter_map(refused).collect())
}

/// Opens descriptors that become readable when members of `group` die. If there are many members, opens them only for
/// some. Returns an empty list if there is no descriptor left.
pub(crate) fn pidfds(members: &[Pid], group: Pid) -> Vec<OwnedFd> {
    let open = |&pid: &Pid| {
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        is_living_member(pid, group).ok()?.then_some(pidfd)
    };
    members.iter().take(WATCHED_AT_ONCE).filter_map(open).collect()
}

/// # Errors
/// When there is no descriptor left to read `/proc`.
fn is_living_member(pid: Pid, group: Pid) -> io::Result<bool> {
    let stat = match fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())) {
        Ok(stat) => stat,
        Err(error) if is_shortage(&error) => return Err(error),
        // The process was reaped meanwhile.
        Err(_) => return Ok(false),
    };
    Ok(parse_stat(&stat).is_some_and(|(alive, found)| alive && found == group.as_raw_nonzero().get()))
}

/// Returns `true` if the same read may succeed later.
fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM].map(|errno| Some(errno.raw_os_error()));
    shortages.contains(&error.raw_os_error())
}

/// Reads from `/proc/PID/stat` (`proc_pid_stat(5)`) whether the process is alive, and its process group.
fn parse_stat(stat: &[u8]) -> Option<(bool, i32)> {
    // The name stands in parentheses and may contain blanks and parentheses itself: the last parenthesis ends it.
    let after_name = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&stat[after_name + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    // A process whose first thread has ended shows as a zombie even while its other threads run.
    let threads: u32 = fields.nth(14)?.parse().ok()?;
    Some((!matches!(state, "Z" | "X" | "x") || threads > 1, group))
}

/// Waits until `group` has no living member. If there is no descriptor left to read `/proc`, waits for one. Cancel
/// safe.
///
/// # Errors
/// When there is no `/proc`; the error comes immediately.
pub(crate) async fn wait_until_empty(group: Pid) -> io::Result<()> {
    loop {
        match wait_until_empty_or_unreadable(group).await {
            Err(error) if is_shortage(&error) => tokio::time::sleep(NO_DESCRIPTOR_PAUSE).await,
            known => return known,
        }
    }
}

/// Waits until `group` has no living member, or until `/proc` cannot be read. Cancel safe.
///
/// # Errors
/// As [`living`]; the error comes immediately.
pub(crate) async fn wait_until_empty_or_unreadable(group: Pid) -> io::Result<()> {
    loop {
        let members = living(group)?;
        if members.is_empty() {
            return Ok(());
        }
        let watched: Vec<_> =
            members.into_iter().take(WATCHED_AT_ONCE).filter_map(|pid| watch(pid, group)).collect();
        if watched.is_empty() {
            tokio::time::sleep(NO_DESCRIPTOR_PAUSE).await;
        }
        for member in watched {
            // An error means that the runtime is shutting down.
            let _ready = member.readable().await.map(|_| ());
        }
    }
}

/// Returns a descriptor that becomes readable when `pid` dies, or `None` if `pid` is no longer a member of `group`.
fn watch(pid: Pid, group: Pid) -> Option<AsyncFd<Arc<OwnedFd>>> {
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // Checked again after opening: the number may belong to a new process since the first check.
    is_living_member(pid, group).ok()?.then(|| watch_readable(Arc::new(pidfd)).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_parentheses_is_parsed() {
        let stat = b"77 (a) b (c)) S 1 42 42 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse_stat(stat), Some((true, 42)));
    }

    #[test]
    fn a_zombie_is_not_alive_unless_other_threads_still_run() {
        let dead = b"77 (x) Z 1 42 42 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse_stat(dead), Some((false, 42)));
        let headless = b"77 (x) Z 1 42 42 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 3 0 5 6 7";
        assert_eq!(parse_stat(headless), Some((true, 42)));
    }

    #[test]
    fn this_process_is_a_living_member_of_its_group() {
        let group = rustix::process::getpgrp();
        assert!(living(group).unwrap().contains(&rustix::process::getpid()));
    }
}
