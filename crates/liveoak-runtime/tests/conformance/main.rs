//! Conformance with OTP's `supervisor`, on the runtime: real tasks in paused time. The number in a test's name is the row of
//! `docs/conformance.md` that the test proves.
//!
//! * `start` – starting and the management calls, C1 to C18;
//! * `restart` – decisions after an exit, and restarts, C19 to C37;
//! * `stop` – shutdown and auto-shutdown, C38 to C48;
//! * `report` – events and their severities, C51.
//!
//! `fixture` has the children of these tests, which log when their tasks begin and end.

mod fixture;
mod report;
mod restart;
mod start;
mod stop;
