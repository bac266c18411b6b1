//! Streams of server-sent events: the events of the tree, and the output of its programs.
//!
//! A stream holds its place in a ring, and no entries. So any number of slow readers costs the tree nothing, and each learns
//! exactly how much it has missed.

use crate::answer::{self, Answer};
use crate::limits::{BATCH, KEEP_ALIVE};
use crate::recorder::{KeptEvent, KeptLine};
use crate::request::{Request, nearest};
use crate::ring::{Entry, Ring};
use crate::server::Server;
use hyper::body::Bytes;
use hyper::header::HeaderName;
use liveoak_api::{EVENT_KINDS, Event, OutputLine, Problem, Timestamp};
use liveoak_runtime::Glob;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::mpsc;

/// The header with which a reader continues after the last entry that it has.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A source of entries, and how one of them is written.
trait Source: Send + Sync + 'static {
    type Value: Send + Sync + 'static;

    fn ring(&self) -> &Ring<Self::Value>;
    fn wanted(&self, value: &Self::Value) -> bool;
    fn at(value: &Self::Value, server: &Server) -> SystemTime;
    /// Writes an entry as JSON on one line.
    fn json(&self, number: u64, value: &Self::Value, out: &mut String);
    /// Writes a gap that ends with `last`.
    fn gap(&self, last: u64, count: u64, out: &mut String);
    fn server(&self) -> &Arc<Server>;
}

/// Answers with the events of the tree.
pub(crate) fn events(server: &Arc<Server>, request: &Request) -> Result<Answer, Problem> {
    let mut kinds = Vec::new();
    for kind in request.parameter("kind").unwrap_or_default().split(',').filter(|kind| !kind.is_empty()) {
        let Some(known) = EVENT_KINDS.iter().find(|known| **known == kind) else {
            let problem = Problem::new("bad-request", format!("there is no kind of event {kind:?}"));
            let near = nearest(kind, EVENT_KINDS.iter().copied());
            return Err(problem.expected(EVENT_KINDS.join(", ")).near_miss(near));
        };
        kinds.push(*known);
    }
    let paths = request.pattern("path", server.name())?;
    begin(EventSource { server: Arc::clone(server), paths, kinds }, request)
}

/// Answers with the output of the programs.
pub(crate) fn logs(server: &Arc<Server>, request: &Request) -> Result<Answer, Problem> {
    let paths = request.pattern("path", server.name())?;
    begin(LineSource { server: Arc::clone(server), paths }, request)
}

/// Begins a stream at the place that the request asks for.
fn begin(source: impl Source, request: &Request) -> Result<Answer, Problem> {
    let follow = request.flag("follow")?;
    let since = request.moment("since", SystemTime::now())?;
    let last = request.count("last")?;
    let ring = source.ring();
    let after = request.header(&LAST_EVENT_ID).map(|id| number_after(id, source.server().recorder.run));
    let from = match (after, since, last) {
        // If the id is larger than the last number, the stream begins with the next entry.
        (Some(after), ..) => after?.min(ring.next()),
        (None, None, None) => {
            if follow {
                ring.next()
            } else {
                1
            }
        }
        (None, since, last) => {
            let server = source.server();
            let since =
                since.map_or(1, |since| ring.first_where(|value| at_of(&source, value, server) >= since));
            let last = last.map_or(1, |count| ring.last_where(count, |value| source.wanted(value)));
            since.max(last)
        }
    };
    // Without `follow`, the answer has only the entries up to now.
    let until = if follow { u64::MAX } else { ring.next() };
    let (sender, receiver) = mpsc::channel(2);
    // If a reader asks for the last entries, or for those from a moment on, earlier entries do not count as missed.
    let counts_missed = after_is_given(request) || (since.is_none() && last.is_none() && !follow);
    tokio::spawn(run(source, Range { from, until, counts_missed }, sender));
    Ok(answer::stream(receiver))
}

fn after_is_given(request: &Request) -> bool {
    request.header(&LAST_EVENT_ID).is_some()
}

fn at_of<S: Source>(_: &S, value: &S::Value, server: &Server) -> SystemTime {
    S::at(value, server)
}

/// Returns the number after the id `RUN-n`. After the id of another run, all of this run is read.
fn number_after(id: &str, run: u64) -> Result<u64, Problem> {
    let parts =
        id.split_once('-').and_then(|(run, n)| Some((run.parse::<u64>().ok()?, n.parse::<u64>().ok()?)));
    match parts {
        Some((of, n)) if of == run => Ok(n.saturating_add(1)),
        Some(_) => Ok(1),
        None => Err(Problem::new("bad-request", format!("Last-Event-ID is {id:?}"))
            .expected("RUN-n, the id of an event")),
    }
}

/// Where a stream begins and ends.
struct Range {
    from: u64,
    until: u64,
    /// `true` if entries that are not kept any more count as missed.
    counts_missed: bool,
}

/// Writes entries until the stream ends or its reader has gone.
async fn run<S: Source>(source: S, range: Range, sender: mpsc::Sender<Bytes>) {
    let Range { mut from, until, mut counts_missed } = range;
    let mut changes = source.ring().changes();
    loop {
        let ended = changes.borrow_and_update().1;
        let batch = source.ring().read(from, BATCH);
        let mut out = String::new();
        if batch.missed > 0 && counts_missed {
            source.gap(from + batch.missed - 1, batch.missed, &mut out);
        }
        // From now on, what is dropped before it is read is missed.
        counts_missed = true;
        for entry in batch.entries.iter().filter(|entry| entry.first < until) {
            write(&source, entry, from, &mut out);
        }
        from = batch.next;
        if !out.is_empty() && sender.send(out.into()).await.is_err() {
            return;
        }
        if !batch.entries.is_empty() && from < until {
            continue;
        }
        if ended || from >= until {
            return;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = sender.closed() => return,
            () = tokio::time::sleep(KEEP_ALIVE) => {
                if sender.send(Bytes::from_static(b": still here\n\n")).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Writes one entry, if it is wanted.
fn write<S: Source>(source: &S, entry: &Entry<S::Value>, from: u64, out: &mut String) {
    match &entry.value {
        None => source.gap(entry.last, entry.last + 1 - entry.first.max(from), out),
        Some(value) if source.wanted(value) => {
            // Writing to a string does not fail.
            let _ = write!(out, "id: {}-{}\ndata: ", source.server().recorder.run, entry.last);
            source.json(entry.last, value, out);
            out.push_str("\n\n");
        }
        Some(_) => {}
    }
}

struct EventSource {
    server: Arc<Server>,
    paths: Option<Glob>,
    /// Empty for all.
    kinds: Vec<&'static str>,
}

impl Source for EventSource {
    type Value = KeptEvent;

    fn ring(&self) -> &Ring<KeptEvent> {
        &self.server.recorder.events
    }

    fn wanted(&self, value: &KeptEvent) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&value.event.kind.name()))
            && self.paths.as_ref().is_none_or(|paths| paths.matches(&value.event.path))
    }

    fn at(value: &KeptEvent, server: &Server) -> SystemTime {
        server.tree.to_system_time(value.event.at)
    }

    fn json(&self, _: u64, value: &KeptEvent, out: &mut String) {
        out.push_str(value.json(&self.server.tree, self.server.recorder.run));
    }

    fn gap(&self, last: u64, count: u64, out: &mut String) {
        let run = self.server.recorder.run;
        write_gap(run, last, &Event::lost(run, last + 1, count), out);
    }

    fn server(&self) -> &Arc<Server> {
        &self.server
    }
}

struct LineSource {
    server: Arc<Server>,
    paths: Option<Glob>,
}

impl Source for LineSource {
    type Value = KeptLine;

    fn ring(&self) -> &Ring<KeptLine> {
        &self.server.recorder.lines
    }

    fn wanted(&self, value: &KeptLine) -> bool {
        self.paths.as_ref().is_none_or(|paths| paths.matches(&value.path))
    }

    fn at(value: &KeptLine, _: &Server) -> SystemTime {
        value.at
    }

    fn json(&self, number: u64, value: &KeptLine, out: &mut String) {
        let line = value.to_wire(self.server.recorder.run, number);
        out.push_str(&serde_json::to_string(&line).unwrap_or_default());
    }

    fn gap(&self, last: u64, count: u64, out: &mut String) {
        let run = self.server.recorder.run;
        let lost = OutputLine {
            run,
            n: last,
            at: Timestamp(SystemTime::now()),
            path: None,
            attempt: None,
            stream: "lost".to_owned(),
            line: format!("{count} lines were lost here"),
            count: Some(count),
        };
        write_gap(run, last, &lost, out);
    }

    fn server(&self) -> &Arc<Server> {
        &self.server
    }
}

fn write_gap(run: u64, last: u64, gap: &impl serde_core::Serialize, out: &mut String) {
    let json = serde_json::to_string(gap).unwrap_or_default();
    let _ = write!(out, "id: {run}-{last}\ndata: {json}\n\n");
}
