//! Reaping of processes that the current process did not start itself.
//!
//! A process whose parent has ended becomes a child of process 1, or of the nearest subreaper above it. A program started by
//! `exec` inherits the children of the program that it replaced. Nothing waits for such processes, so they would stay
//! zombies, and a container would run out of process ids. Only a program that starts all its child processes
//! through this crate may reap them: in any other program their status belongs to other code.
//!
//! `SIGCHLD` wakes the spawner thread, which reaps. A leader of a process group, or the guardian, may be dead and not
//! reaped for a while. In this case `waitid` keeps reporting this process, so the others are looked up in `/proc`.

use crate::os;
use rustix::process::{Pid, WaitId, WaitIdOptions, child_subreaper, getpid, waitid};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

static ENABLED: AtomicBool = AtomicBool::new(false);

/// Lets this crate reap all child processes of the current process, even those that it did not start. The current
/// process gets such orphans if it has the process id 1 (as in a container) or is a subreaper. Only for a program that
/// starts all its child processes through this crate. Call it before the first start of a process. It installs a
/// handler for `SIGCHLD`, unless another one is installed.
pub fn reap_orphans() {
    ENABLED.store(true, Ordering::Relaxed);
}

/// Returns `true` if orphans are reaped.
pub(crate) fn is_enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// Reaps the dead child processes, except those for which `is_ours` returns `true`.
pub(crate) fn reap(is_ours: impl Fn(Pid) -> bool) {
    while let Some(dead) = os::dead_child() {
        if is_ours(dead) {
            if receives_orphans() {
                dead_children().into_iter().filter(|&pid| !is_ours(pid)).for_each(reap_one);
            }
            return;
        }
        reap_one(dead);
    }
}

fn reap_one(pid: Pid) {
    let _already_reaped = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}

/// Returns `true` if orphans become children of the current process.
fn receives_orphans() -> bool {
    getpid().as_raw_nonzero().get() == 1 || child_subreaper().is_ok_and(|subreaper| subreaper.is_some())
}

/// Returns the dead child processes of the current process, as far as `/proc` can be read.
fn dead_children() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.filter(|&pid| is_dead_child(pid)).collect()
}

fn is_dead_child(pid: Pid) -> bool {
    let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    // The name stands in parentheses and may contain any byte; the last parenthesis ends it.
    let after_name = stat.iter().rposition(|&byte| byte == b')').map_or(&[][..], |at| &stat[at + 1..]);
    let mut fields = after_name.split(|&byte| byte == b' ').filter(|field| !field.is_empty());
    let parent = getpid().as_raw_nonzero().to_string();
    fields.next() == Some(b"Z") && fields.next() == Some(parent.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_dead_child_is_found_and_a_living_one_is_not() {
        let mut dead = Command::new("true").spawn().unwrap();
        let mut alive = Command::new("sleep").arg("1000").spawn().unwrap();
        let (dead_pid, alive_pid) = (Pid::from_child(&dead), Pid::from_child(&alive));
        while !is_dead_child(dead_pid) {
            std::thread::yield_now();
        }
        assert!(dead_children().contains(&dead_pid) && !dead_children().contains(&alive_pid));
        dead.wait().unwrap();
        assert!(!is_dead_child(dead_pid));
        alive.kill().unwrap();
        alive.wait().unwrap();
    }
}
