//! The middle storey: the machine behind one lock, and its effects.
//!
//! * `driver` – one running tree: takes inputs, performs effects, ends. Begin reading here.
//! * `state` – what the lock protects: the machine, what each child runs, and the callers that wait for answers.
//! * `action` – turns effects into actions, in batches.
//! * `timer_task`, `watchdog` – the task that keeps the deadlines, and the thread that keeps them when the task cannot.
//! * `poll_limits` – how many attempts live with each poll limit.
//! * `poll_watch` – the thread that sees polls which take too long.
//! * `ended` – how a tree ended.
//! * `checks` – the open tries of checks.
//! * `snapshot` – snapshots, taken without a long hold of the lock.
//! * `events`, `outbox`, `pids` – the event stream, and the process ids in the lines of the log.
//! * `ending` – the end of a tree, and what a stop waits for in addition to attempts.
//! * `failure` – the end of a tree whose machine or driver has panicked.
//! * `drops`, `drop_threads`, `kept_error` – where values of children that are over, and errors, are dropped; the errors of
//!   exits that keep them.
//! * `watch` – waits for the end of an attempt, for readiness, and for any state of a child.
//! * `event_filter` – which events a reader wants.
//! * `event_line` – the line of the log for each event.
//! * `processes` – which processes the attempts of programs run as.
//! * `output` – the output of programs, for an observer of the tree.
//! * `run_hold` – what a run waits for after the end of its tree.
//! * `carried` – values that one attempt leaves to the next.
//! * `modes` – the modes of a tree, and which of them is in force.
//! * `heartbeat` – the answers to heartbeat checks.
//! * `command`, `requests` – commands on one child, and the callers that wait for their answers.
//! * `clock`, `paged_vec` – the tree's time; a vector that never moves its entries.

pub(crate) mod action;
pub(crate) mod carried;
pub(crate) mod checks;
pub(crate) mod clock;
pub(crate) mod command;
pub(crate) mod driver;
pub(crate) mod drop_threads;
pub(crate) mod drops;
pub(crate) mod ended;
pub(crate) mod ending;
pub(crate) mod event_filter;
pub(crate) mod event_line;
pub(crate) mod events;
pub(crate) mod failure;
pub(crate) mod heartbeat;
pub(crate) mod kept_error;
pub(crate) mod modes;
pub(crate) mod outbox;
pub(crate) mod output;
pub(crate) mod paged_vec;
pub(crate) mod pids;
pub(crate) mod poll_limits;
pub(crate) mod poll_watch;
pub(crate) mod processes;
pub(crate) mod requests;
pub(crate) mod run_hold;
pub(crate) mod snapshot;
pub(crate) mod state;
pub(crate) mod timer_task;
pub(crate) mod watch;
pub(crate) mod watchdog;
