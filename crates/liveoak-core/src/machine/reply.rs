//! The replies to commands, and the log of a stop, from which the report in a reply is made.
//!
//! A reply is sent when the command has taken effect. A log is opened for the child whose stop begins, and the stops of
//! the children below it are written to this log.

use super::state::{Index, Purpose, StopLog};
use super::{Command, Effect, Machine, Outcome, Refusal};
use crate::report::{MAX_KEPT_FORCED, MAX_LISTED, MAX_LISTED_MEMBERS};
use crate::{ChildId, Exit, RequestId, StopEntry, StopReport, StopStage, Time};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

type Answer = Result<Outcome, Refusal>;

impl Machine {
    pub(super) fn waiter_count(&self, child: Index) -> usize {
        self.arena[child].record.as_ref().map_or(0, |record| record.waiters.len())
    }

    #[inline]
    pub(super) fn expect_answer(&mut self, child: Index, request: Option<RequestId>, command: Command) {
        if let Some(request) = request {
            self.arena.record_or_new(child).waiters.push((request, command));
        }
    }

    /// Answers the commands on `child` for which `answer` returns `Some`. The other commands continue to wait.
    #[inline]
    pub(super) fn answer(&mut self, child: Index, answer: impl Fn(Command) -> Option<Answer>) {
        if self.waiter_count(child) > 0 {
            self.answer_waiters(child, answer);
        }
    }

    fn answer_waiters(&mut self, child: Index, answer: impl Fn(Command) -> Option<Answer>) {
        for (request, command) in std::mem::take(&mut self.arena.record_or_new(child).waiters) {
            match answer(command) {
                Some(result) => self.push(Effect::Reply { request, result }),
                None => self.arena.record_or_new(child).waiters.push((request, command)),
            }
        }
    }

    /// Answers the commands that start `child`. The other commands continue to wait.
    pub(super) fn answer_starts(&mut self, child: Index, answer: impl Fn() -> Answer) {
        self.answer(child, |command| command.is_start().then(&answer));
    }

    /// Refuses the commands that start `child`, because its attempt failed.
    pub(super) fn refuse_starts(&mut self, child: Index, exit: &Exit) {
        self.answer_starts(child, || Err(Refusal::Failed(exit.clone())));
    }

    /// Answers the commands that start a waiting child: the answer says what the child waits for. The child continues
    /// to wait. These commands do not get the result of its later attempt.
    pub(super) fn answer_as_waiting(&mut self, child: Index) {
        let Some(sup) = self.arena[child].parent else { return };
        let asks_for_start = |(_, command): &(RequestId, Command)| command.is_start();
        let record = self.arena[child].record.as_ref();
        if record.is_some_and(|record| record.waiters.iter().any(asks_for_start)) {
            let path = self.path_waited_for(sup, child);
            self.answer_starts(child, || Err(Refusal::WaitsFor { path: path.clone() }));
        }
        let state = &mut self.arena[child];
        state.flags.start_requested = false;
        if let Some(record) = &mut state.record {
            record.answer_due = false;
        }
    }

    /// Returns `true` if the commands that asked for the start of a child are to be answered although it waits.
    pub(super) fn is_answer_due(&self, child: Index) -> bool {
        self.arena[child].record.as_ref().is_some_and(|record| record.answer_due)
    }

    /// Sets the time at which the commands that start a child are answered although the child waits. The time counts
    /// from the first such wait.
    pub(super) fn expect_start_in_time(&mut self, child: Index) {
        let record = self.arena[child].record.as_ref();
        let asked = record.is_some_and(|record| record.waiters.iter().any(|(_, command)| command.is_start()));
        if asked && self.deadline_of(child, Purpose::Answer) == Time::NEVER {
            self.set_timer_in(child, Purpose::Answer, self.longest_wait(child));
        }
    }

    /// Forgets a request whose caller has stopped waiting. The command itself is still carried out.
    pub fn withdraw(&mut self, request: RequestId, id: ChildId) {
        let child = self.arena.index_of(id);
        if let Some(record) = child.and_then(|child| self.arena[child].record.as_mut()) {
            record.waiters.retain(|(waiting, _)| *waiting != request);
        }
        self.forget_watch(request, id);
    }

    /// Opens a log for the stops of `child` and of all children below it, if `child` has no log.
    pub(super) fn open_log(&mut self, child: Index) {
        let (began, starts) = (self.now, self.starts);
        let log = &mut self.arena.record_or_new(child).log;
        log.get_or_insert_with(|| {
            Box::new(StopLog { began, starts, report: StopReport::default(), members: 0 })
        });
    }

    /// Closes the log of `child` and returns its report. If a supervisor above has a log, the entries are copied to it.
    #[inline]
    pub(super) fn close_log(&mut self, child: Index) -> StopReport {
        let log = self.arena[child].record.as_mut().and_then(|record| record.log.take());
        // Most children have no log.
        log.map_or_else(StopReport::default, |log| self.finish_log(child, *log))
    }

    fn finish_log(&mut self, child: Index, log: StopLog) -> StopReport {
        let StopLog { began, starts, mut report, members } = log;
        report.took = self.now.since(began);
        // If no start was ordered since the log was opened, no child was stopped twice.
        if starts != self.starts {
            keep_most_forceful(&mut report.entries);
        }
        if let Some(above) = self.arena[child].parent.and_then(|parent| self.log_above(parent)) {
            above.report.entries.extend_from_slice(&report.entries);
            above.report.unlisted += report.unlisted;
            above.report.unlisted_forced += report.unlisted_forced;
            above.members += members;
            above.starts = above.starts.min(starts);
        }
        report
    }

    /// Closes the log of a supervisor that ends by itself. Returns the report of the forced stops, if there were any,
    /// unless a log above contains them now. The log of the root stays open, because it becomes the report of the tree.
    #[inline]
    pub(super) fn take_forced(&mut self, child: Index) -> Option<Box<StopReport>> {
        let state = &self.arena[child];
        // Most children have no log.
        state.record.as_ref()?.log.as_ref()?;
        self.take_forced_of_log(child, state.parent?)
    }

    fn take_forced_of_log(&mut self, child: Index, parent: Index) -> Option<Box<StopReport>> {
        let is_reported_above = self.log_above(parent).is_some();
        let mut report = self.close_log(child);
        report.entries.retain(|entry| entry.stage.is_forced());
        report.unlisted = 0;
        (!is_reported_above && !report.is_clean()).then(|| Box::new(report))
    }

    /// Keeps the forced stops below `child`, which ended by itself, for the report of the tree's end. If the
    /// supervisor of `child` is ending too, the entries go to the log of the supervisor. Otherwise the record of
    /// `child` keeps at most [`MAX_KEPT_FORCED`] of them until `child` starts again, and counts the rest. If `child`
    /// is about to start, or has left the tree, nothing is kept.
    pub(super) fn keep_forced(
        &mut self,
        parent: Option<Index>,
        child: Index,
        id: ChildId,
        forced: Option<Box<StopReport>>,
    ) {
        let (Some(parent), Some(mut forced)) = (parent, forced) else { return };
        if self.arena.sup(parent).is_ending() {
            self.log_forced(parent, *forced);
        } else if self.arena.index_of(id).is_some() && self.arena[child].phase.is_idle() {
            let more = forced.entries.len().saturating_sub(MAX_KEPT_FORCED);
            forced.entries.truncate(MAX_KEPT_FORCED);
            forced.entries.shrink_to_fit();
            forced.unlisted_forced += more as u64;
            self.arena.record_or_new(child).forced = Some(forced);
        }
    }

    /// Adds forced stops to the nearest open log, at `child` or above.
    fn log_forced(&mut self, child: Index, mut forced: StopReport) {
        if let Some(log) = self.log_above(child) {
            log.report.entries.append(&mut forced.entries);
            log.report.unlisted_forced += forced.unlisted_forced;
            log.starts = 0;
        }
    }

    /// Adds to the log of the root the forced stops that children have kept from their last end, and the children of which
    /// processes are still alive.
    pub(super) fn collect_forced(&mut self) {
        let keeps = |child: &Index| {
            let record = self.arena[*child].record.as_ref();
            record.is_some_and(|record| record.forced.is_some() || record.survivors.is_some())
        };
        let keeping: Vec<Index> = self.arena.all().filter(keeps).collect();
        for child in keeping {
            let record = self.arena.record_or_new(child);
            let mut forced = record.forced.take().map_or_else(StopReport::default, |forced| *forced);
            let exit = record.survivors.as_ref().map(|(_, survivors)| Exit::StillRuns(Arc::clone(survivors)));
            if let Some(exit) = exit {
                let (path, stage, took) = (self.arena.path_of(child), StopStage::Abandoned, Duration::ZERO);
                let is_it = |entry: &StopEntry| entry.stage == stage && entry.path == path;
                if !self.log_above(self.root).is_some_and(|log| log.report.entries.iter().any(is_it)) {
                    forced.entries.push(StopEntry { path, took, stage, exit: Some(exit), stuck: None });
                }
            }
            self.open_log(self.root);
            self.log_forced(self.root, forced);
        }
    }

    pub(super) fn log_stop(&mut self, child: Index, took: Duration, stage: StopStage, exit: Option<&Exit>) {
        // The report describes the stop of the root, so the root has no entry in it.
        if child == self.root {
            return;
        }
        let member = self.arena.is_member(child);
        let Some(log) = self.log_above(child) else { return };
        let full = log.report.entries.len() >= MAX_LISTED || member && log.members >= MAX_LISTED_MEMBERS;
        if full && !stage.is_forced() {
            log.report.unlisted += 1;
            return;
        }
        log.members += usize::from(member);
        let stuck = exit.and_then(|_| self.arena[child].stuck_poll().cloned());
        let entry = StopEntry { path: self.arena.path_of(child), took, stage, exit: exit.cloned(), stuck };
        if let Some(log) = self.log_above(child) {
            log.report.entries.push(entry);
        }
    }

    /// Returns the nearest open log, at `child` or above.
    #[inline]
    fn log_above(&mut self, child: Index) -> Option<&mut StopLog> {
        let has_log = |at: &Index| self.arena[*at].record.as_ref().is_some_and(|record| record.log.is_some());
        let at = self.arena.line_up_from(child).find(has_log)?;
        self.arena[at].record.as_mut()?.log.as_deref_mut()
    }
}

/// Keeps one entry for each child. If a child was stopped more than once, keeps the most forceful stop; of equally
/// forceful stops, the last.
fn keep_most_forceful(entries: &mut Vec<StopEntry>) {
    let hash = |entry: &StopEntry| {
        let mut hasher = DefaultHasher::new();
        entry.path.as_str().hash(&mut hasher);
        hasher.finish()
    };
    // Sorted by a number, because there may be a million paths.
    let mut by_path: Vec<(u64, usize)> = entries.iter().map(hash).zip(0..).collect();
    by_path.sort_unstable();
    let mut dropped = BTreeSet::new();
    for same in by_path.chunk_by(|(a, _), (b, _)| a == b).filter(|same| same.len() > 1) {
        // Different paths can have the same hash.
        let mut best: Vec<usize> = Vec::new();
        for &(_, at) in same {
            match best.iter_mut().find(|best| entries[**best].path == entries[at].path) {
                None => best.push(at),
                Some(best) if entries[at].stage >= entries[*best].stage => {
                    dropped.insert(std::mem::replace(best, at));
                }
                Some(_) => drop(dropped.insert(at)),
            }
        }
    }
    let mut at = 0..;
    entries.retain(|_| at.next().is_some_and(|at| !dropped.contains(&at)));
}
