//! The arena: putting children in, taking them out, finding them, and changing their phase.

use super::node::{Book, Flags, Kids, Label, Mode, NONE, Node, Phase, Rules, Slot, StopPlan, Sup};
use super::{Effect, Machine};
use crate::{
    Attempt, AutoShutdown, ChildDeclaration, ChildForm, ChildId, ChildSpec, EventKind, GroupSpec, IdleReason,
    Name, Order, SpecErrors, Strategy, SupervisorSpec, Time, Window, start_order,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;

/// How many slots the arena grows by at least, and at most. Filling them in one go is cheaper than one by one.
const MIN_GROWTH: usize = 8;
const MAX_GROWTH: usize = 4096;

impl Machine {
    /// Creates the machine of the tree that `root` declares, and returns it with the ids of all declared children: the
    /// root first, each supervisor before its children, children in the order of their declaration. Nothing starts
    /// before [`Input::Start`](super::Input::Start).
    ///
    /// # Errors
    /// Returns everything that is wrong with the specs, at once.
    ///
    /// # Panics
    /// When `root` is a leaf: a tree is a supervisor or a group.
    pub fn new(root: &ChildDeclaration) -> Result<(Self, Vec<ChildId>), SpecErrors> {
        let is_leaf = matches!(root.form, ChildForm::Leaf);
        assert!(!is_leaf, "the root of a tree is a supervisor or a group, not a leaf");
        root.check()?;
        let mut machine = Self {
            slots: Vec::new(),
            vacant: NONE,
            root: NONE,
            now: Time::ZERO,
            random: 0,
            effects: VecDeque::new(),
            sweeps: VecDeque::new(),
            dirty: BinaryHeap::new(),
            timers: BTreeSet::new(),
            events: 0,
            interest: None,
            waiting: 0,
            some_end_when_done: false,
            down: false,
        };
        let ids = machine.insert(NONE, root, 0);
        machine.root = ids[0].slot;
        Ok((machine, ids))
    }

    /// Puts a checked child and all below it into the arena, below `parent`, as its last child. Returns their ids in
    /// the order of their declaration, the child's own first.
    pub(super) fn insert(&mut self, parent: u32, declared: &ChildDeclaration, depth: u32) -> Vec<ChildId> {
        let sup = match &declared.form {
            ChildForm::Leaf => None,
            ChildForm::Supervisor(spec) => Some(Box::new(Sup::of_supervisor(spec, depth))),
            ChildForm::Group(group) => Some(Box::new(Sup::of_group(group, depth))),
        };
        let spec = Arc::new(declared.spec.clone());
        let i = self.insert_node(parent, spec, Label::Named(declared.name.clone()), sup);
        let mut ids = vec![self.id_of(i)];
        if let ChildForm::Supervisor(spec) = &declared.form {
            self.some_end_when_done |= spec.end_when_done;
            // Children stand in the order of their start, and are returned in the order of their declaration. The check
            // of the specs has refused cycles.
            let mut below = vec![Vec::new(); spec.children.len()];
            for child in start_order(&spec.children).unwrap_or_default() {
                below[child] = self.insert(i, &spec.children[child], depth + 1);
            }
            ids.extend(below.into_iter().flatten());
        }
        ids
    }

    /// Puts one node into the arena and among the children of `parent`.
    pub(super) fn insert_node(
        &mut self,
        parent: u32,
        spec: Arc<ChildSpec>,
        label: Label,
        sup: Option<Box<Sup>>,
    ) -> u32 {
        if self.vacant == NONE {
            self.grow();
        }
        let serial = match &self.slots[self.vacant as usize] {
            Slot::Vacant { serial, .. } => *serial,
            Slot::Used(_) => unreachable!("the first vacant slot is used"),
        };
        let node = Node {
            serial,
            parent,
            prev: NONE,
            next: NONE,
            spec,
            label,
            attempt: 0,
            phase: Phase::Idle(IdleReason::SupervisorDown),
            flags: Flags { wanted: true, ..Flags::default() },
            since: self.now,
            started: Time::ZERO,
            timer: Time::NEVER,
            book: None,
            sup,
        };
        let i = self.vacant;
        match &mut self.slots[i as usize] {
            slot @ Slot::Vacant { .. } => {
                if let Slot::Vacant { next, .. } = slot {
                    self.vacant = *next;
                }
                *slot = Slot::Used(node);
            }
            Slot::Used(_) => unreachable!("the first vacant slot is used"),
        }
        if parent != NONE {
            self.link(parent, i);
        }
        i
    }

    /// Makes more vacant slots: as many as there are, within bounds. 2^32 children would need more than 300 GiB.
    fn grow(&mut self) {
        let before = self.slots.len();
        let growth = before.clamp(MIN_GROWTH, MAX_GROWTH);
        let after = before + growth;
        self.slots.reserve(growth);
        for i in before + 1..=after {
            let next = if i == after { NONE } else { u32::try_from(i).unwrap_or(NONE) };
            self.slots.push(Slot::Vacant { serial: 0, next });
        }
        self.vacant = u32::try_from(before).unwrap_or(NONE);
    }

    fn link(&mut self, parent: u32, i: u32) {
        if let Label::Named(name) = &self.node(i).label {
            let name = name.clone();
            self.sup_mut(parent).names.insert(name, i);
        }
        match &mut self.sup_mut(parent).kids {
            Kids::Ordered(kids) => kids.push(i),
            Kids::Group { head, tail, count, .. } => {
                let before = std::mem::replace(tail, i);
                *count += 1;
                if before == NONE {
                    *head = i;
                } else {
                    self.node_mut(before).next = i;
                    self.node_mut(i).prev = before;
                }
            }
        }
    }

    fn unlink(&mut self, parent: u32, i: u32) {
        let node = self.node(i);
        let (prev, next) = (node.prev, node.next);
        if let Label::Named(name) = &node.label {
            let name = name.clone();
            self.sup_mut(parent).names.remove(&name);
        }
        match &mut self.sup_mut(parent).kids {
            Kids::Ordered(kids) => kids.retain(|kid| *kid != i),
            Kids::Group { head, tail, count, .. } => {
                *count -= 1;
                if *head == i {
                    *head = next;
                }
                if *tail == i {
                    *tail = prev;
                }
                if prev != NONE {
                    self.node_mut(prev).next = next;
                }
                if next != NONE {
                    self.node_mut(next).prev = prev;
                }
            }
        }
    }

    /// Says that a child, and all below it, is part of the tree from now on.
    pub(super) fn tell_added(&mut self, i: u32) {
        let node = self.node(i);
        let (restart, strategy) = (node.spec.restart, node.sup.as_ref().map(|sup| sup.rules.strategy));
        self.emit(i, || EventKind::Added { restart, strategy });
        for kid in self.node(i).sup.as_ref().map(|sup| sup.ordered().to_vec()).unwrap_or_default() {
            self.tell_added(kid);
        }
    }

    /// Takes a child that is down, and all below it, out of the tree.
    pub(super) fn free(&mut self, i: u32) {
        for kid in self.node(i).sup.as_ref().map(|sup| sup.ordered().to_vec()).unwrap_or_default() {
            self.free(kid);
        }
        if !matches!(self.node(i).phase, Phase::Idle(_)) {
            self.set_phase(i, Phase::Idle(IdleReason::SupervisorDown));
        }
        self.resolve_all_removed(i);
        self.emit(i, || EventKind::Removed);
        let (id, parent, next) = (self.id_of(i), self.node(i).parent, self.node(i).next);
        for sweep in &mut self.sweeps {
            sweep.pass_over(i, next);
        }
        if parent != NONE {
            self.unlink(parent, i);
            self.mark_dirty(parent);
            self.mark_concerned(parent);
        }
        self.slots[i as usize] = Slot::Vacant { serial: id.serial.wrapping_add(1), next: self.vacant };
        self.vacant = i;
        self.push(Effect::Forget { id });
    }

    /// Changes a phase: the timer is off, the parent's counts are right, and `since` is now (a stop that gets
    /// rougher is still the same stop).
    pub(super) fn set_phase(&mut self, i: u32, phase: Phase) {
        if phase == Phase::Waiting && self.node(i).phase == Phase::Waiting {
            self.pause_patience(i);
        }
        self.set_timer(i, Time::NEVER);
        let now = self.now;
        let node = self.node_mut(i);
        let before = std::mem::replace(&mut node.phase, phase);
        if !(before.is_stopping() && phase.is_stopping()) {
            node.since = now;
        }
        if before == Phase::Waiting && phase != Phase::Waiting {
            node.flags.resting = false;
            if let Some(book) = &mut node.book {
                book.patience = None;
            }
        }
        let swept = node.flags.sweep && before.is_live() && !phase.is_live();
        if swept {
            node.flags.sweep = false;
        }
        let parent = node.parent;
        let (live, waiting) = (phase.is_live(), phase == Phase::Waiting);
        let (was_live, was_waiting) = (before.is_live(), before == Phase::Waiting);
        if parent != NONE && (live != was_live || waiting != was_waiting) {
            let sup = self.sup_mut(parent);
            sup.live = sup.live + u32::from(live) - u32::from(was_live);
            sup.waiting = sup.waiting + u32::from(waiting) - u32::from(was_waiting);
            sup.sweeping -= u32::from(swept);
            self.waiting = self.waiting + u32::from(waiting) - u32::from(was_waiting);
        }
        self.mark_concerned(parent);
    }

    /// Marks the supervisors, from `i` upwards, that look deeper than at their own children: where somebody
    /// waits (maybe for the health of a subtree), and where the end of all ends it.
    fn mark_concerned(&mut self, mut i: u32) {
        // Most often there is nobody.
        while i != NONE && (self.waiting > 0 || self.some_end_when_done) {
            let sup = self.sup(i);
            if sup.waiting > 0 || sup.rules.end_when_done {
                self.mark_dirty(i);
            }
            i = self.node(i).parent;
        }
    }

    /// Marks a live child as one that a group restart stops; the mark is off when the attempt is gone.
    pub(super) fn sweep(&mut self, i: u32) {
        let node = self.node_mut(i);
        if !std::mem::replace(&mut node.flags.sweep, true) {
            let parent = node.parent;
            self.sup_mut(parent).sweeping += 1;
        }
    }

    pub(super) fn mark_dirty(&mut self, i: u32) {
        if i != NONE {
            let sup = self.sup_mut(i);
            // A group has nothing to do but to end, when it is stopping and its last member is gone.
            let idle =
                matches!(&sup.kids, Kids::Group { count, .. } if *count > 0 || sup.mode != Mode::Stopping);
            let depth = sup.depth;
            if !idle && !std::mem::replace(&mut sup.queued, true) {
                self.dirty.push((depth, Reverse(i)));
            }
        }
    }

    /// The child in slot `i`, which the caller knows to be used.
    #[track_caller]
    pub(super) fn node(&self, i: u32) -> &Node {
        match &self.slots[i as usize] {
            Slot::Used(node) => node,
            Slot::Vacant { .. } => unreachable!("slot {i} is vacant"),
        }
    }

    #[track_caller]
    pub(super) fn node_mut(&mut self, i: u32) -> &mut Node {
        match &mut self.slots[i as usize] {
            Slot::Used(node) => node,
            Slot::Vacant { .. } => unreachable!("slot {i} is vacant"),
        }
    }

    /// The supervisor in slot `i`, which the caller knows to be one.
    #[track_caller]
    pub(super) fn sup(&self, i: u32) -> &Sup {
        match &self.node(i).sup {
            Some(sup) => sup,
            None => unreachable!("slot {i} is not a supervisor"),
        }
    }

    #[track_caller]
    pub(super) fn sup_mut(&mut self, i: u32) -> &mut Sup {
        match &mut self.node_mut(i).sup {
            Some(sup) => sup,
            None => unreachable!("slot {i} is not a supervisor"),
        }
    }

    pub(super) fn book(&mut self, i: u32) -> &mut Book {
        self.node_mut(i).book.get_or_insert_default()
    }

    pub(super) fn id_of(&self, i: u32) -> ChildId {
        ChildId { slot: i, serial: self.node(i).serial }
    }

    pub(super) fn attempt_of(&self, i: u32) -> (ChildId, Attempt) {
        (self.id_of(i), Attempt(self.node(i).attempt))
    }

    pub(super) fn slot_of(&self, id: ChildId) -> Option<u32> {
        match self.slots.get(id.slot as usize) {
            Some(Slot::Used(node)) if node.serial == id.serial => Some(id.slot),
            Some(Slot::Used(_) | Slot::Vacant { .. }) | None => None,
        }
    }

    /// Whether `i` is a member of a dynamic group.
    pub(super) fn is_member(&self, i: u32) -> bool {
        let parent = self.node(i).parent;
        parent != NONE && self.sup(parent).is_group()
    }

    /// Whether the supervisor of `i` is ending or has ended. The root has none.
    pub(super) fn parent_is_ending(&self, i: u32) -> bool {
        let parent = self.node(i).parent;
        parent != NONE && self.sup(parent).is_ending()
    }
}

impl Sup {
    fn new(rules: Rules, kids: Kids, depth: u32) -> Self {
        Self {
            rules,
            kids,
            names: BTreeMap::new(),
            mode: Mode::Down,
            window: Window::default(),
            live: 0,
            waiting: 0,
            sweeping: 0,
            plan: StopPlan::UNBOUNDED,
            hurried: false,
            asked_from: 0,
            runtime_lost: false,
            queued: false,
            depth,
        }
    }

    fn of_supervisor(spec: &SupervisorSpec, depth: u32) -> Self {
        let rules = Rules {
            strategy: spec.strategy,
            order: spec.order,
            auto_shutdown: spec.auto_shutdown,
            intensity: spec.intensity,
            end_when_done: spec.end_when_done,
            dedicated_runtime: spec.dedicated_runtime,
        };
        Self::new(rules, Kids::Ordered(Vec::with_capacity(spec.children.len())), depth)
    }

    fn of_group(spec: &GroupSpec, depth: u32) -> Self {
        let rules = Rules {
            strategy: Strategy::OneForOne,
            order: Order::Edges,
            auto_shutdown: AutoShutdown::Never,
            intensity: spec.intensity,
            end_when_done: false,
            dedicated_runtime: spec.dedicated_runtime,
        };
        let template = Arc::new(spec.template.clone());
        let kids = Kids::Group { template, head: NONE, tail: NONE, count: 0, max: spec.max_members };
        Self::new(rules, kids, depth)
    }
}

impl Label {
    /// The label as text; `slot` and `serial` make the name of a member that was given none.
    pub(super) fn text(&self, slot: u32, serial: u32) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Named(name) => name.as_str().into(),
            Self::Auto if serial == 0 => slot.to_string().into(),
            Self::Auto => format!("{slot}-{serial}").into(),
        }
    }

    /// The slot and serial that an automatic name means.
    pub(super) fn parse_auto(text: &str) -> Option<ChildId> {
        let (slot, serial) = match text.split_once('-') {
            Some((slot, serial)) => (slot.parse().ok()?, serial.parse().ok()?),
            None => (text.parse().ok()?, 0),
        };
        Some(ChildId { slot, serial })
    }

    /// The name, for messages that carry one.
    pub(super) fn name(&self, slot: u32, serial: u32) -> Option<Name> {
        match self {
            Self::Named(name) => Some(name.clone()),
            Self::Auto => Name::new(self.text(slot, serial).into_owned()).ok(),
        }
    }
}
