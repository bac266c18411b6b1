//! What is kept of the past: the last exits of each child, the last commands of the tree, the first failure, and who
//! asked for the end. Everything is bounded. A child that never failed keeps no exits.

use super::state::{ChildRecord, Index, Phase};
use super::{Machine, Refusal};
use crate::{
    Attempt, ChildHistory, ChildId, ChildSpec, CommandRecord, Exit, ExitRecord, FirstFailure, IdleReason,
    Limit, LimitUse, MAX_KEPT_COMMANDS, Origin, Path, Restart, bounded_text,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The most bytes of the text of a refusal.
const MAX_REFUSAL_BYTES: usize = 256;

/// What is kept of the past of the tree.
#[derive(Clone, Debug, Default)]
pub(super) struct TreeHistory {
    /// The last commands, at most [`MAX_KEPT_COMMANDS`].
    pub(super) commands: VecDeque<Arc<CommandRecord>>,
    first_failure: Option<Arc<FirstFailure>>,
    /// The command that began the end of the tree.
    end: Option<Arc<CommandRecord>>,
}

impl Machine {
    /// Says who gives the next input or adds the next child, and why. Without this, the next input has no origin.
    pub fn set_origin(&mut self, origin: Option<Arc<Origin>>) {
        self.origin = origin;
    }

    /// Returns the first failure of the tree: no child had failed by itself before.
    #[must_use]
    pub const fn first_failure(&self) -> Option<&Arc<FirstFailure>> {
        self.history.first_failure.as_ref()
    }

    /// Returns the command that began the end of the tree; `None` if the tree goes on, or began to end by itself.
    #[must_use]
    pub const fn end_command(&self) -> Option<&Arc<CommandRecord>> {
        self.history.end.as_ref()
    }

    /// Begins the record of a command on a child. Returns `None` if the tree has no such child any more.
    pub(super) fn begin_record(&self, id: ChildId, command: &'static str) -> Option<CommandRecord> {
        let child = self.arena.index_of(id).filter(|_| !self.ended)?;
        let (at, path, origin) =
            (self.now, self.arena.path_of(child), self.origin.clone().unwrap_or_default());
        Some(CommandRecord { at, path, id, command, origin, refused: None })
    }

    /// Keeps the record of a command that was carried out, or refused.
    pub(super) fn finish_record(&mut self, record: Option<CommandRecord>, refusal: Option<&Refusal>) {
        let Some(mut record) = record else { return };
        record.refused = refusal.map(|refusal| bounded_text(refusal, MAX_REFUSAL_BYTES));
        let record = Arc::new(record);
        if self.history.commands.len() >= MAX_KEPT_COMMANDS {
            self.history.commands.pop_front();
        }
        self.history.commands.push_back(Arc::clone(&record));
        // A command to remove a child that is down has taken it out of the tree.
        if let (None, Some(child)) = (refusal, self.arena.index_of(record.id)) {
            let phase = self.arena[child].phase;
            let by_command =
                self.arena[child].is_down_by_command() && phase != Phase::Idle(IdleReason::Paused);
            let kept = self.arena.record_or_new(child);
            // A pause changes nothing about why the child is down, or is being stopped or started. A resume does only if it
            // starts the child.
            let starts = matches!(phase, Phase::Waiting | Phase::Starting | Phase::Running);
            let changes = record.command != "pause" && (record.command != "resume" || starts);
            if changes {
                let open = matches!(phase, Phase::Waiting | Phase::Starting | Phase::Stopping { .. });
                (kept.command, kept.command_open) = (Some(record), open);
            } else if !kept.command_open && !by_command {
                kept.command = Some(record);
            }
        }
    }

    /// Records a command to stop or to kill the whole tree. A repeated one is not recorded.
    pub(super) fn record_tree_command(&mut self, command: &'static str) {
        let root = self.root;
        let last = self.arena[root].record.as_ref().and_then(|record| record.command.as_ref());
        if self.ended || last.is_some_and(|last| last.command == command) {
            return;
        }
        let began_to_end = !self.arena[root].phase.is_stopping();
        let record = self.begin_record(self.arena.id_of(root), command);
        self.finish_record(record, None);
        let kept = self.arena.record_or_new(root);
        kept.command_open = true;
        if began_to_end && self.history.end.is_none() {
            self.history.end.clone_from(&kept.command);
        }
    }

    /// Keeps the exit of the last attempt, if the child has failed now or before.
    pub(super) fn record_exit(
        &mut self,
        child: Index,
        is_member: bool,
        ran: Duration,
        exit: &Exit,
        stopped_by_others: bool,
    ) {
        let state = &self.arena[child];
        // A member that leaves the tree needs no record, and there may be very many of them.
        let leaves =
            is_member && (state.restart == Restart::Temporary || stopped_by_others && state.record.is_none());
        let keeps = if leaves { 0 } else { usize::from(state.spec.history) };
        let has_failed = state.record.as_ref().is_some_and(|record| record.exits.is_some());
        let is_first_failure =
            exit.is_failure() && !stopped_by_others && self.history.first_failure.is_none();
        if !is_first_failure && (keeps == 0 || !has_failed && !exit.is_failure()) {
            return;
        }
        let attempt = Attempt(state.attempt);
        let now = self.now;
        let record_in = |used| ExitRecord::new(attempt, now, ran, exit, stopped_by_others, used);
        if is_first_failure {
            let failure = FirstFailure { path: self.arena.path_of(child), exit: record_in(String::new()) };
            self.history.first_failure = Some(Arc::new(failure));
        }
        if keeps == 0 {
            return;
        }
        // A snapshot may share the list. Then the list is copied once.
        let exits = Arc::make_mut(self.arena.record_or_new(child).exits.get_or_insert_default());
        // A new exit takes the memory of the one that it displaces.
        let displaced = if exits.len() >= keeps { exits.pop_front() } else { None };
        exits.push_back(record_in(displaced.map(|displaced| displaced.text).unwrap_or_default()));
    }

    /// Returns what is declared of a child. In a copy, the members of a group have only the spec of their group.
    pub(super) fn spec_of(&self, child: Index) -> &Arc<ChildSpec> {
        self.arena.parent_of(child).and_then(|sup| sup.template()).unwrap_or(&self.arena[child].spec)
    }

    /// Returns the limit of a child that the child has on its own. `None` if only the intensity of its supervisor counts.
    pub(super) fn own_limit(&self, child: Index) -> Option<Limit> {
        let sup = self.arena.parent_of(child)?;
        // A temporary child is never restarted.
        if self.arena[child].restart == Restart::Temporary {
            return None;
        }
        let default = || sup.rules.intensity.is_none().then_some(Limit::DEFAULT_OF_A_CHILD);
        self.spec_of(child).limit.or_else(default)
    }

    /// Returns how much of the own limit of a child is used up.
    pub(super) fn limit_use(&self, child: Index) -> Option<LimitUse> {
        let limit = self.own_limit(child).filter(|limit| limit.restarts != Limit::UNLIMITED)?;
        let record = self.arena[child].record.as_deref();
        let used = record.map_or(0, |record| record.window.used(&limit, self.now));
        let in_a_row = record.map_or(0, |record| record.failures.count());
        Some(LimitUse { used, limit: limit.restarts, period: limit.period, in_a_row })
    }

    /// Returns how much of the intensity of a supervisor the restarts of its children have used up.
    pub(super) fn intensity_use(&self, sup: Index) -> Option<LimitUse> {
        let state = self.arena[sup].sup.as_ref()?;
        let limit = state.rules.intensity.filter(|limit| limit.restarts != Limit::UNLIMITED)?;
        let used = state.window.used(&limit, self.now);
        Some(LimitUse { used, limit: limit.restarts, period: limit.period, in_a_row: 0 })
    }

    /// Returns what happened to a child before, for the snapshot.
    pub(super) fn history_of(&self, child: Index) -> Option<Box<ChildHistory>> {
        let is_used = |used: &LimitUse| used.used > 0 || used.in_a_row > 0;
        let intensity = self.intensity_use(child).filter(is_used);
        let Some(record) = self.arena[child].record.as_deref() else {
            return intensity.map(|_| Box::new(ChildHistory { intensity, ..ChildHistory::default() }));
        };
        let limit = self.limit_use(child).filter(is_used);
        let (exits, command) = (record.exits.clone(), record.command.clone());
        let (backoff_steps, gave_up) = (record.backoff_steps(), record.gave_up.clone());
        let is_empty = exits.is_none() && command.is_none() && gave_up.is_none() && backoff_steps == 0;
        if is_empty && limit.is_none() && intensity.is_none() {
            return None;
        }
        let exits = exits.unwrap_or_default();
        Some(Box::new(ChildHistory { exits, limit, intensity, backoff_steps, gave_up, command }))
    }

    /// Returns the last commands that concern a child: those on the child and on the supervisors above it.
    pub(super) fn commands_on(&self, child: Index) -> Vec<Arc<CommandRecord>> {
        let path = self.arena.path_of(child);
        let is_above = |above: &Path| {
            path.as_str()
                .strip_prefix(above.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let ring = self.history.commands.iter().filter(|command| is_above(&command.path));
        let mut commands: Vec<_> = ring.cloned().collect();
        // The ring may have lost the last command of the child.
        let own = self.arena[child].record.as_ref().and_then(|record| record.command.as_ref());
        if let Some(own) = own.filter(|own| !commands.iter().any(|command| Arc::ptr_eq(command, own))) {
            commands.insert(0, Arc::clone(own));
        }
        commands
    }
}

impl ChildRecord {
    /// Returns the number of restarts in a row that the next delay of the backoff depends on.
    pub(super) fn backoff_steps(&self) -> u32 {
        self.backoff.failures.max(self.backoff.ends)
    }
}
