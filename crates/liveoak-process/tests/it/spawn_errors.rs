//! The errors of programs that cannot be started: one sentence each, which names the path.

use crate::support::{Dir, start, within};
use liveoak_process::{CommandLine, Process, Program, SpawnError, Status};
use liveoak_runtime::{Restart, Supervisor};
use std::path::Path;

/// Returns the error of a command line that must not start.
async fn refusal(command: CommandLine) -> SpawnError {
    let error = within(Process::spawn(&command, |_| {})).await.expect_err("it must not start");
    assert!(!error.is_retryable(), "{error}");
    error
}

/// Returns the error's sentence, with the test's directory as `DIR`.
fn sentence(error: &SpawnError, dir: &Dir) -> String {
    error.to_string().replace(dir.path().to_str().unwrap(), "DIR")
}

#[tokio::test]
async fn a_missing_executable_is_refused() {
    let dir = Dir::new();
    let error = refusal(CommandLine::new(dir.at("nothing"))).await;
    assert!(matches!(&error, SpawnError::NotFound { path } if *path == dir.at("nothing")));
    assert_eq!(sentence(&error, &dir), "run DIR/nothing: there is no such file");
}

#[tokio::test]
async fn a_name_that_is_not_in_path_is_refused() {
    let dir = Dir::new();
    let path = format!("{0}:{0}/sub", dir.path().display());
    let error = refusal(CommandLine::new("liveoak-nothing").env("PATH", path)).await;
    assert!(matches!(&error, SpawnError::NotInPath { program, .. } if program == "liveoak-nothing"));
    assert_eq!(sentence(&error, &dir), "find liveoak-nothing in PATH (2 folders)");
}

#[tokio::test]
async fn a_file_without_execute_permission_is_refused() {
    let dir = Dir::new();
    let file = dir.file("plain", "#!/bin/sh\n", 0o644);
    let error = refusal(CommandLine::new(&file)).await;
    assert!(matches!(&error, SpawnError::NotExecutable { path } if *path == file));
    assert_eq!(sentence(&error, &dir), "run DIR/plain: it is not executable by this user");
    let searched = refusal(CommandLine::new("plain").env("PATH", dir.path())).await;
    assert_eq!(sentence(&searched, &dir), sentence(&error, &dir));
}

#[tokio::test]
async fn a_directory_as_executable_is_refused() {
    let dir = Dir::new();
    let error = refusal(CommandLine::new(dir.path())).await;
    assert!(matches!(&error, SpawnError::IsDirectory { path } if path == dir.path()));
    assert_eq!(sentence(&error, &dir), "run DIR: it is a directory");
}

#[tokio::test]
async fn a_script_with_a_missing_interpreter_is_refused() {
    let dir = Dir::new();
    let script = dir.file("script", "#! /no/such/interpreter -x\necho\n", 0o755);
    let error = refusal(CommandLine::new(&script)).await;
    assert!(
        matches!(&error, SpawnError::BadInterpreter { interpreter, .. } if interpreter == Path::new("/no/such/interpreter"))
    );
    assert_eq!(
        sentence(&error, &dir),
        r#"run DIR/script: its interpreter "/no/such/interpreter" cannot be run"#
    );
}

#[tokio::test]
async fn a_script_with_windows_line_ends_is_refused() {
    let dir = Dir::new();
    for first in ["#!/bin/sh", "#!/bin/sh -e", "#! /usr/bin/env python3", "#!/usr/bin/perl"] {
        let script = dir.file("script", &format!("{first}\r\necho\r\n"), 0o755);
        let error = refusal(CommandLine::new(&script)).await;
        assert!(
            matches!(&error, SpawnError::WindowsLineEnds { path } if *path == script),
            "{first}: {error}"
        );
        assert_eq!(
            sentence(&error, &dir),
            r"run DIR/script: its lines end as on Windows (CRLF), so its interpreter is not found; save it with LF line ends, as with: sed -i 's/\r$//' DIR/script"
        );
        let searched = refusal(CommandLine::new("script").env("PATH", dir.path())).await;
        assert_eq!(sentence(&searched, &dir), sentence(&error, &dir));
    }
    let script = dir.file("script", "#!/bin/sh\necho\r\nexit 7\n", 0o755);
    let (mut process, _) = start(&CommandLine::new(&script)).await;
    assert_eq!(within(process.exited()).await, Status::Code(7), "only the first line concerns the kernel");
}

#[tokio::test]
async fn a_script_with_a_byte_order_mark_is_refused() {
    let dir = Dir::new();
    let script = dir.file("script", "\u{feff}#!/bin/sh\necho\n", 0o755);
    let error = refusal(CommandLine::new(&script)).await;
    assert!(matches!(&error, SpawnError::ByteOrderMark { path } if *path == script), "{error}");
    assert_eq!(
        sentence(&error, &dir),
        "run DIR/script: a byte order mark stands before its #!; save it as UTF-8 without one"
    );
}

#[tokio::test]
async fn a_program_in_the_working_directory_is_named_if_it_is_not_in_path() {
    let dir = Dir::new();
    dir.file("liveoak-tool", "#!/bin/sh\n", 0o755);
    let error = refusal(CommandLine::new("liveoak-tool").cwd(dir.path()).env("PATH", "/nowhere")).await;
    assert_eq!(
        sentence(&error, &dir),
        "find liveoak-tool in PATH (1 folder); there is DIR/liveoak-tool: write ./liveoak-tool"
    );
}

#[tokio::test]
async fn the_error_explains_a_missing_file_whose_name_has_a_blank_or_a_variable() {
    let dir = Dir::new();
    for (program, sentence) in [
        (
            "npm start",
            "find npm start in PATH (1 folder); its name has a blank: give arguments as words of their own",
        ),
        (
            "./run --fast",
            "run DIR/run --fast: there is no such file; its name has a blank: give arguments as words of their own",
        ),
        ("$HOME/run", "run DIR/$HOME/run: there is no such file; `$` and `~` are not expanded"),
    ] {
        let error = refusal(CommandLine::new(program).cwd(dir.path()).env("PATH", "/nowhere")).await;
        assert_eq!(self::sentence(&error, &dir), sentence);
    }
    let error = refusal(CommandLine::new("true").cwd(dir.at("~/data"))).await;
    assert_eq!(
        sentence(&error, &dir),
        "enter DIR/~/data: there is no such directory; `$` and `~` are not expanded"
    );
}

#[tokio::test]
async fn find_program_finds_a_program_without_starting_it() {
    let dir = Dir::new();
    let script = dir.file("script", "#!/bin/sh\ntouch started\n", 0o755);
    let command = CommandLine::new("./script").cwd(dir.path());
    assert_eq!(within(command.find_program()).await.unwrap(), script.parent().unwrap().join("./script"));
    assert!(!dir.at("started").exists());
    dir.file("script", "#!/no/such/interpreter\n", 0o755);
    let error = within(command.find_program()).await.expect_err("a missing interpreter");
    assert!(matches!(error, SpawnError::BadInterpreter { .. }), "{error}");
    let missing = within(CommandLine::new("./missing").cwd(dir.path()).find_program()).await;
    assert!(matches!(missing, Err(SpawnError::NotFound { .. })), "{missing:?}");
    let nowhere = within(CommandLine::new("true").cwd(dir.at("nowhere")).find_program()).await;
    assert!(matches!(nowhere, Err(SpawnError::CwdMissing { .. })), "{nowhere:?}");
}

#[tokio::test]
async fn a_script_whose_interpreter_is_not_executable_is_refused() {
    let dir = Dir::new();
    let interpreter = dir.file("interpreter", "", 0o644);
    let script = dir.file("script", &format!("#!{}\n", interpreter.display()), 0o755);
    let error = refusal(CommandLine::new(&script)).await;
    assert!(matches!(&error, SpawnError::BadInterpreter { interpreter: found, .. } if *found == interpreter));
}

#[tokio::test]
async fn a_file_that_is_neither_a_binary_nor_a_script_is_not_given_to_a_shell() {
    let dir = Dir::new();
    let file = dir.file("text", "echo run by a shell > proof\n", 0o755);
    let error = refusal(CommandLine::new(&file).cwd(dir.path())).await;
    assert!(matches!(&error, SpawnError::ExecFormat { path } if *path == file));
    assert_eq!(
        sentence(&error, &dir),
        "run DIR/text: it is neither a binary for this machine nor a script with #!"
    );
    assert!(!dir.at("proof").exists());
}

#[tokio::test]
async fn a_working_directory_that_is_missing_or_a_file_is_refused() {
    let dir = Dir::new();
    let error = refusal(CommandLine::shell("exit").cwd(dir.at("nowhere"))).await;
    assert!(matches!(&error, SpawnError::CwdMissing { cwd } if *cwd == dir.at("nowhere")));
    assert_eq!(sentence(&error, &dir), "enter DIR/nowhere: there is no such directory");
    let file = dir.file("file", "", 0o644);
    let error = refusal(CommandLine::shell("exit").cwd(&file)).await;
    assert!(matches!(&error, SpawnError::CwdUnusable { cwd, .. } if *cwd == file));
    assert_eq!(sentence(&error, &dir), "enter DIR/file");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("ot a directory"));
}

#[tokio::test]
async fn a_command_line_without_a_program_or_with_a_nul_is_refused() {
    let nothing: [&str; 0] = [];
    assert!(matches!(refusal(CommandLine::argv(nothing)).await, SpawnError::Empty));
    assert!(matches!(refusal(CommandLine::new("a\0b")).await, SpawnError::NulByte { .. }));
    assert!(matches!(refusal(CommandLine::shell("a\0b")).await, SpawnError::NulByte { .. }));
    assert!(matches!(refusal(CommandLine::shell("exit").env("A", "b\0c")).await, SpawnError::NulByte { .. }));
}

#[tokio::test]
async fn a_relative_program_path_starts_at_the_working_directory_of_the_command_line() {
    let dir = Dir::new();
    dir.file("bin/tool", "#!/bin/sh\nexit 6\n", 0o755);
    for program in ["./bin/tool", "bin/tool"] {
        let (mut process, _) = start(&CommandLine::new(program).cwd(dir.path())).await;
        assert_eq!(within(process.exited()).await, Status::Code(6));
    }
    let error = refusal(CommandLine::new("./tool").cwd(dir.path())).await;
    assert!(matches!(&error, SpawnError::NotFound { path } if *path == dir.at("tool")), "{error}");
}

#[tokio::test]
async fn a_bare_name_is_searched_in_the_path_of_the_command_line() {
    let dir = Dir::new();
    dir.file("first/oak-tool", "not executable", 0o644);
    dir.file("second/oak-tool", "#!/bin/sh\nexit 8\n", 0o755);
    let path = format!("first:{}", dir.at("second").display());
    let command = CommandLine::new("oak-tool").env("PATH", path).cwd(dir.path());
    let (mut process, _) = start(&command).await;
    assert_eq!(within(process.exited()).await, Status::Code(8));
    // The working directory is not searched, unless it is in the PATH.
    let error = refusal(CommandLine::new("oak-tool").cwd(dir.at("second"))).await;
    assert!(matches!(error, SpawnError::NotInPath { .. }), "{error}");
    let (mut process, _) = start(&CommandLine::new("sh").args(["-c", "exit 3"]).env_clear()).await;
    assert_eq!(within(process.exited()).await, Status::Code(3));
}

#[tokio::test]
async fn a_fifo_is_refused_and_does_not_block_other_starts() {
    let dir = Dir::new();
    rustix::fs::mknodat(rustix::fs::CWD, dir.at("tool"), rustix::fs::FileType::Fifo, 0o755.into(), 0)
        .unwrap();
    let error = refusal(CommandLine::new(dir.at("tool"))).await;
    assert!(matches!(&error, SpawnError::NotAFile { path } if *path == dir.at("tool")));
    assert_eq!(sentence(&error, &dir), "run DIR/tool: it is not a regular file");
    let searched = refusal(CommandLine::new("tool").env("PATH", dir.path())).await;
    assert!(matches!(searched, SpawnError::NotInPath { .. }), "{searched}");
    let inside = refusal(CommandLine::new("true").cwd(dir.at("tool"))).await;
    assert!(matches!(inside, SpawnError::CwdUnusable { .. }), "{inside}");
    // An interpreter that is a FIFO is refused by the kernel.
    let script = dir.file("script", &format!("#!{}\n", dir.at("tool").display()), 0o755);
    let error = refusal(CommandLine::new(&script)).await;
    assert!(
        matches!(&error, SpawnError::BadInterpreter { interpreter, .. } if *interpreter == dir.at("tool"))
    );
    let (mut process, _output) = start(&CommandLine::new("true")).await;
    assert_eq!(within(process.exited()).await, Status::Code(0));
}

#[test]
fn the_error_on_a_runtime_without_io_names_what_is_missing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let error = refusal(CommandLine::new("true")).await;
        assert!(matches!(error, SpawnError::NoIo) && error.to_string().contains("enable_io()"), "{error}");
        let program = Program::new("true", CommandLine::new("true")).restart(Restart::Temporary);
        let refused = within(Supervisor::new("t").child(program).start()).await.unwrap_err();
        let said = refused.to_string();
        assert!(said.contains("/t/true") && said.contains("enable_io()"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    });
}
