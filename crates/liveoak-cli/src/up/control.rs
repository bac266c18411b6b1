//! The control socket of a run: opened before anything starts, and served until the last answer was read.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use liveoak::control::{BindError, Control, ControlError, ControlServer, OpenControl, state_folder};
use liveoak::{Supervisor, TreeHandle};
use liveoak_config::Config;
use tracing::Level;

use super::reload::TreeFile;
use super::status::StatusLog;
use crate::args::UpArgs;

/// How long the end of the run waits for clients that read their last answers.
const FINISH_WITHIN: Duration = Duration::from_secs(3);

/// The control server of a run.
pub(super) struct UpControl {
    open: Option<OpenControl>,
    server: Arc<Mutex<Option<Result<ControlServer, ControlError>>>>,
}

impl UpControl {
    /// Opens the socket, unless the command line says otherwise. If none can be opened, reports it, and the tree runs
    /// without.
    ///
    /// # Errors
    /// When the same file runs already.
    pub(super) fn open(
        args: &UpArgs,
        config: &Config,
        file: &Arc<TreeFile>,
        status: &StatusLog,
    ) -> Result<Self, String> {
        let server = Arc::default();
        if args.no_control {
            return Ok(Self { open: None, server });
        }
        let open = |listens: bool| {
            let file = Arc::clone(file);
            let control = control(args, config, listens)?.reload(move |replicas| file.read(replicas));
            control.open(config.name.as_str()).map_err(Problem::Control)
        };
        let opened = match open(true) {
            // Without the TCP address, the tree can still be reached over its socket.
            Err(error) if args.listen.is_some() && error.is_of_listen() => {
                let text = format!("--listen has no effect: {error}");
                status.message(Level::WARN, "no-listen", &text);
                open(false)
            }
            opened => opened,
        };
        let open = match opened {
            Ok(open) => Some(open),
            Err(Problem::Control(ControlError::Bind(error @ BindError::Running { .. }))) => {
                return Err(format!(
                    "{error}; look at it with `liveoak ps`, end it with `liveoak down`, or start a second one with --no-control"
                ));
            }
            // Nothing else could reach a tree in the background.
            Err(error) if args.in_background => return Err(format!("there is no control socket: {error}")),
            Err(error) => {
                let text =
                    format!("there is no control socket, so other commands cannot reach this tree: {error}");
                status.message(Level::WARN, "no-control", &text);
                None
            }
        };
        if let Some(problem) = open.as_ref().and_then(OpenControl::history_problem) {
            status.message(Level::WARN, "no-history", problem);
        }
        if let (Some(address), Ok(token)) =
            (open.as_ref().and_then(OpenControl::address), token_file(args, config))
        {
            let text = format!("listening on http://{address}; the token is in {}", token.display());
            status.message(Level::INFO, "listening", &text);
            if let Some(login) = open.as_ref().and_then(OpenControl::login_address) {
                let text = format!(
                    "a browser can open {login} once, within ten minutes; `liveoak login` prints a new address"
                );
                status.message(Level::INFO, "login", &text);
            }
        }
        Ok(Self { open, server })
    }

    /// Lets the server begin with the tree.
    pub(super) fn begin_with(&mut self, tree: Supervisor) -> Supervisor {
        let Some(open) = self.open.take() else { return tree };
        let server = Arc::clone(&self.server);
        tree.on_begin(move |tree: &TreeHandle| {
            *server.lock().unwrap_or_else(PoisonError::into_inner) = Some(open.serve(tree));
        })
    }

    /// Says so if the server did not begin.
    pub(super) fn tell_failure(&self, status: &StatusLog) {
        if let Some(Err(error)) = &*self.server.lock().unwrap_or_else(PoisonError::into_inner) {
            let text =
                format!("there is no control socket, so other commands cannot reach this tree: {error}");
            status.message(Level::WARN, "no-control", &text);
        }
    }

    /// Waits until clients have read their last answers, within a bound.
    pub(super) fn finish(self) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Ok(server)) = server {
            server.finish(FINISH_WITHIN);
        }
    }
}

/// Why there is no socket.
enum Problem {
    Control(ControlError),
    Token(std::io::Error),
}

impl Problem {
    /// Returns `true` if it concerns the TCP address, or its token.
    const fn is_of_listen(&self) -> bool {
        matches!(self, Self::Token(_) | Self::Control(ControlError::Tcp { .. } | ControlError::Token { .. }))
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Control(error) => error.fmt(f),
            Self::Token(error) => write!(f, "there is no place for the token of --listen: {error}"),
        }
    }
}

fn control(args: &UpArgs, config: &Config, listens: bool) -> Result<Control, Problem> {
    let mut control = Control::new();
    if !config.is_stdin() {
        control = control.file(&args.file);
    } else if let Ok(folder) = state_folder(config.name.as_str(), Path::new("-")) {
        control = control.history(folder);
    }
    if let Some(socket) = socket(args) {
        control = control.socket(socket);
    }
    if let Some(address) = args.listen.filter(|_| listens) {
        control = control.listen(address, token_file(args, config).map_err(Problem::Token)?);
    }
    Ok(control)
}

/// Returns the path of the socket that the user has chosen.
pub(crate) fn socket(args: &UpArgs) -> Option<PathBuf> {
    let variable = || std::env::var_os("LIVEOAK_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from);
    args.socket.clone().or_else(variable)
}

/// Returns the file of the token for callers over TCP.
fn token_file(args: &UpArgs, config: &Config) -> std::io::Result<PathBuf> {
    let file = if config.is_stdin() { Path::new("-") } else { &args.file };
    Ok(state_folder(config.name.as_str(), file)?.join("token"))
}
