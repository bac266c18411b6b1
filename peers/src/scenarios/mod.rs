//! What every supervisor goes through. Each scenario runs it, and says in a few words what the counters showed.

mod restarts;
mod stops;

use crate::logs;
use crate::peer::{Lacks, Peer, Place, Running, Told};
use crate::probe::Probe;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What a scenario saw.
pub(crate) type Seen<'a> = Pin<Box<dyn Future<Output = Result<String, Lacks>> + 'a>>;

/// A row of the table.
pub(crate) struct Scenario {
    /// Its name on the command line.
    pub(crate) id: &'static str,
    /// The head of its row.
    pub(crate) title: &'static str,
    /// What it does.
    pub(crate) about: &'static str,
    /// Does it.
    pub(crate) run: for<'a> fn(&'a dyn Peer) -> Seen<'a>,
}

/// All of them, in the order of the page's rows.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    restarts::ALL.iter().chain(stops::ALL)
}

/// What should happen soon is given so long.
const SOON: Duration = Duration::from_secs(3);
/// What should not happen is waited for so long.
const QUIET: Duration = Duration::from_millis(1500);
/// What a stop may take beyond the time that its children have.
const SLACK: Duration = Duration::from_millis(2500);
/// A stop that has not answered after so long never will, as far as its caller is concerned.
const PATIENCE: Duration = Duration::from_secs(8);

/// How a stop went.
struct Stop {
    /// Whether it answered, and within the time that was asked for.
    answered: Answered,
    /// What it answered.
    told: Vec<Told>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answered {
    InTime,
    Late,
    Never,
}

/// Stops it, and looks at the time.
async fn stop(running: &mut dyn Running, grace: Duration) -> Stop {
    let begun = std::time::Instant::now();
    match tokio::time::timeout(PATIENCE, running.stop()).await {
        Ok(told) if begun.elapsed() <= grace + SLACK => Stop { answered: Answered::InTime, told },
        Ok(told) => Stop { answered: Answered::Late, told },
        Err(_) => Stop { answered: Answered::Never, told: vec![] },
    }
}

impl Stop {
    /// When it answered, in words.
    fn when(&self) -> &'static str {
        match self.answered {
            Answered::InTime => "answers within its deadline",
            Answered::Late => "answers late",
            Answered::Never => "never answers",
        }
    }
}

/// What was said that has all these words in it, the first of each place; the log as well.
fn said(told: &[Told], words: &[&str]) -> Vec<Told> {
    let logged = logs::warnings().into_iter().map(|line| Told::new(Place::Log, line));
    let matching = told.iter().cloned().chain(logged);
    let mut found: Vec<Told> = vec![];
    for told in matching.filter(|told| words.iter().all(|word| told.text.contains(word))) {
        if found.iter().all(|known| known.place != told.place) {
            found.push(told);
        }
    }
    found
}

/// The places where something was said, in words.
fn places(found: &[Told], none: &str) -> String {
    let order = [Place::Answer, Place::Event, Place::State, Place::Log];
    let here = order.iter().filter(|place| found.iter().any(|told| told.place == **place));
    let names: Vec<String> = here.map(Place::to_string).collect();
    if names.is_empty() { none.to_owned() } else { names.join(", ") }
}

/// How many attempts of a child live after all was said to be over.
fn alive_after(probe: &Arc<Probe>) -> String {
    match probe.live() {
        0 => "nothing lives on".to_owned(),
        count => format!("{count} live{} on", if count == 1 { "s" } else { "" }),
    }
}
