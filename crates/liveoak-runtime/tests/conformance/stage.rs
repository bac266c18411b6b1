//! Puppets that write down, in one diary for all, when their tasks really begin and end.

use liveoak_runtime::testing::{Puppet, Universe, paused};
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

/// A backoff that is long in every draw a test will see, but ends.
pub(crate) const fn long_backoff() -> Backoff {
    Backoff { from: s(100_000), to: s(100_000), reset_after: s(1_000_000) }
}

/// Runs a test in paused time. One that waits for what never comes fails at once: there is nothing else in time.
pub(crate) fn play<F: Future>(test: F) -> F::Output {
    const MONTH: Duration = s(30 * 24 * 3600);
    let bounded = async { tokio::time::timeout(MONTH, test).await };
    paused(bounded).expect("it waits for something that does not come")
}

/// What a child does, as one word; `gone` if there is none of that path.
pub(crate) fn state(tree: &TreeHandle, path: &str) -> &'static str {
    tree.snapshot().get(path).map_or("gone", |view| view.state.as_str())
}

/// Everything of one test.
pub(crate) struct Stage {
    universe: Universe,
    diary: Diary,
}

type Diary = Arc<Mutex<Vec<String>>>;

impl Stage {
    pub(crate) fn new() -> Self {
        Self { universe: Universe::new(), diary: Diary::default() }
    }

    pub(crate) fn actor(&self, name: &'static str) -> Actor {
        self.actor_that(name, |puppet| puppet)
    }

    /// An actor whose puppet is made different.
    pub(crate) fn actor_that(&self, name: &'static str, but: impl FnOnce(Puppet) -> Puppet) -> Actor {
        Actor { name, puppet: but(self.universe.puppet(name)), diary: Arc::clone(&self.diary) }
    }

    pub(crate) fn actors<const N: usize>(&self, names: [&'static str; N]) -> [Actor; N] {
        names.map(|name| self.actor(name))
    }

    /// Lets everything happen that is due now, and returns what was written since the last time: `+a` for the
    /// beginning of a task, `-a` for its end.
    pub(crate) async fn log(&self) -> String {
        tokio::time::sleep(Duration::from_millis(1)).await;
        std::mem::take(&mut *self.diary.lock().unwrap()).join(" ")
    }

    /// Stops the tree and checks that nothing is left over.
    pub(crate) async fn end(self, tree: Tree) {
        tree.stop().await;
        self.universe.check().await;
    }

    /// Checks that nothing is left over of a tree that has ended.
    pub(crate) async fn ended(self) {
        self.universe.check().await;
    }
}

/// A puppet that writes the diary. It restarts at once, and unless told otherwise is permanent.
#[derive(Clone)]
pub(crate) struct Actor {
    name: &'static str,
    puppet: Puppet,
    diary: Diary,
}

impl Deref for Actor {
    type Target = Puppet;

    fn deref(&self) -> &Puppet {
        &self.puppet
    }
}

/// Writes the end of a task, whether it returned or was dropped.
struct Present {
    name: &'static str,
    diary: Diary,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.diary.lock().unwrap().push(format!("-{}", self.name));
    }
}

impl Actor {
    pub(crate) fn child(&self) -> Child {
        let actor = self.clone();
        Child::task(self.name, move |ctx| actor.body(ctx)).reports_ready().backoff(None)
    }

    /// The body, for members of groups.
    pub(crate) fn body(&self, ctx: Ctx) -> impl Future<Output = Exit> + Send + use<> {
        self.diary.lock().unwrap().push(format!("+{}", self.name));
        let present = Present { name: self.name, diary: Arc::clone(&self.diary) };
        let body = self.puppet.body(ctx);
        async move {
            let exit = body.await;
            drop(present);
            exit
        }
    }
}

/// A group called `g` whose members are actors; they restart at once.
pub(crate) fn troupe() -> Group<Actor> {
    Group::new("g", |ctx, actor: Actor| actor.body(ctx)).reports_ready(s(10)).backoff(None)
}
