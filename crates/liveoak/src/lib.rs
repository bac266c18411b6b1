//! One supervision tree for Rust, from a task to a fleet.

pub use liveoak_runtime::*;

/// Programs as children: commands, signals, probes and their output.
#[cfg(feature = "process")]
pub mod process {
    pub use liveoak_process::*;
}

/// What `main` returns when it runs a tree: `async fn main() -> liveoak::Result`.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Everything that a program with a tree needs by name.
pub mod prelude {
    #[cfg(feature = "process")]
    pub use liveoak_process::{Probe, ProcessChild};
    pub use liveoak_runtime::{
        AutoShutdown, Backoff, Child, Condition, Ctx, Exit, GiveUp, Group, GroupHandle, Health, Init, Limit,
        Order, Place, Restart, Service, Strategy, Supervisor, Tree, TreeHandle,
    };
}
