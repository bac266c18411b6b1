//! Scenarios about restarts.

use super::{QUIET, SOON, Scenario, THREADS, places, quoted, said, with_log};
use crate::peer::{Kid, Lacks, Plan, Strategy, Told};
use crate::probe::{Probe, until};
use crate::stage::Stage;
use std::sync::Arc;
use std::time::Duration;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        id: "one-for-all",
        title: "A sibling that still runs, one-for-all",
        about: "One of two children fails under one-for-all. Its sibling takes a tenth of a second to stop. How many \
            copies of the sibling were alive at once? How many are alive after the restart, and after the stop?",
        threads: THREADS,
        run: |stage| Box::pin(together(stage, Strategy::OneForAll, false)),
    },
    Scenario {
        id: "one-for-all-busy",
        title: "The same, with a busy sibling",
        about: "As before, but the sibling computes for a tenth of a second at a time between its await points. It \
            can be dropped only at these points.",
        threads: THREADS,
        run: |stage| Box::pin(together(stage, Strategy::OneForAll, true)),
    },
    Scenario {
        id: "rest-for-one",
        title: "Rest-for-one",
        about: "The second of three children fails under rest-for-one. The first must be left alone. How many copies \
            of the third were alive at once? How many are alive after the restart, and after the stop?",
        threads: THREADS,
        run: |stage| Box::pin(together(stage, Strategy::RestForOne, false)),
    },
    Scenario {
        id: "give-up",
        title: "The limit of restarts is exceeded",
        about: "A child fails at every start. Three restarts within a minute are allowed. How many attempts are \
            there? What happens to its sibling? Where can a program or a person see that the supervisor gave up \
            on the child?",
        threads: THREADS,
        run: |stage| Box::pin(give_up(stage)),
    },
    Scenario {
        id: "shared-limit",
        title: "Two children fail twice each, three restarts are allowed",
        about: "Two children of one supervisor fail twice each and then work. With a limit for each child, both come \
            back. With one limit for all children, as in OTP, they exceed it together.",
        threads: THREADS,
        run: |stage| Box::pin(shared_limit(stage)),
    },
    Scenario {
        id: "panic",
        title: "A child panics",
        about: "A child panics with a message in its first attempt. Is it restarted? Where does the supervisor name \
            the child with that message? (The output of Rust's own panic hook does not count.)",
        threads: THREADS,
        run: |stage| Box::pin(panics(stage)),
    },
    Scenario {
        id: "success-loop",
        title: "A permanent child succeeds at once",
        about: "A permanent child returns a success at every start. Its limit of restarts is far away, and its first \
            delay is 50 ms. How often is it started within a second?",
        threads: THREADS,
        run: |stage| Box::pin(success_loop(stage)),
    },
];

/// A child that lives until it is asked to stop, for which it takes a moment.
pub(super) fn idle(name: &'static str, probe: &Arc<Probe>) -> Kid {
    let probe = Arc::clone(probe);
    let kid = Kid::new(name, move |asked| {
        let alive = probe.enter();
        Box::pin(async move {
            asked.await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(alive);
            Ok(())
        })
    });
    kid.rests()
}

/// A child that computes for a tenth of a second between two looks at the request to stop.
fn busy(name: &'static str, probe: &Arc<Probe>) -> Kid {
    let probe = Arc::clone(probe);
    Kid::new(name, move |mut asked| {
        let alive = probe.enter();
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

/// A child that fails at its first attempts, and then lives until it is asked to stop.
pub(super) fn failing(name: &'static str, probe: &Arc<Probe>, times: usize, after: Duration) -> Kid {
    let probe = Arc::clone(probe);
    Kid::new(name, move |asked| {
        let alive = probe.enter();
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

async fn together(stage: &Stage, strategy: Strategy, is_busy: bool) -> Result<String, Lacks> {
    let (first, failed, sibling) = (Probe::new(), Probe::new(), Probe::new());
    let last = if is_busy { busy("sibling", &sibling) } else { idle("sibling", &sibling) };
    let mut kids = vec![failing("failing", &failed, 1, Duration::from_millis(300)), last];
    if strategy == Strategy::RestForOne {
        kids.insert(0, idle("first", &first));
    }
    let mut running = stage.start(Plan { strategy, ..Plan::of(kids) }).await?;
    if !until(SOON, || failed.starts() >= 2).await {
        return Ok("the failed child does not come back".to_owned());
    }
    tokio::time::sleep(QUIET).await;
    let (starts, live, peak) = (sibling.starts(), sibling.live(), sibling.peak());
    let stopped = running.stop().await?;
    tokio::time::sleep(QUIET).await;
    let copies = match (starts, live, peak) {
        (1, _, _) => "it is not restarted".to_owned(),
        (_, 1, 1) => "one copy at a time".to_owned(),
        (_, _, peak) => format!("{peak} copies at once, {live} after the restart"),
    };
    let others = if first.starts() > 1 { "; the first is restarted too" } else { "" };
    let after = if sibling.live() == 0 { "none".to_owned() } else { sibling.live().to_string() };
    Ok(format!("{copies}{others}, {after} after the stop{}", stopped.but()))
}

async fn give_up(stage: &Stage) -> Result<String, Lacks> {
    let (flaky, sibling) = (Probe::new(), Probe::new());
    let pace = Duration::from_millis(200);
    let kids = [failing("flaky", &flaky, usize::MAX, pace), idle("sibling", &sibling)];
    let mut running = stage.start(Plan { backoff: pace, ..Plan::of(kids) }).await?;
    until(SOON, || flaky.starts() == 2).await;
    let before = with_log(running.told().await?);
    let mut attempts = 0;
    while attempts < flaky.starts() {
        attempts = flaky.starts();
        tokio::time::sleep(QUIET).await;
    }
    // What it says whenever a child fails, it has said before.
    let is_new = |told: &Told| before.iter().all(|known| known.text != told.text);
    let told: Vec<Told> = with_log(running.told().await?).into_iter().filter(is_new).collect();
    let tree = if sibling.live() == 0 { "its supervisor fails with it" } else { "its sibling goes on" };
    let naming = said(&told, &["flaky"]);
    let words = match (naming.is_empty(), told.is_empty()) {
        (false, _) => format!("said, with its name, in: {}{}", places(&naming, ""), quoted(&naming)),
        (true, false) => format!("said, without its name, in: {}{}", places(&told, ""), quoted(&told)),
        (true, true) => "silent".to_owned(),
    };
    Ok(format!("{attempts} attempts, {tree}; {words}"))
}

async fn shared_limit(stage: &Stage) -> Result<String, Lacks> {
    let (one, other) = (Probe::new(), Probe::new());
    let soon = Duration::from_millis(10);
    let kids = [failing("one", &one, 2, soon), failing("other", &other, 2, soon)];
    let _running = stage.start(Plan::of(kids)).await?;
    let back = || one.live() == 1 && other.live() == 1 && one.starts() == 3 && other.starts() == 3;
    until(SOON, back).await;
    tokio::time::sleep(QUIET).await;
    Ok(match (one.live(), other.live()) {
        (1, 1) => "both come back".to_owned(),
        (0, 0) => "counted together: both are down".to_owned(),
        _ => "one comes back, the other is down".to_owned(),
    })
}

async fn panics(stage: &Stage) -> Result<String, Lacks> {
    let probe = Probe::new();
    let seen = Arc::clone(&probe);
    let kid = Kid::new("shaky", move |asked| {
        let alive = seen.enter();
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(alive.attempt() > 1, "half a reply");
            asked.await;
            Ok(())
        })
    });
    let mut running = stage.start(Plan { restarts: false, ..Plan::of([kid]) }).await?;
    let back = until(SOON, || probe.starts() >= 2).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let told = with_log(running.told().await?);
    let restarted = if back { "restarted" } else { "not restarted" };
    let both = said(&told, &["shaky", "half a reply"]);
    let name = said(&told, &["shaky", "anic"]);
    let message = said(&told, &["half a reply"]);
    let words = match (both.is_empty(), name.is_empty(), message.is_empty()) {
        (false, _, _) => format!("name and message in: {}", places(&both, "")),
        (true, false, true) => format!("name in: {}; the message is lost", places(&name, "")),
        (true, _, false) => format!("message in: {}, without the name", places(&message, "")),
        (true, true, true) => "it does not say that it panicked".to_owned(),
    };
    Ok(format!("{restarted}; {words}"))
}

async fn success_loop(stage: &Stage) -> Result<String, Lacks> {
    let probe = Probe::new();
    let seen = Arc::clone(&probe);
    let kid = Kid::new("eager", move |_| {
        drop(seen.enter());
        Box::pin(async { Ok(()) })
    });
    let plan = Plan { limit: 60_000, backoff: Duration::from_millis(50), ..Plan::of([kid.permanent()]) };
    let _running = stage.start(plan).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(match probe.starts() {
        0 => "never started".to_owned(),
        1 => "once: a success is final".to_owned(),
        2..=40 => "a few times: it is slowed down".to_owned(),
        41..=500 => "some hundred times".to_owned(),
        _ => "as often as it can: a hot loop".to_owned(),
    })
}
