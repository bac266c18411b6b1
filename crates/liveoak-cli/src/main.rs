//! The `liveoak` program.

fn main() {}
