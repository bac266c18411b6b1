//! Who may ask over TCP: the host and the origin of a request, and its token.
//!
//! A browser sends requests for pages of any site to loopback, too. Such a page cannot read the token, but it could make the
//! browser send requests (the `Origin` says so), or give its own name to our address (DNS rebinding: the `Host` says so).

use crate::login::TcpAccess;
use crate::token::Token;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use liveoak_api::{Method, Problem};
use std::net::IpAddr;

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("(no text)"))
}

/// The header with which browsers say how a page is related to the address that it asks. They send it to loopback and over TLS.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a request that a page of another origin has made.
///
/// # Errors
/// When the request has an origin that is not the host that it was sent to, or the browser says that another page made it.
pub(crate) fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let site = header(headers, &SEC_FETCH_SITE).unwrap_or("none");
    let is_one = headers.get_all(SEC_FETCH_SITE).iter().count() <= 1;
    if !is_one || !matches!(site, "none" | "same-origin") {
        let problem =
            Problem::new("foreign-origin", "a page of another origin made this request, or led to it");
        return Err(problem.expected("a page of this address, or an address that the user has typed"));
    }
    let Some(origin) = header(headers, &ORIGIN) else { return Ok(()) };
    let host = header(headers, &HOST).unwrap_or_default();
    let is_single = headers.get_all(ORIGIN).iter().count() == 1;
    let is_same =
        is_single && origin.strip_prefix("http://").is_some_and(|of| !host.is_empty() && of == host);
    if is_same {
        return Ok(());
    }
    Err(Problem::new("foreign-origin", format!("a page of {origin:?} made this request")))
}

/// Refuses a request for another host than an address or `localhost`: names can be given to any address.
///
/// # Errors
/// When the host is another name, or missing.
pub(crate) fn check_host(headers: &HeaderMap) -> Result<(), Problem> {
    let host = header(headers, &HOST).unwrap_or_default();
    let (name, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((address, rest)) => {
            (address, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').unwrap_or("no port")) })
        }
        None => host.rsplit_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let has_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let is_single = headers.get_all(HOST).iter().count() == 1;
    let is_known = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok();
    if is_known && has_port && is_single {
        return Ok(());
    }
    let problem = Problem::new("foreign-host", format!("the request is for the host {host:?}"));
    Err(problem.expected("an address, or localhost"))
}

/// Returns `true` if the request has the token, or the cookie. [`check_origin`] has allowed it.
///
/// # Errors
/// When it could change something with the cookie alone, and does not say which page made it: a browser would say so.
pub(crate) fn is_trusted(headers: &HeaderMap, method: Method, access: &TcpAccess) -> Result<bool, Problem> {
    if has_token(headers, &access.token) {
        return Ok(true);
    }
    let has_cookie = access.has_cookie(headers);
    if has_cookie && method == Method::Post && !headers.contains_key(ORIGIN) {
        let problem = Problem::new("foreign-origin", "the request has the cookie, but no `Origin`");
        return Err(problem.expected("an `Origin` that is the address of the tree, or the token"));
    }
    Ok(has_cookie)
}

/// Returns `true` if the request has the token.
fn has_token(headers: &HeaderMap, token: &Token) -> bool {
    let Some((scheme, given)) = header(headers, &AUTHORIZATION).and_then(|text| text.split_once(' ')) else {
        return false;
    };
    scheme.eq_ignore_ascii_case("bearer") && token.is(given.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(HeaderName, &str)]) -> HeaderMap {
        of.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_request_for_a_name_that_is_not_localhost_is_refused() {
        for host in ["localhost", "LOCALHOST", "localhost:7777", "127.0.0.1:7777", "[::1]:7777", "10.0.0.7"] {
            assert!(check_host(&headers(&[(HOST, host)])).is_ok(), "{host}");
        }
        for host in [
            "[::1]evil.example",
            "127.0.0.1:evil",
            "127.0.0.1:1@evil.example",
            "evil.example",
            "evil.example:7777",
            "localhost.evil.example",
            "",
            "127.0.0.1.nip.io",
        ] {
            assert!(check_host(&headers(&[(HOST, host)])).is_err(), "{host}");
        }
        assert!(check_host(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let of = |origin| check_origin(&headers(&[(HOST, "127.0.0.1:7777"), (ORIGIN, origin)]));
        assert!(of("http://127.0.0.1:7777").is_ok());
        for origin in ["http://evil.example", "null", "http://127.0.0.1:8080", "https://127.0.0.1:7777", ""] {
            assert!(of(origin).is_err(), "{origin}");
        }
        assert!(check_origin(&headers(&[(HOST, "127.0.0.1:7777")])).is_ok(), "no page made it");
        let site = |site| check_origin(&headers(&[(HOST, "127.0.0.1:7777"), (SEC_FETCH_SITE, site)]));
        assert!(site("none").is_ok() && site("same-origin").is_ok());
        for other in ["same-site", "cross-site", "", "none, none"] {
            assert!(site(other).is_err(), "{other}");
        }
        let two = [(HOST, "127.0.0.1:7777"), (SEC_FETCH_SITE, "none"), (SEC_FETCH_SITE, "cross-site")];
        assert!(check_origin(&headers(&two)).is_err(), "one of two says so");
    }
}
