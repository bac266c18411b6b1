//! One module for each supervisor: how it is started, asked and stopped.

mod liveoak_here;
mod mecha10;
mod ractor;
mod rust_tokio;
mod subsystems;
mod tasks;

use crate::peer::Peer;

/// All of them, in the order of the page's columns.
pub(crate) const ALL: [&dyn Peer; 6] = [
    &liveoak_here::Here,
    &tasks::Tasks,
    &ractor::Ractor,
    &rust_tokio::RustTokio,
    &subsystems::Subsystems,
    &mecha10::Mecha10,
];
