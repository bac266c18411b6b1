//! One measurement of one side: start `n` idle children, weigh them, restart some, stop them all.
//!
//! Both sides run the same body on the same runtime: wait until asked to stop, then return. "Started" means that every
//! body has been polled; "stopped" that every body is gone and its owner knows it.

use liveoak::{Group, Limit, Supervisor};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many restarts are measured.
const RESTARTS: u64 = 200_000;

/// How many children are started, restarted and stopped before the run that counts.
const WARM_UP: usize = 50;

/// How often a word is sent from one core to the other and back, and how often that is done.
const ROUND_TRIPS: u64 = 500;
const STRETCHES: u64 = 41;

/// Figures as text: start ns, bytes, stop ns (each per child), restart ns, core to core and back ns.
pub(crate) fn one(what: &str, n: usize) -> String {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => return error.to_string(),
    };
    let between_cores = between_cores();
    let figures = runtime.block_on(async {
        let task = match what {
            "bare" => tokio::spawn(warm(bare, n)),
            "liveoak" => tokio::spawn(warm(ours, n)),
            _ => return Err(format!("there is no side called {what:?}")),
        };
        task.await.map_err(|error| error.to_string())
    });
    match figures {
        Ok([start, bytes, stop, restart]) => format!("{start} {bytes} {stop} {restart} {between_cores}"),
        Err(error) => error,
    }
}

/// Once with few, so that the threads are there and the code is in memory; then the run that counts.
async fn warm<F: Future<Output = [f64; 4]>>(side: impl Fn(usize, u64) -> F, n: usize) -> [f64; 4] {
    side(WARM_UP, WARM_UP as u64).await;
    side(n, RESTARTS).await
}

async fn bare(n: usize, restarts: u64) -> [f64; 4] {
    let polled = Arc::new(AtomicUsize::new(0));
    let before = resident();
    let tracker = TaskTracker::new();
    let token = CancellationToken::new();
    let began = Instant::now();
    for _ in 0..n {
        let (token, polled) = (token.clone(), Arc::clone(&polled));
        tracker.spawn(async move {
            polled.fetch_add(1, Ordering::Relaxed);
            token.cancelled().await;
        });
    }
    until(|| polled.load(Ordering::Relaxed) == n).await;
    let start = per(began.elapsed(), n as u64);
    let bytes = resident().saturating_sub(before) as f64 / n as f64;

    // A restart loop by hand: spawn, join, look at the outcome, spawn again.
    let began = Instant::now();
    let mut failures = 0;
    while failures < restarts {
        let outcome = tokio::spawn(async { Err::<(), &'static str>("again") }).await;
        failures += u64::from(matches!(outcome, Ok(Err(_))));
    }
    let restart = per(began.elapsed(), restarts);

    let began = Instant::now();
    token.cancel();
    tracker.close();
    tracker.wait().await;
    [start, bytes, per(began.elapsed(), n as u64), restart]
}

async fn ours(n: usize, restarts: u64) -> [f64; 4] {
    let polled = Arc::new(AtomicUsize::new(0));
    let idle = Group::new("idle", {
        let polled = Arc::clone(&polled);
        move |ctx: liveoak::Ctx, ()| {
            let polled = Arc::clone(&polled);
            async move {
                polled.fetch_add(1, Ordering::Relaxed);
                ctx.stopping().await;
            }
        }
    });
    let attempts = Arc::new(AtomicU64::new(0));
    let failing = Group::new("failing", {
        let attempts = Arc::clone(&attempts);
        move |ctx: liveoak::Ctx, ()| {
            let attempts = Arc::clone(&attempts);
            async move {
                if attempts.fetch_add(1, Ordering::Relaxed) < restarts {
                    return Err("again");
                }
                ctx.stopping().await;
                Ok(())
            }
        }
    });
    let failing = failing.backoff(None).limit(Limit::unlimited());
    let (idle_members, failing_members) = (idle.handle(), failing.handle());
    let tree =
        match Supervisor::new("bench").child(idle).child(failing).stop_within(Duration::MAX).start().await {
            Ok(tree) => tree,
            Err(error) => panic!("{error}"),
        };
    let before = resident();
    let began = Instant::now();
    for _ in 0..n {
        if let Err(refusal) = idle_members.spawn(()) {
            panic!("{refusal}");
        }
    }
    until(|| polled.load(Ordering::Relaxed) == n).await;
    let start = per(began.elapsed(), n as u64);
    let bytes = resident().saturating_sub(before) as f64 / n as f64;

    let began = Instant::now();
    if let Err(refusal) = failing_members.spawn(()) {
        panic!("{refusal}");
    }
    until(|| attempts.load(Ordering::Relaxed) > restarts).await;
    let restart = per(began.elapsed(), restarts);
    // As on the other side, only the idle ones are left.
    if let Err(refusal) = tree.stop_child("/bench/failing").await {
        panic!("{refusal}");
    }

    let began = Instant::now();
    let report = tree.stop().await;
    let stop = per(began.elapsed(), n as u64);
    assert!(report.is_clean(), "something was forced");
    [start, bytes, stop, restart]
}

/// The time from one thread to another and back, through one word of memory: the median of many stretches, since the
/// threads have to come to two cores first.
fn between_cores() -> f64 {
    let word = AtomicU64::new(0);
    let wait_for = |value| {
        while word.load(Ordering::Acquire) != value {
            std::hint::spin_loop();
        }
    };
    let mut stretches: Vec<f64> = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for trip in 0..STRETCHES * ROUND_TRIPS {
                wait_for(2 * trip + 1);
                word.store(2 * trip + 2, Ordering::Release);
            }
        });
        for stretch in 0..STRETCHES {
            let began = Instant::now();
            for trip in stretch * ROUND_TRIPS..(stretch + 1) * ROUND_TRIPS {
                word.store(2 * trip + 1, Ordering::Release);
                wait_for(2 * trip + 2);
            }
            stretches.push(per(began.elapsed(), ROUND_TRIPS));
        }
    });
    stretches.sort_by(f64::total_cmp);
    stretches[stretches.len() / 2]
}

async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
    }
}

fn per(time: Duration, count: u64) -> f64 {
    time.as_nanos() as f64 / count as f64
}

/// Resident memory of this process in bytes (proc(5), `statm`, second field, in pages of 4 KiB).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
