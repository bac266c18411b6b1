//! Accepts connections, and answers their requests.

use crate::answer::{self, Answer};
use crate::bind::Bound;
use crate::connection::{Activity, Connections, Room, serve};
use crate::limits::{FINISH_WITHIN, MAX_CONNECTIONS};
use crate::request::{Caller, Request, read_body};
use crate::routes::{self, Found};
use crate::server::Server;
use crate::tcp;
use hyper::body::{Bytes, Incoming};
use liveoak_api::Problem;
use liveoak_runtime::{Events, Snapshot};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::watch;

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
pub(crate) enum Peer {
    /// This user, or root, over the unix socket.
    Owner,
    /// Another user over the unix socket.
    Foreign,
    /// Anyone who can reach the TCP address.
    Tcp,
    /// Anyone, while all connections are in use.
    Excess,
}

/// A server that listens.
pub(crate) struct Serving {
    server: Arc<Server>,
    bound: Bound,
    unix: UnixListener,
    tcp: Option<TcpListener>,
    /// Those over the unix socket, and those over TCP.
    connections: [Connections; 2],
}

impl Serving {
    /// Makes the server. Call it inside the runtime that will run it.
    pub(crate) fn new(server: Arc<Server>, listeners: Listeners) -> io::Result<Self> {
        let Listeners { bound, unix, tcp } = listeners;
        let unix = UnixListener::from_std(unix)?;
        let tcp = tcp.map(TcpListener::from_std).transpose()?;
        let connections = [Connections::new(MAX_CONNECTIONS), Connections::new(MAX_CONNECTIONS)];
        Ok(Self { server, bound, unix, tcp, connections })
    }

    /// Serves until the tree has ended, or `stopped` says so; then finishes what has begun, for a bounded time.
    pub(crate) async fn run(
        mut self,
        (begin, events): (Snapshot, Events),
        mut stopped: watch::Receiver<bool>,
    ) {
        let (finish, finishing) = watch::channel(false);
        let recorder = Arc::clone(&self.server.recorder);
        let tree = self.server.tree.clone();
        let mut recording = tokio::spawn(async move { recorder.record(events, begin, &tree).await });
        let watching = tokio::spawn(crate::diagnose::watch(Arc::clone(&self.server)));
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
                _ = look.tick() => {
                    self.make_socket_again();
                    self.server.recorder.history().inspect(|history| history.tell_notices());
                }
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
        watching.abort();
        self.begin_those_that_wait(&finishing).await;
        let Self { bound, unix, tcp, mut connections, .. } = self;
        // New callers are told at once that there is no tree any more.
        drop((unix, tcp, bound));
        finish.send_replace(true);
        let finished = async {
            for set in &mut connections {
                set.all_ended().await;
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
        let peer = match connections.make_room() {
            Room::Free => peer,
            Room::Excess => Peer::Excess,
            Room::None => return,
        };
        let (server, finishing, activity) = (Arc::clone(&self.server), finishing.clone(), Activity::new());
        connections.add(Arc::clone(&activity), async move {
            let respond = |request| {
                let server = Arc::clone(&server);
                async move { respond(&server, request, peer).await }
            };
            serve(stream, activity, finishing, respond).await;
        });
    }
}

/// Waits until a connection has ended.
async fn any_ended([unix, tcp]: &mut [Connections; 2]) {
    tokio::select! {
        () = unix.any_ended() => {}
        () = tcp.any_ended() => {}
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
pub(crate) async fn respond(server: &Arc<Server>, request: hyper::Request<Incoming>, peer: Peer) -> Answer {
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
    if peer == Peer::Excess {
        let problem = Problem::new("too-many-connections", "all connections to this tree are in use");
        return Err(problem.expected(format!("at most {MAX_CONNECTIONS} requests at the same time")));
    }
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
    let is_trusted = match &server.access {
        _ if peer == Peer::Owner => true,
        Some(access) => tcp::is_trusted(&head.headers, route.method, access)?,
        None => false,
    };
    if !is_trusted && !route.open {
        let problem = Problem::new("unauthorized", "this request has no valid token");
        return Err(problem.expected(
            "the header `Authorization: Bearer TOKEN`, with the token of the token file, or the cookie of a one-time address \
             (`liveoak login` prints one)",
        ));
    }
    // Strangers may ask for a verdict, but not hold a connection with a body that comes slowly.
    let body = if is_trusted { read_body(body).await? } else { Bytes::new() };
    let from =
        Caller { is_trusted, is_local: peer == Peer::Owner, only_head: head.method == hyper::Method::HEAD };
    let request = Request::new(route, tail, head.uri.query(), head.headers, body, from)?;
    routes::handle(server, request).await
}
