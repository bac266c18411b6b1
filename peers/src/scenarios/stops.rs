//! Scenarios about stopping.

use super::restarts::{failing, idle};
use super::{Answered, QUIET, SOON, Scenario, Seen, alive_after, places, said, stop};
use crate::peer::{Kid, Lacks, Peer, Plan};
use crate::probe::{Probe, until};
use std::sync::Arc;
use std::time::Duration;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        id: "stop-in-backoff",
        title: "Stopped while a child waits for its restart",
        about: "A child has failed and is to be restarted after a second; a moment after the failure the supervisor is \
            stopped. Does anything start after that?",
        run: |peer| Box::pin(in_backoff(peer)),
    },
    Scenario {
        id: "tidy",
        title: "A child tidies up when stopped",
        about: "A child needs a fifth of a second after the request to stop to tidy up, and has half a second. Has it \
            finished when the stop answers?",
        run: |peer| Box::pin(tidies(peer)),
    },
    Scenario {
        id: "deaf",
        title: "A child ignores the stop",
        about: "A child goes on whatever it is asked, but has await points; it has half a second to stop. Does the stop \
            answer in time, is the child gone, and who names it?",
        run: |peer| Box::pin(deaf(peer, 1)),
    },
    Scenario {
        id: "deaf-twenty",
        title: "Twenty children ignore it",
        about: "The same with twenty such children: is there one deadline for all, or one after the other?",
        run: |peer| Box::pin(deaf(peer, 20)),
    },
    Scenario {
        id: "blocking",
        title: "A child blocks its thread",
        about: "A child calls `std::thread::sleep` in async code for longer than anybody waits, on a runtime with four \
            threads. Nothing can end it; does the stop answer in time, and who names it?",
        run: |peer| Box::pin(blocks(peer)),
    },
    Scenario {
        id: "dropped",
        title: "The supervisor's owner is dropped",
        about: "All that the program holds of the supervisor is dropped without a stop: handles, and the future that \
            runs it. Do its children live on?",
        run: |peer| Box::pin(dropped(peer)),
    },
    Scenario {
        id: "dynamic",
        title: "A child that was added at run time",
        about: "A child is added while the supervisor runs; then the supervisor is stopped. Is that child gone when the \
            stop answers?",
        run: |peer| Box::pin(dynamic(peer)),
    },
];

/// Whether what a stop was about is gone at its answer, and if not, soon after.
async fn gone(probe: &Arc<Probe>) -> &'static str {
    if probe.live() == 0 {
        return "gone by then";
    }
    if until(QUIET, || probe.live() == 0).await { "gone a moment later" } else { "lives on" }
}

async fn in_backoff(peer: &dyn Peer) -> Result<String, Lacks> {
    let probe = Probe::new();
    let kid = failing("waiting", &probe, 1, Duration::from_millis(300));
    let plan = Plan { backoff: Duration::from_secs(1), ..Plan::of([kid]) };
    let grace = plan.grace;
    let mut running = peer.start(plan).await?;
    if !until(SOON, || probe.starts() == 1 && probe.live() == 0).await {
        return Ok("the child does not run".to_owned());
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let before = probe.starts();
    let stopped = stop(running.as_mut(), grace).await;
    tokio::time::sleep(QUIET).await;
    let later = match probe.starts() - before {
        0 => "nothing starts".to_owned(),
        _ if probe.live() > 0 => "the child starts after all, and lives on".to_owned(),
        _ => "the child starts once more".to_owned(),
    };
    let error = stopped.told.first().map(|told| format!(" (`{}`)", told.text)).unwrap_or_default();
    let error = if stopped.answered == Answered::InTime && error.contains("waiting") { String::new() } else { error };
    Ok(format!("{later}; stop {}{error}", stopped.when()))
}

async fn tidies(peer: &dyn Peer) -> Result<String, Lacks> {
    let probe = Probe::new();
    let tidied = Arc::clone(&probe);
    let kid = {
        let probe = Arc::clone(&probe);
        Kid::new("tidy", move |asked| {
            let alive = probe.enter();
            Box::pin(async move {
                asked.await;
                drop(alive);
                Ok(())
            })
        })
    };
    let kid = kid.tidy(move || {
        let tidied = Arc::clone(&tidied);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            tidied.finish();
            Ok(())
        })
    });
    let plan = Plan { restarts: false, ..Plan::of([kid]) };
    let grace = plan.grace;
    let mut running = peer.start(plan).await?;
    until(SOON, || probe.live() == 1).await;
    let stopped = stop(running.as_mut(), grace).await;
    let at_answer = probe.done();
    tokio::time::sleep(QUIET).await;
    let words = match (at_answer, probe.done()) {
        (1, _) => "it has",
        (_, 1) => "it finishes after the answer",
        _ => "it is not given the time",
    };
    Ok(format!("{words}; stop {}", stopped.when()))
}

/// Names for many children.
const NAMES: [&str; 20] = [
    "deaf-0", "deaf-1", "deaf-2", "deaf-3", "deaf-4", "deaf-5", "deaf-6", "deaf-7", "deaf-8", "deaf-9", "deaf-10",
    "deaf-11", "deaf-12", "deaf-13", "deaf-14", "deaf-15", "deaf-16", "deaf-17", "deaf-18", "deaf-19",
];

async fn deaf(peer: &dyn Peer, count: usize) -> Result<String, Lacks> {
    let probe = Probe::new();
    let kid = |name: &&'static str| {
        let probe = Arc::clone(&probe);
        Kid::new(name, move |_| {
            let alive = probe.enter();
            Box::pin(async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    if alive.attempt() == 0 {
                        return Ok(());
                    }
                }
            })
        })
    };
    let plan = Plan { restarts: false, ..Plan::of(NAMES.iter().take(count).map(kid)) };
    let grace = plan.grace;
    let mut running = peer.start(plan).await?;
    until(SOON, || probe.live() == count).await;
    let stopped = stop(running.as_mut(), grace).await;
    let gone = gone(&probe).await;
    let them = if count == 1 { "the child is" } else { "the children are" };
    let them = if gone == "lives on" { "" } else { them };
    let named = NAMES.iter().take(count).filter(|name| !said(&stopped.told, &[name]).is_empty()).count();
    let who = match named {
        0 => "nobody names it".to_owned(),
        _ if named == count => format!("named in: {}", places(&said(&stopped.told, &["deaf-0"]), "")),
        some => format!("{some} of {count} are named"),
    };
    let who = if count > 1 && named == 0 { "nobody names them".to_owned() } else { who };
    Ok(format!("{}; {them} {gone}; {who}", stopped.when()).replace("  ", " "))
}

async fn blocks(peer: &dyn Peer) -> Result<String, Lacks> {
    let probe = Probe::new();
    let seen = Arc::clone(&probe);
    let kid = Kid::new("blocking", move |_| {
        let alive = seen.enter();
        Box::pin(async move {
            std::thread::sleep(Duration::from_secs(120));
            drop(alive);
            Ok(())
        })
    });
    let plan = Plan { restarts: false, ..Plan::of([kid]) };
    let grace = plan.grace;
    let mut running = peer.start(plan).await?;
    until(SOON, || probe.live() == 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stopped = stop(running.as_mut(), grace).await;
    let named = said(&stopped.told, &["blocking"]);
    let value = stopped.told.iter().find(|told| told.text.contains("blocking"));
    let value = value.map(|told| format!(" (`{}`)", told.text)).unwrap_or_default();
    Ok(format!("{}; named in: {}{value}", stopped.when(), places(&named, "nothing")))
}

async fn dropped(peer: &dyn Peer) -> Result<String, Lacks> {
    let probe = Probe::new();
    let plan = Plan { restarts: false, ..Plan::of([idle("left", &probe)]) };
    let running = peer.start(plan).await?;
    until(SOON, || probe.live() == 1).await;
    running.let_go();
    let gone = until(SOON, || probe.live() == 0).await;
    Ok(if gone { "they end with it" } else { "they live on" }.to_owned())
}

async fn dynamic(peer: &dyn Peer) -> Result<String, Lacks> {
    let (first, late) = (Probe::new(), Probe::new());
    let plan = Plan { restarts: false, later: Some(idle("late", &late)), ..Plan::of([idle("first", &first)]) };
    let grace = plan.grace;
    let mut running = peer.start(plan).await?;
    until(SOON, || first.live() == 1).await;
    running.add().await?;
    if !until(SOON, || late.live() == 1).await {
        return Ok("the child that was added does not run".to_owned());
    }
    let stopped = stop(running.as_mut(), grace).await;
    Ok(format!("stop {}; the child is {}", stopped.when(), gone(&late).await).replace("is lives", "lives"))
}
