//! TCP, HTTP and unix probes of all kinds of servers. The probes judge the servers, and the servers see no connection
//! error.

use crate::support::{Dir, TIME_LIMIT, within};
use liveoak_process::Probe;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

/// A server of one connection. It ends with the error that it saw, if any.
struct Server {
    port: u16,
    thread: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Starts a server that handles one connection with `handle` and then waits for the end of the connection, which
    /// must not be a reset.
    fn new(handle: impl FnOnce(&mut TcpStream) -> io::Result<()> + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = move || {
            let (mut stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(TIME_LIMIT))?;
            handle(&mut stream)?;
            io::copy(&mut stream, &mut io::sink()).map(drop)
        };
        Server { port, thread: std::thread::spawn(serve) }
    }

    /// Starts a server that reads a request and writes these pieces, with a pause before each. If the pieces do not end
    /// the answer, the server ends the connection.
    fn of_pieces(pieces: Vec<Vec<u8>>, has_end: bool) -> Server {
        Server::new(move |stream| {
            read_request(stream)?;
            for piece in pieces {
                sleep(PAUSE);
                stream.write_all(&piece)?;
            }
            if has_end { Ok(()) } else { stream.shutdown(Shutdown::Write) }
        })
    }

    /// Checks the server once with an HTTP probe. If the server is not ready, returns the reason without the URL.
    async fn check_http(&self) -> Option<String> {
        let probe = Probe::http(&format!("http://127.0.0.1:{}/", self.port)).unwrap().timeout(TIME_LIMIT);
        let failure = within(probe.start().check()).await.err()?.to_string();
        Some(failure.split(" from http://").next().unwrap().to_owned())
    }

    /// Waits for its end, and asserts that it saw no error.
    async fn saw_no_error(self, what: &str) {
        let end = tokio::task::spawn_blocking(|| self.thread.join().unwrap());
        within(end).await.unwrap().unwrap_or_else(|error| panic!("{what}: the server saw: {error}"));
    }
}

/// The reason why a server is not ready; `None` if it is ready.
type Verdict = Option<&'static str>;

/// Longer than a probe needs to hang up.
const PAUSE: Duration = Duration::from_millis(20);

fn read_request(stream: &mut TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    Ok(())
}

fn pieces(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn bytes_of(text: &str) -> Vec<Vec<u8>> {
    text.bytes().map(|byte| vec![byte]).collect()
}

#[tokio::test]
async fn an_http_server_is_judged_by_its_final_status_and_can_send_its_whole_answer() {
    let long = "x".repeat(100_000);
    let huge_head = format!("HTTP/1.1 200 OK\r\nX-Long: {long}\r\nContent-Length: 4\r\n\r\n");
    let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
    let cases: Vec<(&str, Verdict, Vec<Vec<u8>>)> = vec![
        ("a body in pieces", None, pieces(&[&head("Content-Length: 6"), "ab", "cd", "ef"])),
        ("a long body", None, pieces(&[&head("content-length: 200000"), &long, &long])),
        ("a body without a length", None, pieces(&["HTTP/1.0 200 OK\r\n\r\n", &long, &long])),
        (
            "a body in chunks",
            None,
            pieces(&[&head("Transfer-Encoding: chunked"), "2\r\nab\r\n", "1\r\nc\r\n", "0\r\n\r\n"]),
        ),
        ("an empty body in chunks", None, pieces(&[&head("Transfer-Encoding: chunked"), "0\r\n\r\n"])),
        ("a kept connection", None, pieces(&[&head("Connection: keep-alive\r\nContent-Length: 2"), "ok"])),
        ("no body", None, pieces(&["HTTP/1.1 204 No Content\r\n", "Date: now\r\n", "\r\n"])),
        ("not modified", None, pieces(&["HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"])),
        ("a redirect with a page", None, pieces(&["HTTP/1.1 302 Found\r\nContent-Length: 2\r\n\r\n", "go"])),
        ("a head byte by byte", None, bytes_of("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")),
        ("a huge head", None, pieces(&[&huge_head, "body"])),
        ("line ends without a carriage return", None, pieces(&["HTTP/1.1 200 OK\nA: b\n\n", &long])),
        (
            "interim answers",
            None,
            pieces(&[
                "HTTP/1.1 100 Continue\r\n\r\n",
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n",
                "Link: </b>\r\n\r\nHTTP/1.1 200",
                " OK\r\n\r\n",
                "body",
            ]),
        ),
        (
            "a failure after an interim answer",
            Some("status 503"),
            pieces(&["HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 503 Busy\r\n\r\n", &long, &long]),
        ),
        ("an error page", Some("status 500"), pieces(&["HTTP/1.1 500 Oops\r\n\r\n", &long, "end"])),
    ];
    for (what, expected, answer) in cases {
        // The length of the body is not searched in a huge head.
        let text = String::from_utf8(answer.concat()).unwrap();
        let has_end =
            ["ontent-", "chunked", " 204 "].iter().any(|end| text.contains(end)) && what != "a huge head";
        let server = Server::of_pieces(answer, has_end);
        assert_eq!(server.check_http().await.as_deref(), expected, "{what}");
        server.saw_no_error(what).await;
    }
}

#[tokio::test]
async fn a_server_that_is_too_slow_for_a_try_can_still_send_its_whole_answer() {
    for (what, pieces) in [
        ("a slow head", bytes_of("HTTP/1.1 204 No Content\r\nA: b\r\n\r\n")),
        (
            "an interim answer before it",
            pieces(&["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\n", "\r\nx"]),
        ),
        (
            "a long body after it",
            pieces(&["HTTP/1.1 200", " OK\r\nContent-Length: 200000\r\n\r\n", &"x".repeat(200_000)]),
        ),
    ] {
        let server = Server::of_pieces(pieces, false);
        let url = format!("http://127.0.0.1:{}/", server.port);
        let failure =
            within(Probe::http(&url).unwrap().timeout(PAUSE / 2).start().check()).await.unwrap_err();
        assert!(failure.to_string().contains("without success"), "{what}: {failure}");
        server.saw_no_error(what).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_refused_at_once() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000);
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        (
            "an upgrade that was not asked for",
            "status 101",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec(),
        ),
        ("another protocol without a line end", "no answer in HTTP/1", b"\x4a\0\0\0\x0a8.0.36".to_vec()),
        ("HTTP/2", "no answer in HTTP/1", b"\0\0\x12\x04\0\0\0\0\0".to_vec()),
        (
            "TLS",
            "an answer in TLS (https is not supported, use a plain http port or a command probe)",
            vec![0x15, 0x03, 0x01, 0, 2, 2, 80],
        ),
        ("endless interim answers", "no answer in HTTP/1", interim.into_bytes()),
    ];
    for (what, expected, answer) in cases {
        let server = Server::new(move |stream| {
            let _hung_up = stream.write_all(&answer);
            Ok(())
        });
        assert_eq!(server.check_http().await.as_deref(), Some(expected), "{what}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_was_read_counts() {
    let server = Server::new(|stream| {
        stream.write_all(b"HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\n")?;
        stream.shutdown(Shutdown::Both)
    });
    assert_eq!(server.check_http().await.as_deref(), Some("status 503"));
}

#[tokio::test]
async fn a_server_that_greets_is_not_reset_by_a_tcp_probe() {
    let server = Server::new(|stream| {
        for line in ["220-mail.example ESMTP\r\n", "220-welcome\r\n", "220 ready\r\n"] {
            sleep(PAUSE);
            stream.write_all(line.as_bytes())?;
        }
        Ok(())
    });
    let probe = Probe::tcp(&format!("127.0.0.1:{}", server.port)).unwrap();
    within(probe.start().check()).await.unwrap();
    server.saw_no_error("a greeting").await;
}

#[tokio::test]
async fn a_server_that_resets_an_accepted_connection_counts_as_ready() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let probe = Probe::tcp(&listener.local_addr().unwrap().to_string()).unwrap().start();
    let reset_all = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_zero_linger().unwrap();
        }
    };
    tokio::select! {
        ready = within(probe.wait_until_ready()) => ready.unwrap(),
        () = reset_all => unreachable!("it has no end"),
    }
}

#[tokio::test]
async fn a_unix_probe_connects_to_a_socket_in_a_folder_of_any_depth() {
    let dir = Dir::new();
    let mut folder = dir.path().to_owned();
    for depth in 0..60 {
        folder = folder.join(format!("folder-number-{depth:03}"));
    }
    std::fs::create_dir_all(&folder).unwrap();
    let socket = folder.join("s".repeat(100));
    assert!(socket.as_os_str().as_bytes().len() > 1000);
    let probe = Probe::unix(&socket).every(Duration::from_millis(5)).start();
    let failure = within(probe.check()).await.unwrap_err();
    assert_eq!(failure.to_string(), format!("nothing there at {}", socket.display()));
    // The server binds a path that leads to the same folder.
    let opened = std::fs::File::open(&folder).unwrap();
    let short = format!("/proc/self/fd/{}/short", opened.as_raw_fd());
    drop(UnixListener::bind(&short).unwrap());
    std::fs::rename(&short, &socket).unwrap();
    let failure = within(probe.check()).await.unwrap_err();
    assert_eq!(failure.to_string(), format!("connection refused at {}", socket.display()));
    std::fs::remove_file(&socket).unwrap();
    let _listener = UnixListener::bind(&short).unwrap();
    std::fs::rename(&short, &socket).unwrap();
    within(probe.wait_until_ready()).await.unwrap();
}

#[tokio::test]
async fn a_unix_probe_reports_why_a_socket_takes_no_connection() {
    let dir = Dir::new();
    let reason = async |path: &std::path::Path| within(Probe::unix(path).start().check()).await.unwrap_err();
    let datagrams = dir.at("datagrams");
    let _socket = std::os::unix::net::UnixDatagram::bind(&datagrams).unwrap();
    let said = reason(&datagrams).await.to_string();
    assert_eq!(
        said,
        format!("a socket without connections (datagrams, for example) at {}", datagrams.display())
    );
    let file = dir.file("file", "", 0o644);
    assert_eq!(reason(&file).await.to_string(), format!("connection refused at {}", file.display()));
    let busy = dir.at("busy");
    let _listener = UnixListener::bind(&busy).unwrap();
    let mut waiting = Vec::new();
    let said = loop {
        let client = tokio::net::UnixStream::connect(&busy).await;
        match client {
            Ok(client) => waiting.push(client),
            Err(_) => break reason(&busy).await.to_string(),
        }
    };
    assert_eq!(said, format!("too many connections wait to be accepted at {}", busy.display()));
}
