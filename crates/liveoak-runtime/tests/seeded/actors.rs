//! The children of the seeded runs: what each attempt does is drawn anew.

use crate::dice::Dice;
use crate::ledger::{Attempt, Ledger, Part};
use liveoak_runtime::internal::{Either, race};
use liveoak_runtime::*;
use std::panic::resume_unwind;
use std::time::Duration;
use tokio::time::sleep;

/// How an attempt takes its orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It always looks at the stop, and ends a moment after it.
    #[default]
    Loyal,
    /// It does not look at the stop. As a task it is dropped by a kill; as an adapter it ends a moment after it.
    Deaf,
    /// It does not look at anything. For adapters: they are written off.
    DeafToKill,
}

/// What kind of body a child has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Task,
    Adapter,
    Service,
}

/// What all attempts of one child have in common.
#[derive(Clone)]
pub(crate) struct Traits {
    pub(crate) kind: Kind,
    /// Whether it says itself when it is ready, and may come too late.
    pub(crate) told: bool,
    pub(crate) beats: bool,
    /// What it may take to stop, in milliseconds.
    pub(crate) stop_within: u64,
    /// One in so many attempts fails before it is ready.
    pub(crate) fails_start: u64,
    pub(crate) seed: u64,
}

/// The time that a start may take, in milliseconds, and that between two heartbeats.
pub(crate) const START_WITHIN: u64 = 30;
pub(crate) const HEARTBEAT: u64 = 12;

/// A subtask of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum PartPlan {
    #[default]
    None,
    /// It lives as long as it may.
    Endless,
    /// It ends by itself.
    Short(u64),
    Panics(u64),
    /// It lives as long as it may; its destructor panics.
    PanicsAtTheEnd,
}

/// What one attempt does. Times are in milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) mood: Mood,
    pub(crate) is_adapter: bool,
    /// Whether it does something that it is killed for, or may not be asked before.
    pub(crate) is_excused: bool,
    /// It is not ready before.
    pub(crate) start: u64,
    fails_start: bool,
    /// How long it works if nobody stops it.
    span: Option<u64>,
    outcome: u64,
    part: PartPlan,
    /// Whether a subtask looks at the stop for it.
    looks_beside: bool,
    has_witness: bool,
    pub(crate) is_silent: bool,
    says_health: bool,
    /// When it sees that it is asked, it kills the whole tree.
    kills_all: bool,
    /// How long it takes to end when it is asked.
    lingers: u64,
}

impl Script {
    pub(crate) fn draw(dice: &mut Dice, traits: &Traits) -> Self {
        let is_task = traits.kind == Kind::Task;
        let mood = match (traits.kind, dice.roll(16)) {
            (Kind::Task | Kind::Adapter, 0 | 1) => Mood::Deaf,
            (Kind::Adapter, 2 | 3) => Mood::DeafToKill,
            _ => Mood::Loyal,
        };
        let start = match dice.roll(if traits.told { 8 } else { 16 }) {
            0 => 25 + dice.roll(15),
            n if n < 4 => dice.roll(6),
            _ => 0,
        };
        let part = match dice.roll(12) {
            _ if !is_task || mood != Mood::Loyal => PartPlan::None,
            0..=2 => PartPlan::Endless,
            3 => PartPlan::Short(dice.roll(8)),
            4 => PartPlan::Panics(dice.roll(30)),
            5 => PartPlan::PanicsAtTheEnd,
            _ => PartPlan::None,
        };
        let is_silent = traits.beats && dice.roll(6) == 0;
        let is_late = traits.told && start >= START_WITHIN;
        Self {
            mood,
            is_adapter: !is_task,
            is_excused: is_silent || is_late || traits.stop_within == 0,
            start,
            fails_start: dice.roll(traits.fails_start) == 0,
            span: (dice.roll(3) > 0).then(|| dice.roll(60)),
            outcome: dice.roll(8),
            part,
            looks_beside: is_task && dice.roll(3) == 0,
            has_witness: dice.roll(6) == 0,
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

/// Ends without the noise of a panic's message.
fn burst() -> ! {
    resume_unwind(Box::new("on purpose"))
}

/// What the destructor of a subtask drops.
struct PartBomb(Part);

impl Drop for PartBomb {
    fn drop(&mut self) {
        self.0.breaks_at_the_end();
        burst();
    }
}

/// An attempt on its way: what it is, and what it does.
pub(crate) struct Act {
    ctx: Ctx,
    script: Script,
    me: Attempt,
}

impl Act {
    pub(crate) fn new(ledger: &Ledger, traits: &Traits, ctx: Ctx) -> Self {
        let name: u64 = ctx.path().as_str().bytes().map(u64::from).sum();
        let mut dice = Dice(traits.seed ^ name << 16 ^ ctx.attempt().0 << 40);
        let script = Script::draw(&mut dice, traits);
        let me = ledger.attempt(&ctx, script.clone());
        Self { ctx, script, me }
    }

    /// The whole life of a task or an adapter.
    pub(crate) async fn live(self) -> Result<(), &'static str> {
        self.prepare();
        if self.script.mood == Mood::Loyal {
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
        if self.script.is_adapter && self.script.mood == Mood::Deaf {
            race(killed, deaf).await;
        } else {
            deaf.await;
        }
        self.end(Ok(()))
    }

    fn prepare(&self) {
        let part = self.me.part();
        match self.script.part {
            PartPlan::None => drop(part),
            PartPlan::Endless => {
                self.ctx.spawn(async move {
                    let _part = part;
                    std::future::pending::<()>().await;
                });
            }
            PartPlan::PanicsAtTheEnd => {
                let bomb = PartBomb(part);
                self.ctx.spawn(async move {
                    let _bomb = bomb;
                    std::future::pending::<()>().await;
                });
            }
            PartPlan::Short(span) => {
                self.ctx.spawn(async move {
                    let _part = part;
                    sleep(millis(span)).await;
                });
            }
            PartPlan::Panics(after) => {
                self.ctx.spawn(async move {
                    sleep(millis(after)).await;
                    part.breaks();
                    burst();
                });
            }
        }
        if self.script.has_witness {
            let (witness, ctx) = (self.me.witness(), self.ctx.clone());
            tokio::spawn(async move {
                ctx.stopping().await;
                drop(witness);
            });
        }
    }

    async fn start(&self) {
        if self.script.start > 0 {
            sleep(millis(self.script.start)).await;
        }
    }

    /// What came of the work; none if it was asked to stop.
    async fn work_until_asked(&self) -> Option<Result<(), &'static str>> {
        let asked = async {
            if self.script.looks_beside {
                let (ctx, part) = (self.ctx.clone(), self.me.part());
                let looks = self.ctx.spawn(async move {
                    let _part = part;
                    ctx.stopping().await;
                });
                // Nothing but the end of the attempt ends it otherwise.
                let _ = looks.await;
            } else {
                self.ctx.stopping().await;
            }
            self.me.asked();
            if self.script.kills_all {
                self.me.hurry();
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
            self.ctx.health(Health::Degraded);
        }
        match self.script.span {
            Some(span) => sleep(millis(span)).await,
            None => std::future::pending().await,
        }
        match self.script.outcome {
            0..=2 => Err("on purpose"),
            3 => {
                self.me.over("panicked");
                burst()
            }
            _ => Ok(()),
        }
    }

    fn end(&self, outcome: Result<(), &'static str>) -> Result<(), &'static str> {
        self.me.over(if outcome.is_ok() { "completed" } else { "failed" });
        outcome
    }
}

/// The same as a service.
pub(crate) struct Actor {
    pub(crate) ledger: Ledger,
    pub(crate) traits: Traits,
    pub(crate) act: Option<Act>,
}

impl Service for Actor {
    async fn init(&mut self, ctx: &Ctx) -> Result<Init, BoxError> {
        let act = self.act.insert(Act::new(&self.ledger, &self.traits, ctx.clone()));
        // An `init` that is interrupted is dropped: it cannot say that it was asked.
        act.me.over("stopped");
        act.start().await;
        act.script.start = 0;
        act.me.goes_on();
        if act.script.fails_start {
            return Ok(act.end(Err("did not start, on purpose")).map(|()| Init::Ready)?);
        }
        if act.script.outcome == 7 && act.script.says_health {
            act.me.over("ignored");
            return Ok(Init::Ignore);
        }
        act.prepare();
        Ok(Init::Ready)
    }

    async fn run(&mut self, _: &Ctx) -> Result<(), BoxError> {
        let Some(act) = &self.act else { return Ok(()) };
        match act.work_until_asked().await {
            Some(outcome) => Ok(act.end(outcome)?),
            None => Ok(()),
        }
    }

    async fn stop(&mut self, _: &Ctx) -> Result<(), BoxError> {
        let Some(act) = &self.act else { return Ok(()) };
        act.me.over_at_last("completed");
        sleep(millis(act.script.lingers)).await;
        Ok(())
    }
}
