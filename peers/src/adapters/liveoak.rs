//! The crate `liveoak` of this repository.

use crate::peer::{CannotRun, Message, Peer, Plan, PlannedChild, Running, Source, Strategy as Wanted};
use async_trait::async_trait;
use liveoak::prelude::*;
use liveoak::{EventKind, EventOrLost, Events};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The name of the tree.
const ROOT: &str = "tree";

pub(crate) struct Liveoak;

struct RunningTree {
    tree: Tree,
    later: Option<Child>,
    events: Arc<Mutex<Vec<Message>>>,
}

fn child_spec(child: PlannedChild, plan: &Plan) -> Child {
    let restart = if child.permanent { Restart::Permanent } else { Restart::Transient };
    let backoff = Backoff { from: plan.backoff, to: plan.backoff * 10, ..Backoff::default() };
    let limit = Limit::new(plan.limit, Duration::from_secs(60));
    let name = child.name;
    let body = move |ctx: Ctx| {
        let child = child.clone();
        async move {
            let asked = ctx.clone();
            child.run(Box::pin(async move { asked.stopping().await })).await
        }
    };
    Child::task(name, body).restart(restart).backoff(backoff).limit(limit).stop_within(plan.grace)
}

/// Records the events about exits, kills and exceeded limits.
async fn listen(mut events: Events, kept: Arc<Mutex<Vec<Message>>>) {
    while let Some(next) = events.next().await {
        let EventOrLost::Event(event) = next else { continue };
        let text = match &event.kind {
            EventKind::Exited { exit, .. } => format!("{}: {exit}", event.path),
            EventKind::Quarantined(why) | EventKind::GaveUp(why) => why.to_string(),
            EventKind::Killed { .. } => format!("{}: killed", event.path),
            EventKind::Abandoned { .. } => format!("{}: abandoned", event.path),
            _ => continue,
        };
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(Message::new(Source::Event, text));
    }
}

#[async_trait]
impl Peer for Liveoak {
    fn name(&self) -> &'static str {
        "liveoak"
    }

    fn usage(&self) -> &'static str {
        "`Supervisor` with `Child::task`; each child has a limit and a stop time of its own; stopped by \
        `TreeHandle::stop`."
    }

    async fn start(&self, plan: Plan) -> Result<Box<dyn Running>, CannotRun> {
        let strategy = match plan.strategy {
            Wanted::OneForOne => Strategy::OneForOne,
            Wanted::OneForAll => Strategy::OneForAll,
            Wanted::RestForOne => Strategy::RestForOne,
        };
        let later = plan.later.clone().map(|child| child_spec(child, &plan));
        let children: Vec<Child> =
            plan.children.iter().map(|child| child_spec(child.clone(), &plan)).collect();
        let supervisor = Supervisor::new(ROOT).strategy(strategy).stop_within(plan.grace).children(children);
        let tree = supervisor.begin().map_err(CannotRun::failed)?;
        let events = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(listen(tree.events(), Arc::clone(&events)));
        Ok(Box::new(RunningTree { tree, later, events }))
    }
}

#[async_trait]
impl Running for RunningTree {
    async fn add(&mut self) -> Result<(), CannotRun> {
        let child = self.later.take().ok_or_else(|| CannotRun::failed("nothing to add"))?;
        self.tree.add_child(format!("/{ROOT}"), child).await.map_err(CannotRun::failed)?;
        Ok(())
    }

    async fn messages(&mut self) -> Vec<Message> {
        let snapshot = self.tree.snapshot();
        let state = |node: &liveoak::ChildView| {
            let exit = node.last_exit.as_ref().map(|exit| format!(", last exit {exit}")).unwrap_or_default();
            Message::new(Source::State, format!("{}: {}{exit}", node.path, node.state.as_str()))
        };
        let mut messages: Vec<Message> = snapshot.nodes().map(state).collect();
        messages.extend(self.events.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        if let Ok(ended) = tokio::time::timeout(Duration::from_millis(50), self.tree.join()).await {
            messages.push(Message::new(Source::Answer, ended.exit.to_string()));
        }
        messages
    }

    async fn stop(&mut self) -> Vec<Message> {
        let report = self.tree.stop().await;
        let entry = |entry: &liveoak::StopEntry| {
            Message::new(Source::Answer, format!("{}: {}", entry.path, entry.stage.as_str()))
        };
        report.forced().map(entry).collect()
    }

    fn drop_handles(self: Box<Self>) {}
}
