//! Who gave a command and why, and the explanation of one child.

use liveoak_runtime::{
    Child, Ctx, EventOrLost, Events, Exit, Group, Limit, MAX_HISTORY, Outcome, Stop, StopStage, Supervisor,
    Tree, testing::paused,
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

/// Returns a tree with `/t/s/deaf`, which ignores the request to stop and declares an hour for it, and a group `/t/jobs`.
async fn with_deaf() -> (Tree, liveoak_runtime::GroupHandle<()>) {
    let deaf = |_ctx: Ctx| std::future::pending::<()>();
    let hour = Duration::from_secs(3_600);
    let jobs = Group::temporary("jobs", move |ctx, ()| deaf(ctx)).stop_within(hour);
    let handle = jobs.handle();
    let s = Supervisor::new("s").child(Child::task("deaf", deaf).stop_within(hour));
    let tree = begun(Supervisor::new("t").child(s).child(jobs)).await;
    handle.spawn(()).expect("a member");
    (tree, handle)
}

#[test]
fn a_stop_says_at_the_call_how_long_it_may_take_who_wants_it_and_why() {
    let deploy = |secs| Stop::within(Duration::from_secs(secs)).by("ci").because("deploy");
    paused(async {
        for path in ["/t/s/deaf", "/t/s", "/t/jobs"] {
            let (tree, jobs) = with_deaf().await;
            let began = tree.now();
            let outcome = match path {
                "/t/jobs" => jobs.group().unwrap().stop_with(deploy(2)).await,
                path => tree.stop_child_with(path, deploy(2)).await,
            };
            let Ok(Outcome::Stopped(report)) = outcome else { panic!("{path} ran") };
            let took = tree.now().since(began);
            assert!(
                took <= Duration::from_secs(2) && took >= Duration::from_millis(1800),
                "{path}: {took:?}"
            );
            assert!(!report.is_clean(), "{path} was killed: {report:?}");
            let command = tree.snapshot().commands.last().cloned().unwrap();
            assert_eq!(
                (command.command, command.origin.to_string().as_str()),
                ("stop", "by ci: deploy"),
                "{path}"
            );
        }
        let (tree, _) = with_deaf().await;
        let began = tree.now();
        let report = tree.stop_with(deploy(4)).await;
        assert!(tree.now().since(began) <= Duration::from_secs(4) && !report.is_clean());
        let report = tree.final_report().unwrap();
        assert_eq!(
            report.asked.clone().map(|command| command.origin.to_string()),
            Some("by ci: deploy".to_owned())
        );
    });
}

#[test]
fn a_stop_with_a_time_takes_from_its_handle_what_it_does_not_say() {
    paused(async {
        let (tree, _) = with_deaf().await;
        let stop = Stop::within(Duration::from_secs(1)).because("maintenance");
        tree.by("ada").because("over").stop_child_with("/t/s", stop).await.unwrap();
        let command = tree.snapshot().commands.last().cloned().unwrap();
        assert_eq!(command.origin.to_string(), "by ada: maintenance");
        assert!(tree.begin_stop_child_with("/t/jobs", Stop::within(Duration::ZERO)).is_ok());
        assert_eq!(tree.snapshot().commands.last().cloned().unwrap().origin.to_string(), "");
    });
}

#[test]
fn a_later_stop_with_a_shorter_time_shortens_the_stop_of_the_tree() {
    paused(async {
        let (tree, _) = with_deaf().await;
        let began = tree.now();
        tree.begin_stop_with(Stop::within(Duration::from_secs(600)));
        tree.begin_stop_with(Stop::within(Duration::from_secs(1_000)));
        tokio::time::sleep(Duration::from_secs(10)).await;
        let report = tree.stop_with(Stop::within(Duration::from_secs(1))).await;
        assert_eq!(tree.now().since(began).as_secs(), 10, "{report:?}");
    });
}

#[tokio::test]
async fn the_time_of_the_stop_of_the_tree_bounds_the_wait_for_destructors_too() {
    // The destructor of the captured value blocks until the test has seen the end of the tree.
    struct Blocks(std::sync::mpsc::Receiver<()>);
    impl Drop for Blocks {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }
    let (done, until_done) = std::sync::mpsc::channel();
    let blocks = std::sync::Mutex::new(Blocks(until_done));
    let body = move |ctx: Ctx| {
        let _captured = &blocks;
        until_stopped(ctx)
    };
    let tree = Supervisor::new("t").stop_within(Duration::from_secs(3_600)).child(Child::task("a", body));
    let report = begun(tree).await.stop_with(Stop::within(Duration::from_millis(100))).await;
    assert!(report.entries.iter().any(|entry| entry.stage == StopStage::Abandoned), "{report:?}");
    drop(done);
}
