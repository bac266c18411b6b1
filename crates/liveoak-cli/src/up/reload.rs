//! The file of a run, read again: for `liveoak apply`, `liveoak scale` and SIGHUP.

use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use liveoak::control::ReloadError;
use liveoak::internal::{Either, HangupRequests, race};
use liveoak::{ApplyPlan, ApplyReport, Path, PlanAction, Refusal, Supervisor, TreeHandle};
use liveoak_config::{Config, ScaleError, load_scaled};
use serde_json::json;
use tracing::Level;

use super::build::{self, ProgramOutput};
use super::status::StatusLog;
use super::stdin;
use crate::args::UpArgs;

/// The variable by which a service manager says where it wants to be told that the service is ready.
const NOTIFY: &str = "NOTIFY_SOCKET";

/// Returns the listener for SIGHUP, if the signal shall apply the file instead of stopping the tree. This is decided once, at
/// the start: when a terminal hangs up, nothing is left that could be asked.
pub(super) fn listen(args: &UpArgs) -> Option<HangupRequests> {
    let managed = || std::env::var_os(NOTIFY).is_some_and(|socket| !socket.is_empty());
    (args.reload_on_hup || args.in_background || managed()).then(HangupRequests::listen)
}

/// What a run needs to read its file again.
pub(super) struct TreeFile {
    path: PathBuf,
    /// The path from the root. The working directory may be removed, and made again, while the tree runs.
    absolute: PathBuf,
    is_stdin: bool,
    /// The child that has the terminal.
    inheriting: Option<String>,
    output: ProgramOutput,
}

/// Why a file is not applied: one sentence, and all errors of the file.
struct Problem {
    headline: String,
    errors: Option<String>,
}

impl TreeFile {
    pub(super) fn new(args: &UpArgs, config: &Config, output: ProgramOutput) -> Arc<Self> {
        Arc::new(Self {
            path: args.file.clone(),
            absolute: std::path::absolute(&args.file).unwrap_or_else(|_| args.file.clone()),
            is_stdin: config.is_stdin(),
            inheriting: stdin::inheriting_child(config),
            output,
        })
    }

    /// Returns where the output of programs goes.
    pub(super) const fn output(&self) -> &ProgramOutput {
        &self.output
    }

    /// Reads the file again, with these numbers of replicas for some of its children.
    ///
    /// # Errors
    /// When the file has errors, cannot be read a second time, or needs what only a start can give.
    pub(super) fn read(&self, replicas: &[(Path, u32)]) -> Result<Supervisor, ReloadError> {
        if self.is_stdin {
            let why = "the tree was read from the standard input, which cannot be read again";
            return Err(ReloadError::never(why));
        }
        let path = if self.path.exists() { &self.path } else { &self.absolute };
        let config = load_scaled(path, replicas).map_err(|error| match error {
            ScaleError::File(problems) => ReloadError::wrong(problems.headline(), problems.text(false)),
            ScaleError::NoSuchChild { path, near } => {
                ReloadError::no_such_child(&path, near.map(|near| near.to_string()))
            }
            error => ReloadError::cannot_scale(error.to_string()),
        })?;
        let config = config.expanded();
        let inheriting = stdin::inheriting_child(&config);
        if let Some(path) = inheriting.filter(|path| self.inheriting.as_ref() != Some(path)) {
            let text = format!(
                "{path} cannot get the terminal (stdin = \"inherit\") while the tree runs: start the tree again"
            );
            return Err(ReloadError::wrong(text, ""));
        }
        // The mode that is in force stays in force.
        Ok(build::tree(&config, None, &self.output))
    }

    /// Reads the file and compares it with the tree. Returns the plan; nothing if the file says nothing new.
    async fn plan(self: &Arc<Self>, tree: &TreeHandle) -> Result<Option<ApplyPlan>, Problem> {
        let file = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || file.read(&[])).await;
        let of_text = |headline: String| Problem { headline, errors: None };
        let declared = match read {
            Ok(Ok(declared)) => declared,
            Ok(Err(error)) => {
                let (headline, errors) = (error.headline().to_owned(), error.errors().map(str::to_owned));
                return Err(Problem { headline, errors });
            }
            Err(error) => return Err(of_text(error.to_string())),
        };
        let plan = tree.apply(declared).map_err(|error| of_text(error.to_string()))?;
        Ok(Some(plan).filter(|plan| !plan.is_empty()))
    }
}

/// Applies the file each time SIGHUP asks for it. Without a listener it waits for ever.
pub(super) async fn when_asked<T>(
    tree: &TreeHandle,
    file: &Arc<TreeFile>,
    status: &StatusLog,
    requests: Option<HangupRequests>,
) -> T {
    let Some(mut requests) = requests else { return std::future::pending().await };
    let tree = tree.by("SIGHUP");
    let name = file.path.display().to_string();
    // A child that never gets ready does not keep its correction waiting: a later plan takes over the starts of an earlier one.
    let mut runs = Runs(Vec::new());
    loop {
        if let Either::Right(ended) = race(requests.next(), runs.next()).await {
            match ended {
                Ok(report) => tell(&report, &name, status),
                Err(refusal) => {
                    let text = format!("{name} was not applied: {refusal}");
                    status.message(Level::ERROR, "apply-failed", &text);
                }
            }
            continue;
        }
        status.message(Level::INFO, "reload", &format!("SIGHUP: reading {name} again"));
        match file.plan(&tree).await {
            Ok(None) => {
                let text = format!("{name} says nothing new; nothing was changed");
                status.message(Level::INFO, "applied", &text);
            }
            Ok(Some(plan)) => runs.0.push(Box::pin(plan.run())),
            Err(Problem { headline, errors }) => {
                let headline = format!("{headline}; nothing was changed");
                let text = errors.filter(|errors| !errors.is_empty());
                let text = text.map_or_else(
                    || format!("error: {headline}\n"),
                    |errors| format!("{}\nnothing was changed\n", errors.trim_end()),
                );
                status.document(Level::ERROR, "config", &headline, &text, &json!({ "file": name }));
            }
        }
    }
}

/// The plans that are being carried out.
struct Runs(Vec<Pin<Box<Run>>>);

type Run = dyn Future<Output = Result<ApplyReport, Refusal>> + Send;

impl Runs {
    /// Waits until one of them is done; for ever if there is none.
    async fn next(&mut self) -> Result<ApplyReport, Refusal> {
        poll_fn(|context| {
            for nth in 0..self.0.len() {
                if let Poll::Ready(ended) = self.0[nth].as_mut().poll(context) {
                    drop(self.0.swap_remove(nth));
                    return Poll::Ready(ended);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Says what was done.
fn tell(report: &ApplyReport, name: &str, status: &StatusLog) {
    let count = |action: PlanAction| report.done.iter().filter(|step| step.step == action).count();
    let parts = [
        (count(PlanAction::Start), "started"),
        (count(PlanAction::Stop), "stopped"),
        (count(PlanAction::Restart), "restarted"),
        (count(PlanAction::Change), "changed"),
        (report.failed.len(), "failed"),
        (report.not_done.len(), "not done"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    let level = if report.is_complete() { Level::INFO } else { Level::WARN };
    status.message(level, "applied", &format!("{name} was applied: {}", parts.join(", ")));
    for failed in &report.failed {
        status.message(Level::WARN, "apply-failed", &failed.to_string());
    }
}
