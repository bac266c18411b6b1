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
//! - `control`: what is wanted, and the thread; `serve` accepts connections; `server` is what handlers share
//! - `connection`: bounds connections, and serves one; `refusal`: makes problems of what hyper refuses by itself
//! - `bind`, `lock`, `socket`: where the socket is, and who may use it; `tcp`, `token`, `login`: the same for TCP, and for browsers
//! - `routes`: finds the handler of a request in the route table; `request`, `answer`: its parts
//! - `read`, `command`, `apply`, `stream`, `crashes`, `health`, `metrics`: the handlers
//! - `reload`: how the declaration of the tree is read again
//! - `diagnose`: what is wrong in the tree; `moment`: the tree as it was
//! - `state`: where a tree keeps what outlives it
//! - `fuzzing` (for tests): what holds for any request
//! - `recorder`, `ring`: the last events and lines of output, for any number of readers
//! - `tails`: the last lines of each attempt that runs
//! - `history`: what is kept on disk; `source`, `place`, `past`, `sequence`: what a stream shows, where it begins, and how it reads
//!   from the disk; `past_tree`: the same without a server

mod answer;
mod apply;
mod bind;
mod command;
mod connection;
mod control;
mod crashes;
mod diagnose;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod health;
mod history;
mod limits;
mod lock;
mod login;
mod metrics;
mod moment;
mod past;
mod past_tree;
mod place;
mod read;
mod recorder;
mod refusal;
mod reload;
mod request;
mod ring;
mod routes;
mod sequence;
mod serve;
mod server;
pub mod socket;
mod source;
mod state;
mod stream;
mod tails;
mod tcp;
mod token;

pub use bind::{BindError, file_of, socket_of};
pub use control::{Control, ControlError, ControlServer, Controlled, OpenControl};
pub use past_tree::{PastError, PastTree};
pub use reload::ReloadError;
pub use state::state_folder;
