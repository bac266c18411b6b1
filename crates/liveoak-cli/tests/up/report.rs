//! The report at the end of a run: text on stderr for people, an exit code for scripts, JSON for programs.

use std::fs;

use serde_json::{Value, json};

use crate::support::TestDir;

const TWO: &str = "[child.a]\ncommand = \"sleep 1000\"\n\
    [child.jobs]\nstrategy = \"rest-for-one\"\n[child.jobs.child.b]\ncommand = \"sleep 1000\"\n";

#[test]
fn the_report_file_lists_each_child_with_its_path_seconds_stop_stage_and_exit() {
    let dir = TestDir::of(TWO);
    let up = dir.up(&["--report", "report.json"]);
    up.is_ready();
    up.stop().with_code(0);
    let mut report = dir.report();
    let seconds = report["seconds"].take().as_f64().expect("a number");
    assert!((0.0..30.0).contains(&seconds));
    for child in report["children"].as_array_mut().expect("a list") {
        assert!((0.0..30.0).contains(&child["seconds"].take().as_f64().expect("a number")));
    }
    let terminated = json!({ "kind": "signal", "failure": true, "text": "ended by SIGTERM" });
    let stopped = json!({ "kind": "stopped", "failure": false, "text": "stopped as asked" });
    let child = |path, exit: &Value| json!({ "path": path, "seconds": null, "stage": "asked", "exit": exit });
    assert_eq!(
        report,
        json!({
            "tree": "/t",
            "exit": stopped,
            "seconds": null,
            "clean": true,
            "children": [
                child("/t/jobs/b", &terminated),
                child("/t/jobs", &stopped),
                child("/t/a", &terminated),
            ],
            "unlisted": 0,
            "unlisted_forced": 0,
            "ended_earlier": [],
        })
    );
}

#[test]
fn a_report_replaces_an_older_one_and_goes_into_pipes_too() {
    let dir = TestDir::of("[child.a]\ncommand = \"true\"\nrestart = \"temporary\"\n");
    dir.file("report.json", "x".repeat(100_000), 0o644);
    dir.run(&["--report", "report.json"]).with_code(0);
    assert_eq!(dir.report()["exit"]["kind"], "completed");
    let ended = dir.run(&["--report", "/dev/stdout"]).with_code(0);
    let report: Value = serde_json::from_str(&ended.stdout.join("\n")).expect("JSON");
    assert_eq!(report["tree"], "/t");
}

#[test]
fn a_report_file_that_cannot_be_written_is_an_error_before_anything_starts() {
    let dir = TestDir::of("[child.a]\ncommand = \"touch started\"\nrestart = \"temporary\"\n");
    for (file, says) in [("no/such/folder/r.json", "No such file or directory"), (".", "Is a directory")] {
        let ended = dir.run(&["--report", file]).with_code(2);
        let [line] = &ended.stderr[..] else { panic!("one line expected:\n{}", ended.log()) };
        assert!(line.starts_with(&format!("error: cannot write the report to {file}: {says}")), "{line}");
        assert!(line.ends_with("nothing was started"), "{line}");
    }
    assert!(!dir.exists("started"));
}

#[test]
fn a_report_that_cannot_be_written_at_the_end_is_an_error() {
    let dir = TestDir::of("[child.a]\ncommand = \"true\"\nrestart = \"temporary\"\n");
    let ended = dir.run(&["--report", "/dev/full"]).with_code(1);
    ended.has_in_order(&["/t has ended", "error: cannot write the report to /dev/full: No space left"]);
}

#[test]
fn with_json_every_line_on_stderr_is_json_up_to_the_report() {
    let dir = TestDir::of(&format!("{TWO}[child.c]\nshell = \"exit 3\"\nrestart = \"temporary\"\n"));
    let up = dir.up(&["--log-format", "json", "--log-level", "trace", "--report", "report.json"]);
    up.logs("/t/c: finished");
    up.is_ready();
    let ended = up.stop().with_code(0);
    let lines: Vec<Value> = ended
        .stderr
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        for key in ["timestamp", "level", "message"] {
            assert!(line[key].is_string(), "no {key} in {line}");
        }
    }
    assert!(lines.iter().any(|line| line["event"] == "stop-asked" && line["level"] == "INFO"));
    let last = lines.last().expect("a line");
    assert_eq!((&last["event"], &last["code"]), (&"stop-report".into(), &0.into()));
    assert_eq!(last["report"], dir.report());
    assert_eq!(last["report"]["ended_earlier"][0]["path"], "/t/c");
}

#[test]
fn with_the_log_off_only_the_stop_message_and_the_report_are_printed() {
    let dir = TestDir::of("[child.a]\nshell = \"echo up; exec sleep 1000\"\n");
    let up = dir.up(&["--log-level", "off"]);
    up.line("/t/a", 0);
    let ended = up.stop().with_code(0);
    assert_eq!(ended.stderr.len(), 4, "{}", ended.log());
    ended.has_in_order(&["SIGTERM: stopping", "/t: stopped as asked", "1 child stopped", "  /t/a  asked"]);
}

#[test]
fn the_compact_log_is_one_line_per_entry_with_its_fields() {
    let dir = TestDir::of("[child.a]\ncommand = \"true\"\nrestart = \"temporary\"\n");
    let ended = dir.run(&["--log-format", "compact"]).with_code(0);
    let line = &ended.stderr[ended.position_of("/t/a: finished")];
    assert!(line.contains("INFO /t/a: finished") && line.contains("event=\"finished\""), "{line}");
    assert!(fs::read_dir(dir.path()).expect("a folder").count() == 1, "no other file is written");
}
