//! The invariants on top of `node.rs`, and what must be true whenever nothing is left to be done.

use super::super::node::{Kids, Mode, NONE, Node, Phase, Slot};
use super::super::start::Gate;
use super::super::{MAX_WAITERS, Machine};
use crate::{Limit, Time, WaitingFor};
use std::collections::BTreeSet;

impl Machine {
    /// Checks everything. To be called when all effects have been polled.
    #[track_caller]
    pub(super) fn audit(&self) {
        assert!(self.effects.is_empty() && self.sweeps.is_empty() && self.dirty.is_empty(), "not settled");
        let mut timers = BTreeSet::new();
        let mut vacant = 0;
        for (i, slot) in (0u32..).zip(&self.slots) {
            match slot {
                Slot::Vacant { .. } => vacant += 1,
                Slot::Used(node) => {
                    if node.timer != Time::NEVER {
                        timers.insert((node.timer, i));
                    }
                    self.audit_node(i, node);
                    if node.sup.is_some() {
                        self.audit_counts(i);
                        self.audit_progress(i);
                    }
                }
            }
        }
        assert_eq!(self.timers, timers, "invariant 1: timers");
        let waits = |slot: &&Slot| matches!(slot, Slot::Used(node) if node.phase == Phase::Waiting);
        let waiting = self.slots.iter().filter(waits).count();
        assert_eq!(self.waiting as usize, waiting, "invariant 2: waiting in all");
        assert_eq!(self.vacant_slots(), vacant, "vacant slots are linked");
        self.audit_memory();
        if self.down {
            assert!(timers.is_empty(), "a tree that is down has timers");
            assert!(!self.node(self.root).phase.is_live());
        }
    }

    /// Law 22: what is kept of a child does not grow with what happened to it.
    fn audit_memory(&self) {
        for (i, slot) in (0u32..).zip(&self.slots) {
            let Slot::Used(node) = slot else { continue };
            let counted = |limit: Option<Limit>| limit.filter(|limit| limit.restarts != Limit::UNLIMITED);
            let bound = |limit| counted(limit).map_or(0, |limit| limit.restarts as usize + 1);
            if let Some(book) = &node.book {
                let limit = node.spec.limit.or(Some(Limit::DEFAULT_OF_A_CHILD));
                assert!(book.window.len() <= bound(limit), "the window of {}", self.path_of(i));
            }
            if let Some(sup) = &node.sup {
                assert!(sup.window.len() <= bound(sup.rules.intensity), "the window of {}", self.path_of(i));
                assert!(sup.names.len() <= self.kids_of(i).len());
            }
        }
    }

    /// Places for children, used or not.
    pub(super) const fn places(&self) -> usize {
        self.slots.len()
    }

    fn vacant_slots(&self) -> usize {
        let (mut count, mut at) = (0, self.vacant);
        while let Some(Slot::Vacant { next, .. }) = self.slots.get(at as usize) {
            count += 1;
            at = *next;
        }
        count
    }

    fn audit_node(&self, i: u32, node: &Node) {
        let (path, phase) = (self.path_of(i), node.phase);
        if phase.is_live() {
            assert!(node.attempt > 0, "invariant 3: {path} lives without an attempt");
        }
        match phase {
            Phase::BackingOff => assert_ne!(node.timer, Time::NEVER, "{path} backs off for ever"),
            Phase::Idle(_) => assert_eq!(node.timer, Time::NEVER, "{path} has a timer"),
            // Exactly while nothing holds it back but ailing siblings.
            Phase::Waiting if node.timer != Time::NEVER => {
                assert_eq!(self.gate(node.parent, i), Gate::Ailing, "{path} has a timer for nothing");
                assert!(node.book.as_ref().is_some_and(|book| book.patience.is_some()), "{path}");
                assert!(
                    matches!(self.waiting_for(node.parent, i), WaitingFor::Edge(..)),
                    "{path} has a timer"
                );
            }
            Phase::Waiting | Phase::Starting | Phase::Running | Phase::Stopping { .. } => {}
        }
        if let Some(book) = &node.book {
            assert!(book.waiters.len() <= MAX_WAITERS);
            assert!(book.gave_up.is_none() || !phase.is_live(), "{path} lives and was given up on");
            if matches!(phase, Phase::Idle(_)) {
                assert!(book.waiters.is_empty(), "{path} is {phase:?} and owes {:?}", book.waiters);
                assert!(book.cause.is_none(), "{path} is {phase:?} and has a cause");
            }
            assert!(book.log.is_none() || phase.is_stopping(), "{path} is {phase:?} and keeps a log");
            assert!(book.cause.is_none() || phase.is_stopping(), "{path} is {phase:?} and has a cause");
        }
        let flags = node.flags;
        assert_eq!(
            flags.resting,
            phase == Phase::Waiting && self.gate(node.parent, i) == Gate::Resting,
            "{path} rests"
        );
        let patience = node.book.as_ref().and_then(|book| book.patience);
        assert!(patience.is_none() || phase == Phase::Waiting, "{path} is {phase:?} and waits");
        assert!(!flags.sweep || phase.is_live(), "{path} is {phase:?} and swept");
        assert!(!flags.again || phase.is_stopping(), "{path} is {phase:?} and to start again");
        assert!(!flags.removing || phase.is_stopping(), "{path} is {phase:?} and leaving");
        assert!(phase != Phase::Running || flags.attempt_ready, "{path} runs and was not ready");
        if node.parent == NONE {
            assert_eq!(i, self.root);
            return;
        }
        let parent = self.sup(node.parent);
        if parent.is_ending() {
            assert!(!phase.is_pending(), "{path} will start although its supervisor ends");
        }
        if matches!(parent.mode, Mode::Down | Mode::Opening | Mode::Closing) {
            assert!(!phase.is_live(), "{path} lives although its supervisor is {:?}", parent.mode);
        }
        if phase == Phase::Waiting {
            let what = self.waiting_for(node.parent, i);
            assert_ne!(what, WaitingFor::Nothing, "{path} waits for nothing and does not start");
        }
    }

    fn audit_counts(&self, i: u32) {
        let (path, sup) = (self.path_of(i), self.sup(i));
        assert!(!sup.queued, "{path} is queued although nothing is dirty");
        let kids = self.kids_of(i);
        let count = |f: &dyn Fn(&Node) -> bool| kids.iter().filter(|kid| f(self.node(**kid))).count() as u32;
        assert_eq!(sup.live, count(&|kid| kid.phase.is_live()), "invariant 2: live of {path}");
        assert_eq!(sup.waiting, count(&|kid| kid.phase == Phase::Waiting), "invariant 2: waiting of {path}");
        assert_eq!(sup.sweeping, count(&|kid| kid.flags.sweep), "invariant 2: sweeping of {path}");
        for kid in &kids {
            assert_eq!(self.node(*kid).parent, i, "a child of {path} has another parent");
        }
        for (name, kid) in &sup.names {
            assert!(kids.contains(kid), "{path} knows {name} and does not have it");
            assert_eq!(&self.name_of(*kid), name);
        }
        let paths: BTreeSet<_> = kids.iter().map(|kid| self.path_of(*kid)).collect();
        assert_eq!(paths.len(), kids.len(), "two children of {path} have one path");
        assert_eq!(sup.mode == Mode::Down, !self.node(i).phase.is_live(), "mode of {path}");
    }

    fn kids_of(&self, i: u32) -> Vec<u32> {
        match &self.sup(i).kids {
            Kids::Ordered(kids) => kids.clone(),
            Kids::Group { head, tail, count, .. } => {
                let (mut kids, mut at, mut before) = (Vec::new(), *head, NONE);
                while at != NONE {
                    kids.push(at);
                    assert_eq!(self.node(at).prev, before);
                    (before, at) = (at, self.node(at).next);
                }
                assert_eq!((before, kids.len()), (*tail, *count as usize), "links of {}", self.path_of(i));
                kids
            }
        }
    }

    /// Nothing hangs: a supervisor that is on its way is waiting for somebody who is.
    fn audit_progress(&self, i: u32) {
        let (path, sup, kids) = (self.path_of(i), self.sup(i), self.kids_of(i));
        let is = |f: &dyn Fn(&Node) -> bool| kids.iter().any(|kid| f(self.node(*kid)));
        match sup.mode {
            Mode::Stopping => {
                assert!(is(&|kid| kid.phase.is_stopping()), "{path} is stopping, but nobody below it is");
            }
            Mode::Starting => assert!(
                is(&|kid| !kid.flags.ever_ready && !kid.is_at_rest()),
                "{path} is starting, but nobody below it is"
            ),
            Mode::Up => {
                let done = sup.rules.end_when_done && self.is_done(i);
                assert!(!done, "{path} goes on although all is done");
            }
            Mode::Down | Mode::Opening | Mode::Closing => {}
        }
        if sup.sweeping > 0 && !sup.is_ending() {
            assert!(
                is(&|kid| kid.flags.sweep && kid.phase.is_stopping()),
                "the group restart of {path} hangs"
            );
        }
        if self.node(i).phase.is_stopping() {
            assert!(sup.is_ending(), "{path}");
            assert!(
                sup.mode == Mode::Stopping || self.node(i).timer != Time::NEVER,
                "{path} closes for ever"
            );
        }
    }
}
