//! Children that block: a thread as a child, and a subtree on a dedicated Tokio runtime.
//!
//! The tasks in `crunch` use the processor heavily, but take no worker thread from the rest of the program.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use liveoak::prelude::*;
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tree = Supervisor::new("machine-room")
        .child(Child::thread("hash", hash))
        .child(
            Supervisor::new("crunch")
                .dedicated_runtime(DedicatedRuntime::new("crunch", 2))
                .child(Child::task("left", crunch))
                .child(Child::task("right", crunch)),
        )
        .child(Child::task("clock", |ctx: Ctx| async move {
            while ctx.sleep(Duration::from_millis(20)).await {
                println!("tick, on time, on thread {:?}", std::thread::current().name().unwrap_or("main"));
            }
        }))
        .start()
        .await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let report = tree.stop().await;
    for entry in &report.entries {
        println!("{:22} {:9} {:?}", entry.path.as_str(), entry.stage.as_str(), entry.took);
    }
    Ok(())
}

/// Blocks its own thread, and checks from time to time if it should stop.
fn hash(ctx: Ctx) {
    let mut sum = 1u64;
    while !ctx.is_stopping() {
        for _ in 0..100_000 {
            sum = sum.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        }
    }
    println!("hash: {sum:x}");
}

/// Keeps a worker thread of its runtime busy for 10 ms at a time, then yields.
async fn crunch(ctx: Ctx) {
    while !ctx.is_stopping() {
        let until = std::time::Instant::now() + Duration::from_millis(10);
        while std::time::Instant::now() < until {
            std::hint::spin_loop();
        }
        tokio::task::yield_now().await;
    }
}
