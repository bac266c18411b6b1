//! Keeps what supervisors write to `tracing` and `log`.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Keep;

impl Write for Keep {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// From now on, all that is written with at least the level of information is kept.
pub(crate) fn keep() {
    let kept = tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(|| Keep);
    // A second subscriber cannot be installed; the first is this one.
    let _ = kept.try_init();
}

/// What was kept, line by line; without what is only information.
pub(crate) fn warnings() -> Vec<String> {
    let kept = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = String::from_utf8_lossy(&kept);
    let loud = |line: &&str| ["WARN", "ERROR"].iter().any(|level| line.trim_start().starts_with(level));
    lines.lines().filter(loud).map(str::to_owned).collect()
}
