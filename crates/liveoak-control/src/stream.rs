//! Streams of server-sent events: the events of the tree, and the output of its programs.
//!
//! A stream holds its place, in memory or on disk, and no entries. So any number of slow readers costs the tree nothing, and each
//! learns exactly how much it has missed.

use crate::answer::{self, Answer};
use crate::limits::{BATCH, KEEP_ALIVE};
use crate::past::{PastBegin, PastReader, Piece};
use crate::place::{self, InMemory, Place, Wish};
use crate::request::{Request, nearest};
use crate::ring::Entry;
use crate::sequence::Sequence;
use crate::server::Server;
use crate::source::{EventSource, LineSource, Source};
use hyper::body::Bytes;
use hyper::header::HeaderName;
use liveoak_api::{EVENT_KINDS, Problem};
use liveoak_journal::RecordId;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::mpsc;

/// The header with which a reader continues after the last entry that it has.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Answers with the events of the tree.
pub(crate) async fn events(server: &Arc<Server>, request: &Request) -> Result<Answer, Problem> {
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
    begin(EventSource { server: Arc::clone(server), paths, kinds }, request).await
}

/// Answers with the output of the programs.
pub(crate) async fn logs(server: &Arc<Server>, request: &Request) -> Result<Answer, Problem> {
    let paths = request.pattern("path", server.name())?;
    begin(LineSource { server: Arc::clone(server), paths }, request).await
}

/// Begins a stream at the place that the request asks for.
async fn begin(source: impl Source, request: &Request) -> Result<Answer, Problem> {
    let wish = Wish {
        follow: request.flag("follow")?,
        since: request.moment("since", SystemTime::now())?,
        last: request.count("last")?,
        after: request.header(&LAST_EVENT_ID)?.map(id).transpose()?,
    };
    if !wish.is_from_now() {
        // What a caller has seen of the tree before is among its events.
        source.server().recorder.catch_up(&source.server().tree).await;
    }
    let place = Place::new(&source, wish).await;
    // What happens after this moment is not part of an answer that ends.
    let until = if wish.follow { u64::MAX } else { source.ring().next() };
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(run(Stream { source: Arc::new(source), until, sender }, place));
    Ok(answer::stream(receiver))
}

/// Reads the id `RUN-n`.
fn id(text: &str) -> Result<RecordId, Problem> {
    text.parse().map_err(|_| {
        Problem::new("bad-request", format!("Last-Event-ID is {text:?}"))
            .expected("RUN-n, the id of an event")
    })
}

/// A stream that is being written.
struct Stream<S> {
    source: Arc<S>,
    /// The number of this run at which it ends.
    until: u64,
    sender: mpsc::Sender<Bytes>,
}

/// Writes entries until the stream ends or its reader has gone. A reader that memory cannot serve any more goes on with the disk.
async fn run<S: Source>(stream: Stream<S>, mut place: Place) {
    loop {
        let next = match place {
            Place::Memory(place) => stream.read_memory(place).await.map(Place::Disk),
            Place::Disk(begin) => stream.read_disk(begin).await.map(Place::Memory),
            Place::Last { count, since } => stream.find_last(count, since).await,
        };
        match next {
            Some(next) => place = next,
            None => return,
        }
    }
}

impl<S: Source> Stream<S> {
    fn run(&self) -> u64 {
        self.source.server().recorder.run
    }

    /// Returns the place of the last entries.
    async fn find_last(&self, count: usize, since: Option<SystemTime>) -> Option<Place> {
        let source = Arc::clone(&self.source);
        let find = move || place::last_on_disk(&*source, count, since);
        let on_disk = self.source.server().recorder.scan(find).await;
        match on_disk.ok()? {
            Some(place) => Some(place),
            None => Some(place::last_in_memory(&*self.source, count, since).await),
        }
    }

    /// Writes what memory has from a place on. Returns where the disk has what memory does not have any more.
    async fn read_memory(&self, place: InMemory) -> Option<PastBegin> {
        let InMemory { mut from, mut counts_missed, mut is_after_disk } = place;
        let has_past = self.source.server().recorder.past.is_some();
        let mut changes = self.source.ring().changes();
        loop {
            let ended = changes.borrow_and_update().1;
            let batch = self.source.ring().read(from, BATCH);
            let mut out = String::new();
            if batch.missed > 0 && counts_missed && from < self.until {
                if has_past && !is_after_disk {
                    return Some(PastBegin::After(RecordId { run: self.run(), n: from.saturating_sub(1) }));
                }
                let last = RecordId { run: self.run(), n: from + batch.missed - 1 };
                self.source.gap(last, batch.missed, &mut out);
            }
            // From now on, what is dropped before it is read is missed, or read from the disk.
            (counts_missed, is_after_disk) = (true, false);
            for entry in batch.entries.iter().filter(|entry| entry.first < self.until) {
                self.write(entry, from, &mut out);
            }
            from = batch.next;
            if !out.is_empty() {
                self.sender.send(out.into()).await.ok()?;
            }
            if !batch.entries.is_empty() && from < self.until {
                // A filter that nothing passes must not keep others waiting.
                tokio::task::yield_now().await;
                continue;
            }
            if ended || from >= self.until {
                return None;
            }
            tokio::select! {
                changed = changes.changed() => changed.ok()?,
                () = self.sender.closed() => return None,
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    self.sender.send(Bytes::from_static(b": still here\n\n")).await.ok()?;
                }
            }
        }
    }

    /// Writes one entry, if it is wanted.
    fn write(&self, entry: &Entry<S::Value>, from: u64, out: &mut String) {
        let id = RecordId { run: self.run(), n: entry.last };
        match &entry.value {
            None => self.source.gap(id, entry.last + 1 - entry.first.max(from), out),
            Some(value) if self.source.wanted(value) => {
                // Writing to a string does not fail.
                let _ = write!(out, "id: {id}\ndata: ");
                self.source.json(entry.last, value, out);
                out.push_str("\n\n");
            }
            Some(_) => {}
        }
    }

    /// Writes what the disk has from a place on, up to what memory has. Returns where that is.
    async fn read_disk(&self, begin: PastBegin) -> Option<InMemory> {
        let ring = self.source.ring();
        let mut reader = self.open(begin).await?;
        let mut before = None;
        loop {
            let end = RecordId { run: self.run(), n: ring.first().min(self.until) };
            let source = Arc::clone(&self.source);
            let read = move || {
                let piece = reader.as_mut().map(|reader| reader.read(&*source, end));
                (reader, piece)
            };
            // The thread may wait for the disk. The server does not.
            let (again, piece) = tokio::task::spawn_blocking(read).await.ok()?;
            reader = again;
            let piece = piece.unwrap_or(Piece { text: String::new(), is_at_end: true });
            if !piece.text.is_empty() {
                self.sender.send(piece.text.into()).await.ok()?;
            } else if self.sender.is_closed() {
                return None;
            }
            if !piece.is_at_end {
                continue;
            }
            let seen = reader.as_ref().map(|reader| reader.seen).unwrap_or_default();
            let place = self.after_disk(seen, begin).await;
            // Memory may have moved on meanwhile. If the disk has no more, the rest is missed.
            if ring.first() <= place.from || place.from >= self.until || before == Some(place) {
                return Some(place);
            }
            before = Some(place);
        }
    }

    /// Opens the history on disk. The inner value is `None` if the disk refuses; then memory has to do.
    async fn open(&self, begin: PastBegin) -> Option<Option<PastReader>> {
        let source = Arc::clone(&self.source);
        let open = move || {
            let walk = source.walk(source.server().recorder.past.as_ref()?, begin).ok()?;
            Some(PastReader::new(walk, begin))
        };
        tokio::task::spawn_blocking(open).await.ok()
    }

    /// Returns where memory continues what was read from the disk.
    async fn after_disk(&self, seen: Sequence, begin: PastBegin) -> InMemory {
        let ring = self.source.ring();
        let (from, counts_missed) = match (seen.next_of(self.run()), begin) {
            (Some(next), _) => (next, true),
            (None, PastBegin::From(since)) if seen == Sequence::default() => {
                (ring.first_where(|value| self.source.at(value) >= since).await, false)
            }
            (None, _) => (ring.begin(), true),
        };
        InMemory { from, counts_missed, is_after_disk: true }
    }
}
