//! What pages in a real browser can do to a tree that listens on TCP. Without Chromium, these tests say so and do nothing.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};

use serde_json::Value;

use crate::chromium::Chromium;
use crate::support::{Stream, TestDir, Up};

const STEADY: &str = "[child.a]\ncommand = [\"sleep\", \"1000\"]\n";

/// What a page of another origin tries. Each try is over when its promise is.
const ATTACK: &str = r#"(async () => {
    const to = "TREE", told = [];
    const body = JSON.stringify({ paths: ["a"] }), method = "POST";
    const asked = async (name, path, options) => {
        try { const answer = await fetch(to + path, options); told.push(name + ": " + answer.type + " " + await answer.text()); }
        catch (error) { told.push(name + ": refused"); }
    };
    await asked("read", "/v1/tree", { credentials: "include" });
    await asked("read blindly", "/v1/tree?x", { credentials: "include", mode: "no-cors" });
    await asked("restart", "/v1/commands/restart", { credentials: "include", method, body, headers: { "content-type": "application/json" } });
    await asked("restart simply", "/v1/commands/restart", { credentials: "include", method, body });
    await asked("restart blindly", "/v1/commands/restart", { credentials: "include", mode: "no-cors", method, body });
    await new Promise(done => {
        const image = new Image();
        image.onload = () => { told.push("image: loaded"); done(); };
        image.onerror = () => { told.push("image: refused"); done(); };
        image.src = to + "/v1/status";
    });
    await new Promise(done => {
        const script = document.createElement("script");
        script.onload = () => { told.push("script: loaded"); done(); };
        script.onerror = () => { told.push("script: refused"); done(); };
        script.src = to + "/v1/children";
        document.body.append(script);
    });
    await new Promise(done => {
        const events = new EventSource(to + "/v1/events", { withCredentials: true });
        events.onmessage = event => { told.push("events: " + event.data); events.close(); done(); };
        events.onerror = () => { told.push("events: refused"); events.close(); done(); };
    });
    await new Promise(done => {
        const socket = new WebSocket(to.replace("http", "ws") + "/v1/events?follow=true");
        socket.onopen = () => { told.push("socket: open"); done(); };
        socket.onerror = () => { told.push("socket: refused"); done(); };
    });
    await new Promise(done => {
        const frame = document.createElement("iframe"), form = document.createElement("form");
        frame.name = "frame";
        document.body.append(frame, form);
        Object.assign(form, { action: to + "/v1/commands/restart", method: "POST", enctype: "text/plain", target: "frame" });
        const field = document.createElement("input");
        Object.assign(field, { name: '{"paths":["a"],"by":"', value: '"}' });
        form.append(field);
        frame.onload = () => { told.push("form: sent"); done(); };
        form.submit();
    });
    return told;
})()"#;

/// Serves an empty page on any port, for as long as the test runs.
fn pages() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\nconnection: close\r\n\r\n<body></body>";
            let _ = (&stream).write_all(page.as_bytes());
        }
    });
    address
}

/// Starts a tree that listens. Returns its address and a one-time address.
fn listening(dir: &TestDir) -> (Up, String, String) {
    let up = dir.up(&["--listen", "127.0.0.1:0"]);
    let login = up.until(Stream::Stderr, "address", |lines| {
        lines
            .iter()
            .find_map(|line| Some(line.split("a browser can open ").nth(1)?.split(' ').next()?.to_owned()))
    });
    up.is_ready();
    let address = login.split("/login").next().expect("an address").to_owned();
    (up, address, login)
}

/// Returns the attempt of the only child.
fn attempt(dir: &TestDir) -> Value {
    let output = dir.verb(&["ps", "a", "--json"]).output().expect("it runs");
    serde_json::from_slice::<Value>(&output.stdout).expect("JSON")[0]["attempt"].clone()
}

#[test]
fn a_browser_with_the_one_time_address_steers_the_tree_and_pages_of_other_origins_do_not() {
    let dir = TestDir::of(STEADY);
    let Some(mut browser) = Chromium::start(&dir) else {
        eprintln!("skipped: there is no Chromium");
        return;
    };
    let (up, tree, login) = listening(&dir);
    let tab = browser.open(&login);
    assert_eq!(browser.evaluate(&tab, "location.pathname"), "/v1/tree");
    let shown = browser.evaluate(&tab, "document.body.innerText");
    assert!(shown.as_str().is_some_and(|text| text.contains("/t/a")), "{shown}");
    assert_eq!(browser.evaluate(&tab, "document.cookie"), "", "no script sees the cookie");
    let restart = r#"fetch("/v1/commands/restart", { method: "POST", headers: { "content-type": "application/json" }, body: '{"paths":["a"]}' }).then(answer => answer.status)"#;
    assert_eq!(browser.evaluate(&tab, restart), 200);
    assert_eq!(attempt(&dir), 2);
    // The cookie is in the browser now. It is sent for pages of other ports of the same host, too.
    let pages = pages();
    for page in [format!("http://evil.example:{}/", pages.port()), format!("http://{pages}/")] {
        let tab = browser.open(&page);
        let told = browser.evaluate(&tab, &ATTACK.replace("TREE", &tree));
        let told: Vec<&str> = told.as_array().expect("an array").iter().filter_map(Value::as_str).collect();
        assert_eq!(told.len(), 10, "{told:?}");
        for line in told {
            assert!(
                line.ends_with(": refused") || line == "form: sent" || line.ends_with("blindly: opaque "),
                "{line}"
            );
        }
        let statuses = browser.statuses(&tree);
        assert!(statuses.len() >= 7 && statuses.iter().all(|status| *status == 403), "{page}: {statuses:?}");
    }
    assert_eq!(attempt(&dir), 2, "no page of another origin has restarted it");
    // The first page still may.
    assert_eq!(browser.evaluate(&tab, restart), 200);
    drop(browser);
    up.stop().with_code(0);
}

#[test]
fn a_name_that_was_given_to_the_address_of_the_tree_opens_nothing() {
    let dir = TestDir::of(STEADY);
    let Some(mut browser) = Chromium::start(&dir) else {
        eprintln!("skipped: there is no Chromium");
        return;
    };
    let (up, tree, login) = listening(&dir);
    let rebound = |address: &str| address.replace("127.0.0.1", "evil.example");
    browser.open(&rebound(&login));
    let statuses = browser.statuses(&rebound(&tree));
    assert!(!statuses.is_empty() && statuses.iter().all(|status| *status == 403), "{statuses:?}");
    for path in ["/v1/tree", "/healthz"] {
        browser.open(&rebound(&format!("{tree}{path}")));
        assert_eq!(browser.statuses(&rebound(&format!("{tree}{path}"))), [403], "{path}");
    }
    // That has not used up the address.
    let tab = browser.open(&login);
    assert_eq!(browser.evaluate(&tab, "location.pathname"), "/v1/tree");
    drop(browser);
    up.stop().with_code(0);
}
