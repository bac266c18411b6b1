//! Each kind of probe: its check fails with a reason first, and succeeds later.

use crate::support::{Dir, TIME_LIMIT, WatchedProcess, look_for, shell, within};
use liveoak_process::{CommandLine, Probe, ProbeError, ProbeFailure, ProbeRun};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

const OFTEN: Duration = Duration::from_millis(5);

/// Returns the reason for which the check fails, as text.
async fn refusal(probe: &ProbeRun) -> String {
    within(probe.check()).await.expect_err("not ready yet").to_string()
}

/// Starts a task that waits until the probe succeeds. Returns when one check has failed.
async fn waiting(probe: Probe) -> (ProbeRun, tokio::task::JoinHandle<Result<(), ProbeFailure>>) {
    let probe = probe.every(OFTEN).start();
    let other = probe.clone();
    let wait = tokio::spawn(async move { other.wait_until_ready().await });
    while probe.latest_failure().is_none() {
        assert!(!wait.is_finished(), "ready too early");
        tokio::task::yield_now().await;
    }
    (probe, wait)
}

/// Returns a port without a listener.
async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test(start_paused = true)]
async fn a_delay_succeeds_when_its_time_has_passed() {
    let probe = Probe::delay(Duration::from_secs(60)).start();
    let started = tokio::time::Instant::now();
    assert_eq!(refusal(&probe).await, "60.0s of its delay remains");
    probe.wait_until_ready().await.unwrap();
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs(60) && waited < Duration::from_secs(61), "{waited:?}");
    assert!(probe.check().await.is_ok());
}

#[tokio::test]
async fn a_log_probe_waits_for_its_line() {
    let (probe, wait) = waiting(Probe::log(r"listening on :\d+$").unwrap()).await;
    assert_eq!(probe.latest_failure().unwrap().to_string(), r"no line matched /listening on :\d+$/ yet");
    probe.observe("listening on :http");
    assert!(probe.check().await.is_err());
    probe.observe("[info] listening on :7000");
    within(wait).await.unwrap().unwrap();
    probe.observe("another line changes nothing");
    assert!(probe.check().await.is_ok());
}

#[tokio::test]
async fn a_line_that_came_before_the_wait_counts() {
    let probe = Probe::log("up").unwrap().start();
    let observer = probe.clone();
    let mut process = liveoak_process::Process::spawn(&CommandLine::shell("echo up"), move |line| {
        observer.observe(line.text)
    })
    .await
    .unwrap();
    within(process.output_end()).await;
    within(probe.wait_until_ready()).await.unwrap();
}

#[tokio::test]
async fn a_log_probe_of_a_new_attempt_ignores_earlier_lines() {
    let probe = Probe::log("up").unwrap();
    let first = probe.start();
    first.observe("up");
    assert!(first.check().await.is_ok());
    assert!(probe.start().check().await.is_err());
}

#[test]
fn an_invalid_pattern_is_refused() {
    let error = Probe::log("(oak").expect_err("an open parenthesis");
    assert!(matches!(&error, ProbeError::Pattern { pattern, .. } if pattern == "(oak"));
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn a_tcp_probe_waits_for_a_listener() {
    let port = free_port().await;
    let (probe, wait) = waiting(Probe::tcp(&format!("127.0.0.1:{port}")).unwrap()).await;
    let reason = probe.latest_failure().unwrap().to_string();
    assert_eq!(reason, format!("connection refused at 127.0.0.1:{port}"));
    let _listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    within(wait).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_address_without_a_host_means_this_machine_over_ipv4_or_ipv6() {
    let port = free_port().await;
    let probe = Probe::tcp(&format!(":{port}")).unwrap().start();
    assert_eq!(refusal(&probe).await, format!("connection refused at 127.0.0.1:{port}"));
    // On a machine without IPv6 only the second half of this test runs.
    if let Ok(listener) = TcpListener::bind(("::1", port)).await {
        within(probe.check()).await.unwrap();
        drop(listener);
    }
    let _listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    within(probe.check()).await.unwrap();
}

#[tokio::test]
async fn a_unix_probe_waits_for_a_socket_with_a_listener() {
    let dir = Dir::new();
    let (probe, wait) = waiting(Probe::unix("r.sock").relative_to(dir.path())).await;
    let path = dir.at("r.sock");
    assert_eq!(probe.latest_failure().unwrap().to_string(), format!("nothing there at {}", path.display()));
    // A socket file without a server is not ready.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert_eq!(refusal(&probe).await, format!("connection refused at {}", path.display()));
    std::fs::remove_file(&path).unwrap();
    let _listener = UnixListener::bind(&path).unwrap();
    within(wait).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_file_probe_waits_for_the_path() {
    let dir = Dir::new();
    let (probe, wait) = waiting(Probe::file("ready").relative_to(dir.path())).await;
    let path = dir.at("ready");
    assert_eq!(probe.latest_failure().unwrap().to_string(), format!("{} does not exist", path.display()));
    std::fs::write(path, "").unwrap();
    within(wait).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_command_probe_waits_for_success() {
    let dir = Dir::new();
    let (probe, wait) =
        waiting(Probe::command(CommandLine::argv(["test", "-e", "ready"])).relative_to(dir.path())).await;
    look_for_reason(&probe, "`test (2 arguments not shown)` exited with code 1").await;
    std::fs::write(dir.at("ready"), "").unwrap();
    within(wait).await.unwrap().unwrap();
}

async fn look_for_reason(probe: &ProbeRun, reason: &str) {
    assert_eq!(probe.latest_failure().unwrap().to_string(), reason);
}

#[tokio::test]
async fn a_command_probe_reports_why_its_command_cannot_start() {
    let probe = Probe::command(CommandLine::new("/no/such/probe")).start();
    let failure = within(probe.check()).await.expect_err("there is no such program");
    assert_eq!(failure.to_string(), "`/no/such/probe` did not start");
    assert_eq!(
        std::error::Error::source(&failure).unwrap().to_string(),
        "run /no/such/probe: there is no such file"
    );
}

#[tokio::test]
async fn a_command_probe_that_hangs_is_killed_with_its_process_group() {
    let dir = Dir::new();
    let command =
        CommandLine::shell("sh -c 'echo $$ > new; mv new pid; exec sleep 1000' & wait").cwd(dir.path());
    let probe = Probe::command(command).timeout(TIME_LIMIT).start();
    let check = tokio::spawn(async move { probe.check().await });
    let pid =
        tokio::task::spawn_blocking(move || look_for("pid", || std::fs::read_to_string(dir.at("pid")).ok()));
    let survivor = WatchedProcess::new(pid.await.unwrap().trim().parse().unwrap());
    assert!(!survivor.has_ended());
    check.abort();
    assert!(check.await.unwrap_err().is_cancelled());
    survivor.ends();
}

#[tokio::test]
async fn a_check_has_a_time_limit() {
    let limit = Duration::from_millis(50);
    let probe = Probe::command(CommandLine::shell("exec sleep 1000")).timeout(limit).start();
    let failure = within(probe.check()).await.expect_err("it hangs");
    assert!(matches!(failure, ProbeFailure::TimedOut { .. }));
    assert_eq!(
        failure.to_string(),
        "waited 50ms without success for `/bin/sh (2 arguments not shown)` to succeed"
    );
}

/// Answers one connection after the other with these texts, then stops listening. Returns the requests.
async fn serve(listener: TcpListener, answers: &[&str]) -> Vec<String> {
    let mut requests = Vec::new();
    for answer in answers {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut chunk = [0; 1024];
            let length = stream.read(&mut chunk).await.unwrap();
            assert!(length > 0, "the request ended early");
            request.extend_from_slice(&chunk[..length]);
        }
        requests.push(String::from_utf8(request).unwrap());
        let _ = stream.write_all(answer.as_bytes()).await;
    }
    requests
}

#[tokio::test]
async fn an_http_probe_waits_for_a_status_below_400() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let probe = Probe::http(&format!("http://127.0.0.1:{port}/health?deep")).unwrap().start();
    let answers = [
        "HTTP/1.1 503 Busy\r\n\r\n",
        "HTTP/1.1 404",
        "",
        "SSH-2.0-x\r\n",
        "HTTP/1.0 302 Found\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
    ];
    let server = tokio::spawn(async move { serve(listener, &answers).await });
    let url = format!("http://127.0.0.1:{port}/health?deep");
    assert_eq!(refusal(&probe).await, format!("status 503 from {url}"));
    assert_eq!(refusal(&probe).await, format!("status 404 from {url}"));
    assert_eq!(refusal(&probe).await, format!("no answer in HTTP/1 from {url}"));
    assert_eq!(refusal(&probe).await, format!("no answer in HTTP/1 from {url}"));
    within(probe.check()).await.unwrap();
    within(probe.check()).await.unwrap();
    let requests = within(server).await.unwrap();
    assert!(requests[0].starts_with("GET /health?deep HTTP/1.1\r\n"), "{}", requests[0]);
    assert!(requests[0].contains(&format!("\r\nHost: 127.0.0.1:{port}\r\n")), "{}", requests[0]);
    assert_eq!(refusal(&probe).await, format!("connection refused at 127.0.0.1:{port}"));
}

#[tokio::test]
async fn an_http_server_that_never_ends_its_line_is_not_read_forever() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let endless = "x".repeat(1 << 20);
    let _server = tokio::spawn(async move { serve(listener, &[&endless]).await });
    let probe = Probe::http(&format!("http://127.0.0.1:{port}")).unwrap().timeout(TIME_LIMIT).start();
    assert_eq!(refusal(&probe).await, format!("no answer in HTTP/1 from http://127.0.0.1:{port}/"));
}

#[test]
fn an_https_url_is_refused() {
    assert!(matches!(Probe::http("https://localhost/"), Err(ProbeError::Https { .. })));
}

#[tokio::test]
async fn the_wait_for_readiness_can_be_dropped() {
    let (process, _) = shell("exec sleep 1000").await;
    let probe = Probe::file("/no/such/file").every(OFTEN).start();
    let failure = within(async {
        loop {
            assert!(tokio::time::timeout(Duration::from_millis(30), probe.wait_until_ready()).await.is_err());
            // On a busy machine, the wait may have been dropped before its first check.
            if let Some(failure) = probe.latest_failure() {
                return failure;
            }
        }
    });
    assert_eq!(failure.await.to_string(), "/no/such/file does not exist");
    drop(process);
}
