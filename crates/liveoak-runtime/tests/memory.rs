//! Memory stays constant under a restart storm. This file has one test only, because it measures the whole process.

use liveoak_runtime::testing::paused;
use liveoak_runtime::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Returns the process's resident memory in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// The number of restarts: two million in release builds.
const RESTARTS: u64 = if cfg!(debug_assertions) { 200_000 } else { 2_000_000 };

#[test]
fn memory_stays_constant_under_a_restart_storm() {
    paused(async {
        let starts = Arc::new(AtomicU64::new(0));
        let flaky = |name: &str| {
            let starts = Arc::clone(&starts);
            let child = Child::task(name, move |ctx: Ctx| {
                starts.fetch_add(1, Ordering::Relaxed);
                let big = [ctx.attempt().0 as u8; 512];
                async move {
                    ctx.spawn(async move { big.len() }).await.unwrap();
                    Err::<(), _>(format!("attempt {}", ctx.attempt()))
                }
            });
            child.backoff(None).limit(Limit::unlimited())
        };
        let group = |name| {
            let children = (0..3).map(|n| flaky(&format!("c{n}")));
            Supervisor::new(name).strategy(Strategy::OneForAll).children(children)
        };
        let tree = Supervisor::new("t").child(flaky("a")).child(group("all")).start().await.unwrap();
        let _slow_reader = tree.events();
        let until = async |count: u64| {
            while starts.load(Ordering::Relaxed) < count {
                tokio::task::yield_now().await;
            }
        };
        until(RESTARTS / 10).await;
        let before = resident();
        until(RESTARTS).await;
        let after = resident();
        // Less than a byte for each restart.
        let grown = after.saturating_sub(before);
        assert!(grown < RESTARTS / 2, "{grown} bytes more after {RESTARTS} restarts");
        tree.kill().await;
    });
}
