//! Commands on all children of a pattern: the list of what would be done, and its execution.

use liveoak_runtime::testing::{Puppet, paused};
use liveoak_runtime::*;
use std::sync::{Arc, Mutex};

type Log = Arc<Mutex<Vec<String>>>;

/// Returns a child that notes its starts and its ends.
fn noting(name: &str, log: &Log) -> Child {
    let log = Arc::clone(log);
    Child::task(name, move |ctx: Ctx| {
        let log = Arc::clone(&log);
        async move {
            let name = ctx.path().name().to_owned();
            log.lock().unwrap().push(format!("+{name}"));
            ctx.ready();
            ctx.stopping().await;
            log.lock().unwrap().push(format!("-{name}"));
        }
    })
    .reports_ready()
}

async fn shop(log: &Log) -> Tree {
    let ingest =
        Supervisor::new("ingest").child(noting("a", log)).child(noting("b", log)).child(noting("c", log));
    let tree = Supervisor::new("shop").child(noting("web", log)).child(ingest).start().await.unwrap();
    log.lock().unwrap().clear();
    tree
}

fn glob(text: &str) -> Glob {
    Glob::new(text).unwrap()
}

fn take(log: &Log) -> String {
    std::mem::take(&mut *log.lock().unwrap()).join(" ")
}

#[test]
fn a_plan_lists_what_would_be_done_and_changes_nothing_until_it_is_run() {
    paused(async {
        let log = Log::default();
        let tree = shop(&log).await;
        tree.stop_child("/shop/ingest/b").await.unwrap();
        take(&log);
        let plan = tree.plan(Command::Start, &glob("/shop/ingest/*"));
        let expected = "keep /shop/ingest/a (running): it is not down\nstart /shop/ingest/b (stopped)\n\
            keep /shop/ingest/c (running): it is not down\n";
        assert_eq!(plan.to_string(), expected);
        assert!(!plan.is_empty() && take(&log).is_empty());
        let results = plan.run().await;
        assert_eq!(results.len(), 1);
        assert!(matches!(results[0].result, Ok(Outcome::Ready { .. })), "{results:?}");
        assert_eq!(take(&log), "+b");
        assert!(tree.plan(Command::Start, &glob("/shop/ingest/*")).is_empty());
        assert!(tree.plan(Command::Stop, &glob("/other/**")).steps().is_empty());
        tree.stop().await;
    });
}

#[test]
fn a_stop_goes_in_reverse_start_order_and_a_restart_goes_one_after_the_other_in_start_order() {
    paused(async {
        let log = Log::default();
        let tree = shop(&log).await;
        tree.plan(Command::Restart, &glob("/shop/ingest/*")).run().await;
        assert_eq!(take(&log), "-a +a -b +b -c +c");
        tree.plan(Command::Stop, &glob("/shop/ingest/*")).run().await;
        assert_eq!(take(&log), "-c -b -a");
        tree.plan(Command::Start, &glob("/shop/ingest/*")).run().await;
        assert_eq!(take(&log), "+a +b +c");
        tree.stop().await;
    });
}

#[test]
fn a_command_on_a_supervisor_includes_the_children_below_it_which_match_too() {
    paused(async {
        let log = Log::default();
        let tree = shop(&log).await;
        let plan = tree.plan(Command::Stop, &glob("/shop/**"));
        let steps: Vec<String> = plan.steps().iter().map(ToString::to_string).collect();
        assert_eq!(
            steps,
            [
                "keep /shop/ingest/c (running): included in /shop/ingest",
                "keep /shop/ingest/b (running): included in /shop/ingest",
                "keep /shop/ingest/a (running): included in /shop/ingest",
                "stop /shop/ingest (running)",
                "stop /shop/web (running)"
            ]
        );
        assert_eq!(plan.run().await.len(), 2);
        assert_eq!(take(&log), "-c -b -a -web");
        let plan = tree.plan(Command::Start, &glob("/shop/ingest/*"));
        assert!(plan.is_empty(), "their supervisor is down: {plan}");
        tree.plan(Command::Start, &glob("/shop/**")).run().await;
        assert_eq!(take(&log), "+web +a +b +c");
        let plan = tree.plan(Command::Remove, &glob("/shop"));
        assert_eq!(plan.to_string(), "keep /shop (running): the root can only be stopped\n");
        tree.stop().await;
    });
}

#[test]
fn a_plan_does_what_it_lists_although_the_tree_has_changed_meanwhile() {
    paused(async {
        let log = Log::default();
        let tree = shop(&log).await;
        tree.plan(Command::Stop, &glob("/shop/ingest/*")).run().await;
        let plan = tree.plan(Command::Start, &glob("/shop/ingest/*"));
        tree.start_child("/shop/ingest/a").await.unwrap();
        tree.remove_child("/shop/ingest/b").await.unwrap();
        tree.add_child("/shop/ingest", noting("b", &log)).await.unwrap();
        tree.add_child("/shop/ingest", noting("d", &log)).await.unwrap();
        tree.stop_child("/shop/ingest/d").await.unwrap();
        take(&log);
        let results = plan.run().await;
        let told: Vec<String> = results
            .iter()
            .map(|done| match &done.result {
                Ok(_) => format!("{}: done", done.path.name()),
                Err(refusal) => format!("{}: {refusal}", done.path.name()),
            })
            .collect();
        assert_eq!(
            told,
            ["a: the child is not down: it is running", "b: there is no such child", "c: done"],
            "the later `d` is left alone"
        );
        assert_eq!(take(&log), "+c");
        tree.stop().await;
    });
}

#[test]
fn the_members_of_one_group_get_their_commands_together() {
    paused(async {
        let puppets: Vec<Puppet> = (0..5)
            .map(|n| Puppet::new(format!("{n}")).stopping_after(std::time::Duration::from_secs(2)))
            .collect();
        let theirs = puppets.clone();
        let group = Group::<usize>::new("g", move |ctx, n| theirs[n].body(ctx));
        let members = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        (0..5).for_each(|n| drop(members.spawn(n).unwrap()));
        for puppet in &puppets {
            puppet.started(1).await;
        }
        let begun = tree.now();
        let results = tree.plan(Command::Stop, &glob("/t/g/*")).run().await;
        assert!(results.len() == 5 && results.iter().all(|done| done.result.is_ok()), "{results:?}");
        assert_eq!(tree.now().since(begun), std::time::Duration::from_secs(2));
        tree.stop().await;
    });
}

#[test]
fn a_plan_that_is_begun_gives_all_commands_immediately_and_returns_those_that_were_refused() {
    paused(async {
        let log = Log::default();
        let tree = shop(&log).await;
        let plan = tree.plan(Command::Stop, &glob("/shop/ingest/*"));
        tree.remove_child("/shop/ingest/b").await.unwrap();
        let refused = plan.begin();
        assert!(matches!(&refused[..], [(path, Refusal::NotFound)] if path.name() == "b"), "{refused:?}");
        for path in ["/shop/ingest/a", "/shop/ingest/c"] {
            tree.wait_for(path, |view| view.state.as_str() == "stopped").await.unwrap();
        }
        tree.stop().await;
    });
}

#[test]
fn a_child_that_runs_a_plan_which_includes_itself_is_refused_only_the_wait_for_itself() {
    paused(async {
        let told = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&told);
        let body = move |ctx: Ctx| {
            let told = Arc::clone(&theirs);
            async move {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                let results = ctx.tree().plan(Command::Stop, &glob("/t/*")).run().await;
                told.lock().unwrap().extend(results.into_iter().map(|done| done.result.map(drop).is_ok()));
            }
        };
        let log = Log::default();
        let tree = Supervisor::new("t")
            .child(noting("first", &log))
            .child(Child::task("own", body))
            .child(noting("last", &log))
            .start()
            .await
            .unwrap();
        for path in ["/t/first", "/t/own", "/t/last"] {
            tree.wait_for(path, |view| view.state.as_str() == "stopped").await.unwrap();
        }
        assert_eq!(*told.lock().unwrap(), [true, false, true]);
        assert_eq!(take(&log), "+first +last -last -first");
        tree.stop().await;
    });
}
