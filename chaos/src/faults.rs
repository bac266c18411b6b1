//! What is done to the programs, by luck.

use crate::log::Log;
use crate::place::{Place, send};
use crate::programs::names;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// SplitMix64.
pub(crate) struct Luck(pub(crate) u64);

impl Luck {
    pub(crate) fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }
}

/// How much of each was done.
pub(crate) type Done = BTreeMap<&'static str, u32>;

/// Does harm until the time is over, and undoes all of it that lasts.
pub(crate) fn harm(place: &Place, liveoak: u32, log: &Log, luck: &mut Luck, time: Duration) -> Done {
    let (begin, all, mut done) = (Instant::now(), names(|_| true), Done::new());
    // What is suspended, and until when; the last ones stay so until the end.
    let mut suspended: Vec<(u32, Instant)> = Vec::new();
    while begin.elapsed() < time {
        let name = &all[luck.next(all.len() as u64) as usize];
        let what = match luck.next(100) {
            0..2 => pause(liveoak, Duration::from_millis(luck.next(700))),
            2..4 => starve(liveoak, Duration::from_millis(luck.next(900))),
            4..6 => deafen(log, Duration::from_millis(luck.next(900))),
            roll => match place.process_of(name) {
                None => "was not there",
                Some(pid) if roll < 60 => {
                    send(pid, Signal::KILL);
                    "killed"
                }
                Some(pid) if roll < 75 => {
                    send(pid, Signal::TERM);
                    "told to terminate"
                }
                Some(pid) => {
                    send(pid, Signal::STOP);
                    let until = if luck.next(3) == 0 { time } else { Duration::from_millis(luck.next(900)) };
                    suspended.push((pid, Instant::now() + until));
                    "suspended"
                }
            },
        };
        *done.entry(what).or_default() += 1;
        suspended.retain(|(pid, until)| {
            let over = Instant::now() >= *until;
            if over && place.owns(*pid) {
                send(*pid, Signal::CONT);
            }
            !over
        });
        thread::sleep(Duration::from_millis(luck.next(40)));
    }
    for (pid, _) in suspended {
        if place.owns(pid) {
            send(pid, Signal::CONT);
        }
    }
    done
}

/// Suspends `liveoak` itself: it comes late to everything.
fn pause(liveoak: u32, time: Duration) -> &'static str {
    send(liveoak, Signal::STOP);
    thread::sleep(time);
    send(liveoak, Signal::CONT);
    "suspended liveoak itself"
}

/// Lets `liveoak` have no more file descriptors than it has: nothing can be started for a while.
fn starve(liveoak: u32, time: Duration) -> &'static str {
    let open = fs::read_dir(format!("/proc/{liveoak}/fd")).map_or(0, Iterator::count) as u64;
    let Some(pid) = i32::try_from(liveoak).ok().and_then(Pid::from_raw) else { return "was not there" };
    let limit = Rlimit { current: Some(open), maximum: hard(pid) };
    let Ok(before) = prlimit(Some(pid), Resource::Nofile, limit) else {
        return "could not take file descriptors away";
    };
    thread::sleep(time);
    let _ = prlimit(Some(pid), Resource::Nofile, before);
    "left liveoak no file descriptors"
}

/// The hard limit stays as it is: it could not be raised again by everybody.
fn hard(pid: Pid) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_nonzero())).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(4)?.parse().ok()
}

/// Reads none of the programs' output: the pipes fill up.
fn deafen(log: &Log, time: Duration) -> &'static str {
    log.deaf.store(true, Ordering::Relaxed);
    thread::sleep(time);
    log.deaf.store(false, Ordering::Relaxed);
    "left the output unread"
}
