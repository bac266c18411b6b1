//! Looks at the processes while all goes on: of each program no two groups are alive at once.

use crate::log::Log;
use crate::place::{Place, Process};
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Watches for as long as `goes_on` holds: how often was looked. What is seen is known to the log.
pub(crate) fn watch(place: &Place, log: &Log, goes_on: impl Fn() -> bool) -> u32 {
    let mut looks = 0;
    while goes_on() {
        let seen = two_at_once(place);
        log.told().wrong.extend(seen);
        looks += 1;
        thread::sleep(PAUSE);
    }
    looks
}

/// A program with two groups. Both are looked at again: one may have ended before the other began.
fn two_at_once(place: &Place) -> Option<String> {
    let mut by_name: BTreeMap<String, Process> = BTreeMap::new();
    let mut pairs = Vec::new();
    for process in place.processes() {
        let Some(name) = process.name.clone() else { continue };
        match by_name.get(&name) {
            Some(other) if other.group != process.group => pairs.push((other.clone(), process)),
            Some(_) => {}
            None => {
                by_name.insert(name, process);
            }
        }
    }
    let still = |process: &Process| place.process(process.pid).as_ref() == Some(process);
    let (one, other) = pairs.into_iter().find(|(one, other)| still(one) && still(other))?;
    Some(format!("two groups of one program are alive: {one:?} and {other:?}"))
}
