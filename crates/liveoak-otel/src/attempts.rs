//! The attempts as spans.
//!
//! The span of an attempt is the root of a trace of its own: it lasts from its begin to its end, however many months that are,
//! and a trace of a whole tree would never be complete. Below it are a span of its start and one of its stop. It is linked to
//! the attempt before it, to the attempt of its supervisor, and to the attempt that made a restart set start again.
//!
//! A span is sent when it has ended. That of an attempt waits for the event that says what followed, which comes immediately.

use crate::budget::Budget;
use crate::limits::MAX_KNOWN;
use crate::logs::bounded;
use liveoak_runtime::{Attempt, Event, EventKind, Exit, Path, Snapshot, TreeHandle};
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use std::collections::HashMap;
use std::time::{Instant, SystemTime};

/// The attempts of a tree that are known: the last one of each child.
#[derive(Debug)]
pub(crate) struct Attempts {
    tracer: SdkTracer,
    of: HashMap<Path, Known>,
    /// For each supervisor that restarts a set: the attempt that failed. Until the first of the set starts.
    sets: HashMap<String, SpanContext>,
    /// For each supervisor, the last of its children that ended by itself.
    culprits: HashMap<String, SpanContext>,
    budget: Budget,
    dropped: u64,
}

/// The last attempt of a child.
#[derive(Debug)]
struct Known {
    attempt: Attempt,
    /// Until the attempt has ended and it is known what followed. `None` too if the span was dropped.
    span: Option<Span>,
    context: Option<SpanContext>,
    began: SystemTime,
    stop_began: Option<SystemTime>,
    ended: Option<SystemTime>,
    /// The attempt for whose sake this one was stopped with a restart set.
    set: Option<SpanContext>,
}

/// How the attempt that begins follows from what was before.
struct Follows {
    cause: &'static str,
    links: Vec<Link>,
}

impl Attempts {
    /// Returns the attempts of the tree as it is at the begin of the observation.
    pub(crate) fn new(tracer: SdkTracer, begin: &Snapshot, tree: &TreeHandle) -> Self {
        let mut attempts = Self {
            tracer,
            of: HashMap::new(),
            sets: HashMap::new(),
            culprits: HashMap::new(),
            budget: Budget::new(Instant::now()),
            dropped: 0,
        };
        attempts.adopt(begin, tree);
        attempts
    }

    /// Returns how many spans were dropped since the last call.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Returns the span of the last attempt of a child.
    pub(crate) fn context(&self, path: &Path) -> Option<&SpanContext> {
        self.of.get(path).and_then(|known| known.context.as_ref())
    }

    /// Follows an event that happened `at`.
    pub(crate) fn follow(&mut self, event: &Event, at: SystemTime) {
        match &event.kind {
            EventKind::Starting { attempt, restart } => {
                self.say_what_followed(&event.path, "starting");
                let follows = self.follows(&event.path, *restart);
                self.begin(event, *attempt, at, follows);
            }
            EventKind::Ready { attempt, .. } => {
                let began = self.of.get(&event.path).filter(|known| known.attempt == *attempt);
                if let Some(began) = began.map(|known| known.began) {
                    self.phase(&event.path, "start", began, at);
                }
                self.mark(event, at);
            }
            EventKind::Stopping { .. } => {
                if let Some(known) = self.of.get_mut(&event.path) {
                    known.stop_began = Some(at);
                    known.set = above(&event.path).and_then(|above| self.sets.get(above).cloned());
                }
                self.mark(event, at);
            }
            EventKind::Exited { attempt, exit, stopped_by_others, .. } => {
                self.ended(&event.path, *attempt, exit, *stopped_by_others, at);
            }
            EventKind::RestartSet { .. } => {
                let above = event.path.as_str();
                if let Some(culprit) = self.culprits.get(above) {
                    self.sets.insert(above.to_owned(), culprit.clone());
                }
                self.mark(event, at);
            }
            EventKind::Removed => {
                self.say_what_followed(&event.path, "removed");
                self.of.remove(&event.path);
                self.sets.remove(event.path.as_str());
                self.culprits.remove(event.path.as_str());
            }
            EventKind::BackingOff { .. }
            | EventKind::Waiting
            | EventKind::Stopped { .. }
            | EventKind::Finished
            | EventKind::Ignored
            | EventKind::Quarantined(_)
            | EventKind::StillRuns(_) => self.say_what_followed(&event.path, event.kind.name()),
            EventKind::Added { .. } => {}
            _ => self.mark(event, at),
        }
    }

    /// Ends the spans of attempts that have ended while events were lost, and begins those of attempts that began then.
    pub(crate) fn resume(&mut self, snapshot: &Snapshot, tree: &TreeHandle, at: SystemTime) {
        let live: HashMap<&Path, Attempt> = snapshot
            .nodes()
            .filter(|view| view.started.is_some())
            .map(|view| (&view.path, view.attempt))
            .collect();
        for (path, known) in &mut self.of {
            if live.get(path) != Some(&known.attempt) {
                known.end_unseen(at);
            }
        }
        self.of.retain(|path, _| snapshot.get(path).is_some());
        self.sets.retain(|path, _| snapshot.get(path.as_str()).is_some());
        self.culprits.retain(|path, _| snapshot.get(path.as_str()).is_some());
        self.adopt(snapshot, tree);
    }

    /// Ends all spans after the last event.
    pub(crate) fn end(&mut self, at: SystemTime) {
        for known in self.of.values_mut() {
            match (known.span.take(), known.ended) {
                (Some(mut span), Some(ended)) => span.end_with_timestamp(ended),
                (span, _) => {
                    known.span = span;
                    known.end_unseen(at);
                }
            }
        }
    }

    /// Begins the spans of attempts that run already. What they follow from is not known.
    fn adopt(&mut self, snapshot: &Snapshot, tree: &TreeHandle) {
        for view in snapshot.nodes() {
            let is_known = self.of.get(&view.path).is_some_and(|known| known.attempt == view.attempt);
            let Some(started) = view.started.filter(|_| !is_known) else { continue };
            let follows = Follows { cause: "unknown", links: self.link_above(&view.path) };
            self.open(&view.path, view.attempt, tree.to_system_time(started), follows, vec![]);
        }
    }

    fn begin(&mut self, event: &Event, attempt: Attempt, at: SystemTime, follows: Follows) {
        let mut attributes = Vec::new();
        let origin = event.origin.as_deref();
        if let Some(by) = origin.and_then(|origin| origin.by.as_ref()) {
            attributes.push(KeyValue::new("liveoak.by", by.to_string()));
        }
        if let Some(because) = origin.and_then(|origin| origin.because.as_ref()) {
            attributes.push(KeyValue::new("liveoak.because", because.to_string()));
        }
        let description = event.description.as_deref();
        if let Some(title) = description.and_then(|description| description.title.as_ref()) {
            attributes.push(KeyValue::new("liveoak.title", title.to_string()));
        }
        self.open(&event.path, attempt, at, follows, attributes);
    }

    fn open(
        &mut self,
        path: &Path,
        attempt: Attempt,
        began: SystemTime,
        follows: Follows,
        mut attributes: Vec<KeyValue>,
    ) {
        if !self.of.contains_key(path) && self.of.len() >= MAX_KNOWN {
            self.dropped += 1;
            return;
        }
        let span = self.has_room().then(|| {
            attributes.push(KeyValue::new("liveoak.path", path.to_string()));
            attributes.push(KeyValue::new("liveoak.attempt", i64::try_from(attempt.0).unwrap_or(i64::MAX)));
            attributes.push(KeyValue::new("liveoak.cause", follows.cause));
            let builder = SpanBuilder::from_name(path.to_string()).with_start_time(began);
            let builder = builder.with_attributes(attributes).with_links(follows.links);
            self.tracer.build_with_context(builder, &Context::new())
        });
        let context = span.as_ref().map(|span| span.span_context().clone());
        let known = Known { attempt, span, context, began, stop_began: None, ended: None, set: None };
        self.of.insert(path.clone(), known);
    }

    /// Returns how the attempt of a child that begins now follows from what was before, and to which attempts it is linked.
    fn follows(&mut self, path: &Path, restart: bool) -> Follows {
        let mut links = self.link_above(path);
        if let Some(above) = above(path) {
            self.sets.remove(above);
        }
        let Some(before) = self.of.get_mut(path) else { return Follows { cause: "first-start", links } };
        if let Some(context) = &before.context {
            links.push(link("previous", context));
        }
        let cause = match before.set.take() {
            _ if restart => "exit",
            Some(culprit) => {
                links.push(link("cause", &culprit));
                "restart-set"
            }
            None => "start",
        };
        Follows { cause, links }
    }

    fn link_above(&self, path: &Path) -> Vec<Link> {
        let above = above(path).and_then(|above| self.context(&Path::new(above)));
        above.map(|context| link("supervisor", context)).into_iter().collect()
    }

    fn ended(&mut self, path: &Path, attempt: Attempt, exit: &Exit, by_others: bool, at: SystemTime) {
        let Some(known) = self.of.get_mut(path).filter(|known| known.attempt == attempt) else { return };
        known.ended = Some(at);
        let stop_began = known.stop_began.take();
        if let Some(span) = &mut known.span {
            span.set_attribute(KeyValue::new("liveoak.exit.kind", exit.kind()));
            span.set_attribute(KeyValue::new("liveoak.exit", bounded(exit.to_string())));
            span.set_attribute(KeyValue::new("liveoak.stopped_by_others", by_others));
            if exit.is_failure() {
                span.set_status(Status::error(bounded(exit.to_string())));
            }
        }
        if let (Some(above), Some(context), false) = (above(path), &known.context, by_others) {
            self.culprits.insert(above.to_owned(), context.clone());
        }
        if let Some(began) = stop_began {
            self.phase(path, "stop", began, at);
        }
    }

    /// Sends the span of a part of an attempt.
    fn phase(&mut self, path: &Path, name: &'static str, began: SystemTime, at: SystemTime) {
        let Some(context) = self.context(path).cloned() else { return };
        if !self.has_room() {
            return;
        }
        let attributes = [KeyValue::new("liveoak.path", path.to_string())];
        let builder = SpanBuilder::from_name(name).with_start_time(began).with_attributes(attributes);
        let parent = Context::new().with_remote_span_context(context);
        self.tracer.build_with_context(builder, &parent).end_with_timestamp(at);
    }

    /// Adds an event to the span of the attempt that runs.
    fn mark(&mut self, event: &Event, at: SystemTime) {
        let known = self.of.get_mut(&event.path).filter(|known| known.ended.is_none());
        if let Some(span) = known.and_then(|known| known.span.as_mut()) {
            let text = bounded(liveoak_runtime::internal::event_text(event));
            span.add_event_with_timestamp(event.kind.name(), at, vec![KeyValue::new("liveoak.text", text)]);
        }
    }

    /// Ends the span of an attempt that has ended, with the event that followed.
    fn say_what_followed(&mut self, path: &Path, what: &'static str) {
        let Some(known) = self.of.get_mut(path) else { return };
        let Some(ended) = known.ended else { return };
        if let Some(mut span) = known.span.take() {
            span.set_attribute(KeyValue::new("liveoak.next", what));
            span.end_with_timestamp(ended);
        }
    }

    fn has_room(&mut self) -> bool {
        let has_room = self.budget.take(Instant::now());
        self.dropped += u64::from(!has_room);
        has_room
    }
}

impl Known {
    /// Ends the span of an attempt whose end was not seen.
    fn end_unseen(&mut self, at: SystemTime) {
        let Some(mut span) = self.span.take() else { return };
        if self.ended.is_none() {
            span.set_attribute(KeyValue::new("liveoak.end_unseen", true));
        }
        span.end_with_timestamp(self.ended.unwrap_or(at));
    }
}

fn link(what: &'static str, to: &SpanContext) -> Link {
    Link::new(to.clone(), vec![KeyValue::new("liveoak.link", what)], 0)
}

/// Returns the path of the supervisor of a child.
fn above(path: &Path) -> Option<&str> {
    path.as_str().rsplit_once('/').map(|(above, _)| above).filter(|above| !above.is_empty())
}
