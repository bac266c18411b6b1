//! The table of keys: every key of every table of `liveoak.toml`, with its type, its default and its description.
//!
//! The reader refuses every key that is not in this table, and the JSON Schema for editors is made from the table. The
//! schema describes single values. The reader finds the errors that only the whole file shows (dependencies, cycles, keys
//! that contradict each other). A new key needs an entry here, a line in the reader, a field in `config.rs` or in the
//! core, a line in `check.rs` of `liveoak-cli` if it is shown there, a row in `docs/liveoak-toml.md`, and `cargo xtask bless`.

use crate::bounds::{MAX_CHILDREN, MAX_REPLICAS};
use crate::duration::format_duration;
use crate::other_words::{
    FOR_BACKOFF, FOR_CHECK, FOR_CHILD, FOR_COMMAND, FOR_KIND, FOR_LIMIT, FOR_OUTPUT, FOR_READY, FOR_ROOT,
    FOR_STOP, OtherWords,
};
use crate::start::Start;
use crate::types::{self, Key, Keys, Word as _};
use liveoak_core::{
    AutoShutdown, Backoff, CheckSpec, ChildSpec, Criticality, FirstStart, GiveUp, Jitter, KILL_WAIT, Need,
    Order, Restart, Role, Strategy,
};
use liveoak_process::{Ask, Probe, Signal, Stdin};
use serde_json::{Value, json};
use std::time::Duration;

/// The default of `give_up` in a file. The library's default is [`GiveUp::Escalate`].
pub(crate) const GIVE_UP: GiveUp = GiveUp::QUARANTINE;

/// The most tries in a row that a check may need.
pub(crate) const MAX_TRIES: u64 = 1_000_000;

/// The probes that can be asked again and again.
const CHECK_PROBES: &[&str] = &["tcp", "unix", "file", "command", "http"];

/// The default of `first_start` in a file. The library's default is [`FirstStart::Fail`].
pub(crate) const FIRST_START: FirstStart = FirstStart::Retry;

/// Returns the name of every key that a child may have, whatever it is.
pub(crate) fn any_child() -> Vec<&'static str> {
    let mut names = PROGRAM.names();
    names.extend(SUPERVISOR.names().into_iter().filter(|name| !PROGRAM.has(name)));
    names.extend(OF_KINDS.iter().map(|key| key.name));
    names
}

/// Declares lists of keys: the description, then `KEY: TYPE;` or `KEY: TYPE => DEFAULT;`. A type is a function that
/// returns its JSON Schema.
macro_rules! keys {
    ($(const $list:ident {$(
        $(#[doc = $about:literal])+
        $key:ident: $schema:expr $(=> $default:expr)?;
    )+})+) => {$(
        const $list: &[Key] = &[$(Key {
            name: stringify!($key),
            schema: $schema,
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
        name: || json!({ "type": "string", "pattern": types::NAME });
    }

    const OF_ROOTS_MODES {
        /// The modes, by name: named sets of children that shall run. `liveoak up --mode NAME` starts only those of one mode.
        mode: || types::modes_schema(&MODE);
    }

    const OF_MODE {
        /// Patterns for the paths of the children, without the name of the tree. A supervisor stands for all children below
        /// it, and the name of a replica set for all its replicas. What the children come `after` comes along.
        run: || json!({ "type": "array", "items": { "type": "string", "minLength": 1 } });
    }

    const OF_SUPERVISORS {
        /// Which children a failure restarts: only the failed one, all, or the failed one and those after it.
        strategy: types::words_schema::<Strategy> => Strategy::default().as_str();
        /// How many restarts of all children together are allowed.
        /// Default: each child has a limit of its own, 10 restarts in 1m.
        intensity: || types::table_schema(&LIMIT);
        /// In which order children start: one after another as declared, or side by side as soon as their `after` holds.
        order: types::words_schema::<Order> => Order::default().as_str();
        /// How many children may be starting at the same time. Default: any number.
        max_starting: || types::integer_schema(1, MAX_CHILDREN);
        /// Whether a child that fails before the supervisor has been ready is restarted. Default: the value of the supervisor
        /// above; at the top level "retry".
        first_start: types::words_schema::<FirstStart>;
        /// Whether the end of significant children ends the supervisor.
        auto_shutdown: types::words_schema::<AutoShutdown> => AutoShutdown::default().as_str();
    }

    const OF_ROOTS_STOP {
        /// The budget for the stop of the whole tree.
        stop: || types::table_schema(&SUPERVISOR_STOP) => json!({ "within": format_duration(ChildSpec::of_root().stop_within) });
    }

    const OF_NESTED_STOP {
        /// The budget for the stop of this supervisor. Default: only the budgets of the supervisors above count.
        stop: || types::table_schema(&SUPERVISOR_STOP);
    }

    const OF_TABLE_OF_DEFAULTS {
        /// Settings that all children below inherit until they set them themselves, or a nearer `defaults` does.
        defaults: || types::table_schema(&DEFAULTS);
    }

    const OF_DEFAULTS {
        /// When the children are restarted: always, after a failure, or never.
        restart: types::words_schema::<Restart>;
        /// The delays before restarts, or false for none. It replaces the backoff of a `defaults` above.
        backoff: || json!({ "anyOf": [types::table_schema(&BACKOFF), { "const": false, "description": "None." }] });
        /// How many restarts of each child alone are too many. It replaces the limit of a `defaults` above.
        limit: || types::table_schema(&LIMIT);
        /// The deadline of the start. For programs and for children of a kind.
        start_within: types::duration_schema;
        /// How the programs are stopped. Merged key by key. The times also apply to children of a kind.
        stop: || types::table_schema(&PROGRAM_STOP);
        /// How the output of the programs is read. Merged key by key. For programs only.
        output: || types::table_schema(&OUTPUT);
    }

    const CHILDREN {
        /// The children, by name. They start in the order of the file, unless `order` or `after` requires another order.
        child: types::children_schema;
    }

    const OF_PROGRAMS {
        /// What to run: an array of words, or a string that is split into words as a shell would. No shell runs. A program
        /// name with a slash is relative to `cwd`; a name without one is looked up in PATH. In `command`, `shell`, `cwd`, the
        /// values of `env` and the probes of `ready`, `readiness` and `liveness`, {replica} is the number of the replica.
        command: types::command_schema;
        /// A script for `sh -c`, instead of `command`.
        shell: || types::text_like_schema("producer | consumer");
        /// The working directory, relative to the file's folder. Default: the file's folder.
        cwd: types::text_schema;
        /// Variables in addition to the inherited ones. They override those of `env_file`.
        env: types::variables_schema;
        /// A file of KEY=VALUE lines, relative to the file's folder. Nothing is expanded in it.
        env_file: types::text_schema;
        /// The standard input: empty, a pipe that never ends, or the input of liveoak itself (for one child of the file).
        stdin: types::words_schema::<Stdin> => Stdin::default().as_str();
        /// When an attempt counts as ready, so that the next child starts. Default: as soon as it runs.
        ready: || types::table_schema(&READY);
        /// The deadline of the start, from the start of the program until it is ready. `ready.within` is another name for it.
        /// Only with `ready`, `after` or `needs`. Default: 30s.
        start_within: types::duration_schema;
        /// Whether the program is ready while it runs: one check, or an array of them. While one fails, the program is not ready,
        /// and children that come `after` it do not start. It is not restarted.
        readiness: || types::checks_schema(&READINESS);
        /// Whether the program still works while it runs: one check, or an array of them. When one fails, the program is stopped
        /// and has failed.
        liveness: || types::checks_schema(&LIVENESS);
        /// The exit codes that are not failures.
        success: || json!({ "type": "array", "items": types::integer_schema(0, 255), "minItems": 1 }) => [0];
        /// The exit codes with which the program asks for its restart. This is not a failure, and counts against no limit. Not
        /// for temporary children.
        restart_codes: || json!({ "type": "array", "items": types::integer_schema(0, 255), "minItems": 1 });
        /// How the output of the program is read.
        output: || types::table_schema(&OUTPUT) => json!({ "merge": false });
    }

    const OF_PROGRAMS_STOP {
        /// How the program is stopped: the signal, which processes get it, and the time until the kill.
        stop: || types::table_schema(&PROGRAM_STOP) => json!({ "signal": Signal::TERM.word(), "ask": Ask::default().word(), "within": format_duration(ChildSpec::default().stop_within) });
    }

    const OF_KINDS {
        /// The kind of the child: a name that the program gives to a factory. Only for library programs: `liveoak up` has no kinds.
        kind: types::text_schema;
        /// The arguments of the kind, with the keys that the kind declares. In its strings, {replica} is the number of the replica.
        args: || json!({ "type": "object" });
    }

    const OF_KINDS_AND_PROGRAMS {
        /// How many copies run. Above 1 they are named NAME.1, NAME.2 and so on, and start and stop side by side. {replica} is the number of the copy.
        replicas: || types::integer_schema(1, MAX_REPLICAS) => 1;
    }

    const OF_KINDS_STOP {
        /// How the child is stopped. Default: what the kind says.
        stop: || types::table_schema(&KIND_STOP);
    }

    const OF_CHILDREN {
        /// The name of the child for people, shown beside its name: one line of at most 128 bytes.
        title: types::text_schema;
        /// Words by which people and programs select children: at most 16, each of at most 64 bytes, without white space and commas.
        tags: types::tags_schema;
        /// What the child is for. It presets `restart`, `backoff`, `limit`, and `every` and `failures` of checks, where the child does
        /// not set them itself.
        role: types::words_schema::<Role>;
        /// How much depends on the child: it decides the severity of its events and log lines and, where neither the child nor its
        /// role says it, what happens when the limit is exceeded. Default: the severities of "normal", and nothing else.
        criticality: types::words_schema::<Criticality>;
        /// Whether the child starts with its supervisor, or only when it is asked for, together with what it comes `after`.
        start: types::words_schema::<Start> => Start::Auto.word();
        /// When the child is restarted: always, after a failure, or never.
        restart: types::words_schema::<Restart> => Restart::default().as_str();
        /// The delays before restarts, or false for none.
        backoff: || json!({ "anyOf": [types::table_schema(&BACKOFF), { "const": false, "description": "None." }] });
        /// How many restarts of this child alone are allowed.
        limit: || types::table_schema(&LIMIT);
        /// How long one run may last, counted from readiness. Then the child is stopped, and has failed. Default: without limit.
        run_within: types::duration_schema;
        /// The siblings that must be started, ready, healthy or completed before the child starts.
        after: types::after_schema;
        /// The siblings that must be ready before the child starts, and while it runs. Without one of them for longer than its
        /// grace, the child is stopped, and starts again when the sibling is back. Not for temporary children.
        needs: || types::needs_schema(&NEED);
        /// Whether the end of the child counts for the `auto_shutdown` of its supervisor. Not for permanent children.
        significant: || json!({ "type": "boolean" }) => ChildSpec::default().significant;
    }

    const OF_NEED {
        /// How long the child may run without the sibling. "0s" stops it at once.
        grace: types::duration_schema => format_duration(Need::GRACE);
    }

    const OF_LIMIT {
        /// How many restarts are allowed within the period. For the limit of one child, also how many failures in a row. With 0,
        /// the first restart exceeds the limit.
        restarts: types::restarts_schema;
        /// The period, a duration above zero. Leave it out if restarts are unlimited.
        period: types::duration_schema;
        /// What happens when the limit is exceeded.
        give_up: types::words_schema::<GiveUp> => GIVE_UP.as_str();
        /// The time between the quarantine and one trial attempt. If the trial is stable or succeeds, the quarantine is over;
        /// otherwise the child goes back, and the next trial comes after the same time. Default: no trial. Not with
        /// give_up = "escalate".
        retry_after: types::duration_schema;
    }

    const OF_BACKOFF {
        /// The upper bound of the first delay.
        from: types::duration_schema => format_duration(Backoff::default().from);
        /// The upper bound of every delay.
        to: types::duration_schema => format_duration(Backoff::default().to);
        /// After a child was ready for this long without a break, the bound is `from` again, and the count of failures in a row
        /// is zero again.
        reset_after: types::duration_schema => format_duration(Backoff::default().reset_after);
        /// Which part of each delay is random: all of it, half of it, or nothing.
        jitter: types::words_schema::<Jitter> => Jitter::default().as_str();
        /// Every delay is exactly this long. Not with `from`, `to` and `jitter`.
        constant: types::duration_schema;
    }

    const OF_READY {
        /// Ready after the program has run for this long.
        delay: types::duration_schema;
        /// Ready when a line of its output matches this regular expression.
        log: || types::text_like_schema("listening on");
        /// Ready when this address accepts a connection.
        tcp: || types::pattern_schema("^.+:([0-9]|\\{replica\\})+$", "127.0.0.1:7000");
        /// Ready when this unix socket accepts a connection; relative to `cwd`.
        unix: types::text_schema;
        /// Ready when this file exists; relative to `cwd`.
        file: types::text_schema;
        /// Ready when this command exits with 0; run in `cwd` with the variables of the program, again and again until then.
        command: types::command_schema;
        /// Ready when this URL answers a GET with 2xx or 3xx. Plain http only.
        http: || types::pattern_schema("^[Hh][Tt][Tt][Pp]://.+$", "http://127.0.0.1:8080/health");
        /// How long to wait after a try that failed. The first waits of an attempt are shorter: 10ms, 20ms, 40ms and so on.
        /// Not for `delay` and `log`, which are not tried repeatedly.
        every: types::duration_schema => format_duration(Probe::delay(Duration::ZERO).interval());
        /// How long one try may take. A command that takes longer is killed. Not for `delay` and `log`.
        timeout: types::duration_schema => format_duration(Probe::delay(Duration::ZERO).time_limit());
        /// The deadline of the start. A start that misses the deadline has failed.
        within: types::duration_schema => format_duration(ChildSpec::default().start_within);
    }

    const OF_CHECKS {
        /// The name of the check. Default: the kind of the check, with a number from the second one on.
        name: || json!({ "type": "string", "pattern": types::NAME });
        /// Passes when this address accepts a connection.
        tcp: || types::pattern_schema("^.+:([0-9]|\\{replica\\})+$", "127.0.0.1:7000");
        /// Passes when this unix socket accepts a connection; relative to `cwd`.
        unix: types::text_schema;
        /// Passes when this file exists; relative to `cwd`.
        file: types::text_schema;
        /// Passes when this command exits with 0; run in `cwd` with the variables of the program.
        command: types::command_schema;
        /// Passes when this URL answers a GET with 2xx or 3xx. Plain http only.
        http: || types::pattern_schema("^[Hh][Tt][Tt][Pp]://.+$", "http://127.0.0.1:8080/health");
        /// The time from the beginning of one try to the beginning of the next.
        every: types::duration_schema => format_duration(CheckSpec::DEFAULT_EVERY);
        /// How long one try may take. A command that takes longer is killed.
        timeout: types::duration_schema => format_duration(CheckSpec::DEFAULT_TIMEOUT);
        /// How many tries in a row must fail until the check fails.
        failures: || types::integer_schema(1, MAX_TRIES) => CheckSpec::DEFAULT_FAILURES;
        /// How long the first try is delayed after the program is ready.
        delay: types::duration_schema => format_duration(Duration::ZERO);
    }

    const OF_READINESS {
        /// How many tries in a row must pass until a program that was not ready is ready again.
        successes: || types::integer_schema(1, MAX_TRIES) => 1;
    }

    const OF_PROGRAM_STOP {
        /// The signal that asks the program to stop.
        signal: types::words_schema::<Signal> => Signal::TERM.word();
        /// Which processes get the signal: the whole process group, or only the program itself, and the rest of the group when
        /// the program has ended.
        ask: types::words_schema::<Ask> => Ask::default().word();
        /// The time until the process group is killed. "0s" kills immediately. With "infinity", only the budgets of the
        /// supervisors above count.
        within: types::duration_or_infinity_schema => format_duration(ChildSpec::default().stop_within);
        /// The time from the kill until the program is given up on as `abandoned`. The budgets of the supervisors above may
        /// end it earlier.
        kill_wait: types::duration_schema => format_duration(KILL_WAIT);
        /// How long the child is not ready any more before it is asked to stop: a part of `within`, and shorter. It is left out
        /// if the child is killed, has failed, or is not ready yet.
        unready_for: types::duration_schema => format_duration(Duration::ZERO);
    }

    const OF_KIND_STOP {
        /// The time until it is dropped, or written off. With "infinity" only budgets above it count.
        within: types::duration_or_infinity_schema;
        /// How long the child is not ready any more before it is asked to stop: a part of `within`, and shorter. It is left out
        /// if the child is killed, has failed, or is not ready yet.
        unready_for: types::duration_schema;
    }

    const OF_OUTPUT {
        /// Use one pipe for stdout and stderr. Then the lines of both keep the order in which they were written.
        merge: || json!({ "type": "boolean" }) => false;
    }

    const OF_SUPERVISOR_STOP {
        /// How long the stop may take, however many children ignore the request.
        within: types::duration_schema;
        /// If the supervisor is killed at once: the time from the kill until what still runs is given up on as `abandoned`.
        kill_wait: types::duration_schema => format_duration(KILL_WAIT);
    }
}

const fn keys(about: &'static str, lists: &'static [&'static [Key]]) -> Keys {
    Keys { about, lists, required: &[], one_of: &[], others: &[] }
}

/// The words of other tools for the keys of a child.
pub(crate) const OF_CHILD: &[&[OtherWords]] = &[FOR_COMMAND, FOR_CHILD];

/// The file's top level: the root supervisor.
pub(crate) static ROOT: Keys = Keys {
    required: &["child"],
    others: &[FOR_ROOT],
    ..keys(
        "A tree of programs for `liveoak up`.",
        &[OF_ROOT, OF_SUPERVISORS, OF_ROOTS_STOP, OF_TABLE_OF_DEFAULTS, OF_ROOTS_MODES, CHILDREN],
    )
};
/// One of the modes.
pub(crate) static MODE: Keys =
    Keys { required: &["run"], ..keys("A named set of children that shall run.", &[OF_MODE]) };
/// A child that runs a program.
pub(crate) static PROGRAM: Keys = Keys {
    one_of: &["command", "shell"],
    others: OF_CHILD,
    ..keys(
        "A child that runs a program as a process.",
        &[OF_PROGRAMS, OF_KINDS_AND_PROGRAMS, OF_PROGRAMS_STOP, OF_CHILDREN],
    )
};
/// A child of a kind.
pub(crate) static KIND: Keys = Keys {
    required: &["kind"],
    others: &[FOR_KIND, FOR_CHILD],
    ..keys(
        "A child of a kind: what a program with a tree in it gives a name.",
        &[OF_KINDS, OF_KINDS_AND_PROGRAMS, OF_KINDS_STOP, OF_CHILDREN],
    )
};
/// A child that is a supervisor.
pub(crate) static SUPERVISOR: Keys = Keys {
    required: &["child"],
    others: OF_CHILD,
    ..keys(
        "A child with children: a supervisor.",
        &[OF_SUPERVISORS, OF_TABLE_OF_DEFAULTS, CHILDREN, OF_CHILDREN, OF_NESTED_STOP],
    )
};
/// `defaults`.
pub(crate) static DEFAULTS: Keys = Keys {
    others: OF_CHILD,
    ..keys("Settings that all children below inherit until they set them themselves.", &[OF_DEFAULTS])
};
/// `intensity` and `limit`.
pub(crate) static LIMIT: Keys = Keys {
    required: &["restarts"],
    others: &[FOR_LIMIT],
    ..keys("A number of restarts in a period.", &[OF_LIMIT])
};
/// One of the `needs`.
pub(crate) static NEED: Keys = keys("A sibling that the child needs while it runs.", &[OF_NEED]);
/// `backoff`.
pub(crate) static BACKOFF: Keys = Keys {
    others: &[FOR_BACKOFF],
    ..keys(
        "A bound that doubles from `from` to `to`; each delay is random, up to the bound. Or a constant delay.",
        &[OF_BACKOFF],
    )
};
/// `ready`: one probe, how it is tried, and the deadline.
pub(crate) static READY: Keys = Keys {
    one_of: &["delay", "log", "tcp", "unix", "file", "command", "http"],
    others: &[FOR_READY],
    ..keys("One probe, how it is tried, and the deadline of the start.", &[OF_READY])
};
/// `readiness`: one check.
pub(crate) static READINESS: Keys = Keys {
    one_of: CHECK_PROBES,
    others: &[FOR_CHECK],
    ..keys("One probe, how it is tried, and when it fails.", &[OF_CHECKS, OF_READINESS])
};
/// `liveness`: one check.
pub(crate) static LIVENESS: Keys = Keys {
    one_of: CHECK_PROBES,
    others: &[FOR_CHECK],
    ..keys("One probe, how it is tried, and when it fails.", &[OF_CHECKS])
};
/// The `stop` of a program.
pub(crate) static PROGRAM_STOP: Keys =
    Keys { others: &[FOR_STOP], ..keys("How a program is stopped.", &[OF_PROGRAM_STOP]) };
/// The `stop` of a child of a kind.
pub(crate) static KIND_STOP: Keys =
    Keys { others: &[FOR_STOP], ..keys("How a child of a kind is stopped.", &[OF_KIND_STOP]) };
/// `output`.
pub(crate) static OUTPUT: Keys =
    Keys { others: &[FOR_OUTPUT], ..keys("How the output of a program is read.", &[OF_OUTPUT]) };
/// The `stop` of a supervisor.
pub(crate) static SUPERVISOR_STOP: Keys =
    Keys { others: &[FOR_STOP], ..keys("The budget of a stop.", &[OF_SUPERVISOR_STOP]) };

/// Returns the JSON Schema of `liveoak.toml`.
#[must_use]
pub fn schema() -> Value {
    let mut schema = types::table_schema(&ROOT);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("liveoak.toml");
    // Only children nest, so only they need a definition that can refer to itself.
    schema["$defs"] = json!({
        "Child": {
            "description": "A program, a supervisor with children of its own, or a child of a kind.",
            "anyOf": [{ "$ref": "#/$defs/Program" }, { "$ref": "#/$defs/Supervisor" }, { "$ref": "#/$defs/Kind" }],
        },
        "Program": types::table_schema(&PROGRAM),
        "Supervisor": types::table_schema(&SUPERVISOR),
        "Kind": types::table_schema(&KIND),
    });
    schema
}
