//! The plan of a changed file: how the programs and kinds of two files differ, beside what the core compares.

use crate::config::{Config, Form, KindConfig, ProgramConfig, SupervisorConfig};
use crate::kind_value::KindValue;
use liveoak_core::{BodyDifference, Path, PlanAction, PlanStep};
use liveoak_process::ProgramValue;
use liveoak_runtime::BodyValue as _;
use std::collections::HashMap;
use std::sync::Arc;

/// Returns the plan by which the tree of `new` takes the place of the tree of `old`, with all replicas. Nothing is done.
///
/// Programs and kinds are compared by value: the command, the folder, the variables with those of `env_file`, the
/// arguments. No reason shows the value of a variable or of an argument.
#[must_use]
pub fn plan(old: &Config, new: &Config) -> Vec<PlanStep> {
    let (old, new) = (old.expanded(), new.expanded());
    let (before, now) = (forms(&old), forms(&new));
    let body = |path: &Path| match (before.get(path), now.get(path)) {
        (Some(Form::Program(old)), Some(Form::Program(new))) => programs(old, new),
        (Some(Form::Kind(old)), Some(Form::Kind(new))) => kinds(old, new),
        (Some(Form::Program(_)), Some(Form::Kind(new))) => {
            restart(format!("it was a program, and is of the kind `{}` now", new.kind.name()))
        }
        (Some(Form::Kind(old)), Some(Form::Program(_))) => {
            restart(format!("it was of the kind `{}`, and is a program now", old.kind.name()))
        }
        _ => BodyDifference::default(),
    };
    let mut steps = liveoak_core::plan(&old.declaration(), &new.declaration(), &body);
    // The first step is that of the root, which has the modes.
    if let Some(root) = steps.first_mut().filter(|_| old.modes != new.modes) {
        let reason = "the modes differ".to_owned();
        match root.step {
            PlanAction::Keep => (root.step, root.reason) = (PlanAction::Change, reason),
            _ => root.reason = format!("{}; {reason}", root.reason),
        }
    }
    steps
}

fn restart(reason: String) -> BodyDifference {
    BodyDifference { restart: vec![reason], ..BodyDifference::default() }
}

/// Returns what each child is, by its path.
fn forms(config: &Config) -> HashMap<Path, &Form> {
    fn collect<'c>(supervisor: &'c SupervisorConfig, above: &Path, forms: &mut HashMap<Path, &'c Form>) {
        for child in &supervisor.children {
            let path = above.join(child.name.as_str());
            if let Form::Supervisor(nested) = &child.form {
                collect(nested, &path, forms);
            }
            forms.insert(path, &child.form);
        }
    }
    let mut forms = HashMap::new();
    collect(&config.root, &Path::new(config.name.as_str()), &mut forms);
    forms
}

fn kinds(old: &KindConfig, new: &KindConfig) -> BodyDifference {
    let value = |kind: &KindConfig| KindValue::new(kind.kind.name(), &kind.args);
    let mut found = value(old).difference(&value(new));
    if old.kind != new.kind {
        return found;
    }
    // Without these keys the kind decides, so the specs do not show all differences.
    if (old.stop_within, old.unready_for) != (new.stop_within, new.unready_for) {
        found.in_place.push("its `stop` differs".to_owned());
    }
    // Without the key the kind decides, so the specs do not show all differences.
    if old.manual.is_some() != new.manual.is_some() {
        found.in_place.push("its `start` differs".to_owned());
    }
    found
}

fn programs(old: &ProgramConfig, new: &ProgramConfig) -> BodyDifference {
    let value = |program: &ProgramConfig| ProgramValue {
        command: Arc::new(program.command.clone()),
        replica: program.replica.into(),
        ready: program.ready.clone(),
        checks: program.checks.clone(),
    };
    value(old).difference(&value(new))
}
