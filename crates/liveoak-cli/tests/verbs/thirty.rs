//! Every verb on a tree of thirty real programs, as golden transcripts: `thirty/seeing.txt` and `thirty/steering.txt`. Renew
//! them with `UPDATE_EXPECT=1`.
//!
//! What differs from run to run is replaced: moments, lengths of time, process ids, and the folder of the test. Columns are
//! two blanks apart.

use expect_test::expect_file;
use regex_lite::Regex;
use rustix::process::Signal;

use crate::support::{Home, Ran, Running, look_for, write};

/// The tree, which runs, and what was printed so far.
struct Thirty {
    home: Home,
    up: Running,
    transcript: String,
}

impl Thirty {
    /// Starts the tree. Waits until each child has come to the state in which it stays.
    fn up() -> Thirty {
        let home = Home::new();
        write(&home.at("p/liveoak.toml"), include_str!("thirty/liveoak.toml"));
        write(&home.at("p/server.py"), include_str!("thirty/server.py"));
        ["cache.warm", "slow.ready"].iter().for_each(|name| write(&home.at("p").join(name), ""));
        let mut command = home.command(&["up"]);
        command.stderr(std::process::Stdio::null());
        let up = Running::new(&mut command);
        look_for("socket", || (home.run(&["ps"]).code == Some(0)).then_some(()));
        let thirty = Thirty { home, up, transcript: String::new() };
        for (path, state) in [
            ("data/migrate", "finished"),
            ("report", "finished"),
            ("import", "finished"),
            ("flaky", "quarantined"),
            ("mail", "backing-off"),
        ] {
            thirty.comes_to(path, state);
        }
        thirty.home.run(&["wait", "audit"]).with_code(0);
        thirty.home.run(&["wait", "edge/web", "--for", "healthy"]).with_code(0);
        thirty
    }

    #[track_caller]
    fn comes_to(&self, path: &str, state: &str) {
        let state_of = || self.home.run(&["ps", path, "--json"]).with_code(0).json()[0]["state"].clone();
        look_for(state, || (state_of() == state).then_some(()));
    }

    /// Runs a verb, and adds what it printed to the transcript.
    fn run(&mut self, args: &[&str]) -> Ran {
        let ran = self.home.run(args);
        let word = |arg: &&str| if arg.contains([' ', '*']) { format!("'{arg}'") } else { (*arg).to_owned() };
        let words: Vec<String> = args.iter().map(word).collect();
        let said: String = ran
            .stderr
            .lines()
            .filter(|line| !line.starts_with("waiting for "))
            .map(|line| format!("! {line}\n"))
            .collect();
        let code = ran.code.map_or("killed".to_owned(), |code| code.to_string());
        let text = format!("{}{said}", ran.stdout);
        self.transcript += &format!("$ liveoak {}\n{}= {code}\n\n", words.join(" "), self.stable(&text));
        ran
    }

    /// Returns a text in which nothing differs from run to run.
    fn stable(&self, text: &str) -> String {
        const SPAN: &str = r"[0-9][0-9.]*(?:ms|s|m|h|d)(?: ?[0-9]+(?:ms|s|m|h))?";
        let states =
            "running|waiting|starting|stopping|stopped|finished|backing-off|quarantined|paused|alive";
        let patterns = [
            (r"[0-9-]{10}T[0-9:.]{12}Z".to_owned(), "MOMENT"),
            (format!(r"(?P<a>(?:{states}|ok|failed|up|healthy|degraded|unhealthy) +){SPAN}"), "${a}TIME"),
            (format!(r"(?P<a>\b(?:for|after|ran|most|took|asked|killed) +){SPAN}"), "${a}TIME"),
            (format!(r"{SPAN}(?P<a> (?:left|ago|more))"), "TIME$a"),
            (format!(r"MOMENT \({SPAN}\)"), "MOMENT (TIME)"),
            (format!(r"(?P<a>(?:\bstarts|attempt|deadline) +in ){SPAN}"), "${a}TIME"),
            (r"(?P<a>(?:[0-9-]|TIME|process)  +)[0-9]{2,7}\b".to_owned(), "${a}PID"),
            (r"/tmp/liveoak-[0-9]+".to_owned(), "/tmp/liveoak-UID"),
            (r"(?P<a>\S)   *".to_owned(), "$a  "),
        ];
        let text = self.home.without_path(text);
        let replace = |text: String, (pattern, with): &(String, &str)| {
            Regex::new(pattern).expect("a pattern").replace_all(&text, *with).into_owned()
        };
        patterns.iter().fold(text, replace)
    }
}

impl Drop for Thirty {
    fn drop(&mut self) {
        if self.home.socket("shop").exists() {
            self.up.signal(Signal::KILL);
        }
    }
}

#[test]
fn every_verb_that_reads_shows_thirty_programs_as_its_transcript_says() {
    let mut thirty = Thirty::up();
    for args in [
        &["check"][..],
        &["trees"],
        &["status"],
        &["ps"],
        &["ps", "edge", "pool.*"],
        &["tree"],
        &["explain", "data/db"],
        &["explain", "flaky"],
        &["explain", "mail"],
        &["explain", "nightly"],
        &["checks", "edge/web"],
        &["checks", "data/**"],
        &["logs", "edge"],
        &["logs", "ingest", "-n", "1", "-t"],
        &["events", "--path", "flaky", "--kind", "exited,backing-off,quarantined"],
        &["diagnose", "flaky"],
        &["diagnose", "edge"],
        &["wait", "edge/web", "--for", "healthy"],
        &["wait", "mail", "--for", "running", "--within", "50ms"],
        &["mode"],
        &["mode", "night", "--dry-run"],
        &["ps", "edge/wbe"],
        &["explain", "kafka"],
    ] {
        thirty.run(args);
    }
    expect_file!["thirty/seeing.txt"].assert_eq(&thirty.transcript);
    // A tree of quiet programs is well, also if others in it are not.
    let found = thirty.home.run(&["diagnose", "--json"]).with_code(1).json();
    let of_children = |finding: &&serde_json::Value| finding["finding"] != "disk-full";
    let paths: Vec<_> = found
        .as_array()
        .expect("an array")
        .iter()
        .filter(of_children)
        .map(|one| one["path"].clone())
        .collect();
    assert_eq!(paths, ["/shop/import", "/shop/flaky"], "{found}");
}

#[test]
fn every_command_steers_thirty_programs_as_its_transcript_says() {
    let mut thirty = Thirty::up();
    for args in [
        &["stop", "edge/api", "--by", "ops", "--because", "new certificate"][..],
        &["explain", "edge/api"],
        &["start", "edge/api"],
        &["start", "edge/api"],
        &["restart", "ingest/*", "--dry-run"],
        &["restart", "ingest/*"],
        &["restart", "ingest/*", "--yes"],
        &["restart", "pool.*", "--yes", "--because", "deploy"],
        &["pause", "pool.2"],
        &["stop", "pool.2"],
        &["ps", "pool.2"],
        &["resume", "pool.2"],
        &["start", "pool.2"],
        &["quarantine", "cron"],
        &["diagnose", "cron"],
        &["release", "cron"],
        &["start", "nightly"],
        &["restart", "slow"],
    ] {
        thirty.run(args);
    }
    std::fs::remove_file(thirty.home.at("p/slow.ready")).expect("it is there");
    for args in [
        &["restart", "slow", "--within", "1s"][..],
        &["restart", "late", "--within", "1s"],
        &["ps", "slow", "late"],
    ] {
        thirty.run(args);
    }
    write(&thirty.home.at("p/slow.ready"), "");
    for args in [
        &["wait", "late"][..],
        &["stop", "stubborn", "--within", "50ms"],
        &["ps", "stubborn"],
        &["stop", "data/nosuch"],
        &["release", "edge/web"],
        &["mode", "dya"],
        &["mode", "night"],
        &["mode"],
        &["restart", "edge/web"],
    ] {
        thirty.run(args);
    }
    let pid =
        thirty.home.run(&["ps", "stubborn", "--json"]).json()[0]["pid"].as_i64().expect("it still runs");
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
    rustix::process::kill_process(pid, Signal::KILL).expect("it is there");
    thirty.comes_to("stubborn", "stopped");
    for args in [&["down", "--because", "the end"][..], &["ps"]] {
        thirty.run(args);
    }
    expect_file!["thirty/steering.txt"].assert_eq(&thirty.transcript);
}
