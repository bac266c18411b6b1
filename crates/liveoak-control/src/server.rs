//! What the handlers of requests share.

use crate::apply::Scaled;
use crate::diagnose::Watched;
use crate::limits::{REQUESTS, RUNTIME_WITHIN};
use crate::login::TcpAccess;
use crate::recorder::Recorder;
use crate::reload::Reader;
use liveoak_api::Problem;
use liveoak_runtime::{Path, TreeHandle};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) tree: TreeHandle,
    pub(crate) root: Path,
    /// The file that declares the tree, or the program that contains it.
    pub(crate) file: Option<String>,
    /// Reads the declaration of the tree again.
    pub(crate) reader: Option<Reader>,
    pub(crate) scaled: Scaled,
    pub(crate) recorder: Arc<Recorder>,
    /// What was seen of the programs and their disks so far.
    pub(crate) watched: Watched,
    /// What callers over TCP must have, if the server listens there.
    pub(crate) access: Option<Arc<TcpAccess>>,
    pub(crate) bucket: Bucket,
    /// The bucket of requests over TCP.
    pub(crate) tcp_bucket: Bucket,
}

impl Server {
    /// Returns the name of the tree.
    pub(crate) fn name(&self) -> &str {
        self.root.name()
    }

    /// Refuses to go on while code blocks the runtime of the tree. Nothing was done then.
    ///
    /// # Errors
    /// After a second, with the child that blocks the runtime, if that is known.
    pub(crate) async fn check_that_the_runtime_answers(&self) -> Result<(), Problem> {
        match tokio::time::timeout(RUNTIME_WITHIN, self.tree.runtime_answers()).await {
            // After the end there is nothing to block; the tree itself says that it has ended.
            Ok(_) => return Ok(()),
            Err(_) if self.tree.final_report().is_some() => return Ok(()),
            Err(_) => {}
        }
        let snapshot = self.tree.snapshot();
        let stuck = snapshot.nodes().find_map(|view| Some((&view.path, view.stuck.as_ref()?)));
        Err(match stuck {
            Some((path, poll)) => {
                let detail = format!("{path} blocks the runtime of the tree: {poll}");
                Problem::new("runtime-blocked", detail).path(path.to_string())
            }
            None => Problem::new(
                "runtime-blocked",
                "code blocks every thread of the runtime of the tree; no poll of a child exceeds its limit, so it is not known whose",
            ),
        })
    }
}

/// Bounds the rate of requests: a bucket that fills with time.
#[derive(Debug)]
pub(crate) struct Bucket(Mutex<(f64, Instant)>);

impl Bucket {
    pub(crate) fn new() -> Self {
        Self(Mutex::new((f64::from(REQUESTS), Instant::now())))
    }

    /// Takes one request out. Returns `false` if there are too many.
    pub(crate) fn take(&self) -> bool {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let filled = bucket.0 + now.duration_since(bucket.1).as_secs_f64() * f64::from(REQUESTS);
        *bucket = (filled.min(f64::from(REQUESTS)), now);
        let has_room = bucket.0 >= 1.0;
        if has_room {
            bucket.0 -= 1.0;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_rate_of_requests_a_request_is_refused() {
        let bucket = Bucket::new();
        let taken = (0..10 * REQUESTS).take_while(|_| bucket.take()).count();
        assert!(taken >= REQUESTS as usize, "{taken}");
        assert!(taken < 10 * REQUESTS as usize, "the bucket is empty at some time");
    }
}
