//! See and steer a running tree from outside: HTTP/1.1 over a unix socket, and over TCP if asked for.
//!
//! One line turns it on:
//!
//! ```no_run
//! use liveoak_control::{Control, Controlled as _};
//! use liveoak_runtime::{Child, Ctx, Supervisor};
//!
//! # async fn web(ctx: Ctx) { ctx.stopping().await }
//! # async fn example() -> Result<(), liveoak_runtime::Error> {
//! Supervisor::new("shop").child(Child::task("web", web)).control(Control::default()).run().await
//! # }
//! ```
//!
//! The server has a thread and a runtime of its own, so it answers also when every thread of the program's runtime is blocked.
//! It reads snapshots and gives commands like any other user of a
//! [`TreeHandle`](liveoak_runtime::TreeHandle); it decides nothing about the tree.
//!
//! - `control`: the settings, and the thread; `serve` accepts connections; `server` is what handlers share
//! - `bind`, `lock`, `socket`: where the socket is, and who may use it; `tcp`, `token`: the same for TCP
//! - `routes`: finds the handler of a request in the route table; `request`, `answer`: its parts
//! - `read`, `command`, `stream`, `health`, `metrics`: the handlers
//! - `state`: where a tree keeps what outlives it; `limits`: the bounds of the server
//! - `recorder`, `ring`: the last events and lines of output, for any number of readers

mod answer;
mod bind;
mod command;
mod control;
mod health;
mod limits;
mod lock;
mod metrics;
mod read;
mod recorder;
mod request;
mod ring;
mod routes;
mod serve;
mod server;
pub mod socket;
mod state;
mod stream;
mod tcp;
mod token;

pub use bind::{BindError, file_of, socket_of};
pub use control::{Control, ControlError, ControlServer, Controlled, OpenControl};
pub use state::state_folder;
