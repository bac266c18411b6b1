//! The history of a real `liveoak up` on disk: over several runs, over `kill -9`, and on disks that are damaged or full.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Home, Ran, RunToEnd as _, Running, look_for, write};

/// Two programs that write a line in each attempt.
const TREE: &str = r#"
name = "shop"

[child.web]
shell = "echo attempt $LIVEOAK_ATTEMPT; exec sleep 1000"
ready = { log = 'attempt' }

[child.db]
shell = "echo db; exec sleep 1000"
"#;

fn home(tree: &str) -> Home {
    let home = Home::new();
    write(&home.at("p/liveoak.toml"), tree);
    home
}

/// Starts the tree, and waits until it is ready.
fn up(home: &Home) -> Running {
    up_in(home, home.at("state"))
}

/// Starts the tree with its history below another folder.
fn up_in(home: &Home, state: PathBuf) -> Running {
    let mut command = home.command(&["up", "--log-level", "warn"]);
    let up = Running::new(command.env("XDG_STATE_HOME", state).stderr(Stdio::piped()));
    look_for("tree that is ready", || (home.run(&["status"]).code == Some(0)).then_some(()));
    up
}

/// Starts the tree, and waits until it answers.
fn up_in_any_state(home: &Home) -> Running {
    let up = Running::new(home.command(&["up", "--log-level", "off"]).stderr(Stdio::piped()));
    look_for("tree that answers", || (home.run(&["ps"]).code == Some(0)).then_some(()));
    up
}

/// Ends the tree, and returns what it said.
fn down(home: &Home, up: Running) -> Ran {
    home.run(&["down"]);
    up.end()
}

/// Returns the objects that a verb prints, one a line.
fn objects(home: &Home, args: &[&str]) -> Vec<Value> {
    let ran = home.run(&[args, &["--json"]].concat()).with_code(0);
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Asserts that the numbers of each run follow each other without a gap or a double, and returns the runs.
#[track_caller]
fn assert_one_story(objects: &[Value]) -> BTreeSet<u64> {
    let ids: Vec<(u64, u64)> =
        objects.iter().map(|of| (of["run"].as_u64().unwrap(), of["n"].as_u64().unwrap())).collect();
    for pair in ids.windows(2) {
        let ((run, n), next) = (pair[0], pair[1]);
        assert!(next == (run, n + 1) || next == (run + 1, 1), "{next:?} follows {:?}", pair[0]);
    }
    assert!(objects.iter().all(|of| of["kind"] != "lost" && of["stream"] != "lost"), "{objects:?}");
    ids.iter().map(|(run, _)| *run).collect()
}

/// Returns the files of a log, oldest first.
fn files(home: &Home, kind: &str) -> Vec<PathBuf> {
    let mut trees = fs::read_dir(home.at("state/liveoak/trees")).unwrap();
    let folder = trees.next().expect("the folder of the tree").unwrap().path();
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        all.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(kind)).collect();
    files.sort();
    files
}

#[test]
fn two_runs_are_read_as_one_story_of_events_and_of_lines() {
    let home = home(TREE);
    let first = up(&home);
    home.run(&["restart", "web"]).with_code(0);
    down(&home, first);
    let _second = up(&home);
    assert_eq!(assert_one_story(&objects(&home, &["events"])), BTreeSet::from([1, 2]));
    let lines = objects(&home, &["logs", "web"]);
    let lines: Vec<(u64, &str)> =
        lines.iter().map(|line| (line["run"].as_u64().unwrap(), line["line"].as_str().unwrap())).collect();
    assert_eq!(lines, [(1, "attempt 1"), (1, "attempt 2"), (2, "attempt 1")]);
    assert_eq!(
        home.run(&["logs", "web", "-n", "2"]).stdout,
        "/shop/web | attempt 2\n/shop/web | attempt 1\n"
    );
    let exits = objects(&home, &["events", "--since", "1h", "--kind", "exited", "--path", "web"]);
    assert_eq!(exits.len(), 2, "the restart, and the end of the first run");
    home.run(&["down"]);
}

#[test]
fn a_followed_log_goes_on_in_the_next_run_after_the_process_was_killed() {
    let home = home(TREE);
    let first = up(&home);
    let mut follower = home.start(&["logs", "web", "-f"]);
    assert_eq!(follower.line(), "/shop/web | attempt 1");
    home.run(&["restart", "web"]).with_code(0);
    assert_eq!(follower.line(), "/shop/web | attempt 2");
    first.signal(Signal::KILL);
    first.end();
    let second = up(&home);
    assert_eq!(follower.line(), "/shop/web | attempt 1");
    home.run(&["restart", "web"]).with_code(0);
    assert_eq!(follower.line(), "/shop/web | attempt 2");
    down(&home, second);
    follower.end().with_code(0).says(&["the connection broke; going on from there", "the tree has ended"]);
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_the_process_is_killed_during_writes() {
    const KILLS: u64 = 20;
    let home = home(&format!(
        "{TREE}\n[child.noise]\nshell = 'n=0; while sleep 0.01; do n=$((n+1)); echo line $n; done'\n"
    ));
    let mut acknowledged: Vec<Vec<u64>> = Vec::new();
    for kill in 0..KILLS {
        let up = up(&home);
        let (is_killed, answered) = (AtomicBool::new(false), AtomicU64::new(0));
        let answers = std::thread::scope(|scope| {
            let commands = scope.spawn(|| {
                let mut answers = Vec::new();
                while !is_killed.load(Ordering::Relaxed) {
                    let ran = home.run(&["restart", "web", "--json"]);
                    if ran.code == Some(0) {
                        assert_eq!(ran.stderr, "");
                        answers.push(ran.json()[0]["attempt"].as_u64().expect("an attempt"));
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
                answers
            });
            // Within the next command, after another number of answers each time.
            look_for("answer", || (answered.load(Ordering::Relaxed) >= kill % 5).then_some(()));
            up.signal(Signal::KILL);
            up.end();
            is_killed.store(true, Ordering::Relaxed);
            commands.join().expect("the commands")
        });
        acknowledged.push(answers);
    }
    assert!(acknowledged.iter().any(|answers| !answers.is_empty()), "some commands were in time");
    let last = up(&home);
    let events = objects(&home, &["events"]);
    assert_eq!(assert_one_story(&events).len() as u64, KILLS + 1);
    for (run, answers) in (1..).zip(&acknowledged) {
        for attempt in answers {
            let ready = |of: &&Value| of["run"] == run && of["kind"] == "ready" && of["attempt"] == *attempt;
            assert!(events.iter().filter(ready).any(|of| of["path"] == "/shop/web"), "{run}: {attempt}");
        }
    }
    assert_one_story(&objects(&home, &["logs"]));
    down(&home, last);
}

#[test]
fn a_torn_and_a_damaged_journal_lose_what_is_damaged_and_the_tree_says_so_and_runs() {
    let home = home(TREE);
    let first = up(&home);
    down(&home, first);
    let whole = objects_of_file(&home).len();
    let journal = files(&home, "journal").pop().expect("a journal");
    // The last record was never finished.
    let size = fs::metadata(&journal).unwrap().len();
    fs::OpenOptions::new().write(true).open(&journal).unwrap().set_len(size - 5).unwrap();
    let second = up(&home);
    let events = objects(&home, &["events"]);
    assert_one_story(&events);
    assert_eq!(events.iter().filter(|of| of["run"] == 1).count(), whole - 1);
    down(&home, second).says(&["the journal: ", "are damaged or unfinished and are skipped"]);
    // Bytes in the middle were changed.
    let mut bytes = fs::read(&journal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0);
    fs::write(&journal, bytes).unwrap();
    let third = up(&home);
    let events = objects(&home, &["events"]);
    let lost: u64 =
        events.iter().filter(|of| of["kind"] == "lost").filter_map(|of| of["count"].as_u64()).sum();
    assert!(lost > 0 && lost < 10, "{lost} events were damaged, and are counted");
    assert!(events.iter().any(|of| of["run"] == 3), "the new run is recorded");
    home.run(&["restart", "web"]).with_code(0);
    down(&home, third);
}

/// Returns the lines of the journal that are events.
fn objects_of_file(home: &Home) -> Vec<String> {
    let text = fs::read(files(home, "journal").pop().expect("a journal")).unwrap();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines()
        .filter(|line| line.split(' ').nth(2).is_some_and(|rest| rest.starts_with("E\t")))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_crash_has_the_last_lines_that_the_program_wrote_and_what_was_decided() {
    let home = home(&format!(
        "{TREE}\n[child.jobs.child.job]\nshell = 'seq 1 30; echo no configuration >&2; exit 3'\n\
         restart = 'temporary'\n"
    ));
    let up = up_in_any_state(&home);
    home.run(&["wait", "jobs/job", "--for", "stopped"]).with_code(0);
    let crashes = look_for("crash with a decision", || {
        let crashes = home.run(&["crashes", "jobs", "--json"]).with_code(0).json();
        (crashes[0]["decided"] == "it is not restarted").then_some(crashes)
    });
    let crash = &crashes[0];
    let lines: Vec<&str> = crash["lines"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(lines.len(), 20);
    assert!(
        lines.contains(&"no configuration") && lines.contains(&"30") && !lines.contains(&"1"),
        "{lines:?}"
    );
    assert_eq!((&crash["path"], &crash["attempt"]), (&"/shop/jobs/job".into(), &1.into()));
    assert_eq!((&crash["exit"]["code"], &crash["backtrace"]), (&3.into(), &Value::Null));
    let text = home.run(&["crashes"]).with_code(0).stdout;
    assert!(text.starts_with("/shop/jobs/job: exit code 3\n  attempt  1, which ran for "), "{text}");
    assert!(text.contains("  decided  it is not restarted\n  event    1-"), "{text}");
    assert!(text.contains("  output   the last 20 lines\n           | "), "{text}");
    home.run(&["crashes", "web"]).with_code(0).says(&["no attempt has failed by itself"]);
    home.run(&["crashes", "wbe"]).with_code(5).says(&["did you mean /shop/web?"]);
    down(&home, up);
}

#[test]
fn a_tree_that_is_gone_is_read_from_its_files_by_its_folder_or_by_its_name() {
    let home = home(&format!("{TREE}\n[child.job]\nshell = 'echo lost; exit 3'\nrestart = 'temporary'\n"));
    let up = up_in_any_state(&home);
    home.run(&["wait", "job", "--for", "stopped"]).with_code(0);
    home.run(&["wait", "web", "--for", "ready"]).with_code(0);
    let crashes = look_for("crash with a decision", || {
        let crashes = home.run(&["crashes", "--json"]).with_code(0).json();
        (crashes[0]["decided"] == "it is not restarted").then_some(crashes)
    });
    let lines = home.run(&["logs", "web", "--json"]).with_code(0).stdout;
    let ready_at = home.run(&["tree", "--json"]).json()["at"].as_str().unwrap().to_owned();
    // What follows has a later moment than what was read.
    look_for("later moment", || (home.run(&["tree", "--json"]).json()["at"] != *ready_at).then_some(()));
    down(&home, up);
    let note = "shop does not run; this is its history, from ";
    let events = objects(&home, &["events"]);
    assert_one_story(&events);
    assert_eq!(events.last().unwrap()["path"], "/shop");
    assert_eq!(home.run(&["logs", "web", "--json"]).with_code(0).says(&[note]).stdout, lines);
    assert_eq!(home.run(&["logs", "web", "-n", "1"]).with_code(0).stdout, "/shop/web | attempt 1\n");
    assert_eq!(home.run(&["crashes", "job", "--json"]).with_code(0).says(&[note]).json(), crashes);
    let kinds = objects(&home, &["events", "--kind", "exited", "--path", "job", "--since", "1h"]);
    assert_eq!(kinds.len(), 1);
    home.run(&["events", "--kind", "exitd"]).with_code(2).says(&["did you mean exited?"]);
    home.run(&["logs", "wbe"]).with_code(5).says(&["there is no child /shop/wbe"]);
    let state = |args: &[&str]| home.run(args).with_code(0).json()[0]["state"].as_str().map(str::to_owned);
    assert_eq!(state(&["ps", "web", "--at", &ready_at, "--json"]).as_deref(), Some("running"));
    assert_eq!(state(&["ps", "web", "--at", "0s", "--json"]).as_deref(), Some("stopped"));
    let tree = home.run(&["tree", "--at", &ready_at]).with_code(0).says(&[note]);
    assert!(tree.stdout.contains("job") && tree.stdout.contains("exit code 3"), "{}", tree.stdout);
    home.run(&["ps", "wbe", "--at", &ready_at]).with_code(5);
    home.run(&["tree", "--at", "2000-01-01T00:00:00Z"]).with_code(1).says(&["is not known"]);
    home.run(&["logs", "-f"]).with_code(4).says(&["shop does not run, so there is nothing to follow"]);
    // From another folder it must be named.
    let elsewhere = |args: &[&str]| home.command(args).current_dir(home.at("state")).ran();
    elsewhere(&["logs"]).with_code(4);
    assert_eq!(elsewhere(&["logs", "web", "--tree", "shop", "--json"]).with_code(0).stdout, lines);
    // To read locks nothing, and a tree that runs is asked again.
    let up = up_in_any_state(&home);
    assert_eq!(home.run(&["logs", "-n", "1"]).with_code(0).stderr, "");
    home.run(&["ps"]).with_code(0);
    down(&home, up);
}

#[test]
fn the_nearest_folder_counts_although_its_tree_is_gone_and_one_above_runs() {
    let home = home(TREE);
    let crashing = "name = 'inner'\n[child.job]\nshell = 'echo lost; exit 3'\nrestart = 'temporary'\n";
    write(&home.at("p/below/liveoak.toml"), crashing);
    let below = |args: &[&str]| home.command(args).current_dir(home.at("p/below")).ran();
    below(&["up"]).with_code(1);
    let up = up(&home);
    let note = "inner does not run; this is its history, from ";
    let crashes = below(&["crashes", "--json"]).with_code(0).says(&[note]).json();
    assert_eq!(crashes[0]["path"], "/inner/job");
    assert_eq!(below(&["logs"]).with_code(0).says(&[note]).stdout, "/inner/job | lost\n");
    below(&["logs", "--tree", "shop", "-n", "1"]).with_code(0);
    fs::remove_file(home.at("p/below/liveoak.toml")).unwrap();
    assert_eq!(below(&["crashes", "--json"]).with_code(0).stderr, "", "the tree above is the nearest now");
    down(&home, up);
}

#[test]
fn no_other_user_can_read_the_history_or_take_its_folder() {
    let home = home(TREE);
    let liveoak = home.command(&["up", "--log-level", "off"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 0; exec \"$0\" up --log-level off"]).arg(liveoak.get_program());
    shell.current_dir(home.at("p")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (variable, value) in liveoak.get_envs() {
        match value {
            Some(value) => shell.env(variable, value),
            None => shell.env_remove(variable),
        };
    }
    let up = Running::new(&mut shell);
    look_for("tree that answers", || (home.run(&["ps"]).code == Some(0)).then_some(()));
    let mut open = vec![home.at("state/liveoak")];
    let mut files = 0;
    while let Some(path) = open.pop() {
        let status = fs::metadata(&path).unwrap();
        let mode = status.permissions().mode() & 0o777;
        assert_eq!(mode, if status.is_dir() { 0o700 } else { 0o600 }, "{mode:o} {}", path.display());
        if status.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            files += 1;
        }
    }
    assert!(files >= 3, "the journal, the log, and which tree it is: {files}");
    down(&home, up);
}

#[test]
fn a_folder_that_cannot_be_made_is_told_in_one_line_and_the_tree_runs() {
    let home = home(TREE);
    write(&home.at("state"), "a file in the place of the folder");
    let up = up(&home);
    let note = "the command is not known to be in the journal: the history is kept in memory only";
    home.run(&["restart", "web"]).with_code(0).says(&[note]);
    assert_one_story(&objects(&home, &["events"]));
    let ran = down(&home, up).says(&["the history is kept in memory only, not on disk: "]);
    assert_eq!(
        ran.stderr.lines().filter(|line| line.contains("in memory only")).count(),
        1,
        "{}",
        ran.stderr
    );
}

/// A small disk in memory. Unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Returns `None` if this user may not mount.
    fn new(home: &Home) -> Option<SmallDisk> {
        let at = home.at("disk");
        fs::create_dir_all(&at).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs"]).arg(&at).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then_some(SmallDisk(at))
    }

    /// Fills the disk to its last byte.
    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("ballast")).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.0.join("ballast")).expect("removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_costs_history_and_never_the_tree() {
    let home = home(TREE);
    let Some(disk) = SmallDisk::new(&home) else {
        eprintln!("not tested: this user may not mount a disk");
        return;
    };
    let up = up_in(&home, disk.0.clone());
    let note = "the command is not known to be in the journal";
    let restart = || home.run(&["restart", "web"]).with_code(0);
    assert!(!restart().stderr.contains(note));
    disk.fill();
    // The rest of the last block of the file may take the first.
    look_for("answer that says so", || restart().stderr.contains(note).then_some(()));
    assert_eq!(home.run(&["status"]).code, Some(0), "the tree runs");
    assert_one_story(&objects(&home, &["events"]));
    disk.free();
    assert!(!restart().stderr.contains(note), "the disk is asked again for each command");
    let events = objects(&home, &["events"]);
    assert_one_story(&events);
    down(&home, up)
        .says(&["the journal: history cannot be written", "the journal: history is written again"]);
}
