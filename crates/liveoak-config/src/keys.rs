//! The table of keys: every key of every table of `liveoak.toml`, with its type, its default and its description.
//!
//! The reader refuses every key that is not here, and the JSON Schema is made from it. A new key is one entry here and one line
//! in the reader.

use crate::bounds::MAX_REPLICAS;
use crate::duration::show;
use liveoak_core::{AutoShutdown, Backoff, ChildSpec, Condition, GiveUp, Limit, Order, Restart, Strategy};
use liveoak_process::Signal;
use serde_json::{Value, json};

/// The keys of one table.
pub(crate) struct Keys {
    /// The name of its definition in the JSON Schema.
    pub(crate) name: &'static str,
    /// What the table declares.
    pub(crate) about: &'static str,
    /// The keys, in the order in which messages list them.
    pub(crate) keys: &'static [&'static [Key]],
    /// The keys of which a table must have exactly one; none if there are no such.
    pub(crate) one_of: &'static [&'static str],
}

/// One key.
pub(crate) struct Key {
    /// The key itself.
    pub(crate) name: &'static str,
    /// The type of its value.
    pub(crate) kind: Kind,
    /// Its description, for editors.
    pub(crate) about: &'static str,
    /// The value that holds when the key is left out, if it can be written as one.
    pub(crate) default: Option<fn() -> Value>,
    /// Whether the key must be given.
    pub(crate) required: bool,
}

/// The type of a value.
pub(crate) enum Kind {
    /// The name of a tree.
    Name,
    /// A text that is not empty; an example of it.
    Text(Option<&'static str>),
    /// A text that matches a pattern; an example of it.
    Pattern(&'static str, &'static str),
    /// `true` or `false`.
    Boolean,
    /// A whole number between two bounds, both included.
    Integer(u64, u64),
    /// A duration.
    Duration,
    /// A duration or `"infinity"`.
    DurationOrInfinity,
    /// One of a closed list of words.
    Word(&'static Words),
    /// Exit codes.
    ExitCodes,
    /// A table of variables.
    Variables,
    /// A command: an array of words or a string.
    Command,
    /// A number of restarts, or `"unlimited"`.
    Restarts,
    /// The dependencies of a child.
    After,
    /// A table of children, by name.
    Children,
    /// A table.
    Table(&'static Keys),
    /// A table, or `false`.
    TableOrFalse(&'static Keys),
}

/// A closed list of words.
pub(crate) struct Words {
    /// The name of its definition in the JSON Schema.
    pub(crate) name: &'static str,
    /// What the word decides.
    pub(crate) about: &'static str,
    /// Returns the words and their meanings.
    pub(crate) all: fn() -> Vec<(&'static str, &'static str)>,
}

/// A type whose values each have one word in the file.
pub(crate) trait Word: Copy + 'static {
    /// Every value, in the order in which messages list them.
    const ALL: &'static [Self];
    /// Returns the word of the value.
    fn word(self) -> &'static str;
    /// Returns what the value means; empty if the word tells it.
    fn meaning(self) -> &'static str;
}

/// The words of `liveoak-core` are the words of the file.
macro_rules! words_of_core {
    ($($name:ident)+) => {$(
        impl Word for $name {
            const ALL: &'static [Self] = $name::ALL;

            fn word(self) -> &'static str {
                self.as_str()
            }

            fn meaning(self) -> &'static str {
                self.description()
            }
        }
    )+};
}

words_of_core! { Restart Strategy Order AutoShutdown GiveUp Condition }

impl Word for Signal {
    const ALL: &'static [Self] = Signal::STOP_SIGNALS;

    fn word(self) -> &'static str {
        self.name().unwrap_or_default()
    }

    fn meaning(self) -> &'static str {
        ""
    }
}

fn words<W: Word>() -> Vec<(&'static str, &'static str)> {
    W::ALL.iter().map(|value| (value.word(), value.meaning())).collect()
}

impl Keys {
    /// Returns every key of the table.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().copied().flatten()
    }

    /// Returns the name of every key.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.all().map(|key| key.name).collect()
    }

    /// Returns `true` if the table has the key.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.all().any(|key| key.name == name)
    }
}

/// Returns the name of every key that a child may have, be it a program or a supervisor.
pub(crate) fn any_child() -> Vec<&'static str> {
    let mut names = PROGRAM.names();
    names.extend(SUPERVISOR.names().into_iter().filter(|name| !PROGRAM.has(name)));
    names
}

const fn key(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, kind, about, default: None, required: false }
}

impl Key {
    const fn or(self, default: fn() -> Value) -> Self {
        Self { default: Some(default), ..self }
    }

    const fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

static RESTART: Words =
    Words { name: "Restart", about: "When a child is started again.", all: words::<Restart> };
static STRATEGY: Words =
    Words { name: "Strategy", about: "Which children a failure restarts.", all: words::<Strategy> };
static ORDER: Words = Words { name: "Order", about: "In which order children start.", all: words::<Order> };
static AUTO_SHUTDOWN: Words = Words {
    name: "AutoShutdown",
    about: "Whether significant children end their supervisor.",
    all: words::<AutoShutdown>,
};
static GIVE_UP: Words = Words { name: "GiveUp", about: "What happens above a limit.", all: words::<GiveUp> };
static SIGNAL: Words =
    Words { name: "Signal", about: "The signal that asks a program to stop.", all: words::<Signal> };
/// The words of an `after` table.
pub(crate) static CONDITION: Words =
    Words { name: "Condition", about: "What a sibling must have reached.", all: words::<Condition> };

/// The file's top level: the root supervisor.
pub(crate) static ROOT: Keys = Keys {
    name: "File",
    about: "A tree of programs that `liveoak up` runs: started in order, restarted when they fail, stopped within a known \
            time.",
    keys: &[
        &[key(
            "name",
            Kind::Name,
            "The name of the tree, the first part of every path. Default: the name of the file's folder.",
        )],
        OF_SUPERVISORS,
        &[key("stop", Kind::Table(&SUPERVISOR_STOP), "The budget for the stop of the whole tree.")
            .or(|| json!({ "within": show(ChildSpec::of_root().stop_within) }))],
        CHILDREN,
    ],
    one_of: &[],
};

/// A child that runs a program.
pub(crate) static PROGRAM: Keys = Keys {
    name: "Program",
    about: "A child that runs a program as a process.",
    keys: &[
        &[
            key(
                "command",
                Kind::Command,
                "What to run: an array of words, or a string that is split into words as a shell would. No shell runs. With \
                 a slash the program is looked for from `cwd`, without one in PATH.",
            ),
            key(
                "shell",
                Kind::Text(Some("producer | consumer")),
                "A script for `sh -c`, instead of `command`.",
            ),
            key(
                "cwd",
                Kind::Text(None),
                "The folder to run in, relative to the file's folder. Default: the file's folder.",
            ),
            key(
                "env",
                Kind::Variables,
                "Variables beside the inherited ones. They win over those of `env_file`.",
            ),
            key(
                "env_file",
                Kind::Text(None),
                "A file of KEY=VALUE lines, relative to the file's folder. Nothing is expanded in it.",
            ),
            key(
                "ready",
                Kind::Table(&READY),
                "When an attempt counts as ready, so that the next child starts. Default: as soon as it runs.",
            ),
            key("success", Kind::ExitCodes, "The exit codes that are no failure.").or(|| json!([0])),
            key(
                "replicas",
                Kind::Integer(1, MAX_REPLICAS),
                "How many of it run. Above 1 they are named NAME.1, NAME.2 and so on.",
            )
            .or(|| json!(1)),
        ],
        OF_CHILDREN,
        &[key(
            "stop",
            Kind::Table(&PROGRAM_STOP),
            "How it is stopped: the signal that asks, and the time until it is killed.",
        )
        .or(|| json!({ "signal": Signal::TERM.word(), "within": show(ChildSpec::default().stop_within) }))],
    ],
    one_of: &["command", "shell"],
};

/// A child that is a supervisor.
pub(crate) static SUPERVISOR: Keys = Keys {
    name: "Supervisor",
    about: "A child with children: a supervisor.",
    keys: &[
        OF_SUPERVISORS,
        CHILDREN,
        OF_CHILDREN,
        &[key(
            "stop",
            Kind::Table(&SUPERVISOR_STOP),
            "The budget for its own stop. Default: only the budgets around it count.",
        )],
    ],
    one_of: &[],
};

/// What every supervisor has, the root included.
const OF_SUPERVISORS: &[Key] = &[
    key(
        "strategy",
        Kind::Word(&STRATEGY),
        "Which children a failure restarts: only the failed one, all, or the failed one and those after it.",
    )
    .or(|| json!(Strategy::default().as_str())),
    key(
        "intensity",
        Kind::Table(&LIMIT),
        "How many restarts of all children together are too many. Default: each child has a limit of its own, 10 restarts in \
         1m.",
    ),
    key(
        "order",
        Kind::Word(&ORDER),
        "In which order children start: one after another as declared, or side by side as soon as their `after` holds.",
    )
    .or(|| json!(Order::default().as_str())),
    key(
        "auto_shutdown",
        Kind::Word(&AUTO_SHUTDOWN),
        "Whether the end of significant children ends the supervisor.",
    )
    .or(|| json!(AutoShutdown::default().as_str())),
];

const CHILDREN: &[Key] =
    &[key("child", Kind::Children, "The children, by name. They start in the order of the file.").required()];

/// What every child has, be it a program or a supervisor.
const OF_CHILDREN: &[Key] = &[
    key("restart", Kind::Word(&RESTART), "When it is started again: always, after a failure, or never.")
        .or(|| json!(Restart::default().as_str())),
    key("backoff", Kind::TableOrFalse(&BACKOFF), "The waits between restarts, or false for none."),
    key("limit", Kind::Table(&LIMIT), "How many restarts of this child alone are too many."),
    key(
        "after",
        Kind::After,
        "The siblings that must be started, ready, healthy or completed before it starts.",
    ),
    key(
        "significant",
        Kind::Boolean,
        "Whether its end counts for the `auto_shutdown` of the supervisor around it. Not for permanent children.",
    )
    .or(|| json!(ChildSpec::default().significant)),
];

/// `intensity` and `limit`.
pub(crate) static LIMIT: Keys = Keys {
    name: "Limit",
    about: "A number of restarts in a period.",
    keys: &[&[
        key(
            "restarts",
            Kind::Restarts,
            "More than this many within the period are too many; 0 makes the first failure one too many.",
        )
        .required(),
        key(
            "period",
            Kind::Duration,
            "The period, a duration above zero. To be left out when restarts are unlimited.",
        ),
        key("give_up", Kind::Word(&GIVE_UP), "What happens above the limit.")
            .or(|| json!(GiveUp::default().as_str())),
    ]],
    one_of: &[],
};

/// The largest number of `restarts` that is not `"unlimited"`.
pub(crate) const MAX_RESTARTS: u64 = Limit::MAX_RESTARTS as u64;

/// `backoff`.
pub(crate) static BACKOFF: Keys = Keys {
    name: "Backoff",
    about: "Waits that double from `from` to `to`, each cut by a random share.",
    keys: &[&[
        key("from", Kind::Duration, "The first wait.").or(|| json!(show(Backoff::default().from))),
        key("to", Kind::Duration, "The longest wait.").or(|| json!(show(Backoff::default().to))),
        key("reset_after", Kind::Duration, "A run of this length makes the next wait the first one again.")
            .or(|| json!(show(Backoff::default().reset_after))),
    ]],
    one_of: &[],
};

/// `ready`: one probe, and the deadline.
pub(crate) static READY: Keys = Keys {
    name: "Ready",
    about: "One probe, and the deadline of the start.",
    keys: &[&[
        key("delay", Kind::Duration, "Ready after it has run for this long."),
        key(
            "log",
            Kind::Text(Some("listening on")),
            "Ready when a line of its output matches this regular expression.",
        ),
        key(
            "tcp",
            Kind::Pattern("^.+:[0-9]+$", "127.0.0.1:7000"),
            "Ready when this address accepts a connection.",
        ),
        key("unix", Kind::Text(None), "Ready when this unix socket accepts a connection; relative to `cwd`."),
        key("file", Kind::Text(None), "Ready when this file exists; relative to `cwd`."),
        key(
            "command",
            Kind::Command,
            "Ready when this command exits with 0; run in `cwd`, again and again until then.",
        ),
        key(
            "http",
            Kind::Pattern("^[Hh][Tt][Tt][Pp]://.+$", "http://127.0.0.1:8080/health"),
            "Ready when this URL answers a GET with 2xx or 3xx. Plain http only.",
        ),
        key("within", Kind::Duration, "How long it may take. A start that misses it has failed.")
            .or(|| json!(show(ChildSpec::default().start_within))),
    ]],
    one_of: &["delay", "log", "tcp", "unix", "file", "command", "http"],
};

/// The `stop` of a program.
pub(crate) static PROGRAM_STOP: Keys = Keys {
    name: "ProgramStop",
    about: "How a program is stopped.",
    keys: &[&[
        key("signal", Kind::Word(&SIGNAL), "The signal that asks it to stop.")
            .or(|| json!(Signal::TERM.word())),
        key(
            "within",
            Kind::DurationOrInfinity,
            "How long it may take until its whole process group is killed. \"0s\" kills at once, \"infinity\" never.",
        )
        .or(|| json!(show(ChildSpec::default().stop_within))),
    ]],
    one_of: &[],
};

/// The `stop` of a supervisor.
pub(crate) static SUPERVISOR_STOP: Keys = Keys {
    name: "SupervisorStop",
    about: "The budget of a stop.",
    keys: &[&[key("within", Kind::Duration, "How long the stop may take, however many children ignore it.")]],
    one_of: &[],
};

/// The longest name that is compared with others, in bytes; a longer one is no slip of a key.
const MAX_COMPARED: usize = 128;

/// Returns the name among `candidates` that `name` was probably meant to be.
pub(crate) fn near_miss<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if name.len() > MAX_COMPARED {
        return None;
    }
    let name = name.to_lowercase().replace('-', "_");
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            let lower = candidate.to_lowercase().replace('-', "_");
            (strsim::damerau_levenshtein(&name, &lower), candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_found_and_a_stranger_is_not() {
        assert_eq!(near_miss("restrat", PROGRAM.names()), Some("restart"));
        assert_eq!(near_miss("auto-shutdown", ROOT.names()), Some("auto_shutdown"));
        assert_eq!(near_miss("Backoff", SUPERVISOR.names()), Some("backoff"));
        assert_eq!(near_miss("colour", PROGRAM.names()), None);
    }
}
