//! Connections: how many there may be, how long each has been idle, and the requests on one.
//!
//! If there are too many, the one that has been idle longest is closed. So neither forgotten nor hostile idle connections keep
//! a caller out. If all are in use, a few more are taken, only to be told so.

use crate::answer::{Answer, AnswerBody};
use crate::limits::{FIRST_REQUEST_WITHIN, HEAD_WITHIN, MAX_EXCESS, MAX_HEAD};
use crate::refusal::ProblemIo;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// What a connection is doing.
#[derive(Debug)]
pub(crate) struct Activity(Mutex<Doing>);

#[derive(Debug)]
struct Doing {
    /// The requests whose answer is not complete.
    requests: usize,
    /// When bytes moved last.
    moved: Instant,
}

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Doing { requests: 0, moved: Instant::now() })))
    }

    fn change(&self, change: impl FnOnce(&mut Doing)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Notes that bytes have moved.
    pub(crate) fn touch(&self) {
        self.change(|doing| doing.moved = Instant::now());
    }

    /// Notes a request, until the value is dropped.
    fn begin(self: &Arc<Self>) -> Busy {
        self.change(|doing| doing.requests += 1);
        Busy(Arc::clone(self))
    }

    /// Returns since when the connection has been idle; `None` while a request on it is answered.
    fn idle_since(&self) -> Option<Instant> {
        let doing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (doing.requests == 0).then_some(doing.moved)
    }
}

/// A request whose answer is not complete.
struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.change(|doing| (doing.requests, doing.moved) = (doing.requests - 1, Instant::now()));
    }
}

/// Whether there is room for one more connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// There is.
    Free,
    /// All are in use. This one is only told so.
    Excess,
    /// Not even for that.
    None,
}

/// The open connections of one listener.
pub(crate) struct Connections {
    tasks: JoinSet<()>,
    /// Those that have not ended, and some that have.
    open: Vec<(Arc<Activity>, AbortHandle)>,
    max: usize,
}

impl Connections {
    pub(crate) fn new(max: usize) -> Self {
        Self { tasks: JoinSet::new(), open: Vec::new(), max }
    }

    /// Makes room for one more connection. May close the one that has been idle longest.
    pub(crate) fn make_room(&mut self) -> Room {
        if self.open.len() < self.max {
            return Room::Free;
        }
        self.open.retain(|(_, task)| !task.is_finished());
        if self.open.len() < self.max {
            return Room::Free;
        }
        let idle = self.open.iter().enumerate().filter_map(|(nth, (of, _))| Some((of.idle_since()?, nth)));
        if let Some((_, nth)) = idle.min() {
            let (_, task) = self.open.swap_remove(nth);
            task.abort();
            return Room::Free;
        }
        if self.open.len() < self.max + MAX_EXCESS { Room::Excess } else { Room::None }
    }

    /// Serves a connection, beside the others.
    pub(crate) fn add(&mut self, activity: Arc<Activity>, serve: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(serve);
        self.open.push((activity, task));
    }

    /// Waits until a connection has ended; for ever if there is none.
    pub(crate) async fn any_ended(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until all connections have ended.
    pub(crate) async fn all_ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Serves the requests of one connection by `respond`, until it ends, or `finishing` says so and the request that has begun is
/// answered.
pub(crate) async fn serve<F: Future<Output = Answer>>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    activity: Arc<Activity>,
    mut finishing: watch::Receiver<bool>,
    respond: impl Fn(hyper::Request<Incoming>) -> F,
) {
    let stream = TokioIo::new(ProblemIo::new(stream, Arc::clone(&activity)));
    let (asks, mut asked) = watch::channel(false);
    let service = service_fn(|request| {
        asks.send_replace(true);
        let (busy, answer) = (activity.begin(), respond(request));
        async move {
            let (head, body) = answer.await.into_parts();
            let body: AnswerBody = BusyBody { body, _busy: busy }.boxed_unsync();
            Ok::<_, Infallible>(Answer::from_parts(head, body))
        }
    });
    let mut http = http1::Builder::new();
    http.half_close(true).timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(MAX_HEAD);
    let mut connection = std::pin::pin!(http.serve_connection(stream, service));
    tokio::select! {
        // A broken connection concerns only its client.
        _ = connection.as_mut() => return,
        _ = finishing.wait_for(|finishing| *finishing) => {}
    }
    // A first request that is on its way is answered; hyper would close a connection without one at once.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = asked.wait_for(|asked| *asked) => {}
        () = tokio::time::sleep(FIRST_REQUEST_WITHIN) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// A body that keeps its connection busy.
struct BusyBody {
    body: AnswerBody,
    _busy: Busy,
}

impl Body for BusyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer;
    use crate::limits::BODY_WITHIN;
    use crate::request::read_body;
    use hyper::StatusCode;
    use liveoak_api::Problem;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    /// Connections, and what asks them to finish.
    struct Open(Connections, watch::Sender<bool>);

    impl Open {
        fn new(max: usize) -> Self {
            Self(Connections::new(max), watch::Sender::new(false))
        }

        /// Opens a connection, if there is room. Returns its other end.
        fn connect(&mut self) -> Result<DuplexStream, Room> {
            let room = self.0.make_room();
            if room != Room::Free {
                return Err(room);
            }
            let (ours, theirs) = duplex(64 * 1024);
            let (activity, finishing) = (Activity::new(), self.1.subscribe());
            self.0.add(Arc::clone(&activity), serve(ours, activity, finishing, measure));
            Ok(theirs)
        }
    }

    /// Answers with the length of the body.
    async fn measure(request: hyper::Request<Incoming>) -> Answer {
        match read_body(request.into_body()).await {
            Ok(body) => answer::text(StatusCode::OK, format!("{} bytes", body.len())),
            Err(problem) => answer::problem(&problem),
        }
    }

    async fn send(stream: &mut DuplexStream, text: &str) {
        stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until the server closes the connection.
    async fn all(stream: &mut DuplexStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    /// Reads one answer of [`measure`].
    async fn one(stream: &mut DuplexStream) -> String {
        let mut text = String::new();
        while !text.ends_with("bytes") {
            text.push(char::from(stream.read_u8().await.unwrap()));
        }
        text
    }

    const BODY: &str = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n";

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_come_in_time_ends_its_connection() {
        let mut open = Open::new(10);
        let mut stream = open.connect().unwrap();
        send(&mut stream, "GET / HTTP/1.1\r\nhost: x\r\n").await;
        let began = Instant::now();
        assert_eq!(all(&mut stream).await, "");
        assert_eq!(began.elapsed().as_secs(), HEAD_WITHIN.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_idle_after_a_request_is_closed_in_time() {
        let mut open = Open::new(10);
        let mut stream = open.connect().unwrap();
        send(&mut stream, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(one(&mut stream).await.ends_with("0 bytes"));
        let began = Instant::now();
        assert_eq!(all(&mut stream).await, "");
        assert_eq!(began.elapsed().as_secs(), HEAD_WITHIN.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_in_time_is_refused() {
        let mut open = Open::new(10);
        let mut stream = open.connect().unwrap();
        send(&mut stream, &format!("{BODY}12345")).await;
        let began = Instant::now();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 408");
        assert_eq!(began.elapsed().as_secs(), BODY_WITHIN.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_is_too_large_or_cannot_be_read_is_refused_with_a_problem() {
        let many = "a: b\r\n".repeat(101);
        for (head, status, code) in [
            (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(MAX_HEAD)), 431, "head-too-large"),
            (format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(MAX_HEAD)), 431, "head-too-large"),
            (format!("GET / HTTP/1.1\r\n{many}\r\n"), 431, "head-too-large"),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n".to_owned(), 400, "bad-request"),
            ("nonsense\r\n\r\n".to_owned(), 400, "bad-request"),
            ("GET / HTTP/9.9\r\n\r\n".to_owned(), 400, "bad-request"),
            ("POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n".to_owned(), 400, "bad-request"),
        ] {
            let mut open = Open::new(10);
            let mut stream = open.connect().unwrap();
            send(&mut stream, &head).await;
            let answer = all(&mut stream).await;
            let start: String = head.chars().take(40).collect();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{start}: {answer}");
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.contains("\r\ncontent-type: application/problem+json"), "{start}: {answer}");
            assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{start}: {answer}");
            let problem: Problem = serde_json::from_str(body).unwrap();
            assert_eq!((problem.status, problem.code.as_str()), (status, code), "{start}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_has_been_idle_longest_makes_room_for_a_new_one() {
        let mut open = Open::new(3);
        let mut streams = Vec::new();
        for _ in 0..3 {
            streams.push(open.connect().unwrap());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // The first one is used again, so the second one has been idle longest.
        send(&mut streams[0], "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(one(&mut streams[0]).await.ends_with("0 bytes"));
        let mut new = open.connect().unwrap();
        assert_eq!(all(&mut streams[1]).await, "", "it is closed");
        for stream in [0, 2] {
            send(&mut streams[stream], "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
            assert!(one(&mut streams[stream]).await.ends_with("0 bytes"), "{stream} is open");
        }
        send(&mut new, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(one(&mut new).await.ends_with("0 bytes"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_a_request_makes_no_room() {
        let mut open = Open::new(2);
        let mut streams = [open.connect().unwrap(), open.connect().unwrap()];
        for stream in &mut streams {
            send(stream, BODY).await;
        }
        // The requests are being answered as soon as the server has read their heads.
        while open.0.open.iter().any(|(activity, _)| activity.idle_since().is_some()) {
            tokio::task::yield_now().await;
        }
        assert_eq!(open.connect().unwrap_err(), Room::Excess);
        send(&mut streams[0], "1234567890").await;
        assert!(one(&mut streams[0]).await.ends_with("10 bytes"));
        assert!(open.connect().is_ok(), "now the first one is idle");
        send(&mut streams[1], "1234567890").await;
        assert!(one(&mut streams[1]).await.ends_with("10 bytes"));
    }
}
