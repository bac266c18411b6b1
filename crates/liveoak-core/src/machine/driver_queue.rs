//! The queue for the driver: the effects (also events) that it has not polled yet, and the walks that produce further
//! effects.

use super::state::Index;
use super::{Effect, Machine, Outcome, Refusal};
use crate::{ChildId, Event, EventKind, Origin, RequestId, Severity, Standing};
use std::collections::VecDeque;
use std::sync::Arc;

/// The most effects that wait for the driver. Beyond this number, events are lost. Orders and answers are never lost.
/// A child has only a few of them at a time.
pub const MAX_QUEUED_EFFECTS: usize = 65_536;

/// The effects that the driver has not polled yet: a few for each input.
#[derive(Debug, Default)]
pub(super) struct DriverQueue {
    pub(super) effects: VecDeque<Effect>,
    /// The unfinished walks. Each poll produces their next effect.
    pub(super) walks: VecDeque<Walk>,
    pub(super) last_event: u64,
    /// The least severity that a subscriber wants.
    pub(super) interest: Option<Severity>,
    /// `true` if callers wait for a moment in the life of a child.
    pub(super) watched: bool,
    /// While callers wait: the children that had an event since the last look.
    pub(super) touched: Vec<ChildId>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum WalkAct {
    Ask,
    Kill,
    Abandon,
    Pause,
    Resume,
}

/// The position of one walk over the members of a group that is stopping, paused or resumed, and what the walk does to each member. A walk takes one
/// step for each polled effect, so that a million members need no queue.
#[derive(Debug)]
pub(super) struct Walk {
    /// The next member; `None` at the end.
    pub(super) cursor: Option<Index>,
    pub(super) act: WalkAct,
}

impl DriverQueue {
    /// Takes the reply to `request` out of the queue, if the queue contains it.
    pub(super) fn take_reply(&mut self, request: RequestId) -> Option<Result<Outcome, Refusal>> {
        let is_reply =
            |effect: &Effect| matches!(effect, Effect::Reply { request: of, .. } if *of == request);
        let at = self.effects.iter().rposition(is_reply)?;
        match self.effects.remove(at)? {
            Effect::Reply { result, .. } => Some(result),
            _ => None,
        }
    }
}

impl Machine {
    /// Returns the origin of the command from which an event of `child` follows: the command that is being carried out now,
    /// or one on the child or on a supervisor above that has not taken effect yet.
    fn origin_of(&self, child: Index) -> Option<Arc<Origin>> {
        let open = |at: Index| {
            let record = self.arena[at].record.as_ref()?;
            record.command.as_ref().filter(|_| record.command_open)
        };
        let given = || self.arena.line_up_from(child).find_map(open).map(|command| &command.origin);
        self.origin.as_ref().or_else(given).filter(|origin| !origin.is_empty()).cloned()
    }

    fn standing(&self, child: Index) -> Standing {
        match self.arena.parent_of(child) {
            None => Standing::Root,
            Some(sup) if sup.is_group() => Standing::Member,
            Some(_) => Standing::Child,
        }
    }

    pub(super) fn push(&mut self, effect: Effect) {
        self.driver_queue.effects.push_back(effect);
    }

    /// Counts an event of `child`. If a subscriber wants events of this severity, builds the event and queues it.
    pub(super) fn emit(&mut self, child: Index, kind: impl FnOnce() -> EventKind) {
        self.driver_queue.last_event += 1;
        if self.driver_queue.watched {
            self.driver_queue.touched.push(self.arena.id_of(child));
        }
        if let Some(least) = self.driver_queue.interest {
            let kind = kind();
            let severity = kind.severity_of(self.arena[child].spec.criticality(), self.standing(child));
            // A lost event leaves a gap in the numbers, so that readers notice the loss.
            if severity >= least && self.driver_queue.effects.len() < MAX_QUEUED_EFFECTS {
                let event = Event {
                    number: self.driver_queue.last_event,
                    at: self.now,
                    path: self.arena.path_of(child),
                    id: self.arena.id_of(child),
                    kind,
                    severity,
                    description: self.arena[child].spec.description.clone(),
                    origin: self.origin_of(child),
                };
                self.push(Effect::Event(Box::new(event)));
            }
        }
    }
}

/// Where a test lets the machine panic.
#[cfg(feature = "testing")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PanicAt {
    /// In the middle of the next input: a command, a report of an attempt, a deadline.
    Input,
    /// When the driver takes the next effect.
    Effect,
    /// When a child or a member is added next.
    Add,
    /// When the next snapshot begins.
    Snapshot,
}

#[cfg(feature = "testing")]
impl Machine {
    /// Lets the machine panic once, to test what follows.
    pub const fn panic_at(&mut self, at: PanicAt) {
        self.panics_at = Some(at);
    }

    pub(super) fn panic_if_due(&mut self, at: PanicAt) {
        assert!(
            self.panics_at.take_if(|wanted| *wanted == at).is_none(),
            "a test wanted this panic of the machine"
        );
    }
}
