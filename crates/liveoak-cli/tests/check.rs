//! The output of `liveoak check` and `liveoak schema` as golden transcripts, and their exit codes.
//!
//! Each `tests/bad/NAME.toml` has its transcript in `tests/bad/NAME.txt`. After an intended change, run
//! `UPDATE_EXPECT=1 cargo test -p liveoak-cli` and read the diff.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use expect_test::expect_file;

fn tests_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn liveoak(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_liveoak"));
    // Which programs are missing must not depend on the machine.
    command.env("PATH", tests_folder().join("bin"));
    command.current_dir(folder).args(args).env_remove("NO_COLOR").output().expect("the program runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("output is text")
}

/// An empty folder of one test, which is removed when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("liveoak-check-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Writes `bytes` to a file and checks it. Returns stderr.
fn refused(name: &str, bytes: &[u8]) -> String {
    let scratch = Scratch::new(name);
    std::fs::write(scratch.0.join("liveoak.toml"), bytes).expect("written");
    let output = liveoak(&scratch.0, &["check"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    text(&output.stderr).to_owned()
}

#[test]
fn the_errors_of_every_bad_file_equal_its_transcript() {
    let folder = tests_folder().join("bad");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder of bad files") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let output = liveoak(&folder, &["check", name]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert_eq!(text(&output.stdout), "", "{name}");
        let shown = text(&output.stderr).replace(&*folder.to_string_lossy(), "FOLDER");
        expect_file![path.with_extension("txt")].assert_eq(&shown);
        seen += 1;
    }
    assert!(seen >= 25, "only {seen} bad files were found");
}

#[test]
fn a_valid_file_is_reported_as_valid_with_its_tree() {
    let folder = tests_folder().join("good");
    for name in ["example", "everything"] {
        let output = liveoak(&folder, &["check", &format!("{name}.toml")]);
        assert_eq!(output.status.code(), Some(0));
        // The programs of the examples are missing.
        assert!(text(&output.stderr).lines().all(|line| line.starts_with("warning: /")));
        expect_file![folder.join(format!("{name}.txt"))].assert_eq(text(&output.stdout));
    }
}

#[test]
fn json_of_a_valid_file_contains_the_whole_tree_without_secrets() {
    let folder = tests_folder().join("good");
    let output = liveoak(&folder, &["check", "--json", "example.toml"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    let document = text(&output.stdout).replace(&*folder.to_string_lossy(), "FOLDER");
    assert!(!document.contains("abc"), "the value of a variable is shown");
    expect_file![folder.join("example.json")].assert_eq(&document);
}

#[test]
fn check_warns_of_a_child_that_cannot_exceed_the_intensity_alone_and_advises_a_limit() {
    let scratch = Scratch::new("warned");
    let child = |name: &str, more: &str| format!("[child.{name}]\ncommand = \"/bin/sh\"\n{more}\n");
    let file = "intensity = { restarts = 10, period = \"1m\" }\n".to_owned()
        + &child("db", "replicas = 2")
        + &child("web", "")
        + &child("cache", "limit = { restarts = 5, period = \"1m\" }")
        + &child("job", "restart = \"temporary\"")
        + &child("fast", "backoff = false");
    std::fs::write(scratch.0.join("liveoak.toml"), &file).expect("written");
    let output = liveoak(&scratch.0, &["check"]);
    assert_eq!(output.status.code(), Some(0));
    let tree = scratch.0.file_name().and_then(|name| name.to_str()).expect("a name");
    let warning = format!(
        "/{tree}: intensity: db.1, db.2, web: such a child alone may never exceed it: if it always fails immediately, \
         with a backoff from 100ms to 30s, it may fail only 10 times within 60s, and 10 restarts are allowed; give it \
         a limit of its own"
    );
    assert_eq!(text(&output.stderr), format!("warning: {warning}\n"));
    let output = liveoak(&scratch.0, &["check", "--json"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["warnings"][0]["text"], warning);
    assert_eq!(document["warnings"][0]["children"], serde_json::json!(["db.1", "db.2", "web"]));
}

#[test]
fn a_program_that_is_missing_is_a_warning_because_another_child_may_build_it_first() {
    let scratch = Scratch::new("missing-program");
    let bin = scratch.0.join("bin");
    std::fs::create_dir(&bin).expect("a folder");
    let script = |name: &str, text: &str| {
        std::fs::write(bin.join(name), text).expect("written");
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(bin.join(name), executable).expect("permissions");
    };
    script("there", "#!/bin/sh\n");
    script("windows", "#!/bin/sh\r\n");
    let path = bin.display();
    let file = format!(
        "name = \"t\"\n[child.a]\ncommand = \"there\"\nenv = {{ PATH = \"{path}\" }}\nready = {{ command = \"there\" }}\n\
         [child.b]\ncommand = \"no-such-program\"\nreplicas = 3\n[child.c]\ncommand = \"bin/windows\"\n\
         [child.d]\ncommand = \"bin/built\"\nafter = {{ b = \"started\" }}\n[child.e]\nshell = \"x\"\ncwd = \"nowhere\"\n\
         [child.f.child.g]\ncommand = \"bin/there\"\nready = {{ command = \"there\" }}\n"
    );
    std::fs::write(scratch.0.join("liveoak.toml"), &file).expect("written");
    let output = liveoak(&scratch.0, &["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stderr).replace(&*scratch.0.to_string_lossy(), "FOLDER");
    let warnings: Vec<&str> = said.lines().filter_map(|line| line.split(';').next()).collect();
    assert_eq!(
        warnings,
        [
            "warning: /t/b: command: could not find no-such-program in PATH (1 folder)",
            "warning: /t/c: command: could not run FOLDER/bin/windows: its lines end as on Windows (CRLF), so its interpreter is not found",
            "warning: /t/d: command: could not run FOLDER/bin/built: there is no such file",
            "warning: /t/e: shell: could not enter FOLDER/nowhere: there is no such directory",
            "warning: /t/f/g: ready.command: could not find there in PATH (1 folder)",
        ]
    );
    let output = liveoak(&scratch.0, &["check", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let warnings = document["warnings"].as_array().expect("a list");
    assert_eq!((output.status.code(), warnings.len(), text(&output.stderr)), (Some(0), 5, ""));
    assert_eq!((&warnings[0]["path"], &warnings[0]["field"]), (&"/t/b".into(), &"command".into()));
}

#[test]
fn check_warns_of_a_shell_that_alone_would_get_the_stop_signal_unless_it_execs() {
    let scratch = Scratch::new("shell");
    let file = "name = \"t\"\n[child.s.child.a]\nshell = \"cd x && ./server\"\nstop = { ask = \"leader\" }\n\
                [child.s.child.b]\nshell = \"cd x && exec ./server\"\nstop = { ask = \"leader\" }\n";
    std::fs::write(scratch.0.join("liveoak.toml"), file).expect("written");
    let warning = "/t/s/a: only the shell is asked to stop, and a shell does not pass the signal on; write `exec` before the program, or handle the signal with `trap`";
    let output = liveoak(&scratch.0, &["check"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), &*format!("warning: {warning}\n")));
    let output = liveoak(&scratch.0, &["check", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let warnings = document["warnings"].as_array().expect("a list");
    assert_eq!((warnings.len(), &warnings[0]["text"]), (1, &warning.into()));
}

#[test]
fn errors_as_json_are_one_document_on_stdout() {
    let folder = tests_folder().join("bad");
    let output = liveoak(&folder, &["check", "--json", "near-misses.toml"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), ""));
    expect_file![folder.join("near-misses.json")].assert_eq(text(&output.stdout));
}

#[test]
fn a_missing_file_a_directory_and_an_unreadable_file_are_each_one_clear_error() {
    let folder = Scratch::new("missing");
    let said = |args: &[&str]| {
        let output = liveoak(&folder.0, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        text(&output.stderr).to_owned()
    };
    assert!(said(&["check"]).contains("error: cannot read liveoak.toml: there is no such file"));
    assert!(said(&["check", "."]).contains("error: cannot read .: it is a directory"));
    assert!(said(&["check", "a\0b".split('\0').next().expect("a name")]).contains("no such file"));
    assert!(said(&["check", "/proc/self/mem"]).contains("error: cannot read /proc/self/mem: "));
    let json = liveoak(&folder.0, &["check", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(document["errors"][0]["line"], serde_json::Value::Null);
}

#[test]
fn an_empty_file_has_nothing_to_run() {
    for (name, bytes) in [("empty", ""), ("blank", " \n\n"), ("comment", "# later\n"), ("bom", "\u{feff}")] {
        let said = refused(name, bytes.as_bytes());
        assert!(said.starts_with("error: nothing to run: there is no child"), "{said}");
        assert!(said.ends_with("1 error in liveoak.toml\n"), "{said}");
    }
}

#[test]
fn a_file_that_is_not_text_in_utf_8_is_one_error_with_its_place() {
    let said = refused("elf", b"\x7fELF\x02\x01\x01\0\0\0");
    assert!(said.contains("it is a binary file (a NUL at byte offset 7), not text"), "{said}");
    for (name, bytes) in
        [("latin1", &b"a = 1\r\n# caf\xe9 \xfc\n"[..]), ("marked", b"\xef\xbb\xbfa = 1\n# caf\xe9\n")]
    {
        let said = refused(name, bytes);
        assert!(said.contains("--> liveoak.toml:2:6"), "{said}");
        assert!(said.contains("the byte 0xe9 is not valid UTF-8"), "{said}");
        assert!(said.ends_with("1 error in liveoak.toml\n"), "{said}");
    }
}

#[test]
fn a_file_of_ten_megabytes_is_one_error_and_is_not_parsed() {
    let said = refused("large", "key = 1\n".repeat(10 * 1024 * 1024 / 8).as_bytes());
    assert!(said.contains("it has 10485760 bytes, and at most 1048576 are read"), "{said}");
    assert!(said.ends_with("1 error in liveoak.toml\n"), "{said}");
}

#[test]
fn a_large_file_of_errors_reports_the_first_fifty() {
    let line = "k = 1\n[child.x]\n";
    let said = refused("many", line.repeat(1024 * 1024 / line.len()).as_bytes());
    assert_eq!(said.matches("error: ").count(), 50);
}

#[test]
fn wrong_usage_exits_with_two_and_help_with_zero() {
    let folder = tests_folder();
    for args in [&["chekc"][..], &["check", "--jsno"], &["check", "a", "b"], &[]] {
        assert_eq!(liveoak(&folder, args).status.code(), Some(2), "{args:?}");
    }
    for args in [&["--help"][..], &["--version"], &["check", "--help"], &["help", "schema"]] {
        assert_eq!(liveoak(&folder, args).status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn the_schema_is_json_on_stdout() {
    let output = liveoak(&tests_folder(), &["schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(schema["title"], "liveoak.toml");
}

#[test]
fn a_closed_stdout_is_not_an_error() {
    for args in [&["schema"][..], &["check", "good/example.toml"], &["check", "--json", "good/example.toml"]]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_liveoak"))
            .current_dir(tests_folder())
            .args(args)
            .stdout(Stdio::from(writer))
            .output()
            .expect("the program runs");
        let errors = text(&output.stderr).lines().filter(|line| !line.starts_with("warning: ")).count();
        assert_eq!((output.status.code(), errors), (Some(0), 0), "{args:?}");
    }
}

#[test]
fn the_errors_of_check_mention_neither_a_start_nor_another_command() {
    let scratch = Scratch::new("asked");
    let output = liveoak(&scratch.0, &["check", "missing.toml"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("name a file that exists"), "{said}");
    assert!(!said.contains("started") && !said.contains("liveoak check"), "{said}");
}

#[test]
fn a_file_in_a_removed_working_folder_is_missing_with_the_advice_to_change_it() {
    for args in [&["check"][..], &["check", "-"], &["up"], &["up", "-"], &["up", "other.toml"]] {
        let scratch = Scratch::new("removed");
        let script = "rmdir \"$PWD\" && printf '[child.a]\ncommand = \"true\"\n' | \"$0\" \"$@\"";
        let output = Command::new("/bin/sh")
            .current_dir(&scratch.0)
            .env("PATH", "/usr/bin:/bin")
            .args(["-c", script, env!("CARGO_BIN_EXE_liveoak")])
            .args(args)
            .output()
            .expect("a shell");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("the working directory may have been removed"), "{args:?}: {said}");
    }
}

#[test]
fn control_characters_of_names_and_arguments_are_escaped_in_messages() {
    let scratch = Scratch::new("escapes");
    let name = "a\u{1b}[31m\u{9b}\nb.toml";
    let tree = "[child.a]\ncommand = [\"./no\\u001b[31m\\u007f\\u009b\\n\", \"x\\u001b\\u009b\"]\nrestart = \"temporary\"\n";
    std::fs::write(scratch.0.join("good\u{1b}.toml"), tree).expect("written");
    std::fs::write(scratch.0.join(name), "x").expect("written");
    for args in [
        &["check", name][..],
        &["up", name],
        &["up", "missing\u{1b}.toml"],
        &["check", "good\u{1b}.toml"],
        &["up", "good\u{1b}.toml"],
        &["up", "good\u{1b}.toml", "--log-format", "compact"],
        &["up", "good\u{1b}.toml", "--log-format", "json"],
        &["up", "good\u{1b}.toml", "--report", "-"],
        &["check", "good\u{1b}.toml", "--json"],
        &["check", name, "--json"],
        &["up", name, "--json"],
        &["up", "good\u{1b}.toml", "--report", "/none\u{1b}/report"],
        &["up", "--for", "\u{1b}[31m"],
        &["up", "--no\u{1b}"],
        &["u\u{1b}p"],
    ] {
        let output = liveoak(&scratch.0, args);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(!said.is_empty(), "{args:?}");
        assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{args:?}: {said:?}");
        if args.contains(&"compact") {
            assert!(text(&output.stderr).lines().all(|line| line.starts_with(['2', '/'])), "{said}");
        }
        if args.contains(&name) && !args.contains(&"--json") {
            assert!(said.contains("a\\u{1b}[31m\\u{9b}\\nb.toml"), "{said}");
        }
    }
}

#[test]
fn an_env_file_may_be_a_fifo_whose_writer_comes_later() {
    let scratch = Scratch::new("fifo");
    let fifo = scratch.0.join("vars");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    let tree = "[child.a]\ncommand = \"true\"\nenv_file = \"vars\"\n";
    std::fs::write(scratch.0.join("liveoak.toml"), tree).expect("written");
    let writer = std::thread::spawn(move || std::fs::write(fifo, "FROM_FIFO=1\n"));
    let output = liveoak(&scratch.0, &["check", "--json"]);
    writer.join().expect("no panic").expect("written");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["supervisor"]["children"][0]["process"]["env_names"][0], "FROM_FIFO");
}

#[test]
fn with_json_the_line_that_a_stream_is_waited_for_is_json_too() {
    let scratch = Scratch::new("fifo-said");
    let fifo = scratch.0.join("vars");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    let tree = "[child.a]\ncommand = \"true\"\nenv_file = \"vars\"\n";
    std::fs::write(scratch.0.join("liveoak.toml"), tree).expect("written");
    for (args, is_json) in [(&["check", "--json"][..], true), (&["check"], false)] {
        let mut check = Command::new(env!("CARGO_BIN_EXE_liveoak"));
        let check = check.current_dir(&scratch.0).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut check = check.spawn().expect("it starts");
        // The writer comes once the wait is reported.
        let mut said = String::new();
        let mut stderr = std::io::BufReader::new(check.stderr.take().expect("a pipe"));
        std::io::BufRead::read_line(&mut stderr, &mut said).expect("a line");
        std::fs::write(&fifo, "A=1\n").expect("written");
        assert_eq!(check.wait_with_output().expect("it ends").status.code(), Some(0));
        if is_json {
            let line: serde_json::Value = serde_json::from_str(&said).expect("JSON");
            let mut keys: Vec<_> = line.as_object().expect("an object").keys().collect();
            keys.sort();
            assert_eq!(keys, ["event", "level", "message", "timestamp"]);
            assert_eq!(line["event"], "input-waits");
        } else {
            assert!(said.starts_with("note: waiting for "), "{said}");
        }
    }
}

#[test]
fn a_value_that_a_shell_would_expand_is_a_warning_of_check() {
    let scratch = Scratch::new("values");
    let file = "name = \"t\"\n[child.s.child.a]\nshell = \"x\"\nenv = { PATH = \"$PATH:/x\" }\n";
    std::fs::write(scratch.0.join("liveoak.toml"), file).expect("written");
    let warning = "/t/s/a: env.PATH: values are not expanded, and a shell would expand this one; ";
    let output = liveoak(&scratch.0, &["check"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0));
    assert!(said.starts_with(&format!("warning: {warning}")), "{said}");
    let output = liveoak(&scratch.0, &["check", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let found = &document["warnings"][0];
    assert_eq!((&found["path"], &found["field"]), (&"/t/s/a".into(), &"env.PATH".into()));
    assert!(found["text"].as_str().is_some_and(|text| text.starts_with(warning)), "{found}");
}
