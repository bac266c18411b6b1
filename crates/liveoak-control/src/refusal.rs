//! The answers that hyper makes by itself, before a request has reached us: it answers a head that it cannot read with a bare
//! status. [`ProblemIo`] stands between hyper and the connection, and sends a problem in the place of such an answer.

use crate::connection::Activity;
use crate::limits::MAX_HEAD;
use hyper::StatusCode;
use liveoak_api::Problem;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most headers of a request: a bound of hyper.
const MAX_HEADERS: usize = 100;

/// A connection on which the bare answers of hyper become problems. It notes when bytes have moved.
pub(crate) struct ProblemIo<S> {
    stream: S,
    activity: Arc<Activity>,
    /// The answer that is being written, and how much of it has been.
    answer: Option<(Vec<u8>, usize)>,
}

impl<S> ProblemIo<S> {
    pub(crate) const fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity, answer: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ProblemIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, into));
        self.activity.touch();
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ProblemIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.answer.is_none() {
            this.answer = bare_status(bytes).map(|status| (problem_of(status), 0));
        }
        // Hyper comes back with the same bytes until they are written. They count as written when the problem is.
        while let Some((problem, written)) = &mut this.answer {
            if *written == problem.len() {
                this.answer = None;
                return Poll::Ready(Ok(bytes.len()));
            }
            match ready!(Pin::new(&mut this.stream).poll_write(context, &problem[*written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => *written += more,
            }
        }
        let written = ready!(Pin::new(&mut this.stream).poll_write(context, bytes));
        this.activity.touch();
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        // A bare answer has no body, so it is one slice.
        if let (Some(only), None) = (filled.next(), filled.next()) {
            return self.poll_write(context, only);
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, slices));
        self.activity.touch();
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Returns the status of an answer that hyper has made by itself. It has no body; each refusal of ours has one.
fn bare_status(bytes: &[u8]) -> Option<StatusCode> {
    let rest = bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?;
    let status = StatusCode::from_bytes(rest.get(..3)?).ok().filter(|status| status.is_client_error())?;
    let head = rest.strip_suffix(b"\r\n\r\n")?;
    let is_bare = head.split(|byte| *byte == b'\n').any(|line| line.trim_ascii() == b"content-length: 0");
    is_bare.then_some(status)
}

/// Returns the whole answer for a head that hyper has refused. The connection ends with it.
fn problem_of(status: StatusCode) -> Vec<u8> {
    let problem = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE | StatusCode::URI_TOO_LONG => {
            let problem =
                Problem::new("head-too-large", "the path or the headers of the request are too long");
            problem.expected(format!("at most {MAX_HEAD} bytes, and {MAX_HEADERS} headers"))
        }
        _ => Problem::new("bad-request", "the head of the request cannot be read").expected("HTTP/1.1"),
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let status = StatusCode::from_u16(problem.status).unwrap_or(status);
    let mut answer = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len()
    )
    .into_bytes();
    answer.extend(body);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_without_a_body_is_one_that_hyper_has_made() {
        let bare = |text: &str| bare_status(text.as_bytes()).map(|status| status.as_u16());
        let date = "date: Thu, 01 Jan 1970 00:00:00 GMT";
        let text = |status: &str, length: usize| {
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{date}\r\n\r\n")
        };
        assert_eq!(bare(&text("431 Request Header Fields Too Large", 0)), Some(431));
        assert_eq!(bare(&text("400 Bad Request", 0)), Some(400));
        assert_eq!(bare(&text("400 Bad Request", 10)), None);
        assert_eq!(bare(&text("200 OK", 0)), None);
        assert_eq!(bare("HTTP/1.1 100 Continue\r\n\r\n"), None);
        assert_eq!(bare("data: HTTP/1.1 400\r\n\r\n"), None);
    }
}
