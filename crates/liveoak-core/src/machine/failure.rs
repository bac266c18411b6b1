//! The end of a machine that has panicked. Its state may contradict itself, so nothing of it is used any more.

use super::driver_queue::DriverQueue;
use super::state::Index;
use super::watch::Watches;
use super::{Arena, Machine};
use crate::{ChildDeclaration, ChildForm, Health, SupervisorSpec};

impl Machine {
    /// Ends the tree immediately, because the machine or its driver has panicked. Only the root remains, down and unhealthy,
    /// with the last commands and the first failure of the tree. Every later command is refused as
    /// [`Refusal::TreeEnded`](crate::Refusal::TreeEnded), reports change nothing, and there are no more effects: the driver
    /// stops what still runs, and answers the callers that wait.
    pub fn fail(&mut self) {
        let spec = (*self.arena[self.root].spec).clone();
        let form = ChildForm::Supervisor(SupervisorSpec::default());
        let root = ChildDeclaration { name: self.arena.name_of(self.root), spec, form };
        let mut arena = Arena::new();
        let ids = arena.insert(None, &root, self.now);
        self.root = Index::of_slot(ids[0].slot);
        self.arena = arena;
        self.arena[self.root].health = Health::Unhealthy;
        let last_event = self.driver_queue.last_event;
        self.driver_queue = DriverQueue { last_event, ..DriverQueue::default() };
        self.watches = Watches::default();
        self.to_evaluate.clear();
        self.timers.clear();
        (self.origin, self.stop_budget) = (None, None);
        self.ended = true;
        #[cfg(feature = "testing")]
        (self.panics_at = None);
    }
}
