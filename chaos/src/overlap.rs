//! Watches the processes during the run: no program may have two living process groups at once (an attempt must end
//! before the next one starts).

use crate::log::RunLog;
use crate::sandbox::{ProcessInfo, Sandbox};
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Watches while `goes_on` returns `true`, and adds the errors to the log. Returns the number of looks.
pub(crate) fn watch(sandbox: &Sandbox, log: &RunLog, goes_on: impl Fn() -> bool) -> u32 {
    let mut looks = 0;
    while goes_on() {
        let seen = two_at_once(sandbox);
        log.events().errors.extend(seen);
        looks += 1;
        thread::sleep(PAUSE);
    }
    looks
}

/// Returns an error if a program has two process groups. Both are looked at twice: at the first look, one may have
/// ended before the other began.
fn two_at_once(sandbox: &Sandbox) -> Option<String> {
    let mut by_name: BTreeMap<String, ProcessInfo> = BTreeMap::new();
    let mut pairs = Vec::new();
    for process in sandbox.processes() {
        let Some(name) = process.name.clone() else { continue };
        match by_name.get(&name) {
            Some(other) if other.group != process.group => pairs.push((other.clone(), process)),
            Some(_) => {}
            None => {
                by_name.insert(name, process);
            }
        }
    }
    let still = |process: &ProcessInfo| sandbox.process(process.pid).as_ref() == Some(process);
    let (one, other) = pairs.into_iter().find(|(one, other)| still(one) && still(other))?;
    Some(format!("two groups of one program are alive: {one:?} and {other:?}"))
}
