//! The middle storey: the machine behind one lock, and its effects.
//!
//! * `driver` – one running tree: takes inputs, performs effects. Begin reading here.
//! * `state` – what the lock protects: the machine, and what each child runs.
//! * `action` – turns effects into actions, in batches.
//! * `replies` – the answers that callers wait for.
//! * `timer_task`, `watchdog` – the task that keeps the deadlines, and the thread that keeps them when the task cannot.
//! * `events`, `outbox` – the event stream.
//! * `error_keep_alive` – keeps the destructors of the user's errors away from the lock.
//! * `ended`, `teardown` – how a tree ended, and what happens at its end.
//! * `clock`, `paged_vec` – the tree's time; a vector that never moves its entries.
//!
//! This folder uses `attempt`, and nothing of `api`.

pub(crate) mod action;
pub(crate) mod clock;
pub(crate) mod driver;
pub(crate) mod ended;
pub(crate) mod error_keep_alive;
pub(crate) mod events;
pub(crate) mod outbox;
pub(crate) mod paged_vec;
pub(crate) mod replies;
pub(crate) mod state;
pub(crate) mod teardown;
pub(crate) mod timer_task;
pub(crate) mod watchdog;
