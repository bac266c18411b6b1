//! The names of children: given, or made from a slot.

use crate::{ChildId, Name};
use std::borrow::Cow;
use std::fmt::Write as _;

/// The name of a child: given, or made from its slot (members of groups only).
#[derive(Clone, Debug)]
pub(super) enum ChildName {
    Automatic,
    Given(Name),
}

impl ChildName {
    /// Returns the name as text. If the member was given no name, the text is made from `id`.
    pub(super) fn text(&self, id: ChildId) -> Cow<'_, str> {
        match self {
            Self::Given(name) => name.as_str().into(),
            Self::Automatic => {
                let mut text = String::new();
                self.write(id, &mut text);
                text.into()
            }
        }
    }

    /// Appends the name to a text.
    pub(super) fn write(&self, id: ChildId, text: &mut String) {
        match self {
            Self::Given(name) => text.push_str(name.as_str()),
            Self::Automatic => {
                // Writing to a `String` does not fail.
                let _ = match id.serial {
                    0 => write!(text, "{}", id.slot),
                    serial => write!(text, "{}-{serial}", id.slot),
                };
            }
        }
    }

    /// Returns the id from which an automatic name was made.
    pub(super) fn parse_automatic(text: &str) -> Option<ChildId> {
        let (slot, serial) = match text.split_once('-') {
            Some((slot, serial)) => (slot.parse().ok()?, serial.parse().ok()?),
            None => (text.parse().ok()?, 0),
        };
        Some(ChildId { slot, serial })
    }
}
