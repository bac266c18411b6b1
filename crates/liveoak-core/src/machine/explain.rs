//! What a child does now, and why: one value that answers the questions of a person who looks at the child.

use super::Machine;
use super::condition::{Blocker, DependencyState};
use super::state::{Index, Intent, Phase, Readiness, SupervisorPhase};
use crate::explanation::BackoffUse;
use crate::{
    Attempt, ChildId, ChildState, CommandRecord, Exit, Explanation, Health, IdleReason, MAX_WAITS, Path,
    Restart, StopStage, Time, Wait, WaitingFor,
};
use std::sync::Arc;

impl Machine {
    /// Returns what a child does now, and why. `None` if the child is no longer part of the tree. `now` becomes the time of
    /// the machine.
    pub fn explain(&mut self, now: Time, id: ChildId) -> Option<Explanation> {
        self.now = self.now.max(now);
        let child = self.arena.index_of(id)?;
        let record = self.arena[child].record.as_deref();
        let state = &self.arena[child];
        let (waiting_for, more_waits) = self.waits_of(child);
        let shown = self.state_of(child);
        let deadline = match shown {
            ChildState::Waiting { remaining, .. }
            | ChildState::Starting { remaining }
            | ChildState::Stopping { remaining, .. } => remaining,
            ChildState::Idle(_) | ChildState::Running | ChildState::BackingOff { .. } => None,
        };
        let backoff = match shown {
            ChildState::BackingOff { remaining: next } => {
                Some(BackoffUse { next, nth: record.map_or(0, |record| record.backoff_steps()) })
            }
            _ => None,
        };
        let own = self.limit_use(child);
        let window_is_shared = self.own_limit(child).is_none() && state.restart != Restart::Temporary;
        let of_all = || state.parent.filter(|_| window_is_shared).and_then(|sup| self.intensity_use(sup));
        let spec = Arc::clone(self.spec_of(child));
        Some(Explanation {
            path: self.arena.path_of(child),
            id,
            at: self.now,
            since: state.since,
            why: self.why(child, &shown),
            state: shown,
            waiting_for,
            more_waits,
            deadline,
            paused: state.flags.paused,
            attempt: Attempt(state.attempt),
            restarts: record.map_or(0, |record| record.restarts),
            health: state.health,
            stuck: record.and_then(|record| record.stuck.clone()),
            window: own.or_else(of_all),
            window_is_shared,
            intensity: self.intensity_use(child),
            backoff,
            exits: record.and_then(|record| record.exits.clone()).unwrap_or_default(),
            commands: self.commands_on(child),
            origin: spec.declared_at.clone(),
            spec,
            strategy: state.sup.as_ref().map(|sup| sup.rules.strategy),
        })
    }

    /// Returns the children for which a child waits, at most [`MAX_WAITS`], and the number of the others.
    fn waits_of(&self, child: Index) -> (Vec<Wait>, usize) {
        let state = &self.arena[child];
        let mut waits = Vec::new();
        match (state.phase, state.parent, &state.sup) {
            (Phase::Waiting, Some(sup), _) => self.add_waits_before_start(sup, child, &mut waits),
            (Phase::Starting, _, Some(own)) if own.phase == SupervisorPhase::Starting => {
                let starts = |below: &&Index| {
                    let below = &self.arena[**below];
                    below.readiness == Readiness::Never && !below.is_skipped() && !below.flags.added
                };
                waits.extend(own.ordered().iter().filter(starts).map(|below| self.wait(*below, "ready")));
            }
            (Phase::Stopping { .. }, _, Some(own)) => {
                let is_live = |below: &Index| self.arena[*below].phase.is_live();
                // A group may have very many members.
                let live = self.arena.children(child).filter(is_live).take(MAX_WAITS);
                waits.extend(live.map(|below| self.wait(below, "down")));
                let more = own.live as usize - waits.len();
                return (waits, more);
            }
            _ => {}
        }
        let more = waits.len().saturating_sub(MAX_WAITS);
        waits.truncate(MAX_WAITS);
        (waits, more)
    }

    fn add_waits_before_start(&self, sup: Index, child: Index, waits: &mut Vec<Wait>) {
        if self.waiting_for(sup, child) == WaitingFor::Place {
            let starts = |other: &Index| self.arena[*other].phase == Phase::Starting;
            let starting = self.arena.children(sup).filter(starts).take(MAX_WAITS);
            return waits.extend(starting.map(|other| self.wait(other, "ready")));
        }
        match self.blocker_of(sup, child) {
            Some(Blocker::RestartStop) => {
                let stops = |other: &&Index| self.arena[**other].flags.in_restart_set;
                let stopping = self.arena.sup(sup).ordered().iter().filter(stops);
                waits.extend(stopping.map(|other| self.wait(*other, "down")));
            }
            Some(Blocker::RestartBackoff(failed)) => waits.push(self.wait(failed, "started")),
            Some(Blocker::Earlier(earlier)) if !self.is_after(child, earlier) => {
                waits.push(self.wait(earlier, "ready"));
            }
            Some(Blocker::Earlier(_)) | None => {}
        }
        for edge in &self.arena[child].spec.after {
            let Some(&sibling) = self.arena.sup(sup).names.get(&edge.child) else { continue };
            if self.edge_state(sup, child, edge) != DependencyState::Satisfied {
                let what = WaitingFor::Edge(edge.child.clone(), edge.condition);
                let end = self.end_of_wait(sup, child, &what);
                let remaining = (end != Time::NEVER).then(|| end.since(self.now));
                waits.push(Wait { remaining, ..self.wait(sibling, edge.condition.as_str()) });
            }
        }
    }

    /// Returns `true` if a child has an edge to a sibling.
    fn is_after(&self, child: Index, sibling: Index) -> bool {
        let name = self.arena.name_text(sibling);
        self.arena[child].spec.after.iter().any(|edge| edge.child.as_str() == name)
    }

    /// Returns the wait for a child. The deadline of the child bounds the wait.
    fn wait(&self, child: Index, condition: &'static str) -> Wait {
        let (path, since, state) = (self.arena.path_of(child), self.arena[child].since, self.state_of(child));
        let remaining = match &state {
            ChildState::BackingOff { remaining } => Some(*remaining),
            ChildState::Waiting { remaining, .. }
            | ChildState::Starting { remaining }
            | ChildState::Stopping { remaining, .. } => *remaining,
            ChildState::Idle(_) | ChildState::Running => None,
        };
        Wait { path, condition, state: state.as_str(), since, remaining }
    }

    /// Returns the reason of the state of a child, as one sentence.
    fn why(&self, child: Index, shown: &ChildState) -> String {
        let state = &self.arena[child];
        match shown {
            ChildState::Idle(reason) => self.why_idle(child, *reason),
            ChildState::Waiting { what, .. } => self.why_waiting(child, what),
            ChildState::Starting { .. } if state.sup.is_some() => {
                "its children are starting; it is ready when they are".to_owned()
            }
            ChildState::Starting { .. } => {
                let how = if state.attempt > 1 { "again after its last exit" } else { "for the first time" };
                format!("attempt {} runs but is not ready yet; it starts {how}", state.attempt)
            }
            ChildState::Running if state.flags.paused => {
                format!("{}; {}", self.why_running(child), self.why_paused(child))
            }
            ChildState::Running => match self.brought_by(child) {
                Some(other) => {
                    format!("{}; it was started because {other} comes after it", self.why_running(child))
                }
                None => self.why_running(child),
            },
            ChildState::BackingOff { .. } => {
                format!(
                    "attempt {} {}; it is restarted after a delay",
                    state.attempt,
                    ended(state.last_exit())
                )
            }
            ChildState::Stopping { stage, .. } => self.why_stopping(child, *stage),
        }
    }

    /// Returns the path of a sibling because of which a child runs that was brought along.
    fn brought_by(&self, child: Index) -> Option<Path> {
        let state = &self.arena[child];
        let sup = state.parent.filter(|_| state.is_brought_along())?;
        self.wanted_by(sup, child).map(|other| self.arena.path_of(other))
    }

    fn why_idle(&self, child: Index, reason: IdleReason) -> String {
        let state = &self.arena[child];
        let record = state.record.as_deref();
        match reason {
            IdleReason::SupervisorDown => match state.parent {
                None if state.attempt == 0 => "the tree was not started".to_owned(),
                None => format!("the tree {}", ended(state.last_exit())),
                Some(sup) => {
                    let (path, word) = (self.arena.path_of(sup), self.state_of(sup).as_str());
                    format!("its supervisor {path} is {word}; it starts with its supervisor")
                }
            },
            IdleReason::StoppedByCommand => {
                let command = record.and_then(|record| record.command.as_deref());
                match command.filter(|command| command.command == "start") {
                    Some(command) => format!(
                        "a start by command {} failed: {}; only a command starts it again",
                        self.given(command),
                        text(state.last_exit())
                    ),
                    None => {
                        let given =
                            command.map_or_else(String::new, |command| format!(" {}", self.given(command)));
                        match state.parent {
                            Some(_) => format!("a command stopped it{given}; only a command starts it again"),
                            None => format!("a command stopped the tree{given}"),
                        }
                    }
                }
            }
            IdleReason::Paused => format!("{}; it starts again when it is resumed", self.why_paused(child)),
            IdleReason::NotWanted if state.spec.manual => self.why_manual(child),
            IdleReason::NotWanted => {
                "it is not wanted now; it starts when the mode of the tree wants it, or by command".to_owned()
            }
            IdleReason::Finished => {
                let rule = match state.restart {
                    _ if state.parent.is_none() => "it does not start again".to_owned(),
                    Restart::Temporary => "a temporary child is not restarted".to_owned(),
                    rule => format!("a {rule} child is not restarted after that"),
                };
                format!("attempt {} {}; {rule}", state.attempt, ended(state.last_exit()))
            }
            IdleReason::Ignored => "it reported that it is not needed here; it counts as started".to_owned(),
            IdleReason::Quarantined => match record.map(|record| (&record.gave_up, &record.survivors)) {
                _ if state.intent == Intent::Quarantine => {
                    let command = record.and_then(|record| record.command.as_deref());
                    let given =
                        command.map_or_else(String::new, |command| format!(" {}", self.given(command)));
                    format!("a command quarantined it{given}; only a command starts it again")
                }
                Some((_, Some((attempt, survivors)))) => {
                    format!("attempt {attempt} was abandoned, and it must not run twice: {survivors}")
                }
                Some((Some(gave_up), None)) => {
                    format!("{gave_up}; only a command, or the start of its supervisor, starts it again")
                }
                Some((None, None)) | None => "it was given up on".to_owned(),
            },
        }
    }

    fn why_manual(&self, child: Index) -> String {
        let state = &self.arena[child];
        let record = state.record.as_deref().filter(|_| state.has_failed());
        let command = record.and_then(|record| record.command.as_deref());
        let failed = command.filter(|command| command.command == "start").map(|command| {
            format!("a start by command {} failed: {}; ", self.given(command), text(state.last_exit()))
        });
        format!(
            "{}it starts only when it is asked for: by command, by a mode that names it, or by a sibling that \
             comes after it",
            failed.unwrap_or_default()
        )
    }

    /// Returns who paused a child, and why, as far as the last commands say so.
    fn why_paused(&self, child: Index) -> String {
        let commands = self.commands_on(child);
        let command = commands.iter().rev().find(|command| command.command == "pause");
        let given = command.map_or_else(String::new, |command| format!(" {}", self.given(command)));
        format!("a command paused it{given}, so that it is not started again when it ends")
    }

    fn why_waiting(&self, child: Index, what: &WaitingFor) -> String {
        let Some(sup) = self.arena[child].parent else { return String::new() };
        let path = |name: &crate::Name| self.arena.path_of(sup).join(name.as_str());
        match what {
            WaitingFor::Nothing => "it is about to start".to_owned(),
            WaitingFor::Turn(name) => format!("{} comes before it in the order of start", path(name)),
            WaitingFor::Edge(name, _) => {
                let path = path(name);
                let sibling = self.arena.sup(sup).names.get(name).map(|sibling| self.arena[*sibling].phase);
                match sibling {
                    _ if !self.arena[child].flags.held => format!("it starts after {path}"),
                    Some(Phase::Idle(_)) => format!(
                        "it is held: it starts after {path}, which stays down until a command starts it"
                    ),
                    _ => format!("it is held: it starts after {path}, which is held itself"),
                }
            }
            WaitingFor::Place => {
                "as many children are starting as `max_starting` of its supervisor allows".to_owned()
            }
            WaitingFor::RestartStop => "its restart set starts again when all of it has stopped".to_owned(),
            WaitingFor::RestartBackoff(name) => {
                format!("it starts again together with {}, whose restart is delayed", path(name))
            }
        }
    }

    fn why_running(&self, child: Index) -> String {
        let state = &self.arena[child];
        let worst = |below: &Index| self.arena[*below].health == state.health;
        let reason = || state.health_reason().map(|reason| format!(": {reason}")).unwrap_or_default();
        match &state.sup {
            Some(_) if state.health <= Health::Healthy => "all its children are well".to_owned(),
            Some(_) => match self.arena.children(child).find(worst) {
                Some(below) => {
                    let (path, word) = (self.arena.path_of(below), self.state_of(below).as_str());
                    let health = state.health.as_str();
                    format!("it has the health of its worst child: {path} is {word} and {health}")
                }
                None => "its attempt is ready".to_owned(),
            },
            None if state.is_unready() => {
                format!("attempt {} runs, but is not ready{}", state.attempt, reason())
            }
            None if state.health <= Health::Healthy => format!("attempt {} is ready", state.attempt),
            None => {
                format!("attempt {} is ready, but it is {}{}", state.attempt, state.health.as_str(), reason())
            }
        }
    }

    fn why_stopping(&self, child: Index, stage: StopStage) -> String {
        let state = &self.arena[child];
        let asked = state.asked_at();
        let done = if stage == StopStage::Killed {
            "was killed"
        } else if asked.is_some() {
            "is being stopped"
        } else {
            "was asked to stop"
        };
        let late = match (stage, state.phase_deadline) {
            (StopStage::Killed, _) => "and has not ended; if it does not, it is abandoned",
            _ if asked.is_some() => {
                "and is not ready any more, so that others can turn away from it; then it is asked to stop"
            }
            _ if state.sup.is_some() => "and its children end one after another",
            _ => "and has not ended; if it does not, it is killed",
        };
        let cause = state.record.as_ref().and_then(|record| record.cause.as_ref());
        let reason = match (cause, self.stop_command(child)) {
            (Some(cause), _) => format!("because of its end ({cause})"),
            (None, Some((path, command))) if path == self.arena.path_of(child) => {
                format!("by a command {}", self.given(&command))
            }
            (None, Some((path, command))) => format!("with {path}, by a command {}", self.given(&command)),
            (None, None) if state.flags.in_restart_set => {
                "with its restart set, after a sibling ended".to_owned()
            }
            (None, None) if state.is_stopped_for_need() => {
                "because a sibling that it needs was lost for longer than its grace".to_owned()
            }
            (None, None) => "because its supervisor ends".to_owned(),
        };
        format!("it {done} {reason}, {late}")
    }

    /// Returns the command because of which a child is being stopped, and the child that was commanded.
    fn stop_command(&self, child: Index) -> Option<(Path, Arc<CommandRecord>)> {
        let commanded = |at: Index| {
            let state = &self.arena[at];
            let record = state.record.as_ref().filter(|record| record.command_open)?;
            let command = record.command.as_ref().filter(|_| state.intent != Intent::Run)?;
            Some((self.arena.path_of(at), Arc::clone(command)))
        };
        self.arena.line_up_from(child).find_map(commanded)
    }

    /// Returns who gave a command, why, and when.
    fn given(&self, command: &CommandRecord) -> String {
        let ago = crate::Span(self.now.since(command.at));
        if command.origin.is_empty() {
            format!("({ago} ago)")
        } else {
            format!("({}, {ago} ago)", command.origin)
        }
    }
}

fn text(exit: Option<&Exit>) -> String {
    exit.map_or_else(String::new, ToString::to_string)
}

/// Returns how an attempt ended, as the end of a sentence.
fn ended(exit: Option<&Exit>) -> String {
    match exit {
        None => "has ended".to_owned(),
        Some(Exit::Completed) => "completed".to_owned(),
        Some(Exit::Failed(failure)) => format!("failed: {failure}"),
        Some(exit @ (Exit::Panicked(_) | Exit::Stopped)) => exit.to_string(),
        Some(exit) => format!("ended: {exit}"),
    }
}
