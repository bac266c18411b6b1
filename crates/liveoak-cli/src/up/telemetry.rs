//! The telemetry of a run, if the program is built with the feature `otel` and `OTEL_EXPORTER_OTLP_ENDPOINT` (or the same
//! of one signal) says where to send it.

#[cfg(feature = "otel")]
pub(super) use on::{THREADS, Telemetry};

#[cfg(not(feature = "otel"))]
pub(super) use off::{THREADS, Telemetry};

#[cfg(feature = "otel")]
mod on {
    use crate::up::status::StatusLog;
    use liveoak::otel::{Otel, OtelError, OtelObserver};
    use liveoak::{Supervisor, TreeHandle};
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;
    use tracing::Level;

    /// The threads of the telemetry: the observer, three that send, and four that send what is left at the end.
    pub(in crate::up) const THREADS: usize = 8;

    /// How long the end of the program waits until the last telemetry was sent.
    const FINISH_WITHIN: Duration = Duration::from_secs(3);

    /// The variables of which one turns telemetry on.
    const VARIABLES: [&str; 4] = [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    ];

    type Observer = Arc<Mutex<Option<Result<OtelObserver, OtelError>>>>;

    /// The telemetry of a run.
    pub(in crate::up) struct Telemetry(Observer);

    impl Telemetry {
        /// Returns the telemetry of a run that has not begun.
        pub(in crate::up) fn new() -> Self {
            Self(Arc::default())
        }

        /// Lets the telemetry begin with the tree.
        pub(in crate::up) fn begin_with(&self, tree: Supervisor) -> Supervisor {
            let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
            if !VARIABLES.into_iter().any(is_set) {
                return tree;
            }
            let observer = Arc::clone(&self.0);
            tree.on_begin(move |tree: &TreeHandle| {
                let observed = Otel::new().observe(tree);
                *observer.lock().unwrap_or_else(PoisonError::into_inner) = Some(observed);
            })
        }

        /// Says so if it did not begin.
        pub(in crate::up) fn tell_failure(&self, status: &StatusLog) {
            if let Some(Err(error)) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
                status.message(Level::WARN, "no-telemetry", &format!("there is no telemetry: {error}"));
            }
        }

        /// Waits until the last of it was sent, within a bound.
        pub(in crate::up) fn finish(self) {
            let observer = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(Ok(observer)) = observer {
                observer.finish(FINISH_WITHIN);
            }
        }
    }
}

#[cfg(not(feature = "otel"))]
mod off {
    use crate::up::status::StatusLog;
    use liveoak::Supervisor;

    /// The threads of the telemetry.
    pub(in crate::up) const THREADS: usize = 0;

    /// The telemetry of a run: none.
    pub(in crate::up) struct Telemetry;

    impl Telemetry {
        /// Returns the telemetry of a run that has not begun.
        pub(in crate::up) const fn new() -> Self {
            Self
        }

        /// Returns the tree as it is.
        pub(in crate::up) fn begin_with(&self, tree: Supervisor) -> Supervisor {
            tree
        }

        /// Does nothing.
        pub(in crate::up) const fn tell_failure(&self, _status: &StatusLog) {}

        /// Does nothing.
        pub(in crate::up) const fn finish(self) {}
    }
}
