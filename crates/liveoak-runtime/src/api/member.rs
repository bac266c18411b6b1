//! The bodies of the members of a group: how a body is made from an argument, and how the argument of a refused member
//! is taken out again.

use crate::api::ctx::Ctx;
use crate::api::task::{Factory, TaskStarter};
use crate::attempt::body::{IntoExit, UserValue, add_user_value};
use crate::engine::driver::ChildBody;
use crate::util::lock::{ignore_poison, lock};
use std::any::Any;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock};

/// Makes the bodies of the members of one group. Runs no code of the user.
pub(crate) trait MemberMaker<A>: Send + Sync {
    /// Returns the body of a member.
    fn body(&self, argument: A) -> Arc<ChildBody>;

    /// Returns the argument in the body of a refused member. No attempt has used it.
    fn argument_of(&self, body: Arc<ChildBody>) -> A;

    /// Adds the values of the user to `values`, if nothing else refers to them.
    fn let_go(self: Arc<Self>, values: &mut Vec<UserValue>);
}

/// Makes members that can be restarted.
pub(crate) struct RestartableMembers<F> {
    pub(crate) make: Arc<F>,
    /// The body that all members share if their argument holds no data and has no destructor.
    pub(crate) same: OnceLock<Arc<ChildBody>>,
}

impl<F, Fut, A> MemberMaker<A> for RestartableMembers<F>
where
    F: Fn(Ctx, A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoExit> + Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    fn body(&self, argument: A) -> Arc<ChildBody> {
        let body = |argument: A| -> Arc<ChildBody> {
            let factory = Member { make: Arc::clone(&self.make), argument };
            Arc::new(TaskStarter { factory, handles_kill: false })
        };
        let is_plain = size_of::<A>() == 0 && !std::mem::needs_drop::<A>();
        if is_plain { Arc::clone(self.same.get_or_init(|| body(argument))) } else { body(argument) }
    }

    fn argument_of(&self, body: Arc<ChildBody>) -> A {
        let shared = |body: Arc<TaskStarter<Member<F, A>>>| body.factory.argument.clone();
        Arc::try_unwrap(starter(body)).map_or_else(shared, |only| only.factory.argument)
    }

    fn let_go(self: Arc<Self>, values: &mut Vec<UserValue>) {
        if let Some(only) = Arc::into_inner(self) {
            drop(only.same);
            add_shared(values, only.make);
        }
    }
}

/// Makes members that run once.
pub(crate) struct TemporaryMembers<F> {
    pub(crate) make: Arc<F>,
}

impl<F, Fut, A> MemberMaker<A> for TemporaryMembers<F>
where
    F: Fn(Ctx, A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoExit> + Send + 'static,
    A: Send + 'static,
{
    fn body(&self, argument: A) -> Arc<ChildBody> {
        let factory = TemporaryMember { make: Arc::clone(&self.make), argument: Mutex::new(Some(argument)) };
        Arc::new(TaskStarter { factory, handles_kill: false })
    }

    fn argument_of(&self, body: Arc<ChildBody>) -> A {
        let argument = lock(&starter::<TemporaryMember<F, A>>(body).factory.argument).take();
        argument.unwrap_or_else(|| unreachable!("no attempt of a refused member has begun"))
    }

    fn let_go(self: Arc<Self>, values: &mut Vec<UserValue>) {
        if let Some(only) = Arc::into_inner(self) {
            add_shared(values, only.make);
        }
    }
}

/// Returns a body as its concrete type.
fn starter<F: Factory>(body: Arc<ChildBody>) -> Arc<TaskStarter<F>> {
    let body: Arc<dyn Any + Send + Sync> = body;
    body.downcast().unwrap_or_else(|_| unreachable!("the body of a member was made by its group"))
}

/// The body of a member that can be restarted. All members share `make`.
struct Member<F, A> {
    make: Arc<F>,
    argument: A,
}

impl<F, Fut, A> Factory for Member<F, A>
where
    F: Fn(Ctx, A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoExit> + Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    type Body = Fut;

    fn make(&self, ctx: Ctx) -> Fut {
        (self.make)(ctx, self.argument.clone())
    }

    fn dispose(self, values: &mut Vec<UserValue>) {
        add_user_value(values, self.argument);
        add_shared(values, self.make);
    }
}

/// The body of a temporary member.
struct TemporaryMember<F, A> {
    make: Arc<F>,
    /// `None` when the attempt has begun.
    argument: Mutex<Option<A>>,
}

impl<F, Fut, A> Factory for TemporaryMember<F, A>
where
    F: Fn(Ctx, A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoExit> + Send + 'static,
    A: Send + 'static,
{
    type Body = Fut;

    fn make(&self, ctx: Ctx) -> Fut {
        let argument = lock(&self.argument).take();
        match argument {
            Some(argument) => (self.make)(ctx, argument),
            None => unreachable!("a temporary member has one attempt"),
        }
    }

    fn dispose(self, values: &mut Vec<UserValue>) {
        if let Some(argument) = ignore_poison(self.argument.into_inner()) {
            add_user_value(values, argument);
        }
        add_shared(values, self.make);
    }
}

/// Adds the values that the members share to the values to drop, if this was the last member.
fn add_shared<F: Send + Sync + 'static>(values: &mut Vec<UserValue>, shared: Arc<F>) {
    if let Some(only) = Arc::into_inner(shared) {
        add_user_value(values, only);
    }
}
