//! Liveoak itself.

use crate::peer::{Kid, Lacks, Peer, Place, Plan, Running, Strategy as Wanted, Told};
use async_trait::async_trait;
use liveoak::prelude::*;
use liveoak::{EventKind, EventOrLost, Events};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The name of the tree.
const ROOT: &str = "tree";

pub(crate) struct Here;

struct Alive {
    tree: Tree,
    later: Option<Child>,
    events: Arc<Mutex<Vec<Told>>>,
}

fn child(kid: Kid, plan: &Plan) -> Child {
    let restart = if kid.permanent { Restart::Permanent } else { Restart::Transient };
    let backoff = Backoff { from: plan.backoff, to: plan.backoff * 10, ..Backoff::default() };
    let limit = Limit::new(plan.limit, Duration::from_secs(60));
    let name = kid.name;
    let body = move |ctx: Ctx| {
        let kid = kid.clone();
        async move {
            let asked = ctx.clone();
            kid.run(Box::pin(async move { asked.stopping().await })).await
        }
    };
    Child::task(name, body).restart(restart).backoff(backoff).limit(limit).stop_within(plan.grace)
}

/// Keeps the events that say more than that something starts or runs.
async fn listen(mut events: Events, kept: Arc<Mutex<Vec<Told>>>) {
    while let Some(next) = events.next().await {
        let EventOrLost::Event(event) = next else { continue };
        let text = match &event.kind {
            EventKind::Exited { exit, .. } => format!("{}: {exit}", event.path),
            EventKind::Quarantined(why) | EventKind::GaveUp(why) => why.to_string(),
            EventKind::Killed { .. } => format!("{}: killed", event.path),
            EventKind::Abandoned { .. } => format!("{}: abandoned", event.path),
            _ => continue,
        };
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(Told::new(Place::Event, text));
    }
}

#[async_trait]
impl Peer for Here {
    fn name(&self) -> &'static str {
        "liveoak"
    }

    fn usage(&self) -> &'static str {
        "`Supervisor` with `Child::task`. Each child has its own limit and its own time to stop. Stopped by \
        `TreeHandle::stop`."
    }

    async fn start(&self, plan: Plan) -> Result<Box<dyn Running>, Lacks> {
        let strategy = match plan.strategy {
            Wanted::OneForOne => Strategy::OneForOne,
            Wanted::OneForAll => Strategy::OneForAll,
            Wanted::RestForOne => Strategy::RestForOne,
        };
        let later = plan.later.clone().map(|kid| child(kid, &plan));
        let kids: Vec<Child> = plan.kids.iter().map(|kid| child(kid.clone(), &plan)).collect();
        let supervisor = Supervisor::new(ROOT).strategy(strategy).stop_within(plan.grace).children(kids);
        let tree = supervisor.begin().map_err(Lacks::failed)?;
        let events = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(listen(tree.events(), Arc::clone(&events)));
        Ok(Box::new(Alive { tree, later, events }))
    }
}

#[async_trait]
impl Running for Alive {
    async fn add(&mut self) -> Result<(), Lacks> {
        let child = self.later.take().ok_or_else(|| Lacks::failed("nothing to add"))?;
        self.tree.add_child(format!("/{ROOT}"), child).await.map_err(Lacks::failed)?;
        Ok(())
    }

    async fn told(&mut self) -> Vec<Told> {
        let snapshot = self.tree.snapshot();
        let state = |node: &liveoak::ChildView| {
            let exit = node.last_exit.as_ref().map(|exit| format!(", last exit {exit}")).unwrap_or_default();
            Told::new(Place::State, format!("{}: {}{exit}", node.path, node.state.as_str()))
        };
        let mut told: Vec<Told> = snapshot.nodes().map(state).collect();
        told.extend(self.events.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        if let Ok(ended) = tokio::time::timeout(Duration::from_millis(50), self.tree.join()).await {
            told.push(Told::new(Place::Answer, ended.exit.to_string()));
        }
        told
    }

    async fn stop(&mut self) -> Vec<Told> {
        let report = self.tree.stop().await;
        let entry = |entry: &liveoak::StopEntry| {
            Told::new(Place::Answer, format!("{}: {}", entry.path, entry.stage.as_str()))
        };
        report.forced().map(entry).collect()
    }

    fn let_go(self: Box<Self>) {}
}
