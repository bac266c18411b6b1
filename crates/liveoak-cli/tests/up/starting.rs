//! Starting: in declared order, each child after the previous one is ready, or side by side where edges allow it. Also tests
//! probes.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::unix::net::UnixListener;

use crate::support::{Stream, TestDir, Up};

/// Asserts that of these children only some of the first `count` have started.
fn only_the_first_have_started(up: &Up, names: &[&str], count: usize) {
    let log = up.so_far(Stream::Stderr).join("\n");
    for name in &names[count..] {
        assert!(!log.contains(&format!("/t/{name}: starting")), "{name} has started:\n{log}");
    }
}

/// Returns a loopback address that no other process uses: 127.0.0.0/8 is all loopback, so the process id makes it unique.
fn address(port: u16) -> SocketAddrV4 {
    let pid = std::process::id();
    let ip = Ipv4Addr::new(127, 64 + (pid >> 16) as u8 % 64, (pid >> 8) as u8, (pid as u8).clamp(1, 254));
    SocketAddrV4::new(ip, port)
}

/// Answers two requests, the first with status 503 and the second with 200.
fn serve_http(listener: &TcpListener) {
    for status in ["503 Service Unavailable", "200 OK"] {
        let (mut connection, _) = listener.accept().expect("a connection");
        let mut request = [0; 1024];
        let length = connection.read(&mut request).expect("a request");
        assert!(request[..length].starts_with(b"GET /health HTTP/1"));
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        connection.write_all(answer.as_bytes()).expect("answered");
    }
}

#[test]
fn a_child_that_waits_for_a_program_to_be_ready_again_is_named() {
    let dir = TestDir::of(
        "[child.db]\nshell = \"exec sleep 1000\"\nreadiness = { file = \"up\", every = \"50ms\", failures = 1 }\n\
         [child.web]\nshell = \"echo up; exec sleep 1000\"\nneeds = { db = { grace = \"10ms\" } }\n",
    );
    dir.file("up", "", 0o644);
    let up = dir.up(&[]);
    up.line("/t/web", 0);
    std::fs::remove_file(dir.at("up")).expect("the file");
    up.logs("/t/web waits for /t/db to be ready again");
    dir.file("up", "", 0o644);
    up.line("/t/web", 1);
    up.stop().with_code(0);
}

#[test]
fn a_dependent_starts_only_after_the_probe_of_its_dependency_has_succeeded() {
    let (tcp, http) = (address(47_001), address(47_002));
    let probes = [
        ("log", "log = '^listening on \\d+$'".to_owned()),
        ("file", "file = \"here\"".to_owned()),
        ("command", "command = \"test -e go\"".to_owned()),
        ("unix", "unix = \"here.sock\"".to_owned()),
        ("tcp", format!("tcp = \"{tcp}\"")),
        ("http", format!("http = \"http://{http}/health\"")),
    ];
    let mut toml = "order = \"edges\"\n".to_owned();
    for (name, probe) in &probes {
        toml += &format!(
            "[child.{name}]\nshell = \"until [ -e log-now ]; do sleep 0.02; done; echo listening on 1; exec sleep 1000\"\n\
             ready = {{ {probe} }}\n\
             [child.after-{name}]\ncommand = \"sleep 1000\"\nafter = [\"{name}\"]\n"
        );
    }
    let dir = TestDir::of(&toml);
    let up = dir.up(&["--log-level", "debug"]);
    for (name, _) in &probes {
        up.logs(&format!("/t/{name}: starting"));
    }
    let dependents = probes.each_ref().map(|(name, _)| format!("after-{name}"));
    let dependents = dependents.each_ref().map(String::as_str);
    let mut held: Vec<Box<dyn std::any::Any>> = Vec::new();
    for (nth, (name, _)) in probes.iter().enumerate() {
        only_the_first_have_started(&up, &dependents, nth);
        match *name {
            "log" => drop(dir.file("log-now", "", 0o644)),
            "file" => drop(dir.file("here", "", 0o644)),
            "command" => drop(dir.file("go", "", 0o644)),
            "unix" => held.push(Box::new(UnixListener::bind(dir.at("here.sock")).expect("a socket"))),
            "tcp" => held.push(Box::new(TcpListener::bind(tcp).expect("a port"))),
            _ => serve_http(&TcpListener::bind(http).expect("a port")),
        }
        up.logs(&format!("/t/after-{name}: ready"));
    }
    up.is_ready();
    let ended = up.stop().with_code(0);
    for (name, _) in &probes {
        let ready = format!("/t/{name}: ready");
        ended.has_in_order(&[&ready, &format!("/t/after-{name}: starting")]);
        let stopped = format!("/t/after-{name}: stopped");
        ended.has_in_order(&[&stopped, &format!("/t/{name}: stopped")]);
    }
}

#[test]
fn children_start_in_declared_order_each_after_the_previous_is_ready_and_stop_in_reverse() {
    let dir = TestDir::of(
        "[child.a]\ncommand = \"sleep 1000\"\nready = { file = \"go\" }\n\
         [child.b]\ncommand = \"sleep 1000\"\nready = { delay = \"50ms\" }\n\
         [child.c]\ncommand = \"sleep 1000\"\n",
    );
    let up = dir.up(&["--log-level", "debug", "--report", "report.json"]);
    up.logs("/t/a: starting");
    only_the_first_have_started(&up, &["b", "c"], 0);
    dir.file("go", "", 0o644);
    up.is_ready();
    let ended = up.stop().with_code(0);
    ended.has_in_order(&[
        "/t/a: starting",
        "/t/a: ready",
        "/t/b: starting",
        "/t/b: ready",
        "/t/c: starting",
        "/t/c: ready",
        "/t: ready",
        "/t/c: stopped",
        "/t/b: stopped",
        "/t/a: stopped",
    ]);
    let report = dir.report();
    let paths: Vec<&str> = (0..3).filter_map(|nth| report["children"][nth]["path"].as_str()).collect();
    assert_eq!(paths, ["/t/c", "/t/b", "/t/a"]);
}

#[test]
fn with_order_edges_children_without_dependencies_start_side_by_side() {
    // Each child is ready only when the other runs. In declared order they would never be ready.
    let meet = |mine: &str, other: &str| {
        format!(
            "[child.{mine}]\nshell = \"touch {mine}; exec sleep 1000\"\nready = {{ file = \"{other}\", within = \"20s\" }}\n"
        )
    };
    let dir = TestDir::of(&format!("order = \"edges\"\n{}{}", meet("a", "b"), meet("b", "a")));
    let up = dir.up(&[]);
    up.is_ready();
    up.stop().with_code(0);
}

#[test]
fn a_child_that_depends_on_a_completed_job_starts_after_its_end() {
    let dir = TestDir::of(
        "[child.app]\nshell = \"cat done; exec sleep 1000\"\nafter = { migrate = \"completed\" }\n\
         [child.migrate]\nshell = \"until [ -e go ]; do sleep 0.02; done; echo migrated > done\"\nrestart = \"temporary\"\n",
    );
    let up = dir.up(&["--log-level", "debug"]);
    up.logs("/t/migrate: ready");
    only_the_first_have_started(&up, &["app"], 0);
    dir.file("go", "", 0o644);
    assert_eq!(up.line("/t/app", 0), "migrated");
    up.is_ready();
    let ended = up.stop().with_code(0);
    ended.has_in_order(&["/t/migrate: finished", "/t/app: starting", "/t: ready"]);
}

#[test]
fn a_stop_while_a_start_waits_is_served_immediately() {
    let dir = TestDir::of(
        "[child.a]\ncommand = \"sleep 1000\"\n\
         [child.b]\ncommand = \"sleep 1000\"\nready = { file = \"never\", within = \"5m\" }\n\
         [child.c]\ncommand = \"touch started\"\n",
    );
    let up = dir.up(&["--report", "report.json"]);
    up.logs("/t/a: ready");
    let ended = up.stop().with_code(0);
    assert!(!dir.exists("started"));
    ended.has_in_order(&[
        "SIGTERM: stopping",
        "/t/a: stopped (asked)",
        "2 children stopped in ",
        "1 was waiting to start:",
    ]);
    assert_eq!(
        dir.report()["children"][0],
        serde_json::json!({
            "path": "/t/c", "seconds": 0.0, "stage": "cancelled", "exit": null,
        })
    );
}

#[test]
fn a_probe_that_succeeds_before_its_program_starts_is_logged_as_a_warning() {
    let dir = TestDir::of(
        "[child.a]\ncommand = \"sleep 1000\"\nready = { file = \"old\" }\n\
         [child.b]\ncommand = \"sh b.sh\"\nready = { file = \"new\" }\n",
    );
    dir.file("old", "", 0o644);
    dir.file("b.sh", "touch new; exec sleep 1000", 0o644);
    let up = dir.up(&[]);
    up.is_ready();
    let ended = up.stop().with_code(0);
    let warnings: Vec<&String> =
        ended.stderr.iter().filter(|line| line.contains("before the program was started")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("WARN  /t/a: the ready check ("), "{}", ended.log());
}
