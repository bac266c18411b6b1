//! The handler of `/v1/crashes`: the attempts that failed by themselves, from the history on disk and from memory.

use crate::limits::LAST_CRASHES;
use crate::request::Request;
use crate::server::Server;
use liveoak_api::{Crash, Crashes, Event, MAX_CRASHES, Problem};
use liveoak_journal::{RecordFilter, RecordId};
use liveoak_runtime::{Glob, Path};
use std::sync::Arc;
use std::time::SystemTime;

/// Which crashes are wanted.
#[derive(Debug)]
struct Wanted {
    paths: Option<Glob>,
    since: Option<SystemTime>,
}

impl Wanted {
    fn wants(&self, event: &Event) -> bool {
        let is_late = self.since.is_none_or(|since| event.at.is_some_and(|at| at.0 >= since));
        let path = event.path.as_deref().unwrap_or_default();
        is_late && self.paths.as_ref().is_none_or(|paths| paths.matches(&Path::new(path)))
    }
}

/// Returns the last crashes that are wanted.
pub(crate) async fn list(server: &Arc<Server>, request: &Request) -> Result<Vec<Crash>, Problem> {
    let wanted = Wanted {
        paths: request.pattern("path", server.name())?,
        since: request.moment("since", SystemTime::now())?,
    };
    let most = request.count("last")?.unwrap_or(LAST_CRASHES);
    if most > MAX_CRASHES {
        let problem = Problem::new("bad-request", format!("the parameter last is {most}"));
        return Err(problem.expected(format!("at most {MAX_CRASHES}")));
    }
    let of = Arc::clone(server);
    let read = server.recorder.scan(move || read(&of, &wanted, most)).await;
    read.map_err(|error| Problem::new("busy", format!("the history could not be read: {error}")))
}

fn read(server: &Server, wanted: &Wanted, most: usize) -> Vec<Crash> {
    let recorder = &server.recorder;
    let mut crashes = Crashes::new(most);
    let mut seen = None;
    let entries = recorder.past.as_ref().and_then(|past| {
        let events = RecordFilter::new().events();
        match wanted.since {
            Some(since) => past.journal.entries_from(since, events).ok(),
            None => past.journal.entries(events).ok(),
        }
    });
    for entry in entries.into_iter().flatten() {
        seen = seen.max(Some(entry.id()));
        let record = &entry.record;
        if crashes.wants(&record.kind, &record.path)
            && let Ok(event) = serde_json::from_str::<Event>(&record.body)
        {
            crashes.event(&event, |_| wanted.wants(&event));
        }
    }
    // What the disk does not have, or not yet.
    let mut next = match seen {
        Some(RecordId { run, n }) if run == recorder.run => n + 1,
        _ => recorder.events.begin(),
    };
    loop {
        let batch = recorder.events.read(next, crate::limits::BATCH);
        if batch.entries.is_empty() {
            return crashes.into_vec();
        }
        next = batch.next;
        for kept in batch.entries.iter().filter_map(|entry| entry.value.as_ref()) {
            if crashes.wants(kept.event.kind.name(), kept.event.path.as_str())
                && let Ok(event) = serde_json::from_str::<Event>(kept.json(&server.tree, recorder.run))
            {
                crashes.event(&event, |_| wanted.wants(&event));
            }
        }
    }
}
