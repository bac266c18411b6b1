//! The environment of a program: variables, working directory, arguments, descriptors and limits.

use std::fs;
use std::process::Command;

use crate::support::TestDir;

#[test]
fn env_overrides_env_file_and_both_override_inherited_variables() {
    let dir = TestDir::of(
        "[child.a]\nshell = \"echo $TABLE $FILE $AROUND\"\nrestart = \"temporary\"\n\
         env = { TABLE = \"from table\" }\nenv_file = \".env\"\n",
    );
    dir.file(".env", "TABLE=hidden\nFILE='from file'\nAROUND=hidden\n", 0o644);
    let output = dir.command(&[]).env("AROUND", "around").output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/t/a | from table from file hidden\n");

    dir.file(".env", "", 0o644);
    let output = dir.command(&[]).env("AROUND", "around").output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/t/a | from table around\n");
}

#[test]
fn relative_paths_do_not_depend_on_the_folder_in_which_liveoak_was_started() {
    let dir = TestDir::new();
    fs::create_dir_all(dir.at("app/data")).expect("folders");
    dir.file("app/run", "#!/bin/sh\nls; pwd; touch here; exec sleep 1000\n", 0o755);
    dir.file("app/data/file", "", 0o644);
    dir.file(
        "app/tree.toml",
        "name = \"t\"\n[child.a]\ncommand = \"../run\"\ncwd = \"data\"\nready = { file = \"here\" }\n",
        0o644,
    );
    let up = dir.up(&["app/tree.toml"]);
    up.is_ready();
    up.stop().with_code(0);
    assert!(dir.exists("app/data/here"));
}

#[test]
fn arguments_of_a_command_are_passed_unchanged() {
    let dir = TestDir::of(
        "[child.a]\ncommand = [\"printf\", \"<%s>\", \"a b\", \"$HOME\", \"*\", \"\"]\nrestart = \"temporary\"\n\
         [child.b]\ncommand = \"printf '<%s>' 'a b' \\\"c d\\\" e\\\\ f\"\nrestart = \"temporary\"\nafter = { a = \"completed\" }\n",
    );
    let ended = dir.run(&[]).with_code(0);
    assert_eq!(ended.stdout, ["/t/a | <a b><$HOME><*><>", "/t/b | <a b><c d><e f>"]);
}

#[test]
fn a_program_inherits_no_descriptors_and_has_an_empty_stdin() {
    let dir = TestDir::of(
        "[child.a]\nshell = \"ls /proc/self/fd | wc -l; cat; readlink /proc/self/fd/0\"\nrestart = \"temporary\"\n",
    );
    let ended = dir.run(&["--report", "report.json"]).with_code(0);
    // Three streams, and the folder that `ls` reads.
    assert_eq!(ended.stdout, ["/t/a | 4", "/t/a | /dev/null"]);
}

#[test]
fn the_tree_is_named_after_the_folder_of_the_file() {
    let dir = TestDir::new();
    fs::create_dir(dir.at("shop")).expect("a folder");
    dir.file("shop/liveoak.toml", "[child.a]\ncommand = \"echo hi\"\nrestart = \"temporary\"\n", 0o644);
    let ended = dir.run(&["shop/liveoak.toml"]).with_code(0);
    assert_eq!(ended.stdout, ["/shop/a | hi"]);
}

#[test]
fn a_program_has_the_limit_of_open_files_that_liveoak_was_started_with() {
    let dir = TestDir::of("[child.a]\nshell = \"ulimit -Sn; ulimit -Hn\"\nrestart = \"temporary\"\n");
    let script = format!("ulimit -Hn\nulimit -Sn 123\nexec '{}' up\n", env!("CARGO_BIN_EXE_liveoak"));
    dir.file("limited.sh", script, 0o644);
    let mut shell = Command::new("sh");
    let output = shell.arg("limited.sh").current_dir(dir.path()).output().expect("a shell");
    let output = String::from_utf8(output.stdout).expect("text");
    let [hard, soft, hard_again] = output.lines().collect::<Vec<_>>()[..] else { panic!("{output}") };
    assert_eq!((soft, hard_again), ("/t/a | 123", format!("/t/a | {hard}").as_str()));
}
