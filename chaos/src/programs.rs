//! The fifty programs, as a `liveoak.toml`.

use std::fmt::Write as _;

/// One sort of program.
pub(crate) struct Sort {
    pub(crate) name: &'static str,
    pub(crate) count: usize,
    /// Whether it runs until something happens to it; others end by themselves again and again.
    pub(crate) lasting: bool,
    /// What the shell does, after it has written down its process id.
    script: &'static str,
    /// More lines of its table.
    more: &'static str,
}

/// All of them.
pub(crate) const SORTS: &[Sort] = &[
    Sort { name: "steady", count: 12, lasting: true, script: "exec sleep 100000", more: "" },
    Sort {
        name: "follower",
        count: 4,
        lasting: true,
        script: "exec sleep 100000",
        more: "after = { steady1 = \"ready\" }\n",
    },
    Sort {
        name: "loud",
        count: 6,
        lasting: true,
        script: "while :; do seq 1 3000; sleep 0.1; done",
        more: "",
    },
    Sort {
        name: "family",
        count: 6,
        lasting: true,
        script: "sleep 100000 & (sleep 100000 & sleep 100000) & wait",
        more: "",
    },
    Sort {
        name: "stubborn",
        count: 4,
        lasting: true,
        script: "trap '' TERM; while :; do sleep 1; done",
        more: "stop = { within = \"500ms\" }\n",
    },
    Sort { name: "crash", count: 6, lasting: false, script: "sleep 0.3; exit 3", more: "" },
    Sort {
        name: "disk",
        count: 6,
        lasting: false,
        script: "rm -f disk/$0; cat /dev/zero > disk/$0; echo the disk is full; sleep 0.2; exit 4",
        more: "",
    },
    Sort {
        name: "files",
        count: 3,
        lasting: false,
        script: "sleep 0.2; ulimit -n 5; exec 3</dev/null 4</dev/null; exec 9</dev/null; exit 0",
        more: "",
    },
    Sort {
        name: "forks",
        count: 3,
        lasting: false,
        script: "ulimit -u 2; for n in 1 2 3 4; do sleep 3 & done; sleep 0.2; exit 5",
        more: "",
    },
];

/// The names of all programs of which `which` holds.
pub(crate) fn names(which: impl Fn(&Sort) -> bool) -> Vec<String> {
    let named = |sort: &Sort| (1..=sort.count).map(|n| format!("{}{n}", sort.name)).collect::<Vec<_>>();
    SORTS.iter().filter(|sort| which(sort)).flat_map(named).collect()
}

/// The file. `as_nobody` is put before the command of programs that use up processes, which root never does.
pub(crate) fn toml(as_nobody: &[&str]) -> String {
    let mut text = "name = \"chaos\"\norder = \"edges\"\nstop = { within = \"20s\" }\n".to_owned();
    for sort in SORTS {
        for n in 1..=sort.count {
            let name = format!("{}{n}", sort.name);
            let before: &[&str] = if sort.name == "forks" { as_nobody } else { &[] };
            let script = format!("echo $$ > pids/$0; {}", sort.script);
            let words: Vec<String> = before
                .iter()
                .copied()
                .chain(["sh", "-c", &script, &name])
                .map(|word| serde_json::Value::from(word).to_string())
                .collect();
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "\n[child.{name}]\ncommand = [{}]\nbackoff = {{ from = \"50ms\", to = \"500ms\" }}\n\
                 limit = {{ restarts = 60000, period = \"1m\" }}\n{}",
                words.join(", "),
                sort.more
            );
        }
    }
    text
}
