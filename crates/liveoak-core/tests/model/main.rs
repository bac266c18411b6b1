//! The machine beside a reference model of it: random trees, random events, and the same state after each.
//!
//! The model ([`reference`]) is small, slow and plain, and shares no code with the machine but the specs and the arithmetic
//! of backoff. `LIVEOAK_MODEL_STEPS` asks for more steps than the usual ones, `LIVEOAK_MODEL_SEED` for one seed; a failure
//! prints the command that repeats it.

mod commands;
mod reference;
mod steps;
mod stopping;
mod sut;

use crate::sut::Sut;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use reference::Model;
use std::cell::Cell;
use steps::Step;

/// How many steps are made if nobody asks for more.
const STEPS: u64 = 120_000;

/// Cases with one seed.
const CASES: u32 = 100;

struct Reference;

impl ReferenceStateMachine for Reference {
    type State = Model;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Model> {
        (steps::trees(), any::<u64>()).prop_map(|(tree, random)| Model::new(tree, random)).boxed()
    }

    fn transitions(model: &Model) -> BoxedStrategy<Step> {
        steps::next(model)
    }

    fn apply(mut model: Model, step: &Step) -> Model {
        model.step(step);
        model
    }
}

/// Runs the cases of one seed; returns how many steps that were.
fn run(seed: u64) -> u64 {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config =
        Config { cases: CASES, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut runner =
        TestRunner::new_with_rng(config.clone(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let steps = Cell::new(0);
    let outcome = runner.run(&Reference::sequential_strategy(1..60), |(model, transitions, seen)| {
        steps.set(steps.get() + transitions.len() as u64);
        Sut::test_sequential(config.clone(), model, transitions, seen);
        Ok::<(), TestCaseError>(())
    });
    match outcome {
        Ok(()) => steps.get(),
        Err(TestError::Fail(reason, (model, transitions, _))) => panic!(
            "the machine and the model disagree: {reason}\n\n{}\n{}\n\n\
             again: LIVEOAK_MODEL_SEED={seed} cargo test -p liveoak-core --test model\n",
            steps::sketch(&model.declared, 0),
            transitions.iter().map(|step| format!("{step:?}\n")).collect::<String>(),
        ),
        Err(TestError::Abort(reason)) => panic!("seed {seed}: {reason}"),
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

#[test]
fn the_machine_and_the_reference_model_agree_after_every_step_of_every_run() {
    if let Some(seed) = number("LIVEOAK_MODEL_SEED") {
        run(seed);
        return;
    }
    let wanted = number("LIVEOAK_MODEL_STEPS").unwrap_or(STEPS);
    let first = number("LIVEOAK_MODEL_FIRST_SEED").unwrap_or(0);
    let (mut steps, mut seed) = (0, first);
    while steps < wanted {
        steps += run(seed);
        seed += 1;
    }
}
