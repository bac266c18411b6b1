//! The settings of the control server, and the thread that runs it.

use crate::apply::Scaled;
use crate::bind::{BindError, Bound, Identity};
use crate::diagnose::Watched;
use crate::history::History;
use crate::limits::DISK_THREADS;
use crate::login::TcpAccess;
use crate::recorder::Recorder;
use crate::reload::{Reader, ReloadError};
use crate::serve::{self, Listeners};
use crate::server::{Bucket, Server};
use crate::state::state_folder;
use liveoak_runtime::{Path, PollLimit, Supervisor, TreeHandle};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;

/// How long one poll may take in a tree with control, unless the tree sets a limit: shorter than the time after which a command
/// is refused because the runtime is blocked, so that the refusal names the culprit.
const LONGEST_POLL: Duration = Duration::from_millis(700);

/// The settings of the control server of a tree.
///
/// Default: a unix socket that only this user can open, at `$XDG_RUNTIME_DIR/liveoak/NAME.sock` or, without that folder, at
/// `/tmp/liveoak-UID/NAME.sock`; `NAME` is the name of the tree. A second run of the same program gets `NAME-PID.sock`. No TCP.
/// A program that may open the socket may stop everything in the tree.
///
/// The history of the tree (its events, the commands, the output of its programs) is kept on disk too, bounded, in
/// [`state_folder`]. If that is not possible, the last of it is kept in memory only, and the log says why.
#[derive(Clone, Debug, Default)]
pub struct Control {
    socket: Option<PathBuf>,
    file: Option<PathBuf>,
    tcp: Option<(SocketAddr, PathBuf)>,
    history: Wanted,
    reader: Option<Reader>,
}

/// Where the history of a tree is wanted.
#[derive(Clone, Debug, Default)]
enum Wanted {
    #[default]
    StateFolder,
    At(PathBuf),
    Nowhere,
}

impl Control {
    /// Returns the default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the socket at this path.
    #[must_use]
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket = Some(path.into());
        self
    }

    /// Names the file that declares the tree. A file runs once at a time: a second tree of the same file is refused, with the
    /// process of the first. Clients find the tree from the folder of the file. Default: the file of the program itself, which
    /// may run any number of times.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Also listens on a TCP address. Callers must have the token of the file `token`, which is made if it is missing. Port 0
    /// takes any free port.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr, token: impl Into<PathBuf>) -> Self {
        self.tcp = Some((address, token.into()));
        self
    }

    /// Keeps the history of the tree in this folder, which is made if it is missing. One process at a time may use it.
    #[must_use]
    pub fn history(mut self, folder: impl Into<PathBuf>) -> Self {
        self.history = Wanted::At(folder.into());
        self
    }

    /// Keeps no history on disk: only the last of it in memory, while the tree runs.
    #[must_use]
    pub fn no_history(mut self) -> Self {
        self.history = Wanted::Nowhere;
        self
    }

    /// Says how the declaration of the tree is read again, for `liveoak apply` and `liveoak scale`: `read` returns the tree as it
    /// is declared now, which then takes the place of the one that runs ([`TreeHandle::apply`]). `read` gets the numbers of
    /// replicas that take the place of those of the declaration, each with the path of its child; a program whose children have
    /// no replicas refuses any. `read` may block.
    ///
    /// ```
    /// use liveoak_control::{Control, ReloadError};
    /// use liveoak_runtime::Supervisor;
    ///
    /// fn shop() -> Result<Supervisor, std::io::Error> {
    ///     Ok(Supervisor::new("shop")) // read from a file, for example
    /// }
    ///
    /// let control = Control::new().reload(|replicas| match replicas {
    ///     [] => Ok(shop()?),
    ///     _ => Err(ReloadError::cannot_scale("the children of the shop have no replicas")),
    /// });
    /// # drop(control);
    /// ```
    #[must_use]
    pub fn reload(
        mut self,
        read: impl Fn(&[(Path, u32)]) -> Result<Supervisor, ReloadError> + Send + Sync + 'static,
    ) -> Self {
        self.reader = Some(Reader(Arc::new(read)));
        self
    }

    /// Opens the socket of the tree called `name`, and the TCP address, before the tree begins. Callers wait until
    /// [`OpenControl::serve`] answers them.
    ///
    /// # Errors
    /// When the socket, the TCP address or the token file cannot be opened. Nothing is left open then.
    pub fn open(self, name: &str) -> Result<OpenControl, ControlError> {
        let identity = self.identity()?;
        let (bound, unix) = Bound::open(name, &identity, self.socket.as_deref())?;
        let tcp = self.tcp.map(|(address, token)| open_tcp(address, &token)).transpose()?;
        let (tcp, access) = tcp.map_or((None, None), |(tcp, access)| (Some(tcp), Some(access)));
        let file = match identity {
            Identity::File(file) | Identity::Program(file) if file.is_empty() => None,
            // Text on the wire is UTF-8.
            Identity::File(file) | Identity::Program(file) => Some(file.to_string_lossy().into_owned()),
        };
        let (history, problem) = match open_history(&self.history, name, file.as_deref()) {
            Ok(history) => (history, None),
            Err(problem) => (None, Some(problem)),
        };
        Ok(OpenControl {
            listeners: Listeners { bound, unix, tcp },
            access,
            file,
            history,
            problem,
            reader: self.reader,
        })
    }

    /// Opens the socket and starts the server of a tree: [`open`](Self::open) and [`OpenControl::serve`].
    ///
    /// # Errors
    /// As those.
    pub fn serve(self, tree: &TreeHandle) -> Result<ControlServer, ControlError> {
        let open = self.open(tree.root_path().name())?;
        if let Some(problem) = open.history_problem() {
            tracing::warn!(target: "liveoak", event = "history", "{problem}");
        }
        open.serve(tree)
    }

    fn identity(&self) -> Result<Identity, ControlError> {
        let absolute = |path: &FilePath| {
            let full = std::fs::canonicalize(path).or_else(|_| std::path::absolute(path));
            full.map(PathBuf::into_os_string)
        };
        match &self.file {
            Some(path) => {
                let io = |error| BindError::Io { path: path.clone(), error };
                Ok(Identity::File(absolute(path).map_err(io)?))
            }
            None => {
                let program = std::env::current_exe().ok().and_then(|path| absolute(&path).ok());
                Ok(Identity::Program(program.unwrap_or_default()))
            }
        }
    }
}

/// A control server that listens, but does not answer yet.
#[derive(Debug)]
pub struct OpenControl {
    listeners: Listeners,
    access: Option<Arc<TcpAccess>>,
    file: Option<String>,
    history: Option<History>,
    problem: Option<String>,
    reader: Option<Reader>,
}

impl OpenControl {
    /// Returns the path of the socket.
    #[must_use]
    pub fn socket(&self) -> &FilePath {
        self.listeners.bound.path()
    }

    /// Returns the TCP address, if there is one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.listeners.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok())
    }

    /// Returns why the history is not kept on disk although it should be: one sentence.
    #[must_use]
    pub fn history_problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Returns a new one-time address for a browser, if there is a TCP address: it gives the browser that opens it a cookie, with
    /// which it may do what a caller with the token may do.
    #[must_use]
    pub fn login_address(&self) -> Option<String> {
        login_address(self.access.as_deref())
    }

    /// Starts the server of a tree, on a thread of its own. Called in [`Supervisor::on_begin`], it records everything from the
    /// first event on; later, it records what comes from then on.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be created. Nothing is left open then.
    pub fn serve(self, tree: &TreeHandle) -> Result<ControlServer, ControlError> {
        let (socket, address) = (self.socket().to_path_buf(), self.address());
        let Self { listeners, access, file, history, problem, reader } = self;
        let (begin, events) = tree.watch();
        let run = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let recorder = Recorder::new(
            u64::try_from(run).unwrap_or_default(),
            begin.number + 1,
            problem.map_or(Ok(history), Err),
        );
        let lines = Arc::clone(&recorder);
        // If another observer watches the output already, there are no lines to show.
        let _ = tree.watch_output(move |piece| lines.wrote(piece));
        let root = tree.root_path();
        let (stop, stopped) = watch::channel(false);
        let server = Arc::new(Server {
            tree: tree.clone(),
            root,
            file,
            reader,
            scaled: Scaled::default(),
            recorder,
            watched: Watched::default(),
            access: access.clone(),
            bucket: Bucket::new(),
            tcp_bucket: Bucket::new(),
        });
        let thread = spawn(server, listeners, (begin, events), stopped)?;
        Ok(ControlServer { socket, address, access, stop, thread: Some(thread) })
    }
}

/// Opens the history of the tree called `name`, if one is wanted. The error is one sentence.
fn open_history(wanted: &Wanted, name: &str, file: Option<&str>) -> Result<Option<History>, String> {
    let refused =
        |error: &dyn fmt::Display| format!("the history is kept in memory only, not on disk: {error}");
    let folder = match wanted {
        Wanted::Nowhere => return Ok(None),
        Wanted::At(folder) => folder.clone(),
        Wanted::StateFolder => {
            state_folder(name, FilePath::new(file.unwrap_or("-"))).map_err(|error| refused(&error))?
        }
    };
    let history = History::open(&folder).map_err(|error| refused(&error))?;
    history.tell_notices();
    crate::state::describe(&folder, name, file);
    Ok(Some(history))
}

fn login_address(access: Option<&TcpAccess>) -> Option<String> {
    Some(access?.new_login().ok()?.address)
}

fn open_tcp(address: SocketAddr, token: &FilePath) -> Result<(TcpListener, Arc<TcpAccess>), ControlError> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let failed = |error| ControlError::Tcp { address, error };
    let listener = listen().map_err(failed)?;
    // The port is known only now if any was asked for.
    let address = listener.local_addr().map_err(failed)?;
    let access = TcpAccess::of_files(token, address);
    let access = access.map_err(|error| ControlError::Token { path: token.to_path_buf(), error })?;
    Ok((listener, Arc::new(access)))
}

/// Starts the thread of a server, and waits until its runtime exists.
fn spawn(
    server: Arc<Server>,
    listeners: Listeners,
    events: (liveoak_runtime::Snapshot, liveoak_runtime::Events),
    stopped: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, ControlError> {
    let (began, begun) = mpsc::channel();
    // The answer to the command that ends the tree is still to be read when the tree has ended.
    let hold = server.tree.hold_run();
    let run = move || {
        let _hold = hold;
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().max_blocking_threads(DISK_THREADS).build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return drop(began.send(Err(error))),
        };
        let recorder = Arc::clone(&server.recorder);
        let serving = {
            let _inside = runtime.enter();
            serve::Serving::new(server, listeners)
        };
        match serving {
            Ok(serving) => {
                let _ = began.send(Ok(()));
                runtime.block_on(serving.run(events, stopped));
                runtime.shutdown_background();
                recorder.end_history();
            }
            Err(error) => drop(began.send(Err(error))),
        }
    };
    let thread = std::thread::Builder::new().name("liveoak-control".into()).spawn(run);
    let thread = thread.map_err(ControlError::Thread)?;
    match begun.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(ControlError::Thread(error)),
        Err(_) => Err(ControlError::Thread(io::Error::other("its thread has ended"))),
    }
}

/// Why a control server did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum ControlError {
    /// The unix socket.
    Bind(BindError),
    /// The file of the token.
    Token {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The TCP address.
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The thread of the server, or its runtime.
    Thread(io::Error),
}

impl From<BindError> for ControlError {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::Token { path, error } => write!(f, "cannot use the token file {}: {error}", path.display()),
            Self::Tcp { address, error } => write!(f, "cannot listen on {address}: {error}"),
            Self::Thread(error) => write!(f, "the thread of the control server did not start: {error}"),
        }
    }
}

impl std::error::Error for ControlError {}

/// A running control server. It ends with the tree; a drop of this value does not end it.
#[derive(Debug)]
pub struct ControlServer {
    socket: PathBuf,
    address: Option<SocketAddr>,
    access: Option<Arc<TcpAccess>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl ControlServer {
    /// Returns the path of its socket.
    #[must_use]
    pub fn socket(&self) -> &FilePath {
        &self.socket
    }

    /// Returns its TCP address, if it has one.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns a new one-time address for a browser, if there is a TCP address. It can be opened once, within ten minutes.
    #[must_use]
    pub fn login_address(&self) -> Option<String> {
        login_address(self.access.as_deref())
    }

    /// Waits until the server has ended with its tree, and its last answers were read: at most `within`. The answer to a
    /// command that ends the tree is one of them, so call this before the program ends.
    pub fn finish(mut self, within: Duration) {
        self.stop.send_replace(true);
        let Some(thread) = self.thread.take() else { return };
        let end = Instant::now() + within;
        while !thread.is_finished() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

/// Turns control on for a tree. In the prelude of `liveoak` with the feature `control`.
pub trait Controlled: Sized {
    /// Starts a control server with the tree. If that fails, the tree runs without one, and the log says why
    /// ([`Control::serve`] returns the error instead). Refused for a supervisor that is not the root.
    ///
    /// Unless the tree has a limit, its polls are [watched](Supervisor::watch_polls) with a limit of 700 ms, so that a blocked
    /// runtime is reported with the child that blocks it.
    #[must_use]
    fn control(self, control: Control) -> Self;
}

impl Controlled for Supervisor {
    fn control(self, control: Control) -> Self {
        let serve = move |tree: &TreeHandle| match control.serve(tree) {
            Ok(server) => {
                let socket = server.socket().display();
                tracing::debug!(target: "liveoak", event = "control", "the control socket is {socket}");
            }
            Err(error) => {
                tracing::warn!(target: "liveoak", event = "control", "there is no control socket: {error}");
            }
        };
        self.watch_polls_unless_set(PollLimit::new(LONGEST_POLL)).on_begin(serve)
    }
}
