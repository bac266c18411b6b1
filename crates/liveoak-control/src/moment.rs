//! The tree at an earlier moment, from the history on disk.

use crate::history::Past;
use crate::request::Request;
use crate::server::Server;
use liveoak_api::{Event, Problem, Replay, Tree};
use liveoak_journal::{JournalReader, RecordKind};
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long an answer waits until the last events can be read from the disk.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// Returns the tree as it was at a moment; `None` if the journal does not know it.
pub(crate) fn tree_at(journal: &JournalReader, at: SystemTime) -> io::Result<Option<Tree>> {
    let Some(moment) = journal.at(at)? else { return Ok(None) };
    let Some(checkpoint) = moment.checkpoint else { return Ok(None) };
    let Ok(tree) = serde_json::from_str::<Tree>(&checkpoint.record.body) else { return Ok(None) };
    let mut replay = Replay::new(tree);
    let mut is_exact = moment.is_exact;
    for entry in moment.events.filter(|entry| entry.record.record == RecordKind::Event) {
        match serde_json::from_str::<Event>(&entry.record.body) {
            Ok(event) => replay.apply(&event),
            Err(_) => is_exact = false,
        }
    }
    Ok(Some(replay.at(at, is_exact)))
}

/// Returns the tree as it was at the moment that the request asks for, if it asks for one.
pub(crate) async fn asked(server: &Arc<Server>, request: &Request) -> Result<Option<Tree>, Problem> {
    let Some(at) = request.moment("at", SystemTime::now())? else { return Ok(None) };
    let unknown =
        |why: &str| Problem::new("unknown-moment", format!("the tree at that moment is not known: {why}"));
    let recorder = Arc::clone(&server.recorder);
    let Some(Past { journal, .. }) = recorder.past.clone() else {
        return Err(unknown("there is no journal"));
    };
    let read = move || {
        if let Some(history) = recorder.history() {
            history.flush_journal(FLUSH_WITHIN);
        }
        tree_at(&journal, at)
    };
    match server.recorder.scan(read).await {
        Ok(Ok(Some(tree))) => Ok(Some(tree)),
        Ok(Ok(None)) => Err(unknown("the journal begins later")),
        Ok(Err(error)) => Err(unknown(&error.to_string())),
        Err(error) => Err(unknown(&error.to_string())),
    }
}
