//! The log of a stop, from which its report is made: opened where the stop begins, written to from below.

use super::Machine;
use super::state::{Index, StopLog};
use crate::report::{MAX_LISTED, MAX_LISTED_MEMBERS};
use crate::{Exit, Path, StopEntry, StopReport, StopStage};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

impl Machine {
    /// Opens a log for all that stops at or below `child`, if it has none.
    pub(super) fn open_log(&mut self, child: Index) {
        let began = self.now;
        let log = &mut self.arena.record(child).log;
        log.get_or_insert_with(|| Box::new(StopLog { began, entries: Vec::new(), members: 0, unlisted: 0 }));
    }

    /// Closes the log of `child` and returns its report. The entries are copied to the next log above, if there is one.
    pub(super) fn close_log(&mut self, child: Index) -> StopReport {
        let log = self.arena[child].record.as_mut().and_then(|record| record.log.take());
        let Some(log) = log else { return StopReport::default() };
        let members = log.members;
        let mut entries = log.entries;
        keep_most_forceful(&mut entries);
        let report = StopReport { took: self.now.since(log.began), entries, unlisted: log.unlisted };
        if let Some(above) = self.arena[child].parent.and_then(|parent| self.log_above(parent)) {
            above.entries.extend(report.entries.iter().cloned());
            above.members += members;
            above.unlisted += report.unlisted;
        }
        report
    }

    pub(super) fn log_stop(&mut self, child: Index, took: Duration, stage: StopStage, exit: Option<&Exit>) {
        // The report is that of the root's own stop, so the root has no entry in it.
        if child == self.root {
            return;
        }
        let member = self.arena.is_member(child);
        let Some(log) = self.log_above(child) else { return };
        let full = log.entries.len() >= MAX_LISTED || member && log.members >= MAX_LISTED_MEMBERS;
        if full && !stage.is_forced() {
            log.unlisted += 1;
            return;
        }
        log.members += usize::from(member);
        let entry = StopEntry { path: self.arena.path_of(child), took, stage, exit: exit.cloned() };
        if let Some(log) = self.log_above(child) {
            log.entries.push(entry);
        }
    }

    /// Returns the nearest open log, at `child` or above.
    fn log_above(&mut self, child: Index) -> Option<&mut StopLog> {
        let has_log = |at: &Index| self.arena[*at].record.as_ref().is_some_and(|record| record.log.is_some());
        let at = self.arena.line_above(child).find(has_log)?;
        self.arena[at].record.as_mut()?.log.as_deref_mut()
    }
}

/// Keeps one entry of each child: if it was stopped more than once, the most forceful, and of equals the last.
fn keep_most_forceful(entries: &mut Vec<StopEntry>) {
    let mut kept: BTreeMap<Path, usize> = BTreeMap::new();
    for (at, entry) in entries.iter().enumerate() {
        let best = kept.entry(entry.path.clone()).or_insert(at);
        if entry.stage >= entries[*best].stage {
            *best = at;
        }
    }
    let kept: BTreeSet<usize> = kept.into_values().collect();
    let mut at = 0..;
    entries.retain(|_| at.next().is_some_and(|at| kept.contains(&at)));
}
