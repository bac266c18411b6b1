//! Scenarios about stopping.

use super::restarts::{failing, idle};
use super::{QUIET, SOON, Scenario, THREADS, named_children, quoted, with_log};
use crate::counter::{Counter, until};
use crate::peer::{CannotRun, Plan, PlannedChild};
use crate::runtime::PeerRuntime;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        id: "stop-in-backoff",
        title: "Stopped while a child waits for its restart",
        about: "A child has failed and is to be restarted after a second. Shortly after the failure the supervisor is \
            stopped. Does anything start after that?",
        threads: THREADS,
        run: |runtime| Box::pin(in_backoff(runtime)),
    },
    Scenario {
        id: "cleanup",
        title: "A child cleans up when stopped",
        about: "A child needs a fifth of a second to clean up after it was asked to stop, and may take half a second. \
            Has it finished when the stop returns?",
        threads: THREADS,
        run: |runtime| Box::pin(cleans_up(runtime)),
    },
    Scenario {
        id: "order",
        title: "The order of a stop",
        about: "Three children are stopped, each of which needs a tenth of a second to clean up. In which order are they \
            asked to stop?",
        threads: THREADS,
        run: |runtime| Box::pin(order(runtime)),
    },
    Scenario {
        id: "ignores-stop",
        title: "A child ignores the stop",
        about: "A child ignores the request to stop, but has await points. It may take half a second to stop. Does the \
            stop return in time, has the child ended, and where is it named?",
        threads: THREADS,
        run: |runtime| Box::pin(ignores_stop(runtime, 1)),
    },
    Scenario {
        id: "ignores-stop-twenty",
        title: "Twenty children ignore it",
        about: "The same with twenty such children. Is there one deadline for all, or one after the other?",
        threads: THREADS,
        run: |runtime| Box::pin(ignores_stop(runtime, 20)),
    },
    Scenario {
        id: "blocking",
        title: "A child blocks its thread",
        about: "A child calls `std::thread::sleep` in async code for two minutes, on a runtime with four threads. It \
            cannot be ended. Does the stop return in time, and where is the child named?",
        threads: THREADS,
        run: |runtime| Box::pin(blocks(runtime, Duration::from_secs(120), false)),
    },
    Scenario {
        id: "blocking-alone",
        title: "A child blocks the only thread",
        about: "The same on a runtime with one thread, which the child blocks for five seconds. Does the stop \
            return before these five seconds are over?",
        threads: 1,
        run: |runtime| Box::pin(blocks(runtime, Duration::from_secs(5), true)),
    },
    Scenario {
        id: "dropped",
        title: "The supervisor's owner is dropped",
        about: "The program drops everything that it holds of the supervisor without a stop: its handles, and the future \
            that runs it. Do the children keep running? (For supervisors whose handles are not meant to own them, \
            such as actors, that is intended.)",
        threads: THREADS,
        run: |runtime| Box::pin(dropped(runtime)),
    },
    Scenario {
        id: "dynamic",
        title: "A child that was added at run time",
        about: "A child is added while the supervisor runs, and then the supervisor is stopped. Has that child ended \
            when the stop returns?",
        threads: THREADS,
        run: |runtime| Box::pin(dynamic(runtime)),
    },
];

/// A child that ends within this time after the stop counts as ended when the stop returned.
const MOMENT: Duration = Duration::from_millis(100);

/// Returns in words if the child has ended when the stop returns, or soon after.
async fn ended(counter: &Arc<Counter>) -> &'static str {
    if until(MOMENT, || counter.live() == 0).await {
        return "ended";
    }
    if until(QUIET, || counter.live() == 0).await { "ended a moment later" } else { "keeps running" }
}

async fn in_backoff(runtime: &PeerRuntime) -> Result<String, CannotRun> {
    let counter = Counter::new();
    let child = failing("waiting", &counter, 1, Duration::from_millis(300));
    let plan = Plan { backoff: Duration::from_secs(1), ..Plan::of([child]) };
    let mut running = runtime.start(plan).await?;
    if !until(SOON, || counter.starts() == 1 && counter.live() == 0).await {
        return Ok("the child does not run".to_owned());
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let before = counter.starts();
    let stopped = running.stop().await?;
    tokio::time::sleep(QUIET).await;
    let later = match counter.starts() - before {
        0 => "nothing starts".to_owned(),
        _ if counter.live() > 0 => "it starts after all, and keeps running".to_owned(),
        _ => "it starts once more".to_owned(),
    };
    let error = if counter.live() > 0 { quoted(&stopped.messages) } else { String::new() };
    Ok(format!("{later}{error}{}", stopped.if_not_in_time()))
}

async fn cleans_up(runtime: &PeerRuntime) -> Result<String, CannotRun> {
    let counter = Counter::new();
    let cleaned_up = Arc::clone(&counter);
    let child = {
        let counter = Arc::clone(&counter);
        PlannedChild::new("cleanup", move |asked| {
            let alive = counter.enter();
            Box::pin(async move {
                asked.await;
                drop(alive);
                Ok(())
            })
        })
    };
    let child = child.waits_only().cleanup(move || {
        let cleaned_up = Arc::clone(&cleaned_up);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            cleaned_up.finish();
            Ok(())
        })
    });
    let plan = Plan { restarts: false, ..Plan::of([child]) };
    let mut running = runtime.start(plan).await?;
    until(SOON, || counter.live() == 1).await;
    let stopped = running.stop().await?;
    let at_answer = counter.done();
    tokio::time::sleep(QUIET).await;
    let words = match (at_answer, counter.done()) {
        (1, _) => "yes",
        (_, 1) => "only after the stop returned",
        _ => "no: it is not given the time",
    };
    Ok(format!("{words}{}", stopped.if_not_in_time()))
}

/// Names for many children.
const NAMES: [&str; 20] = [
    "ignores-stop-0",
    "ignores-stop-1",
    "ignores-stop-2",
    "ignores-stop-3",
    "ignores-stop-4",
    "ignores-stop-5",
    "ignores-stop-6",
    "ignores-stop-7",
    "ignores-stop-8",
    "ignores-stop-9",
    "ignores-stop-10",
    "ignores-stop-11",
    "ignores-stop-12",
    "ignores-stop-13",
    "ignores-stop-14",
    "ignores-stop-15",
    "ignores-stop-16",
    "ignores-stop-17",
    "ignores-stop-18",
    "ignores-stop-19",
];

async fn ignores_stop(runtime: &PeerRuntime, count: usize) -> Result<String, CannotRun> {
    let counter = Counter::new();
    let child = |name: &&'static str| {
        let counter = Arc::clone(&counter);
        PlannedChild::new(name, move |_| {
            let alive = counter.enter();
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
    let plan = Plan { restarts: false, ..Plan::of(NAMES.iter().take(count).map(child)) };
    let mut running = runtime.start(plan).await?;
    until(SOON, || counter.live() == count).await;
    let stopped = running.stop().await?;
    let ended = ended(&counter).await;
    let them = match (ended, count) {
        ("keeps running", 1) => "it keeps running".to_owned(),
        ("keeps running", _) => format!("{} keep running", counter.live()),
        (ended, 1) => format!("it has {ended}"),
        (ended, _) => format!("they have {ended}"),
    };
    Ok(format!(
        "{}; {them}; {}",
        stopped.when(),
        named_children(&with_log(stopped.messages), &NAMES[..count])
    ))
}

async fn blocks(runtime: &PeerRuntime, length: Duration, alone: bool) -> Result<String, CannotRun> {
    let counter = Counter::new();
    let seen = Arc::clone(&counter);
    let child = PlannedChild::new("blocking", move |_| {
        let alive = seen.enter();
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            std::thread::sleep(length);
            drop(alive);
            Ok(())
        })
    });
    let plan = Plan { restarts: false, ..Plan::of([child]) };
    let mut running = runtime.start(plan).await?;
    until(SOON, || counter.live() == 1).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    let stopped = running.stop().await?;
    if alone {
        return Ok(stopped.when().to_owned());
    }
    // Messages that are logged late count too.
    tokio::time::sleep(QUIET).await;
    Ok(format!("{}; {}", stopped.when(), named_children(&with_log(stopped.messages), &["blocking"])))
}

/// The starts and ends of the children's cleanups, in their order.
type Records = Arc<Mutex<Vec<(&'static str, bool)>>>;

fn recording(name: &'static str, records: &Records) -> PlannedChild {
    let records = Arc::clone(records);
    let waiting = PlannedChild::new(name, |asked| {
        Box::pin(async move {
            asked.await;
            Ok(())
        })
    });
    waiting.waits_only().cleanup(move || {
        let records = Arc::clone(&records);
        let record = move |ended| records.lock().unwrap_or_else(PoisonError::into_inner).push((name, ended));
        Box::pin(async move {
            record(false);
            tokio::time::sleep(Duration::from_millis(100)).await;
            record(true);
            Ok(())
        })
    })
}

async fn order(runtime: &PeerRuntime) -> Result<String, CannotRun> {
    let records = Records::default();
    let children = ["first", "second", "third"].map(|name| recording(name, &records));
    let plan = Plan { restarts: false, ..Plan::of(children) };
    let mut running = runtime.start(plan).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    running.stop().await?;
    let records = records.lock().unwrap_or_else(PoisonError::into_inner);
    let one_by_one = records.chunks(2).all(|pair| pair.len() == 2 && pair[0].0 == pair[1].0);
    let order: Vec<&str> = records.iter().filter(|(_, ended)| !ended).map(|(name, _)| *name).collect();
    Ok(match (order.as_slice(), one_by_one) {
        ([], _) => "they are not asked".to_owned(),
        (["third", "second", "first"], true) => "in reverse, one after the other".to_owned(),
        (["first", "second", "third"], true) => "in order, one after the other".to_owned(),
        (_, true) => "one after the other, in no order".to_owned(),
        (_, false) => "all at once".to_owned(),
    })
}

async fn dropped(runtime: &PeerRuntime) -> Result<String, CannotRun> {
    let counter = Counter::new();
    let plan = Plan { restarts: false, ..Plan::of([idle("left", &counter)]) };
    let running = runtime.start(plan).await?;
    until(SOON, || counter.live() == 1).await;
    running.drop_handles().await?;
    let ended = until(SOON, || counter.live() == 0).await;
    Ok(if ended { "they end with it" } else { "they keep running" }.to_owned())
}

async fn dynamic(runtime: &PeerRuntime) -> Result<String, CannotRun> {
    let (first, late) = (Counter::new(), Counter::new());
    let plan =
        Plan { restarts: false, later: Some(idle("late", &late)), ..Plan::of([idle("first", &first)]) };
    let mut running = runtime.start(plan).await?;
    until(SOON, || first.live() == 1).await;
    running.add().await?;
    if !until(SOON, || late.live() == 1).await {
        return Ok("the child that was added does not run".to_owned());
    }
    let stopped = running.stop().await?;
    Ok(format!("{}{}", ended(&late).await, stopped.if_not_in_time()))
}
