//! HTTP/1.1 over a unix socket: one connection a request.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use liveoak::api::{Problem, UNRECORDED_HEADER};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::failure::{EXIT_NO_TREE, Failure};
use super::sse::{Parser, ServerEvent};
use crate::output;

/// How long a request that only reads may take.
pub(crate) const READ_LIMIT: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes. A tree of 100,000 children has about half of it.
const MAX_ANSWER: usize = 128 * 1024 * 1024;
/// The longest piece of an unexpected answer that an error shows, in characters.
const MAX_QUOTED: usize = 80;

/// The server of a tree, by its socket.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    socket: PathBuf,
}

/// Why there is no answer, or not the one that was wanted.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// Nothing listens at the socket.
    Nothing(String),
    /// The socket cannot be used.
    Unusable(String),
    /// The connection ended before the answer was complete.
    Lost(String),
    /// No answer came in time.
    Silent(String),
    /// The server has refused the request.
    Refused(Box<Problem>),
    /// What came is no answer of a tree.
    Strange(String),
}

impl RequestError {
    /// Returns one sentence.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Refused(problem) => problem.to_string(),
            Self::Nothing(text)
            | Self::Unusable(text)
            | Self::Lost(text)
            | Self::Silent(text)
            | Self::Strange(text) => text.clone(),
        }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Refused(problem) => Self::from(*problem),
            RequestError::Nothing(text) => Self::new(EXIT_NO_TREE, text),
            RequestError::Lost(text) => Self::failed(text)
                .line("the tree has ended, or its process was killed; `liveoak trees` lists what runs"),
            error => Self::failed(error.text()),
        }
    }
}

impl Server {
    /// Returns the server at a socket. Nothing is connected yet.
    pub(crate) fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Returns the socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Reads from a route, within [`READ_LIMIT`].
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, RequestError> {
        self.get_within(path, READ_LIMIT).await
    }

    /// Reads from a route, within a time.
    pub(crate) async fn get_within<T: DeserializeOwned>(
        &self,
        path: &str,
        limit: Duration,
    ) -> Result<T, RequestError> {
        match tokio::time::timeout(limit, self.get_patiently(path)).await {
            Ok(answer) => answer,
            Err(_) => Err(RequestError::Silent(format!(
                "the tree at {} has not answered within {}s; its process may be suspended",
                self.socket.display(),
                limit.as_secs()
            ))),
        }
    }

    /// Reads from a route that answers when something has happened.
    pub(crate) async fn get_patiently<T: DeserializeOwned>(&self, path: &str) -> Result<T, RequestError> {
        let request = Request::get(path).header(ACCEPT, "application/json");
        let response = self.send(request, Bytes::new()).await?;
        self.read(path, response).await
    }

    /// Gives a command. Returns when the answer comes, however long that takes.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, RequestError> {
        let body = serde_json::to_vec(body).map_err(|error| RequestError::Strange(error.to_string()))?;
        let request =
            Request::post(path).header(ACCEPT, "application/json").header(CONTENT_TYPE, "application/json");
        let response = self.send(request, Bytes::from(body)).await?;
        if let Some(why) = response.headers().get(UNRECORDED_HEADER).and_then(|why| why.to_str().ok()) {
            let why = liveoak_config::one_line(why);
            output::stderr(&format!(
                "note: the answer holds, but the command is not known to be in the journal: {why}\n"
            ));
        }
        self.read(path, response).await
    }

    /// Asks for something that has no body.
    pub(crate) async fn post_nothing<T: DeserializeOwned>(&self, path: &str) -> Result<T, RequestError> {
        let request = Request::post(path).header(ACCEPT, "application/json");
        let response = self.send(request, Bytes::new()).await?;
        self.read(path, response).await
    }

    /// Opens a stream of events; with an id, it goes on after the event with this id.
    pub(crate) async fn stream(&self, path: &str, after: Option<&str>) -> Result<EventStream, RequestError> {
        let mut request = Request::get(path).header(ACCEPT, "text/event-stream");
        if let Some(id) = after {
            request = request.header("Last-Event-ID", id);
        }
        let opened = tokio::time::timeout(READ_LIMIT, self.send(request, Bytes::new())).await;
        let silent = || format!("the tree at {} does not answer", self.socket.display());
        let response = opened.map_err(|_| RequestError::Silent(silent()))??;
        if !is_of(&response, "text/event-stream") {
            let _: serde::de::IgnoredAny = self.read(path, response).await?;
            return Err(RequestError::Strange(self.strange(path, "it is no stream of events")));
        }
        Ok(EventStream {
            body: response.into_body(),
            parser: Parser::default(),
            read: VecDeque::new(),
            at: format!("{} at {}", path.split('?').next().unwrap_or(path), self.socket.display()),
        })
    }

    /// Returns when nothing listens at the socket any more.
    pub(crate) async fn closed(&self) {
        while UnixStream::connect(&self.socket).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn send(
        &self,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<Response<Incoming>, RequestError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unconnected(&error))?;
        let (mut sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| self.lost(&error))?;
        // This task ends with the connection. Errors of the connection also reach the request below.
        tokio::spawn(connection);
        let request = request.header(HOST, "localhost").body(Full::new(body));
        let request = request.map_err(|error| RequestError::Strange(error.to_string()))?;
        sender.send_request(request).await.map_err(|error| {
            if error.is_parse() {
                RequestError::Strange(format!(
                    "what listens at {} is no tree: it does not speak HTTP ({error})",
                    self.socket.display()
                ))
            } else {
                self.lost(&error)
            }
        })
    }

    async fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        response: Response<Incoming>,
    ) -> Result<T, RequestError> {
        let status = response.status();
        let is_problem = is_of(&response, "application/problem+json");
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| self.lost(error.as_ref()))?.to_bytes();
        if status.is_success() && !is_problem {
            let strange =
                |error: serde_json::Error| RequestError::Strange(self.strange(path, &error.to_string()));
            return serde_json::from_slice(&body).map_err(strange);
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(RequestError::Refused(Box::new(problem))),
            Err(_) => Err(RequestError::Strange(self.unexpected(path, status, &body))),
        }
    }

    fn unconnected(&self, error: &io::Error) -> RequestError {
        let socket = self.socket.display();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                RequestError::Nothing(format!("no tree at {socket}: there is no such file"))
            }
            io::ErrorKind::ConnectionRefused => {
                RequestError::Nothing(format!("no tree at {socket}: nothing listens there"))
            }
            io::ErrorKind::WouldBlock => {
                RequestError::Silent(format!("the tree at {socket} accepts no connection: too many wait"))
            }
            _ => RequestError::Unusable(format!("cannot connect to {socket}: {error}")),
        }
    }

    fn lost(&self, error: &(dyn std::error::Error + 'static)) -> RequestError {
        RequestError::Lost(format!(
            "the connection to {} was lost before the answer was complete: {}",
            self.socket.display(),
            root_cause(error)
        ))
    }

    fn strange(&self, path: &str, why: &str) -> String {
        let path = path.split('?').next().unwrap_or(path);
        format!("cannot understand the answer of {} to {path}: {why}", self.socket.display())
    }

    fn unexpected(&self, path: &str, status: StatusCode, body: &[u8]) -> String {
        let text = String::from_utf8_lossy(body);
        let text: String = text.trim().chars().take(MAX_QUOTED).collect();
        self.strange(path, &format!("{status} {text}"))
    }
}

/// Returns `true` if the answer has this type of content.
fn is_of(response: &Response<Incoming>, kind: &str) -> bool {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.split(';').next().is_some_and(|value| value.trim() == kind))
}

/// Returns the text of the innermost error.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// A stream of events.
#[derive(Debug)]
pub(crate) struct EventStream {
    body: Incoming,
    parser: Parser,
    read: VecDeque<ServerEvent>,
    /// The route and the socket, for errors.
    at: String,
}

impl EventStream {
    /// Returns all events that have arrived, at least one. `None` at the end of the stream.
    ///
    /// # Errors
    /// When the connection breaks. The events before the break have been returned.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<ServerEvent>>, RequestError> {
        while self.read.is_empty() {
            let frame = match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    return Err(RequestError::Lost(format!(
                        "the connection to {} broke: {}",
                        self.at,
                        root_cause(&error)
                    )));
                }
            };
            if let Some(piece) = frame.data_ref() {
                let events = self.parser.read(piece);
                let too_long = |_| RequestError::Strange(format!("{}: an event is too long", self.at));
                self.read.extend(events.map_err(too_long)?);
            }
        }
        Ok(Some(self.read.drain(..).collect()))
    }
}

/// Returns text with every byte percent-encoded that is not unreserved in a URI (RFC 3986).
pub(crate) fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Returns a path of the route table with the path of a child in it.
pub(crate) fn route_of(route: &str, child: &str) -> String {
    route.replace("{path}", &encoded(child))
}

/// Returns a path of the route table with a query.
pub(crate) fn with_query(path: &str, query: &[(&str, String)]) -> String {
    let pairs: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_values_stand_in_an_address_as_they_are_meant() {
        assert_eq!(route_of("/v1/explain/{path}", "/shop/a b"), "/v1/explain/%2Fshop%2Fa%20b");
        assert_eq!(route_of("/v1/explain/{path}", "pool.2"), "/v1/explain/pool.2");
        assert_eq!(with_query("/v1/logs", &[]), "/v1/logs");
        let query = [("path", "**".to_owned()), ("since", "ö&=?#+".to_owned())];
        assert_eq!(with_query("/v1/logs", &query), "/v1/logs?path=%2A%2A&since=%C3%B6%26%3D%3F%23%2B");
    }
}
