//! Refused values go back to the caller.

use liveoak_runtime::testing::{eventually, paused};
use liveoak_runtime::*;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

async fn idle(ctx: Ctx) {
    ctx.stopping().await;
}

/// A value that counts how often it was dropped.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Asks a group for one more member in each way. All ways are refused by `expected` and give the argument back.
async fn all_ways_refuse(handle: &GroupHandle<Arc<Counted>>, expected: &str) {
    let drops = Arc::new(AtomicUsize::new(0));
    let argument = || Arc::new(Counted(Arc::clone(&drops)));
    let refusals = [
        handle.spawn(argument()).unwrap_err(),
        handle.spawn_named(name("one"), argument()).unwrap_err(),
        handle.start(Some(name("one")), argument()).await.unwrap_err(),
    ];
    for refused in refusals {
        assert_eq!(refused.to_string(), expected);
        assert_eq!(drops.load(Ordering::SeqCst), 0, "{expected}");
        let back = refused.into_value().expect("the argument");
        assert_eq!(Arc::strong_count(&back), 1, "{expected}");
        std::mem::forget(back);
    }
}

#[test]
fn a_refused_argument_goes_back_to_the_caller() {
    paused(async {
        let body = |ctx: Ctx, _: Arc<Counted>| idle(ctx);
        for group in [Group::new("g", body), Group::temporary("g", body)] {
            let group = group.max_members(1);
            let handle = group.handle();
            all_ways_refuse(
                &handle,
                "its supervisor is down or stopping, or it is being removed, or it is a root that stops",
            )
            .await;
            let tree = Supervisor::new("t").child(group).start().await.unwrap();
            let first = Arc::new(Counted(Arc::default()));
            handle.spawn_named(name("one"), Arc::clone(&first)).unwrap();
            let refused = handle.spawn_named(name("one"), first).unwrap_err();
            assert!(refused.into_value().is_some());
            all_ways_refuse(&handle, "it is full: it may have 1 members or children").await;
            tree.remove_child("/t/g").await.unwrap();
            all_ways_refuse(&handle, "there is no such child").await;
            tree.stop().await;
            all_ways_refuse(&handle, "the tree has ended").await;
        }
    });
}

#[test]
fn a_zero_sized_argument_goes_back_unless_it_was_used() {
    paused(async {
        let group = Group::<()>::new("g", |ctx: Ctx, ()| async move {
            if ctx.path().name() == "bad" {
                return Err("on purpose");
            }
            ctx.ready();
            ctx.stopping().await;
            Ok(())
        });
        let group = group.reports_ready(std::time::Duration::from_secs(1)).max_members(2);
        let handle = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        let failed = handle.start(Some(name("bad")), ()).await.unwrap_err();
        assert!(matches!(failed.refusal(), Refusal::Failed(_)), "{failed}");
        assert_eq!(failed.into_value(), None);
        handle.spawn(()).unwrap();
        handle.spawn(()).unwrap();
        assert_eq!(handle.spawn(()).unwrap_err().into_value(), Some(()));
        tree.stop().await;
    });
}

#[test]
fn a_refused_child_goes_back_to_the_caller_as_it_was_and_can_be_added_elsewhere() {
    paused(async {
        let drops = Arc::new(AtomicUsize::new(0));
        let captured = Counted(Arc::clone(&drops));
        let group = Group::new("g", |ctx: Ctx, _: u32| idle(ctx));
        let members = group.handle();
        let body = move |ctx: Ctx| {
            let _captured = &captured;
            idle(ctx)
        };
        let mut child = Child::from(Supervisor::new("s").child(Child::task("a", body)).child(group));
        let tree = Supervisor::new("t").child(Child::task("leaf", idle)).start().await.unwrap();
        for (parent, expected) in [
            ("/t/absent", "there is no such child"),
            ("/t/leaf", "it is not a supervisor, so it has no children"),
        ] {
            let refused = tree.begin_add_child(parent, child).unwrap_err();
            assert_eq!(refused.to_string(), expected);
            child = refused.into_value().expect("the child");
            let refused = tree.add_child(parent, child).await.unwrap_err();
            child = refused.into_value().expect("the child");
        }
        assert_eq!(drops.load(Ordering::SeqCst), 0);
        tree.add_child("/t", child).await.expect("it is added");
        members.spawn(1).expect("a member");
        let snapshot = tree.snapshot();
        assert_eq!(snapshot.get("/t/s/a").map(|view| view.state.as_str()), Some("running"));
        assert_eq!(snapshot.get("/t/s/g").map(|view| view.children.len()), Some(1));
        tree.stop().await;
        drop(tree);
        eventually("the captured value is dropped", || drops.load(Ordering::SeqCst) == 1).await;
    });
}

#[test]
fn a_child_with_a_wrong_name_goes_back_with_that_name() {
    paused(async {
        let tree = Supervisor::new("t").start().await.unwrap();
        let child = Supervisor::new("s").child(Child::task("not/a/name", idle)).child(Child::task("b", idle));
        let refused = tree.add_child("/t", child).await.unwrap_err();
        assert!(matches!(refused.refusal(), Refusal::Invalid(_)), "{refused}");
        let first = refused.to_string();
        let again = tree.add_child("/t", refused.into_value().expect("the child")).await.unwrap_err();
        assert_eq!(again.to_string(), first);
        tree.stop().await;
    });
}

#[test]
fn a_refused_future_goes_back_to_the_caller() {
    paused(async {
        let refused = spawn("a", async {}).unwrap_err();
        assert!(matches!(refused.refusal(), Refusal::NotInATree), "{refused}");
        refused.into_value().expect("the future").await;
        let body = |_: Ctx| async move {
            let refused = spawn("not/a/name", async {}).unwrap_err();
            refused.into_value().expect("the future").await;
        };
        let once = Child::task("once", body).restart(Restart::Temporary);
        let tree = Supervisor::new("t").child(once).start().await.unwrap();
        let exit = || tree.snapshot().get("/t/once").unwrap().last_exit.clone();
        eventually("it is over", || exit().is_some()).await;
        assert!(matches!(exit(), Some(Exit::Completed)), "{:?}", exit());
        tree.stop().await;
    });
}

/// A refusal converts, although the refused value cannot be shared between threads.
#[test]
fn a_refusal_with_a_value_converts_into_the_plain_refusal_and_into_any_error() {
    fn plain(handle: &GroupHandle<Cell<u32>>) -> Result<ChildId, Refusal> {
        Ok(handle.spawn(Cell::new(1))?.id())
    }
    fn any(handle: &GroupHandle<Cell<u32>>) -> Result<ChildId, BoxError> {
        Ok(handle.spawn(Cell::new(1))?.id())
    }
    let handle = Group::temporary("g", |ctx: Ctx, _: Cell<u32>| idle(ctx)).handle();
    assert_eq!(plain(&handle).unwrap_err().to_string(), any(&handle).unwrap_err().to_string());
}
