//! The wire types of Liveoak's control interface, and its one route table.
//!
//! Clients and servers share this crate. It knows nothing of HTTP libraries, sockets or the machine.
//!
//! - [`ROUTES`]: every route, with what it does to the world; `openapi.json` is made of it
//! - [`Child`], [`Tree`], [`Status`], [`Explanation`], [`CheckAnswer`]: how a tree is
//! - [`Event`], [`OutputLine`]: what happens; [`Crash`]: what failed, and what was decided
//! - [`Finding`]: what is wrong in a tree
//! - [`CommandRequest`], [`CommandResult`], [`PlanStep`], [`StepOutcome`]: what a caller wants, and what came of it
//! - [`Report`]: how a tree has ended
//! - [`Login`]: how a browser gets in
//! - [`Problem`]: why a request was refused
//! - [`convert`] (feature `convert`): converts the library's values to these types; no other file does
//!
//! Rules of the wire: moments are RFC 3339 in UTC with milliseconds ([`Timestamp`]); lengths of time are seconds as numbers, in
//! fields that end in `_s`; paths are `/tree/child`. A client ignores fields that it does not know. A server refuses them.

mod child;
mod command;
#[cfg(feature = "convert")]
pub mod convert;
mod crash;
mod event;
mod explanation;
mod finding;
mod login;
#[cfg(feature = "schema")]
pub mod openapi;
mod problem;
mod replay;
mod report;
mod routes;
mod status;
mod time;

pub use child::{Check, Child, Exit, Health, State, Tree, WaitingFor};
pub use command::{
    ApplyRequest, CheckAnswer, CommandRequest, CommandResult, DownRequest, ModeRequest, Outcome, PlanStep,
    Planned, ScaleRequest, StepOutcome, WaitFor, Waited,
};
pub use crash::{Crash, Crashes};
pub use event::{EVENT_KINDS, Event, OutputLine};
pub use explanation::{
    Backoff, CommandRecord, ExitRecord, Explanation, Limit, Spec, SpecBackoff, SpecCheck, SpecEdge, SpecNeed,
    Window,
};
pub use finding::{Finding, FindingKind};
pub use login::Login;
pub use problem::{CODES, Problem};
pub use replay::Replay;
pub use report::{FirstFailure, Report, StoppedChild, TreeFailure};
pub use routes::{Answer, Impact, Method, Parameter, ROUTES, Route, route};
pub use status::{Status, TreeState};
pub use time::{Timestamp, seconds};

/// The OpenAPI document of the interface: `openapi.json` of this crate. A test holds it to [`ROUTES`] and to the types.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// The header of an answer to a command that was carried out, but is not known to be in the journal. Its value is the reason.
pub const UNRECORDED_HEADER: &str = "liveoak-unrecorded";

/// The most crashes of an answer. A request for more is refused.
pub const MAX_CRASHES: usize = 1000;

/// The most characters of a path, or a pattern of paths, in a request.
pub const MAX_PATTERN: usize = 1024;

/// Declares wire types: each can be written and read as JSON, and has a schema.
macro_rules! wire {
    ($($(#[$meta:meta])* pub $kind:tt $name:ident $body:tt)+) => {$(
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        $(#[$meta])*
        pub $kind $name $body
    )+};
}
use wire;
