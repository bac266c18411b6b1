//! A runtime that code blocks.

use crate::client::{get, post};
use crate::{Served, steady};
use liveoak_runtime::{Child, Ctx, PollLimit, Supervisor};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

#[test]
fn with_a_blocked_runtime_reads_are_served_and_a_command_names_the_culprit_and_is_withdrawn() {
    let (blocked, end) = (Arc::new(Barrier::new(3)), Arc::new(AtomicBool::new(false)));
    let culprit = |name: &str| {
        let (blocked, end) = (Arc::clone(&blocked), Arc::clone(&end));
        Child::task(name, move |_: Ctx| {
            let (blocked, end) = (Arc::clone(&blocked), Arc::clone(&end));
            async move {
                blocked.wait();
                // Blocks its thread, as a mistake would.
                while !end.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        })
        .once_is_enough()
    };
    let shop = Supervisor::new("shop").watch_polls(PollLimit::new(Duration::from_millis(200)));
    let shop = shop.child(steady("web")).child(culprit("a")).child(culprit("b"));
    let served = Served::new(shop);
    blocked.wait();
    // Both threads of the runtime are blocked now.
    let children = get(&served.socket, "/v1/children").json();
    assert_eq!(children.as_array().unwrap().len(), 4);
    let answer = post(&served.socket, "/v1/commands/restart", &json!({ "paths": ["web"] }));
    assert_eq!((answer.status, answer.code().as_str()), (503, "runtime-blocked"), "{answer:?}");
    let path = answer.json()["path"].as_str().unwrap_or_default().to_owned();
    assert!(["/shop/a", "/shop/b"].contains(&path.as_str()), "{answer:?}");
    let health = get(&served.socket, "/healthz");
    assert!(health.status == 503 && health.body.contains("blocks the runtime"), "{health:?}");
    assert!(!get(&served.socket, "/v1/status").json()["blocked_by"].as_array().unwrap().is_empty());
    end.store(true, Ordering::Relaxed);
    let ended = served.tree.wait_for("/shop/b", |view| view.last_exit.is_some());
    served.runtime.block_on(ended).unwrap();
    let web = get(&served.socket, "/v1/children/web").json();
    assert_eq!(web["attempt"], 1, "the command was withdrawn");
    let answer = post(&served.socket, "/v1/commands/restart", &json!({ "paths": ["web"] }));
    assert_eq!(answer.json()[0]["attempt"], 2);
}

/// Lets a child end for good after its first attempt.
trait Once {
    fn once_is_enough(self) -> Self;
}

impl Once for Child {
    fn once_is_enough(self) -> Self {
        self.restart(liveoak_runtime::Restart::Temporary)
    }
}
