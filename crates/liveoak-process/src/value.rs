//! What a program is made of, compared by value. No difference shows the value of a variable or of an argument.

use crate::command::CommandLine;
use crate::probe::Probe;
use liveoak_runtime::{BodyDifference, BodyValue};
use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a program is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramValue {
    /// The command line.
    pub command: Arc<CommandLine>,
    /// The number of the replica.
    pub replica: u32,
    /// The readiness probe.
    pub ready: Option<Probe>,
    /// The probe of each check.
    pub checks: Vec<Probe>,
}

impl BodyValue for ProgramValue {
    fn difference(&self, now: &dyn BodyValue) -> BodyDifference {
        let Some(now) = (now as &dyn Any).downcast_ref::<Self>() else {
            let reason = "it was a program, and is something else now".to_owned();
            return BodyDifference { restart: vec![reason], in_place: Vec::new() };
        };
        let mut found =
            BodyDifference { restart: commands(&self.command, &now.command), in_place: Vec::new() };
        if self.replica != now.replica {
            found.restart.push("the number of the replica differs".to_owned());
        }
        if self.checks != now.checks {
            found.restart.push("what its checks ask differs".to_owned());
        }
        if self.ready != now.ready {
            found.in_place.push("its `ready` differs, which counts from its next start".to_owned());
        }
        found
    }
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
