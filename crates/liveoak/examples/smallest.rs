//! The smallest tree: one task that fails twice, is restarted, and then succeeds.
//!
//! This tree ends when its only task has succeeded. Most trees run until Ctrl-C.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use liveoak::prelude::*;
use std::time::Duration;

fn main() -> std::process::ExitCode {
    liveoak::main(
        Supervisor::new("smallest").child(Child::task("greeter", greet).restart(Restart::Transient)),
    )
}

async fn greet(ctx: Ctx) -> Result<(), String> {
    println!("attempt {}", ctx.attempt());
    ctx.sleep(Duration::from_millis(50)).await;
    if ctx.attempt().0 < 3 { Err("not yet".into()) } else { Ok(()) }
}
