//! The process ids of programs, for the lines of the log.
//!
//! The machine knows nothing of processes, so its events have no process id. The thread that writes the log keeps the ids,
//! in the order of the lines: a line never shows the id of another attempt, however late it is written.

use liveoak_core::{Attempt, ChildId, Event, EventKind};
use std::cell::RefCell;
use std::collections::HashMap;

/// How many ids are kept at most. When there are more, the ids so far are forgotten, and lines about these attempts have no
/// id. About 3 MiB.
pub(crate) const PIDS_KEPT: usize = 65_536;

/// A child of one of the trees of the process: the address of its tree, and its id.
type Key = (usize, ChildId);

thread_local! {
    static PIDS: RefCell<HashMap<Key, (Attempt, u32)>> = RefCell::default();
}

/// Notes the process id of an attempt. Runs on the thread that writes the log.
pub(crate) fn keep(tree: usize, id: ChildId, attempt: Attempt, pid: u32) {
    PIDS.with_borrow_mut(|pids| {
        if pids.len() >= PIDS_KEPT {
            pids.clear();
        }
        pids.insert((tree, id), (attempt, pid));
    });
}

/// Returns the process id that the event is about, and forgets it after the last event of its attempt. Runs on the thread
/// that writes the log.
pub(crate) fn of(tree: usize, event: &Event) -> Option<u32> {
    let key = (tree, event.id);
    PIDS.with_borrow_mut(|pids| match &event.kind {
        EventKind::Ready { attempt, .. }
        | EventKind::Exited { attempt, .. }
        | EventKind::Stopping { attempt }
        | EventKind::Killed { attempt }
        | EventKind::Abandoned { attempt } => {
            pids.get(&key).filter(|(kept, _)| kept == attempt).map(|(_, pid)| *pid)
        }
        EventKind::Health { .. }
        | EventKind::NeedLost { .. }
        | EventKind::StoppedForNeed { .. }
        | EventKind::Stuck(_)
        | EventKind::Unstuck { .. }
        | EventKind::Unready { .. }
        | EventKind::ReadyAgain
        | EventKind::Paused
        | EventKind::Resumed
        | EventKind::Released => pids.get(&key).map(|(_, pid)| *pid),
        EventKind::Stopped { .. } | EventKind::Finished | EventKind::Ignored => {
            pids.remove(&key).map(|(_, pid)| pid)
        }
        EventKind::Starting { .. }
        | EventKind::Waiting
        | EventKind::BackingOff { .. }
        | EventKind::Quarantined(_)
        | EventKind::Removed => {
            pids.remove(&key);
            None
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use liveoak_core::{Exit, Path, Time};
    use std::time::Duration;

    const ID: ChildId = ChildId { slot: 1, serial: 0 };

    fn event(kind: EventKind) -> Event {
        let (path, severity) = (Path::new("t").join("a"), kind.severity());
        Event { number: 1, at: Time::ZERO, path, id: ID, kind, severity, description: None, origin: None }
    }

    fn exited(attempt: u64) -> Event {
        let (attempt, ran) = (Attempt(attempt), Duration::ZERO);
        event(EventKind::Exited { attempt, exit: Exit::Completed, ran, stopped_by_others: false })
    }

    #[test]
    fn an_event_has_the_process_id_of_its_own_attempt_only() {
        let ready = |attempt| event(EventKind::Ready { attempt: Attempt(attempt), took: Duration::ZERO });
        assert_eq!(of(1, &ready(1)), None);
        keep(1, ID, Attempt(1), 100);
        assert_eq!((of(1, &ready(1)), of(1, &exited(1))), (Some(100), Some(100)));
        assert_eq!((of(1, &ready(2)), of(2, &ready(1))), (None, None), "another attempt, another tree");
        keep(1, ID, Attempt(2), 200);
        assert_eq!((of(1, &exited(1)), of(1, &exited(2))), (None, Some(200)));
        assert_eq!(of(1, &event(EventKind::Finished)), Some(200));
        assert_eq!(
            of(1, &event(EventKind::Finished)),
            None,
            "an id is forgotten with the end of its attempt"
        );
    }

    #[test]
    fn a_restart_forgets_the_process_id_of_the_attempt_before() {
        keep(1, ID, Attempt(1), 100);
        assert_eq!(of(1, &event(EventKind::Starting { attempt: Attempt(2), restart: true })), None);
        assert_eq!(of(1, &event(EventKind::Finished)), None);
    }

    #[test]
    fn one_process_id_beyond_the_limit_clears_all_others() {
        for slot in 0..=PIDS_KEPT {
            let slot = u32::try_from(slot).unwrap_or_default();
            keep(1, ChildId { slot, serial: 0 }, Attempt(1), slot);
        }
        PIDS.with_borrow(|pids| assert_eq!(pids.len(), 1));
    }
}
