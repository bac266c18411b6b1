//! The terminal and the standard input of programs, as a user at a keyboard sees them.

use std::io::Write as _;
use std::process::{ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Stream, TestDir, Up};

/// A shell script in a terminal of its own. What the terminal shows is its stdout.
struct Terminal {
    up: Up,
    keys: ChildStdin,
}

/// `liveoak up` in the foreground of the terminal, as the leader of its session.
const IN_THE_FOREGROUND: &str = "exec \"$LIVEOAK\" up";

impl Terminal {
    fn open(dir: &TestDir, script: &str) -> Terminal {
        let template = dir.command(&[]);
        let mut command = Command::new("script");
        command.args(["--quiet", "--flush", "--return", "--command", script, "/dev/null"]);
        command
            .current_dir(dir.path())
            .envs(template.get_envs().filter_map(|(key, value)| Some((key, value?))));
        command.env("LIVEOAK", env!("CARGO_BIN_EXE_liveoak")).env("NO_COLOR", "1").env("SHELL", "/bin/sh");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("`script` of util-linux");
        let keys = child.stdin.take().expect("a pipe");
        Terminal { up: Up::watch(child), keys }
    }

    /// Waits for a line that contains `text`.
    #[track_caller]
    fn shows(&self, text: &str) {
        self.up
            .until(Stream::Stdout, text, |lines| lines.iter().any(|line| line.contains(text)).then_some(()));
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal is open");
    }
}

const CTRL_C: &str = "\u{3}";

#[test]
fn a_program_that_asks_the_terminal_for_input_gets_an_error_instead_of_being_suspended() {
    let dir = TestDir::of(
        "[child.asks]\nshell = \"stty -echo < /dev/tty; echo asked, $?\"\nrestart = \"temporary\"\n\
         [child.other]\ncommand = \"sleep 1000\"\n",
    );
    let mut terminal = Terminal::open(&dir, IN_THE_FOREGROUND);
    terminal.shows("/dev/tty");
    terminal.shows("asked, ");
    terminal.types(CTRL_C);
    terminal.shows("SIGINT: stopping all children");
    terminal.up.end().with_code(0);
}

#[test]
fn a_program_has_no_terminal_but_stays_in_the_session_and_liveoak_keeps_its_terminal() {
    let dir = TestDir::of(
        "[child.a]\nshell = 'read -r pid name state parent group session tty rest < /proc/$$/stat; echo tty $tty session $session'\n\
         restart = \"temporary\"\n[child.b]\ncommand = \"sleep 1000\"\n",
    );
    let terminal = Terminal::open(&dir, IN_THE_FOREGROUND);
    terminal.shows("tty 0 session ");
    let liveoak = dir.running("liveoak")[0];
    terminal.shows(&format!("tty 0 session {liveoak}"));
    let own = std::fs::read_to_string(format!("/proc/{liveoak}/stat")).expect("it runs");
    assert_ne!(own.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(4)), Some("0"), "{own}");
    drop(terminal);
    dir.has_no_processes_left();
}

#[test]
fn a_program_with_stdin_inherit_reads_what_is_typed_and_ctrl_c_stays_with_liveoak() {
    let dir = TestDir::of(
        "[child.a]\nshell = \"echo go; read -r line; echo got $line; exec sleep 1000\"\nstdin = \"inherit\"\n",
    );
    let mut terminal = Terminal::open(&dir, IN_THE_FOREGROUND);
    terminal.shows("go");
    terminal.types("some words\n");
    terminal.shows("got some words");
    terminal.types(CTRL_C);
    terminal.shows("SIGINT: stopping all children");
    terminal.up.end().with_code(0);
}

#[test]
fn the_terminal_has_its_settings_again_after_a_program_with_stdin_inherit_has_changed_them() {
    let dir = TestDir::of(
        "[child.a]\nshell = \"stty raw -echo; echo raw; exec sleep 1000\"\nstdin = \"inherit\"\n",
    );
    let terminal = Terminal::open(&dir, "stty -g > before; \"$LIVEOAK\" up; stty -g > after");
    terminal.shows("raw");
    // Ctrl-C would be one of the keys that the program reads.
    let liveoak = i32::try_from(dir.running("liveoak")[0]).ok().and_then(Pid::from_raw);
    kill_process(liveoak.expect("a process id"), Signal::TERM).expect("it runs");
    terminal.up.end().with_code(0);
    let settings = |file| std::fs::read_to_string(dir.path().join(file)).expect("stty has written it");
    assert_eq!(settings("after"), settings("before"));
}

#[test]
fn stdin_inherit_is_refused_while_liveoak_is_not_in_the_foreground_of_the_terminal() {
    let dir =
        TestDir::of("[child.a]\ncommand = \"touch ran\"\nstdin = \"inherit\"\nrestart = \"temporary\"\n");
    let script = "set -m; \"$LIVEOAK\" up & wait $!; echo code $?";
    let terminal = Terminal::open(&dir, script);
    terminal.shows("code 2");
    terminal.shows("cannot give the terminal to /t/a (stdin = \"inherit\")");
    terminal.up.end().with_code(0);
    assert!(!dir.exists("ran"));
}

#[test]
fn with_stdin_inherit_a_program_gets_a_pipe_even_if_liveoak_runs_in_the_background() {
    let dir = TestDir::of("[child.a]\ncommand = \"cat\"\nstdin = \"inherit\"\nrestart = \"temporary\"\n");
    let mut liveoak = dir.command(&[]).stdin(Stdio::piped()).spawn().expect("it starts");
    liveoak.stdin.take().expect("a pipe").write_all(b"through liveoak\n").expect("written");
    let up = Up::watch(liveoak);
    assert_eq!(up.end().with_code(0).stdout, ["/t/a | through liveoak"]);
}

#[test]
fn an_open_stdin_never_ends_and_an_empty_one_ends_at_once() {
    let dir = TestDir::of(
        "[child.open]\nshell = \"timeout 0.2 cat; echo $?; readlink /proc/self/fd/0 | cut -d : -f 1\"\n\
         stdin = \"open\"\nrestart = \"temporary\"\n\
         [child.empty]\nshell = \"timeout 20 cat; echo $?\"\nstdin = \"null\"\nrestart = \"temporary\"\n\
         [child.keeps]\ncommand = \"cat\"\nstdin = \"open\"\n",
    );
    let up = dir.up(&[]);
    assert_eq!((up.line("/t/open", 0), up.line("/t/open", 1)), ("124".to_owned(), "pipe".to_owned()));
    assert_eq!(up.line("/t/empty", 0), "0");
    up.is_ready();
    let ended = up.stop().with_code(0);
    assert!(!ended.log().contains("/t/keeps: restart"), "{}", ended.log());
}

#[test]
fn a_permanent_program_that_succeeds_immediately_several_times_in_a_row_gets_one_hint() {
    let dir = TestDir::of(
        "[child.a]\nshell = \"echo run; [ $(wc -l < count) -ge 6 ] && exec sleep 1000; echo >> count\"\n\
         backoff = false\nlimit = { restarts = \"unlimited\" }\n",
    );
    dir.file("count", "", 0o644);
    let up = dir.up(&[]);
    up.line("/t/a", 6);
    let ended = up.stop().with_code(0);
    let hints: Vec<_> = ended.stderr.iter().filter(|line| line.contains("times in a row")).collect();
    let [hint] = hints[..] else { panic!("{}", ended.log()) };
    for advice in ["restart = \"transient\"", "stdin = \"open\"", "in the foreground"] {
        assert!(hint.contains(advice), "{hint}");
    }
}
