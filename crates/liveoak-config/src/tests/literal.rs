//! Texts that a shell would expand, and that Liveoak takes literally: the advice of the errors, and the warnings.

use super::{errors, read, read_text};
use std::path::Path;

fn advice(command: &str) -> String {
    let report = read_text(Path::new("/nowhere"), &format!("[child.a]\ncommand = {command}"));
    let found = report.expect_err(command).diagnostics;
    let [only] = &found[..] else { panic!("{command}: {found:?}") };
    only.help.clone().unwrap_or_default()
}

#[test]
fn the_advice_how_to_quote_shell_syntax_works_where_it_is_given() {
    for (wrong, advice_for_it, right) in [
        (r#""echo $HOME""#, "put '...' around it", r#""echo '$HOME'""#),
        (r#""echo *""#, "put '...' around it", r#""echo '*'""#),
        (r#""echo \"$HOME/x\"""#, "put '...' in place of the double quotes", r#""echo '$HOME/x'""#),
        (r#""echo \"$HOME/x\"""#, "or `\\\\` before it", r#""echo \"\\$HOME/x\"""#),
        (r#""echo \"`date`\"""#, "or `\\\\` before it", r#""echo \"\\`date\\`\"""#),
        (r#"'echo "$HOME"'"#, "put `\\` before each such character", r#"'echo "\$HOME"'"#),
        (r#"'echo $HOME'"#, "put `\\` before each such character", r#"'echo \$HOME'"#),
        (r#"'echo a&&b'"#, "put `\\` before each such character", r#"'echo a\&\&b'"#),
        (r#"'''echo "$HOME"'''"#, "put '...' in place of the double quotes", r#"'''echo '$HOME' '''"#),
        (r#"'''echo "$HOME"'''"#, "or `\\` before it", r#"'''echo "\$HOME"'''"#),
        (r#"'''echo $HOME'''"#, "put '...' around it", r#"'''echo '$HOME' '''"#),
    ] {
        let advice = advice(wrong);
        assert!(advice.contains(advice_for_it), "{wrong}: {advice}");
        assert_eq!(errors(&format!("[child.a]\ncommand = {right}")), [""; 0], "{right}");
    }
}

#[test]
fn a_path_that_begins_with_a_tilde_is_one_error_in_every_key() {
    for path in ["~", "~/x", "~root/x"] {
        for keys in [
            format!("command = \"x\"\nenv_file = \"{path}\""),
            format!("command = \"x\"\ncwd = \"{path}\""),
            format!("command = \"x\"\ncwd = \"{path}\"\nready = {{ file = \"x\" }}"),
            format!("command = \"x\"\nready = {{ file = \"{path}\" }}"),
            format!("command = \"x\"\nready = {{ unix = \"{path}\" }}"),
            format!("command = \"x\"\nliveness = {{ file = \"{path}\" }}"),
            format!("command = [\"{path}/x\"]"),
            format!("command = \"x\"\nready = {{ command = [\"{path}/x\"] }}"),
        ] {
            let found = errors(&format!("[child.a]\n{keys}"));
            assert!(found.len() == 1 && found[0].starts_with("`~` is not expanded"), "{keys}: {found:?}");
        }
    }
    for path in ["./~", "x~/y", "a/~/b", "~x.lock"] {
        assert_eq!(errors(&format!("[child.a]\ncommand = \"x\"\ncwd = \"{path}\"")), [""; 0], "{path}");
    }
}

/// Returns the keys of the warnings of a child with these keys.
fn warned(keys: &str) -> Vec<String> {
    let config = read(&format!("name = \"t\"\n[child.s.child.a]\ncommand = \"x\"\n{keys}"));
    assert!(config.value_warnings.iter().all(|warning| warning.child.as_str() == "/t/s/a"));
    config.value_warnings.iter().map(|warning| warning.field.clone()).collect()
}

#[test]
fn a_value_of_env_that_a_shell_would_expand_is_a_warning_that_does_not_show_it() {
    for value in [
        "$PATH:/opt/bin",
        "/opt/bin:$PATH",
        "postgres://${DB_USER}@db",
        "${db:-x}",
        "$(date)",
        "`date`",
        "~/data",
        "~",
        "/bin:~/bin",
        "a $X_1 b",
    ] {
        let keys = format!("env = {{ A = \"x\", B = '{value}' }}");
        assert_eq!(warned(&keys), ["env.B"], "{value}");
        let shown = read(&format!("[child.a]\ncommand = \"x\"\n{keys}")).value_warnings[0].to_string();
        assert!(!shown.contains(value), "{shown}");
    }
    for value in [
        "pa$word",
        "$2y$10$abc",
        "100$",
        "$",
        "$5",
        "a~b",
        "~a",
        "^a$",
        "a`b",
        "$1",
        "${}",
        "$()",
        "$$",
        "{a}",
    ] {
        assert_eq!(warned(&format!("env = {{ B = '{value}' }}")), [""; 0], "{value}");
    }
}

#[test]
fn a_path_that_a_shell_would_expand_is_a_warning() {
    assert_eq!(warned("cwd = \"$HOME/x\""), ["cwd"]);
    assert_eq!(warned("ready = { file = \"${XDG_RUNTIME_DIR}/x\" }"), ["ready.file"]);
    assert_eq!(
        warned("ready = { unix = \"$RUN/{replica}\" }\nreplicas = 3"),
        ["ready.unix"],
        "one for all replicas"
    );
    assert_eq!(warned("cwd = \"a$b\""), [""; 0]);
}

#[test]
fn a_value_of_an_env_file_that_a_shell_would_expand_is_a_warning_unless_it_is_in_single_quotes_or_escaped() {
    let folder = std::env::temp_dir().join(format!("liveoak-literal-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let text =
        "A=$HOME\nB='$HOME'\nC=\"\\$HOME\"\nD=\"${HOME}\"\nE=pa$word\nexport  F='$X'\nG=$HOME\nG='$HOME'\n";
    std::fs::write(folder.join("my.env"), text).expect("written");
    let read = |keys: &str| {
        let text = format!("[child.a]\ncommand = \"x\"\nenv_file = \"my.env\"\n{keys}");
        let config = read_text(&folder, &text).unwrap_or_else(|report| panic!("{}", report.text(false)));
        config.value_warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let [warning] = &read("")[..] else { panic!("one warning") };
    assert!(warning.contains("the value of `A`, `D`;"), "{warning}");
    let [warning] = &read("env = { A = \"x\" }")[..] else { panic!("one warning") };
    assert!(warning.contains("the value of `D`;"), "a variable of `env` overrides: {warning}");
    std::fs::remove_dir_all(folder).expect("removed");
}

#[test]
fn an_env_file_from_the_standard_input_and_a_child_that_inherits_it_are_an_error() {
    let open = |_: &Path| Ok("A=1".to_owned());
    let found = |keys: &str| {
        let text = format!("[child.a]\ncommand = \"x\"\n{keys}");
        let read = crate::load::read(Path::new("f"), Path::new("/srv"), &text, &open, None);
        read.err().map(|report| report.diagnostics[0].message.clone())
    };
    for path in ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
        let both = format!("env_file = \"{path}\"\nstdin = \"inherit\"");
        assert_eq!(found(&both).as_deref(), Some("the standard input has two readers"), "{path}");
        assert_eq!(found(&format!("env_file = \"{path}\"\nstdin = \"open\"")), None);
    }
    assert_eq!(found("env_file = \"x\"\nstdin = \"inherit\""), None);
}

#[test]
fn a_warning_about_an_env_file_names_twelve_variables_and_counts_the_others() {
    let file = |count: usize| (0..count).map(|n| format!("A{n}=$HOME\n")).collect::<String>();
    for (count, expected) in
        [(12, "`A10`, `A11`;"), (13, "`A10`, `A11` and 1 more;"), (20_000, "`A11` and 19988 more;")]
    {
        let open = |_: &Path| Ok(file(count));
        let text = "[child.a]\ncommand = \"x\"\nenv_file = \"my.env\"\n";
        let config = crate::load::read(Path::new("f"), Path::new("/srv"), text, &open, None);
        let config = config.unwrap_or_else(|report| panic!("{}", report.text(false)));
        let [warning] = &config.value_warnings[..] else { panic!("one warning") };
        assert!(warning.text.contains(expected), "{}", warning.text);
    }
}

#[test]
fn fifty_values_are_warned_of_and_the_others_are_counted() {
    let text = |count: usize| {
        let variables: String = (0..count).map(|n| format!("A{n} = \"$HOME\"\n")).collect();
        format!("[child.a]\ncommand = \"x\"\n[child.a.env]\n{variables}")
    };
    let warnings = |count: usize| -> Vec<String> {
        read(&text(count)).value_warnings.iter().map(ToString::to_string).collect()
    };
    assert_eq!((warnings(49).len(), warnings(50).len()), (49, 50));
    for (count, expected) in [(51, "about values is 1"), (20_000, "about values is 19950")] {
        let found = warnings(count);
        assert_eq!(found.len(), 51, "the others are counted");
        assert!(found[49].contains(": env.A49: ") && found[50].contains(expected), "{:?}", &found[49..]);
    }
}
