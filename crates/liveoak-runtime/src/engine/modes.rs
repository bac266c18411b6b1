//! The modes of a tree, and which of them is in force.

use liveoak_core::{Machine, Mode, Name, Time};

/// What the lock of a tree protects of its modes.
#[derive(Default)]
pub(crate) struct Modes {
    pub(crate) declared: Vec<Mode>,
    /// The mode that is in force; `None` if all declared children are wanted.
    pub(crate) current: Option<Name>,
    /// The number of the last change. An earlier change is superseded.
    pub(crate) last_change: u64,
}

impl Modes {
    /// Sets the modes of a tree that has not started, and the children that start with it.
    pub(crate) fn begin(&mut self, declared: Vec<Mode>, first: Option<Name>, machine: &mut Machine) {
        (self.declared, self.current) = (declared, first);
        if let Some(mode) = self.current() {
            machine.prepare_mode(Time::ZERO, Some(mode));
        }
    }

    /// Returns the mode of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&Mode> {
        self.declared.iter().find(|mode| mode.name.as_str() == name)
    }

    /// Returns the mode that is in force.
    pub(crate) fn current(&self) -> Option<&Mode> {
        self.find(self.current.as_ref()?.as_str())
    }
}
