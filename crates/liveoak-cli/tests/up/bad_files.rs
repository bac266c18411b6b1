//! Files with errors: each gives one clear error, and nothing starts.

use serde_json::Value;

use crate::support::TestDir;

const GOOD: &str = "[child.first]\ncommand = \"touch started\"\nrestart = \"temporary\"\n";

/// Texts with one error, to be put after a valid child, and what the error says.
const BAD: [(&str, &str); 12] = [
    ("[child.b]\ncommand = \"true\"\nrestrat = \"x\"", "unknown key `restrat`"),
    ("[child.b]\ncommand = 5", "`child.b.command` must be an array of strings or a string"),
    ("[child.first]\ncommand = \"true\"", "`first` is declared twice"),
    (
        "[child.b]\ncommand = \"true\"\nafter = [\"c\"]\n[child.c]\ncommand = \"true\"\nafter = [\"b\"]",
        "children wait for each other in a cycle: b after c after b",
    ),
    ("[child.b]\ncommand = \"true\"\nafter = [\"d\"]", "there is no sibling called \"d\""),
    (
        "[child.b]\ncommand = \"true\"\nready = { log = \"(\" }",
        "`child.b.ready.log` is not a regular expression",
    ),
    (
        "[child.b]\ncommand = \"true\"\nready = { delay = \"5 parsecs\" }",
        "`child.b.ready.delay` is not a duration",
    ),
    (
        "[child.b]\ncommand = \"true\"\nstop = { signal = \"SIGNOPE\" }",
        "`child.b.stop.signal` has an unknown value",
    ),
    ("[child.b]\ncommand = \"\"", "`child.b.command` is empty"),
    ("[child.b]\ncommand = \"a | b\"", "`|` has no meaning here: no shell runs"),
    ("[child.b]\ncommand = \"true\"\nenv_file = \"missing.env\"", "this env_file cannot be read"),
    ("[child.b]\ncommand = \"unfinished", "not TOML: invalid basic string"),
];

#[test]
fn a_file_with_one_error_is_refused_as_a_whole() {
    for (bad, says) in BAD {
        let dir = TestDir::of(&format!("{GOOD}{bad}\n"));
        let ended = dir.run(&["--report", "report.json"]).with_code(2);
        let errors: Vec<&String> = ended.stderr.iter().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "{bad}\n{}", ended.log());
        assert!(ended.log().contains(says), "{says:?} is not in\n{}", ended.log());
        assert!(ended.log().contains("--> liveoak.toml:"), "{}", ended.log());
        assert_eq!(
            ended.stderr.last().map(String::as_str),
            Some("1 error in liveoak.toml; nothing was started")
        );
        assert!(!dir.exists("started") && !dir.exists("report.json"), "{bad}");
        assert_eq!(ended.stdout.len(), 0);
    }
}

#[test]
fn a_missing_empty_binary_or_too_large_file_is_one_error() {
    let binary = b"\x7fELF\x02\x01\x01\0\0\0".to_vec();
    let large = format!("{GOOD}{}", "# filler\n".repeat(10 * 1024 * 1024 / 9)).into_bytes();
    let cases = [
        (None, "there is no such file"),
        (Some(Vec::new()), "nothing to run"),
        (Some(binary), "it is a binary file"),
        (Some(large), "at most 1048576 are read"),
    ];
    for (content, says) in cases {
        let dir = TestDir::new();
        if let Some(content) = content {
            dir.file("liveoak.toml", content, 0o644);
        }
        let ended = dir.run(&[]).with_code(2);
        assert!(ended.stderr[0].starts_with("error: ") && ended.stderr[0].contains(says), "{}", ended.log());
        assert_eq!(ended.stderr.iter().filter(|line| line.starts_with("error: ")).count(), 1);
        assert!(!dir.exists("started"));
    }
}

#[test]
fn errors_are_json_if_json_is_requested() {
    let dir = TestDir::of(&format!("{GOOD}typo = 1\n"));
    let ended = dir.run(&["--json"]).with_code(2);
    let document: Value = serde_json::from_str(&ended.stdout.join("\n")).expect("JSON");
    assert_eq!((document["errors"][0]["line"].as_u64(), ended.stderr.len()), (Some(5), 0));

    let ended = dir.run(&["--log-format", "json"]).with_code(2);
    let [line] = &ended.stderr[..] else { panic!("one line expected:\n{}", ended.log()) };
    let line: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!((&line["level"], &line["event"]), (&"ERROR".into(), &"config".into()));
    assert_eq!(line["errors"][0]["line"], 5);
    assert!(!dir.exists("started"));
}
