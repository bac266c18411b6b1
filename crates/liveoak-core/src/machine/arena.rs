//! The arena: where the children of a tree are kept, linked to their supervisors, and found by index, id, name or path.

use super::copy::{PendingCopy, Slot};
use super::state::{Child, ChildName, ChildRecord, Children, Index, Intent, Phase, SupervisorState};
use crate::{
    Attempt, ChildDeclaration, ChildForm, ChildId, ChildSpec, IdleReason, Name, Path, Time, start_order,
};
use std::borrow::Cow;
use std::sync::Arc;

/// How many slots the arena grows by. One larger step is cheaper than many small ones.
const MIN_GROWTH: usize = 8;
const MAX_GROWTH: usize = 4096;

#[derive(Debug)]
pub(super) struct Arena {
    pub(super) slots: Vec<Slot>,
    pub(super) vacant: Option<Index>,
    /// `true` if a supervisor was declared to end when all its children are done.
    pub(super) some_end_when_done: bool,
    /// `true` if a child was declared to need a sibling while it runs.
    pub(super) some_needs: bool,
    /// `true` if a child, a supervisor or the members of a group were declared with a limit of their polls.
    pub(super) some_poll_limits: bool,
    /// `true` if a child was not wanted: it is manual, or the tree has had a mode.
    pub(super) some_unwanted: bool,
    /// The unfinished copies of the arena. Every change of a slot goes through `IndexMut`, `insert_child` or `remove`,
    /// which first preserve the slot for these copies.
    copies: Vec<PendingCopy>,
    /// How many copies were begun.
    copies_begun: u64,
    /// How many children were looked up.
    #[cfg(test)]
    pub(super) lookups: std::cell::Cell<u64>,
}

/// The child at an index. The caller knows that the slot is used.
impl std::ops::Index<Index> for Arena {
    type Output = Child;

    #[inline]
    #[track_caller]
    fn index(&self, index: Index) -> &Child {
        #[cfg(test)]
        self.lookups.set(self.lookups.get() + 1);
        let Slot::Used(child) = &self.slots[index.slot() as usize] else { wrong_slot(index, "vacant") };
        child
    }
}

impl std::ops::IndexMut<Index> for Arena {
    #[inline]
    #[track_caller]
    fn index_mut(&mut self, index: Index) -> &mut Child {
        #[cfg(test)]
        self.lookups.set(self.lookups.get() + 1);
        self.preserve(index);
        let Slot::Used(child) = &mut self.slots[index.slot() as usize] else { wrong_slot(index, "vacant") };
        child
    }
}

/// Panics. It is a separate function, so that the look-ups, which are short and frequent, can be inlined.
#[cold]
#[inline(never)]
#[track_caller]
fn wrong_slot(index: Index, what: &str) -> ! {
    unreachable!("slot {} is {what}", index.slot())
}

impl Arena {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            vacant: None,
            some_end_when_done: false,
            some_needs: false,
            some_poll_limits: false,
            some_unwanted: false,
            copies: Vec::new(),
            copies_begun: 0,
            #[cfg(test)]
            lookups: std::cell::Cell::new(0),
        }
    }

    /// Begins a copy of the current arena. Returns the number of the copy, and an empty arena for the copied slots.
    pub(super) fn begin_copy(&mut self) -> (u64, Self) {
        self.copies_begun += 1;
        self.copies.push(PendingCopy::new(self.copies_begun, self.slots.len()));
        let copied = Self { slots: Vec::with_capacity(self.slots.len()), ..Self::new() };
        (self.copies_begun, copied)
    }

    /// Copies the next slots, at most `most`, into `copied`. Returns `true` if the copy is complete.
    pub(super) fn go_on_copying(&mut self, number: u64, most: usize, copied: &mut Self) -> bool {
        let Some(at) = self.copies.iter().position(|copy| copy.number == number) else { return true };
        let complete = self.copies[at].go_on(&self.slots, most, &mut copied.slots);
        if complete {
            self.copies.swap_remove(at);
        }
        complete
    }

    /// Enters the names of children into those supervisors of a copy that have waiting children. A snapshot looks up no
    /// other names.
    pub(super) fn enter_names(&mut self) {
        let waits = |sup: &Index| self[*sup].sup.as_ref().is_some_and(|sup| sup.waiting > 0);
        for sup in self.all().filter(waits).collect::<Vec<_>>() {
            let children = self.sup(sup).ordered().to_vec();
            self.sup_mut(sup).names =
                children.into_iter().map(|child| (self.name_of(child), child)).collect();
        }
    }

    /// Preserves a slot that is about to change for all copies that do not contain it yet.
    #[inline]
    fn preserve(&mut self, index: Index) {
        if !self.copies.is_empty() {
            self.preserve_for_copies(index);
        }
    }

    #[cold]
    fn preserve_for_copies(&mut self, index: Index) {
        let slot = index.slot() as usize;
        for copy in &mut self.copies {
            copy.preserve(slot, &self.slots[slot]);
        }
    }

    /// Puts a checked child and all children below it into the arena. Returns their ids in declared order, beginning with
    /// the child itself.
    pub(super) fn insert(
        &mut self,
        parent: Option<Index>,
        declared: &ChildDeclaration,
        now: Time,
    ) -> Vec<ChildId> {
        let depth = parent.map_or(0, |parent| self.sup(parent).depth + 1);
        let spec = Arc::new(declared.spec.clone());
        self.some_needs |= !spec.needs.is_empty();
        self.some_poll_limits |= spec.poll_limit.is_some();
        if let ChildForm::Group(group) = &declared.form {
            self.some_poll_limits |= group.template.poll_limit.is_some();
        }
        let mut child = Child::new(spec, ChildName::Given(declared.name.clone()), now);
        child.sup = SupervisorState::of_form(&declared.form, depth);
        if declared.spec.manual {
            (child.phase, child.intent) = (Phase::Idle(IdleReason::NotWanted), Intent::Unwanted);
            child.health = child.health_now();
            self.some_unwanted = true;
        }
        let child = self.insert_child(parent, child);
        let mut ids = vec![self.id_of(child)];
        if let ChildForm::Supervisor(spec) = &declared.form {
            self.some_end_when_done |= spec.end_when_done;
            // The children are kept in start order. The ids are returned in declared order. The check of the specs has
            // refused cycles.
            let mut below = vec![Vec::new(); spec.children.len()];
            for position in start_order(&spec.children).unwrap_or_default() {
                below[position] = self.insert(Some(child), &spec.children[position], now);
            }
            ids.extend(below.into_iter().flatten());
        }
        ids
    }

    /// Puts one child into the arena, as the last child of `parent`.
    pub(super) fn insert_child(&mut self, parent: Option<Index>, mut child: Child) -> Index {
        let index = self.vacant.unwrap_or_else(|| self.grow());
        self.preserve(index);
        let slot = &mut self.slots[index.slot() as usize];
        let Slot::Vacant { serial, next } = *slot else { unreachable!("the first vacant slot is used") };
        self.vacant = next;
        (child.serial, child.parent) = (serial, parent);
        *slot = Slot::Used(child);
        if let Some(parent) = parent {
            self.link(parent, index);
        }
        index
    }

    /// Adds vacant slots and returns the first of them.
    fn grow(&mut self) -> Index {
        let before = self.slots.len();
        let growth = before.clamp(MIN_GROWTH, MAX_GROWTH);
        self.slots.reserve(growth);
        let index = |slot: usize| Index::of_slot(u32::try_from(slot).unwrap_or(u32::MAX));
        for slot in before + 1..=before + growth {
            let next = (slot != before + growth).then(|| index(slot));
            self.slots.push(Slot::Vacant { serial: 0, next });
        }
        index(before)
    }

    /// Takes a child out of the arena. The child must have no children.
    pub(super) fn remove(&mut self, child: Index) {
        let (parent, serial) = (self[child].parent, self[child].serial);
        if let Some(parent) = parent {
            self.unlink(parent, child);
        }
        self.preserve(child);
        self.slots[child.slot() as usize] =
            Slot::Vacant { serial: serial.wrapping_add(1), next: self.vacant };
        self.vacant = Some(child);
    }

    fn link(&mut self, parent: Index, child: Index) {
        let state = &self[child];
        let (health, name, has_edges) = (state.health, state.name.clone(), !state.spec.after.is_empty());
        if has_edges {
            self.count_edges(parent, child, true);
        }
        let sup = self.sup_mut(parent);
        sup.count_health(health, true);
        if let ChildName::Given(name) = name {
            sup.names.insert(name, child);
        }
        match &mut sup.children {
            Children::Ordered(children) => children.push(child),
            Children::Group { head, tail, count, .. } => {
                *count += 1;
                head.get_or_insert(child);
                if let Some(before) = tail.replace(child) {
                    self[before].next = Some(child);
                    self[child].prev = Some(before);
                }
            }
        }
    }

    fn unlink(&mut self, parent: Index, child: Index) {
        let state = &self[child];
        let (health, prev, next, name) = (state.health, state.prev, state.next, state.name.clone());
        if !state.spec.after.is_empty() {
            self.count_edges(parent, child, false);
        }
        let sup = self.sup_mut(parent);
        sup.count_health(health, false);
        if let ChildName::Given(name) = name {
            sup.names.remove(&name);
        }
        match &mut sup.children {
            Children::Ordered(children) => children.retain(|other| *other != child),
            Children::Group { head, tail, count, .. } => {
                *count -= 1;
                if *head == Some(child) {
                    *head = next;
                }
                if *tail == Some(child) {
                    *tail = prev;
                }
                if let Some(prev) = prev {
                    self[prev].next = next;
                }
                if let Some(next) = next {
                    self[next].prev = prev;
                }
            }
        }
    }

    /// Gives a child another spec. Its supervisor counts the edges of its children.
    pub(super) fn replace_spec(&mut self, child: Index, spec: Arc<ChildSpec>) {
        let parent = self[child].parent;
        if let Some(parent) = parent {
            self.count_edges(parent, child, false);
        }
        self[child].spec = spec;
        if let Some(parent) = parent {
            self.count_edges(parent, child, true);
        }
    }

    /// Counts the edges of a child that its supervisor now has (`true`) or no longer has (`false`).
    fn count_edges(&mut self, parent: Index, child: Index, has: bool) {
        let spec = Arc::clone(&self[child].spec);
        let edges_to = &mut self.sup_mut(parent).edges_to;
        for edge in &spec.after {
            let count = edges_to.entry(edge.child.clone()).or_default();
            *count = if has { *count + 1 } else { *count - 1 };
            if *count == 0 {
                edges_to.remove(&edge.child);
            }
        }
    }

    /// Returns the child of this id, or `None` if it is no longer part of the tree.
    #[inline]
    pub(super) fn index_of(&self, id: ChildId) -> Option<Index> {
        let Slot::Used(child) = self.slots.get(id.slot as usize)? else { return None };
        (child.serial == id.serial).then(|| Index::of_slot(id.slot))
    }

    #[inline]
    pub(super) fn id_of(&self, child: Index) -> ChildId {
        ChildId { slot: child.slot(), serial: self[child].serial }
    }

    #[inline]
    pub(super) fn attempt_of(&self, child: Index) -> (ChildId, Attempt) {
        (self.id_of(child), Attempt(self[child].attempt))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Index> {
        let used = (0u32..).zip(&self.slots).filter(|(_, slot)| matches!(slot, Slot::Used(_)));
        used.map(|(slot, _)| Index::of_slot(slot))
    }

    /// Returns the state of a supervisor. The caller knows that the child is a supervisor.
    #[inline]
    #[track_caller]
    pub(super) fn sup(&self, sup: Index) -> &SupervisorState {
        let Some(state) = &self[sup].sup else { wrong_slot(sup, "not a supervisor") };
        state
    }

    #[inline]
    #[track_caller]
    pub(super) fn sup_mut(&mut self, sup: Index) -> &mut SupervisorState {
        let Some(state) = &mut self[sup].sup else { wrong_slot(sup, "not a supervisor") };
        state
    }

    /// Returns the state of a supervisor, or `None` if the slot holds no supervisor (any more).
    pub(super) fn sup_if_any(&mut self, sup: Index) -> Option<&mut SupervisorState> {
        let Slot::Used(child) = self.slots.get_mut(sup.slot() as usize)? else { return None };
        child.sup.as_deref_mut()
    }

    /// Returns the state of a child's supervisor. The root has none.
    #[inline]
    pub(super) fn parent_of(&self, child: Index) -> Option<&SupervisorState> {
        self[child].parent.map(|parent| self.sup(parent))
    }

    #[inline]
    pub(super) fn is_member(&self, child: Index) -> bool {
        self.parent_of(child).is_some_and(SupervisorState::is_group)
    }

    /// Returns the record of a child. Creates the record if the child has none.
    #[inline]
    pub(super) fn record_or_new(&mut self, child: Index) -> &mut ChildRecord {
        self[child].record.get_or_insert_default()
    }

    /// Returns the children of `parent`, in order. A leaf has none.
    pub(super) fn children(&self, parent: Index) -> impl Iterator<Item = Index> {
        let state = self[parent].sup.as_ref();
        let ordered = state.map_or(&[][..], |state| state.ordered());
        let members = std::iter::successors(self.first_member(parent), |member| self[*member].next);
        ordered.iter().copied().chain(members)
    }

    /// Returns how many children [`children`](Self::children) returns.
    pub(super) fn child_count(&self, parent: Index) -> usize {
        match self[parent].sup.as_ref().map(|state| &state.children) {
            Some(Children::Ordered(children)) => children.len(),
            Some(Children::Group { count, .. }) => *count as usize,
            None => 0,
        }
    }

    /// Returns the first member of a group; the others follow by `next`.
    pub(super) fn first_member(&self, group: Index) -> Option<Index> {
        match self[group].sup.as_ref()?.children {
            Children::Group { head, .. } => head,
            Children::Ordered(_) => None,
        }
    }

    /// Returns the child of `parent` that has this name, given or automatic.
    pub(super) fn child_called(&self, parent: Index, name: &str) -> Option<Index> {
        if let Some(child) = self[parent].sup.as_ref()?.names.get(name) {
            return Some(*child);
        }
        let child = self.index_of(ChildName::parse_automatic(name)?)?;
        let automatic = matches!(self[child].name, ChildName::Automatic);
        (self[child].parent == Some(parent) && automatic && self.name_text(child) == name).then_some(child)
    }

    /// Returns how many supervisors are above a child.
    pub(super) fn depth_of(&self, child: Index) -> u32 {
        self[child].parent.map_or(0, |parent| self.sup(parent).depth + 1)
    }

    pub(super) fn name_text(&self, child: Index) -> Cow<'_, str> {
        self[child].name.text(self.id_of(child))
    }

    /// Appends the name of a child to a text.
    pub(super) fn write_name(&self, child: Index, text: &mut String) {
        self[child].name.write(self.id_of(child), text);
    }

    pub(super) fn name_of(&self, child: Index) -> Name {
        match &self[child].name {
            ChildName::Given(name) => name.clone(),
            ChildName::Automatic => Name::new(self.name_text(child).into_owned())
                .unwrap_or_else(|error| unreachable!("an automatic name is made of digits: {error}")),
        }
    }

    /// Returns the child itself, its supervisor, and so on up to the root.
    pub(super) fn line_up_from(&self, child: Index) -> impl Iterator<Item = Index> {
        std::iter::successors(Some(child), |child| self[*child].parent)
    }

    /// Returns the names of a child's path as bytes, beginning with the name of the child. For an automatic name, the
    /// bytes are those of the slot number.
    pub(super) fn names_up_from(&self, child: Index) -> impl Iterator<Item = Cow<'_, [u8]>> {
        self.line_up_from(child).map(|child| match &self[child].name {
            ChildName::Given(name) => Cow::Borrowed(name.as_str().as_bytes()),
            ChildName::Automatic => Cow::Owned(child.slot().to_le_bytes().to_vec()),
        })
    }

    pub(super) fn path_of(&self, child: Index) -> Path {
        let line: Vec<Index> = self.line_up_from(child).collect();
        let mut text = String::with_capacity(64);
        for child in line.into_iter().rev() {
            text.push('/');
            self.write_name(child, &mut text);
        }
        Path::new(&text)
    }
}
