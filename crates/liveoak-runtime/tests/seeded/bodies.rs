//! The children of the seeded runs. Each attempt draws a [`Script`] from the run's seed, the child's path and the attempt
//! number, does what the script says, and records it in the [`Ledger`].

use crate::dice::Dice;
use crate::ledger::{Attempt, Ledger, Subtask};
use liveoak_runtime::internal::{Either, race};
use liveoak_runtime::*;
use std::panic::resume_unwind;
use std::time::Duration;
use tokio::time::sleep;

/// How an attempt reacts to stops and kills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Obedience {
    /// It always waits for the stop, and ends a moment after it.
    #[default]
    Obeys,
    /// It ignores the stop. A kill drops a plain task; a task with kill ends itself a moment after it.
    IgnoresStop,
    /// It ignores stop and kill, so it is abandoned. For tasks with kill only.
    IgnoresKill,
}

/// The kind of body that a child has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Task,
    TaskWithKill,
    Service,
}

/// The properties that all attempts of one child share.
#[derive(Clone)]
pub(crate) struct Traits {
    pub(crate) kind: Kind,
    /// It reports readiness itself, perhaps after the deadline.
    pub(crate) reports_ready: bool,
    /// It declares a heartbeat.
    pub(crate) beats: bool,
    /// Its stop deadline in milliseconds.
    pub(crate) stop_within: u64,
    /// One of this many attempts fails before it is ready.
    pub(crate) fails_start: u64,
    pub(crate) seed: u64,
}

/// The start deadline and the heartbeat's period, in milliseconds.
pub(crate) const START_WITHIN: u64 = 30;
pub(crate) const HEARTBEAT: u64 = 12;

/// The behaviour of the subtask of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum SubtaskPlan {
    #[default]
    None,
    /// It never ends by itself.
    Endless,
    /// It ends by itself.
    Short(u64),
    Panics(u64),
    /// It never ends by itself, and its destructor panics.
    PanicsAtTheEnd,
}

/// The behaviour of one attempt. Times are in milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) obedience: Obedience,
    pub(crate) handles_kill: bool,
    /// It misses a deadline on purpose, or its stop deadline is zero. So it may be killed although it obeys.
    pub(crate) may_be_killed: bool,
    /// The time until it is ready.
    pub(crate) start: u64,
    fails_start: bool,
    /// How long it works if it is not stopped; `None` means without end.
    span: Option<u64>,
    outcome: u64,
    subtask: SubtaskPlan,
    /// `true` if a subtask waits for the stop and the body waits for the subtask.
    subtask_sees_stop: bool,
    /// `true` if a task outside of the tree also waits for the stop.
    has_outside_waiter: bool,
    /// It gives no heartbeats.
    pub(crate) is_silent: bool,
    says_health: bool,
    /// It kills the whole tree when it is asked to stop.
    kills_all: bool,
    /// The time between the request to stop and its end.
    lingers: u64,
}

impl Script {
    pub(crate) fn draw(dice: &mut Dice, traits: &Traits) -> Self {
        let is_task = traits.kind == Kind::Task;
        let obedience = match (traits.kind, dice.roll(16)) {
            (Kind::Task | Kind::TaskWithKill, 0 | 1) => Obedience::IgnoresStop,
            (Kind::TaskWithKill, 2 | 3) => Obedience::IgnoresKill,
            _ => Obedience::Obeys,
        };
        let start = match dice.roll(if traits.reports_ready { 8 } else { 16 }) {
            0 => 25 + dice.roll(15),
            n if n < 4 => dice.roll(6),
            _ => 0,
        };
        let subtask = match dice.roll(12) {
            _ if !is_task || obedience != Obedience::Obeys => SubtaskPlan::None,
            0..=2 => SubtaskPlan::Endless,
            3 => SubtaskPlan::Short(dice.roll(8)),
            4 => SubtaskPlan::Panics(dice.roll(30)),
            5 => SubtaskPlan::PanicsAtTheEnd,
            _ => SubtaskPlan::None,
        };
        let is_silent = traits.beats && dice.roll(6) == 0;
        let is_late = traits.reports_ready && start >= START_WITHIN;
        Self {
            obedience,
            handles_kill: !is_task,
            may_be_killed: is_silent || is_late || traits.stop_within == 0,
            start,
            fails_start: dice.roll(traits.fails_start) == 0,
            span: (dice.roll(3) > 0).then(|| dice.roll(60)),
            outcome: dice.roll(8),
            subtask,
            subtask_sees_stop: is_task && dice.roll(3) == 0,
            has_outside_waiter: dice.roll(6) == 0,
            is_silent,
            says_health: dice.roll(6) == 0,
            kills_all: is_task && dice.roll(60) == 0,
            lingers: if dice.roll(2) == 0 { 0 } else { dice.roll(4) },
        }
    }
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Panics without a message on stderr.
fn quiet_panic() -> ! {
    resume_unwind(Box::new("on purpose"))
}

/// A value of a subtask whose destructor panics.
struct PanicsWhenDropped(Subtask);

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        self.0.will_panic_when_dropped();
        quiet_panic();
    }
}

/// The body of one attempt.
pub(crate) struct Body {
    ctx: Ctx,
    script: Script,
    me: Attempt,
}

impl Body {
    pub(crate) fn new(ledger: &Ledger, traits: &Traits, ctx: Ctx) -> Self {
        let name: u64 = ctx.path().as_str().bytes().map(u64::from).sum();
        let mut dice = Dice(traits.seed ^ name << 16 ^ ctx.attempt().0 << 40);
        let script = Script::draw(&mut dice, traits);
        let me = ledger.attempt(&ctx, script.clone());
        Self { ctx, script, me }
    }

    /// Runs the body of a task, with or without kill.
    pub(crate) async fn live(self) -> Result<(), &'static str> {
        self.prepare();
        if self.script.obedience == Obedience::Obeys {
            let outcome = self.work_until_asked().await;
            if outcome.is_none() {
                sleep(millis(self.script.lingers)).await;
            }
            return self.end(outcome.unwrap_or(Ok(())));
        }
        let deaf = async {
            self.start().await;
            self.ctx.ready();
            std::future::pending::<()>().await;
        };
        let killed = async {
            self.ctx.killed().await;
            sleep(millis(self.script.lingers)).await;
        };
        if self.script.handles_kill && self.script.obedience == Obedience::IgnoresStop {
            race(killed, deaf).await;
        } else {
            deaf.await;
        }
        self.end(Ok(()))
    }

    /// Starts the subtask and the outside waiter of the script.
    fn prepare(&self) {
        let subtask = self.me.subtask();
        match self.script.subtask {
            SubtaskPlan::None => drop(subtask),
            SubtaskPlan::Endless => {
                self.ctx.spawn(async move {
                    let _subtask = subtask;
                    std::future::pending::<()>().await;
                });
            }
            SubtaskPlan::PanicsAtTheEnd => {
                let bomb = PanicsWhenDropped(subtask);
                self.ctx.spawn(async move {
                    let _bomb = bomb;
                    std::future::pending::<()>().await;
                });
            }
            SubtaskPlan::Short(span) => {
                self.ctx.spawn(async move {
                    let _subtask = subtask;
                    sleep(millis(span)).await;
                });
            }
            SubtaskPlan::Panics(after) => {
                self.ctx.spawn(async move {
                    sleep(millis(after)).await;
                    subtask.will_panic();
                    quiet_panic();
                });
            }
        }
        if self.script.has_outside_waiter {
            let (outside_waiter, ctx) = (self.me.outside_waiter(), self.ctx.clone());
            tokio::spawn(async move {
                ctx.stopping().await;
                drop(outside_waiter);
            });
        }
    }

    async fn start(&self) {
        if self.script.start > 0 {
            sleep(millis(self.script.start)).await;
        }
    }

    /// Works until the work ends or the stop comes. Returns the outcome of the work, or `None` after a stop.
    async fn work_until_asked(&self) -> Option<Result<(), &'static str>> {
        let asked = async {
            if self.script.subtask_sees_stop {
                let (ctx, subtask) = (self.ctx.clone(), self.me.subtask());
                let waits = self.ctx.spawn(async move {
                    let _subtask = subtask;
                    ctx.stopping().await;
                });
                // Without a stop, only the end of the attempt ends this subtask.
                let _ = waits.await;
            } else {
                self.ctx.stopping().await;
            }
            self.me.asked();
            if self.script.kills_all {
                self.me.allow_kills();
                self.ctx.tree().begin_kill();
            }
        };
        match race(asked, self.work()).await {
            Either::Left(()) => None,
            Either::Right(outcome) => Some(outcome),
        }
    }

    async fn work(&self) -> Result<(), &'static str> {
        let beats = async {
            loop {
                if !self.script.is_silent {
                    self.ctx.heartbeat();
                }
                sleep(millis(HEARTBEAT / 4)).await;
            }
        };
        match race(self.work_without_beats(), beats).await {
            Either::Left(outcome) | Either::Right(outcome) => outcome,
        }
    }

    async fn work_without_beats(&self) -> Result<(), &'static str> {
        self.start().await;
        if self.script.fails_start {
            return Err("did not start, on purpose");
        }
        self.ctx.ready();
        if self.script.says_health {
            self.ctx.health(Health::Degraded, "");
        }
        match self.script.span {
            Some(span) => sleep(millis(span)).await,
            None => std::future::pending().await,
        }
        match self.script.outcome {
            0..=2 => Err("on purpose"),
            3 => {
                self.me.ends("panicked");
                quiet_panic()
            }
            _ => Ok(()),
        }
    }

    fn end(&self, outcome: Result<(), &'static str>) -> Result<(), &'static str> {
        self.me.ends(if outcome.is_ok() { "completed" } else { "failed" });
        outcome
    }
}

/// The same body as a [`Service`].
pub(crate) struct BodyService {
    pub(crate) ledger: Ledger,
    pub(crate) traits: Traits,
    pub(crate) body: Option<Body>,
}

impl Service for BodyService {
    async fn init(&mut self, ctx: &Ctx) -> Result<Init, BoxError> {
        let body = self.body.insert(Body::new(&self.ledger, &self.traits, ctx.clone()));
        // A stop drops an interrupted `init`, which then cannot record it. Therefore the exit is recorded in advance.
        body.me.ends("stopped");
        body.start().await;
        body.script.start = 0;
        body.me.continues();
        if body.script.fails_start {
            return Ok(body.end(Err("did not start, on purpose")).map(|()| Init::Ready)?);
        }
        if body.script.outcome == 7 && body.script.says_health {
            body.me.ends("ignored");
            return Ok(Init::Ignore);
        }
        body.prepare();
        Ok(Init::Ready)
    }

    async fn run(&mut self, _: &Ctx) -> Result<(), BoxError> {
        let Some(body) = &self.body else { return Ok(()) };
        match body.work_until_asked().await {
            Some(outcome) => Ok(body.end(outcome)?),
            None => Ok(()),
        }
    }

    async fn stop(&mut self, _: &Ctx) -> Result<(), BoxError> {
        let Some(body) = &self.body else { return Ok(()) };
        body.me.ends_unless_ended("completed");
        sleep(millis(body.script.lingers)).await;
        Ok(())
    }
}
