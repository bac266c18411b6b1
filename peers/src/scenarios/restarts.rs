//! Scenarios about restarts.

use super::{QUIET, SOON, Scenario, THREADS, containing, quoted, sources, with_log};
use crate::counter::{Counter, until};
use crate::peer::{CannotRun, Message, Plan, PlannedChild, Strategy};
use crate::runtime::PeerRuntime;
use std::sync::Arc;
use std::time::Duration;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        id: "one-for-all",
        title: "A sibling that still runs, one-for-all",
        about: "One of two children fails under one-for-all. Its sibling takes a tenth of a second to stop. How many \
            attempts of the sibling were alive at the same time, how many are alive after the restart, and how many \
            after the stop of the supervisor?",
        threads: THREADS,
        run: |runtime| Box::pin(together(runtime, Strategy::OneForAll, false)),
    },
    Scenario {
        id: "one-for-all-busy",
        title: "The same, with a busy sibling",
        about: "The same, but the sibling blocks its thread for a tenth of a second between its await points, so it can \
            be dropped only at these points.",
        threads: THREADS,
        run: |runtime| Box::pin(together(runtime, Strategy::OneForAll, true)),
    },
    Scenario {
        id: "rest-for-one",
        title: "Rest-for-one",
        about: "The second of three children fails under rest-for-one. The first must keep running. How many attempts of \
            the third were alive at the same time, how many are alive after the restart, and how many after the stop \
            of the supervisor?",
        threads: THREADS,
        run: |runtime| Box::pin(together(runtime, Strategy::RestForOne, false)),
    },
    Scenario {
        id: "give-up",
        title: "The limit of restarts is exceeded",
        about: "A child fails at every start, and three restarts within a minute are allowed. How many attempts are \
            there, what happens to its sibling, and where does the supervisor report that it gave up on the child?",
        threads: THREADS,
        run: |runtime| Box::pin(give_up(runtime)),
    },
    Scenario {
        id: "shared-limit",
        title: "Two children fail twice each, three restarts are allowed",
        about: "Two children of one supervisor fail twice each and then work. With a limit for each child both are \
            restarted. With one limit for all children, as in OTP, four restarts exceed it.",
        threads: THREADS,
        run: |runtime| Box::pin(shared_limit(runtime)),
    },
    Scenario {
        id: "panic",
        title: "A child panics",
        about: "A child panics with a message at its first attempt. Is it restarted, and where does the supervisor \
            report the child's name and the message? (The output of Rust's own panic hook does not count.)",
        threads: THREADS,
        run: |runtime| Box::pin(panics(runtime)),
    },
    Scenario {
        id: "success-loop",
        title: "A permanent child succeeds at once",
        about: "A child that is to be restarted after every end returns a success at once. The limit of restarts is too \
            high to be reached, and the first delay is 50 ms. How often is the child started within a second?",
        threads: THREADS,
        run: |runtime| Box::pin(success_loop(runtime)),
    },
];

/// Returns a child that runs until it is asked to stop, and then needs a tenth of a second.
pub(super) fn idle(name: &'static str, counter: &Arc<Counter>) -> PlannedChild {
    let counter = Arc::clone(counter);
    let child = PlannedChild::new(name, move |asked| {
        let alive = counter.enter();
        Box::pin(async move {
            asked.await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(alive);
            Ok(())
        })
    });
    child.waits_only()
}

/// Returns a child that checks only every tenth of a second if it was asked to stop, and blocks its thread in between.
fn busy(name: &'static str, counter: &Arc<Counter>) -> PlannedChild {
    let counter = Arc::clone(counter);
    PlannedChild::new(name, move |mut asked| {
        let alive = counter.enter();
        Box::pin(async move {
            loop {
                std::thread::sleep(Duration::from_millis(100));
                let look = tokio::time::timeout(Duration::from_millis(1), &mut asked);
                if look.await.is_ok() {
                    drop(alive);
                    return Ok(());
                }
            }
        })
    })
}

/// Returns a child whose first attempts fail. Later attempts run until they are asked to stop.
pub(super) fn failing(
    name: &'static str,
    counter: &Arc<Counter>,
    times: usize,
    after: Duration,
) -> PlannedChild {
    let counter = Arc::clone(counter);
    PlannedChild::new(name, move |asked| {
        let alive = counter.enter();
        Box::pin(async move {
            if alive.attempt() <= times {
                tokio::time::sleep(after).await;
                drop(alive);
                return Err("out of order".to_owned());
            }
            asked.await;
            drop(alive);
            Ok(())
        })
    })
}

async fn together(runtime: &PeerRuntime, strategy: Strategy, is_busy: bool) -> Result<String, CannotRun> {
    let (first, failed, sibling) = (Counter::new(), Counter::new(), Counter::new());
    let last = if is_busy { busy("sibling", &sibling) } else { idle("sibling", &sibling) };
    let mut children = vec![failing("failing", &failed, 1, Duration::from_millis(300)), last];
    if strategy == Strategy::RestForOne {
        children.insert(0, idle("first", &first));
    }
    let mut running = runtime.start(Plan { strategy, ..Plan::of(children) }).await?;
    if !until(SOON, || failed.starts() >= 2).await {
        return Ok("the failed child is not restarted".to_owned());
    }
    tokio::time::sleep(QUIET).await;
    let (starts, live, peak) = (sibling.starts(), sibling.live(), sibling.peak());
    let stopped = running.stop().await?;
    tokio::time::sleep(QUIET).await;
    let attempts = match (starts, live, peak) {
        (1, _, _) => "it is not restarted".to_owned(),
        (_, 1, 1) => "one attempt at a time".to_owned(),
        (_, _, peak) => format!("{peak} attempts at once; {live} alive after the restart"),
    };
    let others = if first.starts() > 1 { "; the first is restarted too" } else { "" };
    let after = if sibling.live() == 0 { "none".to_owned() } else { sibling.live().to_string() };
    Ok(format!("{attempts}{others}; {after} after the stop{}", stopped.if_not_in_time()))
}

async fn give_up(runtime: &PeerRuntime) -> Result<String, CannotRun> {
    let (flaky, sibling) = (Counter::new(), Counter::new());
    let pace = Duration::from_millis(200);
    let children = [failing("flaky", &flaky, usize::MAX, pace), idle("sibling", &sibling)];
    let mut running = runtime.start(Plan { backoff: pace, ..Plan::of(children) }).await?;
    until(SOON, || flaky.starts() == 2).await;
    let before = with_log(running.messages().await?);
    let mut attempts = 0;
    while attempts < flaky.starts() {
        attempts = flaky.starts();
        tokio::time::sleep(QUIET).await;
    }
    // Messages that also come with an ordinary failure do not count.
    let is_new = |message: &Message| before.iter().all(|known| known.text != message.text);
    let messages: Vec<Message> = with_log(running.messages().await?).into_iter().filter(is_new).collect();
    let tree = if sibling.live() == 0 { "its supervisor fails with it" } else { "its sibling keeps running" };
    let naming = containing(&messages, &["flaky"]);
    let words = match (naming.is_empty(), messages.is_empty()) {
        (false, _) => format!("reported with its name in: {}{}", sources(&naming, ""), quoted(&naming)),
        (true, false) => {
            format!("reported without its name in: {}{}", sources(&messages, ""), quoted(&messages))
        }
        (true, true) => "no report".to_owned(),
    };
    Ok(format!("{attempts} attempts, {tree}; {words}"))
}

async fn shared_limit(runtime: &PeerRuntime) -> Result<String, CannotRun> {
    let (one, other) = (Counter::new(), Counter::new());
    let soon = Duration::from_millis(10);
    let children = [failing("one", &one, 2, soon), failing("other", &other, 2, soon)];
    let _running = runtime.start(Plan::of(children)).await?;
    let back = || one.live() == 1 && other.live() == 1 && one.starts() == 3 && other.starts() == 3;
    until(SOON, back).await;
    tokio::time::sleep(QUIET).await;
    Ok(match (one.live(), other.live()) {
        (1, 1) => "both are restarted".to_owned(),
        (0, 0) => "counted together: both are down".to_owned(),
        _ => "one is restarted, the other is down".to_owned(),
    })
}

async fn panics(runtime: &PeerRuntime) -> Result<String, CannotRun> {
    let counter = Counter::new();
    let seen = Arc::clone(&counter);
    let child = PlannedChild::new("shaky", move |asked| {
        let alive = seen.enter();
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(alive.attempt() > 1, "half a reply");
            asked.await;
            Ok(())
        })
    });
    let mut running = runtime.start(Plan { restarts: false, ..Plan::of([child]) }).await?;
    let back = until(SOON, || counter.starts() >= 2).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let messages = with_log(running.messages().await?);
    let restarted = if back { "restarted" } else { "not restarted" };
    let both = containing(&messages, &["shaky", "half a reply"]);
    let name = containing(&messages, &["shaky", "anic"]);
    let message = containing(&messages, &["half a reply"]);
    let words = match (both.is_empty(), name.is_empty(), message.is_empty()) {
        (false, _, _) => format!("name and message in: {}", sources(&both, "")),
        (true, false, true) => format!("name in: {}; the message is lost", sources(&name, "")),
        (true, _, false) => format!("message in: {}, without the name", sources(&message, "")),
        (true, true, true) => "the panic is not reported".to_owned(),
    };
    Ok(format!("{restarted}; {words}"))
}

async fn success_loop(runtime: &PeerRuntime) -> Result<String, CannotRun> {
    let counter = Counter::new();
    let seen = Arc::clone(&counter);
    let child = PlannedChild::new("eager", move |_| {
        drop(seen.enter());
        Box::pin(async { Ok(()) })
    });
    let plan = Plan { limit: 60_000, backoff: Duration::from_millis(50), ..Plan::of([child.permanent()]) };
    let _running = runtime.start(plan).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(match counter.starts() {
        0 => "never started".to_owned(),
        1 => "once: a success is final".to_owned(),
        2..=40 => "2 to 40 times, because of backoff".to_owned(),
        41..=500 => "41 to 500 times".to_owned(),
        _ => "without a pause: a hot loop".to_owned(),
    })
}
