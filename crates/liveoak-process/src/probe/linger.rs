//! The polite end of a connection that has answered a probe.
//!
//! A server that is still writing when the other end is closed logs an error ("broken pipe", "connection reset by
//! peer"), or counts the client as a faulty one. So a connection is closed only after the server has sent everything. A
//! task in the background waits for this, so that no check has to. Limits bound the time, the bytes and the number of
//! connections.

use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// The most connections that are read to their end at the same time. Further ones are closed at once.
const MAX_LINGERING: usize = 64;

/// How much is read at once.
const PIECE: usize = 16 * 1024;

static LINGERING: Semaphore = Semaphore::const_new(MAX_LINGERING);

/// How long the rest of an answer is read.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long a server may take to end a connection on which no request was sent.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// The most that is read of the rest of an answer.
pub(super) const MAX_REST: u64 = 64 * 1024 * 1024;

/// Ends a connection on which no request was sent. Closes its own direction, and reads in the background what the
/// server sends (a greeting) until the server closes the connection as well.
pub(super) fn say_goodbye(mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    in_background(GOODBYE_WITHIN, async move {
        if stream.shutdown().await.is_ok() {
            skip(&mut stream, MAX_REST, &[], Vec::new()).await;
        }
    });
}

/// Runs the end of a connection for at most `limit`. If too many run already, the connection is dropped at once.
pub(super) fn in_background(limit: Duration, end: impl Future<Output = ()> + Send + 'static) {
    // Without a runtime, `end` and its connection are dropped.
    let Ok(runtime) = Handle::try_current() else { return };
    if let Ok(permit) = LINGERING.try_acquire() {
        runtime.spawn(async move {
            let _too_slow = tokio::time::timeout(limit, end).await;
            drop(permit);
        });
    }
}

/// Reads and discards bytes until the end of the stream, until `most` bytes were read, or until a piece ends with
/// `end`, if `end` is not empty. `last` holds the bytes that were read before.
pub(super) async fn skip(
    stream: &mut (impl AsyncRead + Unpin),
    mut most: u64,
    end: &'static [u8],
    mut last: Vec<u8>,
) {
    while most > 0 && (end.is_empty() || !last.ends_with(end)) {
        last.drain(..last.len().saturating_sub(end.len()));
        let old = last.len();
        last.resize(old + PIECE, 0);
        let length = stream.read(&mut last[old..]).await.unwrap_or(0);
        if length == 0 {
            return;
        }
        last.truncate(old + length);
        most = most.saturating_sub(length as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    #[tokio::test(start_paused = true)]
    async fn beyond_the_limit_a_connection_is_closed_at_once() {
        let (_unused, mut server) = (LINGERING.acquire_many(MAX_LINGERING as u32).await.unwrap(), duplex(64));
        say_goodbye(server.0);
        assert_eq!(server.1.write(b"220 hello").await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_a_server_that_neither_sends_nor_closes_is_bounded() {
        let (client, mut server) = duplex(64);
        let began = tokio::time::Instant::now();
        say_goodbye(client);
        let mut nothing = Vec::new();
        assert_eq!(
            server.read_to_end(&mut nothing).await.unwrap(),
            0,
            "the probe has closed its own direction"
        );
        while server.write(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!((GOODBYE_WITHIN..2 * GOODBYE_WITHIN).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    async fn skipped(text: &'static [u8], most: u64, end: &'static [u8], last: &[u8]) -> usize {
        let mut rest = text;
        skip(&mut rest, most, end, last.to_vec()).await;
        text.len() - rest.len()
    }

    #[tokio::test]
    async fn reading_stops_at_the_end_of_the_answer() {
        assert_eq!(skipped(b"abc", MAX_REST, b"", b"").await, 3);
        assert_eq!(skipped(b"abc", 0, b"", b"").await, 0);
        assert_eq!(skipped(b"abc", MAX_REST, b"\r\n0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n0\r\n\r\n").await, 0);
        // The end may come in several pieces, from a server that keeps the connection.
        let (mut client, mut server) = duplex(3);
        let send = async {
            server.write_all(b"1\r\na\r\n0\r\n\r\n").await.unwrap();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = skip(&mut client, MAX_REST, b"\r\n0\r\n\r\n", Vec::new()) => {}
            () = send => unreachable!("it has no end"),
        }
    }
}
