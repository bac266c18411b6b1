//! `events`, `logs`, `attach`, against canned streams.

use std::sync::atomic::{AtomicU32, Ordering};

use liveoak::api::Event;
use rustix::process::Signal;

use crate::canned::{event, line, shop, sse};
use crate::fake::{Reply, Request};
use crate::support::Home;

/// Returns the query of a stream, if a request is for one.
fn stream_query<'a>(request: &'a Request, route: &str) -> Option<&'a str> {
    request.path.strip_prefix(route)?.strip_prefix('?')
}

#[test]
fn events_are_one_json_object_a_line_and_a_gap_is_told() {
    let home = Home::new();
    let shop = shop(&home, |request| {
        stream_query(request, "/v1/events")?;
        let events = [
            (4, Event::lost(7, 5, 4)),
            (5, event(5, "/shop/api", "starting")),
            (6, Event { by: Some("ops".to_owned()), ..event(6, "/shop/api", "stopping") }),
        ];
        Some(Reply::Stream(format!(": hello\n\n{}", sse(&events))))
    });
    let ran = home
        .run(&["events", "--json", "--path", "api", "--kind", "starting,stopping", "-n", "20"])
        .with_code(0);
    let lines: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["kind"], &lines[0]["count"]), (&"lost".into(), &4.into()));
    assert_eq!((&lines[2]["run"], &lines[2]["n"], &lines[2]["by"]), (&7.into(), &6.into(), &"ops".into()));
    let asked = shop.requests().pop().expect("a request").path;
    assert_eq!(asked, "/v1/events?kind=starting%2Cstopping&path=api&last=20&follow=false");
    let text = home.run(&["events"]).with_code(0).stdout;
    assert_eq!(
        text,
        "4 events were lost here\n2026-01-31T12:00:00.000Z /shop/api: starting\n\
         2026-01-31T12:00:00.000Z /shop/api: stopping (by ops)\n"
    );
}

#[test]
fn a_followed_stream_that_breaks_goes_on_after_the_last_event_and_ends_with_the_tree() {
    let home = Home::new();
    let nth = AtomicU32::new(0);
    let shop = shop(&home, move |request| {
        stream_query(request, "/v1/events")?;
        Some(match nth.fetch_add(1, Ordering::Relaxed) {
            0 => {
                Reply::Broken(sse(&[(1, event(1, "/shop/a", "starting")), (2, event(2, "/shop/a", "ready"))]))
            }
            _ => Reply::Stream(sse(&[(3, event(3, "/shop/a", "exited"))])),
        })
    });
    let ran = home.run(&["events", "-f", "--json"]).with_code(0);
    let ran = ran.says(&["the connection broke; going on from there", "the tree has ended"]);
    let numbers: Vec<u64> =
        ran.stdout.lines().map(|line| serde_json::from_str::<Event>(line).expect("an event").n).collect();
    assert_eq!(numbers, [1, 2, 3]);
    let streams: Vec<Request> =
        shop.requests().into_iter().filter(|request| request.path.starts_with("/v1/events")).collect();
    assert_eq!(streams[0].path, "/v1/events?last=10&follow=true");
    assert_eq!(streams[0].last_event_id, None);
    assert_eq!(streams[1].last_event_id.as_deref(), Some("7-2"));
}

#[test]
fn a_stream_that_breaks_and_is_not_followed_is_an_error() {
    let home = Home::new();
    let _shop = shop(&home, |request| {
        stream_query(request, "/v1/events")?;
        Some(Reply::Broken(sse(&[(1, event(1, "/shop/a", "starting"))])))
    });
    let ran = home.run(&["events"]).with_code(1).says(&["the connection to /v1/events at", "broke"]);
    assert!(ran.stdout.contains("/shop/a: starting"));
}

#[test]
fn a_followed_stream_ends_with_an_error_when_its_tree_is_killed() {
    let home = Home::new();
    let socket = home.socket("shop");
    let _shop = shop(&home, move |request| {
        stream_query(request, "/v1/logs")?;
        let _ = std::fs::remove_file(&socket);
        Some(Reply::Broken(sse(&[(1, line(1, "/shop/a", "last words"))])))
    });
    let ran = home.run(&["logs", "-f"]).with_code(1);
    let ran = ran
        .says(&["nothing listens at the socket any more", "the tree has ended, or its process was killed"]);
    assert_eq!(ran.stdout, "/shop/a | last words\n");
}

#[test]
fn a_stream_that_always_breaks_is_given_up() {
    let home = Home::new();
    let shop = shop(&home, |request| {
        stream_query(request, "/v1/events")?;
        Some(Reply::Broken(": hello\n\n".to_owned()))
    });
    home.run(&["events", "-f"]).with_code(1);
    let tries = shop.requests().iter().filter(|request| request.path.starts_with("/v1/events")).count();
    assert_eq!(tries, 6);
}

#[test]
fn logs_of_several_children_are_filtered_here_and_a_supervisor_stands_for_all_below_it() {
    let home = Home::new();
    let shop = shop(&home, |request| {
        stream_query(request, "/v1/logs")?;
        let lines = [
            (1, line(1, "/shop/api", "one")),
            (2, line(2, "/shop/db", "not wanted")),
            (3, line(3, "/shop/ingest/kafka", "two")),
            (4, line(4, "/shop/api", "\u{1b}[31mthree")),
        ];
        Some(Reply::Stream(sse(&lines)))
    });
    let ran = home.run(&["logs", "api", "ingest", "-n", "2"]).with_code(0);
    assert_eq!(ran.stdout, "/shop/ingest/kafka | two\n/shop/api | \u{1b}[31mthree\n");
    let asked = shop.requests().pop().expect("a request").path;
    assert_eq!(asked, "/v1/logs?follow=false");
    home.run(&["logs", "ingest"]).with_code(0);
    let asked = shop.requests().pop().expect("a request").path;
    assert_eq!(asked, "/v1/logs?path=%2Fshop%2Fingest%2F%2A%2A&follow=false");
    home.run(&["logs", "wroker"]).with_code(5).says(&["did you mean /shop/worker?"]);
}

#[test]
fn ctrl_c_detaches_with_exit_code_0_and_asks_the_tree_for_nothing() {
    let home = Home::new();
    let shop = shop(&home, |request| {
        let query = stream_query(request, "/v1/logs")?;
        assert_eq!(query, "last=0&follow=true");
        Some(Reply::Open(sse(&[(1, line(1, "/shop/api", "hello"))])))
    });
    let mut running = home.start(&["attach"]);
    assert_eq!(running.line(), "/shop/api | hello");
    running.signal(Signal::INT);
    running
        .end()
        .with_code(0)
        .says(&["attached to shop (process 4700); Ctrl-C detaches, and the tree goes on"]);
    assert!(shop.posts().is_empty());
}

#[test]
fn a_reader_that_closes_its_pipe_ends_a_quiet_stream_without_an_error() {
    let home = Home::new();
    let _shop = shop(&home, |request| {
        stream_query(request, "/v1/logs")?;
        Some(Reply::Open(sse(&[(1, line(1, "/shop/api", "hello"))])))
    });
    let mut running = home.start(&["logs", "-f"]);
    assert_eq!(running.line(), "/shop/api | hello");
    assert_eq!(running.end_after_close(), Some(0));
}
