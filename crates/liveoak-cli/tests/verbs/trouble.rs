//! Answers that are wrong, slow or missing: one clear error each, and never a panic.

use liveoak::api::Problem;
use std::os::unix::net::UnixListener;

use crate::canned::{flat, shop};
use crate::fake::{Reply, answer, problem};
use crate::support::{Home, write};

/// Runs `ps` against a server that answers so.
#[track_caller]
fn ps_with(reply: &Reply, code: i32, texts: &[&str]) {
    let home = Home::new();
    let reply = reply.clone();
    let _shop = shop(&home, move |request| (request.path == "/v1/children").then(|| reply.clone()));
    let ran = home.run(&["ps"]).with_code(code).says(texts);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
}

#[test]
fn an_answer_that_cannot_be_understood_is_one_clear_error() {
    for body in ["", "{", "null", "[{}]", "{\"path\": 1}", "\u{feff}[]", "[1e999]"] {
        ps_with(&answer("200 OK", "application/json", body), 1, &["cannot understand the answer of"]);
    }
    ps_with(&answer("200 OK", "text/html", "<html>hello"), 1, &["cannot understand the answer of"]);
    ps_with(
        &answer("404 Not Found", "text/plain", "404 page\u{1b}[2J"),
        1,
        &["404 Not Found 404 page\\u{1b}[2J"],
    );
    ps_with(&answer("500 Oops", "application/problem+json", "{}"), 1, &["500 Internal Server Error"]);
    ps_with(&Reply::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), 1, &["is no tree: it does not speak HTTP"]);
    ps_with(&Reply::Raw(vec![]), 1, &["was lost before the answer was complete"]);
    let cut =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n[{\"pa".to_vec();
    ps_with(&Reply::Raw(cut), 1, &["was lost before the answer was complete", "the tree has ended, or"]);
    ps_with(&Reply::Silence, 1, &["has not answered within 10s; its process may be suspended"]);
}

#[test]
fn fields_and_codes_of_later_versions_are_accepted() {
    let mut children = serde_json::to_value(flat()).expect("JSON");
    children[0]["of_a_later_version"] = serde_json::json!({ "a": [1] });
    let body = children.to_string();
    let home = Home::new();
    let reply = answer("200 OK", "application/json; charset=utf-8", &body);
    let _shop = shop(&home, move |request| (request.path == "/v1/children").then(|| reply.clone()));
    home.run(&["ps"]).with_code(0);
    let mut later = Problem::new("refused", "a reason");
    later.code = "of-a-later-version".to_owned();
    ps_with(&problem(&later), 1, &["error: a reason"]);
}

#[test]
fn a_blocked_runtime_and_other_problems_are_told_with_what_was_expected() {
    let blocked = Problem::new("runtime-blocked", "the runtime of the tree is blocked by /shop/api");
    ps_with(&problem(&blocked), 1, &["the runtime of the tree is blocked by /shop/api"]);
    let wrong = Problem::new("bad-request", "the pattern is wrong").expected("a path");
    ps_with(&problem(&wrong), 2, &["the pattern is wrong; expected a path"]);
}

#[test]
fn a_socket_that_is_missing_stale_or_none_is_exit_code_4_or_1() {
    let home = Home::new();
    let at = |name: &str| home.at(name).display().to_string();
    let ps = |socket: &str| home.run(&["ps", "--socket", socket]);
    ps(&at("gone.sock")).with_code(4).says(&["gone.sock: there is no such file"]);
    drop(UnixListener::bind(home.at("stale.sock")).expect("a socket"));
    ps(&at("stale.sock")).with_code(4).says(&["stale.sock: nothing listens there"]);
    write(&home.at("file.sock"), "text");
    ps(&at("file.sock")).with_code(4).says(&["file.sock: nothing listens there"]);
    ps(&format!("/tmp/{}", "x".repeat(200))).with_code(1).says(&["cannot connect to"]);
    home.run(&["ps", "--socket", ""]).with_code(2);
}

#[test]
fn a_stale_socket_is_skipped_and_a_silent_one_does_not_hide_the_others() {
    let home = Home::new();
    drop(UnixListener::bind(home.socket("stale")).expect("a socket"));
    let _silent = crate::fake::Fake::new(&home.socket("silent"), |_| Reply::Silence);
    let _shop = shop(&home, |_| None);
    let ran = home.run(&["trees"]).with_code(0).says(&["silent.sock has not answered within 1s"]);
    assert!(ran.stdout.contains("shop") && !ran.stdout.contains("stale"), "{}", ran.stdout);
    home.run(&["ps"]).with_code(0);
}

#[test]
fn wrong_usage_is_exit_code_2_before_any_tree_is_asked() {
    let home = Home::new();
    let shop = shop(&home, |_| None);
    let wrong: [&[&str]; 12] = [
        &["stop"],
        &["explain"],
        &["explain", ""],
        &["wait"],
        &["wait", "api", "--within", "5"],
        &["events", "--since", "yesterday"],
        &["logs", "-n", "-1"],
        &["ps", "/"],
        &["stop", "api", "--force"],
        &["mode", "night", "--on-failure", "explode"],
        &["down", "api"],
        &["pss"],
    ];
    for args in wrong {
        home.run(args).with_code(2);
    }
    assert!(shop.requests().is_empty(), "{:?}", shop.requests());
}
