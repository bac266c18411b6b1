//! Programs that cannot be started: the error names the path and the cause, and the programs that were started are stopped
//! in reverse.

use crate::support::{Ended, TestDir};

/// Runs a tree of two good programs and `bad`, whose start fails. Checks the stop, and returns the end of the run.
fn fails(dir: &TestDir, bad: &str) -> Ended {
    let good = "command = \"sleep 1000\"\n";
    let toml =
        format!("name = \"t\"\n[child.a]\n{good}[child.b]\n{good}[child.bad]\n{bad}\n[child.late]\n{good}");
    dir.file("liveoak.toml", toml, 0o644);
    let ended = dir.run(&["--report", "report.json"]).with_code(1);
    let report = dir.report();
    let stopped: Vec<&str> = report["children"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|child| child["path"].as_str())
        .collect();
    assert_eq!(stopped, ["/t/late", "/t/b", "/t/a"], "{report:#}");
    ended.has_in_order(&[
        "/t/b: stopped (asked)",
        "/t/a: stopped (asked)",
        "/t has failed",
        "  /t/b ",
        "  /t/a ",
    ]);
    dir.has_no_processes_left();
    ended
}

/// Returns the line about the end of the tree, with the folder of the test as `FOLDER`.
fn verdict(dir: &TestDir, ended: &Ended) -> String {
    let line = &ended.stderr[ended.position_of("/t has failed: ")];
    line.replace(&*dir.path().to_string_lossy(), "FOLDER")
}

#[test]
fn a_program_that_cannot_be_run_is_a_failed_start_that_names_path_and_cause() {
    let dir = TestDir::new();
    dir.file("plain", "text", 0o644);
    dir.file("no-interpreter", "#!/no/such/interpreter\n", 0o755);
    dir.file("no-program", "neither a script nor a binary", 0o755);
    std::fs::create_dir(dir.at("folder")).expect("a folder");
    for (bad, cause) in [
        ("command = \"./missing\"", "could not run FOLDER/missing: there is no such file"),
        ("command = \"./plain\"", "could not run FOLDER/plain: it is not executable by this user"),
        ("command = \"./folder\"", "could not run FOLDER/folder: it is a directory"),
        (
            "command = \"./no-interpreter\"",
            "could not run FOLDER/no-interpreter: its interpreter \"/no/such/interpreter\" cannot be run",
        ),
        (
            "command = \"./no-program\"",
            "could not run FOLDER/no-program: it is neither a binary for this machine nor a script with #!",
        ),
        (
            "command = \"true\"\ncwd = \"nowhere\"",
            "could not enter FOLDER/nowhere: there is no such directory",
        ),
        ("command = \"no-such-program-anywhere\"", "could not find no-such-program-anywhere in PATH ("),
    ] {
        let ended = fails(&dir, bad);
        let verdict = verdict(&dir, &ended);
        assert!(verdict.starts_with(&format!("/t has failed: /t/bad failed to start: {cause}")), "{verdict}");
    }
}

#[test]
fn the_error_of_a_probe_that_never_succeeds_says_what_it_was_waiting_for() {
    let dir = TestDir::new();
    let cases = [
        ("unix = \"no.sock\"", "nothing there at FOLDER/no.sock"),
        ("file = \"no.file\"", "FOLDER/no.file does not exist"),
        ("log = \"^never\"", "no line matched /^never/ yet"),
        ("command = \"false\"", "`false` exited with code 1"),
    ];
    for (probe, cause) in cases {
        let bad = format!("command = \"sleep 1000\"\nready = {{ {probe}, within = \"300ms\" }}");
        let ended = fails(&dir, &bad);
        let expected = format!("/t has failed: /t/bad failed to start: not ready within 300ms: {cause}");
        assert_eq!(verdict(&dir, &ended), expected);
    }
}

#[test]
fn the_reason_of_a_failed_start_is_printed_even_with_the_log_off() {
    let dir = TestDir::of(
        "[child.a]\ncommand = \"sleep 1000\"\nready = { file = \"never\", within = \"100ms\" }\n",
    );
    let ended = dir.run(&["--log-level", "off"]).with_code(1);
    assert_eq!(ended.stderr.len(), 1, "{}", ended.log());
    assert!(ended.stderr[0].ends_with("never does not exist"), "{}", ended.log());
}

#[test]
fn a_failed_job_fails_the_start_of_its_dependent_and_is_named() {
    let dir = TestDir::of(
        "[child.migrate]\nshell = \"exit 5\"\nrestart = \"temporary\"\n\
         [child.app]\ncommand = \"touch started\"\nafter = { migrate = \"completed\" }\n",
    );
    let ended = dir.run(&["--report", "report.json"]).with_code(1);
    ended.has_in_order(&[
        "/t has failed: /t/app failed to start: it comes after migrate (completed), which has ended for good: exit code 5",
        "  /t/migrate  finished  exit code 5",
    ]);
    assert!(!dir.exists("started"));
    assert_eq!(dir.report()["ended_earlier"][0]["exit"]["text"], "exit code 5");
}

#[test]
fn a_failed_start_deep_in_the_tree_is_named_by_its_full_path() {
    let dir = TestDir::of("[child.a.child.b.child.c]\ncommand = \"./missing\"\n");
    let ended = dir.run(&[]).with_code(1);
    let verdict = verdict(&dir, &ended);
    assert_eq!(
        verdict,
        "/t has failed: /t/a/b/c failed to start: could not run FOLDER/missing: there is no such file"
    );
}
