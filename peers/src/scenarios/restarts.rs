//! Scenarios about restarts.

use super::{PATIENCE, QUIET, SOON, Scenario, Seen, alive_after, places, said, stop};
use crate::peer::{Kid, Lacks, Peer, Plan, Strategy, Told, Place};
use crate::probe::{Probe, until};
use std::sync::Arc;
use std::time::Duration;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        id: "one-for-all",
        title: "A sibling that still runs, one-for-all",
        about: "One of two children fails under one-for-all; its sibling takes a tenth of a second to stop. How many \
            copies of the sibling were alive at once, and how many are after the restart and after the stop of all?",
        run: |peer| Box::pin(together(peer, Strategy::OneForAll, false)),
    },
    Scenario {
        id: "one-for-all-busy",
        title: "The same, with a busy sibling",
        about: "As before, but the sibling computes a tenth of a second at a time between its await points, so that it \
            can be dropped only then.",
        run: |peer| Box::pin(together(peer, Strategy::OneForAll, true)),
    },
    Scenario {
        id: "rest-for-one",
        title: "Rest-for-one",
        about: "The second of three children fails under rest-for-one. The first must be left alone; how many copies of \
            the third were alive at once, and how many are after the restart and after the stop of all?",
        run: |peer| Box::pin(together(peer, Strategy::RestForOne, false)),
    },
    Scenario {
        id: "give-up",
        title: "The limit of restarts is exceeded",
        about: "A child fails whenever it is started; three restarts within a minute are allowed. How many attempts are \
            there, what becomes of its sibling, and where can a program or a person see that it was given up on?",
        run: |peer| Box::pin(give_up(peer)),
    },
    Scenario {
        id: "shared-limit",
        title: "Two children fail twice each, three restarts are allowed",
        about: "Two children of one supervisor fail twice each and then work. With a limit for each child both come \
            back; with one that counts them together, as OTP's, they use up each other's.",
        run: |peer| Box::pin(shared_limit(peer)),
    },
    Scenario {
        id: "panic",
        title: "A child panics",
        about: "A child panics with a message at its first attempt. Is it restarted, and where does the supervisor name \
            it with that message? (What Rust's own panic hook prints does not count.)",
        run: |peer| Box::pin(panics(peer)),
    },
    Scenario {
        id: "success-loop",
        title: "A permanent child succeeds at once",
        about: "A child that is always to be restarted returns a success as soon as it is started, with no limit of \
            restarts and a first delay of 50 ms. How often is it started within a second?",
        run: |peer| Box::pin(success_loop(peer)),
    },
];

/// A child that lives until it is asked to stop, for which it takes a moment.
pub(super) fn idle(name: &'static str, probe: &Arc<Probe>) -> Kid {
    let probe = Arc::clone(probe);
    Kid::new(name, move |asked| {
        let alive = probe.enter();
        Box::pin(async move {
            asked.await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(alive);
            Ok(())
        })
    })
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

async fn together(peer: &dyn Peer, strategy: Strategy, is_busy: bool) -> Result<String, Lacks> {
    let (first, failed, sibling) = (Probe::new(), Probe::new(), Probe::new());
    let last = if is_busy { busy("sibling", &sibling) } else { idle("sibling", &sibling) };
    let mut kids = vec![failing("failing", &failed, 1, Duration::from_millis(300)), last];
    if strategy == Strategy::RestForOne {
        kids.insert(0, idle("first", &first));
    }
    let plan = Plan { strategy, ..Plan::of(kids) };
    let grace = plan.grace;
    let mut running = peer.start(plan).await?;
    if !until(SOON, || failed.starts() >= 2).await {
        return Ok("the failed child does not come back".to_owned());
    }
    tokio::time::sleep(QUIET).await;
    let (starts, live, peak) = (sibling.starts(), sibling.live(), sibling.peak());
    let stopped = stop(running.as_mut(), grace).await;
    tokio::time::sleep(QUIET).await;
    let copies = match (starts, peak) {
        (1, _) => "the sibling is not restarted".to_owned(),
        (2, 1) if live == 1 => "the old copy is gone before the new one starts".to_owned(),
        (2, 2) if live == 1 => "two copies at once for a while, then one".to_owned(),
        _ => format!("{starts} starts, {peak} copies at once, {live} after the restart"),
    };
    let others = if first.starts() > 1 { "; the first is restarted too" } else { "" };
    Ok(format!("{copies}{others}; stop {}, {}", stopped.when(), alive_after(&sibling)))
}

async fn give_up(peer: &dyn Peer) -> Result<String, Lacks> {
    let (flaky, sibling) = (Probe::new(), Probe::new());
    let kids = [failing("flaky", &flaky, usize::MAX, Duration::from_millis(10)), idle("sibling", &sibling)];
    let mut running = peer.start(Plan::of(kids)).await?;
    if !until(SOON, || flaky.starts() >= 4).await {
        return Ok(format!("only {} attempts", flaky.starts()));
    }
    tokio::time::sleep(QUIET).await;
    let told = running.told().await;
    let tree = if sibling.live() == 0 { "the supervisor fails with it" } else { "its sibling goes on" };
    let naming = said(&told, &["flaky"]);
    let loud = |told: &&Told| told.place == Place::Event || told.place == Place::Answer;
    let ending: Vec<Told> = told.iter().filter(loud).cloned().collect();
    let shown = |found: &[Told]| {
        let last = |place| found.iter().rev().find(|told: &&Told| told.place == place);
        let value = last(Place::Answer).or_else(|| last(Place::Event)).or_else(|| last(Place::State));
        value.map(|told| format!(" (`{}`)", told.text)).unwrap_or_default()
    };
    let words = if naming.is_empty() {
        format!("{}{}, without its name", places(&ending, "nothing says so"), shown(&ending))
    } else {
        format!("{}{}", places(&naming, ""), shown(&naming))
    };
    Ok(format!("{} attempts, {tree}; named in: {words}", flaky.starts()))
}

async fn shared_limit(peer: &dyn Peer) -> Result<String, Lacks> {
    let (one, other) = (Probe::new(), Probe::new());
    let soon = Duration::from_millis(10);
    let kids = [failing("one", &one, 2, soon), failing("other", &other, 2, soon)];
    let _running = peer.start(Plan::of(kids)).await?;
    let back = || one.live() == 1 && other.live() == 1 && one.starts() == 3 && other.starts() == 3;
    until(SOON, back).await;
    tokio::time::sleep(QUIET).await;
    Ok(match (one.live(), other.live()) {
        (1, 1) => "both come back".to_owned(),
        (0, 0) => "counted together: both are down".to_owned(),
        _ => "one comes back, the other is down".to_owned(),
    })
}

async fn panics(peer: &dyn Peer) -> Result<String, Lacks> {
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
    let mut running = peer.start(Plan { restarts: false, ..Plan::of([kid]) }).await?;
    let back = until(SOON, || probe.starts() >= 2).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let told = tokio::time::timeout(PATIENCE, running.told()).await.unwrap_or_default();
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

async fn success_loop(peer: &dyn Peer) -> Result<String, Lacks> {
    let probe = Probe::new();
    let seen = Arc::clone(&probe);
    let kid = Kid::new("eager", move |_| {
        drop(seen.enter());
        Box::pin(async { Ok(()) })
    });
    let plan = Plan { limit: 1_000_000, backoff: Duration::from_millis(50), ..Plan::of([kid.permanent()]) };
    let _running = peer.start(plan).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(match probe.starts() {
        0 => "never started".to_owned(),
        1 => "once: a success is final".to_owned(),
        2..=40 => "a few times: it is slowed down".to_owned(),
        41..=500 => "some hundred times".to_owned(),
        _ => "as often as it can: a hot loop".to_owned(),
    })
}
