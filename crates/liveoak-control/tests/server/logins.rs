//! One-time addresses, the cookie, and what a browser may do with it.

use crate::access::{ask, over_tcp};
use crate::client::{Answer, get, post, raw, raw_tcp};
use crate::{Served, shop};
use serde_json::json;

/// Makes a one-time address over the unix socket. Returns its path and query.
fn new_login(served: &Served) -> String {
    let answer =
        raw(&served.socket, "POST /v1/logins HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").json();
    let port = served.server.as_ref().unwrap().address().unwrap().port();
    let address = answer["address"].as_str().unwrap().to_owned();
    let path =
        address.strip_prefix(&format!("http://127.0.0.1:{port}")).unwrap_or_else(|| panic!("{address}"));
    path.to_owned()
}

/// Opens an address as a browser does.
fn open(served: &Served, method: &str, path: &str) -> Answer {
    let address = served.server.as_ref().unwrap().address().unwrap();
    raw_tcp(address, &format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"))
}

/// Returns the header with the cookie that an answer has set.
fn cookie(answer: &Answer) -> String {
    let set = answer.head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
    let set = set.unwrap_or_else(|| panic!("no cookie: {answer:?}"));
    assert!(set.contains("; HttpOnly") && set.contains("; SameSite=Strict"), "{set}");
    format!("cookie: {}\r\n", set.split(';').next().unwrap())
}

#[test]
fn a_one_time_address_gives_a_cookie_once_and_leads_to_the_tree() {
    let (served, _) = over_tcp();
    let path = new_login(&served);
    let looked = open(&served, "HEAD", &path);
    assert_eq!(looked.status, 303, "a look at it does not use it up");
    assert!(!looked.head.contains("set-cookie"), "{looked:?}");
    let opened = open(&served, "GET", &path);
    assert_eq!(opened.status, 303);
    assert!(opened.head.contains("location: /v1/tree"), "{opened:?}");
    let cookie = cookie(&opened);
    assert_eq!(ask(&served, "/v1/tree", "127.0.0.1:PORT", &cookie).0, 200);
    assert_eq!(ask(&served, "/metrics", "127.0.0.1:PORT", &cookie).0, 200);
    let again = open(&served, "GET", &path);
    assert_eq!((again.status, again.code().as_str()), (403, "login-over"));
    for wrong in ["/login", "/login?code=", "/login?code=0"] {
        assert_eq!(open(&served, "GET", wrong).code(), "login-over", "{wrong}");
    }
}

#[test]
fn a_post_with_the_cookie_needs_the_origin_of_the_tree_and_one_with_the_token_needs_none() {
    let (served, token) = over_tcp();
    let cookie = cookie(&open(&served, "GET", &new_login(&served)));
    let bearer = format!("authorization: Bearer {token}\r\n");
    let address = served.server.as_ref().unwrap().address().unwrap();
    let own = format!("origin: http://{address}\r\n");
    let restart = |more: &str| {
        let body = json!({ "paths": ["web"] }).to_string();
        let head = format!("POST /v1/commands/restart HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
        let length = body.len();
        raw_tcp(address, &format!("{head}content-length: {length}\r\n{more}\r\n{body}"))
    };
    assert_eq!(restart(&cookie).code(), "foreign-origin");
    for foreign in ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1"] {
        let foreign = format!("origin: {foreign}\r\n");
        for more in [format!("{cookie}{foreign}"), format!("{bearer}{foreign}"), foreign] {
            assert_eq!(restart(&more).code(), "foreign-origin", "{more}");
        }
    }
    for site in ["cross-site", "same-site"] {
        let more = format!("{cookie}{own}sec-fetch-site: {site}\r\n");
        assert_eq!(restart(&more).code(), "foreign-origin", "{site}");
    }
    assert_eq!(restart(&own).code(), "unauthorized");
    assert_eq!(get(&served.socket, "/v1/children/web").json()["attempt"], 1, "nothing was done");
    assert_eq!(restart(&format!("{cookie}{own}")).json()[0]["attempt"], 2);
    assert_eq!(restart(&bearer).json()[0]["attempt"], 3);
    assert_eq!(restart(&format!("{cookie}{bearer}")).json()[0]["attempt"], 4);
}

#[test]
fn a_one_time_address_is_made_only_over_the_socket_of_a_tree_that_listens() {
    let (served, token) = over_tcp();
    let address = served.server.as_ref().unwrap().address().unwrap();
    let bearer = format!("authorization: Bearer {token}\r\n");
    let head = format!("POST /v1/logins HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    assert_eq!(raw_tcp(address, &format!("{head}{bearer}\r\n")).code(), "socket-only");
    assert_eq!(raw_tcp(address, &format!("{head}\r\n")).code(), "unauthorized");
    let body = post(&served.socket, "/v1/logins", &json!({}));
    assert_eq!(body.code(), "bad-request", "it has no body");
    let deaf = Served::new(shop()).ready();
    let answer = raw(&deaf.socket, "POST /v1/logins HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert_eq!(answer.code(), "no-address");
}

#[test]
fn a_browser_may_not_take_an_answer_for_a_page_nor_a_page_of_another_origin_use_it() {
    let served = Served::new(shop()).ready();
    for path in ["/v1/tree", "/metrics", "/v1/logs", "/nothing", "/healthz"] {
        let answer = get(&served.socket, path);
        assert!(answer.head.contains("x-content-type-options: nosniff"), "{path}: {answer:?}");
        assert!(answer.head.contains("cross-origin-resource-policy: same-origin"), "{path}: {answer:?}");
    }
}
