//! Small helpers that know nothing of supervision. Every storey may use them.

pub(crate) mod lock;
pub(crate) mod race;
pub(crate) mod sync;
pub(crate) mod waker_guard;
