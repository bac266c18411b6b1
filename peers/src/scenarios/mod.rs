//! The scenarios. Each runs a supervisor and returns in a few words what the counters showed.

mod restarts;
mod stops;

use crate::logs;
use crate::peer::{CannotRun, Message, Source};
use crate::runtime::PeerRuntime;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// The result of a scenario.
pub(crate) type ScenarioResult<'a> = Pin<Box<dyn Future<Output = Result<String, CannotRun>> + 'a>>;

/// A row of the table.
pub(crate) struct Scenario {
    /// Its name on the command line.
    pub(crate) id: &'static str,
    /// The heading of its row.
    pub(crate) title: &'static str,
    /// Its description for the page.
    pub(crate) about: &'static str,
    /// The number of threads of the supervisor's runtime.
    pub(crate) threads: usize,
    /// The function that runs it.
    pub(crate) run: for<'a> fn(&'a PeerRuntime) -> ScenarioResult<'a>,
}

/// Returns all scenarios, in the order of the page's rows.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    restarts::ALL.iter().chain(stops::ALL)
}

/// The number of threads for most scenarios.
const THREADS: usize = 4;
/// How long a scenario waits for something that should happen.
const SOON: Duration = Duration::from_secs(3);
/// How long a scenario waits to see that something does not happen.
const QUIET: Duration = Duration::from_millis(1500);
/// Returns the messages together with those in the log.
fn with_log(messages: Vec<Message>) -> Vec<Message> {
    let logged = logs::warnings().into_iter().map(|line| Message::new(Source::Log, line));
    messages.into_iter().chain(logged).collect()
}

/// Returns the messages that contain all these words.
fn containing(messages: &[Message], words: &[&str]) -> Vec<Message> {
    messages.iter().filter(|message| words.iter().all(|word| message.text.contains(word))).cloned().collect()
}

/// Returns the last message from the most important source, in quotes.
fn quoted(found: &[Message]) -> String {
    let last = |source| found.iter().rev().find(|message| message.source == source);
    let value = last(Source::Answer).or_else(|| last(Source::Event)).or_else(|| last(Source::State));
    value.map(|message| format!(" (`{}`)", message.text)).unwrap_or_default()
}

/// Returns the names of the sources that have a message, or `none`.
fn sources(found: &[Message], none: &str) -> String {
    let order = [Source::Answer, Source::Event, Source::State, Source::Log];
    let here = order.iter().filter(|source| found.iter().any(|message| message.source == **source));
    let names: Vec<String> = here.map(Source::to_string).collect();
    if names.is_empty() { none.to_owned() } else { names.join(", ") }
}

/// Returns in words which of these children the messages name, and where.
fn named_children(messages: &[Message], names: &[&str]) -> String {
    let named = names.iter().filter(|name| !containing(messages, &[name]).is_empty()).count();
    match (named, names.len()) {
        (0, _) => {
            let answer: Vec<Message> =
                messages.iter().filter(|message| message.source == Source::Answer).cloned().collect();
            format!("named nowhere{}", quoted(&answer))
        }
        (some, all) if some < all => format!("{some} of {all} are named"),
        _ => {
            let found = containing(messages, &names[..1]);
            format!("named in: {}{}", sources(&found, ""), quoted(&found))
        }
    }
}
