//! Scenarios about stopping.

use super::restarts::{failing, idle};
use super::{QUIET, SOON, Scenario, THREADS, quoted, who, with_log};
use crate::peer::{Kid, Lacks, Plan};
use crate::probe::{Probe, until};
use crate::stage::Stage;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        id: "stop-in-backoff",
        title: "Stopped while a child waits for its restart",
        about: "A child has failed and waits a second for its restart. A moment after the failure, the supervisor is \
            stopped. Does anything start after that?",
        threads: THREADS,
        run: |stage| Box::pin(in_backoff(stage)),
    },
    Scenario {
        id: "tidy",
        title: "A child tidies up when stopped",
        about: "A child needs a fifth of a second to tidy up after the request to stop, and has half a second. Has \
            it finished when the stop answers?",
        threads: THREADS,
        run: |stage| Box::pin(tidies(stage)),
    },
    Scenario {
        id: "order",
        title: "The order of a stop",
        about: "Three children are stopped. Each needs a tenth of a second to tidy up. In what order are they asked?",
        threads: THREADS,
        run: |stage| Box::pin(order(stage)),
    },
    Scenario {
        id: "deaf",
        title: "A child ignores the stop",
        about: "A child ignores every request, but has await points. It has half a second to stop. Does the stop \
            answer in time? Is the child gone? Where is it named?",
        threads: THREADS,
        run: |stage| Box::pin(deaf(stage, 1)),
    },
    Scenario {
        id: "deaf-twenty",
        title: "Twenty children ignore it",
        about: "The same with twenty such children. Is there one deadline for all, or one after the other?",
        threads: THREADS,
        run: |stage| Box::pin(deaf(stage, 20)),
    },
    Scenario {
        id: "blocking",
        title: "A child blocks its thread",
        about: "A child calls `std::thread::sleep` in async code, on a runtime with four threads, for longer than \
            the scenario waits. Nothing can end it. Does the stop answer in time? Where is the child named?",
        threads: THREADS,
        run: |stage| Box::pin(blocks(stage, Duration::from_secs(120), false)),
    },
    Scenario {
        id: "blocking-alone",
        title: "A child blocks the only thread",
        about: "The same on a runtime with one thread, which the child blocks for five seconds. The only question is \
            whether the stop answers before that.",
        threads: 1,
        run: |stage| Box::pin(blocks(stage, Duration::from_secs(5), true)),
    },
    Scenario {
        id: "dropped",
        title: "The supervisor's owner is dropped",
        about: "The program drops all that it holds of the supervisor, without a stop: handles, and the future that \
            runs it. Do the children live on? (With actors this is intended: a reference does not own its \
            actor.)",
        threads: THREADS,
        run: |stage| Box::pin(dropped(stage)),
    },
    Scenario {
        id: "dynamic",
        title: "A child that was added at run time",
        about: "A child is added while the supervisor runs. Then the supervisor is stopped. Is the child gone when \
            the stop answers?",
        threads: THREADS,
        run: |stage| Box::pin(dynamic(stage)),
    },
];

/// What is gone so soon after the answer is gone with it.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Whether what a stop was about is gone at its answer, and if not, soon after.
async fn gone(probe: &Arc<Probe>) -> &'static str {
    if until(AT_ONCE, || probe.live() == 0).await {
        return "gone";
    }
    if until(QUIET, || probe.live() == 0).await { "gone a moment later" } else { "lives on" }
}

async fn in_backoff(stage: &Stage) -> Result<String, Lacks> {
    let probe = Probe::new();
    let kid = failing("waiting", &probe, 1, Duration::from_millis(300));
    let plan = Plan { backoff: Duration::from_secs(1), ..Plan::of([kid]) };
    let mut running = stage.start(plan).await?;
    if !until(SOON, || probe.starts() == 1 && probe.live() == 0).await {
        return Ok("the child does not run".to_owned());
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let before = probe.starts();
    let stopped = running.stop().await?;
    tokio::time::sleep(QUIET).await;
    let later = match probe.starts() - before {
        0 => "nothing starts".to_owned(),
        _ if probe.live() > 0 => "it starts after all, and lives on".to_owned(),
        _ => "it starts once more".to_owned(),
    };
    let error = if probe.live() > 0 { quoted(&stopped.told) } else { String::new() };
    Ok(format!("{later}{error}{}", stopped.but()))
}

async fn tidies(stage: &Stage) -> Result<String, Lacks> {
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
    let kid = kid.rests().tidy(move || {
        let tidied = Arc::clone(&tidied);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            tidied.finish();
            Ok(())
        })
    });
    let plan = Plan { restarts: false, ..Plan::of([kid]) };
    let mut running = stage.start(plan).await?;
    until(SOON, || probe.live() == 1).await;
    let stopped = running.stop().await?;
    let at_answer = probe.done();
    tokio::time::sleep(QUIET).await;
    let words = match (at_answer, probe.done()) {
        (1, _) => "yes",
        (_, 1) => "only after the answer",
        _ => "no: it is not given the time",
    };
    Ok(format!("{words}{}", stopped.but()))
}

/// Names for many children.
const NAMES: [&str; 20] = [
    "deaf-0", "deaf-1", "deaf-2", "deaf-3", "deaf-4", "deaf-5", "deaf-6", "deaf-7", "deaf-8", "deaf-9",
    "deaf-10", "deaf-11", "deaf-12", "deaf-13", "deaf-14", "deaf-15", "deaf-16", "deaf-17", "deaf-18",
    "deaf-19",
];

async fn deaf(stage: &Stage, count: usize) -> Result<String, Lacks> {
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
    let mut running = stage.start(plan).await?;
    until(SOON, || probe.live() == count).await;
    let stopped = running.stop().await?;
    let gone = gone(&probe).await;
    let them = match (gone, count) {
        ("lives on", 1) => "it lives on".to_owned(),
        ("lives on", _) => format!("{} live on", probe.live()),
        (gone, 1) => format!("it is {gone}"),
        (gone, _) => format!("they are {gone}"),
    };
    Ok(format!("{}; {them}; {}", stopped.when(), who(&with_log(stopped.told), &NAMES[..count])))
}

async fn blocks(stage: &Stage, length: Duration, alone: bool) -> Result<String, Lacks> {
    let probe = Probe::new();
    let seen = Arc::clone(&probe);
    let kid = Kid::new("blocking", move |_| {
        let alive = seen.enter();
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            std::thread::sleep(length);
            drop(alive);
            Ok(())
        })
    });
    let plan = Plan { restarts: false, ..Plan::of([kid]) };
    let mut running = stage.start(plan).await?;
    until(SOON, || probe.live() == 1).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    let stopped = running.stop().await?;
    if alone {
        return Ok(stopped.when().to_owned());
    }
    // What is written late counts too.
    tokio::time::sleep(QUIET).await;
    Ok(format!("{}; {}", stopped.when(), who(&with_log(stopped.told), &["blocking"])))
}

/// What happened to the children, in its order.
type Notes = Arc<Mutex<Vec<(&'static str, bool)>>>;

fn noting(name: &'static str, notes: &Notes) -> Kid {
    let notes = Arc::clone(notes);
    let waiting = Kid::new(name, |asked| {
        Box::pin(async move {
            asked.await;
            Ok(())
        })
    });
    waiting.rests().tidy(move || {
        let notes = Arc::clone(&notes);
        let note = move |ended| notes.lock().unwrap_or_else(PoisonError::into_inner).push((name, ended));
        Box::pin(async move {
            note(false);
            tokio::time::sleep(Duration::from_millis(100)).await;
            note(true);
            Ok(())
        })
    })
}

async fn order(stage: &Stage) -> Result<String, Lacks> {
    let notes = Notes::default();
    let kids = ["first", "second", "third"].map(|name| noting(name, &notes));
    let plan = Plan { restarts: false, ..Plan::of(kids) };
    let mut running = stage.start(plan).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    running.stop().await?;
    let notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
    let one_by_one = notes.chunks(2).all(|pair| pair.len() == 2 && pair[0].0 == pair[1].0);
    let order: Vec<&str> = notes.iter().filter(|(_, ended)| !ended).map(|(name, _)| *name).collect();
    Ok(match (order.as_slice(), one_by_one) {
        ([], _) => "they are not asked".to_owned(),
        (["third", "second", "first"], true) => "in reverse, one after the other".to_owned(),
        (["first", "second", "third"], true) => "in order, one after the other".to_owned(),
        (_, true) => "one after the other, in no order".to_owned(),
        (_, false) => "all at once".to_owned(),
    })
}

async fn dropped(stage: &Stage) -> Result<String, Lacks> {
    let probe = Probe::new();
    let plan = Plan { restarts: false, ..Plan::of([idle("left", &probe)]) };
    let running = stage.start(plan).await?;
    until(SOON, || probe.live() == 1).await;
    running.let_go().await?;
    let gone = until(SOON, || probe.live() == 0).await;
    Ok(if gone { "they end with it" } else { "they live on" }.to_owned())
}

async fn dynamic(stage: &Stage) -> Result<String, Lacks> {
    let (first, late) = (Probe::new(), Probe::new());
    let plan =
        Plan { restarts: false, later: Some(idle("late", &late)), ..Plan::of([idle("first", &first)]) };
    let mut running = stage.start(plan).await?;
    until(SOON, || first.live() == 1).await;
    running.add().await?;
    if !until(SOON, || late.live() == 1).await {
        return Ok("the child that was added does not run".to_owned());
    }
    let stopped = running.stop().await?;
    Ok(format!("{}{}", gone(&late).await, stopped.but()))
}
