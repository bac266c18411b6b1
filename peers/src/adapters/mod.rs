//! One module for each compared supervisor: how it is started, queried and stopped.

mod liveoak_here;
mod mecha10;
mod ractor;
mod rust_tokio;
mod subsystems;
mod tasks;

use crate::peer::Peer;

/// All compared supervisors, in the order of the page's columns.
pub(crate) const ALL: [&dyn Peer; 6] = [
    &liveoak_here::Liveoak,
    &tasks::TaskSupervisor,
    &ractor::Ractor,
    &rust_tokio::RustTokio,
    &subsystems::Subsystems,
    &mecha10::Mecha10,
];
