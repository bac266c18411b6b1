//! Files that come from other systems, other programs and other tools.

use std::fs::File;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Ended, TestDir, Up};

/// A tree that prints a variable of its env file, in several lines.
const LINES: &str = "name = \"t\"\n[child.a]\nshell = \"\"\"\necho one\ntrue\necho $A\n\"\"\"\nrestart = \"temporary\"\nenv_file = \"my.env\"\n";

/// A tree that prints a file of the working directory.
const NOTE: &str = "name = \"t\"\n[child.a]\ncommand = \"cat note\"\nrestart = \"temporary\"\n";

#[test]
fn crlf_line_ends_and_byte_order_marks_change_nothing() {
    for (mark, end) in [("", "\r\n"), ("\u{feff}", "\n"), ("\u{feff}", "\r\n")] {
        let dir = TestDir::new();
        let foreign = |text: &str| format!("{mark}{}", text.replace('\n', end));
        dir.file("liveoak.toml", foreign(LINES), 0o644);
        dir.file("my.env", foreign("A=1\nB='x'\n"), 0o644);
        let ended = dir.run(&[]).with_code(0);
        assert_eq!(ended.stdout, ["/t/a | one", "/t/a | 1"], "{mark:?} {end:?}");
    }
}

#[test]
fn the_error_for_a_script_with_windows_line_ends_says_how_to_fix_it() {
    let dir = TestDir::of("[child.a]\ncommand = \"./run\"\n");
    dir.file("run", "#!/bin/sh\r\necho\r\n", 0o755);
    let ended = dir.run(&[]).with_code(1);
    let script = dir.at("run").display().to_string();
    let line = &ended.stderr[ended.position_of("could not run")];
    assert!(line.contains("its lines end as on Windows (CRLF)"), "{line}");
    assert!(line.contains(&format!(r"sed -i 's/\r$//' {script}")), "{line}");
}

/// Runs `liveoak up` in a folder with a note, with the tree from a stream. `open` makes its standard input.
fn from_stream(file: &str, open: impl FnOnce(&TestDir) -> Stdio) -> Ended {
    let dir = TestDir::new();
    dir.file("note", "hello\n", 0o644);
    dir.file("tree.txt", NOTE, 0o644);
    let input = open(&dir);
    Up::watch(dir.command(&[file]).stdin(input).spawn().expect("the program starts")).end()
}

#[test]
fn paths_in_a_file_from_the_standard_input_are_relative_to_the_working_directory() {
    for file in ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
        let of_file = |dir: &TestDir| Stdio::from(File::open(dir.at("tree.txt")).expect("the tree"));
        let of_pipe = |_: &TestDir| {
            let (reader, mut writer) = std::io::pipe().expect("a pipe");
            std::io::Write::write_all(&mut writer, NOTE.as_bytes()).expect("written");
            Stdio::from(reader)
        };
        for ended in [from_stream(file, of_file), from_stream(file, of_pipe)] {
            assert_eq!(ended.with_code(0).stdout, ["/t/a | hello"], "{file}");
        }
    }
}

#[test]
fn paths_in_a_file_from_a_pipe_are_relative_to_the_working_directory() {
    let dir = TestDir::new();
    dir.file("note", "hello\n", 0o644);
    std::fs::create_dir(dir.at("sub")).expect("a folder");
    let pipe = dir.at("sub/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o644.into(), 0).expect("a pipe");
    let up = dir.up(&["sub/pipe"]);
    std::fs::write(&pipe, NOTE).expect("written");
    assert_eq!(up.end().with_code(0).stdout, ["/t/a | hello"]);
}

#[test]
fn errors_in_a_file_from_the_standard_input_have_a_place() {
    let ended = from_stream("-", |dir| {
        dir.file("tree.txt", "[child.a]\r\ncommand = 'a $B'\r\n", 0o644);
        Stdio::from(File::open(dir.at("tree.txt")).expect("the tree"))
    });
    ended.position_of("--> standard input:2:14");
    ended.with_code(2).position_of("1 error in standard input; nothing was started");
}

#[test]
fn the_error_for_a_missing_file_names_files_of_other_tools_in_the_folder() {
    for (name, text, says) in [
        ("Procfile", "web: npm start\n", "write each line `NAME: COMMAND` as [child.NAME]"),
        ("docker-compose.yml", "services:\n  web:\n    image: x\n", "`depends_on` as `after`"),
        ("web.service", "[Unit]\n[Service]\nExecStart=/bin/x\n", "`ExecStart=` as command"),
        ("supervisord.conf", "[program:web]\ncommand=x\n", "[program:NAME] as [child.NAME]"),
        ("liveoak.toml.txt", "[child.a]\ncommand = 5\n", "if that is the file, name it on the command line"),
    ] {
        let dir = TestDir::new();
        dir.file(name, text, 0o644);
        let ended = dir.run(&[]).with_code(2);
        let help = &ended.stderr[ended.position_of("help: there is ")];
        assert!(help.contains(name) && help.contains(says), "{help}");
        if name != "liveoak.toml.txt" {
            // The file itself gives the same advice, as its only error.
            let ended = dir.run(&[name]).with_code(2);
            assert!(ended.log().contains(says), "{}", ended.log());
            ended.position_of(&format!("1 error in {name}; nothing was started"));
        }
    }
    let dir = TestDir::of("[child.a]\ncommand = \"true\"\n");
    std::fs::create_dir(dir.at("sub")).expect("a folder");
    let below = dir.command(&[]).current_dir(dir.at("sub")).output().expect("it runs");
    let said = String::from_utf8_lossy(&below.stderr).into_owned();
    assert!(said.contains(&format!("in a folder above: {}", dir.at("liveoak.toml").display())), "{said}");
}

#[test]
fn a_command_in_one_string_with_shell_syntax_is_refused_and_the_same_words_in_an_array_run() {
    for word in ["$A", "${A}", "$(id)", "`id`", "*.log", "~/x", "a;", ">x"] {
        let dir = TestDir::of(&format!("[child.a]\ncommand = 'echo {word}'\n"));
        let ended = dir.run(&[]).with_code(2);
        assert!(ended.log().contains("shell = \"...\""), "{word}: {}", ended.log());
        for command in [format!("\"echo '{word}'\""), format!("[\"echo\", \"{word}\"]")] {
            let dir = TestDir::of(&format!("[child.a]\ncommand = {command}\nrestart = \"temporary\"\n"));
            assert_eq!(dir.run(&[]).with_code(0).stdout, [format!("/t/a | {word}")]);
        }
    }
}

#[test]
fn the_error_for_a_missing_program_gives_the_number_of_folders_that_were_searched() {
    let dir =
        TestDir::of("[child.a]\ncommand = \"no-such-program\"\nenv = { PATH = \"/somewhere/bin:/else\" }\n");
    let ended = dir.run(&[]).with_code(1);
    ended.position_of("could not find no-such-program in PATH (2 folders)");
    assert!(!ended.log().contains("/somewhere/bin"), "{}", ended.log());
}

#[test]
fn lines_about_a_program_contain_its_process_id_from_its_readiness_to_its_end() {
    let tree = "[child.a]\nshell = \"echo $$; exec sleep 1000\"\n[child.b]\nshell = \"echo $$; exit 3\"\nrestart = \"temporary\"\n";
    let dir = TestDir::of(tree);
    let up = dir.up(&[]);
    let pids = ["/t/a", "/t/b"].map(|path| up.number(path, 0));
    up.logs("/t/b: exit code 3");
    let ended = up.stop().with_code(0);
    let has = |start: &str, pid: u32| {
        let line = &ended.stderr[ended.position_of(start)];
        assert!(line.ends_with(&format!("(pid {pid})")), "{line}");
    };
    has("/t/a: ready after", pids[0]);
    has("/t/a: stopped (asked)", pids[0]);
    has("/t/b: exit code 3", pids[1]);

    let up = dir.up(&["--log-format", "json"]);
    let pid = up.number("/t/a", 0);
    up.is_ready();
    let ended = up.stop();
    let line: Value =
        serde_json::from_str(&ended.stderr[ended.position_of("/t/a: ready after")]).expect("JSON");
    assert_eq!((line["pid"].as_u64(), &line["path"]), (Some(u64::from(pid)), &"/t/a".into()));
    let root: Value =
        serde_json::from_str(&ended.stderr[ended.position_of("/t: ready after")]).expect("JSON");
    assert_eq!(root["pid"], Value::Null, "a supervisor is not a process");
}

/// A tree with an env file that is the standard input.
const VARIABLES: &str =
    "[child.a]\nshell = \"echo got $A\"\nrestart = \"temporary\"\nenv_file = \"/dev/stdin\"\n";

#[test]
fn an_env_file_may_be_the_standard_input() {
    let dir = TestDir::of(VARIABLES);
    dir.file("vars", "A=1\n", 0o644);
    let input = File::open(dir.at("vars")).expect("the variables");
    let ended = Up::watch(dir.command(&[]).stdin(input).spawn().expect("the program starts")).end();
    assert_eq!(ended.with_code(0).stdout, ["/t/a | got 1"]);
}

#[test]
fn a_second_reader_of_the_standard_input_is_an_error_that_names_the_first() {
    let run = |file: &str, tree: &str, is_pipe: bool| {
        let dir = TestDir::of(tree);
        let input = if is_pipe {
            let (reader, mut writer) = std::io::pipe().expect("a pipe");
            std::io::Write::write_all(&mut writer, tree.as_bytes()).expect("written");
            Stdio::from(reader)
        } else {
            Stdio::from(File::open(dir.at("liveoak.toml")).expect("the tree"))
        };
        Up::watch(dir.command(&[file]).stdin(input).spawn().expect("the program starts")).end().with_code(2)
    };
    let two = "[child.a]\ncommand = \"true\"\nenv_file = \"/dev/fd/0\"\n[child.b]\ncommand = \"true\"\nenv_file = \"/dev/stdin\"\n";
    let inherits = "[child.a]\ncommand = \"cat\"\nstdin = \"inherit\"\n";
    for is_pipe in [true, false] {
        for file in ["-", "/dev/stdin", "/dev/fd/0"] {
            let ended = run(file, VARIABLES, is_pipe);
            assert!(
                ended.log().contains("the file itself was read from it, so nothing is left"),
                "{}",
                ended.log()
            );
            let ended = run(file, inherits, is_pipe);
            assert!(ended.log().contains("because the file was read from it to its end"), "{}", ended.log());
        }
    }
    let dir = TestDir::of(two);
    dir.file("vars", "A=1\n", 0o644);
    let input = File::open(dir.at("vars")).expect("the variables");
    let ended =
        Up::watch(dir.command(&[]).stdin(input).spawn().expect("the program starts")).end().with_code(2);
    assert!(ended.log().contains("the env_file /dev/fd/0 was read from it"), "{}", ended.log());
}

#[test]
fn the_start_warns_of_a_value_that_a_shell_would_expand_unless_the_log_is_to_be_silent() {
    let tree = "[child.a]\ncommand = \"true\"\nrestart = \"temporary\"\nenv = { P = \"$HOME/x\" }\n";
    let warning = "/t/a: env.P: values are not expanded, and a shell would expand this one";
    let dir = TestDir::of(tree);
    let ended = dir.run(&[]).with_code(0);
    assert!(ended.position_of(warning) < ended.position_of("/t/a: ready"), "{}", ended.log());
    for level in ["off", "error"] {
        let ended = dir.run(&["--log-level", level]).with_code(0);
        assert!(!ended.log().contains(warning), "{}", ended.log());
    }
}
