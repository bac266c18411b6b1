//! Reads the two commands of README.md for a fresh clone. So CI runs exactly what README.md tells readers to type.

/// README's two commands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commands {
    /// Builds and runs the demonstration.
    pub demo: String,
    /// Runs all tests.
    pub test: String,
}

/// The beginning of the demonstration's command. The word `up` must follow.
const DEMO: &str = "cargo run ";

const TEST: &str = "cargo xtask test";

/// Returns both commands, found in the `sh` and `console` blocks of README's text.
///
/// # Errors
///
/// Returns a sentence that names the command that is missing, or that occurs more than once.
pub fn commands(text: &str) -> Result<Commands, String> {
    let lines = shell_lines(text);
    let is_demo = |line: &&str| line.starts_with(DEMO) && line.split_whitespace().any(|word| word == "up");
    let demo =
        only(lines.iter().copied().filter(is_demo), "a line `cargo run … up …` that runs the demonstration")?;
    let test = only(lines.iter().copied().filter(|&line| line == TEST), "the line `cargo xtask test`")?;
    Ok(Commands { demo, test })
}

/// Returns the only command in `found`.
fn only<'a>(found: impl Iterator<Item = &'a str>, what: &str) -> Result<String, String> {
    let found: Vec<&str> = found.collect();
    match found.as_slice() {
        &[line] => Ok(line.to_owned()),
        [] => Err(format!("README.md has no `sh` block with {what}")),
        _ => Err(format!("README.md has {what} more than once; keep one of them")),
    }
}

/// Returns the lines of all fenced blocks marked `sh` or `console`, without prompt and comment.
fn shell_lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("```") {
            Some(language) => inside = !inside && matches!(language.trim(), "sh" | "console"),
            None if inside => lines.push(bare(line)),
            None => {}
        }
    }
    lines
}

fn bare(line: &str) -> &str {
    let line = line.strip_prefix("$ ").unwrap_or(line);
    line.split(" #").next().unwrap_or(line).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Oak\n```rust\ncargo xtask test\n```\n```sh\ncargo add oak\n```\nTry:\n\n```sh\n$ cargo run -p cli -- up demo.toml  # for ever\n```\n\
        and\n```sh\ncargo xtask test\n```\n";

    #[test]
    fn the_demonstration_and_the_test_command_are_found_in_shell_blocks_without_prompt_and_comment() {
        let found = commands(GOOD).unwrap();
        assert_eq!(found.demo, "cargo run -p cli -- up demo.toml");
        assert_eq!(found.test, "cargo xtask test");
    }

    #[test]
    fn a_missing_or_doubled_command_is_an_error_that_says_which() {
        let without_test = GOOD.replace("```sh\ncargo xtask test", "```sh\ncargo test");
        assert!(commands(&without_test).unwrap_err().contains("`cargo xtask test`"));
        let doubled = format!("{GOOD}{GOOD}");
        assert!(commands(&doubled).unwrap_err().contains("more than once"));
        assert!(commands("nothing").unwrap_err().contains("demonstration"));
    }
}
