//! The fifty programs, written as a `liveoak.toml`.
//!
//! Each kind uses up one resource or behaves badly in one way. All are shell scripts, so that nothing has to be built.

use std::fmt::Write as _;

/// The environment variable with a program's name. It identifies the processes of the program.
pub(crate) const NAME: &str = "LIVEOAK_CHAOS_NAME";

/// How many characters follow each number in the output of the `loud` programs.
pub(crate) const PADDING: usize = 1500;

/// The exit code of a program that should have been refused a process, but got it.
pub(crate) const UNLIMITED: i32 = 7;

pub(crate) struct ProgramKind {
    pub(crate) name: &'static str,
    pub(crate) count: usize,
    /// `true` if it runs until a fault ends it. Other programs end by themselves again and again.
    pub(crate) lasting: bool,
    /// The exit codes with which it ends by itself. A lasting program does so only after a process of its group was
    /// killed.
    pub(crate) codes: &'static [i32],
    /// What the shell runs before it records its process id. Faults can hit it only after that.
    first: &'static str,
    script: &'static str,
    /// Additional lines of its table in the file.
    more: &'static str,
}

const ORDINARY: ProgramKind =
    ProgramKind { name: "", count: 0, lasting: true, codes: &[], first: "", script: "", more: "" };

const BRIEF: ProgramKind = ProgramKind { lasting: false, ..ORDINARY };

pub(crate) const KINDS: &[ProgramKind] = &[
    ProgramKind { name: "steady", count: 12, script: "exec sleep 100000", ..ORDINARY },
    ProgramKind {
        name: "follower",
        count: 4,
        script: "exec sleep 100000",
        more: "after = { steady1 = \"ready\" }\n",
        ..ORDINARY
    },
    // Prints numbers, from 1 in each attempt.
    ProgramKind {
        name: "loud",
        count: 6,
        codes: &[6],
        first: "echo from $$; ",
        script: "n=0; while seq -f \"%.0f $PADDING\" $((n+1)) $((n+250)) || exit 6; do n=$((n+250)); sleep 0.25; done",
        ..ORDINARY
    },
    // Ends by itself when all processes that it waits for were killed.
    ProgramKind {
        name: "family",
        count: 6,
        codes: &[0],
        script: "sleep 100000 & (sleep 100000 & sleep 100000) & wait",
        ..ORDINARY
    },
    ProgramKind {
        name: "stubborn",
        count: 4,
        first: "trap '' TERM; ",
        script: "while :; do sleep 1; done",
        more: "stop = { within = \"500ms\" }\n",
        ..ORDINARY
    },
    ProgramKind { name: "crash", count: 6, codes: &[3], script: "sleep 0.3; exit 3", ..BRIEF },
    ProgramKind {
        name: "disk",
        count: 6,
        codes: &[4],
        script: "rm -f disk/$0; cat /dev/zero > disk/$0; sleep 0.2; exit 4",
        ..BRIEF
    },
    ProgramKind {
        name: "files",
        count: 3,
        // The codes of dash and bash.
        codes: &[2, 1],
        script: "sleep 0.2; ulimit -n 5; exec 3</dev/null 4</dev/null; exec 9</dev/null; exit 5",
        ..BRIEF
    },
    ProgramKind {
        name: "forks",
        count: 3,
        // The codes of dash and bash, and the code if no limit applies.
        codes: &[2, 254, UNLIMITED],
        script: "sleep 0.2; ulimit -u 1 2>/dev/null || ulimit -p 1; sleep 3 & sleep 3 & exit 7",
        ..BRIEF
    },
];

/// Returns the names of all programs of the kinds that `which` selects.
pub(crate) fn names(which: impl Fn(&ProgramKind) -> bool) -> Vec<String> {
    let named =
        |kind: &ProgramKind| (1..=kind.count).map(|n| format!("{}{n}", kind.name)).collect::<Vec<_>>();
    KINDS.iter().filter(|kind| which(kind)).flat_map(named).collect()
}

pub(crate) fn kind_of(name: &str) -> &'static ProgramKind {
    let kind = name.trim_end_matches(|c: char| c.is_ascii_digit());
    KINDS.iter().find(|one| one.name == kind).unwrap_or(&ORDINARY)
}

/// Returns the text of the file. Each attempt appends its process id as a line to a file in `pids`.
pub(crate) fn toml() -> String {
    let mut text = "name = \"chaos\"\norder = \"edges\"\nstop = { within = \"20s\" }\n".to_owned();
    for kind in KINDS {
        for n in 1..=kind.count {
            let name = format!("{}{n}", kind.name);
            let script = format!("{}echo $$ >> pids/$0; {}", kind.first, kind.script);
            let words = ["sh", "-c", &script, &name].map(|word| serde_json::Value::from(word).to_string());
            let padding = if kind.name == "loud" { padding() } else { String::new() };
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "\n[child.{name}]\ncommand = [{}]\nbackoff = {{ from = \"50ms\", to = \"500ms\" }}\n\
                 limit = {{ restarts = 60000, period = \"1m\" }}\n\
                 env = {{ {NAME} = \"{name}\", PADDING = \"{padding}\" }}\n{}",
                words.join(", "),
                kind.more
            );
        }
    }
    text
}

pub(crate) fn padding() -> String {
    "x".repeat(PADDING)
}
