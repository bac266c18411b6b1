//! Rules about code that is allowed in one place only: effects, `unsafe`, and words that the core must not use.

use crate::code::{Token, after_group, begins, mask, outside_tests, tokens};
use crate::tree::{File, assert_finds, assert_none, rust};

/// The folder of the core's sources.
const CORE: &str = "crates/liveoak-core/src/";
/// The only files that may contain `unsafe`: fork and system calls, and the signal handlers.
const UNSAFE: [&str; 3] = [
    "crates/liveoak-process/src/os.rs",
    "crates/liveoak-runtime/src/util/signal_handler.rs",
    "crates/liveoak-runtime/src/util/stack_handler.rs",
];

/// Words that the core must not use. They stand for an executor, a clock, randomness, locks, threads and output.
const NOT_IN_CORE: [&str; 17] = [
    "tokio",
    "async",
    "await",
    "Instant",
    "SystemTime",
    "rand",
    "fastrand",
    "getrandom",
    "Mutex",
    "RwLock",
    "thread",
    "print",
    "println",
    "eprint",
    "eprintln",
    "dbg",
    "RandomState",
];
/// Modules of std that the core must not use.
const STD_NOT_IN_CORE: [&str; 5] = ["env", "fs", "net", "process", "io"];

fn impurity(file: &File) -> Vec<String> {
    if !file.path.starts_with(CORE) || file.is_test() {
        return vec![];
    }
    let masked = mask(file.text().unwrap_or_default());
    let tokens = outside_tests(&tokens(&masked));
    let mut findings = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let found = if NOT_IN_CORE.contains(&token.text) {
            Some((token.line, token.text))
        } else {
            std_part(&tokens, at)
        };
        findings.extend(found.map(|(line, word)| {
            file.finding(
                line,
                format!("`{word}`: the core decides; let the driver do this and tell the machine"),
            )
        }));
    }
    findings
}

/// Returns the forbidden std module used at this token, in `std::module` or `std::{…, module, …}`.
fn std_part<'a>(tokens: &[Token<'a>], at: usize) -> Option<(usize, &'a str)> {
    if !begins(tokens, at, &["std", "::"]) {
        return None;
    }
    let begin = at + 2;
    let end = if begins(tokens, begin, &["{"]) { after_group(tokens, begin) } else { begin + 1 };
    let parts = tokens.get(begin..end)?;
    parts.iter().find(|part| STD_NOT_IN_CORE.contains(&part.text)).map(|part| (part.line, part.text))
}

#[test]
fn the_core_uses_no_executor_clock_randomness_lock_thread_or_output() {
    assert_none(rust().flat_map(impurity).collect());
}

#[test]
fn each_impurity_in_the_core_is_found_outside_tests_comments_and_strings() {
    let good = "//! No tokio, async or await.\nuse std::{fmt, mem};\nfn a() -> &'static str { \"Instant::now\" }\n\
        #[cfg(test)]\nmod tests { use std::fs; }\n";
    let mut bad: Vec<String> = NOT_IN_CORE.iter().map(|word| format!("fn a() {{ {word}(); }}")).collect();
    bad.extend(STD_NOT_IN_CORE.iter().map(|part| format!("use std::{part}::x;")));
    bad.extend(STD_NOT_IN_CORE.iter().map(|part| format!("use std::{{fmt,\n{part}::x}};")));
    bad.push("fn a() { let now = std::time::Instant::now(); }".to_owned());
    let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
    assert_finds(impurity, &format!("{CORE}a.rs"), good, &bad);
    assert_finds(impurity, "crates/liveoak-runtime/src/a.rs", "use tokio::time;", &[]);
}

fn effects<'a>(files: impl Iterator<Item = &'a File>) -> Vec<String> {
    let sources = files.filter(|file| file.path.starts_with("crates/") && !file.path.starts_with(CORE));
    let mentions = sources.filter(|file| !file.is_test()).filter_map(|file| {
        let masked = mask(file.text().unwrap_or_default());
        let line = outside_tests(&tokens(&masked))
            .iter()
            .find(|token| token.text == "Effect")
            .map(|token| token.line)?;
        Some(file.finding(line, "`Effect`: only one file turns effects into actions"))
    });
    let mentions: Vec<String> = mentions.collect();
    if mentions.len() > 1 { mentions } else { vec![] }
}

#[test]
fn one_file_turns_effects_into_actions() {
    assert_none(effects(rust()));
}

#[test]
fn a_second_file_with_effects_is_found() {
    let driver = File::new("crates/a/src/driver.rs", "match e { Effect::Start => {} }");
    let core = File::new("crates/liveoak-core/src/lib.rs", "pub use machine::Effect;");
    let test = File::new("crates/a/tests/effects.rs", "Effect::Start;");
    let talk = File::new("crates/a/src/talk.rs", "// Effect\nfn a() { SideEffect }");
    let second = File::new("crates/a/src/second.rs", "use liveoak_core::{Effect as E};");
    assert_none(effects([&driver, &core, &test, &talk].into_iter()));
    assert_eq!(effects([&driver, &second].into_iter()).len(), 2);
}

fn unproven(file: &File) -> Vec<String> {
    let text = file.text().unwrap_or_default();
    let masked = mask(text);
    let lines: Vec<&str> = text.lines().collect();
    let mut findings = Vec::new();
    for token in tokens(&masked).iter().filter(|token| token.text == "unsafe") {
        if !UNSAFE.contains(&file.path.as_str()) {
            let places = UNSAFE.join(", ");
            findings
                .push(file.finding(token.line, format!("`unsafe` belongs into these files alone: {places}")));
        } else if !has_proof(&lines, token.line) {
            findings.push(
                file.finding(token.line, "say right above, in a `// SAFETY:` comment, why this is sound"),
            );
        }
    }
    findings
}

/// Returns `true` if the comment right above a line has a proof. Attributes may stand between the two.
fn has_proof(lines: &[&str], line: usize) -> bool {
    let above = lines[..line - 1].iter().rev().map(|line| line.trim_start());
    let mut comment =
        above.skip_while(|line| line.starts_with("#[")).take_while(|line| line.starts_with("//"));
    comment.any(|line| line.trim_start_matches('/').trim_start().starts_with("SAFETY: "))
}

#[test]
fn unsafe_stands_in_two_files_and_each_time_with_its_proof() {
    assert_none(rust().flat_map(unproven).collect());
}

#[test]
fn unsafe_without_proof_or_elsewhere_is_found() {
    let proven = "#![expect(unsafe_code, reason = \"unsafe\")]\n// SAFETY: the pointer is ours,\n// and lives.\n#[inline]\n\
        unsafe fn a() {}\nfn b() {\n    // SAFETY: as above.\n    let c = unsafe { d() };\n}\n";
    let bad = [
        "fn a() { unsafe { b() } }",
        "// It is fine.\nunsafe impl Send for A {}",
        "// SAFETY: fine.\nlet a = 1;\nlet b = unsafe { c() };",
        "// SAFETY:\nunsafe fn a() {}",
    ];
    for file in UNSAFE {
        assert_finds(unproven, file, proven, &bad);
    }
    assert_finds(unproven, "crates/liveoak-process/src/group.rs", "// unsafe\n", &[proven]);
}

/// The crates whose threads supervise.
const SUPERVISING: [&str; 2] = ["crates/liveoak-runtime/src/", "crates/liveoak-process/src/"];
/// The log thread itself.
const LOG_THREAD: &str = "crates/liveoak-runtime/src/util/log.rs";

/// Returns a finding for each `tracing` macro that is not inside a call of `log` or `log_text`.
fn direct_lines(file: &File) -> Vec<String> {
    if file.is_test()
        || file.path == LOG_THREAD
        || !SUPERVISING.iter().any(|crates| file.path.starts_with(crates))
    {
        return vec![];
    }
    let masked = mask(file.text().unwrap_or_default());
    let tokens = outside_tests(&tokens(&masked));
    let calls = (0..tokens.len())
        .filter(|at| ["log", "log_text"].iter().any(|call| begins(&tokens, *at, &[call, "("])));
    let lines: Vec<_> = calls.map(|at| at..after_group(&tokens, at + 1)).collect();
    let levels = ["trace", "debug", "info", "warn", "error", "event"];
    let macros = (0..tokens.len())
        .filter(|at| levels.iter().any(|level| begins(&tokens, *at, &["tracing", "::", level, "!"])));
    let direct = macros.filter(|at| !lines.iter().any(|line| line.contains(at)));
    direct
        .filter_map(|at| tokens.get(at))
        .map(|token| {
            file.finding(
                token.line,
                "a log subscriber may block this thread: let the log thread write the line (`log(|| …)`)",
            )
        })
        .collect()
}

#[test]
fn no_thread_that_supervises_calls_the_log_subscriber_itself() {
    assert_none(rust().flat_map(direct_lines).collect());
}

#[test]
fn a_log_line_outside_of_the_log_thread_is_found() {
    let good = "fn a() { log(move || { tracing::info!(\"x\") }); }\n\
        #[cfg(test)]\nmod tests { fn b() { tracing::warn!(\"x\"); } }\n";
    let bad =
        ["fn a() { tracing::warn!(\"x\"); }", "fn a() { log(|| {}); catch(|| tracing::info!(\"x\")); }"];
    assert_finds(direct_lines, "crates/liveoak-process/src/x.rs", good, &bad);
}
