//! Kills, signals, and the count of the children.

use super::Server;
use crate::children::{Children, mark_of, parent_of};
use crate::machine::{Input, Machine, Slot};
use crate::message::Reach;
use crate::os;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::AsFd;

const KILL: u8 = 9;

/// Returns the program to which a child belongs that is not a leader: by its mark, else by its process group.
fn owner_of(machine: &Machine, pid: u32) -> Option<Slot> {
    let by_mark = mark_of(pid).and_then(|mark| machine.slot_of_mark(mark));
    by_mark.or_else(|| {
        Some(os::group_of(pid))
            .filter(|group| machine.is_leader(*group))
            .and_then(|group| machine.slot_of(group))
    })
}

/// Sends a signal to a leader and to its group.
fn signal_group(leader: u32, signal: u8) -> Result<(), i32> {
    let group = os::kill_group(leader, signal);
    // A leader may have left its group.
    if os::group_of(leader) == leader { group } else { os::kill(leader, signal) }
}

impl Server {
    /// Counts the children that are not leaders, and reaps those that are dead.
    pub(super) fn census(&mut self) {
        self.census_due = false;
        self.take(Input::CensusBegins);
        let Server { machine, children, .. } = self;
        for &pid in children.own() {
            if machine.is_leader(pid) {
                continue;
            }
            if os::reap(pid) {
                machine.orphan_reaped(pid);
                continue;
            }
            let slot = owner_of(machine, pid);
            machine.handle(super::now(), Input::Orphan { pid, slot });
        }
        self.take(Input::CensusEnds);
    }

    pub(super) fn kill_program(&mut self, slot: Slot) {
        // Its orphans are killed by the census.
        self.census_due = true;
        let Some(pid) = self.machine.pid_of(slot) else { return };
        if let Err(errno) = signal_group(pid, KILL).or_else(ended) {
            self.machine.handle(super::now(), Input::KillRefused { slot, pid, errno });
        }
    }

    pub(super) fn kill_orphan(&mut self, pid: u32, slot: Option<Slot>) {
        // The children that it leaves behind become children of the guardian, and are killed by the next census.
        let killed = os::kill(pid, KILL).or_else(ended);
        if os::group_of(pid) == pid {
            let _refused = os::kill_group(pid, KILL);
        }
        if let (Err(errno), Some(slot)) = (killed, slot) {
            self.machine.handle(super::now(), Input::KillRefused { slot, pid, errno });
        }
    }

    pub(super) fn signal(&mut self, slot: Slot, signal: u8, reach: Reach) {
        let Some(leader) = self.machine.pid_of(slot) else { return };
        let sent = match reach {
            Reach::Leader => os::kill(leader, signal),
            Reach::Group => signal_group(leader, signal),
            Reach::Set => self.signal_set(slot, leader, signal),
        };
        let errno = sent.err().unwrap_or(0);
        self.machine.handle(super::now(), Input::Signalled { slot, errno });
    }

    /// Sends a signal to the group of a leader, and to each descendant outside of it.
    fn signal_set(&mut self, slot: Slot, leader: u32, signal: u8) -> Result<(), i32> {
        // First the look, then the signals: what a descendant starts when it gets the signal is not asked.
        let Server { machine, children, .. } = self;
        let outside = |pid: u32| os::group_of(pid) != leader;
        for &pid in children.with_descendants(leader).iter().skip(1) {
            if outside(pid) {
                signal_descendant(pid, signal);
            }
        }
        // An orphan is asked with its own descendants. The list of orphans is read anew for each, because both look-ups
        // use one table.
        let mut at = 0;
        while let Some(orphan) = nth_orphan(machine, children, slot, at) {
            at += 1;
            for &pid in children.with_descendants(orphan) {
                if outside(pid) {
                    signal_descendant(pid, signal);
                }
            }
        }
        signal_group(leader, signal)
    }
}

/// Treats a process that has ended as one that was reached.
fn ended(errno: i32) -> Result<(), i32> {
    if errno == libc::ESRCH { Ok(()) } else { Err(errno) }
}

/// Returns an orphan of a program.
fn nth_orphan(machine: &Machine, children: &mut Children, slot: Slot, at: usize) -> Option<u32> {
    let own = children.own().iter().copied();
    own.filter(|pid| !machine.is_leader(*pid) && owner_of(machine, *pid) == Some(slot)).nth(at)
}

/// Sends a signal to a descendant that may not be a child of the guardian, so that its number may belong to another
/// process in any moment.
fn signal_descendant(pid: u32, signal: u8) {
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    let parent = parent_of(pid);
    let Ok(pidfd) = pidfd_open(number, PidfdFlags::empty()) else { return };
    // The descriptor belongs to a process that had the number after the look-up. If the parent is the same before and
    // after, it is the one that was found, or another child of the same parent.
    if parent.is_some() && parent_of(pid) == parent {
        let _refused = os::kill_by_pidfd(pidfd.as_fd(), signal);
    }
}
