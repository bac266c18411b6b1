//! The rules about what is around the children: memory, ports, disks, the clock, lost history.

use crate::diagnose::found::{
    Disk, Found, Line, Listener, Look, Loss, Memory, bytes, count, liveoak, quoted, short, span,
};
use crate::diagnose::of_children::RECENT;
use crate::diagnose::ports;
use liveoak_api::FindingKind;
use liveoak_runtime::{Backoff, ChildState, ChildView, EventKind, Exit, Path, Time};
use std::time::Duration;

/// The part of the samples of an attempt that is left out: a program that starts takes memory and is well.
const STARTS_WITH: usize = 4;

/// The fewest samples after it.
const FEWEST: usize = 12;

/// The shortest time over which they reach.
const SHORTEST: Duration = Duration::from_secs(300);

/// The least growth that is worth a finding.
const LEAST_GROWTH: u64 = 32 * 1024 * 1024;

/// A file system with less free space than this is full: a program that writes a log, as this one does, needs about as much.
const LEAST_FREE: u64 = 64 * 1024 * 1024;

/// Of a small file system, it is this part.
const LEAST_PART: u64 = 20;

/// A file system in which fewer files than this can be made is full, if that is less than a hundredth.
const LEAST_FILES: u64 = 1000;

/// Programs whose memory grows steadily.
pub(super) fn growing_memory(look: &Look<'_>) -> Vec<Found> {
    let mut all = Vec::new();
    for view in look.snapshot.nodes().filter(|view| view.state == ChildState::Running) {
        let is_own = |memory: &&Memory| (memory.id, memory.attempt) == (view.id, view.attempt);
        let Some(Growth { from, to, since, until, samples, rises }) =
            look.seen.memory.iter().find(is_own).and_then(|memory| growth(&memory.samples))
        else {
            continue;
        };
        let evidence = format!(
            "its resident memory grew from {} to {} within {}, in {rises} of {} steps, and has not come to rest; a cache that \
             fills looks the same",
            bytes(from),
            bytes(to),
            span(until.since(since)),
            samples - 1,
        );
        let (path, command) = (view.path.clone(), liveoak("restart", &view.path, ""));
        all.push(Found { kind: FindingKind::GrowingMemory, path, since, evidence, command });
    }
    all
}

/// A steady growth.
struct Growth {
    from: u64,
    to: u64,
    since: Time,
    until: Time,
    samples: usize,
    rises: usize,
}

/// Returns the growth of samples if it is steady: by a quarter at least, in four of five steps, without a fall of more than a
/// twentieth below what was reached, and with a third of it in the second half.
fn growth(samples: &[(Time, u64)]) -> Option<Growth> {
    let samples = &samples[samples.len() / STARTS_WITH..];
    let (&(since, from), &(until, to)) = (samples.first()?, samples.last()?);
    let (_, middle) = samples[samples.len() / 2];
    let grown = to.saturating_sub(from);
    let rises = samples.windows(2).filter(|pair| pair[1].1 > pair[0].1).count();
    let mut reached = 0;
    let holds = samples.iter().all(|(_, now)| {
        reached = reached.max(*now);
        *now >= reached - reached / 20
    });
    let is_steady = samples.len() >= FEWEST
        && until.since(since) >= SHORTEST
        && grown >= LEAST_GROWTH.max(from / 4)
        && rises * 5 >= (samples.len() - 1) * 4
        && to.saturating_sub(middle) >= grown / 3
        && holds;
    is_steady.then_some(Growth { from, to, since, until, samples: samples.len(), rises })
}

/// Programs that do not get their port.
pub(super) fn port_taken(look: &Look<'_>) -> Vec<Found> {
    look.snapshot.nodes().filter_map(|view| taken(look, view)).collect()
}

fn taken(look: &Look<'_>, view: &ChildView) -> Option<Found> {
    // While a new attempt starts, what the one before it said still tells why.
    let is_late = |line: &&Line| line.path == view.path && line.attempt.0 + 1 >= view.attempt.0;
    let lines: Vec<&Line> = look.seen.lines.iter().filter(is_late).collect();
    let line = lines.iter().rev().find(|line| ports::is_taken(&line.text));
    let exit = view.last_exit.as_ref().filter(|exit| exit.is_failure()).map(Exit::to_string);
    let exit = exit.filter(|exit| ports::is_taken(exit));
    let (said, since) = match (line, &exit) {
        (Some(line), _) => (line.text.as_str(), line.at),
        (None, Some(exit)) => (exit.as_str(), view.since),
        (None, None) => return None,
    };
    // The line itself says which port, or another one of the same attempt does.
    let others = lines.iter().map(|line| line.text.as_str());
    let numbers: Vec<u16> = [said].into_iter().chain(others).flat_map(ports::numbers).collect();
    let at = |port: u16| look.seen.listeners.iter().filter(move |of| of.address.port() == port);
    let is_own =
        |of: &Listener| of.owner.as_ref().is_some_and(|owner| owner.child.as_ref() == Some(&view.path));
    let mut of_numbers = numbers.iter().flat_map(|port| at(*port)).peekable();
    let holder = of_numbers.find(|of| !is_own(of));
    let stable = view.spec.backoff.map_or(Backoff::RESET_AFTER, |backoff| backoff.reset_after);
    let runs = view.state == ChildState::Running && look.now.since(view.since) >= stable;
    if runs && (holder.is_none() || numbers.iter().flat_map(|port| at(*port)).any(is_own)) {
        return None;
    }
    let said = short(said);
    let (evidence, command) = match holder {
        Some(of) => {
            let (who, command) = who(of);
            (format!("\"{said}\"; {who} listens at {}", of.address), command)
        }
        None => {
            let unknown = "no process listens at a port that its output names";
            (format!("\"{said}\"; {unknown}"), "ss -ltnp".to_owned())
        }
    };
    Some(Found { kind: FindingKind::PortTaken, path: view.path.clone(), since, evidence, command })
}

/// Returns who listens, and the command that shows more.
fn who(of: &Listener) -> (String, String) {
    let port = of.address.port();
    match &of.owner {
        None => ("a process of another user".to_owned(), format!("sudo ss -ltnp 'sport = :{port}'")),
        Some(owner) => match &owner.child {
            Some(child) => (format!("{child} (process {})", owner.pid), liveoak("explain", child, "")),
            None => {
                let command = format!("ps -o pid,user,lstart,args -p {}", owner.pid);
                (format!("process {} ({})", owner.pid, short(&owner.command)), command)
            }
        },
    }
}

/// File systems that are full.
pub(super) fn disk_full(look: &Look<'_>) -> Vec<Found> {
    let mut all = Vec::new();
    for disk in &look.seen.disks {
        let folder = disk.folder.display();
        let evidence = match fullness(disk) {
            None => continue,
            Some(Full::Bytes) => {
                format!("{folder}: {} of {} are free", bytes(disk.free), bytes(disk.size))
            }
            Some(Full::Files) => {
                let free = count(disk.free_files, "file", "files");
                format!("{folder}: only {free} more of {} can be made", disk.files)
            }
        };
        let inodes = if matches!(fullness(disk), Some(Full::Files)) { "--inodes " } else { "-h " };
        let place = quoted(&folder.to_string());
        let command = format!("du -x {inodes}{place} | sort -h | tail -n 20");
        let since = disk.full_since.unwrap_or(look.now);
        all.push(Found { kind: FindingKind::DiskFull, path: disk.path.clone(), since, evidence, command });
    }
    all
}

/// What of a file system is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Bytes,
    Files,
}

/// Returns what of a file system is used up, if anything is.
pub(super) fn fullness(disk: &Disk) -> Option<Full> {
    if disk.size > 0 && disk.free < LEAST_FREE.min(disk.size / LEAST_PART) {
        Some(Full::Bytes)
    } else if disk.files > 0 && disk.free_files < LEAST_FILES.min(disk.files / 100) {
        Some(Full::Files)
    } else {
        None
    }
}

/// Lost events and lines.
pub(super) fn lost(look: &Look<'_>) -> Vec<Found> {
    let recent = |what: &'static str| {
        look.seen.losses.iter().filter(move |of| of.what == what && look.now.since(of.at) <= RECENT)
    };
    let mut all = Vec::new();
    for (what, verb) in [("events", "events"), ("lines", "logs")] {
        let losses: Vec<&Loss> = recent(what).collect();
        let Some(first) = losses.first() else { continue };
        let lost: u64 = losses.iter().map(|of| of.count).sum();
        let gaps = count(losses.len() as u64, "gap", "gaps");
        let evidence =
            format!("{lost} {what} are missing, in {gaps}: they came faster than they could be recorded");
        let command = format!("liveoak {verb} --since {}s", look.now.since(first.at).as_secs() + 1);
        let path = look.snapshot.root.path.clone();
        all.push(Found { kind: FindingKind::Lost, path, since: first.at, evidence, command });
    }
    all
}

/// Times in which the whole process did not run.
pub(super) fn clock_jump(look: &Look<'_>) -> Vec<Found> {
    let (mut first, mut jumps, mut longest, mut prolonged) = (None, 0, Duration::ZERO, 0);
    for event in look.last(RECENT) {
        let EventKind::TimeJump { late, deadlines } = &event.kind else { continue };
        let path: &Path = &event.path;
        first.get_or_insert((event.at, path.clone()));
        (jumps, longest, prolonged) = (jumps + 1, longest.max(*late), prolonged + deadlines);
    }
    let Some((since, path)) = first else { return vec![] };
    let evidence = format!(
        "in the last {} the whole process did not run {}, for {} at the longest: it was suspended, or its machine slept; {} \
         prolonged",
        span(RECENT),
        count(jumps, "time", "times"),
        span(longest),
        count(prolonged, "deadline was", "deadlines were"),
    );
    let command = "liveoak events --kind time-jump --since 1h".to_owned();
    vec![Found { kind: FindingKind::ClockJump, path, since, evidence, command }]
}
