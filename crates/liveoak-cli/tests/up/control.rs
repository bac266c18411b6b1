//! The control socket of `liveoak up`: its bounds, other users, folders with strange names, and `--listen`.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Stream, TestDir, Up};

const STEADY: &str = "[child.a]\ncommand = [\"sleep\", \"1000\"]\n";

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

/// Returns the socket of the tree of a folder.
fn socket(dir: &TestDir) -> PathBuf {
    let (code, out, errors) = run(&mut dir.verb(&["trees", "--json"]));
    assert_eq!(code, Some(0), "{errors}");
    let trees: Value = serde_json::from_str(&out).expect("JSON");
    PathBuf::from(trees[0]["socket"].as_str().expect("a socket"))
}

/// Lets this process open many connections.
fn allow_many_files() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised =
        rustix::process::Rlimit { current: limit.maximum.map(|most| most.min(4096)).or(Some(4096)), ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).expect("a higher limit");
}

#[test]
fn idle_connections_keep_no_command_out() {
    let dir = TestDir::of(STEADY);
    let up = dir.up(&[]);
    up.is_ready();
    let socket = socket(&dir);
    allow_many_files();
    let mut idle: Vec<UnixStream> =
        (0..600).map(|_| UnixStream::connect(&socket).expect("a connection")).collect();
    for args in [&["status"][..], &["ps"], &["restart", "a"]] {
        let (code, _, errors) = run(&mut dir.verb(args));
        assert_eq!(code, Some(0), "{args:?}: {errors}");
    }
    // The oldest ones had to go, and the newest ones are still served.
    assert_eq!(idle[0].read(&mut [0]).expect("closed"), 0);
    let last = idle.last_mut().expect("600 of them");
    last.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").expect("open");
    let mut start = [0; 12];
    last.read_exact(&mut start).expect("an answer");
    assert_eq!(&start, b"HTTP/1.1 200");
    up.stop().with_code(0);
}

#[test]
fn with_all_connections_in_use_a_command_says_so() {
    let dir = TestDir::of(STEADY);
    let up = dir.up(&[]);
    up.is_ready();
    let socket = socket(&dir);
    allow_many_files();
    let streams: Vec<UnixStream> = (0..512)
        .map(|_| {
            let mut stream = UnixStream::connect(&socket).expect("a connection");
            stream.write_all(b"GET /v1/events?follow=true HTTP/1.1\r\nhost: x\r\n\r\n").expect("a request");
            stream.read_exact(&mut [0; 12]).expect("an answer");
            stream
        })
        .collect();
    for args in [&["ps", "--tree", "t"][..], &["ps"]] {
        let (code, _, errors) = run(&mut dir.verb(args));
        assert_eq!(code, Some(1), "{errors}");
        assert!(errors.contains("all connections to this tree are in use"), "{errors}");
    }
    drop(streams);
    up.stop().with_code(0);
}

#[test]
fn a_tree_that_does_not_answer_is_still_the_tree_of_its_folder() {
    let dir = TestDir::of(STEADY);
    let up = dir.up(&[]);
    up.is_ready();
    up.signal(Signal::STOP);
    for args in [&["ps"][..], &["stop", "a"], &["ps", "--tree", "t"]] {
        let (code, _, errors) = run(&mut dir.verb(args));
        assert_eq!(code, Some(1), "{args:?}: {errors}");
        assert!(errors.contains("its process may be suspended"), "{args:?}: {errors}");
    }
    // From another folder, it is not said that there is no tree.
    let (code, _, errors) = run(dir.verb(&["ps"]).current_dir("/"));
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("a tree is there, but does not answer"), "{errors}");
    up.signal(Signal::CONT);
    up.stop().with_code(0);
}

#[test]
fn two_folders_whose_names_differ_only_where_they_are_not_utf_8_are_two_trees() {
    let dir = TestDir::new();
    let folders = [&b"x\xfe"[..], b"x\xff"].map(|name| dir.path().join(OsStr::from_bytes(name)));
    let ups = folders.each_ref().map(|folder| {
        fs::create_dir(folder).expect("a folder");
        fs::write(folder.join("liveoak.toml"), format!("name = \"t\"\n{STEADY}")).expect("written");
        let up = Up::watch(dir.command(&[]).current_dir(folder).spawn().expect("starts"));
        up.is_ready();
        up
    });
    for folder in &folders {
        let (code, _, errors) = run(dir.verb(&["restart", "a"]).current_dir(folder));
        assert_eq!(code, Some(0), "{errors}");
        let again = run(dir.command(&[]).current_dir(folder));
        assert_eq!(again.0, Some(1), "{}", again.2);
        assert!(again.2.contains("runs already"), "{}", again.2);
    }
    for up in ups {
        up.stop().with_code(0);
    }
}

#[test]
fn without_the_address_of_listen_the_tree_runs_and_says_so() {
    let dir = TestDir::of(STEADY);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let up = dir.up(&["--listen", &address]);
    up.logs(&format!("--listen has no effect: cannot listen on {address}"));
    up.is_ready();
    assert_eq!(run(&mut dir.verb(&["ps"])).0, Some(0), "the socket is there");
    up.stop().with_code(0);
}

#[test]
fn a_tree_that_listens_prints_an_address_that_a_browser_can_open_once() {
    let dir = TestDir::of(STEADY);
    let up = dir.up(&["--listen", "127.0.0.1:0"]);
    let printed = up.until(Stream::Stderr, "address", |lines| {
        lines
            .iter()
            .find_map(|line| Some(line.split("a browser can open ").nth(1)?.split(' ').next()?.to_owned()))
    });
    up.is_ready();
    let (code, out, errors) = run(&mut dir.verb(&["login"]));
    assert_eq!(code, Some(0), "{errors}");
    let status = |address: &str| {
        let rest = address.trim_end().strip_prefix("http://").expect("an address");
        let (host, path) = rest.split_once('/').expect("a path");
        let mut stream = TcpStream::connect(host).expect("it listens");
        write!(stream, "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.split(' ').nth(1).expect("a status").to_owned()
    };
    for address in [&printed, &out] {
        assert_eq!(status(address), "303", "{address}");
        assert_eq!(status(address), "403", "{address}");
    }
    let (_, json, _) = run(&mut dir.verb(&["login", "--json"]));
    let login: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(login["expires_s"], 600.0);
    up.stop().with_code(0);
    let deaf = dir.up(&[]);
    deaf.is_ready();
    let (code, _, errors) = run(&mut dir.verb(&["login"]));
    assert_eq!(code, Some(1));
    assert!(errors.contains("listens on no TCP address") && errors.contains("--listen"), "{errors}");
    deaf.stop().with_code(0);
}

/// Needs root and `setpriv`.
#[test]
fn another_user_who_can_open_the_socket_is_refused() {
    let has_setpriv = Command::new("setpriv").arg("--version").output().is_ok();
    if !rustix::process::geteuid().is_root() || !has_setpriv {
        return;
    }
    let dir = TestDir::of(STEADY);
    let socket = dir.at("open.sock");
    let up = dir.up(&["--socket", socket.to_str().expect("UTF-8")]);
    up.is_ready();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).expect("permissions");
    let program = dir.at("liveoak");
    fs::copy(env!("CARGO_BIN_EXE_liveoak"), &program).expect("copied");
    let mut other = Command::new("setpriv");
    other.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
    for args in [&["ps"][..], &["down"]] {
        let (code, out, errors) = run(Command::new("setpriv")
            .args(other.get_args())
            .args(args)
            .arg("--socket")
            .arg(&socket)
            .current_dir("/"));
        assert_eq!((code, out.as_str()), (Some(1), ""), "{errors}");
        assert!(errors.contains("the socket of this tree belongs to another user"), "{errors}");
    }
    assert_eq!(run(dir.verb(&["ps", "--socket"]).arg(&socket)).0, Some(0));
    up.stop().with_code(0);
}
