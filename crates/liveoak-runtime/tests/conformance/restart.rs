//! Rows C19 to C37: deciding about an exit, and restarting.

use crate::stage::{Actor, GROUPS, Stage, long_backoff, name, play, s, state, troupe};
use liveoak_runtime::testing::Puppet;
use liveoak_runtime::*;
use std::time::Duration;

fn wanted() -> [Exit; 2] {
    [Exit::Completed, Exit::Stopped]
}

fn failures() -> [Exit; 4] {
    [Exit::failed("x"), Exit::Code(1), Exit::Signal { signal: 6, core_dumped: false }, Exit::Killed]
}

/// A tree of one child that ends in this way: what the diary says then, and the child's state.
async fn after(restart: Restart, exit: Exit) -> (String, &'static str) {
    let stage = Stage::new();
    let a = stage.actor("a");
    let tree = Supervisor::new("t").child(a.child().restart(restart)).start().await.unwrap();
    stage.log().await;
    a.end(exit);
    let seen = (stage.log().await, state(&tree, "/t/a"));
    stage.end(tree).await;
    seen
}

#[test]
fn c19_a_permanent_child_is_restarted_however_it_ended() {
    for exit in wanted().into_iter().chain(failures()) {
        let case = exit.to_string();
        let seen = play(after(Restart::Permanent, exit));
        assert_eq!(seen, ("-a +a".to_owned(), "running"), "{case}");
    }
}

#[test]
fn c20_a_transient_child_is_restarted_after_a_failure_and_stays_listed_after_a_wanted_end() {
    for exit in failures() {
        let case = exit.to_string();
        assert_eq!(play(after(Restart::Transient, exit)), ("-a +a".to_owned(), "running"), "{case}");
    }
    for exit in wanted() {
        let case = exit.to_string();
        assert_eq!(play(after(Restart::Transient, exit)), ("-a".to_owned(), "finished"), "{case}");
    }
}

#[test]
fn c21_a_temporary_child_is_never_restarted() {
    for exit in wanted().into_iter().chain(failures()) {
        let case = exit.to_string();
        assert_eq!(play(after(Restart::Temporary, exit)), ("-a".to_owned(), "finished"), "{case}");
    }
}

fn three(stage: &Stage) -> [Actor; 3] {
    stage.actors(["a", "b", "c"])
}

#[test]
fn c22_an_exit_that_is_not_to_be_restarted_restarts_no_sibling_under_any_strategy() {
    let cases = [
        (Restart::Temporary, Exit::failed("x")),
        (Restart::Temporary, Exit::Completed),
        (Restart::Transient, Exit::Completed),
    ];
    for strategy in GROUPS {
        for (restart, exit) in cases.clone() {
            play(async {
                let stage = Stage::new();
                let [a, b, c] = three(&stage);
                let tree = Supervisor::new("t")
                    .strategy(strategy)
                    .children([a.child(), b.child().restart(restart), c.child()])
                    .start()
                    .await
                    .unwrap();
                stage.log().await;
                b.end(exit.clone());
                tokio::time::sleep(s(100)).await;
                assert_eq!(stage.log().await, "-b", "{strategy:?} {restart:?} {exit}");
                stage.end(tree).await;
            });
        }
    }
}

#[test]
fn c23_temporary_siblings_that_a_group_restart_sweeps_up_are_stopped_and_not_started_again() {
    for strategy in GROUPS {
        play(async {
            let stage = Stage::new();
            let [a, b, c] = three(&stage);
            let added = stage.actor("added");
            let tree = Supervisor::new("t")
                .strategy(strategy)
                .children([a.child(), b.child().restart(Restart::Temporary), c.child()])
                .start()
                .await
                .unwrap();
            tree.add_child("/t", added.child().restart(Restart::Temporary)).await.unwrap();
            stage.log().await;
            a.fail("x");
            assert_eq!(stage.log().await, "-a -added -c -b +a +c", "{strategy:?}");
            assert_eq!((state(&tree, "/t/b"), state(&tree, "/t/added")), ("finished", "gone"));
            stage.end(tree).await;
        });
    }
}

#[test]
fn c25_a_group_restart_is_one_entry_and_each_failed_start_in_it_is_one_more() {
    for strategy in GROUPS {
        play(async {
            let stage = Stage::new();
            let a = stage.actor_that("a", Puppet::slow_to_start);
            let [b, c] = stage.actors(["b", "c"]);
            a.ready();
            let tree = Supervisor::new("t")
                .strategy(strategy)
                .intensity(Limit::new(4, s(3600)))
                .children([a.child(), b.child(), c.child()])
                .start()
                .await
                .unwrap();
            // Two restarts of three children, the second with two failed starts: four entries, all of them allowed.
            a.fail("1");
            a.ready();
            stage.log().await;
            for why in ["2", "3", "4"] {
                a.fail(why);
            }
            a.started(5).await;
            assert_eq!(state(&tree, "/t"), "running", "{strategy:?}");
            a.fail("5");
            let ended = tree.join().await;
            let Exit::GaveUp(gave_up) = &ended.exit else { panic!("{ended:?}") };
            assert_eq!((gave_up.path.as_str(), gave_up.count, gave_up.allowed), ("/t/a", 5, 4));
            assert_eq!((a.starts(), b.starts(), c.starts()), (5, 2, 2), "{strategy:?}");
            stage.ended().await;
        });
    }
}

#[test]
fn c26_over_the_limit_is_one_more_than_the_intensity_within_the_exact_period_its_end_included() {
    for (gap, gives_up) in [(s(5), true), (s(5) + Duration::from_millis(1), false)] {
        play(async {
            let stage = Stage::new();
            let a = stage.actor("a");
            let tree =
                Supervisor::new("t").intensity(Limit::new(1, s(5))).child(a.child()).start().await.unwrap();
            a.fail("x");
            a.started(2).await;
            tokio::time::sleep(gap).await;
            a.fail("x");
            stage.log().await;
            assert_eq!((a.live(), a.starts()), if gives_up { (0, 2) } else { (1, 3) }, "{gap:?}");
            stage.end(tree).await;
        });
    }
}

#[test]
fn c26_an_intensity_of_zero_gives_up_at_the_first_restart() {
    play(async {
        let stage = Stage::new();
        let a = stage.actor("a");
        let tree =
            Supervisor::new("t").intensity(Limit::new(0, s(5))).child(a.child()).start().await.unwrap();
        a.fail("x");
        assert_eq!(tree.join().await.exit.kind(), "gave-up");
        assert_eq!(a.starts(), 1);
        stage.ended().await;
    });
}

#[test]
fn c27_over_the_limit_all_are_stopped_each_in_its_time_and_the_supervisor_fails_and_says_why() {
    play(async {
        let stage = Stage::new();
        let [a, b] = stage.actors(["a", "b"]);
        let c = stage.actor_that("c", Puppet::ignoring_stop);
        let tree = Supervisor::new("t")
            .intensity(Limit::new(0, s(5)))
            .children([a.child(), b.child(), c.child().stop_within(s(3))])
            .start()
            .await
            .unwrap();
        let mut events = tree.events();
        stage.log().await;
        b.fail("no disk");
        let ended = tree.join().await;
        assert_eq!(stage.log().await, "-b -c -a");
        assert!(ended.exit.is_failure());
        let Exit::GaveUp(gave_up) = &ended.exit else { panic!("{ended:?}") };
        assert_eq!((gave_up.path.as_str(), gave_up.count, gave_up.allowed), ("/t/b", 1, 0));
        assert_eq!((gave_up.exit.to_string(), gave_up.own_limit), ("failed: no disk".to_owned(), false));
        let ends: Vec<_> = ended.report.entries.iter().map(|end| (end.path.name(), end.stage)).collect();
        assert_eq!(ends, [("c", StopStage::Killed), ("a", StopStage::Asked)]);
        assert_eq!(ended.report.took, s(3));
        let mut told = 0;
        while let Some(EventOrLost::Event(event)) = events.next().await {
            told += u32::from(event.path.as_str() == "/t" && event.kind.name() == "gave-up");
        }
        assert_eq!(told, 1);
        stage.ended().await;
    });
}

#[test]
fn c28_a_supervisor_that_gave_up_is_restarted_unless_temporary_also_when_transient_and_loses_what_was_added()
{
    for (restart, left) in
        [(Restart::Permanent, "running"), (Restart::Transient, "running"), (Restart::Temporary, "finished")]
    {
        play(async {
            let stage = Stage::new();
            let [a, added, off, member] = stage.actors(["a", "added", "off", "member"]);
            let group = troupe();
            let members = group.handle();
            let nested = Supervisor::new("s")
                .intensity(Limit::new(0, s(5)))
                .child(a.child())
                .child(group)
                .restart(restart)
                .backoff(None);
            let tree = Supervisor::new("t").child(nested).start().await.unwrap();
            tree.add_child("/t/s", added.child()).await.unwrap();
            tree.add_child("/t/s", off.child()).await.unwrap();
            tree.stop_child("/t/s/off").await.unwrap();
            members.start(Some(name("m")), member.clone()).await.unwrap();
            a.fail("x");
            stage.log().await;
            let paths = ["/t/s", "/t/s/added", "/t/s/off", "/t/s/g/m"];
            assert_eq!(paths.map(|path| state(&tree, path)), [left, "gone", "gone", "gone"], "{restart:?}");
            assert_eq!(a.live(), usize::from(left == "running"), "{restart:?}");
            assert_eq!((added.starts(), member.starts(), added.live(), member.live()), (1, 1, 0, 0));
            stage.end(tree).await;
        });
    }
}

/// A tree of children with these names, started; all that happened so far is forgotten.
async fn tree_of<const N: usize>(stage: &Stage, strategy: Strategy, actors: &[Actor; N]) -> Tree {
    let children = actors.iter().map(Actor::child);
    let tree = Supervisor::new("t").strategy(strategy).children(children).start().await.unwrap();
    stage.log().await;
    tree
}

#[test]
fn c29_one_for_one_starts_the_failed_child_again_and_no_other() {
    play(async {
        let stage = Stage::new();
        let actors = three(&stage);
        let tree = tree_of(&stage, Strategy::OneForOne, &actors).await;
        actors[1].fail("x");
        assert_eq!(stage.log().await, "-b +b");
        let attempts = tree.snapshot().root.children.iter().map(|view| view.attempt.0).collect::<Vec<_>>();
        assert_eq!(attempts, [1, 2, 1]);
        stage.end(tree).await;
    });
}

#[test]
fn c30_one_for_all_stops_in_reverse_and_starts_in_order_the_finished_too_but_none_that_was_stopped_on_request()
 {
    play(async {
        let stage = Stage::new();
        let [done, off, a, z] = stage.actors(["done", "off", "a", "z"]);
        let tree = Supervisor::new("t")
            .strategy(Strategy::OneForAll)
            .child(done.child().restart(Restart::Transient))
            .children([off.child(), a.child(), z.child()])
            .start()
            .await
            .unwrap();
        done.complete();
        done.gone().await;
        tree.stop_child("/t/off").await.unwrap();
        stage.log().await;
        a.fail("x");
        assert_eq!(stage.log().await, "-a -z +done +a +z");
        a.fail("x");
        assert_eq!(stage.log().await, "-a -z -done +done +a +z");
        assert_eq!(state(&tree, "/t/off"), "stopped");
        let done = tree.start_child("/t/off").await;
        assert!(matches!(done, Ok(Outcome::Ready { .. })), "{done:?}");
        stage.end(tree).await;
    });
}

#[test]
fn c31_rest_for_one_stops_and_starts_the_failed_child_and_those_after_it() {
    play(async {
        let stage = Stage::new();
        let actors = stage.actors(["a", "b", "c", "d"]);
        let tree = tree_of(&stage, Strategy::RestForOne, &actors).await;
        actors[1].fail("x");
        assert_eq!(stage.log().await, "-b -d -c +b +c +d");
        actors[3].fail("x");
        assert_eq!(stage.log().await, "-d +d");
        tree.stop_child("/t/c").await.unwrap();
        actors[0].fail("x");
        assert_eq!(stage.log().await, "-c -a -d -b +a +b +d", "what was stopped on request stays so");
        assert_eq!(state(&tree, "/t/c"), "stopped");
        stage.end(tree).await;
    });
}

#[test]
fn c32_a_start_that_fails_in_a_restart_is_charged_backed_off_and_retried_and_the_tree_serves_meanwhile() {
    play(async {
        let stage = Stage::new();
        let a = stage.actor_that("a", Puppet::slow_to_start);
        let b = stage.actor("b");
        a.ready();
        let tree = Supervisor::new("t")
            .child(a.child().backoff(long_backoff()))
            .child(b.child())
            .start()
            .await
            .unwrap();
        let restarts = || tree.snapshot().get("/t/a").map(|view| view.restarts);
        for count in 1..=3 {
            a.fail("in its first attempt, then before it was ready");
            a.gone().await;
            assert_eq!((state(&tree, "/t/a"), restarts()), ("backing-off", Some(count - 1)));
            let served = tree.restart_child("/t/b").await;
            assert!(matches!(served, Ok(Outcome::Ready { .. })), "{served:?}");
            a.started(count + 1).await;
        }
        assert!(tree.now().since(Time::ZERO) > s(100), "there was a delay");
        a.fail("once more");
        a.gone().await;
        let report = tree.stop().await;
        assert_eq!(report.took, Duration::ZERO, "nothing had to be waited for");
        assert_eq!(a.starts(), 4);
        stage.ended().await;
    });
}

/// `a`, `b` that says itself when it is ready, and `c`; `a` has failed, and now `b` is starting with the group.
async fn while_b_restarts(stage: &Stage, strategy: Strategy) -> (Tree, Actor) {
    let [a, c] = stage.actors(["a", "c"]);
    let b = stage.actor_that("b", Puppet::slow_to_start);
    b.ready();
    let tree = tree_of(stage, strategy, &[a.clone(), b.clone(), c]).await;
    a.fail("x");
    assert_eq!(stage.log().await, "-a -c -b +a +b", "{strategy:?}");
    (tree, b)
}

#[test]
fn c33_one_for_all_another_child_that_fails_to_start_again_takes_those_that_had_down_once_more() {
    play(async {
        let stage = Stage::new();
        let (tree, b) = while_b_restarts(&stage, Strategy::OneForAll).await;
        b.fail("no disk");
        assert_eq!(stage.log().await, "-b -a +a +b");
        b.ready();
        assert_eq!(stage.log().await, "+c");
        stage.end(tree).await;
    });
}

#[test]
fn c34_rest_for_one_a_later_child_that_fails_to_start_again_leaves_those_before_it_up() {
    play(async {
        let stage = Stage::new();
        let (tree, b) = while_b_restarts(&stage, Strategy::RestForOne).await;
        b.fail("no disk");
        assert_eq!(stage.log().await, "-b +b");
        let states = ["/t/a", "/t/b", "/t/c"].map(|path| state(&tree, path));
        assert_eq!(states, ["running", "starting", "waiting"]);
        b.ready();
        assert_eq!(stage.log().await, "+c");
        stage.end(tree).await;
    });
}

#[test]
fn c35_while_a_retry_is_pending_later_children_of_the_group_are_down_and_earlier_ones_run() {
    play(async {
        let stage = Stage::new();
        let [a, b, c] = three(&stage);
        let tree = Supervisor::new("t")
            .strategy(Strategy::RestForOne)
            .children([a.child(), b.child().backoff(long_backoff()), c.child()])
            .start()
            .await
            .unwrap();
        b.fail("x");
        stage.log().await;
        let states = ["/t/a", "/t/b", "/t/c"].map(|path| state(&tree, path));
        assert_eq!(states, ["running", "backing-off", "waiting"]);
        assert_eq!([a.live(), b.live(), c.live()], [1, 0, 0]);
        b.started(2).await;
        assert_eq!(stage.log().await, "+b +c");
        stage.end(tree).await;
    });
}

#[test]
fn c36_a_child_that_is_not_needed_on_a_restart_is_absent_and_a_group_forgets_its_member() {
    play(async {
        let stage = Stage::new();
        let [a, m] = ["a", "m"].map(|name| stage.actor_that(name, Puppet::slow_to_start));
        let group = troupe();
        let members = group.handle();
        a.ready();
        m.ready();
        let tree = Supervisor::new("t").child(a.child()).child(group).start().await.unwrap();
        members.start(Some(name("m")), m.clone()).await.unwrap();
        for actor in [&a, &m] {
            actor.fail("x");
            actor.end(Exit::Ignored);
        }
        tokio::time::sleep(s(100)).await;
        assert_eq!((a.starts(), m.starts(), a.live(), m.live()), (2, 2, 0, 0));
        assert_eq!((state(&tree, "/t/a"), state(&tree, "/t/g/m")), ("ignored", "gone"));
        stage.end(tree).await;
    });
}

#[test]
fn c37_a_group_restarts_the_member_that_failed_with_its_own_argument_and_no_other() {
    play(async {
        let stage = Stage::new();
        let [x, y, z] = stage.actors(["x", "y", "z"]);
        let group = troupe();
        let members = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        let mut ids = Vec::new();
        for (member, actor) in [("1", &x), ("2", &y), ("3", &z)] {
            ids.push(members.start(Some(name(member)), actor.clone()).await.unwrap());
        }
        stage.log().await;
        y.fail("x");
        assert_eq!(stage.log().await, "-y +y");
        assert_eq!(tree.snapshot().get("/t/g/2").map(|view| view.id), Some(ids[1]));
        stage.end(tree).await;
    });
}
