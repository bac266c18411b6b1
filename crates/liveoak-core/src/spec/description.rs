//! What a child is, for people and for its own defaults: a title, tags, a role, a criticality.

use super::{Criticality, GiveUp, Role};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// The most bytes of a title.
pub const MAX_TITLE_BYTES: usize = 128;
/// The most tags of a child.
pub const MAX_TAGS: usize = 16;
/// The most bytes of a tag.
pub const MAX_TAG_BYTES: usize = 64;

/// What a child is. It is shown in events, snapshots, explanations and logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The name for people, shown beside the name: one line of at most [`MAX_TITLE_BYTES`].
    pub title: Option<Arc<str>>,
    /// Words by which people and programs select children: at most [`MAX_TAGS`], each of at most [`MAX_TAG_BYTES`],
    /// without white space, commas and control characters.
    pub tags: Vec<Arc<str>>,
    /// What the child is for. It presets settings that the child does not set itself.
    pub role: Option<Role>,
    /// How much depends on the child.
    pub criticality: Option<Criticality>,
}

impl Description {
    /// Returns the tags as one text, separated by commas, or `None` if there are none.
    #[must_use]
    pub fn joined_tags(&self) -> Option<String> {
        (!self.tags.is_empty()).then(|| self.tags.join(","))
    }

    /// Returns what is wrong with the title and the tags: the field, and the reason.
    #[must_use]
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let title = self.title.as_deref().and_then(title_problem);
        problems.extend(title.map(|reason| ("title", reason)));
        if self.tags.len() > MAX_TAGS {
            let reason = format!("{} tags are too many; expected at most {MAX_TAGS}", self.tags.len());
            problems.push(("tags", reason));
        }
        let mut seen = HashSet::new();
        for tag in &self.tags {
            let twice = (!seen.insert(tag)).then(|| format!("the tag {tag:?} stands there twice"));
            problems.extend(tag_problem(tag).or(twice).map(|reason| ("tags", reason)));
        }
        problems
    }
}

/// Returns what is wrong with a title.
#[must_use]
pub fn title_problem(title: &str) -> Option<String> {
    let expected = format!("expected one line of 1 to {MAX_TITLE_BYTES} bytes");
    if title.trim().is_empty() {
        Some(format!("the title is empty; {expected}"))
    } else if title.len() > MAX_TITLE_BYTES {
        Some(format!("the title has {} bytes; {expected}", title.len()))
    } else {
        let has = title.chars().any(char::is_control);
        has.then(|| format!("the title has a control character or a line end; {expected}"))
    }
}

/// Returns what is wrong with a tag.
#[must_use]
pub fn tag_problem(tag: &str) -> Option<String> {
    let expected = format!(
        "expected 1 to {MAX_TAG_BYTES} bytes without white space, commas and control characters, such as \"edge\" or \"team:mail\""
    );
    if tag.is_empty() {
        Some(format!("a tag is empty; {expected}"))
    } else if tag.len() > MAX_TAG_BYTES {
        Some(format!("a tag has {} bytes; {expected}", tag.len()))
    } else {
        let wrong = tag.chars().find(|c| c.is_whitespace() || c.is_control() || *c == ',');
        wrong.map(|c| format!("the tag {tag:?} contains {c:?}; {expected}"))
    }
}

impl fmt::Display for Description {
    /// Writes the role, the criticality and the tags, as far as they are set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = self.role.map(|role| format!("role {role}"));
        let criticality = self.criticality.map(|criticality| format!("criticality {criticality}"));
        let tags = self.joined_tags().map(|tags| format!("tags {tags}"));
        let parts: Vec<String> = [role, criticality, tags].into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

impl Criticality {
    /// Returns what happens when a child of this criticality exceeds its limit, if nothing nearer says it: low and normal
    /// children are quarantined, high and critical ones make their supervisor fail.
    #[must_use]
    pub const fn give_up(self) -> GiveUp {
        match self {
            Self::Low | Self::Normal => GiveUp::QUARANTINE,
            Self::High | Self::Critical => GiveUp::Escalate,
        }
    }
}
