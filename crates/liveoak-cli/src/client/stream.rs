//! `events`, `logs`, `attach`: what has happened, and what happens from now on.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use liveoak::api::{Child, Event, OutputLine, Status, Timestamp};
use liveoak::internal::{Either, race};

use super::args::{AttachArgs, EventsArgs, LogsArgs, Window};
use super::connect::{Access, find};
use super::failure::{EXIT_INTERRUPTED, Failure};
use super::http::{RequestError, Server, route_of, with_query};
use super::lines::{Form, Item};
use super::past::{Place, find_any};
use super::paths::AnyOf;
use super::sse::ServerEvent;
use super::{Done, past, paths, print, words};
use crate::output;

/// How many of the last items a followed stream begins with.
const FOLLOW_FROM: u64 = 10;
/// How often a broken stream is opened again before anything new has come.
const MAX_RETRIES: u32 = 5;
/// The time before a broken stream is opened again.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// How long a broken stream waits for the next run of its tree: longer than a service manager takes to start it again.
const NEXT_RUN_WITHIN: Duration = Duration::from_secs(2);

/// Runs `liveoak events`.
pub(crate) async fn events(args: &EventsArgs) -> Done {
    let asked = paths::all_cleaned(&args.paths)?;
    let server = match find_any(&args.target).await? {
        Place::Running(server) => server,
        Place::Gone(tree) => return past::events(&tree, args, &asked).await,
    };
    let mut wanted = Wanted::new("/v1/events", asked, &args.window);
    if !args.kinds.is_empty() {
        wanted.query.push(("kind", args.kinds.join(",")));
    }
    show::<Event>(&server, wanted, Form::of_stdout(args.target.json, true)).await
}

/// Runs `liveoak logs`.
pub(crate) async fn logs(args: &LogsArgs) -> Done {
    let asked = paths::all_cleaned(&args.paths)?;
    let server = match find_any(&args.target).await? {
        Place::Running(server) => server,
        Place::Gone(tree) => return past::logs(&tree, args, &asked).await,
    };
    let wanted = Wanted::new("/v1/logs", programs(&server, asked).await?, &args.window);
    show::<OutputLine>(&server, wanted, Form::of_stdout(args.target.json, args.times)).await
}

/// Runs `liveoak attach`.
pub(crate) async fn attach(args: &AttachArgs) -> Done {
    let asked = paths::all_cleaned(args.path.as_slice())?;
    let server = find(&args.target, Access::Reads).await?;
    let status: Status = server.get("/v1/status").await?;
    let window = Window { follow: true, last: Some(0), since: None };
    let wanted = Wanted::new("/v1/logs", programs(&server, asked).await?, &window);
    output::stderr(&format!(
        "attached to {} (process {}); Ctrl-C detaches, and the tree goes on\n",
        liveoak_config::one_line(words::tree_name(&status)),
        status.pid
    ));
    show::<OutputLine>(&server, wanted, Form::of_stdout(args.target.json, false)).await
}

/// Returns patterns for the programs that are meant: a supervisor stands for all children below it.
async fn programs(server: &Server, asked: Vec<String>) -> Result<Vec<String>, Failure> {
    let mut patterns = Vec::new();
    for path in asked {
        if paths::is_pattern(&path) {
            patterns.push(path);
            continue;
        }
        // This fails with the right message if there is no such child.
        let child: Child = server.get(&route_of("/v1/children/{path}", &path)).await?;
        patterns.push(if child.is_parent() { format!("{}/**", child.path) } else { child.path });
    }
    Ok(patterns)
}

/// What is wanted of a stream.
struct Wanted {
    route: &'static str,
    query: Vec<(&'static str, String)>,
    /// The server filters by one pattern, the client by more.
    patterns: Vec<String>,
    follow: bool,
    since: Option<SystemTime>,
    last: Option<u64>,
}

impl Wanted {
    fn new(route: &'static str, patterns: Vec<String>, window: &Window) -> Self {
        let begins_late = window.follow && window.since.is_none();
        Self {
            route,
            query: Vec::new(),
            patterns,
            follow: window.follow,
            since: window.since,
            last: window.last.or(begins_late.then_some(FOLLOW_FROM)),
        }
    }

    /// Returns the address of the stream.
    fn address(&self, follow: bool, since: Option<SystemTime>, last: Option<u64>) -> String {
        let mut query = self.query.clone();
        if let [only] = self.patterns.as_slice() {
            query.push(("path", only.clone()));
        }
        query.extend(since.map(|since| ("since", Timestamp(since).to_string())));
        query.extend(last.map(|last| ("last", last.to_string())));
        query.push(("follow", follow.to_string()));
        with_query(self.route, &query)
    }
}

/// Prints a stream until it ends, Ctrl-C, or the reader of stdout goes away.
async fn show<I: Item>(server: &Server, wanted: Wanted, form: Form) -> Done {
    let follow = wanted.follow;
    let printed = Printer::<I>::new(server, wanted, form).run();
    match race(race(printed, print::closed()), tokio::signal::ctrl_c()).await {
        Either::Left(Either::Left(done)) => done,
        Either::Left(Either::Right(())) => Ok(0),
        // Ctrl-C is the ordinary end of a followed stream, so it is no failure.
        Either::Right(_) if follow => Ok(0),
        Either::Right(_) => Err(Failure::new(EXIT_INTERRUPTED, "interrupted")),
    }
}

/// Prints one stream.
struct Printer<'a, I> {
    server: &'a Server,
    wanted: Wanted,
    form: Form,
    /// What the client itself filters by.
    filter: Option<AnyOf>,
    /// The id of the last event that has arrived.
    after: Option<String>,
    item: std::marker::PhantomData<I>,
}

impl<'a, I: Item> Printer<'a, I> {
    fn new(server: &'a Server, wanted: Wanted, form: Form) -> Self {
        Self { server, wanted, form, filter: None, after: None, item: std::marker::PhantomData }
    }

    async fn run(mut self) -> Done {
        let begin = SystemTime::now();
        if self.wanted.patterns.len() > 1 {
            let status: Status = self.server.get("/v1/status").await?;
            self.filter = Some(AnyOf::new(&self.wanted.patterns, words::tree_name(&status))?);
        }
        let Wanted { follow, since, last, .. } = self.wanted;
        let mut address = self.wanted.address(follow, since, last);
        if let (Some(last), true) = (last, self.filter.is_some()) {
            // The server cannot count what only the client filters.
            if !self.print_last(last, since).await? || !follow {
                return Ok(0);
            }
            address = self.wanted.address(true, Some(begin), None);
        }
        let mut retries = 0;
        loop {
            let before = self.after.clone();
            let error = match self.print_all(&address).await {
                Ok(()) => return Ok(0),
                Err(error) => error,
            };
            retries = if self.after == before { retries + 1 } else { 1 };
            match error {
                StreamError::Request(RequestError::Lost(_)) if follow && retries <= MAX_RETRIES => {}
                StreamError::Request(error) => return Err(error.into()),
                StreamError::Output(failure) => return Err(failure),
            }
            self.wait_for_the_tree().await?;
            output::stderr("the connection broke; going on from there\n");
            // `Last-Event-ID` replaces `since`, unless no event has arrived yet.
            address = self.wanted.address(true, since.or(Some(begin)), None);
        }
    }

    /// Waits until the tree answers again: also its next run, which begins soon after its process was killed.
    async fn wait_for_the_tree(&self) -> Result<(), Failure> {
        let until = Instant::now() + NEXT_RUN_WITHIN;
        loop {
            tokio::time::sleep(RETRY_AFTER).await;
            match self.server.get::<Status>("/v1/status").await {
                Ok(_) => return Ok(()),
                Err(RequestError::Nothing(_)) if Instant::now() < until => {}
                // If the tree is not there any more, this says so.
                Err(error) => return Err(gone(error)),
            }
        }
    }

    /// Prints the stream at an address until it ends.
    async fn print_all(&mut self, address: &str) -> Result<(), StreamError> {
        let mut stream = self.server.stream(address, self.after.as_deref()).await?;
        while let Some(events) = stream.next().await? {
            let mut text = String::new();
            for event in events {
                if let Some(item) = self.wanted_item(event)? {
                    text.push_str(&self.form.printed(&item));
                }
            }
            if !text.is_empty() && !print::while_open(text).await? {
                return Ok(());
            }
        }
        if self.wanted.follow {
            output::stderr("the tree has ended\n");
        }
        Ok(())
    }

    /// Prints the last items of those that have happened already. Returns `false` if the reader of stdout is gone.
    async fn print_last(&mut self, count: u64, since: Option<SystemTime>) -> Result<bool, Failure> {
        let mut kept = VecDeque::new();
        let mut stream = self.server.stream(&self.wanted.address(false, since, None), None).await?;
        while let Some(events) = stream.next().await? {
            for event in events {
                if let Some(item) = self.wanted_item(event)? {
                    kept.push_back(item);
                    if kept.len() as u64 > count {
                        kept.pop_front();
                    }
                }
            }
        }
        let text: String = kept.iter().map(|item| self.form.printed(item)).collect();
        print::while_open(text).await
    }

    /// Reads an item, and remembers where the stream is. `None` if it is not wanted.
    fn wanted_item(&mut self, event: ServerEvent) -> Result<Option<I>, RequestError> {
        let item: I = serde_json::from_str(&event.data).map_err(|error| {
            let socket = self.server.socket().display();
            RequestError::Strange(format!("cannot understand an event of {socket}: {error}"))
        })?;
        self.after = event.id.or(self.after.take());
        let is_wanted = match (&self.filter, item.path()) {
            (Some(filter), Some(path)) => filter.matches(path),
            _ => true,
        };
        Ok(is_wanted.then_some(item))
    }
}

/// Why a stream has ended early.
enum StreamError {
    Request(RequestError),
    Output(Failure),
}

impl From<RequestError> for StreamError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<Failure> for StreamError {
    fn from(failure: Failure) -> Self {
        Self::Output(failure)
    }
}

/// Returns the failure of a stream whose tree is not there any more.
fn gone(error: RequestError) -> Failure {
    match error {
        RequestError::Nothing(_) => {
            Failure::failed("the connection broke, and nothing listens at the socket any more")
                .line("the tree has ended, or its process was killed; `liveoak trees` lists what runs")
        }
        error => error.into(),
    }
}
