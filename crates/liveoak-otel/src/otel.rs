//! What is wanted of the telemetry of a tree.

use crate::error::OtelError;
use crate::observer::{self, OtelObserver};
use crate::providers::Providers;
use crate::settings::Settings;
use liveoak_runtime::{Severity, Supervisor, TreeHandle};
use std::time::Duration;

/// What is wanted of the telemetry of a tree.
///
/// Default: spans, metrics and log records (from [`Severity::Info`] on) as the standard variables say:
/// `OTEL_EXPORTER_OTLP_ENDPOINT` (without it, `http://localhost:4318`), `OTEL_SERVICE_NAME` (without it, the name of the tree),
/// `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SDK_DISABLED` and others. What the program sets here comes
/// before the variables. The page `docs/opentelemetry.md` lists them, and what is sent.
#[derive(Clone, Debug)]
pub struct Otel {
    pub(crate) endpoint: Option<String>,
    pub(crate) service_name: Option<String>,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) every: Option<Duration>,
    pub(crate) logs_from: Severity,
    pub(crate) traces: bool,
    pub(crate) metrics: bool,
    pub(crate) logs: bool,
}

impl Default for Otel {
    fn default() -> Self {
        Self {
            endpoint: None,
            service_name: None,
            attributes: Vec::new(),
            every: None,
            logs_from: Severity::Info,
            traces: true,
            metrics: true,
            logs: true,
        }
    }
}

impl Otel {
    /// Returns the default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends to the collector at this address, for example `http://localhost:4318`. `/v1/traces`, `/v1/metrics` and `/v1/logs`
    /// are appended.
    #[must_use]
    pub fn endpoint(mut self, address: impl Into<String>) -> Self {
        self.endpoint = Some(address.into());
        self
    }

    /// Sets the name of the service.
    #[must_use]
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.service_name = Some(name.into());
        self
    }

    /// Adds an attribute of the resource, for example `deployment.environment.name`.
    #[must_use]
    pub fn attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((key.into(), value.into()));
        self
    }

    /// Sets how often the metrics are sent. Default: `OTEL_METRIC_EXPORT_INTERVAL`, or every minute.
    #[must_use]
    pub const fn metrics_every(mut self, every: Duration) -> Self {
        self.every = Some(every);
        self
    }

    /// Sends events from this severity on as log records. Default: [`Severity::Info`].
    #[must_use]
    pub const fn logs_from(mut self, severity: Severity) -> Self {
        self.logs_from = severity;
        self
    }

    /// Sends no spans.
    #[must_use]
    pub const fn without_traces(mut self) -> Self {
        self.traces = false;
        self
    }

    /// Sends no metrics.
    #[must_use]
    pub const fn without_metrics(mut self) -> Self {
        self.metrics = false;
        self
    }

    /// Sends no log records.
    #[must_use]
    pub const fn without_logs(mut self) -> Self {
        self.logs = false;
        self
    }

    /// Starts to observe a tree, on a thread of its own. Called in [`Supervisor::on_begin`], it sees everything from the first
    /// event on; later, it sees the attempts that run, and what comes from then on. With `OTEL_SDK_DISABLED=true` it does
    /// nothing.
    ///
    /// # Errors
    /// When a setting cannot be followed, or there is no thread.
    pub fn observe(self, tree: &TreeHandle) -> Result<OtelObserver, OtelError> {
        let root = tree.root_path();
        let variable = |name: &str| std::env::var(name).ok();
        let Some(settings) = Settings::read(&self, root.name(), variable)? else {
            return Ok(OtelObserver::idle());
        };
        let providers = Providers::new(&self, &settings, &root)?;
        observer::start(tree, providers, self.logs_from)
    }
}

/// Sends the telemetry of a tree. In the prelude of `liveoak` with the feature `otel`.
pub trait WithOtel: Sized {
    /// Starts to observe the tree when it begins. If that fails, the tree runs without telemetry, and the log says why
    /// ([`Otel::observe`] returns the error instead). Refused for a supervisor that is not the root.
    #[must_use]
    fn otel(self, otel: Otel) -> Self;
}

impl WithOtel for Supervisor {
    fn otel(self, otel: Otel) -> Self {
        self.on_begin(move |tree| {
            if let Err(error) = otel.observe(tree) {
                tracing::warn!(target: "liveoak", event = "otel", "there is no telemetry: {error}");
            }
        })
    }
}
