//! A tree in OpenTelemetry: spans of its attempts, its metrics, and its events as log records, over OTLP/HTTP.
//!
//! One line turns it on:
//!
//! ```no_run
//! use liveoak_otel::{Otel, WithOtel as _};
//! use liveoak_runtime::{Child, Ctx, Supervisor};
//!
//! # async fn web(ctx: Ctx) { ctx.stopping().await }
//! # async fn example() -> Result<(), liveoak_runtime::Error> {
//! Supervisor::new("shop").child(Child::task("web", web)).otel(Otel::default()).run().await
//! # }
//! ```
//!
//! A thread of its own reads the events of the tree; the threads of the OpenTelemetry SDK send what it makes of them. Their
//! queues are bounded, and what has no place in them is dropped: a receiver that is slow, hangs or is not there does not slow
//! the tree down. The log says once that nothing can be sent, and once that it is sent again.
//!
//! - `otel`: what is wanted; `settings`: where it is sent, from the standard variables; `error`: why nothing is sent
//! - `observer`: the thread; `attempts`: spans; `logs`: log records; `metrics`: the instruments
//! - `providers`: the parts of the SDK; `client`: its HTTP client; `budget`, `limits`: the bounds

mod attempts;
mod budget;
mod client;
mod error;
mod limits;
mod logs;
mod metrics;
mod observer;
mod otel;
mod providers;
mod settings;

pub use error::OtelError;
pub use observer::OtelObserver;
pub use otel::{Otel, WithOtel};
