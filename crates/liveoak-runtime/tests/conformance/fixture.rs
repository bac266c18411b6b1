//! The children of the conformance tests. Each test has one [`Fixture`] with one log: a [`LoggedPuppet`] is a puppet (a
//! child that the test controls) whose task adds `+name` to the log when it begins and `-name` when it ends. So a test
//! compares the order of real starts and ends with one line of text.

use liveoak_runtime::testing::{LeakCheck, Puppet, paused};
use liveoak_runtime::*;
use std::future::Future;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const GROUPS: [Strategy; 2] = [Strategy::OneForAll, Strategy::RestForOne];

pub(crate) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Returns a backoff that is very long for any jitter, but ends.
pub(crate) fn long_backoff() -> Backoff {
    Backoff { from: s(100_000), to: s(100_000), reset_after: s(1_000_000), ..Backoff::default() }
}

/// Runs a test in paused time. A test that waits for something that never happens fails at once, because paused time then
/// jumps to the limit.
pub(crate) fn run_paused<F: Future>(test: F) -> F::Output {
    const MONTH: Duration = s(30 * 24 * 3600);
    let bounded = async { tokio::time::timeout(MONTH, test).await };
    paused(bounded).expect("the test waits for something that never happens")
}

/// Returns a child's state as one word, or `removed` if there is no child of that path.
pub(crate) fn state(tree: &TreeHandle, path: &str) -> &'static str {
    tree.snapshot().get(path).map_or("removed", |view| view.state.as_str())
}

/// The puppets of one test, and their log.
pub(crate) struct Fixture {
    leak_check: LeakCheck,
    log: Log,
}

type Log = Arc<Mutex<Vec<String>>>;

impl Fixture {
    pub(crate) fn new() -> Self {
        Self { leak_check: LeakCheck::new(), log: Log::default() }
    }

    pub(crate) fn puppet(&self, name: &'static str) -> LoggedPuppet {
        self.puppet_with(name, |puppet| puppet)
    }

    /// Returns a puppet after `change` has changed it.
    pub(crate) fn puppet_with(
        &self,
        name: &'static str,
        change: impl FnOnce(Puppet) -> Puppet,
    ) -> LoggedPuppet {
        LoggedPuppet { name, puppet: change(self.leak_check.puppet(name)), log: Arc::clone(&self.log) }
    }

    pub(crate) fn puppets<const N: usize>(&self, names: [&'static str; N]) -> [LoggedPuppet; N] {
        names.map(|name| self.puppet(name))
    }

    /// Lets all work that is due now run. Returns what was logged since the last call: `+a` for the beginning of a
    /// task, `-a` for its end.
    pub(crate) async fn log(&self) -> String {
        tokio::time::sleep(Duration::from_millis(1)).await;
        std::mem::take(&mut *self.log.lock().unwrap()).join(" ")
    }

    /// Stops the tree and checks that nothing is left.
    pub(crate) async fn end(self, tree: Tree) {
        tree.stop().await;
        self.leak_check.check().await;
    }

    /// Checks that nothing is left of a tree that has ended.
    pub(crate) async fn ended(self) {
        self.leak_check.check().await;
    }
}

/// A puppet that logs the beginning and the end of its tasks. As a child it is permanent and restarts without backoff.
#[derive(Clone)]
pub(crate) struct LoggedPuppet {
    name: &'static str,
    puppet: Puppet,
    log: Log,
}

impl Deref for LoggedPuppet {
    type Target = Puppet;

    fn deref(&self) -> &Puppet {
        &self.puppet
    }
}

/// Logs the end of a task when it is dropped, whether the task returned or was dropped.
struct LogsEnd {
    name: &'static str,
    log: Log,
}

impl Drop for LogsEnd {
    fn drop(&mut self) {
        self.log.lock().unwrap().push(format!("-{}", self.name));
    }
}

impl LoggedPuppet {
    pub(crate) fn child(&self) -> Child {
        let puppet = self.clone();
        // A default, not written for this child: tests make some puppets temporary.
        let without_backoff = |spec| ChildSpec { backoff: None, ..spec };
        Child::task(self.name, move |ctx| puppet.body(ctx)).reports_ready().map_spec(without_backoff)
    }

    /// Returns the body of one attempt. Group members use it directly.
    pub(crate) fn body(&self, ctx: Ctx) -> impl Future<Output = Exit> + Send + use<> {
        self.log.lock().unwrap().push(format!("+{}", self.name));
        let logs_end = LogsEnd { name: self.name, log: Arc::clone(&self.log) };
        let body = self.puppet.body(ctx);
        async move {
            let exit = body.await;
            drop(logs_end);
            exit
        }
    }
}

/// Returns a dynamic group called `g` whose members are puppets that restart without backoff.
pub(crate) fn puppet_group() -> Group<LoggedPuppet> {
    Group::new("g", |ctx, puppet: LoggedPuppet| puppet.body(ctx)).reports_ready(s(10)).backoff(None)
}
