//! The shape of the file, for the schema only: these types are never filled. The reader has its own types, and a test
//! holds both to the same keys, words and defaults.

#![expect(dead_code, reason = "only the derived schema is used, never a value")]

use std::collections::BTreeMap;

use schemars::JsonSchema;

use crate::config::defaults;
use crate::config::values::show;

/// What may stand in a name.
const NAME: &str = "^[A-Za-z0-9_-]{1,64}$";
/// A duration: whole numbers with units, the longest unit first.
const TIME: &str = r"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
/// A duration or no end.
const TIME_OR_INFINITY: &str = r"^(infinity|([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$";

/// A tree of programs that `liveoak up` runs: started in order, restarted when they fail, stopped within a known time.
#[derive(JsonSchema)]
#[schemars(title = "liveoak.toml", deny_unknown_fields)]
pub(super) struct File {
    /// The name of the tree, the first part of every path. Default: the name of the file's folder.
    #[schemars(regex(pattern = NAME))]
    name: Option<String>,
    /// Which children a failure restarts: only the failed one, all, or the failed one and those after it.
    #[schemars(extend("default" = "one-for-one"))]
    strategy: Option<Strategy>,
    /// How many restarts of all children together are too many. Default: each child has a limit of its own, 10 restarts
    /// in 1m.
    intensity: Option<Limit>,
    /// In which order children start: one after another as declared, or side by side as soon as their `after` holds.
    #[schemars(extend("default" = "declared"))]
    order: Option<Order>,
    /// Whether the end of significant children ends the tree.
    #[schemars(extend("default" = "never"))]
    auto_shutdown: Option<AutoShutdown>,
    /// The budget for the stop of the whole tree.
    #[schemars(extend("default" = { "within": show(defaults::TREE_STOP) }))]
    stop: Option<SupervisorStop>,
    /// The children, by name. They start in the order of the file.
    #[schemars(extend("propertyNames" = { "pattern": NAME }, "minProperties" = 1))]
    child: BTreeMap<String, Child>,
}

/// A program, or a supervisor with children of its own.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Child {
    /// A child that runs a program.
    Program(Box<Program>),
    /// A child with children: a supervisor.
    Supervisor(Box<Supervisor>),
}

/// A child that runs a program as a process.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["command"] }, { "required": ["shell"] }]))]
struct Program {
    /// What to run: an array of words, or a string that is split into words as a shell would. No shell runs. With a
    /// slash the program is looked for from `cwd`, without one in PATH.
    command: Option<Words>,
    /// A script for `sh -c`, instead of `command`.
    #[schemars(length(min = 1), extend("examples" = ["producer | consumer"]))]
    shell: Option<String>,
    /// The folder to run in, relative to the file's folder. Default: the file's folder.
    #[schemars(length(min = 1))]
    cwd: Option<String>,
    /// Variables beside the inherited ones. They win over those of `env_file`.
    #[schemars(extend("propertyNames" = { "pattern": "^[^=]+$" }))]
    env: Option<BTreeMap<String, String>>,
    /// A file of KEY=VALUE lines, relative to the file's folder. Nothing is expanded in it.
    #[schemars(length(min = 1))]
    env_file: Option<String>,
    /// When an attempt counts as ready, so that the next child starts. Default: as soon as it runs.
    ready: Option<Ready>,
    /// How it is stopped: the signal that asks, and the time until it is killed.
    #[schemars(extend("default" = { "signal": "SIGTERM", "within": show(defaults::CHILD_STOP) }))]
    stop: Option<ProgramStop>,
    /// The exit codes that are no failure.
    #[schemars(length(min = 1), extend("default" = [defaults::SUCCESS]))]
    success: Option<Vec<u8>>,
    /// How many of it run. Above 1 they are named NAME.1, NAME.2 and so on.
    #[schemars(range(min = 1, max = defaults::MAX_REPLICAS), extend("default" = 1))]
    replicas: Option<u16>,
    /// When it is started again: always, after a failure, or never.
    #[schemars(extend("default" = "permanent"))]
    restart: Option<Restart>,
    /// The waits between restarts, or false for none.
    backoff: Option<BackoffOrFalse>,
    /// How many restarts of this child alone are too many.
    limit: Option<Limit>,
    /// The siblings that must be started, ready, healthy or completed before it starts.
    after: Option<After>,
    /// Whether its end counts for the `auto_shutdown` of the supervisor around it. Not for permanent children.
    #[schemars(extend("default" = false))]
    significant: Option<bool>,
}

/// A child with children.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Supervisor {
    /// Which children a failure restarts: only the failed one, all, or the failed one and those after it.
    #[schemars(extend("default" = "one-for-one"))]
    strategy: Option<Strategy>,
    /// How many restarts of all its children together are too many. Default: each child has a limit of its own, 10
    /// restarts in 1m.
    intensity: Option<Limit>,
    /// In which order its children start: one after another as declared, or side by side as soon as their `after` holds.
    #[schemars(extend("default" = "declared"))]
    order: Option<Order>,
    /// Whether the end of significant children ends this supervisor.
    #[schemars(extend("default" = "never"))]
    auto_shutdown: Option<AutoShutdown>,
    /// The children, by name. They start in the order of the file.
    #[schemars(extend("propertyNames" = { "pattern": NAME }, "minProperties" = 1))]
    child: BTreeMap<String, Child>,
    /// The budget for its own stop. Default: only the budgets around it count.
    stop: Option<SupervisorStop>,
    /// When it is started again: always, after a failure, or never.
    #[schemars(extend("default" = "permanent"))]
    restart: Option<Restart>,
    /// The waits between restarts, or false for none.
    backoff: Option<BackoffOrFalse>,
    /// How many restarts of this supervisor alone are too many.
    limit: Option<Limit>,
    /// The siblings that must be started, ready, healthy or completed before it starts.
    after: Option<After>,
    /// Whether its end counts for the `auto_shutdown` of the supervisor around it. Not for permanent children.
    #[schemars(extend("default" = false))]
    significant: Option<bool>,
}

/// Words of a command.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Words {
    /// A string that is split into words as a shell would; no shell runs.
    Line(#[schemars(length(min = 1))] String),
    /// The program and its arguments.
    Words(#[schemars(length(min = 1))] Vec<String>),
}

/// Which children a failure restarts.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Strategy {
    /// Only the one that failed.
    OneForOne,
    /// All of them.
    OneForAll,
    /// The one that failed and those declared after it.
    RestForOne,
}

/// In which order children start.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Order {
    /// One after another, as declared.
    Declared,
    /// Side by side, as soon as their `after` holds.
    Edges,
}

/// Whether significant children end their supervisor.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum AutoShutdown {
    /// They do not.
    Never,
    /// The first that ends does.
    AnySignificant,
    /// The last that ends does.
    AllSignificant,
}

/// When a child is started again.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Restart {
    /// Always.
    Permanent,
    /// After a failure.
    Transient,
    /// Never.
    Temporary,
}

/// What happens above a limit.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum GiveUp {
    /// The supervisor fails, and the one around it decides.
    Escalate,
    /// The child stays down, visibly; the others go on.
    Quarantine,
}

/// What a sibling must have reached.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Condition {
    /// It was started.
    Started,
    /// It is ready.
    Ready,
    /// It is ready and healthy.
    Healthy,
    /// It ended without failure and for good.
    Completed,
}

/// The signal that asks a program to stop.
#[derive(JsonSchema)]
#[schemars(rename_all = "UPPERCASE")]
enum Signal {
    SigTerm,
    SigInt,
    SigHup,
    SigQuit,
    SigAbrt,
    SigKill,
    SigUsr1,
    SigUsr2,
    SigAlrm,
    SigWinch,
}

/// A number of restarts in a period.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Limit {
    /// More than this many within the period are too many; 0 makes the first failure one too many.
    restarts: Restarts,
    /// The period, a duration above zero. To be left out when restarts are unlimited.
    #[schemars(regex(pattern = TIME), length(min = 2))]
    period: Option<String>,
    /// What happens above the limit.
    #[schemars(extend("default" = "escalate"))]
    give_up: Option<GiveUp>,
}

/// How many restarts.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Restarts {
    /// A number.
    Count(#[schemars(range(min = 0, max = defaults::MAX_RESTARTS))] u32),
    /// No limit.
    Unlimited(Unlimited),
}

/// No limit.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Unlimited {
    Unlimited,
}

/// The waits between restarts, or false.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum BackoffOrFalse {
    /// The waits.
    Backoff(Backoff),
    /// No waits.
    None(#[schemars(extend("const" = false))] bool),
}

/// Waits that double from `from` to `to`, each cut by a random share.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Backoff {
    /// The first wait.
    #[schemars(regex(pattern = TIME), length(min = 2), extend("default" = show(defaults::BACKOFF_FROM)))]
    from: Option<String>,
    /// The longest wait.
    #[schemars(regex(pattern = TIME), length(min = 2), extend("default" = show(defaults::BACKOFF_TO)))]
    to: Option<String>,
    /// A run of this length makes the next wait the first one again.
    #[schemars(regex(pattern = TIME), length(min = 2), extend("default" = show(defaults::BACKOFF_RESET_AFTER)))]
    reset_after: Option<String>,
}

/// One probe, and the deadline of the start.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("oneOf" = crate::config::keys::PROBES.iter().map(|key| serde_json::json!({ "required": [key] })).collect::<Vec<_>>()))]
struct Ready {
    /// Ready after it has run for this long.
    #[schemars(regex(pattern = TIME), length(min = 2))]
    delay: Option<String>,
    /// Ready when a line of its output matches this regular expression.
    #[schemars(length(min = 1), extend("examples" = ["listening on"]))]
    log: Option<String>,
    /// Ready when this address accepts a connection.
    #[schemars(regex(pattern = r"^.+:[0-9]+$"), extend("examples" = ["127.0.0.1:7000"]))]
    tcp: Option<String>,
    /// Ready when this unix socket accepts a connection; relative to `cwd`.
    #[schemars(length(min = 1))]
    unix: Option<String>,
    /// Ready when this file exists; relative to `cwd`.
    #[schemars(length(min = 1))]
    file: Option<String>,
    /// Ready when this command exits with 0; run in `cwd`, again and again until then.
    command: Option<Words>,
    /// Ready when this URL answers a GET with 2xx or 3xx. Plain http only.
    #[schemars(regex(pattern = r"^http://.+$"), extend("examples" = ["http://127.0.0.1:8080/health"]))]
    http: Option<String>,
    /// How long it may take. A start that misses it has failed.
    #[schemars(regex(pattern = TIME), length(min = 2), extend("default" = show(defaults::READY_WITHIN)))]
    within: Option<String>,
}

/// How a program is stopped.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ProgramStop {
    /// The signal that asks it to stop.
    #[schemars(extend("default" = "SIGTERM"))]
    signal: Option<Signal>,
    /// How long it may take until its whole process group is killed. "0s" kills at once, "infinity" never.
    #[schemars(regex(pattern = TIME_OR_INFINITY), length(min = 2), extend("default" = show(defaults::CHILD_STOP)))]
    within: Option<String>,
}

/// The budget of a stop.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct SupervisorStop {
    /// How long the stop may take, however many children ignore it.
    #[schemars(regex(pattern = TIME), length(min = 2))]
    within: Option<String>,
}

/// Siblings to wait for.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum After {
    /// What each of them must have reached.
    Conditions(BTreeMap<String, Condition>),
    /// Siblings that must be ready.
    Ready(Vec<String>),
}
