//! What every supervisor goes through. Each scenario runs it, and says in a few words what the counters showed.

mod restarts;
mod stops;

use crate::logs;
use crate::peer::{Lacks, Place, Told};
use crate::stage::Stage;
use std::future::Future;
use std::pin::Pin;
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
    /// How many threads the runtime has that it runs on.
    pub(crate) threads: usize,
    /// Does it.
    pub(crate) run: for<'a> fn(&'a Stage) -> Seen<'a>,
}

/// All of them, in the order of the page's rows.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    restarts::ALL.iter().chain(stops::ALL)
}

/// What most scenarios run on.
const THREADS: usize = 4;
/// What should happen soon is given so long.
const SOON: Duration = Duration::from_secs(3);
/// What should not happen is waited for so long.
const QUIET: Duration = Duration::from_millis(1500);
/// What was told, and what is in the log.
fn with_log(told: Vec<Told>) -> Vec<Told> {
    let logged = logs::warnings().into_iter().map(|line| Told::new(Place::Log, line));
    told.into_iter().chain(logged).collect()
}

/// What of all that has all these words in it.
fn said(told: &[Told], words: &[&str]) -> Vec<Told> {
    told.iter().filter(|told| words.iter().all(|word| told.text.contains(word))).cloned().collect()
}

/// The last that was said in the place that matters most.
fn quoted(found: &[Told]) -> String {
    let last = |place| found.iter().rev().find(|told| told.place == place);
    let value = last(Place::Answer).or_else(|| last(Place::Event)).or_else(|| last(Place::State));
    value.map(|told| format!(" (`{}`)", told.text)).unwrap_or_default()
}

/// The places where something was said, in words.
fn places(found: &[Told], none: &str) -> String {
    let order = [Place::Answer, Place::Event, Place::State, Place::Log];
    let here = order.iter().filter(|place| found.iter().any(|told| told.place == **place));
    let names: Vec<String> = here.map(Place::to_string).collect();
    if names.is_empty() { none.to_owned() } else { names.join(", ") }
}

/// Who names the children that a stop was about.
fn who(told: &[Told], names: &[&str]) -> String {
    let named = names.iter().filter(|name| !said(told, &[name]).is_empty()).count();
    match (named, names.len()) {
        (0, _) => {
            let answer: Vec<Told> = told.iter().filter(|told| told.place == Place::Answer).cloned().collect();
            format!("named nowhere{}", quoted(&answer))
        }
        (some, all) if some < all => format!("{some} of {all} are named"),
        _ => {
            let found = said(told, &names[..1]);
            format!("named in: {}{}", places(&found, ""), quoted(&found))
        }
    }
}
