//! A test of your own service, with paused time, a puppet (a child that the test controls) as its sibling, and a check
//! that nothing is left running. A `LeakCheck` makes the puppets and makes that check.
//!
//! In a project, this is a test below `#[cfg(test)]`. Here it is a program that you can run:
//! `cargo run --example testing --features testing`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use liveoak::testing::{LeakCheck, paused};
use liveoak::{BoxError, Child, Ctx, Exit, Init, Service, StopStage, Supervisor};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The service under test. It writes a page every minute and counts its orderly stops.
struct Diary {
    pages: Arc<AtomicU32>,
    closed: Arc<AtomicU32>,
}

impl Service for Diary {
    async fn init(&mut self, _ctx: &Ctx) -> Result<Init, BoxError> {
        tokio::time::sleep(Duration::from_secs(3)).await; // Stands for a slow start.
        Ok(Init::Ready)
    }

    async fn run(&mut self, ctx: &Ctx) -> Result<(), BoxError> {
        while ctx.sleep(Duration::from_secs(60)).await {
            if self.pages.fetch_add(1, Ordering::Relaxed) == 2 {
                return Err("the pen is empty".into());
            }
        }
        Ok(())
    }

    async fn stop(&mut self, _ctx: &Ctx) -> Result<(), BoxError> {
        self.closed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn main() {
    paused(async {
        let leak_check = LeakCheck::new();
        let lamp = leak_check.puppet("lamp").ignoring_stop();
        let (pages, closed) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (for_pages, for_closed) = (pages.clone(), closed.clone());
        let diary =
            Child::service("diary", move || Diary { pages: for_pages.clone(), closed: for_closed.clone() });
        let tree = match Supervisor::new("desk").child(lamp.child()).child(diary).start().await {
            Ok(tree) => tree,
            Err(error) => panic!("{error}"),
        };

        // In paused time Tokio jumps to the next timer, so ten minutes take no real time.
        tokio::time::sleep(Duration::from_secs(600)).await;
        let snapshot = tree.snapshot();
        let diary =
            snapshot.get("/desk/diary").map(|node| (node.attempt.0, node.last_exit.as_ref().map(Exit::kind)));
        assert_eq!(diary, Some((2, Some("failed"))), "it failed at its third page and was restarted");
        assert!(pages.load(Ordering::Relaxed) >= 9);

        // The lamp ignores the stop and is killed. The diary runs its `stop` hook.
        let report = tree.stop().await;
        let forced: Vec<_> =
            report.forced().map(|entry| (entry.path.name().to_owned(), entry.stage)).collect();
        assert_eq!(forced, [("lamp".to_owned(), StopStage::Killed)]);
        assert_eq!(closed.load(Ordering::Relaxed), 2);
        leak_check.check().await;
        println!(
            "all as expected: {} pages, {} stopped",
            pages.load(Ordering::Relaxed),
            report.entries.len()
        );
    });
}
