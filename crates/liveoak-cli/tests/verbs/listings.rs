//! What the verbs print that read, as golden transcripts. Renew them with `UPDATE_EXPECT=1`.

use expect_test::{Expect, expect};

use crate::canned::{shop, tree};
use crate::support::{Home, RunToEnd as _};

#[track_caller]
fn prints(args: &[&str], expected: Expect) {
    let home = Home::new();
    let _shop = shop(&home, |_| None);
    let ran = home.run(args);
    expected.assert_eq(&home.without_path(&ran.transcript()));
}

#[test]
fn ps_lists_all_children_with_what_their_state_does_not_say() {
    prints(
        &["ps"],
        expect![[r#"
        CHILD                   STATE        FOR    HEALTH     RESTARTS  PID   NOTE
        /shop                   running      3m12s  unhealthy  0         -     not ready
        /shop/db (Order store)  running      3m12s  -          0         4711
        /shop/api               waiting      2s     degraded   0         -     waits for /shop/db: ready, 12s left
        /shop/worker            backing-off  400ms  degraded   3         -     starts in 600ms; last exit: exit code 3
        /shop/mail              quarantined  3m12s  unhealthy  10        -     tried again in 5m; last exit: killed\u{1b}[2J
        /shop/cache             running      3m12s  degraded   0         4711  not ready; disk nearly full
        /shop/ingest            running      3m12s  -          0         -     supervisor
        /shop/ingest/kafka      running      3m12s  healthy    0         4711  paused
        /shop/ingest/files      stopped      3m12s  -          0         -     not wanted by the mode
        = 0
    "#]],
    );
}

#[test]
fn ps_with_a_supervisor_lists_it_and_all_below_it_and_each_child_once() {
    prints(
        &["ps", "ingest/", "ingest/*", "/shop/db"],
        expect![[r#"
        CHILD                   STATE    FOR    HEALTH   RESTARTS  PID   NOTE
        /shop/ingest            running  3m12s  -        0         -     supervisor
        /shop/ingest/kafka      running  3m12s  healthy  0         4711  paused
        /shop/ingest/files      stopped  3m12s  -        0         -     not wanted by the mode
        /shop/db (Order store)  running  3m12s  -        0         4711
        = 0
    "#]],
    );
}

#[test]
fn a_misspelt_child_is_exit_code_5_with_a_near_miss() {
    prints(
        &["ps", "wroker"],
        expect![[r#"
        ! error: there is no child /shop/wroker; did you mean /shop/worker?
        !   `liveoak ps` lists the children
        = 5
    "#]],
    );
}

#[test]
fn tree_shows_the_children_below_each_other() {
    prints(
        &["tree"],
        expect![[r#"
        /shop                running      unhealthy  not ready
        ├─ db (Order store)  running
        ├─ api               waiting      degraded   waits for /shop/db: ready, 12s left
        ├─ worker            backing-off  degraded   starts in 600ms; last exit: exit code 3
        ├─ mail              quarantined  unhealthy  tried again in 5m; last exit: killed\u{1b}[2J
        ├─ cache             running      degraded   not ready; disk nearly full
        └─ ingest            running                 supervisor
           ├─ kafka          running      healthy    paused
           └─ files          stopped                 not wanted by the mode
        = 0
    "#]],
    );
}

#[test]
fn status_is_exit_code_1_unless_all_is_well_and_lists_what_is_not() {
    prints(
        &["status"],
        expect![[r#"
        shop: alive, not ready, unhealthy
          children  3 of 7 running, 2 failing
          up TIME, since 2026-01-31T12:00:00.000Z
          mode      day (of day, night)
          file      HOME/p/liveoak.toml
          process   4700, liveoak 0.1.0

        CHILD         STATE        FOR    HEALTH     RESTARTS  PID   NOTE
        /shop/api     waiting      2s     degraded   0         -     waits for /shop/db: ready, 12s left
        /shop/worker  backing-off  400ms  degraded   3         -     starts in 600ms; last exit: exit code 3
        /shop/mail    quarantined  3m12s  unhealthy  10        -     tried again in 5m; last exit: killed\u{1b}[2J
        /shop/cache   running      3m12s  degraded   0         4711  not ready; disk nearly full
        = 1
    "#]],
    );
}

#[test]
fn mode_without_a_name_shows_the_modes() {
    prints(
        &["mode"],
        expect![[r#"
        * day    in force
          night
        = 0
    "#]],
    );
}

#[test]
fn json_is_the_shape_of_the_interface() {
    let home = Home::new();
    let _shop = shop(&home, |_| None);
    let children = home.run(&["ps", "--json"]).with_code(0).json();
    let keys = [
        "path",
        "title",
        "kind",
        "state",
        "paused",
        "health",
        "ready",
        "attempt",
        "restarts",
        "pid",
        "since",
        "state_s",
        "waiting_for",
        "last_exit",
        "tags",
    ];
    for child in children.as_array().expect("an array") {
        for key in keys {
            assert!(child.get(key).is_some(), "no {key} in {child}");
        }
    }
    let nested = home.run(&["tree", "--json"]).with_code(0).json();
    assert_eq!(nested["children"][5]["children"][0]["path"], "/shop/ingest/kafka");
    let status = home.run(&["status", "--json"]).with_code(1).json();
    let keys = [
        "tree", "pid", "file", "state", "ready", "health", "since", "children", "running", "failing",
        "version",
    ];
    for key in keys {
        assert!(status.get(key).is_some(), "no {key} in {status}");
    }
    let trees = home.run(&["trees", "--json"]).with_code(0).json();
    let socket = home.socket("shop");
    let shop =
        trees.as_array().expect("an array").iter().find(|tree| tree["socket"] == *socket.to_string_lossy());
    let shop = shop.expect("the tree of this test");
    assert_eq!((&shop["name"], &shop["pid"]), (&"shop".into(), &4700.into()));
    assert!(shop.get("file").is_some() && shop.get("since").is_some(), "{shop}");
    assert_eq!(
        home.run(&["mode", "--json"]).with_code(0).json(),
        serde_json::json!({
            "mode": "day", "modes": ["day", "night"]
        })
    );
}

#[test]
fn colours_are_used_on_terminals_or_if_they_are_forced_unless_no_color_is_set() {
    let home = Home::new();
    let _shop = shop(&home, |_| None);
    let with =
        |variables: &[(&str, &str)]| home.command(&["ps"]).envs(variables.iter().copied()).ran().stdout;
    assert!(!with(&[]).contains('\u{1b}'));
    assert!(with(&[("CLICOLOR_FORCE", "1")]).contains("\u{1b}[32mrunning\u{1b}[0m"));
    assert!(!with(&[("CLICOLOR_FORCE", "0")]).contains('\u{1b}'));
    assert!(!with(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).contains('\u{1b}'));
    let json = home.command(&["ps", "--json"]).env("CLICOLOR_FORCE", "1").ran();
    assert_eq!(json.json().as_array().map(Vec::len), Some(tree().root.all().count()));
}

#[test]
fn a_locale_without_utf_8_gets_a_tree_of_ascii_lines() {
    let home = Home::new();
    let _shop = shop(&home, |_| None);
    let ascii = home.command(&["tree"]).env("LC_ALL", "C").ran().stdout;
    assert!(ascii.contains("|- db") && ascii.contains("`- ingest") && ascii.is_ascii(), "{ascii}");
}

#[test]
fn completions_and_man_pages_know_every_verb() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = home.run(&["completions", shell]).with_code(0).stdout;
        assert!(script.contains("quarantine"), "{shell}");
    }
    home.run(&["completions", "cmd"]).with_code(2);
    assert!(home.run(&["man"]).with_code(0).stdout.contains(".TH liveoak"));
    let folder = home.at("run").display().to_string();
    home.run(&["man", &folder]).with_code(0);
    for page in ["liveoak.1", "liveoak-ps.1", "liveoak-up.1", "liveoak-down.1"] {
        assert!(home.at("run").join(page).exists(), "{page}");
    }
    home.run(&["man", "/no/such/folder"]).with_code(1).says(&["cannot write man pages to /no/such/folder"]);
}
