//! Who gave a command and why, and the explanation of one child.

use liveoak_runtime::{
    Child, Ctx, EventOrLost, Events, Exit, Group, Limit, MAX_HISTORY, Outcome, Supervisor, Tree,
};
use std::time::Duration;

async fn until_stopped(ctx: Ctx) {
    ctx.stopping().await;
}

async fn begun(supervisor: Supervisor) -> Tree {
    let tree = supervisor.begin().expect("a good spec");
    tree.ready().await.expect("it starts");
    tree
}

/// Returns the next event of this kind about a child of this name, and who caused it.
async fn origin_of(events: &mut Events, name: &str, kind: &str) -> String {
    loop {
        if let EventOrLost::Event(event) = events.next().await.expect("the tree runs")
            && event.path.name() == name
            && event.kind.name() == kind
        {
            return event.origin.as_ref().map_or_else(String::new, ToString::to_string);
        }
    }
}

#[tokio::test]
async fn a_handle_says_who_gives_its_commands_and_why() {
    let tree = begun(Supervisor::new("t").child(Child::task("a", until_stopped))).await;
    let mut events = tree.events();
    let ci = tree.by("ci").because("deploy");
    assert!(matches!(ci.restart_child("/t/a").await, Ok(Outcome::Ready { .. })));
    assert_eq!(origin_of(&mut events, "a", "stopping").await, "by ci: deploy");
    assert_eq!(origin_of(&mut events, "a", "ready").await, "by ci: deploy");
    // Another handle is not changed.
    tree.restart_child("/t/a").await.expect("it starts");
    assert_eq!(origin_of(&mut events, "a", "stopping").await, "");
    ci.add_child("/t", Child::task("b", until_stopped)).await.expect("room");
    assert_eq!(origin_of(&mut events, "b", "added").await, "by ci: deploy");
    let commands: Vec<String> = tree.snapshot().commands.iter().map(|command| command.to_string()).collect();
    assert_eq!(commands, ["restart by ci: deploy", "restart", "add by ci: deploy"]);
    tree.because("maintenance").begin_stop();
    assert_eq!(origin_of(&mut events, "b", "exited").await, "because: maintenance");
    tree.join().await;
}

#[tokio::test(start_paused = true)]
async fn an_explanation_names_the_last_exits_and_the_place_in_the_code() {
    let fails = |_| async { Exit::Code(3) };
    let child = Child::task("a", fails).limit(Limit::new(5, Duration::from_secs(60))).history(2);
    let line = line!() - 1;
    let tree = begun(Supervisor::new("t").child(child)).await;
    while tree.snapshot().get("/t/a").expect("it is there").restarts < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let explanation = tree.explain("/t/a").expect("it is there");
    assert_eq!(explanation.exits.len(), 2);
    assert!(explanation.exits.iter().all(|exit| exit.text == "exit code 3"));
    let place = format!("tests/origins.rs:{line}:");
    assert!(explanation.origin.to_string().contains(&place), "{explanation}");
    assert!(explanation.to_string().contains(&place), "{explanation}");
    assert!(tree.explain("/t/nothing").is_none());
    let root = tree.explain("/t").expect("the root").origin.to_string();
    assert!(root.contains("tests/origins.rs"), "{root}");
    tree.stop().await;
}

#[tokio::test]
async fn every_builder_notes_the_place_that_made_it() {
    let group = Group::new("g", |ctx: Ctx, ()| until_stopped(ctx));
    let workers = group.handle();
    let tree = Supervisor::new("t")
        .child(Child::task("task", until_stopped))
        .child(Child::task_with_kill("kill", until_stopped))
        .child(Child::thread("thread", |_: Ctx| ()).restart(liveoak_runtime::Restart::Temporary))
        .child(Child::once("once", until_stopped))
        .child(Supervisor::new("s").child(Child::task("below", until_stopped)))
        .child(group);
    let tree = begun(tree).await;
    workers.spawn(()).expect("room");
    for node in tree.snapshot().nodes() {
        let place = node.spec.declared_at.to_string();
        assert!(place.contains("tests/origins.rs:"), "{}: {place}", node.path);
    }
    tree.stop().await;
}

#[tokio::test]
async fn a_history_that_is_too_long_is_refused_at_the_start() {
    let child = Child::task("a", until_stopped).history(MAX_HISTORY + 1);
    let error = Supervisor::new("t").child(child).begin().expect_err("too many").to_string();
    assert!(error.contains("history"), "{error}");
}
