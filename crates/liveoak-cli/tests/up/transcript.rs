//! The log of a run as a golden transcript. After an intended change, run `UPDATE_EXPECT=1 cargo test -p liveoak-cli` and
//! read the diff.

use expect_test::expect_file;
use regex_lite::Regex;

use crate::support::{Stream, TestDir};

/// A tree in which everything happens in a fixed order, so that the transcript is always the same.
const TREE: &str = r#"
[child.db]
shell = "echo listening on 7000; exec sleep 1000"
ready = { log = 'listening on \d+' }

[child.migrate]
shell = "echo migrated"
restart = "temporary"
after = ["db"]

[child.web]
shell = "echo $$; exec sleep 1000"
after = { migrate = "completed" }

[child.jobs]
strategy = "rest-for-one"
after = ["web"]

[child.jobs.child.queue]
command = "sleep 1000"

[child.jobs.child.report]
shell = "echo $$; exec sleep 1000"
backoff = false
limit = { restarts = 1, period = "1m", give_up = "quarantine" }
"#;

/// Returns the text with every time replaced by `TIME`, and every process id by `PID`.
fn timeless(lines: &[String]) -> String {
    let stamp = Regex::new(r"^ *\d+\.\d{3}s ").expect("a pattern");
    let span = Regex::new(r"\d+\.\d+(s|ms|µs|ns)").expect("a pattern");
    let pid = Regex::new(r"\(pid \d+\)").expect("a pattern");
    let line = |line: &String| {
        let line = stamp.replace(line, "TIME ");
        let line = pid.replace_all(&line, "(pid PID)");
        span.replace_all(&line, "TIME").into_owned() + "\n"
    };
    lines.iter().map(line).collect()
}

#[test]
fn the_transcript_of_a_short_run_is_unchanged() {
    let dir = TestDir::of(TREE);
    let up = dir.up(&[]);
    up.is_ready();
    for (path, nth) in [("/t/web", 0), ("/t/jobs/report", 0), ("/t/jobs/report", 1)] {
        dir.kill(up.number(path, nth));
        if nth == 0 {
            let ready = format!("{path}: ready");
            up.until(Stream::Stderr, "a second readiness", |lines| {
                lines.iter().filter(|line| line.contains(&ready)).nth(1).map(drop)
            });
        }
    }
    up.logs("/t/jobs/report: quarantined");
    let ended = up.stop().with_code(0);
    expect_file!["../transcripts/run.txt"].assert_eq(&timeless(&ended.stderr));
}

#[test]
fn the_transcript_of_a_failed_start_is_unchanged() {
    let dir = TestDir::of(
        "first_start = \"fail\"\n[child.db]\ncommand = \"sleep 1000\"\n[child.api]\ncommand = \"sleep 1000\"\nafter = [\"db\"]\n\
         ready = { file = \"never\", within = \"200ms\" }\n[child.web]\ncommand = \"sleep 1000\"\n",
    );
    let ended = dir.run(&[]).with_code(1);
    let text = timeless(&ended.stderr).replace(&*dir.path().to_string_lossy(), "FOLDER");
    expect_file!["../transcripts/failed-start.txt"].assert_eq(&text);
}
