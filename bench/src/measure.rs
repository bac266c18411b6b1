//! Measures one side once: starts `n` idle children, measures their memory, restarts a failing child, stops all.
//!
//! Both sides run the same body on the same runtime: it waits until it is asked to stop, then returns. "Started" means
//! that every body has been polled; "stopped" means that every body was dropped and the owner has been notified.

use liveoak::{Group, Limit, Supervisor};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The number of measured restarts.
const RESTARTS: u64 = 200_000;

/// The number of children, and of restarts, in the run before the one that counts.
const WARM_UP: usize = 50;

/// The number of round trips between two cores in one measurement.
const ROUND_TRIPS: u64 = 500;

/// The number of such measurements, of which the median counts.
const MEASUREMENTS: u64 = 41;

/// Returns the figures as text: start ns, bytes, stop ns (each per child), restart ns, core round trip ns.
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

/// Runs `side` with few children, so that threads exist and code is in memory, and then the run that counts.
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

    // A hand-written restart loop: spawn, join, check the result, spawn again.
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
    // The stop must include the idle children only, as on the other side.
    if let Err(refusal) = tree.stop_child("/bench/failing").await {
        panic!("{refusal}");
    }

    let began = Instant::now();
    let report = tree.stop().await;
    let stop = per(began.elapsed(), n as u64);
    assert!(report.is_clean(), "something was forced");
    [start, bytes, stop, restart]
}

/// Returns the time of a round trip from one thread to another through one word of memory. It is the median of many
/// measurements, because at first both threads may be on one core.
fn between_cores() -> f64 {
    let word = AtomicU64::new(0);
    let wait_for = |value| {
        while word.load(Ordering::Acquire) != value {
            std::hint::spin_loop();
        }
    };
    let mut measurements: Vec<f64> = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for trip in 0..MEASUREMENTS * ROUND_TRIPS {
                wait_for(2 * trip + 1);
                word.store(2 * trip + 2, Ordering::Release);
            }
        });
        for measurement in 0..MEASUREMENTS {
            let began = Instant::now();
            for trip in measurement * ROUND_TRIPS..(measurement + 1) * ROUND_TRIPS {
                word.store(2 * trip + 1, Ordering::Release);
                wait_for(2 * trip + 2);
            }
            measurements.push(per(began.elapsed(), ROUND_TRIPS));
        }
    });
    measurements.sort_by(f64::total_cmp);
    measurements[measurements.len() / 2]
}

async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
    }
}

fn per(time: Duration, count: u64) -> f64 {
    time.as_nanos() as f64 / count as f64
}

/// Returns the resident memory of this process in bytes (proc(5), `statm`, second field, in pages of 4 KiB).
pub(crate) fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
