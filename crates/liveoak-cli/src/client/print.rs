//! Writes what a verb has to say to stdout.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde::Serialize;

use super::failure::Failure;
use crate::output::{escaped_json, stdout, stdout_while_open};

/// Writes text for people.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    Ok(stdout(text)?)
}

/// Writes one JSON value over several lines.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    // Serializing fails only for maps whose keys are not strings, and there are none.
    let json = serde_json::to_string_pretty(value).unwrap_or_default();
    text(&format!("{}\n", escaped_json(&json)))
}

/// Returns one JSON value as one line.
pub(crate) fn json_line(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).unwrap_or_default();
    format!("{}\n", escaped_json(&json))
}

/// Writes text while the reader of stdout is there. Returns `false` if it is gone. The thread of the runtime does not wait for a
/// slow reader, so that Ctrl-C has an effect.
pub(crate) async fn while_open(text: String) -> Result<bool, Failure> {
    let written = tokio::task::spawn_blocking(move || stdout_while_open(&text)).await;
    written.map_err(|error| Failure::failed(error.to_string()))?.map_err(Failure::from)
}

/// Returns when the reader of stdout has closed its end. A verb that has nothing to print would not notice it otherwise.
/// Never returns if stdout is a file, or if the system cannot tell.
pub(crate) async fn closed() {
    let watch = || {
        loop {
            // Without any event that is asked for, the system tells of errors and hang-ups only.
            let mut fds = [PollFd::from_borrowed_fd(rustix::stdio::stdout(), PollFlags::empty())];
            match poll(&mut fds, None) {
                Err(Errno::INTR) => {}
                polled => {
                    return polled.is_ok() && fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP);
                }
            }
        }
    };
    // The thread may wait until the end of the program.
    match tokio::task::spawn_blocking(watch).await {
        Ok(true) => {}
        _ => std::future::pending().await,
    }
}
