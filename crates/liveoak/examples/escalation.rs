//! Escalation: a supervisor gives up, and the supervisor above it restarts it with all its children.
//!
//! `probe` fails while `cable` is loose. Its supervisor `sensor` allows two restarts, then gives up and fails itself.
//! `station`, one level up, restarts `sensor` with both children. The new `cable` is plugged in, so `probe` works.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use liveoak::prelude::*;
use liveoak::{EventKind, EventOrLost};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let plugged = Arc::new(AtomicBool::new(false));
    let (for_cable, for_probe) = (plugged.clone(), plugged.clone());
    let sensor = Supervisor::new("sensor")
        .intensity(Limit::new(2, Duration::from_secs(5)))
        .child(Child::task("cable", move |ctx| cable(ctx, for_cable.clone())))
        .child(Child::task("probe", move |ctx| probe(ctx, for_probe.clone())).backoff(None));
    let station = Supervisor::new("station").intensity(Limit::new(3, Duration::from_secs(5))).child(sensor);
    let tree = Supervisor::new("weather").child(station).begin()?;
    let mut events = tree.events();
    while let Some(next) = events.next().await {
        let EventOrLost::Event(event) = next else { continue };
        match &event.kind {
            EventKind::Exited { exit, .. } => println!("{}: {exit}", event.path),
            EventKind::GaveUp(_) => println!("{}: gives up", event.path),
            EventKind::Ready { attempt, .. } if event.path.name() == "sensor" && attempt.0 > 1 => break,
            _ => {}
        }
    }
    let state = tree.snapshot();
    let sensor = state.get("/weather/station/sensor").map(|node| (node.state.as_str(), node.restarts));
    println!("sensor: {sensor:?}");
    tree.stop().await;
    Ok(())
}

/// Stands for a cable that is loose during its first attempt and plugged in from the second on.
async fn cable(ctx: Ctx, plugged: Arc<AtomicBool>) {
    plugged.store(ctx.attempt().0 > 1, Ordering::Relaxed);
    ctx.stopping().await;
}

async fn probe(ctx: Ctx, plugged: Arc<AtomicBool>) -> Result<(), &'static str> {
    if !plugged.load(Ordering::Relaxed) {
        return Err("no signal");
    }
    ctx.stopping().await;
    Ok(())
}
