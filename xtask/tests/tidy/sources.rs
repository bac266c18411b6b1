//! Rules about every Rust file.

use crate::code::{
    Token, after_attribute, after_group, begins, is_test_attribute, mask, outside_tests, tokens,
};
use crate::tree::{File, assert_finds, assert_none, rust};

/// The largest number of lines of a file.
const FILE_LINES: usize = 600;
/// The largest number of lines of a function.
const FUNCTION_LINES: usize = 70;
/// The fewest words of a test name.
const TEST_NAME_WORDS: usize = 3;

fn module_docs(file: &File) -> Vec<String> {
    let begins_with_docs = file.text().is_some_and(|text| text.starts_with("//! "));
    if begins_with_docs { vec![] } else { vec![file.finding(1, "begin the file with `//!`: what it is for")] }
}

#[test]
fn every_rust_file_begins_by_saying_what_it_is_for() {
    assert_none(rust().flat_map(module_docs).collect());
}

#[test]
fn a_file_without_module_docs_is_found() {
    assert_finds(module_docs, "a.rs", "//! What.\nfn a() {}\n", &["fn a() {}\n", "// What.\n", "//!\n", ""]);
}

fn file_size(file: &File) -> Vec<String> {
    let lines = file.text().map_or(0, |text| text.lines().count());
    if lines <= FILE_LINES {
        return vec![];
    }
    vec![file.finding(lines, format!("{lines} lines, at most {FILE_LINES}: split it where two jobs meet"))]
}

#[test]
fn no_rust_file_is_longer_than_600_lines() {
    assert_none(rust().flat_map(file_size).collect());
}

#[test]
fn a_file_of_601_lines_is_found() {
    assert_finds(file_size, "a.rs", &"\n".repeat(600), &[&"\n".repeat(601)]);
}

fn function_size(file: &File) -> Vec<String> {
    if file.is_test() {
        return vec![];
    }
    let masked = mask(file.text().unwrap_or_default());
    let tokens = outside_tests(&tokens(&masked));
    let functions = (0..tokens.len()).filter_map(|at| function(&tokens, at));
    let long = functions.filter(|(_, _, lines)| *lines > FUNCTION_LINES);
    long.map(|(name, line, lines)| {
        file.finding(
            line,
            format!("`{name}` has {lines} lines, at most {FUNCTION_LINES}: give a part of it a name"),
        )
    })
    .collect()
}

/// Returns the name, the line and the number of lines of the function that begins at `at`, if it has a body.
fn function<'a>(tokens: &[Token<'a>], at: usize) -> Option<(&'a str, usize, usize)> {
    let (begin, name) = (tokens[at], tokens.get(at + 1)?);
    if begin.text != "fn" || !name.is_word() {
        return None;
    }
    let mut at = at + 2;
    loop {
        match tokens.get(at)?.text {
            "{" => break,
            ";" => return None,
            "(" | "[" => at = after_group(tokens, at),
            _ => at += 1,
        }
    }
    let end = tokens[after_group(tokens, at) - 1].line;
    Some((name.text, begin.line, end - begin.line + 1))
}

#[test]
fn no_function_is_longer_than_70_lines() {
    assert_none(rust().flat_map(function_size).collect());
}

#[test]
fn a_function_of_71_lines_is_found_unless_it_is_a_test() {
    let long = format!("fn a(b: [u8; 2]) -> C {{{}}}\n", "\n".repeat(70));
    let nested = format!(
        "impl A {{\n    pub(crate) async fn b<T>(&self) where T: C {{\n  if d {{ {} }}\n }}\n}}",
        "\n".repeat(70)
    );
    let good = format!(
        "trait A {{ fn a(); }} type F = fn(u8);\nfn a() {{{}}}\n#[cfg(test)]\nmod tests {{\n{long}}}\n",
        "\n".repeat(69)
    );
    assert_finds(function_size, "crates/a/src/a.rs", &good, &[&long, &nested]);
    assert_finds(function_size, "crates/a/tests/a.rs", &long, &[]);
}

/// Returns a finding for each ignored test whose reason names no command.
fn unrunnable(file: &File) -> Vec<String> {
    let lines = (1..).zip(file.text().unwrap_or_default().lines());
    let ignored = lines.filter(|(_, line)| line.trim_start().starts_with("#[ignore = "));
    let silent = ignored.filter(|(_, line)| !line.contains("`cargo "));
    silent.map(|(line, _)| file.finding(line, "name the command that runs the ignored test")).collect()
}

#[test]
fn every_ignored_test_names_the_command_that_runs_it() {
    assert_none(rust().flat_map(unrunnable).collect());
}

#[test]
fn an_ignored_test_without_a_command_is_found() {
    let good = "#[ignore = \"a program: `cargo test --test a`\"]\nfn a() {}\n";
    assert_finds(
        unrunnable,
        "crates/a/tests/a.rs",
        good,
        &["#[ignore = \"another test runs it\"]\nfn b() {}\n"],
    );
}

/// Finds each `assert!` of an upper bound on wall time. A lower bound may be asserted, because it also holds on a slow machine.
fn wall_time(file: &File) -> Vec<String> {
    let masked = mask(file.text().unwrap_or_default());
    let lines = (1..).zip(masked.lines());
    let asserts = |line: &str| {
        line.trim_start().starts_with("assert!") && line.contains(".elapsed()") && line.contains(" < ")
    };
    let found = lines.filter(|(_, line)| asserts(line));
    found.map(|(line, _)| file.finding(line, "do not assert wall time: it fails on a slow machine")).collect()
}

#[test]
fn wall_time_is_never_asserted() {
    assert_none(rust().flat_map(wall_time).collect());
}

#[test]
fn an_upper_bound_on_wall_time_is_found_but_not_a_lower_bound() {
    let good = "fn a() { assert!(began.elapsed() >= GRACE); }\n// assert!(a.elapsed() < B)\n";
    assert_finds(wall_time, "crates/a/tests/a.rs", good, &["    assert!(a.elapsed() < B, \"c\");\n"]);
}

fn leftovers(file: &File) -> Vec<String> {
    const MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];
    let masked = mask(file.text().unwrap_or_default());
    let tokens = tokens(&masked);
    let mut findings = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if MACROS.contains(&token.text) && begins(&tokens, at + 1, &["!"]) {
            findings.push(
                file.finding(token.line, format!("`{}!` is for unfinished code: finish it", token.text)),
            );
        }
        if begins(&tokens, at, &["#", "[", "ignore", "]"]) {
            findings.push(file.finding(token.line, "say why the test is ignored: `#[ignore = \"…\"]`"));
        }
    }
    findings
}

#[test]
fn code_has_no_todo_comments() {
    assert_none(rust().flat_map(leftovers).collect());
}

#[test]
fn an_unfinished_macro_is_found_in_code_but_not_in_a_string_or_comment() {
    let good =
        "// todo!()\nfn a() { b(\"todo!()\"); let todo = 1; }\n#[ignore = \"needs a network\"]\nfn c() {}\n";
    let bad = [
        "fn a() { todo!() }",
        "fn a() { unimplemented!(\"b\") }",
        "fn a() { dbg!(b) }",
        "#[ignore]\nfn a() {}",
    ];
    assert_finds(leftovers, "a.rs", good, &bad);
}

fn suppressions(file: &File) -> Vec<String> {
    let masked = mask(file.text().unwrap_or_default());
    let tokens = tokens(&masked);
    let attributes = (0..tokens.len()).filter_map(|at| Some(&tokens[at..after_attribute(&tokens, at)?]));
    let allowing =
        attributes.filter(|attribute| (0..attribute.len()).any(|at| begins(attribute, at, &["allow", "("])));
    allowing
        .map(|attribute| {
            file.finding(attribute[0].line, "write `#[expect(…, reason = \"…\")]` instead of `allow`")
        })
        .collect()
}

#[test]
fn a_lint_is_switched_off_only_by_expect_with_a_reason() {
    assert_none(rust().flat_map(suppressions).collect());
}

#[test]
fn an_allowed_lint_is_found() {
    let good = "#[expect(dead_code, reason = \"allow(x)\")]\nfn allow() {}\nfn a() { allow(b) }\n";
    let bad = [
        "#[allow(dead_code)]\nfn a() {}",
        "#![allow(dead_code)]",
        "#[cfg_attr(test, allow(dead_code))]\nfn a() {}",
    ];
    assert_finds(suppressions, "a.rs", good, &bad);
}

fn test_names(file: &File) -> Vec<String> {
    let masked = mask(file.text().unwrap_or_default());
    let tokens = tokens(&masked);
    let mut findings = Vec::new();
    for at in 0..tokens.len() {
        let Some(end) = after_attribute(&tokens, at) else { continue };
        let attribute = &tokens[at..end];
        if !is_test_attribute(attribute) || attribute.iter().any(|token| token.text == "cfg") {
            continue;
        }
        let mut head = tokens[end..].iter().take_while(|token| token.text != "fn");
        if head.any(|token| token.text == "ignore") {
            continue; // It is a program that tests start, or a test that a person runs by its name.
        }
        let name = tokens[end..].iter().skip_while(|token| token.text != "fn").nth(1);
        if let Some(name) = name.filter(|name| name.text.split('_').count() < TEST_NAME_WORDS) {
            findings
                .push(file.finding(name.line, format!("`{}`: let the test's name be a sentence", name.text)));
        }
    }
    findings
}

#[test]
fn the_name_of_every_test_is_a_sentence() {
    assert_none(rust().flat_map(test_names).collect());
}

#[test]
fn a_test_named_by_a_word_is_found() {
    let good = "#[test]\nfn a_child_restarts() {}\n#[cfg(test)]\nmod tests {}\nfn a() {}\n\
        #[test]\n#[ignore = \"a program\"]\nfn program() {}\n";
    let bad = ["#[test]\nfn restarts() {}", "#[tokio::test(start_paused = true)]\nasync fn it_works() {}"];
    assert_finds(test_names, "a.rs", good, &bad);
}
