//! Answers: JSON values, text, problems, and streams.

use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Bytes, Frame};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY, RETRY_AFTER,
    SET_COOKIE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use liveoak_api::{Method, Problem};
use serde_core::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// The header of an answer to a command that was carried out, but is not known to be in the journal: the reason.
const UNRECORDED: HeaderName = HeaderName::from_static(liveoak_api::UNRECORDED_HEADER);
/// Which pages may use an answer.
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The body of an answer.
pub(crate) type AnswerBody = UnsyncBoxBody<Bytes, Infallible>;

/// An answer.
pub(crate) type Answer = Response<AnswerBody>;

fn answer(status: StatusCode, kind: &'static str, body: AnswerBody) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // An answer shows one moment, so it must not be cached.
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Programs write some of the text: no browser may take it for a page or a script, and no page of another origin may use it.
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer.headers_mut().insert(CORP, HeaderValue::from_static("same-origin"));
    answer
}

fn full(text: impl Into<Bytes>) -> AnswerBody {
    Full::new(text.into()).boxed_unsync()
}

/// Returns a JSON value.
pub(crate) fn json(value: &impl Serialize) -> Answer {
    // Serializing fails only for maps whose keys are not strings, and there are none.
    let text = serde_json::to_vec(value).unwrap_or_default();
    answer(StatusCode::OK, "application/json", full(text))
}

/// Returns a JSON document that is text already.
pub(crate) fn document(text: &'static str) -> Answer {
    answer(StatusCode::OK, "application/json", full(text))
}

/// Returns text.
pub(crate) fn text(status: StatusCode, text: String) -> Answer {
    answer(status, "text/plain; charset=utf-8", full(text))
}

/// Returns metrics in the text format of Prometheus.
pub(crate) fn metrics(text: String) -> Answer {
    answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", full(text))
}

/// Returns a redirect to another route of this server, which a browser follows with `cookie`.
pub(crate) fn redirect(to: &'static str, cookie: Option<&str>) -> Answer {
    let mut answer = answer(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", full(format!("see {to}\n")));
    let headers = answer.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_static(to));
    // The address of this answer is a secret, even if it was used.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Some(Ok(cookie)) = cookie.map(HeaderValue::from_str) {
        headers.insert(SET_COOKIE, cookie);
    }
    answer
}

/// Returns a stream of server-sent events.
pub(crate) fn stream(chunks: mpsc::Receiver<Bytes>) -> Answer {
    answer(StatusCode::OK, "text/event-stream", Chunks(chunks).boxed_unsync())
}

/// Returns a problem.
pub(crate) fn problem(problem: &Problem) -> Answer {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = serde_json::to_vec(problem).unwrap_or_default();
    let mut answer = answer(status, "application/problem+json", full(text));
    let headers = answer.headers_mut();
    match problem.code.as_str() {
        "unauthorized" => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"liveoak\""));
        }
        "too-many-requests" | "too-many-connections" | "busy" | "runtime-blocked" => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    answer
}

/// Says in an answer to a command why the command is not known to be on disk.
pub(crate) fn mark_unrecorded(answer: &mut Answer, why: &str) {
    let why: String = why.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect();
    if let Ok(why) = HeaderValue::from_str(&why) {
        answer.headers_mut().insert(UNRECORDED, why);
    }
}

/// Returns the problem of a route that has another method.
pub(crate) fn wrong_method(route: &str, has: Method) -> Answer {
    let detail = format!("{route} has the method {}", has.as_str());
    let mut answer = problem(&Problem::new("method-not-allowed", detail));
    let allow = if has == Method::Get { "GET, HEAD" } else { "POST" };
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

/// A body that is made piece by piece.
struct Chunks(mpsc::Receiver<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
