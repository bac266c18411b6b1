//! The parts of a request: its route, the path of a child, the query, and the body.

use crate::limits::{BODY_WITHIN, MAX_ANY_NAMES, MAX_BODY, MAX_DROPPED};
use http_body_util::BodyExt as _;
use hyper::HeaderMap;
use hyper::body::{Body, Bytes};
use hyper::header::{CONTENT_TYPE, HeaderName};
use liveoak_api::{MAX_PATTERN, Problem, Route};
use liveoak_runtime::{Glob, Path};
use percent_encoding::percent_decode_str;
use serde_core::de::DeserializeOwned;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

/// Who asks, and for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// `true` if the caller may read the tree: it came over the unix socket, or has the token or the cookie.
    pub(crate) is_trusted: bool,
    /// `true` if the caller came over the unix socket.
    pub(crate) is_local: bool,
    /// `true` if only the head of the answer is asked for.
    pub(crate) only_head: bool,
}

/// A request that may be answered: its route is known, and its caller is allowed to ask.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) route: &'static Route,
    /// What stands for `{path}` in the route, decoded.
    pub(crate) child: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
    pub(crate) from: Caller,
    /// Whether the command of the request is recorded, if it has one that was carried out.
    pub(crate) recorded: OnceLock<Result<(), String>>,
}

impl Request {
    /// Takes a request apart. `tail` is what stands for `{path}`.
    pub(crate) fn new(
        route: &'static Route,
        tail: &str,
        query: Option<&str>,
        headers: HeaderMap,
        body: Bytes,
        from: Caller,
    ) -> Result<Self, Problem> {
        let Ok(child) = percent_decode_str(tail).decode_utf8() else {
            return Err(Problem::new("bad-request", "the path of the child is not UTF-8").expected("UTF-8"));
        };
        let query = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let query: Vec<_> = query.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        for (nth, (name, _)) in query.iter().enumerate() {
            if !route.parameters.iter().any(|known| known.name == name) {
                let known: Vec<&str> = route.parameters.iter().map(|known| known.name).collect();
                let detail = format!("{} has no parameter {name:?}", route.path);
                let near = nearest(name, known.iter().copied());
                let expected = if known.is_empty() { "no query".to_owned() } else { known.join(", ") };
                return Err(Problem::new("bad-request", detail).expected(expected).near_miss(near));
            }
            if query[..nth].iter().any(|(before, _)| before == name) {
                return Err(Problem::new("bad-request", format!("the parameter {name} stands twice")));
            }
        }
        if route.body.is_none() && !body.is_empty() {
            return Err(
                Problem::new("bad-request", format!("{} has no body", route.path)).expected("no body")
            );
        }
        let (child, recorded) = (child.into_owned(), OnceLock::new());
        Ok(Self { route, child, query, headers, body, from, recorded })
    }

    /// Returns a parameter of the query.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns a parameter that is a number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<f64>, Problem> {
        let Some(text) = self.parameter(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
        number.map(Some).ok_or_else(|| wrong_parameter(name, text, "a number, not negative"))
    }

    /// Returns a parameter that is a count. One beyond all counts is the largest.
    pub(crate) fn count(&self, name: &str) -> Result<Option<usize>, Problem> {
        let Some(text) = self.parameter(name) else { return Ok(None) };
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong_parameter(name, text, "a whole number, not negative"));
        }
        Ok(Some(text.parse().unwrap_or(usize::MAX)))
    }

    /// Returns a parameter that is `true` or `false`; without a value it is `true`.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.parameter(name) {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(text) => Err(wrong_parameter(name, text, "true or false")),
        }
    }

    /// Returns a parameter that is a moment, or a length of time before `now`.
    pub(crate) fn moment(&self, name: &str, now: SystemTime) -> Result<Option<SystemTime>, Problem> {
        let Some(text) = self.parameter(name) else { return Ok(None) };
        if let Ok(moment) = text.parse::<liveoak_api::Timestamp>() {
            return Ok(Some(moment.0));
        }
        let before = ago(text).and_then(|ago| now.checked_sub(ago));
        let expected = "a moment such as 2026-01-31T12:00:00Z, or a length of time such as 90s, 5m, 1h, 2d";
        before.map(Some).ok_or_else(|| wrong_parameter(name, text, expected))
    }

    /// Returns the pattern of a parameter for the paths of the tree `tree`.
    pub(crate) fn pattern(&self, name: &str, tree: &str) -> Result<Option<Glob>, Problem> {
        self.parameter(name).map(|text| pattern(text, tree)).transpose()
    }

    /// Returns a header as text.
    pub(crate) fn header(&self, name: &HeaderName) -> Result<Option<&str>, Problem> {
        let mut all = self.headers.get_all(name).iter();
        let (Some(value), None) = (all.next(), all.next()) else {
            return match self.headers.get(name) {
                None => Ok(None),
                Some(_) => Err(Problem::new("bad-request", format!("the header {name} stands twice"))),
            };
        };
        let wrong =
            |_| Problem::new("bad-request", format!("the header {name} is not ASCII")).expected("ASCII");
        value.to_str().map(Some).map_err(wrong)
    }

    /// Returns `true` if there is a body.
    pub(crate) fn has_body(&self) -> bool {
        !self.body.is_empty()
    }

    /// Returns the body as text.
    pub(crate) fn body(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// Reads the body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        if let Some(kind) = self.header(&CONTENT_TYPE)? {
            let essence = kind.split(';').next().unwrap_or_default().trim();
            if !essence.eq_ignore_ascii_case("application/json") {
                let problem = Problem::new("wrong-type", format!("the body has the type {essence}"));
                return Err(problem.expected("application/json"));
            }
        }
        let expected = self.route.body.unwrap_or("nothing");
        let wrong = |why: &dyn std::fmt::Display| {
            let problem = Problem::new("bad-request", format!("the body is wrong: {why}"));
            problem.expected(format!("a JSON object {expected} (/v1/openapi.json describes it)"))
        };
        // Serde would read an array as the fields of a type in their order, which no caller may rely on.
        if self.body.trim_ascii_start().first() == Some(&b'[') {
            return Err(wrong(&"it is an array"));
        }
        serde_json::from_slice(&self.body).map_err(|error| wrong(&error))
    }
}

fn wrong_parameter(name: &str, text: &str, expected: &str) -> Problem {
    Problem::new("bad-request", format!("the parameter {name} is {text:?}")).expected(expected)
}

/// Reads a length of time: `90s`, `5m`, `1h30m`, `2d`, `250ms`.
fn ago(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            "d" => Duration::from_secs(86_400),
            _ => return None,
        };
        total = total.checked_add(unit.checked_mul(u32::try_from(number).ok()?)?)?;
        rest = &rest[letters..];
    }
    Some(total)
}

/// Returns the pattern for the paths of the tree `tree`. A pattern without a leading slash leaves out the name of the tree.
pub(crate) fn pattern(text: &str, tree: &str) -> Result<Glob, Problem> {
    let wrong = |error: &dyn std::fmt::Display| {
        let problem = Problem::new("bad-request", error.to_string());
        problem.expected("a path such as ingest/kafka, or a pattern such as ingest/* or /shop/**")
    };
    if text.is_empty() {
        return Err(wrong(&"the path is empty"));
    }
    if text.chars().count() > MAX_PATTERN
        || text.split('/').filter(|name| *name == "**").count() > MAX_ANY_NAMES
    {
        let problem = Problem::new("bad-request", "the pattern is too long");
        return Err(
            problem.expected(format!("at most {MAX_PATTERN} characters, and {MAX_ANY_NAMES} times `**`"))
        );
    }
    Glob::new(full_path(text, tree)).map_err(|error| wrong(&error))
}

/// Returns a path, or a pattern of paths, with the name of the tree.
pub(crate) fn full_path(text: &str, tree: &str) -> String {
    match text {
        text if text.starts_with('/') => text.to_owned(),
        text => format!("/{tree}/{text}"),
    }
}

/// Returns the path of a child.
pub(crate) fn child_path(text: &str, tree: &str) -> Path {
    Path::new(&full_path(text.trim_end_matches('/'), tree))
}

/// Reads a body, bounded in size and in time. The rest of a body that is too large is read and dropped, up to a further bound:
/// a client that still sends when the connection is closed would not see the answer.
pub(crate) async fn read_body(
    mut body: impl Body<Data = Bytes, Error = impl std::fmt::Display> + Unpin,
) -> Result<Bytes, Problem> {
    let mut read = Vec::new();
    let mut size = 0;
    let all = async {
        while let Some(frame) = body.frame().await {
            let frame = frame
                .map_err(|error| Problem::new("bad-request", format!("the body cannot be read: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            size += data.len();
            if size <= MAX_BODY {
                read.extend_from_slice(&data);
            }
            if size > MAX_DROPPED {
                break;
            }
        }
        Ok(())
    };
    match tokio::time::timeout(BODY_WITHIN, all).await {
        Ok(all) => all?,
        Err(_) => {
            return Err(Problem::new("too-slow", format!("the body took longer than {BODY_WITHIN:?}")));
        }
    }
    if size > MAX_BODY {
        let problem = Problem::new("too-large", "the body is too large");
        return Err(problem.expected(format!("at most {MAX_BODY} bytes")));
    }
    Ok(read.into())
}

/// Returns the known name that is most similar to `name`, if one is similar enough.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = known.map(|known| (strsim::jaro_winkler(name, known), known));
    let best = likeness.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(likeness, _)| *likeness > 0.8).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_leave_out_the_name_of_the_tree() {
        for (text, full) in [
            ("web", "/shop/web"),
            ("ingest/kafka", "/shop/ingest/kafka"),
            ("/shop/web", "/shop/web"),
            ("ingest/*", "/shop/ingest/*"),
            ("**", "/shop/**"),
        ] {
            assert_eq!(full_path(text, "shop"), full);
        }
        assert!(pattern("", "shop").is_err() && pattern("a//b", "shop").is_err());
    }

    #[test]
    fn a_pattern_is_bounded_in_its_length_and_in_what_a_match_can_cost() {
        let any = |count: usize| vec!["**"; count].join("/");
        assert!(pattern(&any(MAX_ANY_NAMES), "shop").is_ok());
        assert!(pattern(&any(MAX_ANY_NAMES + 1), "shop").is_err());
        assert!(pattern(&"ö".repeat(MAX_PATTERN), "shop").is_ok());
        assert!(pattern(&"ö".repeat(MAX_PATTERN + 1), "shop").is_err());
    }

    #[test]
    fn a_length_of_time_has_units() {
        assert_eq!(ago("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(ago("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(ago("2d"), Some(Duration::from_secs(172_800)));
        for wrong in ["", "5", "h", "5x", "-5s", "5 s", "99999999999999999999s"] {
            assert_eq!(ago(wrong), None, "{wrong}");
        }
    }
}
