//! The settings that every child has, whatever it is.

use liveoak_core::{Condition, Edge, Name};

/// Returns an edge to a sibling. An impossible name becomes a name that no sibling has, so that the check of the specs
/// reports it.
#[must_use]
pub fn edge(child: &str, condition: Condition) -> Option<Edge> {
    let impossible = |_| {
        let mut text: String = format!("(impossible name {child:?})").replace('/', "|");
        text.truncate(text.floor_char_boundary(Name::MAX_BYTES));
        Name::new(text.trim())
    };
    let child = Name::new(child).or_else(impossible).ok()?;
    Some(Edge { child, condition })
}

/// Adds the methods that every builder of a child has. `$spec` is the field that keeps its `ChildSpec`.
#[doc(hidden)]
#[macro_export]
macro_rules! supervised {
    ($builder:ty, $spec:ident) => {
        impl $builder {
            /// Sets when the child is started again after it has ended by itself. Default: permanent.
            #[must_use]
            pub fn restart(mut self, restart: $crate::Restart) -> Self {
                self.$spec.restart = restart;
                self
            }

            /// Sets the delay before a restart; `None` restarts at once. Default: 100 ms to 30 s, with jitter.
            #[must_use]
            pub fn backoff(mut self, backoff: impl Into<Option<$crate::Backoff>>) -> Self {
                self.$spec.backoff = backoff.into();
                self
            }

            /// Sets the restart limit of this child alone. Default: ten restarts in a minute, unless the supervisor has
            /// an intensity.
            #[must_use]
            pub fn limit(mut self, limit: $crate::Limit) -> Self {
                self.$spec.limit = Some(limit);
                self
            }

            /// Makes the end of this child count for the supervisor's
            /// [`auto_shutdown`](crate::Supervisor::auto_shutdown).
            #[must_use]
            pub fn significant(mut self) -> Self {
                self.$spec.significant = true;
                self
            }

            /// Starts this child only when the sibling `child` is ready, wherever that sibling is declared. An
            /// impossible name is an error when the tree starts.
            #[must_use]
            pub fn after(self, child: &str) -> Self {
                self.after_when(child, $crate::Condition::Ready)
            }

            /// Starts this child only when `condition` holds for the sibling `child`.
            ///
            /// How long it waits depends on the sibling:
            ///
            /// - **Starting, or still at work:** as long as that takes. A start has a deadline of its own; the way to
            ///   completion has none.
            /// - **Ready but not healthy, or failed and waiting for its restart:** at most as long as the start of this
            ///   child may take (30 s for a supervisor), all such waits together. Then the start has failed.
            /// - **Stopped on request, or quarantined:** until the sibling is started again, without delaying other
            ///   children. A command to start this child is refused at once.
            /// - **Ended for good without success:** not at all. The start fails at once.
            ///
            /// A start that failed so is a failed start like any other. During the first start the supervisor fails;
            /// after a command, the command returns the error. Otherwise the failure counts against the limit, and the
            /// child is started again after a backoff of at least a second, unless it is temporary.
            #[must_use]
            pub fn after_when(mut self, child: &str, condition: $crate::Condition) -> Self {
                self.$spec.after.extend($crate::internal::edge(child, condition));
                self
            }
        }
    };
}
