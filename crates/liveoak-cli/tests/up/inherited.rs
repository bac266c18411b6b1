//! What `liveoak up` inherits from the process that started it: blocked and ignored signals, descriptors, variables of other
//! tools, child processes. Also tests which of these its programs inherit.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Stream, TestDir, Up, look_for};

/// Starts `liveoak up` by a shell line, in which it is `$UP`.
fn up_by(dir: &TestDir, line: &str) -> Up {
    let inner = dir.command(&[]);
    let mut command = dir.command(&[]);
    // The same environment, but a shell instead of `liveoak`.
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(line).current_dir(dir.path());
    shell.env("UP", format!("{} up", inner.get_program().to_str().expect("a path")));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    command = shell;
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    Up::watch(command.spawn().expect("a shell"))
}

/// Runs a tree of one program that prints its environment, with these variables around. Returns the lines.
fn environment(dir: &TestDir, around: &[(&str, &str)]) -> Vec<String> {
    let output = dir.command(&[]).envs(around.iter().copied()).output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| line.strip_prefix("/t/a | ").expect("a line of the program").to_owned()).collect()
}

const PRINTS_ENVIRONMENT: &str = "[child.a]\ncommand = \"env\"\nrestart = \"temporary\"\n";

#[test]
fn signals_stop_the_tree_even_if_they_were_blocked_at_the_start() {
    for (word, signal) in [("TERM", Signal::TERM), ("INT", Signal::INT), ("HUP", Signal::HUP)] {
        let dir = TestDir::of("[child.a]\ncommand = \"sleep 1000\"\n");
        let up = up_by(&dir, "exec env --block-signal $UP");
        up.is_ready();
        up.signal(signal);
        let ended = up.end().with_code(0);
        ended.position_of(&format!("SIG{word}: stopping all children"));
    }
}

#[test]
fn a_hang_up_that_was_ignored_at_the_start_applies_nothing_and_the_log_says_so() {
    let dir = TestDir::of("[child.a]\ncommand = \"sleep 1000\"\n");
    let up = up_by(&dir, "exec env --ignore-signal=HUP $UP --reload-on-hup");
    up.logs("--reload-on-hup has no effect, because SIGHUP was ignored at the start");
    up.is_ready();
    up.signal(Signal::HUP);
    let ended = up.stop().with_code(0);
    assert!(!ended.log().contains("reading"), "{}", ended.log());
}

#[test]
fn exits_are_reported_although_sigchld_was_ignored_at_the_start() {
    let dir = TestDir::of("[child.a]\ncommand = [\"sh\", \"-c\", \"exit 7\"]\nrestart = \"temporary\"\n");
    let ended = up_by(&dir, "exec env --ignore-signal=CHLD $UP").end();
    ended.with_code(1).position_of("exit code 7");
}

#[test]
fn programs_block_and_ignore_no_signal_whatever_liveoak_was_started_with() {
    let toml =
        "[child.a]\ncommand = [\"grep\", \"^Sig[BI]\", \"/proc/self/status\"]\nrestart = \"temporary\"\n";
    let dir = TestDir::of(toml);
    let ended = up_by(&dir, "exec env --ignore-signal --block-signal $UP").end().with_code(0);
    assert_eq!(ended.stdout, ["/t/a | SigBlk:\t0000000000000000", "/t/a | SigIgn:\t0000000000000000"]);
}

#[test]
fn an_open_descriptor_is_not_passed_on() {
    let toml = "[child.a]\ncommand = \"sh -c 'ls /proc/$$/fd'\"\nrestart = \"temporary\"\n";
    let dir = TestDir::of(toml);
    let ended = up_by(&dir, "exec 3<liveoak.toml 9<liveoak.toml; exec $UP").end().with_code(0);
    assert_eq!(ended.stdout, ["/t/a | 0", "/t/a | 1", "/t/a | 2"]);
}

#[test]
fn a_program_gets_its_path_its_number_and_its_folder_as_variables() {
    let toml = "[child.web]\nshell = \"printenv PWD LIVEOAK_PATH LIVEOAK_REPLICA LIVEOAK_ATTEMPT\"\nreplicas = 2\n\
                cwd = \"data\"\nrestart = \"temporary\"\n";
    let dir = TestDir::of(toml);
    fs::create_dir(dir.at("data")).expect("a folder");
    let ended = dir.run(&[]).with_code(0);
    for number in ["1", "2"] {
        let prefix = format!("/t/web.{number} | ");
        let lines: Vec<&str> = ended.stdout.iter().filter_map(|line| line.strip_prefix(&prefix)).collect();
        let folder = dir.at("data").display().to_string();
        assert_eq!(lines, [&folder, &format!("/t/web.{number}"), number, "1"]);
    }
}

#[test]
fn variables_that_were_meant_for_liveoak_are_not_passed_on() {
    let dir = TestDir::of(PRINTS_ENVIRONMENT);
    let around = [
        ("OLDPWD", "/former"),
        ("PWD", "/elsewhere"),
        ("LISTEN_FDS", "1"),
        ("LISTEN_PID", "1"),
        ("LISTEN_FDNAMES", "web"),
        ("NOTIFY_SOCKET", "/run/systemd/notify"),
        ("WATCHDOG_USEC", "1"),
        ("WATCHDOG_PID", "1"),
        ("NODE_CHANNEL_FD", "3"),
        ("MAKEFLAGS", "w -j4 --jobserver-auth=3,4"),
        ("CARGO_MAKEFLAGS", "-j --jobserver-fds=3,4 --jobserver-auth=3,4"),
        ("MFLAGS", "-j4 --jobserver-auth=fifo:/tmp/fifo"),
        ("KEPT", "yes"),
    ];
    let lines = environment(&dir, &around);
    let value = |name: &str| lines.iter().find_map(|line| line.strip_prefix(&format!("{name}=")));
    assert_eq!(value("PWD"), dir.path().to_str());
    assert_eq!((value("KEPT"), value("MAKEFLAGS")), (Some("yes"), Some("w")));
    assert_eq!(value("MFLAGS"), Some("-j4 --jobserver-auth=fifo:/tmp/fifo"));
    for (name, _) in around {
        let kept = ["PWD", "KEPT", "MAKEFLAGS", "MFLAGS"].contains(&name);
        assert_eq!(value(name).is_some(), kept, "{name}");
    }
}

#[test]
fn a_variable_in_env_is_passed_on_even_if_an_inherited_one_of_the_same_name_is_not() {
    let dir =
        TestDir::of(&format!("{PRINTS_ENVIRONMENT}env = {{ NOTIFY_SOCKET = \"mine\", PWD = \"/mine\" }}\n"));
    let lines = environment(&dir, &[("NOTIFY_SOCKET", "theirs")]);
    assert!(lines.contains(&"NOTIFY_SOCKET=mine".to_owned()) && lines.contains(&"PWD=/mine".to_owned()));
}

#[test]
fn programs_of_a_nested_liveoak_get_the_path_in_the_inner_tree() {
    let dir = TestDir::of(
        // The same file runs twice, which only trees without a control socket may.
        "[child.outer]\nshell = \"exec $UP inner.toml --no-control 2>/dev/null\"\nrestart = \"temporary\"\nreplicas = 2\n",
    );
    let inner = "name = \"inner\"\n[child.a]\nshell = \"echo $LIVEOAK_PATH $LIVEOAK_REPLICA $LIVEOAK_ATTEMPT\"\nrestart = \"temporary\"\n";
    dir.file("inner.toml", inner, 0o644);
    let ended = up_by(&dir, "exec $UP").end().with_code(0);
    let mut lines = ended.stdout;
    lines.sort();
    let line = |number| format!("/t/outer.{number} | /inner/a | /inner/a 1 1");
    assert_eq!(lines, [line(1), line(2)]);
}

#[test]
fn a_probe_command_has_the_variables_and_the_folder_of_its_program() {
    let dir = TestDir::of(
        "[child.a]\ncommand = \"server\"\ncwd = \"data\"\nenv = { PATH = \"../bin:/usr/bin:/bin\", A = \"1\" }\nenv_file = \".env\"\n\
         ready = { command = \"is-up\" }\n",
    );
    fs::create_dir_all(dir.at("bin")).expect("a folder");
    fs::create_dir_all(dir.at("data")).expect("a folder");
    dir.file(".env", "B=2\n", 0o644);
    dir.file("bin/server", "#!/bin/sh\nexec sleep 1000\n", 0o755);
    dir.file("bin/is-up", "#!/bin/sh\necho $A $B $PWD $LIVEOAK_PATH >asked\n", 0o755);
    let up = dir.up(&[]);
    up.is_ready();
    up.stop().with_code(0);
    let asked = fs::read_to_string(dir.at("data/asked")).expect("the probe has run");
    assert_eq!(asked, format!("1 2 {} /t/a\n", dir.at("data").display()));
}

#[test]
fn each_replica_has_its_number_in_its_command_variables_folder_and_probe() {
    let dir = TestDir::of(
        "[child.web]\ncommand = ['sh', '-c', 'echo $0 $NAME $PWD; echo up > is-up-{replica}; exec sleep 1000', 'no-{replica}']\n\
         env = { NAME = \"web-{replica} {{replica}} {x}\" }\ncwd = \"data{replica}\"\nreplicas = 2\n\
         ready = { file = \"is-up-{replica}\" }\n",
    );
    fs::create_dir(dir.at("data1")).expect("a folder");
    fs::create_dir(dir.at("data2")).expect("a folder");
    let up = dir.up(&[]);
    up.is_ready();
    for number in ["1", "2"] {
        let folder = dir.at(&format!("data{number}")).display().to_string();
        let expected = format!("no-{number} web-{number} {{replica}} {{x}} {folder}");
        assert_eq!(up.line(&format!("/t/web.{number}"), 0), expected);
    }
    up.stop().with_code(0);
}

#[test]
fn sigquit_prints_the_state_of_every_child_and_the_tree_continues_to_run() {
    let toml = "[child.a]\ncommand = \"sleep 1000\"\n[child.b]\nshell = \"echo up; exec sleep 1000\"\n\
                ready = { file = \"never\", within = \"1h\" }\n[child.c]\ncommand = \"sleep 1000\"\n";
    let dir = TestDir::of(toml);
    let up = dir.up(&[]);
    assert_eq!(up.line("/t/b", 0), "up");
    up.signal(Signal::QUIT);
    up.logs("/t is starting: 3 children");
    let row = |path: &str, state: &str, about: &str| {
        up.until(Stream::Stderr, path, |lines| {
            let of_path = |line: &&String| line.trim_start().starts_with(&format!("{path} "));
            lines.iter().filter(of_path).find(|line| line.contains(state) && line.contains(about)).cloned()
        });
    };
    row("/t/a", "running", "");
    row("/t/b", "starting", &format!("waits for {} to exist (for at most", dir.at("never").display()));
    row("/t/c", "waiting", "waits for /t/b to be ready");
    dir.file("never", "", 0o644);
    up.is_ready();
    up.signal(Signal::QUIT);
    up.logs("/t is running: 3 children");
    up.stop().with_code(0);
}

#[test]
fn with_a_json_log_sigquit_prints_one_json_object() {
    let dir = TestDir::of(
        "[child.a]\nshell = \"echo up; exec sleep 1000\"\nready = { file = \"never\", within = \"1h\" }\n",
    );
    let up = dir.up(&["--log-format", "json"]);
    assert_eq!(up.line("/t/a", 0), "up");
    up.signal(Signal::QUIT);
    let line = up.until(Stream::Stderr, "tree-state", |lines| {
        lines.iter().find(|line| line.contains("tree-state")).cloned()
    });
    let state: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (&state["event"], &state["tree"], &state["state"]),
        (&"tree-state".into(), &"/t".into(), &"starting".into())
    );
    let [root, child] = &state["children"].as_array().expect("an array")[..] else { panic!("{state}") };
    assert_eq!((&root["path"], &root["kind"]), (&"/t".into(), &"supervisor".into()));
    assert_eq!(
        (&child["path"], &child["kind"], &child["attempt"]),
        (&"/t/a".into(), &"program".into(), &1.into())
    );
    assert_eq!((&child["state"], &child["ready"]), (&"starting".into(), &false.into()));
    assert_eq!((&child["restarts"], &child["last_exit"]), (&0.into(), &Value::Null));
    let state_s = child["state_s"].as_f64().expect("a number");
    assert!(
        (0.0..3600.0 - child["remaining_s"].as_f64().expect("a number") + 0.1).contains(&state_s),
        "{child}"
    );
    assert!(child["waiting_for"].as_str().expect("text").ends_with("never to exist"), "{child}");
    assert!(child["remaining_s"].as_f64().expect("a number") > 3000.0, "{child}");
    assert!(child["since"].as_str().expect("text").ends_with('Z'), "{child}");
    up.stop().with_code(0);
}

#[test]
fn the_state_that_sigquit_asks_for_has_the_title_of_each_child() {
    let toml =
        "[child.a]\ncommand = \"sleep 1000\"\ntitle = \"Orders API\"\n[child.b]\ncommand = \"sleep 1000\"\n";
    let dir = TestDir::of(toml);
    let up = dir.up(&[]);
    up.is_ready();
    up.signal(Signal::QUIT);
    up.until(Stream::Stderr, "the title", |lines| {
        lines
            .iter()
            .find(|line| line.trim_start().starts_with("/t/a ") && line.contains("\"Orders API\""))
            .cloned()
    });
    up.stop().with_code(0);
    let up = dir.up(&["--log-format", "json"]);
    up.is_ready();
    up.signal(Signal::QUIT);
    let line = up.until(Stream::Stderr, "tree-state", |lines| {
        lines.iter().find(|line| line.contains("tree-state")).cloned()
    });
    let state: Value = serde_json::from_str(&line).expect("JSON");
    let titles: Vec<&Value> =
        state["children"].as_array().expect("an array").iter().map(|child| &child["title"]).collect();
    assert_eq!(titles, [&Value::Null, &"Orders API".into(), &Value::Null]);
    up.stop().with_code(0);
}

#[test]
fn liveoak_answers_sigquit_even_if_a_script_runs_it_in_the_background() {
    let dir = TestDir::of("[child.a]\ncommand = \"sleep 1000\"\n");
    // A shell without job control ignores SIGINT and SIGQUIT in such a command.
    let up = up_by(&dir, "exec env --ignore-signal=INT,QUIT $UP");
    up.is_ready();
    up.signal(Signal::QUIT);
    up.logs("/t is running: 1 child");
    up.stop().with_code(0);
}

#[test]
fn sigusr1_changes_nothing() {
    let dir = TestDir::of("[child.a]\ncommand = \"sleep 1000\"\n");
    let up = dir.up(&[]);
    up.is_ready();
    up.signal(Signal::USR1);
    // The signals are taken in the order of their numbers or later, so the state comes after SIGUSR1 was taken.
    up.signal(Signal::QUIT);
    up.logs("/t is running");
    // An answer to this signal would be a second one, since the first is written.
    up.signal(Signal::USR1);
    let ended = up.stop().with_code(0);
    assert_eq!(ended.log().matches(": 1 child").count(), 1, "only SIGQUIT is answered");
    assert_eq!(ended.log().matches("stopping all children").count(), 1, "SIGUSR1 asks for no stop");
    ended.has_in_order(&["/t is running", "SIGTERM: stopping all children"]);
}

/// Returns the zombies whose parent is the process.
fn zombies_of(parent: u32) -> usize {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let is_zombie = |stat: &String| {
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest.trim_start());
        after_name.starts_with(&format!("Z {parent} "))
    };
    stats.filter(is_zombie).count()
}

#[test]
fn liveoak_reaps_child_processes_that_it_did_not_start() {
    let dir = TestDir::of("[child.a]\ncommand = \"sleep 1000\"\n");
    // Its parent becomes liveoak by exec. It ends when the tree is ready.
    let up = up_by(&dir, "mkfifo gate; read line <gate & exec $UP");
    up.is_ready();
    let pid = up.pid();
    fs::write(dir.at("gate"), "open\n").expect("a reader");
    look_for("end and reaping of the former child", || {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        // The guardian and the program.
        (zombies_of(pid) == 0 && children.split_whitespace().count() <= 2).then_some(())
    });
    up.stop().with_code(0);
}

#[test]
fn as_process_1_liveoak_reaps_the_orphans_of_its_programs() {
    let unshare = ["unshare", "-Urpf", "--mount-proc"];
    let possible = Command::new(unshare[0]).args(&unshare[1..]).arg("true").status();
    if !possible.is_ok_and(|status| status.success()) {
        // This cannot be tested in a sandbox without namespaces.
        return;
    }
    // The leader of the second program is dead and not reaped, because a process of its group ignores the stop signal. The
    // system then reports only that one.
    let dir = TestDir::of(
        "[child.dead]\nshell = \"(trap '' TERM; while :; do sleep 0.05; done) & exit 0\"\nrestart = \"temporary\"\n\
         stop = { within = \"1h\" }\n\
         [child.orphans]\nshell = \"i=0; while [ $i -lt 9 ]; do (setsid true &); i=$((i+1)); done; echo made; exec sleep 1000\"\n\
         ready = { log = \"made\" }\n\
         [child.look]\nshell = \"while [ $(cat /proc/[0-9]*/stat 2>/dev/null | grep -c '(true) Z') -gt 0 ]; do sleep 0.05; done; echo clean; exec sleep 1000\"\n",
    );
    let up = up_by(&dir, "exec unshare -Urpf --kill-child --mount-proc $UP");
    assert_eq!(up.line("/t/look", 0), "clean");
    drop(up);
}
