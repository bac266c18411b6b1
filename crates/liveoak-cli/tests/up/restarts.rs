//! Who is started again, after what, with whom, and when it is given up.

use crate::support::{Of, Place};

#[test]
fn a_quarantined_child_stays_down_and_its_siblings_go_on() {
    let place = Place::of(
        "[child.good]\nshell = \"echo $$; exec sleep 1000\"\n\
         [child.bad]\nshell = \"exit 9\"\nbackoff = false\n\
         limit = { restarts = 2, period = \"1m\", give_up = \"quarantine\" }\n",
    );
    let up = place.up(&["--report", "report.json"]);
    up.logs("/t/bad: quarantined: gave up on /t/bad");
    let good = up.number("/t/good", 0);
    place.has(good);
    let ended = up.stop().with_code(0);
    assert_eq!(ended.stdout.len(), 1, "the sibling was started once");
    assert_eq!(ended.stderr.iter().filter(|line| line.contains("/t/bad: exit code 9, after")).count(), 3);
    ended.has_in_order(&["/t: stopped as asked", "  /t/bad  quarantined  exit code 9", "  /t/good  asked"]);
    assert_eq!(place.report()["ended_earlier"][0]["state"], "quarantined");
}

#[test]
fn a_transient_child_comes_back_after_a_failure_only_and_a_temporary_one_never() {
    let place = Place::of(
        "[child.transient]\nshell = \"echo run >> runs; [ $(wc -l < runs) -ge 3 ]\"\nrestart = \"transient\"\nbackoff = false\n\
         [child.temporary]\nshell = \"echo run; exit 3\"\nrestart = \"temporary\"\nsuccess = [0, 3]\n",
    );
    let ended = place.run(&[]).with_code(0);
    assert_eq!(std::fs::read_to_string(place.at("runs")).expect("runs"), "run\n".repeat(3));
    assert_eq!(ended.stdout, ["/t/temporary | run"]);
    assert_eq!(ended.stderr.iter().filter(|line| line.contains("/t/transient: exit code 1")).count(), 2);
}

#[test]
fn exit_codes_that_count_as_success_are_no_failures() {
    let place = Place::of("[child.a]\nshell = \"exit 3\"\nrestart = \"transient\"\nsuccess = [0, 3]\n");
    let ended = place.run(&[]).with_code(0);
    assert!(!ended.log().contains("WARN"), "{}", ended.log());
}

#[test]
fn a_permanent_child_that_succeeds_comes_back_after_a_growing_delay() {
    let place = Place::of("[child.a]\nshell = \"echo run\"\nbackoff = { from = \"20ms\", to = \"40ms\" }\n");
    let up = place.up(&[]);
    up.line("/t/a", 3);
    let ended = up.stop().with_code(0);
    assert!(ended.stderr.iter().filter(|line| line.contains("/t/a: restarts in ")).count() >= 3);
}

#[test]
fn the_end_of_any_significant_child_ends_the_tree() {
    let place = Place::of(
        "auto_shutdown = \"any-significant\"\n[child.a]\ncommand = \"sleep 1000\"\n\
         [child.b]\nshell = \"until [ -e go ]; do sleep 0.02; done\"\nrestart = \"transient\"\nsignificant = true\n\
         [child.c]\ncommand = \"sleep 1000\"\nrestart = \"transient\"\nsignificant = true\n",
    );
    let up = place.up(&[]);
    up.is_ready();
    place.file("go", "", 0o644);
    let ended = up.end().with_code(0);
    ended.has_in_order(&[
        "/t: ends, because its significant children have ended",
        "/t/c: stopped",
        "/t/a: stopped",
    ]);
}

#[test]
fn the_end_of_all_significant_children_ends_the_tree_and_not_that_of_one() {
    let job = |name: &str| {
        format!(
            "[child.{name}]\nshell = \"until [ -e {name} ]; do sleep 0.02; done\"\nrestart = \"temporary\"\nsignificant = true\n"
        )
    };
    let place = Place::of(&format!(
        "auto_shutdown = \"all-significant\"\n[child.a]\ncommand = \"sleep 1000\"\n{}{}",
        job("b"),
        job("c")
    ));
    let up = place.up(&[]);
    up.is_ready();
    place.file("b", "", 0o644);
    up.logs("/t/b: finished");
    assert!(!up.so_far(Of::Stderr).join("\n").contains("significant"));
    place.file("c", "", 0o644);
    up.end().with_code(0).has_in_order(&["/t/c: finished", "/t: ends, because", "/t/a: stopped"]);
}

/// Three children below `jobs` that tell their process id.
fn three(strategy: &str) -> Place {
    let child = |name: &str| format!("[child.jobs.child.{name}]\nshell = \"echo $$; exec sleep 1000\"\n");
    Place::of(&format!(
        "[child.outside]\nshell = \"echo $$; exec sleep 1000\"\n[child.jobs]\nstrategy = \"{strategy}\"\n{}{}{}",
        child("a"),
        child("b"),
        child("c")
    ))
}

/// Kills `b`, and says which of the four have got a new process.
fn restarted(strategy: &str, expected: [bool; 4]) {
    let place = three(strategy);
    let up = place.up(&[]);
    up.is_ready();
    let paths = ["/t/outside", "/t/jobs/a", "/t/jobs/b", "/t/jobs/c"];
    let before = paths.map(|path| up.number(path, 0));
    place.kill(before[2]);
    for (path, again) in paths.iter().zip(expected) {
        if again {
            up.number(path, 1);
        }
    }
    let alive = place.processes();
    for ((path, pid), again) in paths.iter().zip(before).zip(expected) {
        match again {
            true => assert!(!alive.contains(&pid), "{path} under {strategy}"),
            false => place.has(pid),
        }
    }
    let ended = up.stop().with_code(0);
    assert_eq!(ended.stdout.len(), 4 + expected.iter().filter(|again| **again).count());
}

#[test]
fn under_rest_for_one_those_behind_the_failed_child_get_new_processes() {
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
fn what_a_program_leaves_behind_is_gone_before_its_next_attempt_starts() {
    let place = Place::of(
        "[child.a]\ncommand = \"sh a.sh\"\nbackoff = false\nlimit = { restarts = 3, period = \"1m\" }\n",
    );
    // A dead process that nobody has reaped yet has no command line.
    let script = "before=$(cat pid 2>/dev/null)\n[ -z \"$(tr -d '\\0' 2>/dev/null < /proc/${before:-none}/cmdline)\" ] && echo clean\n\
                  sleep 1000 & echo $! > pid; exit 1\n";
    place.file("a.sh", script, 0o644);
    let ended = place.run(&[]).with_code(1);
    assert_eq!(ended.stdout, ["/t/a | clean"; 4]);
    assert_eq!(ended.stderr.iter().filter(|line| line.contains("still run; stopping them")).count(), 4);
    place.is_left_empty();
}

#[test]
fn hundreds_of_restarts_leak_neither_descriptors_nor_threads_nor_zombies() {
    let place =
        Place::of("[child.a]\nshell = \"echo x\"\nbackoff = false\nlimit = { restarts = \"unlimited\" }\n");
    let up = place.up(&["--log-level", "warn"]);
    let count = |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", up.pid())).expect("/proc").count();
    up.line("/t/a", 20);
    let (descriptors, threads) = (count("fd"), count("task"));
    up.line("/t/a", 300);
    let (later, threads_later) = (count("fd"), count("task"));
    // One attempt may be anywhere between nothing and fully started: pipes, pidfds, the fork's error pipe.
    assert!(later <= descriptors + 10, "{descriptors} descriptors became {later}");
    assert!(threads_later <= threads + 2, "{threads} threads became {threads_later}");
    let children = children_of(up.pid());
    assert!((1..=4).contains(&children), "{children} children");
    up.stop().with_code(0);
}

/// The children of a process, dead ones that nobody has reaped included; its guardian is always one.
fn children_of(pid: u32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("/proc");
    let of_thread = |task: std::io::Result<std::fs::DirEntry>| {
        let children = std::fs::read_to_string(task.ok()?.path().join("children")).ok()?;
        Some(children.split_whitespace().count())
    };
    tasks.filter_map(of_thread).sum()
}
