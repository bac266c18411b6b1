//! Which events a reader wants.

use liveoak_core::{Event, EventKind, Glob, Severity};
use std::fmt;
use std::sync::Arc;

/// Which events a reader wants: of which children, of which kind, and how severe. Without conditions, all events.
///
/// Several paths are alternatives; all other conditions must hold together.
///
/// ```
/// use liveoak_runtime::{EventFilter, EventKind, Glob, Severity};
///
/// let troubles = EventFilter::new().path(Glob::new("/shop/ingest/**")?).least(Severity::Warn);
/// let exits = EventFilter::new().kind(|kind| matches!(kind, EventKind::Exited { .. }));
/// # let _ = (troubles, exits);
/// # Ok::<(), liveoak_runtime::GlobError>(())
/// ```
#[derive(Clone, Default)]
pub struct EventFilter {
    paths: Vec<Glob>,
    kinds: Vec<KindFilter>,
    least: Option<Severity>,
}

type KindFilter = Arc<dyn Fn(&EventKind) -> bool + Send + Sync>;

impl EventFilter {
    /// Makes a filter that lets all events pass.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets only events of children pass whose path matches `paths`, or another pattern that was given.
    #[must_use]
    pub fn path(mut self, paths: Glob) -> Self {
        self.paths.push(paths);
        self
    }

    /// Lets only events pass for whose kind `wanted` returns `true`.
    #[must_use]
    pub fn kind(mut self, wanted: impl Fn(&EventKind) -> bool + Send + Sync + 'static) -> Self {
        self.kinds.push(Arc::new(wanted));
        self
    }

    /// Lets only events pass that are at least this severe.
    #[must_use]
    pub fn least(mut self, least: Severity) -> Self {
        self.least = Some(least);
        self
    }

    /// Returns `true` if the filter lets the event pass.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        self.least.is_none_or(|least| event.severity >= least)
            && self.kinds.iter().all(|wanted| wanted(&event.kind))
            && (self.paths.is_empty() || self.paths.iter().any(|paths| paths.matches(&event.path)))
    }
}

impl fmt::Debug for EventFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventFilter")
            .field("paths", &self.paths)
            .field("kinds", &self.kinds.len())
            .field("least", &self.least)
            .finish()
    }
}
