//! A robot with modes, for the tests of modes.

use liveoak_runtime::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// What the children of a test share: which of them fail to start, and what they did.
#[derive(Clone, Default)]
pub(crate) struct Stage {
    pub(crate) failing: Arc<Mutex<BTreeSet<String>>>,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
}

impl Stage {
    /// Returns a child that notes its starts and ends, and fails to start while it is among the failing.
    pub(crate) fn child(&self, name: &str) -> Child {
        let stage = self.clone();
        let body = move |ctx: Ctx| {
            let stage = stage.clone();
            async move {
                let name = ctx.path().name().to_owned();
                if stage.failing.lock().unwrap().contains(&name) {
                    return Err("it does not start");
                }
                stage.note(format!("+{name}"));
                ctx.ready();
                ctx.stopping().await;
                stage.note(format!("-{name}"));
                Ok(())
            }
        };
        Child::task(name, body).reports_ready().limit(Limit::unlimited())
    }

    pub(crate) fn note(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }

    pub(crate) fn take(&self) -> String {
        std::mem::take(&mut *self.log.lock().unwrap()).join(" ")
    }

    pub(crate) fn fails(&self, name: &str, fails: bool) {
        let mut failing = self.failing.lock().unwrap();
        if fails {
            failing.insert(name.to_owned())
        } else {
            failing.remove(name)
        };
    }
}

pub(crate) fn state(tree: &TreeHandle, path: &str) -> &'static str {
    tree.snapshot().get(path).map_or("gone", |view| view.state.as_str())
}

pub(crate) fn attempts(tree: &TreeHandle) -> BTreeMap<String, u64> {
    tree.snapshot().nodes().map(|view| (view.path.to_string(), view.attempt.0)).collect()
}

/// Returns a robot with three modes, in the mode `teleop`.
pub(crate) fn robot(stage: &Stage) -> Supervisor {
    let motors = Supervisor::new("motors").child(stage.child("left")).child(stage.child("right"));
    Supervisor::new("robot")
        .child(stage.child("bus"))
        .child(motors)
        .child(stage.child("camera").after("bus"))
        .child(stage.child("mapper").after("camera"))
        .child(stage.child("logger"))
        .mode("teleop", ["camera", "motors/*"])
        .mode("mapping", ["mapper", "logger"])
        .mode("left", ["motors/left"])
        .start_in_mode("teleop")
}

pub(crate) async fn change(tree: &TreeHandle, mode: &str, on_failure: OnFailure) -> ModeReport {
    tree.plan_mode(mode).unwrap().run(on_failure).await.unwrap()
}
