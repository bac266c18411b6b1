//! The machine beside a reference model of it: random trees, random events, and the same state after each.
//!
//! The model ([`reference`]) is small, slow and plain, and shares no code with the machine but the specs and the arithmetic
//! of backoff. `LIVEOAK_MODEL_STEPS` asks for more steps than the usual ones, `LIVEOAK_MODEL_SEED` for one seed; a failure
//! prints the command that repeats it.

mod child;
mod commands;
mod reference;
#[path = "../../src/machine/tests/replica.rs"]
mod replica;
mod steps;
mod stopping;
mod sut;

use crate::sut::Sut;
use child::{Mode, NEVER, Phase};
use liveoak_core::{
    Attempt, ChildDeclaration, ChildId, ChildState, ChildView, Event, EventKind, Exit, Health, IdleReason,
    Restart, Snapshot, StopStage, Strategy, Time, WaitingFor,
};
use proptest::prelude::{BoxedStrategy, Strategy as _, any};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use reference::Model;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use steps::Step;

/// Cases with one seed.
const CASES: u32 = 100;

/// What the runs of one test are like.
struct Kind {
    test: &'static str,
    trees: fn() -> BoxedStrategy<ChildDeclaration>,
    /// The least and the most steps of one run.
    length: (usize, usize),
    /// How many steps are made if nobody asks for more.
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

/// Everything that a run must come to now and then, or it shows nothing.
const WORDS: [&str; 42] = [
    // How trees end.
    "end stopped",
    "end gave-up",
    "end start-failed",
    "end auto-shutdown",
    "end completed",
    "end failed",
    // What is done.
    "spawn",
    "ask",
    "kill",
    "abandon",
    // What commands are answered.
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
    // What children do.
    "idle down",
    "idle stopped",
    "idle finished",
    "idle ignored",
    "idle quarantined",
    "waiting",
    "waiting with a deadline",
    "starting",
    "backing off",
    "swept up",
    "a second attempt",
    "opening",
    "closing",
    "place lost",
    // How children end.
    "exit heartbeat-timeout",
    "exit start-timeout",
    "exit abandoned",
    "exit gave-up",
];

/// What the steps of one run come to, as the model sees it.
fn come_to(mut model: Model, steps: &[Step], words: &mut BTreeSet<String>) {
    for step in steps {
        model.step(step);
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
            words.extend(child.swept.then(|| "swept up".to_owned()));
            words.extend(child.last_exit.map(|kind| format!("exit {kind}")));
            words.extend((child.mode == Mode::Opening).then(|| "opening".to_owned()));
            words.extend((child.mode == Mode::Closing).then(|| "closing".to_owned()));
            words.extend(child.runtime_lost.then(|| "place lost".to_owned()));
            words.extend((child.attempt > 1).then(|| "a second attempt".to_owned()));
        }
    }
}

/// Runs the cases of one seed; returns how many steps that were.
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
        come_to(model.clone(), &transitions, &mut seen_words.borrow_mut());
        Sut::test_sequential(config.clone(), model, transitions, seen);
        Ok::<(), TestCaseError>(())
    });
    match outcome {
        Ok(()) => steps.get(),
        Err(TestError::Fail(reason, (model, transitions, _))) => panic!(
            "the machine and the model disagree: {reason}\n\n{}\n{}\n\n\
             again: LIVEOAK_MODEL_SEED={seed} cargo test -p liveoak-core --test model {test}\n",
            steps::sketch(&model.declared, 0),
            transitions.iter().map(|step| format!("{step:?}\n")).collect::<String>(),
        ),
        Err(TestError::Abort(reason)) => panic!("seed {seed}: {reason}"),
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is to be a number, and is {text:?}")))
}

/// As many runs as it takes; what they came to.
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
    assert!(missing.is_empty() || few, "the runs never came to {missing:?}");
}

#[test]
fn the_machine_and_the_reference_model_agree_after_every_step_of_long_runs_of_small_trees() {
    run_all(&SMALL);
}
