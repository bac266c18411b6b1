//! Dedicated runtimes: subtrees that run on a Tokio runtime of their own.

use liveoak_runtime::testing::{LeakCheck, Puppet, eventually};
use liveoak_runtime::*;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

fn real<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let outcome = runtime.block_on(test);
    runtime.shutdown_background();
    outcome
}

/// Returns the names of this process's threads, as the system shows them.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.map(|name| name.trim_end().to_owned()).collect()
}

#[test]
fn a_dedicated_runtime_runs_its_children_and_ends_after_them() {
    real(async {
        let leak_check = LeakCheck::new();
        let seen: Arc<Mutex<BTreeSet<(String, String)>>> = Arc::default();
        let workers: Arc<Mutex<Vec<(usize, ThreadId)>>> = Arc::default();
        let child = |name: &'static str| {
            let (seen, workers) = (Arc::clone(&seen), Arc::clone(&workers));
            Child::task(name, move |ctx: Ctx| {
                let (seen, workers) = (Arc::clone(&seen), Arc::clone(&workers));
                async move {
                    let thread = std::thread::current();
                    let on = thread.name().unwrap_or_default().to_owned();
                    seen.lock().unwrap().insert((name.to_owned(), on));
                    let count = tokio::runtime::Handle::current().metrics().num_workers();
                    workers.lock().unwrap().push((count, thread.id()));
                    ctx.stopping().await;
                }
            })
        };
        let nested = Supervisor::new("nested").child(child("deep"));
        let dedicated = Supervisor::new("p")
            .dedicated_runtime(DedicatedRuntime::new("oak-runtime-a", 3))
            .child(child("in"))
            .child(nested);
        let tree = Supervisor::new("t").child(dedicated).child(child("out")).start().await.unwrap();
        eventually("all three", || seen.lock().unwrap().len() == 3).await;
        let on = |wanted: &str| {
            let seen = seen.lock().unwrap();
            seen.iter().find(|(name, _)| name == wanted).map(|(_, on)| on.clone()).unwrap()
        };
        assert_eq!([on("in"), on("deep")], ["oak-runtime-a", "oak-runtime-a"]);
        assert_ne!(on("out"), "oak-runtime-a");
        let counts: Vec<usize> = workers.lock().unwrap().iter().map(|(count, _)| *count).collect();
        assert_eq!(counts.iter().filter(|count| **count == 3).count(), 2, "{counts:?}");
        assert!(threads().iter().any(|name| name == "oak-runtime-a"));
        let report = tree.stop().await;
        assert!(report.is_clean(), "{report:?}");
        let names: Vec<_> = report.entries.iter().map(|entry| entry.path.to_string()).collect();
        assert_eq!(names, ["/t/out", "/t/p/nested/deep", "/t/p/nested", "/t/p/in", "/t/p"]);
        eventually("the end of its threads", || !threads().iter().any(|name| name == "oak-runtime-a")).await;
        leak_check.check().await;
    });
}

#[test]
fn a_blocked_dedicated_runtime_does_not_stall_other_children() {
    real(async {
        let (stuck, well) = (Puppet::new("stuck"), Puppet::new("well"));
        let dedicated = Supervisor::new("p")
            .dedicated_runtime(DedicatedRuntime::new("oak-runtime-b", 1))
            .child(stuck.child().stop_within(Duration::from_millis(50)));
        let well_child = well.child().backoff(None).limit(Limit::unlimited());
        let tree = Supervisor::new("t").child(well_child).child(dedicated).start().await.unwrap();
        stuck.spin();
        // The tree's own runtime has only one thread, and continues.
        for attempt in 2..20 {
            well.fail("x");
            well.started(attempt).await;
        }
        let report = tree.stop().await;
        let stuck_entry = report.entries.iter().find(|entry| entry.path.name() == "stuck").unwrap();
        assert_eq!(stuck_entry.stage, StopStage::Abandoned);
        assert_eq!(well.live(), 0);
        stuck.release();
        stuck.gone().await;
    });
}

#[test]
fn a_supervisor_with_a_dedicated_runtime_gets_a_new_runtime_at_each_restart() {
    real(async {
        let puppet = Puppet::new("a");
        let dedicated = Supervisor::new("p")
            .dedicated_runtime(DedicatedRuntime::new("oak-runtime-c", 1))
            .child(puppet.child().limit(Limit::new(0, Duration::from_secs(60))))
            .backoff(None)
            .limit(Limit::unlimited());
        let tree = Supervisor::new("t").child(dedicated).start().await.unwrap();
        for attempt in 1..=20 {
            puppet.started(attempt).await;
            puppet.fail("its supervisor fails with it");
        }
        puppet.started(21).await;
        eventually("one runtime", || threads().iter().filter(|name| *name == "oak-runtime-c").count() <= 2)
            .await;
        assert!(tree.stop().await.is_clean());
        assert!(!puppet.overlapped());
    });
}

#[test]
fn a_group_may_have_a_dedicated_runtime_and_threads_below_one_run_inside_it() {
    real(async {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&seen);
        let group = Group::<()>::new("g", move |ctx: Ctx, ()| {
            log.lock().unwrap().push(std::thread::current().name().unwrap_or_default().to_owned());
            async move { ctx.stopping().await }
        });
        let group = group.dedicated_runtime(DedicatedRuntime::new("oak-runtime-d", 2));
        let members = group.handle();
        let log = Arc::clone(&seen);
        let thread = Child::thread("thread", move |ctx: Ctx| {
            let on = Arc::clone(&log);
            let spawned = ctx.spawn(async move {
                on.lock().unwrap().push(std::thread::current().name().unwrap_or_default().to_owned());
            });
            tokio::runtime::Handle::current().block_on(spawned).unwrap();
            tokio::runtime::Handle::current().block_on(ctx.stopping());
        });
        let dedicated =
            Supervisor::new("p").dedicated_runtime(DedicatedRuntime::new("oak-runtime-e", 1)).child(thread);
        let tree = Supervisor::new("t").child(group).child(dedicated).start().await.unwrap();
        members.spawn(()).unwrap();
        eventually("both", || seen.lock().unwrap().len() == 2).await;
        let mut seen = seen.lock().unwrap().clone();
        seen.sort();
        assert_eq!(seen, ["oak-runtime-d", "oak-runtime-e"]);
        assert!(tree.stop().await.is_clean());
    });
}

#[test]
fn a_stop_while_a_dedicated_runtime_is_being_created_leaves_nothing() {
    real(async {
        for _ in 0..50 {
            let puppet = Puppet::new("a");
            let dedicated = Supervisor::new("p")
                .dedicated_runtime(DedicatedRuntime::new("oak-runtime-f", 1))
                .child(puppet.child());
            let tree = Supervisor::new("t").child(dedicated).begin().unwrap();
            let report = tree.stop().await;
            assert!(report.is_clean(), "{report:?}");
            assert_eq!(puppet.live(), 0);
        }
        eventually("the end of all runtimes", || !threads().iter().any(|name| name == "oak-runtime-f")).await;
    });
}

/// Returns the size of this process's address space, in KiB.
fn address_space() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    size.trim_end_matches("kB").trim().parse().unwrap()
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Starts a tree with a dedicated runtime of two threads, after it has limited the address space to `stacks` more thread
/// stacks. Returns `true` if the tree was ready.
async fn starts_with_room_for(stacks: u64) -> bool {
    const STACK: u64 = 2 * 1024 + 16;
    let files = open_files();
    let limit = (address_space() + stacks * STACK + STACK / 2) * 1024;
    let (own, limit) = (std::process::id().to_string(), format!("--as={limit}:"));
    let limited = std::process::Command::new("prlimit").args(["--pid", &own, &limit]).status().unwrap();
    assert!(limited.success());
    let puppet = Puppet::new("a");
    let dedicated = Supervisor::new("p")
        .dedicated_runtime(DedicatedRuntime::new("oak-runtime-g", 2))
        .child(puppet.child());
    let tree = Supervisor::new("t").child(dedicated).begin().unwrap();
    let time_limit = Duration::from_secs(20);
    let ready = tokio::time::timeout(time_limit, tree.ready()).await.expect("an answer");
    if let Err(ended) = &ready {
        let Exit::StartFailed(failure) = &ended.exit else { panic!("{ended:?}") };
        assert_eq!(failure.path, Path::new("/t/p"));
    }
    if ready.is_ok() {
        // A dedicated runtime holds no resources once its supervisor is down, even while the tree runs.
        tree.stop_child("/t/p").await.unwrap();
    }
    assert_eq!((puppet.live(), open_files()), (0, files));
    tree.stop().await;
    eventually("the end of its threads", || !threads().iter().any(|name| name == "oak-runtime-g")).await;
    ready.is_ok()
}

#[test]
#[ignore = "limits its whole process, so the test below runs it in one of its own: `cargo test -p liveoak-runtime --test dedicated_runtimes`"]
fn helper_in_a_process_that_gets_few_threads() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut ready = Vec::new();
        for stacks in [0, 1, 1, 1, 1, 1] {
            ready.push(starts_with_room_for(stacks).await);
        }
        assert!(ready.starts_with(&[false, false]) && ready.ends_with(&[true]), "{ready:?}");
    });
}

#[test]
fn a_start_fails_and_keeps_no_thread_if_its_dedicated_runtime_gets_too_few_threads() {
    let itself = std::env::current_exe().unwrap();
    let test = [
        "--exact",
        "helper_in_a_process_that_gets_few_threads",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ];
    let out = std::process::Command::new(itself).args(test).env_remove("RUST_MIN_STACK").output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&[out.stdout, out.stderr].concat()));
}

#[test]
fn a_dedicated_runtime_can_be_created_while_the_clock_is_paused() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let child = Child::task("a", |ctx: Ctx| async move { ctx.stopping().await });
        let dedicated = Supervisor::new("p").dedicated_runtime(DedicatedRuntime::new("p", 2)).child(child);
        let tree = Supervisor::new("t").child(dedicated).start().await.unwrap();
        tree.stop().await;
    });
}
