//! Records what supervisors write to `tracing` and `log`. It is compared as one of their ways to report; nothing is
//! printed.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts to record all messages of level `INFO` and above.
pub(crate) fn record() {
    let kept = tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(|| LogWriter);
    // It fails only if there is a subscriber already, and only this call sets one.
    let _ = kept.try_init();
}

/// Returns the recorded warnings and errors, line by line.
pub(crate) fn warnings() -> Vec<String> {
    let kept = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = String::from_utf8_lossy(&kept);
    let loud = |line: &&str| ["WARN", "ERROR"].iter().any(|level| line.trim_start().starts_with(level));
    lines.lines().filter(loud).map(str::to_owned).collect()
}
