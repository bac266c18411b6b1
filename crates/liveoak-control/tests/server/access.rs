//! Who may ask: tokens, origins, hosts, bodies, and a socket that vanishes.

use crate::client::{get, raw, raw_tcp};
use crate::{Served, shop};
use liveoak_control::Control;
use std::os::unix::fs::PermissionsExt as _;

pub(crate) fn over_tcp() -> (Served, String) {
    let address = "127.0.0.1:0".parse().unwrap();
    let served =
        Served::with(shop(), |control, folder| control.listen(address, folder.join("token"))).ready();
    let token = std::fs::read_to_string(served.folder.join("token")).unwrap().trim().to_owned();
    (served, token)
}

pub(crate) fn ask(served: &Served, route: &str, host: &str, more: &str) -> (u16, String) {
    let address = served.server.as_ref().unwrap().address().unwrap();
    let host = host.replace("PORT", &address.port().to_string());
    let more = more.replace("PORT", &address.port().to_string());
    let request = format!("GET {route} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n");
    let answer = raw_tcp(address, &request);
    (answer.status, answer.body)
}

#[test]
fn over_tcp_every_route_except_healthz_and_readyz_needs_a_token() {
    let (served, token) = over_tcp();
    let bearer = format!("authorization: Bearer {token}\r\n");
    let host = "127.0.0.1:PORT";
    assert_eq!(ask(&served, "/v1/tree", host, "").0, 401);
    assert_eq!(ask(&served, "/v1/tree", host, "authorization: Bearer nonsense\r\n").0, 401);
    assert_eq!(ask(&served, "/v1/tree", host, &format!("authorization: Basic {token}\r\n")).0, 401);
    assert_eq!(ask(&served, "/v1/tree", host, &bearer).0, 200);
    assert_eq!(ask(&served, "/metrics", host, "").0, 401);
    assert_eq!(ask(&served, "/healthz", host, "").0, 200);
    assert_eq!(ask(&served, "/readyz", "localhost:PORT", "").0, 200);
    served.runtime.block_on(served.tree.quarantine_child("/shop/web")).unwrap();
    assert_eq!(ask(&served, "/healthz", host, ""), (503, "not ok\n".to_owned()), "no names for strangers");
    assert!(ask(&served, "/healthz", host, &bearer).1.contains("/shop/web"));
}

#[test]
fn a_page_of_another_origin_and_a_name_that_was_given_to_our_address_are_refused() {
    let (served, token) = over_tcp();
    let bearer = format!("authorization: Bearer {token}\r\n");
    let with_origin =
        |origin: &str| ask(&served, "/v1/tree", "127.0.0.1:PORT", &format!("{bearer}origin: {origin}\r\n")).0;
    assert_eq!(with_origin("http://evil.example"), 403);
    assert_eq!(with_origin("null"), 403);
    assert_eq!(with_origin("http://127.0.0.1:PORT"), 200);
    assert_eq!(ask(&served, "/v1/tree", "evil.example", &bearer).0, 403);
    assert_eq!(ask(&served, "/healthz", "evil.example:PORT", "").0, 403);
    // A page can reach a unix socket through a proxy only, and then it says so.
    let proxied =
        "GET /v1/tree HTTP/1.1\r\nhost: x\r\nconnection: close\r\norigin: http://evil.example\r\n\r\n";
    assert_eq!(raw(&served.socket, proxied).code(), "foreign-origin");
}

#[test]
fn the_token_survives_a_restart() {
    let (served, token) = over_tcp();
    let path = served.folder.join("token");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let again = Control::new()
        .socket(served.folder.join("t.sock"))
        .no_history()
        .listen("127.0.0.1:0".parse().unwrap(), &path);
    let server = served.runtime.block_on(async { again.serve(&served.tree) }).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), token);
    server.finish(std::time::Duration::from_secs(5));
}

#[test]
fn a_body_that_is_too_large_or_no_json_is_refused() {
    let served = Served::new(shop()).ready();
    let post = |more: &str, body: &str| {
        let length = body.len();
        let head = format!(
            "POST /v1/commands/stop HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n"
        );
        raw(&served.socket, &format!("{head}{more}\r\n{body}"))
    };
    assert_eq!(post("content-type: text/plain\r\n", "{}").code(), "wrong-type");
    assert_eq!(post("", "{").code(), "bad-request");
    assert_eq!(post("", "").code(), "bad-request");
    let large = format!("{{\"paths\":[\"{}\"]}}", "x".repeat(300 * 1024));
    assert_eq!(post("", &large).code(), "too-large");
    for array in ["[[\"web\"]]", " [[\"web\"],null,null,null,false]", "[]"] {
        assert_eq!(post("", array).code(), "bad-request", "{array}");
    }
    assert_eq!(get(&served.socket, "/v1/children/web").json()["state"], "running", "nothing was stopped");
    let not_utf8 = get(&served.socket, "/v1/children/%FF");
    assert_eq!(not_utf8.code(), "bad-request");
}

#[test]
fn a_stranger_gets_a_verdict_at_once_although_its_body_does_not_come() {
    let (served, _) = over_tcp();
    assert_eq!(
        ask(&served, "/healthz", "127.0.0.1:PORT", "content-length: 10\r\n"),
        (200, "ok\n".to_owned())
    );
}

#[test]
fn a_socket_that_has_vanished_is_made_again() {
    let served = Served::new(shop()).ready();
    std::fs::remove_file(&served.socket).unwrap();
    for _ in 0..1000 {
        if served.socket.exists() {
            assert_eq!(get(&served.socket, "/readyz").status, 200);
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the socket was not made again");
}
