//! The control server of real trees, spoken to byte by byte.

mod access;
mod apply;
mod blocked;
mod client;
mod commands;
mod diagnosing;
mod history;
mod logins;
mod pitfalls;
mod reading;
mod streams;

use liveoak_control::{Control, ControlServer};
use liveoak_runtime::{Child, Ctx, Limit, Supervisor, Tree, TreeHandle};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use tokio::runtime::Runtime;

/// A child that fails with `error` at once in each attempt but the last of these, which goes on.
fn storm(attempts: u64, error: &str) -> Child {
    let error = error.to_owned();
    let storm = Child::task("storm", move |ctx: Ctx| {
        let error = error.clone();
        async move {
            if ctx.attempt().0 < attempts {
                return Err(error);
            }
            ctx.stopping().await;
            Ok(())
        }
    });
    storm.backoff(None).limit(Limit::unlimited())
}

/// A tree with a control server, on a runtime of its own. The test itself is outside of it.
struct Served {
    tree: Tree,
    server: Option<ControlServer>,
    folder: PathBuf,
    socket: PathBuf,
    runtime: Runtime,
}

static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// Returns a new folder for a test.
fn new_folder() -> PathBuf {
    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("liveoak-control-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

impl Served {
    fn new(supervisor: Supervisor) -> Self {
        Self::with(supervisor, |control, _| control)
    }

    /// Starts a tree whose control is changed by `change`, which gets a folder of its own.
    fn with(supervisor: Supervisor, change: impl FnOnce(Control, &Path) -> Control) -> Self {
        let folder = new_folder();
        let socket = folder.join("s.sock");
        let control = change(Control::new().socket(&socket).no_history(), &folder);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (sender, served) = mpsc::channel();
        let supervisor = supervisor.on_begin(move |tree: &TreeHandle| {
            sender.send(control.serve(tree)).unwrap();
        });
        let tree = runtime.block_on(async { supervisor.begin() }).unwrap();
        let server = Some(served.recv().unwrap().unwrap());
        Self { tree, server, folder, socket, runtime }
    }

    /// Waits until the tree is ready.
    fn ready(self) -> Self {
        self.runtime.block_on(self.tree.ready()).unwrap();
        self
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.runtime.block_on(self.tree.kill());
        if let Some(server) = self.server.take() {
            server.finish(std::time::Duration::from_secs(5));
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A task that runs until it is asked to stop.
fn steady(name: &str) -> Child {
    Child::task(name, |ctx: Ctx| async move { ctx.stopping().await })
}

/// A tree of three children on two levels.
fn shop() -> Supervisor {
    let ingest = Supervisor::new("ingest").child(steady("kafka")).child(steady("files"));
    Supervisor::new("shop").child(steady("web").title("Web shop").tags(["edge"])).child(ingest)
}
