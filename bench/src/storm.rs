//! How fast the control interface answers while children of the tree fail and restart all the time.
//!
//! Fifty children fail at once and are restarted without a delay, on two threads. Meanwhile another child is restarted by
//! command, and explained, again and again over the socket, each time over a new connection, as the command line does it.

use liveoak::control::Control;
use liveoak::{Child, Ctx, Limit, Supervisor, TreeHandle};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// The children that fail all the time.
const STORM: usize = 50;
/// How often each question is asked.
const ASKED: usize = 500;

/// Measures, and returns the figures as lines of a table.
pub(crate) fn measure() -> Result<String, String> {
    let folder = std::env::temp_dir().join(format!("liveoak-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let socket = folder.join("s");
    let asks = socket.clone();
    let (sender, served) = std::sync::mpsc::channel();
    let control = Control::new().socket(&socket);
    let web = Child::task("web", |ctx: Ctx| async move { ctx.stopping().await });
    let failing = |nth| {
        let child = Child::task(format!("s{nth}"), |_: Ctx| async { Err::<(), _>("at once") });
        child.backoff(None).limit(Limit::unlimited())
    };
    let tree = Supervisor::new("storm").child(web).children((0..STORM).map(failing));
    let tree = tree.on_begin(move |tree: &TreeHandle| drop(sender.send(control.serve(tree))));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let tree = runtime.block_on(async { tree.begin() }).map_err(|error| error.to_string())?;
    let _server = served.recv().map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let body = r#"{"paths":["web"]}"#;
    let head = "host: x\r\nconnection: close\r\n";
    let restart = format!(
        "POST /v1/commands/restart HTTP/1.1\r\n{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\n{head}\r\n");
    let mut lines = String::from("| asked | median ms | 99 of 100 ms | longest ms |\n|---|---:|---:|---:|\n");
    for (what, request) in [
        ("restart of a child", restart),
        ("explain", get("/v1/explain/web")),
        ("status", get("/v1/status")),
        ("diagnose", get("/v1/diagnose")),
    ] {
        let mut times = (0..ASKED).map(|_| ask(&asks, &request)).collect::<Result<Vec<_>, _>>()?;
        times.sort_unstable();
        let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
        lines += &format!("| {what} | {:.2} | {:.2} | {:.2} |\n", at(50), at(99), at(100));
    }
    let restarts: u64 = tree.snapshot().nodes().map(|view| view.restarts).sum();
    runtime.block_on(tree.kill());
    let _ = std::fs::remove_dir_all(folder);
    Ok(format!("{lines}\n{restarts} restarts meanwhile"))
}

/// Asks once. Returns how long the answer took.
fn ask(socket: &Path, request: &str) -> Result<Duration, String> {
    let began = Instant::now();
    let mut stream = UnixStream::connect(socket).map_err(|error| error.to_string())?;
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    let took = began.elapsed();
    if answer.starts_with("HTTP/1.1 200") { Ok(took) } else { Err(answer) }
}
