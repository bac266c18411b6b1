//! Programs that cannot be started: the error names the path and the cause, and the programs that were started are stopped
//! in reverse.

use crate::support::{Ended, TestDir};

/// Runs a tree of two good programs and `bad`, whose start fails, with these keys of the top level. Checks the stop, and
/// returns the end of the run.
fn fails(dir: &TestDir, keys: &str, bad: &str) -> Ended {
    let good = "command = \"sleep 1000\"\n";
    let toml = format!(
        "name = \"t\"\n{keys}\n[child.a]\n{good}[child.b]\n{good}[child.bad]\n{bad}\n[child.late]\n{good}"
    );
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
fn a_program_that_can_never_start_fails_the_first_start_and_the_error_names_path_and_cause() {
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
        let ended = fails(&dir, "", bad);
        let verdict = verdict(&dir, &ended);
        assert!(verdict.starts_with(&format!("/t has failed: /t/bad failed to start: {cause}")), "{verdict}");
    }
}

#[test]
fn the_error_for_a_probe_that_never_succeeds_describes_the_probe() {
    let dir = TestDir::new();
    let cases = [
        ("unix = \"no.sock\"", "nothing there at FOLDER/no.sock"),
        ("file = \"no.file\"", "FOLDER/no.file does not exist"),
        ("log = \"^never\"", "no line matched /^never/ yet"),
        ("command = \"false\"", "`false` exited with code 1"),
    ];
    for (probe, cause) in cases {
        let bad = format!("command = \"sleep 1000\"\nready = {{ {probe}, within = \"1s\" }}");
        let ended = fails(&dir, "first_start = \"fail\"", &bad);
        let expected = format!("/t has failed: /t/bad failed to start: not ready within 1s: {cause}");
        assert_eq!(verdict(&dir, &ended), expected);
    }
}

#[test]
fn the_reason_of_a_failed_start_is_printed_even_with_the_log_off() {
    let dir = TestDir::of(
        "first_start = \"fail\"\n[child.a]\ncommand = \"sleep 1000\"\nready = { file = \"never\", within = \"100ms\" }\n",
    );
    let ended = dir.run(&["--log-level", "off"]).with_code(1);
    assert_eq!(ended.stderr.len(), 1, "{}", ended.log());
    // On a busy machine no try may have ended by then.
    assert!(ended.stderr[0].contains("/t/a failed to start: not ready within 100ms: "), "{}", ended.log());
}

#[test]
fn a_failed_job_fails_a_first_start_that_is_not_retried_and_is_named() {
    let dir = TestDir::of(
        "first_start = \"fail\"\n[child.migrate]\nshell = \"exit 5\"\nrestart = \"temporary\"\n\
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

#[test]
fn a_first_start_that_fails_is_retried_and_the_children_after_it_wait() {
    let dir = TestDir::of(
        "[child.db]\nshell = \"echo run >> runs; [ $(wc -l < runs) -ge 3 ] && touch there && exec sleep 1000\"\n\
         backoff = { from = \"10ms\", to = \"10ms\" }\nready = { file = \"there\" }\n\
         [child.web]\nshell = \"wc -l < runs; exec sleep 1000\"\n",
    );
    let up = dir.up(&[]);
    up.is_ready();
    assert_eq!(up.number("/t/web", 0), 3);
    let ended = up.stop().with_code(0);
    assert_eq!(ended.stderr.iter().filter(|line| line.contains("/t/db: exit code 1, after")).count(), 2);
}

#[test]
fn a_child_that_is_given_up_on_in_the_first_start_leaves_its_siblings_alone() {
    let dir = TestDir::of(
        "[child.a]\ncommand = \"sleep 1000\"\n\
         [child.bad]\ncommand = \"false\"\nready = { delay = \"20s\" }\nbackoff = false\n\
         limit = { restarts = 2, period = \"1m\" }\n\
         [child.web]\nshell = \"echo $$; exec sleep 1000\"\n",
    );
    let up = dir.up(&["--report", "report.json"]);
    let web = up.number("/t/web", 0);
    up.logs("/t/bad: quarantined: gave up on /t/bad");
    dir.has(web);
    up.stop().with_code(0).has_in_order(&["/t: stopped as asked", "  /t/bad  quarantined  exit code 1"]);
    assert_eq!(dir.report()["ended_earlier"][0]["state"], "quarantined");
}

#[test]
fn the_exit_code_is_1_when_nothing_is_left_to_run_because_of_a_quarantined_child() {
    let quarantined = "command = \"false\"\nready = { delay = \"20s\" }\nbackoff = false\nlimit = { restarts = 0, period = \"1m\" }\n";
    let cases = [
        // Its dependents can never run.
        format!("[child.db]\n{quarantined}[child.web]\ncommand = \"touch started\"\nafter = [\"db\"]\n"),
        // The others have finished.
        format!("[child.job]\ncommand = \"true\"\nrestart = \"transient\"\n[child.db]\n{quarantined}"),
        // Below a supervisor of its own.
        format!(
            "[child.jobs]\n[child.jobs.child.db]\n{quarantined}[child.web]\ncommand = \"true\"\nrestart = \"temporary\"\n"
        ),
    ];
    for toml in cases {
        let dir = TestDir::of(&toml);
        let ended = dir.run(&[]).with_code(1);
        let verdict = &ended.stderr[ended.position_of("/t has failed: gave up on ")];
        assert!(
            verdict.contains("/db: its own limit allows no restart; it ended with: exit code 1"),
            "{verdict}"
        );
        let rest = &ended.stderr[ended.position_of("These children had failed before the stop")..];
        assert!(rest.iter().any(|line| line.contains("/db  quarantined  exit code 1")), "{}", ended.log());
        assert!(!dir.exists("started"));
    }
}

#[test]
fn a_job_that_failed_for_good_leaves_its_dependent_waiting_while_others_run() {
    let dir = TestDir::of(
        "[child.migrate]\nshell = \"exit 5\"\nrestart = \"temporary\"\n\
         [child.app]\ncommand = \"touch started\"\nafter = { migrate = \"completed\" }\n\
         [child.other]\ncommand = \"sleep 1000\"\n",
    );
    let up = dir.up(&[]);
    up.is_ready();
    up.logs("/t/app waits for /t/migrate, which is finished: exit code 5");
    let ended = up.stop().with_code(0);
    assert!(ended.log().contains("; 1 was waiting to start"), "{}", ended.log());
    assert!(!dir.exists("started"));
}
