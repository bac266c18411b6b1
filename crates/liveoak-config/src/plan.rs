//! The plan of a changed file: how the programs and kinds of two files differ, beside what the core compares.

use crate::config::{Config, Form, KindConfig, ProgramConfig, SupervisorConfig};
use liveoak_core::{BodyDifference, Path, PlanAction, PlanStep};
use liveoak_process::CommandLine;
use std::collections::{BTreeSet, HashMap};

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
    if old.kind != new.kind {
        let (old, new) = (old.kind.name(), new.kind.name());
        return restart(format!("it is of another kind: `{old}`, now `{new}`"));
    }
    let mut found = match old.args.differing(&new.args) {
        keys if keys.is_empty() => BodyDifference::default(),
        keys => restart(format!("its arguments differ: {}", listed(&keys))),
    };
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
    let mut found = BodyDifference { restart: commands(&old.command, &new.command), in_place: Vec::new() };
    if old.replica != new.replica {
        found.restart.push("the number of the replica differs".to_owned());
    }
    if old.checks != new.checks {
        found.restart.push("what its checks ask differs".to_owned());
    }
    if old.ready != new.ready {
        found.in_place.push("its `ready` differs, which counts from its next start".to_owned());
    }
    found
}

/// Returns how two command lines differ.
fn commands(old: &CommandLine, new: &CommandLine) -> Vec<String> {
    let fields = [
        ("its command differs", old.program != new.program || old.args != new.args),
        ("its `cwd` differs", old.cwd != new.cwd),
        ("its `stdin` differs", old.stdin != new.stdin),
        ("its `output` differs", {
            (old.stdout, old.stderr, old.merge_output) != (new.stdout, new.stderr, new.merge_output)
        }),
        ("its `success` differs", old.success != new.success),
        ("its stop signal differs", old.stop_signal != new.stop_signal),
        ("its `ask` differs", old.ask != new.ask),
        ("whether it inherits variables differs", old.env_cleared != new.env_cleared),
    ];
    let fields = fields.into_iter().filter(|(_, differs)| *differs);
    let mut found: Vec<String> = fields.map(|(what, _)| what.to_owned()).collect();
    let names: BTreeSet<_> = old.env.keys().chain(new.env.keys()).collect();
    let names = names.into_iter().filter(|name| old.env.get(*name) != new.env.get(*name));
    let names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    if !names.is_empty() {
        found.push(format!("variables differ: {}", listed(&names)));
    }
    // A field that is not named above must not be overlooked.
    if found.is_empty() && old != new {
        found.push("its command line differs".to_owned());
    }
    found
}

fn listed(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
