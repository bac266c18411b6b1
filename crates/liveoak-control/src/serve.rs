//! Accepts connections, and answers their requests.

use crate::answer::{self, Answer};
use crate::bind::Bound;
use crate::limits::{FINISH_WITHIN, FIRST_REQUEST_WITHIN, HEAD_WITHIN, MAX_CONNECTIONS, MAX_HEAD};
use crate::request::{Request, read_body};
use crate::routes::{self, Found};
use crate::server::Server;
use crate::tcp;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use liveoak_api::Problem;
use liveoak_runtime::Events;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often the server looks whether its socket is still there.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long the server rests when the system has no more descriptors.
const REST: Duration = Duration::from_millis(100);

/// How long the server looks for connections that were made just before the end of the tree.
const LAST_CALL: Duration = Duration::from_millis(5);

/// What a server listens on.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) bound: Bound,
    pub(crate) unix: std::os::unix::net::UnixListener,
    pub(crate) tcp: Option<std::net::TcpListener>,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// This user, or root, over the unix socket.
    Owner,
    /// Another user over the unix socket.
    Foreign,
    /// Anyone who can reach the TCP address.
    Tcp,
}

/// A server that listens.
pub(crate) struct Serving {
    server: Arc<Server>,
    bound: Bound,
    unix: UnixListener,
    tcp: Option<TcpListener>,
    /// Those over the unix socket, and those over TCP.
    connections: [JoinSet<()>; 2],
}

impl Serving {
    /// Makes the server. Call it inside the runtime that will run it.
    pub(crate) fn new(server: Arc<Server>, listeners: Listeners) -> io::Result<Self> {
        let Listeners { bound, unix, tcp } = listeners;
        let unix = UnixListener::from_std(unix)?;
        let tcp = tcp.map(TcpListener::from_std).transpose()?;
        Ok(Self { server, bound, unix, tcp, connections: [JoinSet::new(), JoinSet::new()] })
    }

    /// Serves until the tree has ended, or `stopped` says so; then finishes what has begun, for a bounded time.
    pub(crate) async fn run(mut self, events: Events, mut stopped: watch::Receiver<bool>) {
        let (finish, finishing) = watch::channel(false);
        let recorder = Arc::clone(&self.server.recorder);
        let tree = self.server.tree.clone();
        let mut recording = tokio::spawn(async move { recorder.record(events, &tree).await });
        let mut is_asked = true;
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = &mut recording => break,
                changed = stopped.wait_for(|stopped| *stopped), if is_asked => match changed {
                    Ok(_) => break,
                    // The handle was dropped: the server ends with the tree.
                    Err(_) => is_asked = false,
                },
                accepted = self.unix.accept() => match accepted {
                    Ok((stream, _)) => self.begin_unix(stream, &finishing),
                    Err(_) => tokio::time::sleep(REST).await,
                },
                accepted = accept(self.tcp.as_ref()) => match accepted {
                    Ok(stream) => self.begin(stream, Peer::Tcp, &finishing),
                    Err(_) => tokio::time::sleep(REST).await,
                },
                _ = look.tick() => self.make_socket_again(),
                () = any_ended(&mut self.connections) => {}
            }
        }
        // If the tree has ended too, its last events must still reach their readers.
        if self.server.tree.final_report().is_none() {
            recording.abort();
        } else if !recording.is_finished() {
            let _ = tokio::time::timeout(FINISH_WITHIN, &mut recording).await;
        }
        self.server.recorder.close();
        self.begin_those_that_wait(&finishing).await;
        let Self { bound, unix, tcp, mut connections, .. } = self;
        // New callers are told at once that there is no tree any more.
        drop((unix, tcp, bound));
        finish.send_replace(true);
        let finished = async {
            for set in &mut connections {
                while set.join_next().await.is_some() {}
            }
        };
        let _ = tokio::time::timeout(FINISH_WITHIN, finished).await;
    }

    /// Accepts the connections that the system has already established: their callers connected before the end.
    async fn begin_those_that_wait(&mut self, finishing: &watch::Receiver<bool>) {
        for _ in 0..MAX_CONNECTIONS {
            tokio::select! {
                biased;
                Ok((stream, _)) = self.unix.accept() => self.begin_unix(stream, finishing),
                Ok(stream) = accept(self.tcp.as_ref()) => self.begin(stream, Peer::Tcp, finishing),
                // Long enough for the runtime to ask the system for connections.
                () = tokio::time::sleep(LAST_CALL) => return,
            }
        }
    }

    /// Makes the socket again if its file has vanished, for example because a cleaner of `/tmp` has removed it.
    fn make_socket_again(&mut self) {
        let again = self.bound.restore().map(UnixListener::from_std);
        if let Some(Ok(unix)) = again {
            self.unix = unix;
        }
    }

    /// Serves a connection over the unix socket.
    fn begin_unix(&mut self, stream: UnixStream, finishing: &watch::Receiver<bool>) {
        let peer = if is_own(&stream) { Peer::Owner } else { Peer::Foreign };
        self.begin(stream, peer, finishing);
    }

    /// Serves one connection, beside the others.
    fn begin(
        &mut self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
        finishing: &watch::Receiver<bool>,
    ) {
        let connections = &mut self.connections[usize::from(peer == Peer::Tcp)];
        if connections.len() >= MAX_CONNECTIONS {
            return;
        }
        let (server, mut finishing) = (Arc::clone(&self.server), finishing.clone());
        connections.spawn(async move {
            let (asks, mut asked) = watch::channel(false);
            let service = service_fn(move |request| {
                asks.send_replace(true);
                let server = Arc::clone(&server);
                async move { Ok::<_, Infallible>(respond(&server, request, peer).await) }
            });
            let mut http = http1::Builder::new();
            http.half_close(true)
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .max_buf_size(MAX_HEAD);
            let connection = http.serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                // A broken connection concerns only its client.
                _ = connection.as_mut() => return,
                _ = finishing.wait_for(|finishing| *finishing) => {}
            }
            // Wait for a first request that is on its way: hyper would immediately close a connection without a request.
            tokio::select! {
                _ = connection.as_mut() => return,
                _ = asked.wait_for(|asked| *asked) => {}
                () = tokio::time::sleep(FIRST_REQUEST_WITHIN) => {}
            }
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        });
    }
}

/// Waits until a connection has ended.
async fn any_ended(connections: &mut [JoinSet<()>; 2]) {
    let [unix, tcp] = connections;
    tokio::select! {
        Some(_) = unix.join_next() => {}
        Some(_) = tcp.join_next() => {}
        else => std::future::pending().await,
    }
}

/// Returns `true` if this user, or root, is at the other end.
fn is_own(stream: &UnixStream) -> bool {
    let user = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == user || peer.uid() == 0)
}

async fn accept(tcp: Option<&TcpListener>) -> io::Result<tokio::net::TcpStream> {
    match tcp {
        Some(tcp) => tcp.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

/// Answers one request.
async fn respond(server: &Arc<Server>, request: hyper::Request<Incoming>, peer: Peer) -> Answer {
    match route(server, request, peer).await {
        Ok(answer) => answer,
        Err(problem) => answer::problem(&problem),
    }
}

async fn route(
    server: &Arc<Server>,
    request: hyper::Request<Incoming>,
    peer: Peer,
) -> Result<Answer, Problem> {
    if peer == Peer::Foreign {
        return Err(Problem::new("foreign-user", "the socket of this tree belongs to another user"));
    }
    let bucket = if peer == Peer::Tcp { &server.tcp_bucket } else { &server.bucket };
    if !bucket.take() {
        return Err(Problem::new("too-many-requests", "too many requests come at once"));
    }
    let (head, body) = request.into_parts();
    tcp::check_origin(&head.headers)?;
    if peer == Peer::Tcp {
        tcp::check_host(&head.headers)?;
    }
    let (route, tail) = match routes::find(&head.method, head.uri.path()) {
        Found::Route(route, tail) => (route, tail),
        Found::Other(route) => return Ok(answer::wrong_method(route.path, route.method)),
        Found::Nothing => return Err(routes::nothing(head.uri.path())),
    };
    let has_token = || server.token.as_ref().is_some_and(|token| tcp::has_token(&head.headers, token));
    let is_trusted = peer == Peer::Owner || has_token();
    if !is_trusted && !route.open {
        let problem = Problem::new("unauthorized", "this request has no valid token");
        return Err(
            problem.expected("the header `Authorization: Bearer TOKEN`, with the token of the token file")
        );
    }
    let body = read_body(body).await?;
    let request = Request::new(route, tail, head.uri.query(), head.headers, body, is_trusted)?;
    routes::handle(server, request).await
}
