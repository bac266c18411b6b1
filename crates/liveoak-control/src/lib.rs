//! The control interface of a tree: HTTP over a unix socket.

pub mod socket;
