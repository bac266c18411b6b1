//! Streams of events and of output, and their readers.

use crate::client::{Stream, get, raw};
use crate::{Served, shop, steady, storm};
use liveoak_runtime::Supervisor;
use serde_json::Value;

/// Returns the events of an answer.
fn all(body: &str) -> Vec<Value> {
    let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|text| serde_json::from_str(text).unwrap()).collect()
}

#[test]
fn the_events_begin_with_the_first_and_have_no_gaps() {
    let served = Served::new(shop()).ready();
    served.runtime.block_on(served.tree.stop_child("/shop/web")).unwrap();
    let last = served.tree.snapshot().number;
    let mut stream = Stream::open(&served.socket, "/v1/events?follow=true&since=1h", None);
    for n in 1..=last {
        let (id, event) = stream.next().unwrap();
        assert_eq!(event["n"], n, "{event}");
        assert_eq!(id, format!("{}-{n}", event["run"]));
        assert!(event["text"].as_str().unwrap().starts_with("/shop"), "{event}");
    }
}

#[test]
fn a_reader_goes_on_after_the_last_event_that_it_has_seen() {
    let served = Served::new(shop()).ready();
    let mut stream = Stream::open(&served.socket, "/v1/events?follow=true&since=1h", None);
    let (mut id, mut seen) = (String::new(), 0);
    for _ in 0..4 {
        let (next, event) = stream.next().unwrap();
        (id, seen) = (next, event["n"].as_u64().unwrap());
    }
    drop(stream);
    let mut again = Stream::open(&served.socket, "/v1/events?follow=true", Some(&id));
    assert_eq!(again.next().unwrap().1["n"], seen + 1);
    // The id of another run leads to the begin of this one.
    let mut other = Stream::open(&served.socket, "/v1/events?follow=true", Some("7-1000000"));
    assert_eq!(other.next().unwrap().1["n"], 1);
}

#[test]
fn an_id_of_a_last_event_that_is_none_is_refused() {
    let served = Served::new(shop()).ready();
    for id in ["x", "1", "1-", "-1", "1-x", "1-99999999999999999999", "\u{fc}-1", ""] {
        let request =
            format!("GET /v1/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\nlast-event-id: {id}\r\n\r\n");
        let answer = raw(&served.socket, &request);
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad-request"), "{id}");
    }
    let twice = "GET /v1/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\nlast-event-id: 1-1\r\nlast-event-id: 1-2\r\n\r\n";
    assert_eq!(raw(&served.socket, twice).code(), "bad-request");
}

#[test]
fn readers_that_read_nothing_hold_no_memory() {
    const ATTEMPTS: u64 = 30_000;
    let served = Served::new(Supervisor::new("shop").child(storm(ATTEMPTS, &"x".repeat(200))));
    let before = resident();
    let readers: Vec<_> =
        (0..50).map(|_| Stream::open(&served.socket, "/v1/events?follow=true&since=1h", None)).collect();
    let wait = served.tree.wait_for("/shop/storm", |view| view.attempt.0 == ATTEMPTS);
    served.runtime.block_on(wait).unwrap();
    // What is kept for all readers together has a bound: 8 MiB of events and their text.
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes for {} readers", readers.len());
}

/// Returns the memory of this process.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * rustix::param::page_size() as u64
}

#[test]
fn a_filter_selects_paths_and_kinds_and_the_last_of_them() {
    let served = Served::new(shop()).ready();
    let last = served.tree.snapshot().number;
    // The recorder reads the events a moment later.
    while all(&get(&served.socket, "/v1/events?last=1").body).last().and_then(|event| event["n"].as_u64())
        < Some(last)
    {}
    let ready = all(&get(&served.socket, "/v1/events?kind=ready&path=ingest/*").body);
    let paths: Vec<_> = ready.iter().map(|event| event["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/shop/ingest/kafka", "/shop/ingest/files"]);
    let last = all(&get(&served.socket, "/v1/events?kind=ready&path=ingest/*&last=1").body);
    assert_eq!(last[0]["path"], "/shop/ingest/files");
    assert!(all(&get(&served.socket, "/v1/events?since=2100-01-01T00:00:00Z").body).is_empty());
}

#[test]
fn a_stream_ends_with_the_tree() {
    let served = Served::new(shop()).ready();
    let mut stream = Stream::open(&served.socket, "/v1/events?follow=true&since=1h", None);
    let mut logs = Stream::open(&served.socket, "/v1/logs?follow=true", None);
    assert_eq!(stream.next().unwrap().1["n"], 1, "the stream has begun");
    served.tree.begin_stop();
    let mut last = Value::Null;
    while let Some((_, event)) = stream.next() {
        last = event;
    }
    assert_eq!((last["path"].as_str(), last["kind"].as_str()), (Some("/shop"), Some("exited")));
    assert!(logs.next().is_none());
}

#[test]
fn a_caller_that_has_connected_before_the_end_of_the_tree_is_answered() {
    for round in 0..20 {
        let mut served = Served::new(shop()).ready();
        // Half of the requests are sent only after the end has begun.
        let mut early: Vec<_> = (0..20).map(|_| Stream::connect(&served.socket)).collect();
        let mut streams: Vec<_> =
            (0..20).map(|_| Stream::open(&served.socket, "/v1/events?follow=true&since=1h", None)).collect();
        served.tree.begin_stop();
        for stream in &mut early {
            stream.ask("/v1/events?follow=true&since=1h", None);
        }
        served.runtime.block_on(served.tree.join());
        served.server.take().unwrap().finish(std::time::Duration::from_secs(10));
        for mut stream in streams.drain(..).chain(early) {
            let mut last = Value::Null;
            while let Some((_, event)) = stream.next() {
                last = event;
            }
            assert_eq!(
                (last["path"].as_str(), last["kind"].as_str()),
                (Some("/shop"), Some("exited")),
                "round {round}"
            );
        }
    }
}

#[test]
fn the_last_events_reach_their_reader_although_the_program_ends_the_server_with_the_tree() {
    let mut served = Served::new(shop()).ready();
    let mut stream = Stream::open(&served.socket, "/v1/events?follow=true&since=1h", None);
    assert_eq!(stream.next().unwrap().1["n"], 1, "the stream has begun");
    served.runtime.block_on(served.tree.stop());
    served.server.take().unwrap().finish(std::time::Duration::from_secs(10));
    let mut last = Value::Null;
    while let Some((_, event)) = stream.next() {
        last = event;
    }
    assert_eq!((last["path"].as_str(), last["kind"].as_str()), (Some("/shop"), Some("exited")));
}

#[test]
fn slow_readers_cost_the_tree_nothing_and_learn_exactly_how_much_they_have_missed() {
    // The storm ends by itself, after more events than are kept.
    const ATTEMPTS: u64 = 20_000;
    let served = Served::new(Supervisor::new("shop").child(steady("web")).child(storm(ATTEMPTS, "again")));
    // Fifty readers that read nothing while the storm lasts.
    let mut readers: Vec<_> =
        (0..50).map(|_| Stream::open(&served.socket, "/v1/events?follow=true&since=1h", None)).collect();
    let wait = served.tree.wait_for("/shop/storm", |view| view.attempt.0 == ATTEMPTS);
    served.runtime.block_on(wait).unwrap();
    let last = served.tree.snapshot().number;
    assert!(last > 3 * ATTEMPTS, "{last} events");
    // The others would read the same.
    for reader in readers.iter_mut().take(5) {
        let (mut next, mut lost) = (None, 0);
        while next.is_none_or(|next| next <= last) {
            let event = reader.next().unwrap().1;
            let n = event["n"].as_u64().unwrap();
            match event["kind"].as_str().unwrap() {
                "lost" => {
                    let count = event["count"].as_u64().unwrap();
                    lost += count;
                    assert!(next.is_none_or(|next| next + count == n + 1), "{next:?}, {event}");
                    next = Some(n + 1);
                }
                _ => {
                    assert!(next.is_none_or(|next| next == n), "expected {next:?}, got {event}");
                    next = Some(n + 1);
                }
            }
        }
        assert!(next > Some(last), "the last event is read, or counted as lost");
        assert!(lost > 0, "more events than are kept");
    }
}
