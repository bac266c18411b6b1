//! Another declaration takes the place of the one that the tree was started from.
//!
//! The driver does the steps in this order. Each method here is one of them, and leaves the machine in a legal state:
//!
//! 1. [`begin_apply`](Machine::begin_apply) and [`forget_edges`](Machine::forget_edges): no child depends on a sibling any
//!    more on which it will not depend.
//! 2. Children that go are removed, and children whose code is replaced are stopped, in the reverse of the start order, by
//!    the inputs for commands and modes.
//! 3. [`redeclare`](Machine::redeclare): a child that stays has other rules from now on.
//! 4. [`insert_declared`](Machine::insert_declared): new children enter the tree. They are down.
//! 5. [`reorder`](Machine::reorder): the children of a supervisor have the new order.
//! 6. [`end_apply`](Machine::end_apply): what was brought along stops if nothing wants it any more.
//! 7. What is wanted and down is started by the steps of [`plan_mode`](Machine::plan_mode).
//!
//! Added children stay, behind the declared ones.

use super::Machine;
use super::state::{Children, Index, Intent, Phase, Purpose, SupervisorPhase};
use crate::spec::start_order;
use crate::{ChildDeclaration, ChildForm, ChildId, GroupSpec, IdleReason, Name, Order, SupervisorSpec, Time};
use std::collections::HashMap;
use std::sync::Arc;

/// A place in the order of a supervisor: the children at it start, or stop, side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderPlace {
    /// Their supervisor.
    pub supervisor: ChildId,
    /// The child of which they are replicas; `None` if their supervisor starts all its children side by side.
    pub set: Option<Name>,
    /// How many of them may be starting at the same time.
    pub most: u32,
}

impl Machine {
    /// Returns the declaration of the tree as it is now: the settings are resolved, and the children of each supervisor stand
    /// in start order. Added children are left out.
    #[must_use]
    pub fn declaration(&self) -> ChildDeclaration {
        self.declaration_of(self.root)
    }

    fn declaration_of(&self, child: Index) -> ChildDeclaration {
        let state = &self.arena[child];
        let form = match state.sup.as_deref() {
            None => ChildForm::Leaf,
            Some(sup) => match &sup.children {
                Children::Group { template, max, .. } => ChildForm::Group(GroupSpec {
                    template: (**template).clone(),
                    intensity: sup.rules.intensity,
                    max_members: *max,
                    max_starting: sup.rules.max_starting,
                    dedicated_runtime: sup.rules.dedicated_runtime,
                }),
                Children::Ordered(_) => ChildForm::Supervisor(SupervisorSpec {
                    children: self
                        .declared_below(child)
                        .into_iter()
                        .map(|below| self.declaration_of(below))
                        .collect(),
                    ..sup.rules.clone()
                }),
            },
        };
        ChildDeclaration { name: self.arena.name_of(child), spec: (*state.spec).clone(), form }
    }

    /// Lets what was brought along stay until [`end_apply`](Self::end_apply): what comes after it may be replaced.
    pub const fn begin_apply(&mut self) {
        self.applies = true;
    }

    /// Stops what was brought along and is not needed any more as the tree is declared now.
    pub fn end_apply(&mut self) {
        self.applies = false;
        for sup in self.arena.all().filter(|child| self.arena[*child].sup.is_some()).collect::<Vec<_>>() {
            self.mark_to_evaluate(Some(sup));
        }
        self.settle();
    }

    /// Lets a child depend only on the siblings on which it depends as it is declared now and as `new` declares it.
    pub fn forget_edges(&mut self, id: ChildId, new: &ChildDeclaration) {
        let Some(child) = self.arena.index_of(id) else { return };
        let mut spec = (*self.arena[child].spec).clone();
        let before = (spec.after.len(), spec.needs.len());
        spec.after.retain(|edge| new.spec.after.contains(edge));
        spec.needs.retain(|need| new.spec.needs.contains(need));
        if before != (spec.after.len(), spec.needs.len()) {
            self.forget_lost_needs(child);
            self.arena.replace_spec(child, Arc::new(spec));
            self.mark_to_evaluate(self.arena[child].parent);
            self.settle();
        }
    }

    /// Gives a child the spec and the rules of `new`, whose settings are resolved. Its attempt runs on. `renewed` says that its
    /// code was replaced: what has ended for good or was given up on starts again, unless a command keeps it down.
    pub fn redeclare(&mut self, now: Time, id: ChildId, new: &ChildDeclaration, renewed: bool) {
        self.now = self.now.max(now);
        let Some(child) = self.arena.index_of(id) else { return };
        self.forget_lost_needs(child);
        let spec = Arc::new(new.spec.clone());
        self.arena.some_needs |= !spec.needs.is_empty();
        self.arena.some_unwanted |= spec.manual;
        self.arena.some_poll_limits |= spec.poll_limit.is_some();
        let state = &mut self.arena[child];
        let becomes_manual = spec.manual && !state.spec.manual;
        let ceases_to_be = !spec.manual && state.spec.manual;
        let other_limit = spec.limit != state.spec.limit;
        state.restart = spec.restart;
        self.arena.replace_spec(child, spec);
        let state = &mut self.arena[child];
        let retry_after = state.spec.limit.and_then(|limit| limit.give_up.retry_after());
        if let Some(record) = &mut state.record {
            if other_limit {
                record.window.clear();
                record.failures.clear();
                if let Some(exceeded) = &mut record.gave_up {
                    Arc::make_mut(exceeded).retry_after = retry_after;
                }
            }
            if ceases_to_be {
                record.asked_for = false;
            }
        }
        if becomes_manual && self.arena[child].intent.is_to_run() {
            // It runs on only if a sibling that comes after it wants it.
            self.arena.record_or_new(child).brought_along = true;
        }
        if other_limit && self.arena[child].phase == Phase::Idle(IdleReason::Quarantined) {
            self.set_timer(child, Purpose::Phase, Time::NEVER);
            self.schedule_trial(child);
        }
        self.change_rules(child, &new.form);
        if renewed {
            self.start_renewed(child);
        }
        self.refresh_health(child);
        self.mark_to_evaluate(self.arena[child].parent);
        self.settle();
    }

    /// Gives a supervisor or a group other rules. What its children inherit is in their own specs.
    fn change_rules(&mut self, sup: Index, form: &ChildForm) {
        let Some(state) = self.arena[sup].sup.as_deref_mut() else { return };
        match form {
            ChildForm::Leaf => return,
            ChildForm::Supervisor(spec) => {
                if state.rules.intensity != spec.intensity {
                    state.window.clear();
                }
                state.rules =
                    SupervisorSpec { children: Vec::new(), defaults: spec.defaults.clone(), ..*spec };
                self.arena.some_end_when_done |= spec.end_when_done;
            }
            ChildForm::Group(spec) => {
                if state.rules.intensity != spec.intensity {
                    state.window.clear();
                }
                state.rules.intensity = spec.intensity;
                state.rules.max_starting = spec.max_starting;
                if let Children::Group { template, max, .. } = &mut state.children {
                    (*template, *max) = (Arc::new(spec.template.clone()), spec.max_members);
                }
                self.arena.some_poll_limits |= spec.template.poll_limit.is_some();
            }
        }
        self.count_starting(sup);
        self.mark_to_evaluate(Some(sup));
    }

    /// Counts the children that are starting anew: they are counted only if a supervisor bounds them.
    fn count_starting(&mut self, sup: Index) {
        let starting = if self.arena.sup(sup).rules.max_starting.is_none() {
            0
        } else {
            self.arena.children(sup).filter(|child| self.arena[*child].phase == Phase::Starting).count()
        };
        self.arena.sup_mut(sup).starting = u32::try_from(starting).unwrap_or(u32::MAX);
    }

    /// Lets a child that is down start again, because its code was replaced.
    fn start_renewed(&mut self, child: Index) {
        if let Some(record) = &mut self.arena[child].record {
            record.let_go = false;
        }
        let state = &self.arena[child];
        let again = match state.phase {
            Phase::Idle(IdleReason::Finished | IdleReason::Ignored) => true,
            Phase::Idle(IdleReason::Quarantined) => {
                !state.is_down_by_command()
                    && state.record.as_ref().is_none_or(|record| record.survivors.is_none())
            }
            _ => false,
        };
        self.forget_failures(child);
        if again && matches!(self.arena[child].intent, Intent::Run | Intent::Unwanted) {
            self.arena.record_or_new(child).gave_up = None;
            self.set_about_to_start(child);
        }
    }

    /// Lets a child be down until a step starts it, or until its supervisor starts.
    fn set_about_to_start(&mut self, child: Index) {
        self.arena[child].intent = Intent::Run;
        if self.has_live_supervisor(child) {
            self.set_down_unwanted(child);
        }
    }

    /// Adds a declared child to a supervisor, with all children below it. `new` was checked, and its settings are resolved. The
    /// child is down: it starts with its supervisor, or by a step of a plan if that runs. Returns the ids, in the order of
    /// [`Machine::new`]; none if there is no such supervisor.
    pub fn insert_declared(&mut self, now: Time, sup: ChildId, new: &ChildDeclaration) -> Vec<ChildId> {
        self.now = self.now.max(now);
        let parent = self.arena.index_of(sup).filter(|sup| self.arena[*sup].sup.is_some());
        let Some(parent) = parent else { return Vec::new() };
        let ids = self.arena.insert(Some(parent), new, self.now);
        let child = Index::of_slot(ids[0].slot);
        self.refresh_health(parent);
        self.announce_added(child);
        if !new.spec.manual {
            self.set_about_to_start(child);
        }
        self.settle();
        ids
    }

    /// Lets a child that a command has stopped stay down although its declaration was replaced as a whole.
    pub fn keep_down(&mut self, id: ChildId) {
        let Some(child) = self.arena.index_of(id) else { return };
        self.arena[child].intent = Intent::Stop;
        self.after_stop_by_others(child, crate::StopStage::Cancelled, None);
        self.settle();
    }

    /// Returns what the replicas of a child have in common: they start side by side, and stop together.
    #[must_use]
    pub fn stop_place(&self, id: ChildId) -> Option<OrderPlace> {
        let child = self.arena.index_of(id)?;
        let set = self.arena[child].spec.replica_of.clone()?;
        self.place_in_order(child, Some(set))
    }

    /// Returns what children that start side by side have in common: replicas of one child, and children of a supervisor
    /// with [`Order::Edges`].
    #[must_use]
    pub fn start_place(&self, id: ChildId) -> Option<OrderPlace> {
        let child = self.arena.index_of(id)?;
        let order = self.arena.parent_of(child)?.rules.order;
        if order == Order::Edges { self.place_in_order(child, None) } else { self.stop_place(id) }
    }

    fn place_in_order(&self, child: Index, set: Option<Name>) -> Option<OrderPlace> {
        let parent = self.arena[child].parent?;
        let most = self.arena.sup(parent).rules.max_starting.unwrap_or(u32::MAX);
        Some(OrderPlace { supervisor: self.arena.id_of(parent), set, most })
    }

    /// Returns `true` if a child is in the tree, and its attempt is ready.
    #[must_use]
    pub fn is_ready(&self, id: ChildId) -> bool {
        self.arena.index_of(id).is_some_and(|child| self.arena[child].phase == Phase::Running)
    }

    /// Returns `true` if a command keeps a child down.
    #[must_use]
    pub fn is_kept_down(&self, id: ChildId) -> bool {
        let child = self.arena.index_of(id);
        child.is_some_and(|child| matches!(self.arena[child].intent, Intent::Stop | Intent::Quarantine))
    }

    /// Puts the children of a supervisor into the start order of `new`. Added children stay behind them, in their order.
    pub fn reorder(&mut self, sup: ChildId, new: &SupervisorSpec) {
        let Some(sup) = self.arena.index_of(sup) else { return };
        let order = start_order(&new.children).unwrap_or_default();
        let names = order.into_iter().map(|at| new.children[at].name.clone());
        let places: HashMap<_, usize> = names.zip(0..).collect();
        let mut children = self.arena.sup(sup).ordered().to_vec();
        children.sort_by_key(|child| {
            let added = self.arena[*child].flags.added;
            let place = places.get(&self.arena.name_of(*child)).copied();
            place.filter(|_| !added).unwrap_or(usize::MAX)
        });
        let state = self.arena.sup_mut(sup);
        state.stop_cursor = children.len();
        state.children = Children::Ordered(children);
        if matches!(state.phase, SupervisorPhase::Starting | SupervisorPhase::Up) {
            self.mark_to_evaluate(Some(sup));
        }
        self.settle();
    }
}
