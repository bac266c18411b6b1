//! Writes a line about each child that has held up a start or a stop for two seconds.
//!
//! An event of the tree shows when a child begins to start or to stop. After such an event, a snapshot is taken when the next
//! line may be due. While nothing starts or stops, no snapshot is taken. The first line about a child comes after two
//! seconds. Each later interval is twice as long as the one before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::time::Duration;

use liveoak::internal::{Either, race};
use liveoak::{Event, EventKind, EventOrLost, Path, Time, TreeHandle};
use tokio::time::Instant;
use tracing::Level;

use super::holders::{Begun, Holder, Holders};
use super::status::StatusLog;

/// How long a child may hold up others before the first line about it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The largest number of children that are named at a time.
const MAX_NAMED: usize = 5;

/// Runs `work` to its end. Meanwhile, writes the lines about the tree to `status`.
pub(crate) async fn beside<T>(tree: TreeHandle, status: &StatusLog, work: impl Future<Output = T>) -> T {
    let say = |line: &Line<'_>| {
        status.message_with(Level::INFO, "held-up", &line.text(), &line.json());
    };
    match race(work, watch(tree, say)).await {
        Either::Left(done) => done,
        Either::Right(never) => match never {},
    }
}

/// A line to write.
#[derive(Debug)]
enum Line<'a> {
    /// About one child that has held up others for this long.
    Holder(&'a Holder, Duration),
    /// This many more children hold up others.
    More(usize),
    /// This many programs are asked to stop later.
    NotAsked(usize),
}

impl Line<'_> {
    fn text(&self) -> String {
        match self {
            Self::Holder(holder, _) => holder.text(),
            Self::More(more) => format!("waiting for {more} more"),
            Self::NotAsked(1) => "1 more program is asked to stop after that".to_owned(),
            Self::NotAsked(more) => format!("{more} more programs are asked to stop after that"),
        }
    }

    fn json(&self) -> serde_json::Value {
        match self {
            Self::Holder(holder, held) => {
                let mut fields = serde_json::json!({
                    "path": holder.path.as_str(),
                    "reason": holder.reason,
                    "waiting": holder.waiting.as_ref().map(Path::as_str),
                    "held_s": held.as_secs_f64(),
                    "left_s": holder.left.map(|left| left.as_secs_f64()),
                });
                if let Some(title) = &holder.title {
                    fields["title"] = title.as_str().into();
                }
                fields
            }
            Self::More(more) => serde_json::json!({ "more": more }),
            Self::NotAsked(more) => serde_json::json!({ "not_asked": more }),
        }
    }
}

/// The number of lines written about each child, by its path and the time since when it holds up others. The reason is not
/// part of the key, because a child that fails repeatedly changes it all the time.
type Said = BTreeMap<(Path, Time), u32>;

/// Returns how long a child holds up others when the next line about it is due: 2 s, 6 s, 14 s, 30 s, ...
fn next_after(lines: u32) -> Duration {
    PATIENCE.saturating_mul(2_u32.saturating_pow(lines.saturating_add(1)).saturating_sub(1))
}

/// Follows the tree and prints the lines that are due. Never returns: drop the future when the tree has ended.
async fn watch(tree: TreeHandle, say: impl Fn(&Line<'_>)) -> std::convert::Infallible {
    let (mut events, mut starts) = (tree.events(), HashMap::new());
    let mut said = Said::new();
    let mut next_look = Some(Instant::now() + PATIENCE);
    loop {
        let look = async {
            match next_look {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        match race(events.next(), look).await {
            Either::Left(Some(EventOrLost::Event(event))) => {
                if begins_a_wait(&event, &mut starts) {
                    let at = Instant::now() + PATIENCE;
                    next_look = Some(next_look.map_or(at, |before| before.min(at)));
                }
            }
            Either::Left(Some(EventOrLost::Lost(_))) => {
                starts.clear();
                next_look = Some(Instant::now() + PATIENCE);
            }
            Either::Left(None) => std::future::pending().await,
            Either::Right(()) => {
                let wait = look_once(&tree, &starts, &mut said, &say);
                next_look = wait.map(|wait| Instant::now() + wait);
            }
        }
    }
}

/// Notes when starts begin and end. Returns `true` if a child may hold up others from now on.
fn begins_a_wait(event: &Event, starts: &mut HashMap<Path, Begun>) -> bool {
    match &event.kind {
        EventKind::Starting { .. } => {
            let begun = starts.entry(event.path.clone()).or_insert_with(|| Begun::at(event.at));
            begun.start_again(event.at, PATIENCE);
            true
        }
        EventKind::Ready { .. } => {
            if let Some(begun) = starts.get_mut(&event.path) {
                begun.ready = Some(event.at);
            }
            false
        }
        EventKind::Waiting | EventKind::BackingOff { .. } | EventKind::Quarantined(_) => true,
        EventKind::Stopping { .. } | EventKind::Killed { .. } => true,
        EventKind::Ignored | EventKind::Stopped { .. } | EventKind::Removed => {
            starts.remove(&event.path);
            false
        }
        // A child may wait for one that has finished without success.
        EventKind::Finished => {
            starts.remove(&event.path);
            true
        }
        _ => false,
    }
}

/// Writes the lines that are due. Returns the time until the next line may be due, or `None` if no child holds up others.
fn look_once(
    tree: &TreeHandle,
    starts: &HashMap<Path, Begun>,
    said: &mut Said,
    say: &impl Fn(&Line<'_>),
) -> Option<Duration> {
    let snapshot = tree.snapshot();
    let holders = Holders::of(&snapshot, starts);
    // A child that fails again and again is now and then ready for a moment, and holds up nothing then.
    let held: BTreeSet<_> = holders.all.values().map(|holder| (holder.path.clone(), holder.since)).collect();
    let newest: BTreeMap<Path, Time> = said.keys().cloned().collect();
    said.retain(|key, _| {
        held.contains(key) || (starts.contains_key(&key.0) && newest.get(&key.0) == Some(&key.1))
    });
    let mut due = Vec::new();
    let mut next: Option<Duration> = None;
    let mut written = said.clone();
    for holder in holders.all.values() {
        let held = snapshot.at.since(holder.since);
        let key = (holder.path.clone(), holder.since);
        if held >= next_after(said.get(&key).copied().unwrap_or(0)) {
            due.push((holder, held));
        }
        let lines = written.entry(key).or_insert(0);
        // A late line replaces the earlier lines that were missed.
        while held >= next_after(*lines) {
            *lines += 1;
        }
        let wait = next_after(*lines).saturating_sub(held);
        next = Some(next.map_or(wait, |before| before.min(wait)));
    }
    *said = written;
    due.iter().take(MAX_NAMED).for_each(|(holder, held)| say(&Line::Holder(holder, *held)));
    if due.len() > MAX_NAMED {
        say(&Line::More(due.len() - MAX_NAMED));
    }
    if !due.is_empty() && holders.not_asked > 0 {
        say(&Line::NotAsked(holders.not_asked));
    }
    next
}

#[cfg(test)]
mod tests;
