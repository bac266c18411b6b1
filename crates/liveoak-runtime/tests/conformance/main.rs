//! What OTP's `supervisor` does over time, seen on the runtime: real tasks, paused time. `docs/conformance.md` says
//! which test belongs to which of its rows; the number in a test's name is the row's.
//!
//! * `start` – starting and the management calls, C1 to C18;
//! * `restart` – deciding about an exit and restarting, C19 to C37;
//! * `stop` – shutdown and auto-shutdown, C38 to C48;
//! * `report` – what is told of it, C51.
//!
//! `stage` has the children that write down when they begin and end.

mod report;
mod restart;
mod stage;
mod start;
mod stop;
