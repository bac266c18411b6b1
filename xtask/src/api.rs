//! `cargo xtask api`: tests the control interface of a throw-away tree against its OpenAPI document, with Schemathesis.
//!
//! Needs `st` in the `PATH`: `pip install schemathesis`. The tree is started again whenever a test has stopped it.

use crate::Failure;
use crate::run::{need, program_within, step};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// How long the whole run may take.
const LIMIT: Duration = Duration::from_secs(1800);

/// How long the tree may take until it listens.
const START: Duration = Duration::from_secs(30);

/// The tree: programs that run, fail and end, modes, checks, replicas.
const TREE: &str = r#"name = "shop"
first_start = "retry"

[mode.day]
run = ["web", "pool.*"]

[mode.night]
run = ["batch"]

[child.web]
command = ["sleep", "1000"]
liveness = { command = ["true"], every = "5s" }
tags = ["edge"]

[child.pool]
command = ["sleep", "1000"]
replicas = 3

[child.batch]
command = ["sleep", "1000"]
start = "manual"

[child.ingest.child.kafka]
shell = "while :; do echo line; sleep 1; done"

[child.ingest.child.crashes]
shell = "sleep 2; exit 3"
"#;

/// A wait lasts as long as it is asked to, and a stream that is followed does not end. The tests ask for short ones.
const SETTINGS: &str = r#"[[operations]]
include-path = "/v1/wait/{path}"
parameters = { within_s = 0.2 }

[[operations]]
include-path-regex = "^/v1/(events|logs)$"
parameters = { follow = "false" }
"#;

/// Runs all phases, with 50 examples for each operation, or `--examples NUMBER`.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let examples: u32 = match arguments {
        [] => 50,
        [option, number] if option == "--examples" => {
            number.parse().map_err(|_| Failure::Usage(format!("`{number}` is not a number")))?
        }
        _ => return Err(Failure::Usage("`api` takes `--examples NUMBER`".to_owned())),
    };
    need("st --version", "this needs Schemathesis: `pip install schemathesis`")?;
    step("cargo build --locked -p liveoak-cli", &[])?;
    let tree = ThrowAway::start().map_err(Failure::io("the throw-away tree"))?;
    let token = tree.token().map_err(Failure::io("the token of the tree"))?;
    // Schemathesis keeps what it has found in its folder.
    let mut test = Command::new("sh");
    test.args(["-c", "cd \"$0\" && exec st \"$@\""]).arg(&tree.folder);
    test.args(["--config-file", "schemathesis.toml", "run"]);
    test.arg(format!("http://127.0.0.1:{}/v1/openapi.json", tree.port));
    test.args(["-H", &format!("Authorization: Bearer {token}"), "--max-examples", &examples.to_string()]);
    // `down` ends the tree, which is started again. Some paths of children cannot be written in a URL.
    test.args([
        "--request-retries",
        "5",
        "--request-timeout",
        "20",
        "--suppress-health-check",
        "filter_too_much",
    ]);
    program_within(test, "st run", LIMIT)
}

/// A tree that is started again whenever it has ended. Its folder is removed at the end.
struct ThrowAway {
    folder: PathBuf,
    port: u16,
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl ThrowAway {
    fn start() -> std::io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("liveoak-api-{}", std::process::id()));
        fs::create_dir_all(folder.join("run"))?;
        fs::write(folder.join("liveoak.toml"), TREE)?;
        fs::write(folder.join("schemathesis.toml"), SETTINGS)?;
        // The port is free now; each start of the tree gets the same one.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (is_over, at) = (Arc::new(AtomicBool::new(false)), folder.clone());
        let over = Arc::clone(&is_over);
        let keep_up = move || {
            while !over.load(Ordering::Relaxed) {
                let Ok(mut child) = up(&at, port) else { return };
                while matches!(child.try_wait(), Ok(None)) && !over.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(20));
                }
                let _ = child.kill();
                let _ = child.wait();
            }
        };
        let thread = Some(thread::spawn(keep_up));
        Ok(Self { folder, port, is_over, thread })
    }

    /// Waits until the tree listens. Returns its token.
    fn token(&self) -> std::io::Result<String> {
        let begun = Instant::now();
        loop {
            let trees = fs::read_dir(self.folder.join("state/liveoak/trees"));
            let mut tokens =
                trees.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path().join("token")));
            let token = tokens.find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
            if !token.trim().is_empty() && std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(token.trim().to_owned());
            }
            if begun.elapsed() > START {
                return Err(std::io::Error::other("it does not listen"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for ThrowAway {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(thread::JoinHandle::join);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn up(folder: &Path, port: u16) -> std::io::Result<Child> {
    let program = std::env::current_exe()?.with_file_name("liveoak");
    let mut command = Command::new(program);
    command.args(["up", "--listen", &format!("127.0.0.1:{port}")]).current_dir(folder);
    command.env("XDG_RUNTIME_DIR", folder.join("run")).env("XDG_STATE_HOME", folder.join("state"));
    command
        .env_remove("LIVEOAK_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
