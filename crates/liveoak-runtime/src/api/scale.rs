//! The size of a group, changed while it runs: first a list of what would be done, then exactly that.

use crate::api::command_plan::StepResult;
use crate::api::group::GroupHandle;
use liveoak_core::{ChildId, ChildState, ChildView, Command, Path, PlanAction, PlanStep, Refusal};
use std::fmt;
use tokio::task::coop::consume_budget;

/// What a change of the number of members of a group would do: a list that can be shown, and then carried out.
///
/// [`run`](Self::run) stops exactly the members that the list names, by their ids, and adds as many as it says, whatever
/// has happened to the group meanwhile.
#[must_use = "a plan does nothing until it is run"]
pub struct ScalePlan<A> {
    group: GroupHandle<A>,
    steps: Vec<PlanStep>,
    /// The members that are removed, in the order of the steps.
    leave: Vec<(ChildId, Path)>,
    new: u32,
}

impl<A> fmt::Debug for ScalePlan<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScalePlan").field("steps", &self.steps).finish_non_exhaustive()
    }
}

impl<A: Send + 'static> GroupHandle<A> {
    /// Lists what [`scale`](Self::scale) would do. Changes nothing.
    ///
    /// # Errors
    /// When the group does not run ([`Refusal::SupervisorDown`]), `members` is more than it may have ([`Refusal::Full`]),
    /// it has left the tree, or the tree has ended.
    pub fn plan_scale(&self, members: u32) -> Result<ScalePlan<A>, Refusal> {
        let group = self.group()?;
        let view = group.view().ok_or(Refusal::NotFound)?;
        if view.state != ChildState::Running {
            return Err(Refusal::SupervisorDown);
        }
        let most = group.tree().inner.state().machine.max_members(group.id());
        if let Some(max) = most.filter(|max| members > *max) {
            return Err(Refusal::Full { max });
        }
        let now = u32::try_from(view.children.len()).unwrap_or(u32::MAX);
        let mut leaving: Vec<&ChildView> = view.children.iter().collect();
        // What is down does no work, so it goes first. Of the others, the one that came last.
        leaving.reverse();
        leaving.sort_by_key(|member| !is_down(member));
        leaving.truncate(now.saturating_sub(members) as usize);
        let new = members.saturating_sub(now);
        let mut plan = ScalePlan { group: self.clone(), steps: Vec::new(), leave: Vec::new(), new };
        for member in &leaving {
            let reason =
                if is_down(member) { "it is down, and too many" } else { "it came last, and is too many" };
            plan.steps.push(step(&member.path, PlanAction::Stop, reason));
            plan.leave.push((member.id, member.path.clone()));
        }
        for member in view.children.iter().filter(|member| leaving.iter().all(|other| other.id != member.id))
        {
            plan.steps.push(step(&member.path, PlanAction::Keep, member.state.as_str()));
        }
        plan.steps.extend((0..new).map(|_| step(&view.path, PlanAction::Start, "a new member")));
        Ok(plan)
    }

    /// Changes the number of members: adds members, each with an argument from `argument`, or stops members and removes them
    /// from the tree. Returns what each step did, when the members that leave have ended, and those that are new are ready
    /// or have failed.
    ///
    /// Every member counts that the group [has](Self::members), also one that is quarantined, paused, or was stopped by
    /// command. Members that are down leave first, then those that came last. Members that stay are not touched.
    ///
    /// ```
    /// # use liveoak_runtime::{Ctx, Group, Supervisor};
    /// # use std::sync::Arc;
    /// # liveoak_runtime::testing::paused(async {
    /// # let work = |ctx: Ctx, _: Arc<()>| async move { ctx.stopping().await };
    /// let pool = Group::new("pool", work);
    /// let workers = pool.handle();
    /// let tree = Supervisor::new("t").child(pool).start().await.unwrap();
    /// workers.scale(4, || Arc::new(())).await?;
    /// println!("{}", workers.plan_scale(2)?); // shows which members would stop
    /// workers.scale(2, || Arc::new(())).await?;
    /// assert_eq!(workers.members()?.len(), 2);
    /// # Ok::<(), liveoak_runtime::Refusal>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`plan_scale`](Self::plan_scale). A step that is refused or fails is in the result and does not keep the others
    /// from being done: a member that waits for itself, or a start that fails.
    ///
    /// # Cancel safety
    /// When this future is dropped, the steps that were begun continue.
    pub async fn scale(&self, members: u32, argument: impl FnMut() -> A) -> Result<Vec<StepResult>, Refusal> {
        Ok(self.plan_scale(members)?.run(argument).await)
    }
}

fn is_down(member: &ChildView) -> bool {
    matches!(member.state, ChildState::Idle(_))
}

fn step(path: &Path, step: PlanAction, reason: &str) -> PlanStep {
    PlanStep { path: path.clone(), step, reason: reason.to_owned() }
}

impl<A: Send + 'static> ScalePlan<A> {
    /// Returns what is done with each member. A new member has no name yet, so its step has the path of the group.
    #[must_use]
    pub fn steps(&self) -> &[PlanStep] {
        &self.steps
    }

    /// Returns `true` if nothing would be done.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.leave.is_empty() && self.new == 0
    }

    /// Carries the plan out; see [`GroupHandle::scale`].
    ///
    /// # Cancel safety
    /// When this future is dropped, the steps that were begun continue.
    pub async fn run(self, mut argument: impl FnMut() -> A) -> Vec<StepResult> {
        let mut results = Vec::with_capacity(self.leave.len());
        if let Ok(group) = self.group.group() {
            let tree = group.tree();
            let begin = |(id, path): (ChildId, Path)| (path, tree.begin_waiting(id, Command::Remove));
            let begun: Vec<_> = self.leave.into_iter().map(begin).collect();
            consume_budget().await;
            for (path, begun) in begun {
                let result = match begun {
                    Ok(begun) => tree.finish(&path, begun).await,
                    Err(refusal) => Err(refusal),
                };
                results.push(StepResult { path, result });
            }
        }
        let begun: Vec<_> = (0..self.new).map(|_| self.group.begin_member(argument())).collect();
        consume_budget().await;
        let group = self.group.group().ok().and_then(|group| group.path());
        for begun in begun {
            let (path, result) = match begun {
                Ok((member, answer)) => {
                    let path = member.path().or_else(|| group.clone());
                    (path, answer.wait().await)
                }
                Err(refusal) => (group.clone(), Err(refusal)),
            };
            let path = path.unwrap_or_else(|| Path::new("(no longer part of the tree)"));
            results.push(StepResult { path, result });
        }
        results
    }
}

/// Shows one line for each step.
impl<A> fmt::Display for ScalePlan<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}
