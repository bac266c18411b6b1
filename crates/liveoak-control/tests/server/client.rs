//! A client that knows nothing of the server: bytes over a socket.

use serde_json::Value;
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a test waits for bytes before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the code of a problem.
    pub(crate) fn code(&self) -> String {
        assert!(self.head.contains("application/problem+json"), "{self:?}");
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Sends bytes over a unix socket, and returns the answer.
pub(crate) fn raw(socket: &Path, request: &str) -> Answer {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    read(stream)
}

/// Sends bytes over TCP, and returns the answer.
pub(crate) fn raw_tcp(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    read(stream)
}

fn read(mut stream: impl Read) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = if head.contains("transfer-encoding: chunked") { unchunked(body) } else { body.to_owned() };
    Answer { status: status.unwrap_or_else(|| panic!("no status: {head}")), head: head.to_owned(), body }
}

fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        text.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    text
}

/// Reads a route over the unix socket.
pub(crate) fn get(socket: &Path, route: &str) -> Answer {
    raw(socket, &format!("GET {route} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
}

/// Gives a command over the unix socket.
pub(crate) fn post(socket: &Path, route: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let length = body.len();
    raw(
        socket,
        &format!(
            "POST {route} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        ),
    )
}

/// A stream of server-sent events, read as it comes.
pub(crate) struct Stream {
    socket: BufReader<UnixStream>,
    /// The end of the body so far, without its chunks: a record that is not complete.
    text: String,
    /// The objects that were read and not returned yet.
    objects: VecDeque<(String, Value)>,
}

impl Stream {
    pub(crate) fn open(socket: &Path, route: &str, last_id: Option<&str>) -> Self {
        let mut stream = Self::connect(socket);
        stream.ask(route, last_id);
        stream
    }

    /// Connects, and asks nothing yet.
    pub(crate) fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket: BufReader::new(stream), text: String::new(), objects: VecDeque::new() }
    }

    pub(crate) fn ask(&mut self, route: &str, last_id: Option<&str>) {
        let id = last_id.map_or_else(String::new, |id| format!("last-event-id: {id}\r\n"));
        write!(self.socket.get_mut(), "GET {route} HTTP/1.1\r\nhost: x\r\n{id}\r\n").unwrap();
    }

    /// Returns the next object with its id; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(object) = self.objects.pop_front() {
                return Some(object);
            }
            let mut line = String::new();
            // The lines of the head come first.
            while usize::from_str_radix(line.trim_end(), 16).is_err() {
                line.clear();
                if self.socket.read_line(&mut line).unwrap() == 0 {
                    return None;
                }
            }
            let mut chunk = vec![0; usize::from_str_radix(line.trim_end(), 16).unwrap()];
            if chunk.is_empty() {
                return None;
            }
            self.socket.read_exact(&mut chunk).unwrap();
            self.text.push_str(&String::from_utf8(chunk).unwrap());
            let text = std::mem::take(&mut self.text);
            let mut records: Vec<&str> = text.split("\n\n").collect();
            self.text = records.pop().unwrap_or_default().to_owned();
            for record in records {
                let field = |name: &str| record.lines().find_map(|line| line.strip_prefix(name));
                // A comment keeps the connection alive, and has no data.
                if let Some(data) = field("data: ") {
                    let id = field("id: ").unwrap_or_default().to_owned();
                    self.objects.push_back((id, serde_json::from_str(data).unwrap()));
                }
            }
        }
    }
}
