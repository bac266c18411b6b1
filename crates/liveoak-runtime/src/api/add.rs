//! Adds children to a running tree. A child that is refused goes back to the caller.

use crate::api::child::Child;
use crate::api::child_handle::{ChildHandle, OnlyExit};
use crate::api::ctx::Ctx;
use crate::api::error::Refused;
use crate::api::split::{ChildParts, NEEDS_ONE_THREAD, install, join, split, wrong_name, wrong_runtime};
use crate::api::tree::{TreeHandle, asker_in, check_caller};
use crate::attempt::body::UserValue;
use crate::engine::command::PendingAnswer;
use crate::engine::driver::TreeInner;
use crate::engine::watch::Watch;
use liveoak_core::{
    ChildDeclaration, ChildId, Machine, Moment, Name, Origin, Path, Refusal, Restart, SpecErrors,
};
use std::iter::successors;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A child that was added, and the answer to its start.
type AddedChild = (ChildHandle, Result<PendingAnswer, Refusal>);

impl TreeInner {
    /// Adds a child below the supervisor that `place` returns. `place` may also change the declaration. `of` is the attempt
    /// whose handle adds the child. Returns the child, and the answer or the reason why the caller cannot wait for it.
    pub(crate) fn add(
        self: &Arc<Self>,
        mut parts: ChildParts,
        origin: Option<Arc<Origin>>,
        place: impl FnOnce(&Machine, &mut ChildDeclaration) -> Result<ChildId, Refusal>,
        of: Option<Ctx>,
    ) -> Result<AddedChild, Refused<Child>> {
        let own_name = parts.declaration.name.clone();
        let errors = std::mem::take(&mut parts.errors);
        let may_add =
            if errors.is_empty() { self.may_add() } else { Err(Refusal::Invalid(SpecErrors(errors))) };
        if let Err(refusal) = may_add {
            return Err(Refused::new(refusal, join(parts, own_name)));
        }
        let now = self.clock.now();
        let asker = asker_in(self);
        // The bodies of children that have already left the tree. They are dropped after the lock is released.
        let mut unused = Vec::new();
        let added = self.try_with_state(|state| {
            let parent = place(&state.machine, &mut parts.declaration)?;
            if let Some(path) = &parts.needs_one_thread
                && !state.has_one_thread(parent)
            {
                let error = wrong_runtime(path.clone(), NEEDS_ONE_THREAD);
                return Err(Refusal::Invalid(SpecErrors(vec![error])));
            }
            let add = |machine: &mut Machine, request| {
                machine.set_origin(origin);
                let ids = machine.add_child(now, parent, &parts.declaration, Some(request))?;
                Ok((ids[0], ids))
            };
            let (id, ids, answer) = state.request_to_add(asker, add)?;
            unused = install(state, self, ids, std::mem::take(&mut parts.bodies));
            let answer = answer.map(|answer| PendingAnswer::new(Arc::clone(self), id, answer));
            // A temporary child leaves the tree when it ends, so only its handle can keep the exit.
            let keeps =
                parts.declaration.spec.restart == Restart::Temporary && state.requests.can_keep_exit();
            let exit = keeps.then(|| self.begin_watch(state, id, Moment::Exit, None));
            Ok((id, exit, answer))
        });
        match added {
            Ok((id, exit, answer)) => {
                self.drops.push(id, unused.into_iter().map(|body| Box::new(body) as UserValue).collect());
                let only_exit = match exit {
                    Some(Ok(Watch::Waits(exit))) => Some(OnlyExit::new(exit)),
                    Some(Ok(Watch::Answered(_)) | Err(_)) | None => None,
                };
                Ok((ChildHandle::new(TreeHandle::new(Arc::clone(self), of), id, only_exit), answer))
            }
            Err(refusal) => Err(Refused::new(refusal, join(parts, own_name))),
        }
    }

    /// Adds a spawned child: temporary, below the nearest supervisor at `place` or above it that is not a group. If its name is
    /// taken, a number is appended.
    pub(crate) fn add_spawned(
        self: &Arc<Self>,
        place: ChildId,
        child: Child,
    ) -> Result<ChildHandle, Refused<Child>> {
        let place =
            check_caller().and_then(|()| self.nearest_supervisor(place).ok_or(Refusal::NotASupervisor));
        let (parent, path) = match place {
            Ok(place) => place,
            Err(refusal) => return Err(Refused::new(refusal, child)),
        };
        let parts = split(child.restart(Restart::Temporary), Some(&path));
        let place = |machine: &Machine, declaration: &mut ChildDeclaration| {
            number_if_taken(machine, &path, declaration).map(|()| parent)
        };
        self.add(parts, None, place, None).map(|(child, _)| child)
    }

    fn nearest_supervisor(&self, at: ChildId) -> Option<(ChildId, Path)> {
        let state = self.state();
        let machine = &state.machine;
        let mut above = successors(Some(at), |id| machine.parent(*id));
        let id = above.find(|id| machine.is_group(*id) == Some(false))?;
        Some((id, machine.path(id)?))
    }
}

fn number_if_taken(machine: &Machine, parent: &Path, declared: &mut ChildDeclaration) -> Result<(), Refusal> {
    /// The next number, for all trees of the process.
    static NUMBER: AtomicU64 = AtomicU64::new(2);
    let name = declared.name.clone();
    while machine.find(&parent.join(declared.name.as_str())).is_some() {
        let numbered = format!("{name}.{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let wrong = |error| Refusal::Invalid(SpecErrors(vec![wrong_name(parent.clone(), error)]));
        declared.name = Name::new(numbered).map_err(wrong)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::supervisor::Supervisor;
    use crate::testing::paused;

    #[test]
    fn a_handle_keeps_no_exit_when_half_of_the_requests_of_the_tree_are_in_use() {
        paused(async {
            let tree = Supervisor::new("t").start().await.expect("it starts");
            let add = || {
                let job = Child::task("job", async |ctx: Ctx| ctx.stopping().await);
                tree.begin_add_child("/t", job.restart(Restart::Temporary)).expect("it is added")
            };
            let inner = Arc::clone(&tree.handle().inner);
            let fill = || -> Vec<_> {
                let mut state = inner.state();
                let more = || state.requests.can_keep_exit().then(|| state.requests.begin());
                std::iter::from_fn(more).map(|answer| answer.expect("there is room")).collect()
            };
            let mut filled = fill();
            let further = add();
            further.remove().await.expect("a command is served all the same");
            assert!(matches!(further.exited().await, Err(Refusal::NotFound)));
            for answer in filled.drain(..2) {
                drop(inner.state().requests.take(answer.request));
            }
            let kept = add();
            kept.remove().await.expect("it stops");
            assert_eq!(kept.exited().await.expect("its exit was kept").attempt.0, 1);
        });
    }
}
