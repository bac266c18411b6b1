//! Looks up what a diagnosis needs from the system and from what was recorded.

use crate::diagnose::found::{Disk, Line, Listener, Loss, Observations, Owner};
use crate::diagnose::watched::MAX_WATCHED;
use crate::diagnose::{ports, proc};
use crate::recorder::Recorder;
use crate::server::Server;
use liveoak_runtime::{Attempt, ChildId, Exit, Path, Snapshot, Time, TreeHandle};
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path as FilePath, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

/// How long the search for those who listen may take.
const SEARCH_WITHIN: Duration = Duration::from_millis(500);

/// How long the file systems may take to answer. One that hangs is left out.
const DISKS_WITHIN: Duration = Duration::from_secs(1);

/// How many of the last lines of output are read.
const LINES: u64 = 8192;

/// How many lines of one attempt are kept.
const LINES_OF_ATTEMPT: usize = 40;

/// Looks up everything.
pub(super) fn observe(server: &Server, snapshot: &Snapshot) -> Observations {
    let pids = server.tree.pids();
    let lines = lines(&server.recorder, &server.tree);
    let says_so = |exit: &Exit| exit.is_failure() && ports::is_taken(&exit.to_string());
    let of_exit = || snapshot.nodes().filter_map(|view| view.last_exit.as_ref()).any(says_so);
    let listeners = if lines.is_empty() && !of_exit() { vec![] } else { listeners(&server.tree, &pids) };
    let mut disks = disks_in_time(server, &pids);
    server.watched.add_disks(snapshot.at, &mut disks);
    Observations {
        memory: server.watched.memory(),
        disks,
        lines,
        listeners,
        losses: losses(&server.recorder, snapshot.at),
    }
}

/// Returns the lines of the attempts that have written that an address is taken.
fn lines(recorder: &Recorder, tree: &TreeHandle) -> Vec<Line> {
    let from = recorder.lines.next().saturating_sub(LINES);
    let last = recorder.lines.read(from, usize::MAX).entries;
    let kept = || last.iter().filter_map(|entry| entry.value.as_ref());
    let of: HashSet<(&Path, u64)> =
        kept().filter(|line| ports::is_taken(line.text())).map(|line| (&line.path, line.attempt())).collect();
    if of.is_empty() {
        return vec![];
    }
    let (now, clock) = (tree.now(), SystemTime::now());
    let moment = |at: SystemTime| {
        let ago = clock.duration_since(at).unwrap_or_default();
        Time::from_nanos(now.as_nanos().saturating_sub(u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX)))
    };
    let mut counts: HashMap<(&Path, u64), usize> = HashMap::new();
    let mut lines = Vec::new();
    for line in kept().rev().filter(|line| of.contains(&(&line.path, line.attempt()))) {
        let count = counts.entry((&line.path, line.attempt())).or_default();
        *count += 1;
        if *count <= LINES_OF_ATTEMPT {
            let (path, attempt) = (line.path.clone(), Attempt(line.attempt()));
            lines.push(Line { path, attempt, at: moment(line.at), text: line.text().to_owned() });
        }
    }
    lines.reverse();
    lines
}

/// Returns who listens where.
fn listeners(tree: &TreeHandle, pids: &[(ChildId, Attempt, u32)]) -> Vec<Listener> {
    let processes = proc::processes();
    let groups: HashMap<u32, u32> = processes.iter().copied().collect();
    let of_group: HashMap<u32, ChildId> = pids.iter().map(|(id, _, pid)| (*pid, *id)).collect();
    let child = |pid: u32| {
        let id = *of_group.get(groups.get(&pid)?)?;
        tree.child_by_id(id).ok()?.path()
    };
    let owner = |pid: u32| Owner { pid, command: proc::command(pid), child: child(pid) };
    let found = proc::listeners(&processes, Instant::now() + SEARCH_WITHIN);
    found.into_iter().map(|(address, pid)| Listener { address, owner: pid.map(owner) }).collect()
}

/// Returns the file systems on which the tree works, as far as they answer in time.
fn disks_in_time(server: &Server, pids: &[(ChildId, Attempt, u32)]) -> Vec<Disk> {
    let (send, receive) = mpsc::channel();
    let folders = folders(server, pids);
    let look = move || drop(send.send(disks_of(folders)));
    if std::thread::Builder::new().name("liveoak-disks".into()).spawn(look).is_err() {
        return vec![];
    }
    receive.recv_timeout(DISKS_WITHIN).unwrap_or_default()
}

/// Returns the file systems on which the tree works.
pub(super) fn disks(server: &Server, pids: &[(ChildId, Attempt, u32)]) -> Vec<Disk> {
    disks_of(folders(server, pids))
}

/// Returns the folders in which the tree and its programs work: the child, the name of the folder, and a way to it.
fn folders(server: &Server, pids: &[(ChildId, Attempt, u32)]) -> Vec<(Path, PathBuf, PathBuf)> {
    let place = |path: Path, process: &str| {
        let link = PathBuf::from(format!("/proc/{process}/cwd"));
        Some((path, std::fs::read_link(&link).ok()?, link))
    };
    let of_program = |(id, _, pid): &(ChildId, Attempt, u32)| {
        place(server.tree.child_by_id(*id).ok()?.path()?, &pid.to_string())
    };
    let programs = pids.iter().take(MAX_WATCHED).filter_map(of_program);
    place(server.root.clone(), "self").into_iter().chain(programs).collect()
}

/// Returns the file systems of folders, each once.
fn disks_of(folders: Vec<(Path, PathBuf, PathBuf)>) -> Vec<Disk> {
    let mut seen = HashSet::new();
    let disk = |(path, folder, link): (Path, PathBuf, PathBuf)| {
        let device = std::fs::metadata(&link).ok()?.dev();
        if !seen.insert(device) {
            return None;
        }
        disk(path, folder, &link)
    };
    folders.into_iter().filter_map(disk).collect()
}

/// Returns the file system of one folder, if it can be written.
fn disk(path: Path, folder: PathBuf, link: &FilePath) -> Option<Disk> {
    let stat = rustix::fs::statvfs(link).ok()?;
    if stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        return None;
    }
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    let (free, size) = (bytes(stat.f_bavail), bytes(stat.f_blocks));
    Some(Disk { path, folder, free, size, free_files: stat.f_favail, files: stat.f_files, full_since: None })
}

/// Returns what is missing in what was recorded. The moment of a gap is that of the next event, or now.
fn losses(recorder: &Recorder, now: Time) -> Vec<Loss> {
    let entries = recorder.events.read(0, usize::MAX).entries;
    let mut losses: Vec<Loss> = Vec::new();
    let mut known = 0;
    for entry in &entries {
        match &entry.value {
            None => losses.push(Loss { what: "events", count: entry.last + 1 - entry.first, at: now }),
            Some(kept) => {
                losses[known..].iter_mut().for_each(|loss| loss.at = kept.event.at);
                known = losses.len();
            }
        }
    }
    losses
}
