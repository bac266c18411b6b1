//! From a checked file to the builders of the library. It decides nothing.

use crate::config::{ChildConfig, Config, Form, KindConfig, SupervisorConfig};
use crate::diagnostic::Diagnostics;
use crate::kinds::Kinds;
use crate::load::load_with;
use liveoak_core::{Description, Source, Sources};
use liveoak_process::Program;
use liveoak_runtime::{Child, ChildSpec, Supervisor, Written};
use std::path::Path;
use std::sync::Arc;

/// Gives [`Supervisor`] the constructor that reads a file. In the prelude.
pub trait FromFile: Sized {
    /// Returns the tree that a file declares, as `liveoak up` would run it: programs, supervisors, and children of
    /// `kinds`. Nothing is started.
    ///
    /// The output of programs goes to the log (`tracing`, target `liveoak::output`). The defaults are those of the file:
    /// a child that fails in a first start is tried again, and one that exceeds its limit is quarantined. The modes of the
    /// file are those of the tree; [`start_in_mode`](Supervisor::start_in_mode) chooses one, else all children start that are
    /// not manual.
    ///
    /// # Errors
    /// Everything that is wrong with the file, each error with its place. `Display` shows them as `liveoak check` does.
    fn from_file(file: impl AsRef<Path>, kinds: &Kinds) -> Result<Self, Diagnostics>;
}

impl FromFile for Supervisor {
    fn from_file(file: impl AsRef<Path>, kinds: &Kinds) -> Result<Self, Diagnostics> {
        Ok(load_with(file.as_ref(), kinds)?.supervisor(&|program| program))
    }
}

impl Config {
    /// Returns the tree as builders, with all replicas. `finish` is given each program, to set where its output goes.
    #[must_use]
    pub fn supervisor(&self, finish: &dyn Fn(Program) -> Program) -> Supervisor {
        let expanded = self.expanded();
        let tree = supervisor(self.name.as_str(), &expanded.root, finish).stop_within(self.spec.stop_within);
        self.modes.iter().fold(tree, |tree, mode| {
            tree.mode(mode.name.as_str(), mode.run.iter().map(|pattern| pattern.as_str()))
        })
    }
}

fn supervisor(name: &str, from: &SupervisorConfig, finish: &dyn Fn(Program) -> Program) -> Supervisor {
    let spec = &from.spec;
    let to = Supervisor::new(name)
        .strategy(spec.strategy)
        .order(spec.order)
        .first_start(spec.first_start)
        .auto_shutdown(spec.auto_shutdown)
        .children(from.children.iter().map(|declared| child(declared, finish)));
    let to = match &spec.defaults {
        Some(defaults) => to.defaults(**defaults),
        None => to,
    };
    let to = match spec.max_starting {
        Some(children) => to.max_starting(children),
        None => to,
    };
    match spec.intensity {
        Some(limit) => to.intensity(limit),
        None => to,
    }
}

fn child(from: &ChildConfig, finish: &dyn Fn(Program) -> Program) -> Child {
    let name = from.name.as_str();
    match &from.form {
        Form::Program(program) => {
            let builder = Program::new(name, program.command.clone()).replica(program.replica.into());
            let builder = match &program.ready {
                Some(probe) => builder.ready(probe.clone()),
                None => builder,
            };
            let checks = from.spec.checks().iter().cloned().zip(program.checks.iter().cloned());
            let builder = checks.fold(builder, |builder, (check, probe)| builder.check(check, probe));
            finish(builder).with_spec(from.spec.clone()).into()
        }
        Form::Supervisor(nested) => {
            Child::from(supervisor(name, nested, finish)).with_spec(from.spec.clone())
        }
        Form::Kind(kind) => of_kind(name, kind, &from.spec),
    }
}

/// Returns a child of a kind. What the file can declare comes from the file; all other settings are those of the kind.
fn of_kind(name: &str, from: &KindConfig, spec: &ChildSpec) -> Child {
    from.kind.child(name, &from.args).map_spec(|own| ChildSpec {
        // With this file, `keep` may have no effect. That is no error, because the kind cannot know the file.
        written: Written { keep: false, ..own.written },
        restart: spec.restart,
        backoff: spec.backoff,
        limit: spec.limit,
        manual: from.manual.unwrap_or(own.manual),
        significant: spec.significant,
        run_within: spec.run_within.or(own.run_within),
        after: spec.after.clone(),
        needs: spec.needs.clone(),
        replica_of: spec.replica_of.clone(),
        stop_within: from.stop_within.unwrap_or(own.stop_within),
        unready_for: from.unready_for.unwrap_or(own.unready_for),
        description: described(spec.description.as_deref(), own.description),
        // What the file has set keeps its source. The other sources are those of the kind, so that defaults can still
        // apply.
        sources: Sources {
            restart: spec.sources.restart,
            backoff: spec.sources.backoff,
            limit: spec.sources.limit,
            stop_within: own.sources.stop_within.max(own_if(from.stop_within.is_some())),
            unready_for: own.sources.unready_for.max(own_if(from.unready_for.is_some())),
            ..own.sources
        },
        ..own
    })
}

fn own_if(is_own: bool) -> Source {
    if is_own { Source::Own } else { Source::BuiltIn }
}

/// Returns the description of a child of a kind: each part from the file, or from the kind if the file has none.
fn described(file: Option<&Description>, kind: Option<Arc<Description>>) -> Option<Arc<Description>> {
    let Some(file) = file else { return kind };
    let kind = kind.map(|kind| (*kind).clone()).unwrap_or_default();
    Some(Arc::new(Description {
        title: file.title.clone().or(kind.title),
        tags: if file.tags.is_empty() { kind.tags } else { file.tags.clone() },
        role: file.role.or(kind.role),
        criticality: file.criticality.or(kind.criticality),
    }))
}
