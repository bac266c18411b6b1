//! What the server promises for any bytes, for the fuzz targets: every request gets an answer that `openapi.json` describes, and
//! nothing panics or hangs.

use crate::apply::Scaled;
use crate::connection::{Activity, serve};
use crate::diagnose::Watched;
use crate::login::TcpAccess;
use crate::recorder::Recorder;
use crate::request::{Caller, Request, pattern};
use crate::serve::{Peer, respond};
use crate::server::{Bucket, Server};
use crate::tcp;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use liveoak_api::{
    ApplyRequest, CODES, CommandRequest, DownRequest, ModeRequest, Problem, ROUTES, ScaleRequest,
};
use liveoak_runtime::{Child, Ctx, Path, Supervisor};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::sync::watch;

/// The most bytes of an answer that are looked at: a stream does not end by itself.
const LOOKED_AT: u64 = 256 * 1024;

/// Takes a request apart: the first byte chooses the route, and lines of the rest are the path of the child, the query, headers,
/// and the body.
///
/// # Panics
/// When a refusal is no problem of the table, or a pattern that was accepted does not match within its bound.
pub fn request(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let route = &ROUTES[usize::from(*first) % ROUTES.len()];
    let mut lines = rest.splitn(4, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (tail, query) =
        (String::from_utf8_lossy(line()).into_owned(), String::from_utf8_lossy(line()).into_owned());
    let headers = headers(line());
    let body = line().to_vec();
    check(tcp::check_origin(&headers));
    check(tcp::check_host(&headers));
    let from = Caller { is_trusted: true, is_local: true, only_head: false };
    let Some(request) = check(Request::new(route, &tail, Some(&query), headers, body.into(), from)) else {
        return;
    };
    let now = SystemTime::now();
    for parameter in route.parameters {
        check(request.number(parameter.name));
        check(request.count(parameter.name));
        check(request.flag(parameter.name));
        check(request.moment(parameter.name, now));
    }
    let deep = Path::new("/shop/a/b/a/b/a/b/c");
    for text in [tail.as_str(), request.parameter("path").unwrap_or_default()] {
        if let Some(glob) = check(pattern(text, "shop")) {
            let _ = glob.matches(&deep);
        }
    }
    check(request.header(&HeaderName::from_static("last-event-id")));
    check(request.json::<CommandRequest>());
    check(request.json::<ModeRequest>());
    check(request.json::<DownRequest>());
    check(request.json::<ApplyRequest>());
    check(request.json::<ScaleRequest>());
}

/// Reads pairs of a name and a value, as far as they are headers.
fn headers(bytes: &[u8]) -> HeaderMap {
    let pair = |pair: &[u8]| {
        let at = pair.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&pair[..at]).ok()?;
        Some((name, HeaderValue::from_bytes(&pair[at + 1..]).ok()?))
    };
    bytes.split(|byte| *byte == b'|').filter_map(pair).collect()
}

/// Returns what was accepted.
fn check<T>(result: Result<T, Problem>) -> Option<T> {
    let problem = match result {
        Ok(value) => return Some(value),
        Err(problem) => problem,
    };
    let known = CODES.iter().any(|(code, status, _)| *code == problem.code && *status == problem.status);
    assert!(known, "{problem:?} is no problem of the table");
    None
}

/// Sends bytes to the server of a small tree: the first byte says over which listener. The clock of the tree is paused, so no
/// wait takes long.
///
/// # Panics
/// When an answer is no HTTP, or a refusal is no problem.
pub fn http(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let peer = if first % 2 == 0 { Peer::Owner } else { Peer::Tcp };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let answer = runtime.expect("a runtime").block_on(answer(bytes, peer));
    let text = String::from_utf8_lossy(&answer);
    if text.is_empty() {
        return;
    }
    let (head, rest) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    // A request without a body may be told to go on first.
    if head == "HTTP/1.1 100 Continue" {
        return;
    }
    let status = head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "));
    let status: u16 = status.and_then(|status| status.get(..3)?.parse().ok()).expect("a status");
    let is_verdict = head.contains("content-type: text/plain") && status == 503;
    let is_problem = head.contains("content-type: application/problem+json");
    assert!(status < 400 || is_verdict || is_problem, "{text}");
    if is_problem && rest.starts_with('{') {
        let known =
            CODES.iter().any(|(code, of, _)| *of == status && rest.contains(&format!("\"code\":\"{code}\"")));
        assert!(known, "{text}");
    }
}

/// Returns what the server answers.
async fn answer(bytes: &[u8], peer: Peer) -> Vec<u8> {
    let steady = |name: &str| Child::task(name, |ctx: Ctx| async move { ctx.stopping().await });
    let tree = Supervisor::new("shop").child(steady("web")).mode("day", ["web"]).begin().expect("a tree");
    let server = Arc::new(Server {
        tree: tree.handle(),
        root: tree.root_path(),
        file: None,
        reader: None,
        scaled: Scaled::default(),
        recorder: Recorder::new(1, 1, Ok(None)),
        watched: Watched::default(),
        access: None::<Arc<TcpAccess>>,
        bucket: Bucket::new(),
        tcp_bucket: Bucket::new(),
    });
    let (ours, mut theirs) = duplex(1024 * 1024);
    let (finish, finishing) = watch::channel(false);
    let respond = |request| {
        let server = Arc::clone(&server);
        async move { respond(&server, request, peer).await }
    };
    let served = serve(ours, Activity::new(), finishing, respond);
    let client = async {
        let _ = theirs.write_all(bytes).await;
        let _ = theirs.shutdown().await;
        let mut answer = Vec::new();
        let mut bounded = theirs.take(LOOKED_AT);
        let all = bounded.read_to_end(&mut answer);
        // A stream goes on, and a wait is over after this time.
        let _ = tokio::time::timeout(Duration::from_secs(100), all).await;
        answer
    };
    let answer = tokio::select! {
        answer = client => answer,
        () = async { served.await; std::future::pending().await } => unreachable!("it is pending"),
    };
    drop(finish);
    tree.kill().await;
    answer
}
