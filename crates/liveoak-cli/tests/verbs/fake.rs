//! A server with canned answers at a unix socket.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path with its query.
    pub(crate) path: String,
    pub(crate) last_event_id: Option<String>,
    pub(crate) body: String,
}

/// What the server does.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// An answer as it is sent.
    Raw(Vec<u8>),
    /// The beginning of a chunked stream of events, which then ends.
    Stream(String),
    /// The beginning of a stream of events, after which the connection breaks.
    Broken(String),
    /// A stream of events that goes on without anything new.
    Open(String),
    /// No answer, for ever.
    Silence,
}

/// Returns an answer with a JSON value.
pub(crate) fn json(value: &impl Serialize) -> Reply {
    answer("200 OK", "application/json", &serde_json::to_string(value).expect("JSON"))
}

/// Returns an answer with a problem.
pub(crate) fn problem(problem: &liveoak::api::Problem) -> Reply {
    let body = serde_json::to_string(problem).expect("JSON");
    answer(&format!("{} Problem", problem.status), "application/problem+json", &body)
}

/// Returns an answer with any body.
pub(crate) fn answer(status: &str, kind: &str, body: &str) -> Reply {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    Reply::Raw((head + body).into_bytes())
}

/// A running server. It ends with the process of the tests, and its socket with the folder of the test.
pub(crate) struct Fake {
    requests: Arc<Mutex<Vec<Request>>>,
    pub(crate) socket: PathBuf,
}

impl Fake {
    /// Opens the socket, and answers each request with what `reply` returns.
    pub(crate) fn new(socket: &Path, reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Fake {
        let listener = UnixListener::bind(socket).expect("a socket");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, reply) = (Arc::clone(&requests), Arc::new(reply));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), seen, reply) = (stream, Arc::clone(&seen), Arc::clone(&reply)) else {
                    return;
                };
                std::thread::spawn(move || {
                    // A client may look whether there is a server, and send nothing.
                    let Some(request) = read(&stream) else { return };
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                    send(stream, &reply(&request));
                });
            }
        });
        Fake { requests, socket: socket.to_owned() }
    }

    /// Returns the requests so far that changed something or asked for it.
    pub(crate) fn posts(&self) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.method == "POST").collect()
    }

    /// Returns all requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(stream: &UnixStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let mut request =
        Request { method: words.next()?.to_owned(), path: words.next()?.to_owned(), ..Request::default() };
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "last-event-id" => request.last_event_id = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).ok()?;
    Some(request)
}

fn send(mut stream: UnixStream, reply: &Reply) {
    const HEAD: &str =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = |text: &str| format!("{HEAD}{:x}\r\n{text}\r\n", text.len());
    let begin = match reply {
        Reply::Raw(bytes) => bytes.clone(),
        Reply::Stream(text) => (chunk(text) + "0\r\n\r\n").into_bytes(),
        Reply::Broken(text) | Reply::Open(text) => chunk(text).into_bytes(),
        Reply::Silence => vec![],
    };
    // The client may be gone.
    let _ = stream.write_all(&begin);
    if matches!(reply, Reply::Open(_) | Reply::Silence) {
        // Until the client goes away.
        let _ = stream.read(&mut [0]);
    }
}
