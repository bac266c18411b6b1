//! The cell: the memory that one attempt and its tree share, in one small allocation per attempt.
//!
//! The tree gives orders through the cell, and the attempt reports its end through it. The tree is an
//! [`AttemptListener`]; the cell knows nothing else about the tree.

use crate::attempt::activity::Activity;
use crate::attempt::orders::Orders;
use crate::attempt::polls::{self, Poll, PollEnd};
use crate::attempt::span::AttemptSpan;
use crate::attempt::subtasks::{Abort, End, Subtasks};
use liveoak_core::{Attempt, ChildId, Exit, Path};
use std::sync::Arc;
use tokio::task::AbortHandle;

/// Receives the reports of a cell. The engine implements it for its tree.
pub(crate) trait AttemptListener: Clone + Send + Sync + Sized + 'static {
    /// Reports that the attempt has ended. Called once per attempt.
    fn attempt_ended(&self, cell: &Arc<AttemptCell<Self>>, exit: Exit);

    /// Reports that the body has ended with `exit`, or is killed because a subtask panicked, while other parts of the
    /// attempt still run. From then on the child counts as stopping, however long its subtasks run.
    fn body_ended(&self, cell: &Arc<AttemptCell<Self>>, exit: Exit);

    /// Notes that code of the attempt runs outside of the runtime's tasks: on a separate thread, or in another process.
    /// Tokio cannot see such code, so a paused clock is held while the attempt is being started or stopped, in real time
    /// for at most the deadline of the start or the stop.
    fn runs_outside(&self, cell: &Arc<AttemptCell<Self>>);

    /// Returns the path of a child, if it is still part of the tree.
    fn path(&self, id: ChildId) -> Option<Path>;

    /// Returns a number that no other tree has while this one lives.
    fn address(&self) -> usize;
}

/// One attempt of one child of the tree `T`. glibc leaves 112 unused bytes before the aligned allocation of a Tokio
/// task. A cell fits exactly there, which makes a start 10 % faster and uses no extra memory. A test checks the size.
pub(crate) struct AttemptCell<T> {
    pub(crate) tree: T,
    pub(crate) id: ChildId,
    pub(crate) attempt: Attempt,
    /// `true` if the attempt runs on the runtime that the tree's clock belongs to.
    pub(crate) on_tree_runtime: bool,
    /// `true` if the exit keeps the error that the body returned.
    pub(crate) keep_error: bool,
    pub(crate) activity: Activity,
    pub(crate) orders: Orders,
    pub(crate) subtasks: Subtasks<SubtaskAbort, Exit, Identity>,
}

/// Which attempt it is, as far as this was asked for.
#[derive(Default)]
pub(crate) struct Identity {
    /// The path of the child.
    path: Option<Path>,
    /// The span of the attempt, if a log subscriber wanted it.
    pub(crate) span: Option<Arc<AttemptSpan>>,
}

/// Aborts one subtask.
#[derive(Clone)]
pub(crate) enum SubtaskAbort {
    /// A task of Tokio. A blocking call can be aborted only before it runs.
    Task(AbortHandle),
    /// A tree that the attempt has begun. The abort kills the tree.
    Tree(Arc<dyn Fn() + Send + Sync>),
}

impl Abort for SubtaskAbort {
    fn abort(&self) {
        match self {
            Self::Task(task) => task.abort(),
            Self::Tree(kill) => kill(),
        }
    }
}

impl<T> AsRef<Orders> for Arc<AttemptCell<T>> {
    fn as_ref(&self) -> &Orders {
        &self.orders
    }
}

impl<T: AttemptListener> AttemptCell<T> {
    pub(crate) fn new(
        tree: T,
        id: ChildId,
        attempt: Attempt,
        on_tree_runtime: bool,
        keep_error: bool,
        activity: Activity,
    ) -> Arc<Self> {
        let (orders, subtasks) = (Orders::new(), Subtasks::new());
        Arc::new(Self { tree, id, attempt, on_tree_runtime, keep_error, activity, orders, subtasks })
    }

    /// Notes that this thread polls code of the attempt until the value is dropped, if polls have a limit.
    #[inline]
    pub(crate) fn begin_poll(&self) -> Option<PollEnd> {
        if !self.activity.has_poll_limit() {
            return None;
        }
        polls::begin(Poll { tree: self.tree.address(), id: self.id, attempt: self.attempt })
    }

    /// Ends the attempt and its subtasks by force, as far as this is possible. The tree no longer waits for the attempt.
    pub(crate) fn abandon(&self) {
        self.orders.abandon();
        self.subtasks.abort_all();
    }

    pub(crate) fn path(&self) -> Path {
        self.subtasks.identity(|known| known.path.clone()).unwrap_or_else(|| {
            let path = self.tree.path(self.id).unwrap_or_else(|| Path::new("(no longer part of the tree)"));
            let known = path.clone();
            self.subtasks.identity(|identity| identity.path = Some(known));
            path
        })
    }

    /// Fails the attempt because of the failure of a checked subtask whose handle was dropped.
    pub(crate) fn subtask_failed(self: &Arc<Self>, exit: Exit) {
        let end = self.subtasks.fail(&self.orders, exit);
        if let End::Ending(_) = &end {
            self.orders.kill();
        }
        self.report(end);
    }

    /// Reports the end of a subtask. A `panic` fails the attempt and ends its body.
    pub(crate) fn subtask_ended(self: &Arc<Self>, number: u64, panic: Option<Exit>) {
        let end = self.subtasks.ended(&self.orders, number, panic);
        if let End::Ending(_) = &end {
            self.orders.kill();
        }
        self.report(end);
    }

    /// Reports the end of the body. Its subtasks are aborted; the attempt ends when they have ended.
    pub(crate) fn body_ended(self: &Arc<Self>, exit: Exit) {
        self.report(self.subtasks.body_ended(&self.orders, exit));
    }

    fn report(self: &Arc<Self>, end: End<Exit>) {
        match end {
            End::Attempt(exit) => self.tree.attempt_ended(self, exit),
            End::Ending(exit) => self.tree.body_ended(self, exit),
            End::Unchanged => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::subtasks::{MAX_SUBTASKS, NotAdmitted};

    #[test]
    fn the_cell_of_an_attempt_fits_the_free_space_of_its_task_s_allocation() {
        const GAP: usize = 112;
        const HEADER_OF_MALLOC: usize = 8;
        const COUNTERS_OF_ARC: usize = 16;
        assert_eq!(size_of::<AttemptCell<Arc<()>>>(), GAP - HEADER_OF_MALLOC - COUNTERS_OF_ARC);
    }

    #[derive(Clone)]
    struct NoAbort;

    impl Abort for NoAbort {
        fn abort(&self) {}
    }

    #[test]
    fn one_subtask_more_than_the_limit_is_refused_until_another_has_ended() {
        let (subtasks, orders) = (Subtasks::<NoAbort, (), ()>::new(), Orders::new());
        let first = subtasks.admit(&orders);
        (1..MAX_SUBTASKS).for_each(|_| assert!(subtasks.admit(&orders).is_ok()));
        assert_eq!(subtasks.admit(&orders), Err(NotAdmitted::TooMany));
        let Ok(first) = first else { panic!("the first is admitted") };
        assert!(matches!(subtasks.ended(&orders, first, None), End::Unchanged));
        assert!(subtasks.admit(&orders).is_ok());
    }
}
