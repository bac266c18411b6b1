//! Compares the machine with a reference model of it. Both get the same random tree and the same random steps; after each
//! step their states, effects, answers and next deadlines must be equal.
//!
//! The model decides everything a second time, with a plain map of children and no caches. Machine and model both use
//! core's specs, [`Backoff::delay`](liveoak_core::Backoff::delay) and `jitter`, so a mistake in them is not
//! found here. The model repeats two constants of the machine: 30 s as the longest wait of a supervisor without a start
//! deadline, and 1 s for deadlines that are seen late. It also repeats the rule that a paused wait in a first start has at
//! least 1 ns left. Some functions have the same names as in the machine.
//!
//! # Where to begin
//!
//! Read these files in order:
//!
//! 1. `child.rs`: the state of one child, and `Plan`, the moments of a supervisor's stop.
//! 2. `reference.rs`: the whole tree; what lets a child start, readiness, health, and the loop that evaluates supervisors.
//! 3. `stopping.rs`: what follows an exit (restart, limit, giving up), and how stops, kills and abandoning go;
//!    `manual.rs`, `needs.rs`, `asking.rs`, `auto_shutdown.rs`, `survivors.rs` and `let_go.rs` belong to it.
//! 4. `commands.rs`: commands and additions (`pause.rs` belongs to it), timers, and `Model::step`, which applies one step.
//! 5. `steps.rs`: the steps, which of them fit a state, and the random trees.
//! 6. `machine_under_test.rs`: drives the real machine with the same steps, and compares the two. `replica.rs` is shared
//!    with core's unit tests: a tree that is rebuilt from events alone.
//!
//! At the end of one run of eight, `calm.rs` lets all attempts do as they are told, and checks that no wanted child stays down.
//!
//! A rule of the machine that changes is changed in file 2, 3 or 4; a new field of a spec is also added to `steps.rs`.
//!
//! `LIVEOAK_MODEL_STEPS` sets the number of steps, `LIVEOAK_MODEL_SEED` runs one seed only. A failure prints the command
//! that repeats it.

mod asking;
mod auto_shutdown;
mod calm;
mod child;
mod commands;
mod ending;
mod let_go;
mod machine_under_test;
mod manual;
mod needs;
mod pause;
mod reference;
#[path = "../../src/machine/tests/replica.rs"]
mod replica;
mod steps;
mod stop_order;
mod stopping;
mod survivors;
mod waiting;

use crate::machine_under_test::MachineUnderTest;
use child::{Mode, NEVER, Phase};
use liveoak_core::{
    Attempt, ChildDeclaration, ChildId, ChildState, ChildView, Event, EventKind, Exit, Health, IdleReason,
    Restart, Snapshot, StopStage, Strategy, StuckPoll, Time, WaitingFor, WhenStuck,
};
use proptest::prelude::{BoxedStrategy, Strategy as _, any};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use reference::Model;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use steps::Step;

/// The number of cases that one seed produces.
const CASES: u32 = 100;

/// The parameters of one test's runs.
struct Kind {
    test: &'static str,
    trees: fn() -> BoxedStrategy<ChildDeclaration>,
    /// The lowest and the highest number of steps of one run.
    length: (usize, usize),
    /// The number of steps of all runs together, unless `LIVEOAK_MODEL_STEPS` is set.
    steps: u64,
}

const ALL: Kind = Kind { test: "of_every_run", trees: steps::trees, length: (1, 60), steps: 120_000 };
const SMALL: Kind =
    Kind { test: "of_long_runs", trees: steps::small_trees, length: (40, 99), steps: 120_000 };

thread_local! {
    static KIND: Cell<&'static Kind> = const { Cell::new(&ALL) };
}

struct Reference;

impl ReferenceStateMachine for Reference {
    type State = Model;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Model> {
        let trees = (KIND.get().trees)();
        (trees, any::<u64>()).prop_map(|(tree, random)| Model::new(tree, random)).boxed()
    }

    fn transitions(model: &Model) -> BoxedStrategy<Step> {
        steps::next(model)
    }

    fn apply(mut model: Model, step: &Step) -> Model {
        model.step(step);
        model
    }
}

/// Situations that must occur in at least one run. Without them the comparison would prove little.
const WORDS: [&str; 64] = [
    // How trees end.
    "end stopped",
    "end gave-up",
    "end start-failed",
    "end auto-shutdown",
    "end auto-shutdown-failed",
    "end completed",
    "end failed",
    // Effects.
    "spawn",
    "ask",
    "kill",
    "abandon",
    // Answers to commands.
    "answer ready",
    "answer ignored",
    "answer finished",
    "answer stopped",
    "answer removed",
    "answer not down",
    "answer supervisor down",
    "answer needed by",
    "answer is root",
    "answer tree down",
    "answer failed",
    "answer superseded",
    "answer not found",
    "answer only once",
    "answer waits",
    "answer still runs",
    "answer kept down",
    // States of children.
    "idle down",
    "idle stopped",
    "idle finished",
    "idle ignored",
    "idle quarantined",
    "idle not-wanted",
    "brought along",
    "waiting",
    "waiting with a deadline",
    "starting",
    "backing off",
    "in a restart set",
    "not ready before it is asked",
    "a second attempt",
    "opening",
    "closing",
    "runtime lost",
    "survivors",
    "kill refused",
    // Exits of children.
    "exit heartbeat-timeout",
    "exit start-timeout",
    "exit run-timeout",
    "exit restart-requested",
    "exit abandoned",
    "exit gave-up",
    "exit auto-shutdown-failed",
    // What counts.
    "a stable run",
    "a stable supervisor",
    "too many failures in a row",
    "a trial",
    "a trial that ended the quarantine",
    "a trial that failed",
    "a need that does not hold",
    "a need that holds again",
    "stopped for a need",
    "a supervisor that was stopped for a need",
];

/// Adds the situations that occur in one run of the model to `words`.
fn record_words(mut model: Model, steps: &[Step], words: &mut BTreeSet<String>) {
    for step in steps {
        let lost = model.paths_where(|child| child.lives() && !child.needs.lost.is_empty());
        model.step(step);
        let runs =
            |path: &String| model.children.get(path).is_some_and(|child| child.phase == Phase::Running);
        let again = |path: &String| runs(path) && model.at(path).needs.lost.is_empty();
        words.extend(lost.iter().any(again).then(|| "a need that holds again".to_owned()));
        words.extend(model.acts.iter().filter_map(|act| act.split(' ').next()).map(str::to_owned));
        words.extend(model.down.map(|kind| format!("end {kind}")));
        words.extend(model.answers.values().map(|word| format!("answer {word}")));
        for child in model.children.values() {
            let waits = child.phase == Phase::Waiting;
            words.extend(match child.phase {
                Phase::Idle(why) => Some(format!("idle {}", why.as_str())),
                Phase::Waiting => Some("waiting".to_owned()),
                Phase::Starting => Some("starting".to_owned()),
                Phase::BackingOff => Some("backing off".to_owned()),
                Phase::Running | Phase::Stopping { .. } => None,
            });
            words.extend((waits && child.timer != NEVER).then(|| "waiting with a deadline".to_owned()));
            words.extend(child.brought_along.then(|| "brought along".to_owned()));
            words.extend(child.drains.then(|| "not ready before it is asked".to_owned()));
            words.extend(child.in_restart_set.then(|| "in a restart set".to_owned()));
            words.extend(child.last_exit.map(|kind| format!("exit {kind}")));
            words.extend((child.mode == Mode::Opening).then(|| "opening".to_owned()));
            words.extend((child.mode == Mode::Closing).then(|| "closing".to_owned()));
            let abandoned = child.survivors.is_some() && !child.lives();
            words.extend(abandoned.then(|| "survivors".to_owned()));
            words.extend((abandoned && child.is_kill_refused()).then(|| "kill refused".to_owned()));
            words.extend(child.runtime_lost.then(|| "runtime lost".to_owned()));
            words.extend(child.stable.then(|| "a stable run".to_owned()));
            let supervisor = child.rules().is_some_and(|rules| !rules.children.is_empty());
            words.extend((child.stable && supervisor).then(|| "a stable supervisor".to_owned()));
            words.extend(child.row_exceeded.then(|| "too many failures in a row".to_owned()));
            words.extend(child.trial.then(|| "a trial".to_owned()));
            words.extend(child.trial_held.then(|| "a trial that ended the quarantine".to_owned()));
            words.extend(child.trial_failed.then(|| "a trial that failed".to_owned()));
            words.extend((!child.needs.lost.is_empty()).then(|| "a need that does not hold".to_owned()));
            words.extend(child.needs.stopped.then(|| "stopped for a need".to_owned()));
            let stopped = child.needs.stopped && !child.is_leaf();
            words.extend(stopped.then(|| "a supervisor that was stopped for a need".to_owned()));
            words.extend((child.attempt > 1).then(|| "a second attempt".to_owned()));
        }
    }
}

/// Runs the cases of one seed. Returns the number of steps.
fn run(seed: u64, words: &mut BTreeSet<String>) -> u64 {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config =
        Config { cases: CASES, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut runner =
        TestRunner::new_with_rng(config.clone(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let steps = Cell::new(0);
    let seen_words = RefCell::new(words);
    let Kind { test, length: (least, most), .. } = *KIND.get();
    let outcome = runner.run(&Reference::sequential_strategy(least..most), |(model, transitions, seen)| {
        steps.set(steps.get() + transitions.len() as u64);
        record_words(model.clone(), &transitions, &mut seen_words.borrow_mut());
        MachineUnderTest::test_sequential(config.clone(), model, transitions, seen);
        Ok::<(), TestCaseError>(())
    });
    match outcome {
        Ok(()) => steps.get(),
        Err(TestError::Fail(reason, (model, transitions, _))) => panic!(
            "the machine and the model disagree: {reason}\n\n{}\n{}\n\n\
             to repeat it: LIVEOAK_MODEL_SEED={seed} cargo test -p liveoak-core --test model {test}\n",
            steps::sketch(&model.declared, 0),
            transitions.iter().map(|step| format!("{step:?}\n")).collect::<String>(),
        ),
        Err(TestError::Abort(reason)) => panic!("seed {seed}: {reason}"),
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, but is {text:?}")))
}

/// Runs seed after seed until the wanted number of steps is reached. Returns the situations that occurred.
fn run_all(kind: &'static Kind) -> BTreeSet<String> {
    KIND.set(kind);
    let mut words = BTreeSet::new();
    if let Some(seed) = number("LIVEOAK_MODEL_SEED") {
        run(seed, &mut words);
        return words;
    }
    let wanted = number("LIVEOAK_MODEL_STEPS").unwrap_or(kind.steps);
    let mut seed = number("LIVEOAK_MODEL_FIRST_SEED").unwrap_or(0);
    let mut steps = 0;
    while steps < wanted {
        steps += run(seed, &mut words);
        seed += 1;
    }
    words
}

#[test]
fn the_machine_and_the_reference_model_agree_after_every_step_of_every_run() {
    let words = run_all(&ALL);
    let missing: Vec<_> = WORDS.iter().filter(|word| !words.contains(**word)).collect();
    let few = number("LIVEOAK_MODEL_SEED").is_some()
        || number("LIVEOAK_MODEL_STEPS").is_some_and(|steps| steps < ALL.steps);
    assert!(missing.is_empty() || few, "these situations never occurred: {missing:?}");
}

#[test]
fn the_machine_and_the_reference_model_agree_after_every_step_of_long_runs_of_small_trees() {
    run_all(&SMALL);
}
