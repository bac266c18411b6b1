//! What `diagnose` prints, as golden transcripts. Renew them with `UPDATE_EXPECT=1`.

use expect_test::{Expect, expect};
use liveoak::api::{Finding, FindingKind, Problem};

use crate::canned::{noon, shop};
use crate::fake::{Reply, json, problem};
use crate::support::Home;

fn findings() -> Vec<Finding> {
    let finding = |finding, path: &str, evidence: &str, command: &str| Finding {
        finding,
        path: path.to_owned(),
        since: noon(),
        evidence: evidence.to_owned(),
        command: command.to_owned(),
    };
    vec![
        finding(
            FindingKind::PortTaken,
            "/shop/api",
            "\"bind: address already in use\u{1b}[2J\"; process 4711 (nginx) listens at 0.0.0.0:8080",
            "ps -o pid,user,lstart,args -p 4711",
        ),
        finding(
            FindingKind::RestartStorm,
            "/shop/worker",
            "6 attempts ended by themselves within 12s, the last after 120ms: exit code 3",
            "liveoak logs /shop/worker -n 50",
        ),
    ]
}

#[track_caller]
fn prints(args: &[&str], reply: Reply, expected: Expect) {
    let home = Home::new();
    let shop = shop(&home, move |request| request.path.starts_with("/v1/diagnose").then(|| reply.clone()));
    let ran = home.run(args);
    let asked = shop.requests().pop().map_or(String::new(), |request| format!("> {}\n", request.path));
    let ago = regex_lite::Regex::new(r"Z \([0-9dhms]+\)").expect("a pattern");
    let text = home.without_path(&ran.transcript());
    expected.assert_eq(&format!("{}{asked}", ago.replace_all(&text, "Z (AGO)")));
}

#[test]
fn each_finding_has_its_evidence_and_the_command_that_helps_and_the_exit_code_is_1() {
    prints(
        &["diagnose"],
        json(&findings()),
        expect![[r#"
        /shop/api: port-taken, since 2026-01-31T12:00:00.000Z (AGO)
          "bind: address already in use\u{1b}[2J"; process 4711 (nginx) listens at 0.0.0.0:8080
          $ ps -o pid,user,lstart,args -p 4711

        /shop/worker: restart-storm, since 2026-01-31T12:00:00.000Z (AGO)
          6 attempts ended by themselves within 12s, the last after 120ms: exit code 3
          $ liveoak logs /shop/worker -n 50
        = 1
        > /v1/diagnose
    "#]],
    );
}

#[test]
fn the_commands_name_the_tree_as_the_verb_was_given_it() {
    prints(
        &["diagnose", "ingest/", "--tree", "shop", "--json"],
        json(&findings().split_off(1)),
        expect![[r#"
        [
          {
            "finding": "restart-storm",
            "path": "/shop/worker",
            "since": "2026-01-31T12:00:00.000Z",
            "evidence": "6 attempts ended by themselves within 12s, the last after 120ms: exit code 3",
            "command": "liveoak logs /shop/worker -n 50 --tree shop"
          }
        ]
        = 1
        > /v1/diagnose?path=ingest
    "#]],
    );
}

#[test]
fn without_a_finding_the_exit_code_is_0() {
    prints(
        &["diagnose", "ingest/*"],
        json(&Vec::<Finding>::new()),
        expect![[r#"
        ! nothing is found to be wrong
        = 0
        > /v1/diagnose?path=ingest%2F%2A
    "#]],
    );
    prints(
        &["diagnose", "--json"],
        json(&Vec::<Finding>::new()),
        expect![[r#"
        []
        = 0
        > /v1/diagnose
    "#]],
    );
}

#[test]
fn a_misspelt_child_of_a_diagnosis_is_exit_code_5() {
    let unknown = Problem::new("no-such-child", "there is no child /shop/wbe").near_miss(Some("/shop/web"));
    prints(
        &["diagnose", "wbe"],
        problem(&unknown),
        expect![[r#"
        ! error: there is no child /shop/wbe; did you mean /shop/web?
        !   `liveoak ps` lists the children
        = 5
        > /v1/diagnose?path=wbe
    "#]],
    );
}
