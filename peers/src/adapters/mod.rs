//! One module for each compared supervisor, named after its crate: how it is started, queried and stopped.

mod liveoak;
mod mecha10_runtime;
mod ractor_supervisor;
mod rust_tokio_supervisor;
mod task_supervisor;
mod tokio_graceful_shutdown;

use crate::peer::Peer;

/// All compared supervisors, in the order of the page's columns.
pub(crate) const ALL: [&dyn Peer; 6] = [
    &liveoak::Liveoak,
    &task_supervisor::TaskSupervisor,
    &ractor_supervisor::Ractor,
    &rust_tokio_supervisor::RustTokio,
    &tokio_graceful_shutdown::Subsystems,
    &mecha10_runtime::Mecha10,
];
