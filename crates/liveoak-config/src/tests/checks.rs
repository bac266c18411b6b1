//! The checks of a program: `readiness` and `liveness`.

use super::{program, read, read_text};
use liveoak_core::{CheckKind, CheckSpec};
use liveoak_process::Probe;
use std::path::Path;
use std::time::Duration;

/// Returns the checks of a program with these keys, each with its probe.
fn checks(keys: &str) -> Vec<(CheckSpec, Probe)> {
    let config = read(&format!("[child.a]\ncommand = \"x\"\n{keys}"));
    let child = &config.root.children[0];
    child.spec.checks().iter().cloned().zip(program(child).checks.iter().cloned()).collect()
}

fn refused(keys: &str) -> String {
    let text = format!("[child.a]\ncommand = \"x\"\n{keys}");
    read_text(Path::new("/nowhere"), &text).expect_err("refused").text(false)
}

#[test]
fn a_check_that_leaves_keys_out_gets_the_defaults() {
    for (key, kind) in [("readiness", CheckKind::Readiness), ("liveness", CheckKind::Liveness)] {
        let found = checks(&format!("{key} = {{ tcp = \"localhost:80\" }}"));
        let [(check, probe)] = &found[..] else { panic!("{found:?}") };
        assert_eq!((check.name.as_str(), check.kind), (key, kind));
        let times = (check.every, check.timeout, check.delay);
        assert_eq!(times, (Duration::from_secs(10), Duration::from_secs(1), Duration::ZERO));
        assert_eq!((check.failures, check.successes), (3, 1));
        assert_eq!(Some(probe.clone()), Probe::tcp("localhost:80").ok());
    }
}

#[test]
fn a_program_may_have_several_checks_of_one_kind() {
    let keys = "readiness = [{ unix = \"s\", successes = 2 }, { file = \"f\" }]\n\
                [[child.a.liveness]]\nname = \"db\"\nhttp = \"http://h:1/\"\nevery = \"2s\"\ntimeout = \"3s\"\n\
                [[child.a.liveness]]\ncommand = [\"./alive\"]\nfailures = 5\ndelay = \"1m\"";
    let found = checks(keys);
    let names: Vec<_> = found.iter().map(|(check, _)| check.name.as_str()).collect();
    assert_eq!(names, ["readiness", "readiness-2", "db", "liveness-2"]);
    assert_eq!(found[0].0.successes, 2);
    assert_eq!((found[2].0.every, found[2].0.timeout), (Duration::from_secs(2), Duration::from_secs(3)));
    assert_eq!((found[3].0.failures, found[3].0.delay), (5, Duration::from_secs(60)));
}

#[test]
fn each_replica_has_its_own_probe() {
    let keys =
        "replicas = 2\nliveness = { tcp = \"h:700{replica}\" }\n[[child.a.readiness]]\nfile = \"f{replica}\"";
    let config = read(&format!("[child.a]\ncommand = \"x\"\n{keys}")).expanded();
    let found: Vec<_> = config.root.children.iter().map(|child| program(child).checks[1].clone()).collect();
    assert_eq!(
        found.into_iter().map(Some).collect::<Vec<_>>(),
        [Probe::tcp("h:7001").ok(), Probe::tcp("h:7002").ok()]
    );
}

#[test]
fn a_check_that_makes_no_sense_is_refused_at_its_place() {
    for (keys, expected) in [
        ("liveness = { log = 'x' }", "log"),
        ("readiness = { delay = \"1s\" }", "has no probe"),
        ("liveness = { tcp = \"h:1\", successes = 2 }", "successes"),
        ("liveness = { tcp = \"h:1\", file = \"f\" }", "more than one probe"),
        ("liveness = { every = \"1s\" }", "has no probe"),
        ("liveness = { tcp = \"h:1\", every = \"0s\" }", "is zero"),
        ("liveness = { tcp = \"h:1\", failures = 0 }", "a whole number from 1"),
        ("liveness = []", "has no check"),
        ("liveness = 3", "must be"),
        (
            "readiness = { tcp = \"h:1\", name = \"c\" }\nliveness = { tcp = \"h:1\", name = \"c\" }",
            "used by two checks",
        ),
        ("[child.b]\ncommand = \"x\"\nafter = { a = \"healthy\" }", "has no health"),
    ] {
        let text = refused(keys);
        assert!(text.contains(expected), "{keys}: {text}");
    }
}
