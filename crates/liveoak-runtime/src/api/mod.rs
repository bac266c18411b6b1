//! The upper storey: what users of the crate see and call.
//!
//! * `supervisor`, `child`, `group`, `member` – the builders, and what makes the members of a group.
//! * `task`, `service` – what a child can run: closures, and services with a state of their own.
//! * `ctx`, `subtask` – what the code of a running attempt can ask, report and spawn.
//! * `tree` – the running tree: its owner, and handles for commands and for looking at it.
//! * `tree_health`, `origin` – the state and the final report of the whole tree; who gives a command, and why.
//! * `check`, `check_now` – checks of children by closures; asking all checks at once.
//! * `child_handle`, `command_plan`, `pause`, `stop`, `scale` – commands on one child and on many, and waits for children.
//! * `declared_modes`, `mode`, `mode_change`, `mode_report` – named sets of children that shall run, and the change from one
//!   to another.
//! * `apply`, `apply_run`, `body_value` – another declaration takes the place of the one that a tree runs.
//! * `output` – watching the output of programs.
//! * `pending_tree` – a handle of a tree that may not have begun yet.
//! * `scope`, `carry` – code of other libraries as code of a child; values that one attempt leaves to the next.
//! * `split`, `add` – splits builders into declarations for the machine and bodies for the engine; adds children.
//! * `main` – a whole program that runs a tree: its runtime, signals, messages and exit code.
//! * `error` – what can go wrong.

pub(crate) mod add;
pub(crate) mod apply;
pub(crate) mod apply_run;
pub(crate) mod body_value;
pub(crate) mod carry;
pub(crate) mod check;
pub(crate) mod check_now;
pub(crate) mod child;
pub(crate) mod child_handle;
pub(crate) mod command_plan;
pub(crate) mod ctx;
pub(crate) mod declared_modes;
pub(crate) mod error;
pub(crate) mod group;
pub(crate) mod main;
pub(crate) mod member;
pub(crate) mod mode;
pub(crate) mod mode_change;
pub(crate) mod mode_report;
pub(crate) mod origin;
pub(crate) mod output;
pub(crate) mod pause;
pub(crate) mod pending_tree;
pub(crate) mod scale;
pub(crate) mod scope;
pub(crate) mod service;
pub(crate) mod split;
pub(crate) mod stop;
pub(crate) mod subtask;
pub(crate) mod supervisor;
pub(crate) mod task;
pub(crate) mod tree;
pub(crate) mod tree_health;
