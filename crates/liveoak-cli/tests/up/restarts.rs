//! Restarts: which exits restart a child, which siblings restart with it, and when its limit is exceeded.

use crate::support::{Stream, TestDir};

#[test]
fn a_quarantined_child_stays_down_and_its_siblings_continue_to_run() {
    let dir = TestDir::of(
        "[child.good]\nshell = \"echo $$; exec sleep 1000\"\n\
         [child.bad]\nshell = \"exit 9\"\nbackoff = false\n\
         limit = { restarts = 2, period = \"1m\", give_up = \"quarantine\" }\n",
    );
    let up = dir.up(&["--report", "report.json"]);
    up.logs("/t/bad: quarantined: gave up on /t/bad");
    let good = up.number("/t/good", 0);
    dir.has(good);
    let ended = up.stop().with_code(0);
    assert_eq!(ended.stdout.len(), 1, "the sibling was started once");
    assert_eq!(ended.stderr.iter().filter(|line| line.contains("/t/bad: exit code 9, after")).count(), 3);
    ended.has_in_order(&["/t: stopped as asked", "  /t/bad  quarantined  exit code 9", "  /t/good  asked"]);
    assert_eq!(dir.report()["ended_earlier"][0]["state"], "quarantined");
}

#[test]
fn a_transient_child_is_restarted_after_a_failure_only_and_a_temporary_child_never() {
    let dir = TestDir::of(
        "[child.transient]\nshell = \"echo run >> runs; [ $(wc -l < runs) -ge 3 ]\"\nrestart = \"transient\"\nbackoff = false\n\
         [child.temporary]\nshell = \"echo run; exit 3\"\nrestart = \"temporary\"\nsuccess = [0, 3]\n",
    );
    let ended = dir.run(&[]).with_code(0);
    assert_eq!(std::fs::read_to_string(dir.at("runs")).expect("runs"), "run\n".repeat(3));
    assert_eq!(ended.stdout, ["/t/temporary | run"]);
    assert_eq!(ended.stderr.iter().filter(|line| line.contains("/t/transient: exit code 1")).count(), 2);
}

#[test]
fn exit_codes_that_count_as_success_are_not_failures() {
    let dir = TestDir::of("[child.a]\nshell = \"exit 3\"\nrestart = \"transient\"\nsuccess = [0, 3]\n");
    let ended = dir.run(&[]).with_code(0);
    assert!(!ended.log().contains("WARN"), "{}", ended.log());
}

#[test]
fn a_permanent_child_that_succeeds_is_restarted_after_a_delay() {
    let dir = TestDir::of("[child.a]\nshell = \"echo run\"\nbackoff = { from = \"20ms\", to = \"40ms\" }\n");
    let up = dir.up(&[]);
    up.line("/t/a", 3);
    let ended = up.stop().with_code(0);
    assert!(ended.stderr.iter().filter(|line| line.contains("/t/a: restarts in ")).count() >= 3);
}

#[test]
fn with_any_significant_the_first_end_of_a_significant_child_ends_the_tree() {
    let dir = TestDir::of(
        "auto_shutdown = \"any-significant\"\n[child.a]\ncommand = \"sleep 1000\"\n\
         [child.b]\nshell = \"until [ -e go ]; do sleep 0.02; done\"\nrestart = \"transient\"\nsignificant = true\n\
         [child.c]\ncommand = \"sleep 1000\"\nrestart = \"transient\"\nsignificant = true\n",
    );
    let up = dir.up(&[]);
    up.is_ready();
    dir.file("go", "", 0o644);
    let ended = up.end().with_code(0);
    ended.has_in_order(&[
        "/t: ends, because its significant children have ended",
        "/t/c: stopped",
        "/t/a: stopped",
    ]);
}

#[test]
fn with_all_significant_only_the_end_of_the_last_significant_child_ends_the_tree() {
    let job = |name: &str| {
        format!(
            "[child.{name}]\nshell = \"until [ -e {name} ]; do sleep 0.02; done\"\nrestart = \"temporary\"\nsignificant = true\n"
        )
    };
    let dir = TestDir::of(&format!(
        "auto_shutdown = \"all-significant\"\n[child.a]\ncommand = \"sleep 1000\"\n{}{}",
        job("b"),
        job("c")
    ));
    let up = dir.up(&[]);
    up.is_ready();
    dir.file("b", "", 0o644);
    up.logs("/t/b: finished");
    assert!(!up.so_far(Stream::Stderr).join("\n").contains("significant"));
    dir.file("c", "", 0o644);
    up.end().with_code(0).has_in_order(&["/t/c: finished", "/t: ends, because", "/t/a: stopped"]);
}

/// Returns a tree with three children below `jobs` and one outside, which print their process ids.
fn three(strategy: &str) -> TestDir {
    let child = |name: &str| format!("[child.jobs.child.{name}]\nshell = \"echo $$; exec sleep 1000\"\n");
    TestDir::of(&format!(
        "[child.outside]\nshell = \"echo $$; exec sleep 1000\"\n[child.jobs]\nstrategy = \"{strategy}\"\n{}{}{}",
        child("a"),
        child("b"),
        child("c")
    ))
}

/// Kills `b`, and checks which of the four children get a new process.
fn restarted(strategy: &str, expected: [bool; 4]) {
    let dir = three(strategy);
    let up = dir.up(&[]);
    up.is_ready();
    let paths = ["/t/outside", "/t/jobs/a", "/t/jobs/b", "/t/jobs/c"];
    let before = paths.map(|path| up.number(path, 0));
    dir.kill(before[2]);
    for (path, again) in paths.iter().zip(expected) {
        if again {
            up.number(path, 1);
        }
    }
    let alive = dir.processes();
    for ((path, pid), again) in paths.iter().zip(before).zip(expected) {
        match again {
            true => assert!(!alive.contains(&pid), "{path} under {strategy}"),
            false => dir.has(pid),
        }
    }
    let ended = up.stop().with_code(0);
    assert_eq!(ended.stdout.len(), 4 + expected.iter().filter(|again| **again).count());
}

#[test]
fn under_rest_for_one_the_failed_child_and_those_after_it_get_new_processes() {
    restarted("rest-for-one", [false, false, true, true]);
}

#[test]
fn under_one_for_all_every_sibling_gets_a_new_process() {
    restarted("one-for-all", [false, true, true, true]);
}

#[test]
fn under_one_for_one_only_the_failed_child_gets_a_new_process() {
    restarted("one-for-one", [false, false, true, false]);
}

#[test]
fn processes_that_outlive_their_program_have_ended_before_its_next_attempt_starts() {
    let dir = TestDir::of(
        "[child.a]\ncommand = \"sh a.sh\"\nbackoff = false\nlimit = { restarts = 3, period = \"1m\" }\n",
    );
    // A dead process that is not reaped yet has no command line.
    let script = "before=$(cat pid 2>/dev/null)\n[ -z \"$(tr -d '\\0' 2>/dev/null < /proc/${before:-none}/cmdline)\" ] && echo clean\n\
                  sleep 1000 & echo $! > pid; exit 1\n";
    dir.file("a.sh", script, 0o644);
    let ended = dir.run(&[]).with_code(1);
    assert_eq!(ended.stdout, ["/t/a | clean"; 4]);
    assert_eq!(ended.stderr.iter().filter(|line| line.contains("still run; stopping them")).count(), 4);
    dir.has_no_processes_left();
}

#[test]
fn hundreds_of_restarts_leak_neither_descriptors_nor_threads_nor_zombies() {
    let dir =
        TestDir::of("[child.a]\nshell = \"echo x\"\nbackoff = false\nlimit = { restarts = \"unlimited\" }\n");
    let up = dir.up(&["--log-level", "warn"]);
    let count = |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", up.pid())).expect("/proc").count();
    up.line("/t/a", 20);
    let (descriptors, threads) = (count("fd"), count("task"));
    up.line("/t/a", 300);
    let (later, threads_later) = (count("fd"), count("task"));
    // One attempt may be in the middle of its start, with its pipes, its pidfd and the fork's error pipe.
    assert!(later <= descriptors + 10, "{descriptors} descriptors became {later}");
    assert!(threads_later <= threads + 2, "{threads} threads became {threads_later}");
    let children = children_of(up.pid());
    assert!((1..=4).contains(&children), "{children} children");
    up.stop().with_code(0);
}

/// Returns the number of child processes of a process, including zombies. One of them is always the guardian.
fn children_of(pid: u32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("/proc");
    let of_thread = |task: std::io::Result<std::fs::DirEntry>| {
        let children = std::fs::read_to_string(task.ok()?.path().join("children")).ok()?;
        Some(children.split_whitespace().count())
    };
    tasks.filter_map(of_thread).sum()
}

#[test]
fn that_a_probe_succeeds_before_the_start_is_said_once_and_not_at_each_restart() {
    let toml = "[child.a]\ncommand = \"false\"\nready = { file = \"here\" }\nbackoff = false\n\
                limit = { restarts = 3, period = \"1m\" }\n";
    let dir = TestDir::of(toml);
    dir.file("here", "", 0o644);
    let log = dir.run(&[]).with_code(1).log();
    assert_eq!(log.matches("succeeded before the program was started").count(), 1, "{log}");
}
