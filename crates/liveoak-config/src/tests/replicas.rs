//! `{replica}`: where it is replaced, and where it is an error.

use super::{program, read, read_text};
use crate::{Config, ProgramConfig};
use liveoak_process::{CommandLine, Probe};
use std::path::Path;

/// Reads a file with one child `web`, which has these keys.
fn child(keys: &str) -> Config {
    read(&format!("[child.web]\n{keys}"))
}

/// Returns the replicas of the child.
fn replicas(keys: &str) -> Vec<ProgramConfig> {
    let expanded = child(keys).expanded();
    expanded.root.children.iter().map(|child| program(child).clone()).collect()
}

/// Returns the errors of a file with one child `web`, each as one text.
fn errors(keys: &str) -> Vec<String> {
    let text = format!("[child.web]\n{keys}");
    let report = read_text(Path::new("/srv"), &text).expect_err(&text);
    let shown = report.json()["errors"].as_array().expect("an array").clone();
    shown.iter().map(|error| format!("{} {} {}", error["path"], error["message"], error["help"])).collect()
}

#[test]
fn each_replica_has_its_number_in_every_key_that_may_name_it() {
    let keys = "command = [\"./web{replica}\", \"--port=700{replica}\", \"${replica} {{replica}} {x}\"]\nreplicas = 3\n\
                cwd = \"data/{replica}\"\nenv = { A = \"{replica}\", B = \"same\" }\n";
    for (probe, of) in [
        (
            "tcp = \"127.0.0.1:700{replica}\"",
            (|n| Probe::tcp(&format!("127.0.0.1:700{n}")).unwrap()) as fn(u16) -> Probe,
        ),
        ("http = \"http://h:80/{replica}\"", |n| Probe::http(&format!("http://h:80/{n}")).unwrap()),
        ("log = 'up {replica} a{3}'", |n| Probe::log(&format!("up {n} a{{3}}")).unwrap()),
        ("unix = \"s{replica}\"", |n| Probe::unix(format!("/srv/my shop/data/{n}/s{n}"))),
        ("file = \"f{replica}\"", |n| Probe::file(format!("/srv/my shop/data/{n}/f{n}"))),
        ("command = \"ask {replica}\"", |n| {
            Probe::command(CommandLine::new("ask").arg(n.to_string()).cwd(format!("/srv/my shop/data/{n}")))
        }),
    ] {
        let found = replicas(&format!("{keys}ready = {{ {probe}, within = \"3s\" }}"));
        assert_eq!(found.len(), 3);
        for (number, found) in (1..).zip(&found) {
            let folder = format!("/srv/my shop/data/{number}");
            let expected = CommandLine::new(format!("{folder}/web{number}"))
                .args([format!("--port=700{number}"), "${replica} {replica} {x}".to_owned()])
                .cwd(folder)
                .env("A", number.to_string())
                .env("B", "same");
            assert_eq!((&found.command, &found.ready), (&expected, &Some(of(number))), "{probe}");
            assert_eq!((found.replica, found.replicas, found.others.len()), (number, 1, 0));
        }
    }
    let found = replicas("shell = \"serve {replica} ${replica}\"\nreplicas = 2");
    let lines: Vec<_> = found.iter().map(|found| found.command.shell_line().unwrap().to_owned()).collect();
    assert_eq!(lines, ["serve 1 ${replica}", "serve 2 ${replica}"]);
}

#[test]
fn a_program_without_replicas_is_number_one_and_replicas_without_the_word_share_one_command() {
    let config = child("command = \"serve {replica}\"");
    let single = program(&config.root.children[0]);
    assert_eq!(single.command.args, ["1"]);
    assert_eq!(single.replica, 1);
    let config = child("command = \"serve\"\nreplicas = 1000");
    assert!(program(&config.root.children[0]).others.is_empty());
    let numbers: Vec<u16> =
        config.expanded().root.children.iter().map(|child| program(child).replica).collect();
    assert_eq!(numbers, (1..=1000).collect::<Vec<_>>());
}

#[test]
fn a_value_that_is_wrong_for_one_replica_is_one_error() {
    let found = errors("command = \"x\"\nreplicas = 9\nready = { tcp = \"127.0.0.1:6553{replica}\" }");
    let [error] = &found[..] else { panic!("{found:?}") };
    assert!(error.contains("child.web.ready.tcp"), "{error}");
    let found = errors("command = \"x\"\nreplicas = 2\nready = { delay = \"{replica}s\" }");
    assert!(found[0].contains("child.web.ready.delay"), "a time is no text: {found:?}");
}

#[test]
fn a_misspelt_replica_word_is_an_error_that_shows_the_right_word() {
    for (keys, path) in [
        ("command = \"serve {replicas}\"", "child.web.command"),
        ("command = [\"serve\", \"{Replica}\"]", "child.web.command[1]"),
        ("command = \"x\"\nenv = { A = \"hunter2 {replica_id}\" }", "child.web.env.A"),
        ("command = \"x\"\ncwd = \"{ replica }\"", "child.web.cwd"),
        ("command = \"x\"\nready = { tcp = \"a:{replcia}\" }", "child.web.ready.tcp"),
        ("shell = \"serve {replicas}\"", "child.web.shell"),
        ("command = \"serve {instance}\"\nreplicas = 2", "child.web.command"),
        ("command = \"serve --n=%(process_num)d\"\nreplicas = 2", "child.web.command"),
    ] {
        let found = errors(keys);
        let all = found.join("\n");
        assert!(
            found.iter().any(|error| error.contains(path) && error.contains("did you mean `{replica}`?")),
            "{all}"
        );
        assert!(!all.contains("hunter2"), "{all}");
    }
    child("command = \"serve {instance} {{replicas}}\"");
}

#[test]
fn the_replica_word_is_an_error_where_it_has_no_meaning() {
    for (keys, message) in [
        ("command = \"x\"\nenv_file = \".env.{replica}\"", "has no meaning in `env_file`"),
        ("command = \"x\"\nenv = { \"A{replica}\" = \"1\" }", "has no meaning in the name of a variable"),
    ] {
        let found = errors(keys).join("\n");
        assert!(found.contains(message) && !found.contains('\n'), "one error: {found}");
    }
}

#[test]
fn the_file_cannot_set_the_variables_that_identify_a_program() {
    for name in ["LIVEOAK_PATH", "LIVEOAK_REPLICA", "LIVEOAK_ATTEMPT"] {
        let found = errors(&format!("command = \"x\"\nenv = {{ {name} = \"1\" }}"));
        assert!(found[0].contains(&format!("`{name}` is set by liveoak itself")), "{found:?}");
    }
}

#[test]
fn replicas_stay_one_place_in_the_order_when_a_tree_is_expanded_again() {
    let once = child("command = \"x\"\nreplicas = 3").expanded();
    let again = once.expanded();
    for expanded in [&once, &again] {
        let sets: Vec<_> = expanded.root.children.iter().map(|child| child.spec.replica_of.clone()).collect();
        assert_eq!(sets.len(), 3);
        assert!(sets.iter().all(|set| set.as_ref().is_some_and(|set| set.as_str() == "web")), "{sets:?}");
    }
}
