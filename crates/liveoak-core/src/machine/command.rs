//! What people ask of one child, and what they are answered. An answer is an effect, not an arrival (law 23).

use super::node::{Kids, Label, Mode, NONE, Phase};
use super::{Effect, Machine};
use crate::spec::{MAX_CHILDREN, added_child};
use crate::{
    Attempt, ChildDeclaration, ChildId, Exit, IdleReason, Name, RequestId, SpecErrors, StopReport, Time,
};
use std::fmt;
use std::sync::Arc;

/// The most answers that one child may owe at once; one more command is refused as [`Refusal::Busy`].
pub const MAX_WAITERS: usize = 1024;

/// What can be asked of a child that is part of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Start a child that is down. Answered when it is ready, or when that failed (it stays down then, and the
    /// failure is charged to nobody).
    Start,
    /// Stop it, and let it stay down until somebody starts it. Answered when it is gone. Stopping a child that
    /// is down is done at once.
    Stop,
    /// Stop it if it runs, and start it at once (without backoff, charged to nobody). Answered when the new
    /// attempt is ready or has failed. A failed one is then restarted by the child's rules if it ran before.
    Restart,
    /// Stop it if it runs, and take it out of the tree. Answered when it is gone.
    Remove,
}

/// A command that was carried out.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The child is ready.
    Ready {
        /// The child.
        id: ChildId,
        /// Its new attempt.
        attempt: Attempt,
    },
    /// The child said that it is not needed here; it counts as started.
    Ignored,
    /// The child ended with success before it was ready: it has done its part.
    Finished {
        /// How it ended.
        exit: Exit,
    },
    /// The child is down and stays down.
    Stopped(StopReport),
    /// The child is no longer part of the tree.
    Removed(StopReport),
}

/// Why a command was not carried out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such child (any more).
    NotFound,
    /// The child runs, or is about to: there is nothing to start. Holds its state.
    NotDown {
        /// What it is doing, as one word.
        state: &'static str,
    },
    /// There is a child of that name already.
    AlreadyExists {
        /// What it is doing, as one word.
        state: &'static str,
    },
    /// The supervisor of the child is down or ending.
    SupervisorDown,
    /// Only supervisors have children.
    NotASupervisor,
    /// Members of a group are made from its template only.
    IsAGroup,
    /// Only groups have members.
    NotAGroup,
    /// The group, or the supervisor, is full.
    Full {
        /// The most members or children it may have.
        max: u32,
    },
    /// The spec is wrong.
    Invalid(SpecErrors),
    /// Siblings come after this child; remove them first.
    NeededBy(Vec<Name>),
    /// The root can be stopped, not removed.
    IsRoot,
    /// What it runs can be made only once: it has one attempt.
    OnlyOnce,
    /// Too many commands wait for this child.
    Busy,
    /// The tree has ended.
    TreeEnded,
    /// It was tried, and the attempt failed.
    Failed(Exit),
    /// A later command wanted something else.
    Superseded {
        /// What.
        by: &'static str,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such child"),
            Self::NotDown { state } => write!(f, "the child is not down: it is {state}"),
            Self::AlreadyExists { state } => write!(f, "a child of that name exists: it is {state}"),
            Self::SupervisorDown => f.write_str("its supervisor is down or stopping"),
            Self::NotASupervisor => f.write_str("it is not a supervisor, so it has no children"),
            Self::IsAGroup => {
                f.write_str("it is a dynamic group, so its members come from its template only")
            }
            Self::NotAGroup => f.write_str("it is not a dynamic group"),
            Self::Full { max } => write!(f, "it is full: it may have {max} members or children"),
            Self::Invalid(errors) => write!(f, "its spec is wrong: {errors}"),
            Self::NeededBy(names) => {
                f.write_str("these siblings come after it and must be removed first:")?;
                names.iter().try_for_each(|name| write!(f, " {name}"))
            }
            Self::IsRoot => f.write_str("it is the root of the tree, which can only be stopped"),
            Self::OnlyOnce => f.write_str("what it runs can be made only once, so it has one attempt"),
            Self::Busy => write!(f, "more than {MAX_WAITERS} commands wait for this child"),
            Self::TreeEnded => f.write_str("the tree has ended"),
            Self::Failed(exit) => write!(f, "the attempt failed: {exit}"),
            Self::Superseded { by } => write!(f, "it was overtaken by {by}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl Machine {
    /// Adds a child to a running supervisor, as its last, and starts it when its turn comes. `request` is answered
    /// like [`Command::Start`]; a child that fails its start is not kept (C10). Returns the ids of the child and of all
    /// below it, in the order of [`Machine::new`]. The driver should learn what these run before it polls for effects.
    ///
    /// # Errors
    /// When there is nothing to add to, the name is taken, or the spec is wrong. Nothing was changed then, and
    /// the request is not answered.
    pub fn add_child(
        &mut self,
        now: Time,
        parent: ChildId,
        declared: &ChildDeclaration,
        request: Option<RequestId>,
    ) -> Result<Vec<ChildId>, Refusal> {
        self.at(now, self.random);
        let parent = self.parent_for_adding(parent)?;
        if self.sup(parent).is_group() {
            return Err(Refusal::IsAGroup);
        }
        self.check_name_is_free(parent, &declared.name)?;
        // One of that name was there, and is gone: the new child would be the last to start, too late for these.
        let needed_by = self.who_comes_after(parent, &declared.name);
        if !needed_by.is_empty() {
            return Err(Refusal::NeededBy(needed_by));
        }
        let sup = self.sup(parent);
        let rules = (sup.rules.auto_shutdown, sup.depth as usize + 1);
        let siblings = sup.ordered().iter().filter_map(|kid| match &self.node(*kid).label {
            Label::Named(name) => Some((name.as_str(), self.node(*kid).spec.restart)),
            Label::Auto => None,
        });
        added_child(&self.path_of(parent), declared, rules, siblings).map_err(Refusal::Invalid)?;
        let old = self.sup(parent).names.get(&declared.name).copied();
        if self.sup(parent).ordered().len() - usize::from(old.is_some()) >= MAX_CHILDREN {
            return Err(Refusal::Full { max: MAX_CHILDREN as u32 });
        }
        // A finished one-shot child of that name makes room for the new one.
        if let Some(old) = old {
            self.free(old);
        }
        let depth = self.sup(parent).depth + 1;
        let ids = self.insert(parent, declared, depth);
        let i = ids[0].slot;
        let flags = &mut self.node_mut(i).flags;
        flags.added = true;
        flags.on_trial = true;
        self.tell_added(i);
        self.expect_answer(i, request, Command::Start);
        // A child that can never start is not kept: it may be gone again when all is settled.
        self.wait(i);
        self.settle();
        Ok(ids)
    }

    /// Adds a member to a running group and starts it at once; without a name, its slot names it. `request` is
    /// answered like [`Command::Start`]; a member that fails its start is not kept.
    ///
    /// # Errors
    /// When it is no group, is not running or full, or the name is taken. Nothing was changed then, and the
    /// request is not answered.
    pub fn add_member(
        &mut self,
        now: Time,
        group: ChildId,
        name: Option<Name>,
        request: Option<RequestId>,
    ) -> Result<ChildId, Refusal> {
        self.at(now, self.random);
        let group = self.parent_for_adding(group)?;
        let Kids::Group { template, count, max, .. } = &self.sup(group).kids else {
            return Err(Refusal::NotAGroup);
        };
        if count >= max {
            return Err(Refusal::Full { max: *max });
        }
        let spec = Arc::clone(template);
        let label = match name {
            None => Label::Auto,
            Some(name) => {
                self.check_name_is_free(group, &name)?;
                Label::Named(name)
            }
        };
        let i = self.insert_node(group, spec, label, None);
        self.number_differently(group, i);
        self.node_mut(i).flags.added = true;
        self.expect_answer(i, request, Command::Start);
        let id = self.id_of(i);
        self.start_member(i);
        self.settle();
        Ok(id)
    }

    /// The number of a nameless member may have been given to another as a name: `7` is called `7.1` then.
    fn number_differently(&mut self, group: u32, i: u32) {
        let (node, names) = (self.node(i), &self.sup(group).names);
        if names.is_empty() || matches!(node.label, Label::Named(_)) {
            return;
        }
        let text = node.label.text(i, node.serial);
        if names.contains_key(&*text) {
            let others = (1u32..).filter_map(|n| Name::new(format!("{text}.{n}")).ok());
            if let Some(name) = others.into_iter().find(|name| !names.contains_key(name)) {
                self.sup_mut(group).names.insert(name.clone(), i);
                self.node_mut(i).label = Label::Named(name);
            }
        }
    }

    fn parent_for_adding(&self, parent: ChildId) -> Result<u32, Refusal> {
        if self.down {
            return Err(Refusal::TreeEnded);
        }
        let parent = self.slot_of(parent).ok_or(Refusal::NotFound)?;
        match &self.node(parent).sup {
            None => Err(Refusal::NotASupervisor),
            Some(sup) if matches!(sup.mode, Mode::Starting | Mode::Up) => Ok(parent),
            Some(_) => Err(Refusal::SupervisorDown),
        }
    }

    fn check_name_is_free(&self, parent: u32, name: &Name) -> Result<(), Refusal> {
        let Some(old) = self.kid_called(parent, name.as_str()) else { return Ok(()) };
        let node = self.node(old);
        let over =
            node.phase == Phase::Idle(IdleReason::Finished) && node.spec.restart == crate::Restart::Temporary;
        // The new child would be the last to start: too late for those that come after it.
        if over && node.sup.is_none() && self.needed_by(old).is_empty() {
            Ok(())
        } else {
            Err(Refusal::AlreadyExists { state: self.state_word(old) })
        }
    }

    pub(super) fn command(&mut self, request: RequestId, id: ChildId, command: Command) {
        let result = if self.down {
            Err(Refusal::TreeEnded)
        } else {
            match self.slot_of(id) {
                None => Err(Refusal::NotFound),
                Some(i) if self.waiters(i) >= MAX_WAITERS => Err(Refusal::Busy),
                Some(i) => match command {
                    Command::Start => self.command_start(i, request),
                    Command::Stop => self.command_stop(i, request),
                    Command::Restart => self.command_restart(i, request),
                    Command::Remove => self.command_remove(i, request),
                },
            }
        };
        if let Err(refusal) = result {
            self.push(Effect::Reply { request, result: Err(refusal) });
        }
    }

    fn command_start(&mut self, i: u32, request: RequestId) -> Result<(), Refusal> {
        match self.node(i).phase {
            Phase::Idle(_) => self.start_anew(i, request),
            Phase::Stopping { .. } if !self.node(i).flags.wanted => {
                if self.parent_is_ending(i) || self.node(i).flags.removing || i == self.root {
                    return Err(Refusal::SupervisorDown);
                }
                self.may_be_made_again(i)?;
                self.start_after_stop(i, request, Command::Start);
                Ok(())
            }
            Phase::Waiting
            | Phase::Starting
            | Phase::Running
            | Phase::BackingOff
            | Phase::Stopping { .. } => Err(Refusal::NotDown { state: self.state_word(i) }),
        }
    }

    fn may_be_made_again(&self, i: u32) -> Result<(), Refusal> {
        if self.node(i).spec.once { Err(Refusal::OnlyOnce) } else { Ok(()) }
    }

    /// Starts a child that is down, with a clean record.
    fn start_anew(&mut self, i: u32, request: RequestId) -> Result<(), Refusal> {
        let parent = self.node(i).parent;
        if parent == NONE || !matches!(self.sup(parent).mode, Mode::Starting | Mode::Up) {
            return Err(Refusal::SupervisorDown);
        }
        let flags = &mut self.node_mut(i).flags;
        flags.wanted = true;
        flags.on_trial = true;
        flags.restarting = false;
        let book = self.book(i);
        book.streak = 0;
        book.window.clear();
        book.gave_up = None;
        self.expect_answer(i, Some(request), Command::Start);
        self.ready_to_start(i);
        Ok(())
    }

    fn start_after_stop(&mut self, i: u32, request: RequestId, command: Command) {
        let flags = &mut self.node_mut(i).flags;
        flags.wanted = true;
        flags.again = true;
        flags.on_trial |= command == Command::Start;
        self.resolve(i, |command| match command {
            Command::Stop => Some(Err(Refusal::Superseded { by: "a start" })),
            Command::Start | Command::Restart | Command::Remove => None,
        });
        self.expect_answer(i, Some(request), command);
    }

    fn command_stop(&mut self, i: u32, request: RequestId) -> Result<(), Refusal> {
        let phase = self.node(i).phase;
        self.node_mut(i).flags.wanted = false;
        self.node_mut(i).flags.again = false;
        self.expect_answer(i, Some(request), Command::Stop);
        if phase.is_live() || phase.is_pending() {
            self.open_log(i);
            self.begin_stop(i);
        } else {
            self.settle_stopped(i, crate::StopStage::Cancelled, None);
        }
        Ok(())
    }

    fn command_restart(&mut self, i: u32, request: RequestId) -> Result<(), Refusal> {
        let phase = self.node(i).phase;
        if self.parent_is_ending(i)
            || self.node(i).flags.removing
            || i == self.root && !self.node(i).flags.wanted
        {
            return Err(Refusal::SupervisorDown);
        }
        self.may_be_made_again(i)?;
        match phase {
            Phase::Idle(_) => self.start_anew(i, request),
            Phase::Waiting | Phase::BackingOff => {
                self.expect_answer(i, Some(request), Command::Restart);
                self.ready_to_start(i);
                Ok(())
            }
            Phase::Starting | Phase::Running | Phase::Stopping { .. } => {
                self.resolve(i, |command| match command {
                    Command::Start | Command::Restart => Some(Err(Refusal::Superseded { by: "a restart" })),
                    Command::Stop | Command::Remove => None,
                });
                self.start_after_stop(i, request, Command::Restart);
                self.begin_stop(i);
                Ok(())
            }
        }
    }

    fn command_remove(&mut self, i: u32, request: RequestId) -> Result<(), Refusal> {
        let parent = self.node(i).parent;
        if parent == NONE {
            return Err(Refusal::IsRoot);
        }
        let needed_by = self.needed_by(i);
        if !needed_by.is_empty() {
            return Err(Refusal::NeededBy(needed_by));
        }
        let phase = self.node(i).phase;
        let flags = &mut self.node_mut(i).flags;
        flags.wanted = false;
        flags.again = false;
        flags.removing = true;
        self.expect_answer(i, Some(request), Command::Remove);
        if phase.is_live() || phase.is_pending() {
            self.open_log(i);
            self.begin_stop(i);
        } else {
            self.free(i);
        }
        Ok(())
    }

    /// The siblings that come after `i`.
    fn needed_by(&self, i: u32) -> Vec<Name> {
        self.who_comes_after(self.node(i).parent, &self.name_of(i))
    }

    /// The children of `parent` that come after one of this name.
    fn who_comes_after(&self, parent: u32, name: &Name) -> Vec<Name> {
        let needs = |kid: &&u32| self.node(**kid).spec.after.iter().any(|edge| edge.child == *name);
        self.sup(parent).ordered().iter().filter(needs).map(|kid| self.name_of(*kid)).collect()
    }

    pub(super) fn waiters(&self, i: u32) -> usize {
        self.node(i).book.as_ref().map_or(0, |book| book.waiters.len())
    }

    fn expect_answer(&mut self, i: u32, request: Option<RequestId>, command: Command) {
        if let Some(request) = request {
            self.book(i).waiters.push((request, command));
        }
    }

    /// Answers those of the child's commands for which there is an answer now.
    pub(super) fn resolve(&mut self, i: u32, answer: impl Fn(Command) -> Option<Result<Outcome, Refusal>>) {
        if self.waiters(i) == 0 {
            return;
        }
        for (request, command) in std::mem::take(&mut self.book(i).waiters) {
            match answer(command) {
                Some(result) => self.push(Effect::Reply { request, result }),
                None => self.book(i).waiters.push((request, command)),
            }
        }
    }

    /// Tells those who wait for a start that it failed.
    pub(super) fn refuse_waiters(&mut self, i: u32, exit: &Exit) {
        self.resolve(i, |command| match command {
            Command::Start | Command::Restart => Some(Err(Refusal::Failed(exit.clone()))),
            Command::Stop | Command::Remove => None,
        });
    }

    /// Answers everybody who waits for a child that leaves the tree.
    pub(super) fn resolve_all_removed(&mut self, i: u32) {
        if self.waiters(i) == 0 && self.node(i).book.as_ref().is_none_or(|book| book.log.is_none()) {
            return;
        }
        let report = self.close_log(i);
        self.resolve(i, |command| match command {
            Command::Remove => Some(Ok(Outcome::Removed(report.clone()))),
            Command::Stop => Some(Ok(Outcome::Stopped(report.clone()))),
            Command::Start | Command::Restart => Some(Err(Refusal::NotFound)),
        });
    }

    /// Whether a child is a supervisor, and if so whether it is a group.
    #[must_use]
    pub fn is_group(&self, id: ChildId) -> Option<bool> {
        self.slot_of(id).and_then(|i| self.node(i).sup.as_ref().map(|sup| sup.is_group()))
    }
}
