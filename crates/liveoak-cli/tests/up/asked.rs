//! Which processes are asked to stop, programs that cannot be killed, and programs that are suspended.

use crate::support::{Stream, TestDir, Up, look_for};
use rustix::process::{Signal, geteuid};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

/// A master that waits for the job of its worker when it is asked to stop. The worker prints whether it got the signal too.
const MASTER: &str = "sh worker.sh & worker=$!\n\
                      trap 'echo master asked; echo > go; wait $worker; echo worker $?; exit 0' TERM\n\
                      wait $worker\nwait $worker\n";
const WORKER: &str = "trap 'echo worker asked' TERM\necho up\nuntil [ -e go ]; do sleep 0.02; done\nexit 7\n";

fn master(ask: &str) -> TestDir {
    let dir =
        TestDir::of(&format!("[child.a]\ncommand = [\"sh\", \"a.sh\"]\nstop = {{ {ask}within = \"1m\" }}\n"));
    dir.file("a.sh", MASTER, 0o644);
    dir.file("worker.sh", WORKER, 0o644);
    dir
}

#[test]
fn with_ask_leader_only_the_program_itself_gets_the_stop_signal() {
    let dir = master("ask = \"leader\", ");
    let up = dir.up(&[]);
    up.line("/t/a", 0);
    let ended = up.stop().with_code(0);
    assert_eq!(ended.stdout, ["/t/a | up", "/t/a | master asked", "/t/a | worker 7"]);
}

#[test]
fn by_default_every_process_of_the_group_gets_the_stop_signal() {
    for ask in ["", "ask = \"group\", "] {
        let dir = master(ask);
        let up = dir.up(&[]);
        up.line("/t/a", 0);
        let ended = up.stop().with_code(0);
        assert!(ended.stdout.contains(&"/t/a | worker asked".to_owned()), "{:?}", ended.stdout);
    }
}

#[test]
fn with_ask_leader_the_rest_of_the_group_is_asked_when_the_leader_is_gone() {
    let dir = TestDir::of(
        "[child.a]\ncommand = [\"sh\", \"a.sh\"]\nstop = { ask = \"leader\", within = \"1m\" }\n",
    );
    dir.file("a.sh", "sh rest.sh &\ntrap 'echo leader asked; exit 0' TERM\nwait; wait\n", 0o644);
    dir.file(
        "rest.sh",
        "trap 'echo rest asked; exit 0' TERM\necho up\nwhile :; do sleep 0.02; done\n",
        0o644,
    );
    let up = dir.up(&[]);
    up.line("/t/a", 0);
    let ended = up.stop().with_code(0);
    // A shell may report that the signal ended its `sleep`.
    let lines: Vec<&String> = ended.stdout.iter().filter(|line| !line.contains("Terminated")).collect();
    assert_eq!(lines, ["/t/a | up", "/t/a | leader asked", "/t/a | rest asked"]);
}

#[test]
fn with_ask_leader_remaining_processes_that_ignore_the_signal_are_killed_when_within_is_over() {
    let dir = TestDir::of(
        "[child.a]\ncommand = [\"sh\", \"a.sh\"]\nstop = { ask = \"leader\", within = \"500ms\" }\n",
    );
    dir.file("a.sh", "sh rest.sh &\ntrap 'echo leader asked; exit 0' TERM\nwait; wait\n", 0o644);
    dir.file("rest.sh", "trap '' TERM\necho up\nwhile :; do sleep 0.02; done\n", 0o644);
    let up = dir.up(&[]);
    up.line("/t/a", 0);
    up.stop().with_code(3).has_in_order(&["  /t/a  killed  "]);
}

#[test]
fn a_shell_that_alone_would_get_the_stop_signal_is_a_warning_unless_its_script_execs() {
    for (script, warned) in [("sleep 1000; :", true), ("exec sleep 1000", false)] {
        let dir = TestDir::of(&format!("[child.a]\nshell = \"{script}\"\nstop = {{ ask = \"leader\" }}\n"));
        let up = dir.up(&[]);
        up.is_ready();
        up.signal(Signal::INT);
        look_for("end of the shell", || {
            // The program that the shell has started does not get the signal.
            dir.running("sleep").into_iter().for_each(|pid| dir.kill_if_alive(pid));
            dir.running("sleep").is_empty().then_some(())
        });
        let log = up.end().log();
        assert_eq!(log.contains("only the shell is asked to stop"), warned, "{log}");
    }
}

/// Starts `liveoak up` as an ordinary user in a folder with a program that becomes root. Returns `None` if this test does
/// not run as root, because only root can make such a program.
fn as_ordinary_user(dir: &TestDir) -> Option<Up> {
    const NOBODY: u32 = 65_534;
    let setpriv = Path::new("/usr/bin/setpriv");
    if !geteuid().is_root() || !setpriv.exists() {
        return None;
    }
    dir.file("became-root", fs::read(setpriv).expect("a program"), 0o4755);
    dir.file("liveoak", fs::read(env!("CARGO_BIN_EXE_liveoak")).expect("a program"), 0o755);
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .expect("permissions");
    let mut command = dir.command(&["--report", "report.json"]);
    let mut ordinary = std::process::Command::new(dir.at("liveoak"));
    ordinary.args(command.get_args()).current_dir(dir.path());
    for (name, value) in command.get_envs() {
        ordinary.env(name, value.unwrap_or_default());
    }
    ordinary.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    ordinary.stderr(std::process::Stdio::piped()).uid(NOBODY).gid(NOBODY);
    command.env_clear();
    Some(Up::watch(ordinary.spawn().expect("the program starts")))
}

const BECOMES_ROOT: &str = "command = [\"./became-root\", \"--reuid=0\", \"sh\", \"-c\", \"echo $$; exec sleep 1000\"]\n\
                            stop = { within = \"200ms\" }\n";

#[test]
fn a_program_that_the_system_refuses_to_kill_is_reported_as_abandoned_with_its_pid() {
    let dir = TestDir::of(&format!("[child.a]\n{BECOMES_ROOT}"));
    let Some(up) = as_ordinary_user(&dir) else { return };
    let pid = up.number("/t/a", 0);
    let ended = up.stop().with_code(3);
    dir.has(pid);
    let refused = format!("the system refused to kill process {pid}: Operation not permitted");
    ended.has_in_order(&["refused to send the stop signal", "1 was abandoned and still runs", &refused]);
    assert!(
        !ended.log().contains("/t/a: kill") && ended.log().contains("none was killed"),
        "{}",
        ended.log()
    );
    let report = dir.report();
    let child = &report["children"][0];
    assert_eq!((&child["stage"], &child["exit"]["kind"]), (&"abandoned".into(), &"abandoned".into()));
    assert!(child["exit"]["text"].as_str().is_some_and(|text| text.contains(&refused)), "{report}");
    assert_eq!(report["clean"], false);
    dir.kill(pid);
}

#[test]
fn no_new_attempt_starts_while_a_process_of_the_last_one_is_alive_and_one_starts_when_it_is_gone() {
    let dir = TestDir::of(&format!(
        "strategy = \"one-for-all\"\n[child.a]\n{BECOMES_ROOT}[child.b]\n\
         shell = \"echo up; test -e again && exec sleep 1000; touch again; until [ -e go ]; do sleep 0.02; done; exit 1\"\n"
    ));
    let Some(up) = as_ordinary_user(&dir) else { return };
    let pid = up.number("/t/a", 0);
    up.line("/t/b", 0);
    dir.file("go", "", 0o644);
    up.line("/t/b", 1);
    up.logs("/t/a: quarantined until its processes are gone");
    dir.has(pid);
    let seconds = |lines: &[String]| lines.iter().filter(|line| line.starts_with("/t/a |")).count();
    assert_eq!(seconds(&up.so_far(Stream::Stdout)), 1, "one copy");
    dir.kill(pid);
    let second = up.number("/t/a", 1);
    let ended = up.stop().with_code(3);
    ended.has_in_order(&[&format!("the system refused to kill process {second}")]);
    dir.kill(second);
}

#[test]
fn a_process_that_the_system_refuses_to_kill_is_found_even_if_the_rest_of_its_group_was_killed() {
    let dir = TestDir::of("[child.a]\ncommand = [\"sh\", \"a.sh\"]\nstop = { within = \"200ms\" }\n");
    dir.file(
        "a.sh",
        "trap '' TERM\n./became-root --reuid=0 sh -c 'trap \"\" TERM; echo $$; exec sleep 1000' &\nwhile :; do sleep 0.02; done\n",
        0o644,
    );
    let Some(up) = as_ordinary_user(&dir) else { return };
    let pid = up.number("/t/a", 0);
    let ended = up.stop().with_code(3);
    ended.has_in_order(&[&format!("the system refused to kill process {pid}"), "1 was abandoned"]);
    assert!(!ended.log().contains("/t/a: killed"), "{}", ended.log());
    dir.has(pid);
    dir.kill(pid);
}

#[test]
fn a_program_that_is_suspended_is_reported_and_is_unhealthy_until_it_is_continued() {
    let dir = TestDir::of("[child.a]\nshell = \"echo $$; exec sleep 1000\"\n");
    for signal in [Signal::STOP, Signal::TSTP, Signal::TTIN, Signal::TTOU] {
        let up = dir.up(&[]);
        let pid = up.number("/t/a", 0);
        up.is_ready();
        dir.send(pid, signal);
        up.logs(&format!("/t/a: process {pid} was suspended by SIG"));
        up.logs("/t/a: unhealthy");
        dir.send(pid, Signal::CONT);
        up.logs(&format!("/t/a: process {pid} was continued"));
        up.logs("/t/a: running");
        up.stop().with_code(0);
    }
}

#[test]
fn a_program_that_is_suspended_before_it_is_ready_does_not_become_ready() {
    let dir = TestDir::of(
        "order = \"edges\"\n[child.a]\nshell = \"echo $$; kill -STOP $$; exec sleep 1000\"\nready = { file = \"ready\" }\n\
         [child.b]\nshell = \"exec sleep 1000\"\nready = { file = \"ready\" }\n",
    );
    let up = dir.up(&[]);
    let pid = up.number("/t/a", 0);
    up.logs("was suspended by SIGSTOP");
    dir.file("ready", "", 0o644);
    // The probe of the other child asks for the same file.
    up.logs("/t/b: ready after");
    dir.send(pid, Signal::CONT);
    up.is_ready();
    up.stop().with_code(0).has_in_order(&["/t/b: ready after", "was continued", "/t/a: ready after"]);
}

#[test]
fn a_suspended_program_can_be_stopped_and_the_error_of_its_late_start_names_the_suspension() {
    let dir = TestDir::of(
        "[child.a]\nshell = \"kill -STOP $$; exec sleep 1000\"\nready = { file = \"never\", within = \"1s\" }\n",
    );
    let ended = dir.up(&["--for", "3s"]).end();
    ended.position_of("was stopped before it was ready: it is suspended by SIGSTOP");
    let dir =
        TestDir::of("[child.a]\nshell = \"kill -STOP $$; exec sleep 1000\"\nstop = { within = \"1m\" }\n");
    let up = dir.up(&[]);
    up.logs("was suspended by SIGSTOP");
    up.stop().with_code(0);
}
