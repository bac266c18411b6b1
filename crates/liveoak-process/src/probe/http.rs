//! The smallest HTTP/1.1 client that can find out whether a server is up: one `GET`, and the status line of its answer.
//!
//! No TLS, no redirections. The status line alone decides. The rest of the answer is read and discarded, because a
//! server that cannot send all of its answer logs an error. An HTTP library would add about forty crates.

use super::error::{ProbeError, ProbeFailure};
use super::linger;
use super::target::{TcpTarget, parse_host, parse_port, split_port};
use std::fmt;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest status line that is read, in bytes. Real ones have some thirty.
const MAX_STATUS_LINE: usize = 1024;

/// The most of a head that is read to find its end.
const MAX_HEAD: usize = 16 * 1024;

/// The first bytes of every answer in HTTP/1.
const PROTOCOL: &[u8] = b"HTTP/1.";

/// The end of a body in chunks, if it has no trailers. One with trailers is read until the connection is closed.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// The URL of an HTTP probe: `http://host:port/path`. A fragment (`#…`) is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    target: TcpTarget,
    /// Host and port as written, for the `Host` header.
    authority: String,
    /// From the slash on, with the query, without a fragment.
    path: String,
}

impl HttpUrl {
    pub(super) fn parse(url: &str) -> Result<HttpUrl, ProbeError> {
        let refused = |reason| ProbeError::Url { url: url.to_owned(), reason };
        let scheme_end = url.find("://").ok_or_else(|| refused("it has no `http://` in front"))?;
        let (scheme, rest) = (&url[..scheme_end], &url[scheme_end + 3..]);
        if scheme.eq_ignore_ascii_case("https") {
            return Err(ProbeError::Https { url: url.to_owned() });
        }
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(refused("its scheme is not http, the only one that is supported"));
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refused(
                "its path has a blank, control or non-ASCII character, which must be %-encoded",
            ));
        }
        let (host, port) = split_port(authority);
        let host = parse_host(host).map_err(refused)?;
        let port = port.map_or(Ok(80), parse_port).map_err(refused)?;
        if host.is_empty() {
            return Err(refused("it has no host"));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(HttpUrl { target: TcpTarget::new(host, port), authority: authority.to_owned(), path })
    }

    /// Sends one request. The caller limits the time. The rest of the answer is read in the background, even if the
    /// caller drops this future.
    pub(super) async fn check(&self) -> Result<(), ProbeFailure> {
        let mut answer = Answer::from(self.target.connect().await?);
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: liveoak\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            self.path, self.authority
        );
        // A server may answer and close before it has read the request.
        let mut broken = answer.send(&request).await.err();
        let code = loop {
            match answer.head() {
                Head::Status { code, .. } => break code,
                Head::Foreign if !answer.read.is_empty() => return Err(self.foreign(&answer.read)),
                Head::Foreign => {
                    let error = broken.unwrap_or_else(|| io::Error::other("no answer in HTTP/1"));
                    return Err(ProbeFailure::refused(&error, format_args!("from {self}")));
                }
                Head::Incomplete => {}
            }
            if let Err(error) = answer.read_more().await {
                broken = broken.or(Some(error));
            }
        };
        match code {
            200..=399 => Ok(()),
            code => Err(ProbeFailure::NotYet { found: format!("status {code} from {self}") }),
        }
    }

    /// Returns the failure for an answer in another protocol.
    fn foreign(&self, head: &[u8]) -> ProbeFailure {
        // The first bytes of a TLS handshake, or of the alert with which a TLS server refuses plain text.
        let tls = matches!(head, [0x15 | 0x16, 0x03, ..]);
        let what = if tls {
            "an answer in TLS (https is not supported, use a plain http port or a command probe)"
        } else {
            "no answer in HTTP/1"
        };
        ProbeFailure::NotYet { found: format!("{what} from {self}") }
    }
}

/// A connection and what was read from it. When it is dropped before the end of the answer, the rest is read in the
/// background. So the server can always send all of its answer.
struct Answer {
    /// `None` once the connection has ended.
    stream: Option<TcpStream>,
    read: Vec<u8>,
}

impl From<TcpStream> for Answer {
    fn from(stream: TcpStream) -> Self {
        Self { stream: Some(stream), read: Vec::new() }
    }
}

impl Answer {
    async fn send(&mut self, request: &str) -> io::Result<()> {
        match &mut self.stream {
            Some(stream) => stream.write_all(request.as_bytes()).await,
            None => Ok(()),
        }
    }

    fn head(&self) -> Head {
        Head::of(&self.read, self.stream.is_none())
    }

    /// Reads once. An error ends the connection.
    async fn read_more(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let length = stream.read_buf(&mut self.read).await;
        if !matches!(length, Ok(1..)) {
            self.stream = None;
        }
        length.map(drop)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        match Head::of(&self.read, false) {
            // In another protocol an answer may have no end.
            Head::Foreign => linger::say_goodbye(stream),
            Head::Incomplete | Head::Status { .. } => read_rest(stream, std::mem::take(&mut self.read)),
        }
    }
}

/// The meaning of the first bytes of an answer.
#[derive(Debug, PartialEq, Eq)]
enum Head {
    /// More must be read.
    Incomplete,
    /// The status code. The head that has it begins at `start`.
    Status {
        /// The code.
        code: u16,
        /// Where the head begins.
        start: usize,
    },
    /// The bytes are not an answer in HTTP/1.
    Foreign,
}

impl Head {
    /// Parses the bytes that came so far. Skips interim answers such as `100 Continue`, which come before the final
    /// answer (RFC 9110, section 15.2). Does not skip the status 101: it is the last answer in HTTP.
    fn of(read: &[u8], ended: bool) -> Head {
        let mut start = 0;
        loop {
            let rest = &read[start..];
            let begun = rest.len().min(PROTOCOL.len());
            if rest[..begun] != PROTOCOL[..begun] {
                return Head::Foreign;
            }
            let complete = ended || rest.len() >= MAX_STATUS_LINE || rest.contains(&b'\n');
            match status_code(rest) {
                _ if !complete => return Head::Incomplete,
                None => return Head::Foreign,
                Some(code @ (100 | 102..=199)) => match end_of_head(rest) {
                    Some(end) => start += end,
                    None if ended || rest.len() >= MAX_HEAD => return Head::Status { code, start },
                    None => return Head::Incomplete,
                },
                Some(code) => return Head::Status { code, start },
            }
            if start >= MAX_HEAD {
                return Head::Foreign;
            }
        }
    }
}

/// Returns the length of a head with the empty line at its end.
fn end_of_head(read: &[u8]) -> Option<usize> {
    let lines = read.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    let mut begin = 0;
    for end in lines {
        if matches!(&read[begin..end], b"" | b"\r") {
            return Some(end + 1);
        }
        begin = end + 1;
    }
    None
}

/// How the end of a body is found (RFC 9112, section 6.3).
#[derive(Debug, PartialEq, Eq)]
enum Body {
    /// It has this many bytes.
    Bytes(u64),
    /// It comes in chunks.
    Chunks,
    /// It ends when the connection is closed.
    UntilClosed,
}

impl Body {
    /// Returns how the body ends after this status and head.
    fn of(head: &[u8], code: u16) -> Body {
        if matches!(code, 204 | 304) {
            return Body::Bytes(0);
        }
        let head = String::from_utf8_lossy(head);
        let value = |name: &str| {
            let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
            let found = fields.find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim().to_ascii_lowercase())
        };
        match (value("transfer-encoding"), value("content-length")) {
            (Some(coding), _) if coding.ends_with("chunked") => Body::Chunks,
            (None, Some(length)) => length.parse().map_or(Body::UntilClosed, Body::Bytes),
            _ => Body::UntilClosed,
        }
    }

    /// Returns the rest of the body after `read` bytes of it.
    fn without(self, read: usize) -> Body {
        match self {
            Body::Bytes(bytes) => Body::Bytes(bytes.saturating_sub(read as u64)),
            other => other,
        }
    }
}

/// Reads the rest of an answer in the background, so that the server can send all of it. `read` holds the bytes that
/// were read before.
fn read_rest(mut stream: TcpStream, mut read: Vec<u8>) {
    linger::in_background(linger::ANSWER_WITHIN, async move {
        let body = loop {
            match Head::of(&read, false) {
                Head::Foreign => break Body::UntilClosed,
                Head::Status { code, start } => {
                    if let Some(end) = end_of_head(&read[start..]) {
                        let (head, rest) = read[start..].split_at(end);
                        break Body::of(head, code).without(rest.len());
                    }
                    if read.len() - start >= MAX_HEAD {
                        break Body::UntilClosed;
                    }
                }
                Head::Incomplete => {}
            }
            if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
        };
        match body {
            Body::Bytes(bytes) => linger::skip(&mut stream, bytes, &[], read).await,
            Body::Chunks => linger::skip(&mut stream, linger::MAX_REST, LAST_CHUNK, read).await,
            Body::UntilClosed => linger::skip(&mut stream, linger::MAX_REST, &[], read).await,
        }
    });
}

/// Reads the code in `HTTP/1.1 200 OK` (RFC 9112, section 4).
fn status_code(head: &[u8]) -> Option<u16> {
    let line = head.split(|&byte| byte == b'\n').next()?;
    let rest = line.strip_prefix(PROTOCOL)?;
    let (digits, end) = (rest.get(2..5)?, rest.get(5));
    let separated = rest.get(1) == Some(&b' ') && end.is_none_or(|byte| byte.is_ascii_whitespace());
    let digits =
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|_| separated)
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown() {
        for (text, shown) in [
            ("http://a:8080/x/y?z=1#part", "http://a:8080/x/y?z=1"),
            ("HTTP://a", "http://a/"),
            ("http://[::1]:80", "http://[::1]:80/"),
            ("http://[::1]", "http://[::1]/"),
            ("http://a?q", "http://a/?q"),
        ] {
            assert_eq!(HttpUrl::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn texts_that_are_not_urls_are_refused() {
        for text in [
            "",
            "a:80",
            "ftp://a",
            "http://",
            "http://:80/",
            "http://a:b/",
            "http://a/b c",
            "http://a/\r\nX: y",
            "http://u@a/",
        ] {
            assert!(matches!(HttpUrl::parse(text), Err(ProbeError::Url { .. })), "{text}");
        }
        assert!(matches!(HttpUrl::parse("https://a"), Err(ProbeError::Https { .. })));
    }

    #[test]
    fn a_text_that_is_not_a_status_line_has_no_code() {
        assert_eq!(status_code(b"HTTP/1.1 204 No Content\r\nX: y"), Some(204));
        assert_eq!(status_code(b"HTTP/1.0 500"), Some(500));
        for line in
            ["", "HTTP/1.1", "HTTP/1.1 20", "HTTP/1.1 2000", "SSH-2.0-x", "HTTP/2 200", "HTTP/1.1 +20 x"]
        {
            assert_eq!(status_code(line.as_bytes()), None, "{line}");
        }
    }

    fn status(read: &str, ended: bool) -> Option<u16> {
        match Head::of(read.as_bytes(), ended) {
            Head::Status { code, .. } => Some(code),
            Head::Incomplete | Head::Foreign => None,
        }
    }

    #[test]
    fn a_status_is_known_once_its_line_and_all_interim_heads_are_complete() {
        let answer =
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nB: c\r\n\r\n";
        let known = answer.find("OK\r\n").unwrap() + 4;
        for length in 0..=answer.len() {
            let expected = (length >= known).then_some(200);
            assert_eq!(status(&answer[..length], false), expected, "{:?}", &answer[..length]);
            let foreign = Head::of(&answer.as_bytes()[..length], false) == Head::Foreign;
            assert!(!foreign, "{:?}", &answer[..length]);
        }
        assert_eq!(status("HTTP/1.1 404", true), Some(404), "a server may end in the middle of its line");
        assert_eq!(status("HTTP/1.1 101 Switching\r\n", false), Some(101));
        let long = format!("HTTP/1.1 200 {}", "x".repeat(MAX_STATUS_LINE));
        assert_eq!(status(&long, false), Some(200), "the text is not needed");
    }

    #[test]
    fn the_head_determines_where_the_body_ends() {
        let body =
            |fields: &str, code| Body::of(format!("HTTP/1.1 {code} X\r\n{fields}\r\n\r\n").as_bytes(), code);
        assert_eq!(body("Content-Length: 12", 200), Body::Bytes(12));
        assert_eq!(body("CONTENT-LENGTH:12", 503), Body::Bytes(12));
        assert_eq!(body("Transfer-Encoding: gzip, Chunked", 200), Body::Chunks);
        assert_eq!(body("Content-Length: 3\r\nTransfer-Encoding: chunked", 200), Body::Chunks);
        assert_eq!(body("Transfer-Encoding: gzip", 200), Body::UntilClosed);
        assert_eq!(body("Server: x", 200), Body::UntilClosed);
        assert_eq!(body("Content-Length: many", 200), Body::UntilClosed);
        assert_eq!(body("Content-Length: 12", 304), Body::Bytes(0));
        assert_eq!(body("Server: x", 204), Body::Bytes(0));
        assert_eq!(Body::Bytes(5).without(7), Body::Bytes(0));
    }
}
