//! A log subscriber is user code, and may panic. This test has a process of its own, because its log subscriber gets the log
//! of the whole process, and because it kills the guardian.

use liveoak_process::{Probe, ProcessChild, guardian_id};
use liveoak_runtime::*;
use rustix::process::{Pid, Signal, kill_process};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

static PANICS: AtomicU32 = AtomicU32::new(0);

/// A log subscriber that panics at every line of Liveoak.
struct PanickingLog;

impl Subscriber for PanickingLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        if event.metadata().target().starts_with("liveoak") {
            PANICS.fetch_add(1, Ordering::SeqCst);
            panic!("a log that panics");
        }
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Kills each guardian until no further one is started. The spawner thread logs this.
async fn kill_guardians() {
    let mut killed = 0;
    while killed < 5 {
        if let Some(id) = guardian_id() {
            let id = Pid::from_raw(id.cast_signed()).unwrap();
            killed += u32::from(kill_process(id, Signal::KILL).is_ok());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_subscriber_that_panics_ends_no_program_and_no_thread() {
    std::panic::set_hook(Box::new(|_| {}));
    tracing::subscriber::set_global_default(PanickingLog).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let answered = Probe::tcp(&listener.local_addr().unwrap().to_string()).unwrap();
    let talker = Child::shell("talker", "while :; do echo tick || exit 77; sleep 0.02; done");
    let tree = Supervisor::new("t")
        .child(talker)
        .child(Child::command("early", ["sleep", "1000"]).ready(answered))
        .child(Child::shell("leaves", "sleep 1000 >/dev/null 2>&1 & exit 0").restart(Restart::Temporary))
        .start()
        .await
        .unwrap();
    kill_guardians().await;
    let late = Child::command("late", ["sleep", "1000"]);
    tokio::time::timeout(Duration::from_secs(20), tree.add_child("/t", late)).await.unwrap().unwrap();
    let now = tree.snapshot();
    for path in ["/t/talker", "/t/early", "/t/late"] {
        let child = now.get(path).unwrap();
        assert!(child.state.as_str() == "running" && child.attempt.0 == 1, "{child:?}");
    }
    assert!(PANICS.load(Ordering::SeqCst) > 10, "the log was not called");
    let report = tree.stop().await;
    assert!(report.is_clean(), "{report:?}");
}
