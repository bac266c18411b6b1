//! A guardian: one small process that is the parent of all programs of another process, its client.
//!
//! The guardian starts programs, reports how they end, and makes sure that nothing of them is left. It goes on when its
//! client is suspended or dead: it kills the programs at a deadline, kills them when the client dies, or keeps them
//! for a successor. It is a subreaper, so a descendant of a program that left its group or session
//! (`setsid`, a double fork) becomes its child, and counts as part of the program.
//!
//! * [`Client`] starts a guardian ([`fork`](Client::fork), [`execute`](Client::execute), [`split`](Client::split)) or
//!   takes one over, sends [`Request`]s and receives [`Event`]s. It needs no executor.
//! * [`Spec`] is what a program is started with.
//! * [`serve_inherited`] is the guardian itself, for a program that executes itself.
//!
//! One thread, no allocation, no lock: a guardian that was forked from a program with threads makes system calls on
//! memory that it has mapped itself. What it decides stands in a state machine without system calls (`machine`), the
//! loop around it in `serve`. `docs/guardian.md` has the design, the failures and the figures.
//!
//! ```
//! use liveoak_guardian::{Client, Ending, Event, Spec, Stream, Succession, Tag};
//! use std::time::Duration;
//!
//! let client = Client::fork(Succession::default())?;
//! let spec = Spec::new(c"/bin/sh".into(), vec![c"sh".into(), c"-c".into(), c"exit 3".into()]);
//! client.spawn(1, &spec, [Stream::Null; 3], &[], Tag::EMPTY)?;
//! let mut code = None;
//! while code.is_none() {
//!     if let Some((Event::Exited { ending: Ending::Code(known), .. }, _)) = client.receive_within(Duration::from_secs(9))? {
//!         code = Some(known);
//!     }
//! }
//! assert_eq!(code, Some(3));
//! assert!(client.end(Duration::from_secs(9))?);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Linux 5.4 or later. A program of another user cannot be killed without the right to do so, and one that hangs in the
//! kernel (state `D`) cannot be killed at all.
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::string_slice,
        clippy::get_unwrap
    )
)]

#[cfg(not(target_os = "linux"))]
compile_error!("liveoak-guardian supports Linux only: it needs pidfds, subreapers and /proc.");

mod channel;
mod children;
mod client;
mod ending;
mod forked;
mod launch;
mod machine;
mod maps;
mod memory;
mod message;
mod os;
mod pid_set;
mod proc_path;
mod ring;
mod serve;
mod spec;
mod wire;

pub use client::{Client, Descriptors, GuardianChange, Succession, TakeOverError, listen_for_successor};
pub use ending::{Ending, Usage};
pub use forked::serve_inherited;
pub use machine::{MAX_PROGRAMS, SLOT_BITS};
pub use message::{
    Event, HeldState, MAX_TAG, NotAdopted, OnDeadline, Reach, Request, SECRET_BYTES, Secret, Step, Stream,
    Tag,
};
pub use spec::Spec;
