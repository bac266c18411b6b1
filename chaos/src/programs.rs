//! The fifty programs, as a `liveoak.toml`.

use std::fmt::Write as _;

/// The variable with a program's name, by which its processes are known.
pub(crate) const NAME: &str = "LIVEOAK_CHAOS_NAME";

/// How many columns of padding stand behind each number of the programs that talk much.
pub(crate) const PADDING: usize = 1500;

/// The exit code of a program that should have run out of processes, and did not.
pub(crate) const UNLIMITED: i32 = 7;

/// One sort of program.
pub(crate) struct Sort {
    pub(crate) name: &'static str,
    pub(crate) count: usize,
    /// Whether it runs until something happens to it; others end by themselves again and again.
    pub(crate) lasting: bool,
    /// The exit codes it ends with by itself; of lasting ones, when a process of its group was harmed.
    pub(crate) codes: &'static [i32],
    /// What the shell does before it writes down its process id; from then on it is harmed.
    first: &'static str,
    /// What it does then.
    script: &'static str,
    /// More lines of its table.
    more: &'static str,
}

const ORDINARY: Sort =
    Sort { name: "", count: 0, lasting: true, codes: &[], first: "", script: "", more: "" };

/// All of them.
pub(crate) const SORTS: &[Sort] = &[
    Sort { name: "steady", count: 12, script: "exec sleep 100000", ..ORDINARY },
    Sort {
        name: "follower",
        count: 4,
        script: "exec sleep 100000",
        more: "after = { steady1 = \"ready\" }\n",
        ..ORDINARY
    },
    // Counts, and begins anew at 1 in each attempt.
    Sort {
        name: "loud",
        count: 6,
        codes: &[6],
        first: "echo from $$; ",
        script: "n=0; while seq -f \"%.0f $PADDING\" $((n+1)) $((n+250)) || exit 6; do n=$((n+250)); sleep 0.25; done",
        ..ORDINARY
    },
    // Ends by itself when all that it waits for was killed.
    Sort {
        name: "family",
        count: 6,
        codes: &[0],
        script: "sleep 100000 & (sleep 100000 & sleep 100000) & wait",
        ..ORDINARY
    },
    Sort {
        name: "stubborn",
        count: 4,
        first: "trap '' TERM; ",
        script: "while :; do sleep 1; done",
        more: "stop = { within = \"500ms\" }\n",
        ..ORDINARY
    },
    Sort { name: "crash", count: 6, lasting: false, codes: &[3], script: "sleep 0.3; exit 3", ..ORDINARY },
    Sort {
        name: "disk",
        count: 6,
        lasting: false,
        codes: &[4],
        script: "rm -f disk/$0; cat /dev/zero > disk/$0; sleep 0.2; exit 4",
        ..ORDINARY
    },
    Sort {
        name: "files",
        count: 3,
        lasting: false,
        // dash, bash
        codes: &[2, 1],
        script: "sleep 0.2; ulimit -n 5; exec 3</dev/null 4</dev/null; exec 9</dev/null; exit 5",
        ..ORDINARY
    },
    Sort {
        name: "forks",
        count: 3,
        lasting: false,
        // dash, bash; and where no limit binds
        codes: &[2, 254, UNLIMITED],
        script: "sleep 0.2; ulimit -u 1 2>/dev/null || ulimit -p 1; sleep 3 & sleep 3 & exit 7",
        ..ORDINARY
    },
];

/// The names of all programs of which `which` holds.
pub(crate) fn names(which: impl Fn(&Sort) -> bool) -> Vec<String> {
    let named = |sort: &Sort| (1..=sort.count).map(|n| format!("{}{n}", sort.name)).collect::<Vec<_>>();
    SORTS.iter().filter(|sort| which(sort)).flat_map(named).collect()
}

/// The sort of a program.
pub(crate) fn sort_of(name: &str) -> &'static Sort {
    let sort = name.trim_end_matches(|c: char| c.is_ascii_digit());
    SORTS.iter().find(|one| one.name == sort).unwrap_or(&ORDINARY)
}

/// The file. Each attempt writes its process id on a line of its own.
pub(crate) fn toml() -> String {
    let mut text = "name = \"chaos\"\norder = \"edges\"\nstop = { within = \"20s\" }\n".to_owned();
    for sort in SORTS {
        for n in 1..=sort.count {
            let name = format!("{}{n}", sort.name);
            let script = format!("{}echo $$ >> pids/$0; {}", sort.first, sort.script);
            let words = ["sh", "-c", &script, &name].map(|word| serde_json::Value::from(word).to_string());
            let padding = if sort.name == "loud" { padding() } else { String::new() };
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "\n[child.{name}]\ncommand = [{}]\nbackoff = {{ from = \"50ms\", to = \"500ms\" }}\n\
                 limit = {{ restarts = 60000, period = \"1m\" }}\n\
                 env = {{ {NAME} = \"{name}\", PADDING = \"{padding}\" }}\n{}",
                words.join(", "),
                sort.more
            );
        }
    }
    text
}

pub(crate) fn padding() -> String {
    "x".repeat(PADDING)
}
