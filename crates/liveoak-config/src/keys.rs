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
    lists: &'static [&'static [Key]],
    /// The keys that must be given.
    pub(crate) required: &'static [&'static str],
    /// The keys of which exactly one must be given.
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
}

/// The type of a value.
pub(crate) enum Kind {
    /// The name of a tree.
    Name,
    /// A text that is not empty.
    Text,
    /// A text that is not empty, with an example.
    TextLike(&'static str),
    /// A text that matches a pattern, with an example.
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
    Word(fn() -> Vec<(&'static str, &'static str)>),
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
use Kind::{
    After, Boolean, Children, Command, Duration, DurationOrInfinity, ExitCodes, Integer, Name, Pattern,
    Restarts, Table, TableOrFalse, Text, TextLike, Variables, Word as OneOf,
};

/// A type whose values each have one word in the file.
pub(crate) trait Word: Copy + 'static {
    /// Every value, in the order in which messages list them.
    const ALL: &'static [Self];
    /// Returns the word of the value.
    fn word(self) -> &'static str;
    /// Returns what the value means; empty if the word tells it.
    fn meaning(self) -> &'static str;
}

/// Takes the words of the file from `liveoak-core`.
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

/// Returns the words of a type, each with its meaning.
pub(crate) fn words<W: Word>() -> Vec<(&'static str, &'static str)> {
    W::ALL.iter().map(|value| (value.word(), value.meaning())).collect()
}

impl Keys {
    /// Returns every key of the table.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'static Key> {
        self.lists.iter().copied().flatten()
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

/// Declares lists of keys: `/// DESCRIPTION`, `KEY: TYPE`, and `= DEFAULT` if it has one.
macro_rules! keys {
    ($(const $list:ident {$(
        $(#[doc = $about:literal])+
        $key:ident: $kind:expr $(, = $default:expr)?;
    )+})+) => {$(
        const $list: &[Key] = &[$(Key {
            name: stringify!($key),
            kind: $kind,
            about: concat!($($about,)+).trim_ascii(),
            default: keys!(@default $($default)?),
        },)+];
    )+};
    (@default) => { None };
    (@default $default:expr) => { Some(|| json!($default)) };
}

keys! {
    const OF_ROOT {
        /// The name of the tree, the first part of every path. Default: the name of the file's folder.
        name: Name;
    }

    const OF_SUPERVISORS {
        /// Which children a failure restarts: only the failed one, all, or the failed one and those after it.
        strategy: OneOf(words::<Strategy>), = Strategy::default().as_str();
        /// How many restarts of all children together are too many. Default: each child has a limit of its own, 10 restarts in 1m.
        intensity: Table(&LIMIT);
        /// In which order children start: one after another as declared, or side by side as soon as their `after` holds.
        order: OneOf(words::<Order>), = Order::default().as_str();
        /// Whether the end of significant children ends the supervisor.
        auto_shutdown: OneOf(words::<AutoShutdown>), = AutoShutdown::default().as_str();
    }

    const OF_ROOTS_STOP {
        /// The budget for the stop of the whole tree.
        stop: Table(&SUPERVISOR_STOP), = json!({ "within": show(ChildSpec::of_root().stop_within) });
    }

    const OF_NESTED_STOP {
        /// The budget for its own stop. Default: only the budgets around it count.
        stop: Table(&SUPERVISOR_STOP);
    }

    const CHILDREN {
        /// The children, by name. They start in the order of the file.
        child: Children;
    }

    const OF_PROGRAMS {
        /// What to run: an array of words, or a string that is split into words as a shell would. No shell runs.
        /// With a slash the program is looked for from `cwd`, without one in PATH.
        command: Command;
        /// A script for `sh -c`, instead of `command`.
        shell: TextLike("producer | consumer");
        /// The folder to run in, relative to the file's folder. Default: the file's folder.
        cwd: Text;
        /// Variables beside the inherited ones. They win over those of `env_file`.
        env: Variables;
        /// A file of KEY=VALUE lines, relative to the file's folder. Nothing is expanded in it.
        env_file: Text;
        /// When an attempt counts as ready, so that the next child starts. Default: as soon as it runs.
        ready: Table(&READY);
        /// The exit codes that are no failure.
        success: ExitCodes, = [0];
        /// How many of it run. Above 1 they are named NAME.1, NAME.2 and so on.
        replicas: Integer(1, MAX_REPLICAS), = 1;
        /// How it is stopped: the signal that asks, and the time until it is killed.
        stop: Table(&PROGRAM_STOP), = json!({ "signal": Signal::TERM.word(), "within": show(ChildSpec::default().stop_within) });
    }

    const OF_CHILDREN {
        /// When it is started again: always, after a failure, or never.
        restart: OneOf(words::<Restart>), = Restart::default().as_str();
        /// The waits between restarts, or false for none.
        backoff: TableOrFalse(&BACKOFF);
        /// How many restarts of this child alone are too many.
        limit: Table(&LIMIT);
        /// The siblings that must be started, ready, healthy or completed before it starts.
        after: After;
        /// Whether its end counts for the `auto_shutdown` of the supervisor around it. Not for permanent children.
        significant: Boolean, = ChildSpec::default().significant;
    }

    const OF_LIMIT {
        /// More than this many within the period are too many; 0 makes the first failure one too many.
        restarts: Restarts;
        /// The period, a duration above zero. To be left out when restarts are unlimited.
        period: Duration;
        /// What happens above the limit.
        give_up: OneOf(words::<GiveUp>), = GiveUp::default().as_str();
    }

    const OF_BACKOFF {
        /// The first wait.
        from: Duration, = show(Backoff::default().from);
        /// The longest wait.
        to: Duration, = show(Backoff::default().to);
        /// A run of this length makes the next wait the first one again.
        reset_after: Duration, = show(Backoff::default().reset_after);
    }

    const OF_READY {
        /// Ready after it has run for this long.
        delay: Duration;
        /// Ready when a line of its output matches this regular expression.
        log: TextLike("listening on");
        /// Ready when this address accepts a connection.
        tcp: Pattern("^.+:[0-9]+$", "127.0.0.1:7000");
        /// Ready when this unix socket accepts a connection; relative to `cwd`.
        unix: Text;
        /// Ready when this file exists; relative to `cwd`.
        file: Text;
        /// Ready when this command exits with 0; run in `cwd`, again and again until then.
        command: Command;
        /// Ready when this URL answers a GET with 2xx or 3xx. Plain http only.
        http: Pattern("^[Hh][Tt][Tt][Pp]://.+$", "http://127.0.0.1:8080/health");
        /// How long it may take. A start that misses it has failed.
        within: Duration, = show(ChildSpec::default().start_within);
    }

    const OF_PROGRAM_STOP {
        /// The signal that asks it to stop.
        signal: OneOf(words::<Signal>), = Signal::TERM.word();
        /// How long it may take until its whole process group is killed. "0s" kills at once, "infinity" never.
        within: DurationOrInfinity, = show(ChildSpec::default().stop_within);
    }

    const OF_SUPERVISOR_STOP {
        /// How long the stop may take, however many children ignore it.
        within: Duration;
    }
}

/// The largest number of `restarts` that is not `"unlimited"`.
pub(crate) const MAX_RESTARTS: u64 = Limit::MAX_RESTARTS as u64;

const fn keys(name: &'static str, about: &'static str, lists: &'static [&'static [Key]]) -> Keys {
    Keys { name, about, lists, required: &[], one_of: &[] }
}

/// The file's top level: the root supervisor.
pub(crate) static ROOT: Keys = Keys {
    required: &["child"],
    ..keys(
        "File",
        "A tree of programs that `liveoak up` runs: started in order, restarted when they fail, stopped within a known time.",
        &[OF_ROOT, OF_SUPERVISORS, OF_ROOTS_STOP, CHILDREN],
    )
};
/// A child that runs a program.
pub(crate) static PROGRAM: Keys = Keys {
    one_of: &["command", "shell"],
    ..keys("Program", "A child that runs a program as a process.", &[OF_PROGRAMS, OF_CHILDREN])
};
/// A child that is a supervisor.
pub(crate) static SUPERVISOR: Keys = Keys {
    required: &["child"],
    ..keys(
        "Supervisor",
        "A child with children: a supervisor.",
        &[OF_SUPERVISORS, CHILDREN, OF_CHILDREN, OF_NESTED_STOP],
    )
};
/// `intensity` and `limit`.
pub(crate) static LIMIT: Keys =
    Keys { required: &["restarts"], ..keys("Limit", "A number of restarts in a period.", &[OF_LIMIT]) };
/// `backoff`.
pub(crate) static BACKOFF: Keys =
    keys("Backoff", "Waits that double from `from` to `to`, each cut by a random share.", &[OF_BACKOFF]);
/// `ready`: one probe, and the deadline.
pub(crate) static READY: Keys = Keys {
    one_of: &["delay", "log", "tcp", "unix", "file", "command", "http"],
    ..keys("Ready", "One probe, and the deadline of the start.", &[OF_READY])
};
/// The `stop` of a program.
pub(crate) static PROGRAM_STOP: Keys = keys("ProgramStop", "How a program is stopped.", &[OF_PROGRAM_STOP]);
/// The `stop` of a supervisor.
pub(crate) static SUPERVISOR_STOP: Keys =
    keys("SupervisorStop", "The budget of a stop.", &[OF_SUPERVISOR_STOP]);

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
