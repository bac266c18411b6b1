//! What is seen of the programs of a tree now and then: their memory over time, and since when a disk is full.
//!
//! The memory of an attempt is kept as at most [`MAX_SAMPLES`] samples. When there are as many, every second is dropped, and
//! from then on every second is left out. So the samples reach over the whole life of the attempt.

use crate::diagnose::found::{Disk, Memory};
use crate::diagnose::of_system::fullness;
use crate::diagnose::{observe, proc};
use crate::server::Server;
use liveoak_runtime::{Attempt, ChildId, Time};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The time between two looks.
const EVERY: Duration = Duration::from_secs(15);

/// The most samples of an attempt.
const MAX_SAMPLES: usize = 32;

/// The most programs that are watched: those with the lowest process ids.
pub(super) const MAX_WATCHED: usize = 1024;

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Watched(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    memory: HashMap<(ChildId, Attempt), Samples>,
    full: BTreeMap<PathBuf, Time>,
}

/// The samples of one attempt.
#[derive(Debug)]
struct Samples {
    kept: Vec<(Time, u64)>,
    /// Each how many looks one is kept.
    each: u32,
    looks: u32,
}

impl Samples {
    const NONE: Self = Self { kept: Vec::new(), each: 1, looks: 0 };

    fn add(&mut self, at: Time, bytes: u64) {
        self.looks += 1;
        if self.looks < self.each {
            return;
        }
        self.looks = 0;
        if self.kept.len() == MAX_SAMPLES {
            let mut nth = 0;
            self.kept.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
            self.each = self.each.saturating_mul(2);
        }
        self.kept.push((at, bytes));
    }
}

impl Watched {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the memory of all attempts.
    pub(super) fn memory(&self) -> Vec<Memory> {
        let kept = self.kept();
        let memory = kept.memory.iter();
        memory
            .map(|((id, attempt), of)| Memory { id: *id, attempt: *attempt, samples: of.kept.clone() })
            .collect()
    }

    /// Adds a sample of each attempt that runs, and forgets the others.
    fn add_memory(&self, at: Time, memory: &[((ChildId, Attempt), u64)]) {
        let running: HashSet<_> = memory.iter().map(|(attempt, _)| *attempt).collect();
        let mut kept = self.kept();
        kept.memory.retain(|attempt, _| running.contains(attempt));
        for (attempt, bytes) in memory {
            kept.memory.entry(*attempt).or_insert(Samples::NONE).add(at, *bytes);
        }
    }

    /// Notes which disks are full now, and says of each since when.
    pub(super) fn add_disks(&self, now: Time, disks: &mut [Disk]) {
        let mut kept = self.kept();
        let mut full = BTreeMap::new();
        for disk in disks.iter_mut().filter(|disk| fullness(disk).is_some()) {
            let since = kept.full.get(&disk.folder).copied().unwrap_or(now);
            disk.full_since = Some(since);
            full.insert(disk.folder.clone(), since);
        }
        kept.full = full;
    }
}

/// Looks at the programs now and then.
pub(crate) async fn watch(server: Arc<Server>) {
    let mut looks = tokio::time::interval(EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let pids = server.tree.pids();
        if pids.is_empty() {
            server.watched.add_memory(server.tree.now(), &[]);
            continue;
        }
        let server = Arc::clone(&server);
        // A file system may hang: then there is one thread that waits, and no further look.
        let look = tokio::task::spawn_blocking(move || look(&server, &pids));
        let _ = look.await;
    }
}

fn look(server: &Server, pids: &[(ChildId, Attempt, u32)]) {
    let mut of_group: HashMap<u32, u64> = HashMap::new();
    let groups: HashSet<u32> = pids.iter().take(MAX_WATCHED).map(|(_, _, pid)| *pid).collect();
    // A program leads a process group of its own.
    for (pid, group) in proc::processes().into_iter().filter(|(_, group)| groups.contains(group)) {
        *of_group.entry(group).or_default() += proc::resident(pid).unwrap_or(0);
    }
    let memory = pids.iter().filter_map(|(id, attempt, pid)| Some(((*id, *attempt), *of_group.get(pid)?)));
    let memory: Vec<_> = memory.collect();
    let now = server.tree.now();
    server.watched.add_memory(now, &memory);
    let mut disks = observe::disks(server, pids);
    server.watched.add_disks(now, &mut disks);
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHILD: ChildId = ChildId { slot: 1, serial: 0 };

    const fn at(looks: u64) -> Time {
        Time::from_nanos(looks * 15_000_000_000)
    }

    #[test]
    fn the_samples_of_an_attempt_are_bounded_and_reach_over_its_whole_life() {
        let watched = Watched::default();
        for nth in 0..10_000 {
            watched.add_memory(at(nth), &[((CHILD, Attempt(1)), nth)]);
            assert!(watched.memory()[0].samples.len() <= MAX_SAMPLES);
        }
        let samples = &watched.memory()[0].samples;
        assert!(samples.len() >= MAX_SAMPLES / 2, "{}", samples.len());
        assert_eq!(samples[0], (at(0), 0));
        assert!(samples.last().unwrap().1 > 9_000, "{samples:?}");
        assert!(samples.is_sorted());
    }

    #[test]
    fn an_attempt_that_is_over_is_forgotten() {
        let watched = Watched::default();
        watched.add_memory(at(1), &[((CHILD, Attempt(1)), 5)]);
        watched.add_memory(at(2), &[((CHILD, Attempt(2)), 6)]);
        let memory = watched.memory();
        assert_eq!(
            (memory.len(), memory[0].attempt, &*memory[0].samples),
            (1, Attempt(2), &[(at(2), 6)][..])
        );
    }

    #[test]
    fn a_disk_that_stays_full_is_full_since_it_was_seen_first() {
        let watched = Watched::default();
        let full = |free: u64| Disk {
            path: liveoak_runtime::Path::new("/shop"),
            folder: PathBuf::from("/data"),
            free,
            size: 1 << 40,
            free_files: 0,
            files: 0,
            full_since: None,
        };
        let since = |now: u64, free: u64| {
            let mut disks = [full(free)];
            watched.add_disks(at(now), &mut disks);
            disks[0].full_since
        };
        assert_eq!(since(1, 0), Some(at(1)));
        assert_eq!(since(2, 7), Some(at(1)));
        assert_eq!(since(3, 1 << 39), None);
        assert_eq!(since(4, 0), Some(at(4)));
    }
}
