//! Adding children to a running supervisor, and members to a running group.

use super::state::{Child, ChildName, Children, Index, Mode, Phase};
use super::{Command, Machine, Refusal};
use crate::spec::{MAX_CHILDREN, added_child};
use crate::{ChildDeclaration, ChildId, EventKind, IdleReason, Name, RequestId, Restart, Time};
use std::sync::Arc;

impl Machine {
    /// Adds a child to a running supervisor, as its last, and starts it when its start condition is met. `request` is
    /// answered like [`Command::Start`]; a child whose start fails leaves the tree again (C10). Returns the ids of the
    /// child and of all below it, in the order of [`Machine::new`]. The driver should learn what these run before it polls
    /// for effects.
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
        self.set_time(now, self.random);
        let sup = self.parent_for_adding(parent)?;
        if self.arena.sup(sup).is_group() {
            return Err(Refusal::IsAGroup);
        }
        self.check_name_is_free(sup, &declared.name)?;
        // Siblings may come after a removed child of that name. The new child would be the last to start: too late.
        let needed_by = self.siblings_after(sup, &declared.name);
        if !needed_by.is_empty() {
            return Err(Refusal::NeededBy(needed_by));
        }
        self.check_spec(sup, declared)?;
        let old = self.arena.sup(sup).names.get(&declared.name).copied();
        if self.arena.sup(sup).ordered().len() - usize::from(old.is_some()) >= MAX_CHILDREN {
            return Err(Refusal::Full { max: MAX_CHILDREN as u32 });
        }
        // A finished one-shot child of that name makes room for the new one.
        if let Some(old) = old {
            self.remove_child(old);
        }
        let ids = self.arena.insert(Some(sup), declared, self.now);
        let child = Index::of_slot(ids[0].slot);
        self.announce_added(child);
        self.begin_requested_life(child, request);
        self.enqueue_start(child);
        // A child that can never start may have left the tree again after this.
        self.settle();
        Ok(ids)
    }

    /// Adds a member to a running group and starts it at once. A member without a name is named by its slot. `request` is
    /// answered like [`Command::Start`]; a member whose start fails leaves the tree again.
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
        self.set_time(now, self.random);
        let group = self.parent_for_adding(group)?;
        let Children::Group { template, count, max, .. } = &self.arena.sup(group).children else {
            return Err(Refusal::NotAGroup);
        };
        if count >= max {
            return Err(Refusal::Full { max: *max });
        }
        let spec = Arc::clone(template);
        let name = match name {
            None => ChildName::Automatic,
            Some(name) => {
                self.check_name_is_free(group, &name)?;
                ChildName::Given(name)
            }
        };
        let member = self.arena.insert_child(Some(group), Child::new(spec, name, self.now));
        self.avoid_given_names(group, member);
        self.announce_added(member);
        self.begin_requested_life(member, request);
        let id = self.arena.id_of(member);
        self.begin_attempt(member);
        self.settle();
        Ok(id)
    }

    fn begin_requested_life(&mut self, child: Index, request: Option<RequestId>) {
        let flags = &mut self.arena[child].flags;
        flags.added = true;
        flags.start_requested = true;
        self.expect_answer(child, request, Command::Start);
    }

    /// Emits that a child, and all below it, is part of the tree from now on.
    fn announce_added(&mut self, child: Index) {
        let state = &self.arena[child];
        let (restart, strategy) = (state.spec.restart, state.sup.as_ref().map(|sup| sup.rules.strategy));
        self.emit(child, || EventKind::Added { restart, strategy });
        for below in self.arena[child].sup.as_ref().map(|sup| sup.ordered().to_vec()).unwrap_or_default() {
            self.announce_added(below);
        }
    }

    /// Gives a member another name if its automatic name was given to another member: `7` becomes `7.1`.
    fn avoid_given_names(&mut self, group: Index, member: Index) {
        let names = &self.arena.sup(group).names;
        if names.is_empty() || matches!(self.arena[member].name, ChildName::Given(_)) {
            return;
        }
        let text = self.arena.name_text(member);
        if names.contains_key(&*text) {
            let others = (1u32..).filter_map(|n| Name::new(format!("{text}.{n}")).ok());
            if let Some(name) = others.into_iter().find(|name| !names.contains_key(name)) {
                self.arena.sup_mut(group).names.insert(name.clone(), member);
                self.arena[member].name = ChildName::Given(name);
            }
        }
    }

    fn parent_for_adding(&self, parent: ChildId) -> Result<Index, Refusal> {
        if self.ended {
            return Err(Refusal::TreeEnded);
        }
        let parent = self.arena.index_of(parent).ok_or(Refusal::NotFound)?;
        match &self.arena[parent].sup {
            None => Err(Refusal::NotASupervisor),
            Some(sup) if matches!(sup.mode, Mode::Starting | Mode::Up) => Ok(parent),
            Some(_) => Err(Refusal::SupervisorDown),
        }
    }

    fn check_spec(&self, sup: Index, declared: &ChildDeclaration) -> Result<(), Refusal> {
        let state = self.arena.sup(sup);
        let rules = (state.rules.auto_shutdown, state.depth as usize + 1);
        let siblings = state.ordered().iter().filter_map(|child| match &self.arena[*child].name {
            ChildName::Given(name) => Some((name.as_str(), self.arena[*child].spec.restart)),
            ChildName::Automatic => None,
        });
        added_child(&self.arena.path_of(sup), declared, rules, siblings).map_err(Refusal::Invalid)
    }

    /// Refuses a name that a child of `sup` has, except that of a finished temporary leaf on which no sibling depends.
    fn check_name_is_free(&self, sup: Index, name: &Name) -> Result<(), Refusal> {
        let Some(old) = self.arena.child_called(sup, name.as_str()) else { return Ok(()) };
        let state = &self.arena[old];
        let finished =
            state.phase == Phase::Idle(IdleReason::Finished) && state.spec.restart == Restart::Temporary;
        if finished && state.sup.is_none() && self.siblings_after(sup, &self.arena.name_of(old)).is_empty() {
            Ok(())
        } else {
            Err(Refusal::AlreadyExists { state: state.phase.as_str() })
        }
    }

    /// Returns the children of `sup` that come after a child of this name.
    pub(super) fn siblings_after(&self, sup: Index, name: &Name) -> Vec<Name> {
        let depends = |child: &&Index| self.arena[**child].spec.after.iter().any(|edge| edge.child == *name);
        self.arena.sup(sup).ordered().iter().filter(depends).map(|child| self.arena.name_of(*child)).collect()
    }
}
