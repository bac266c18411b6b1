//! Turns the specs of a file into the library's builders. It decides nothing.

use liveoak::process::{OutputSink, Program};
use liveoak::{Child, Supervisor};
use liveoak_config::{Config, Form};

/// Returns the tree that `config`, whose replicas are expanded, declares.
pub(crate) fn tree(config: &Config, sink: &OutputSink) -> Supervisor {
    let root = supervisor(config.name.as_str(), &config.root, sink);
    root.stop_within(config.spec.stop_within).end_when_done()
}

fn supervisor(name: &str, from: &liveoak_config::SupervisorConfig, sink: &OutputSink) -> Supervisor {
    let spec = &from.spec;
    let to = Supervisor::new(name)
        .strategy(spec.strategy)
        .order(spec.order)
        .first_start(spec.first_start)
        .auto_shutdown(spec.auto_shutdown)
        .children(from.children.iter().map(|declared| child(declared, sink)));
    match spec.intensity {
        Some(limit) => to.intensity(limit),
        None => to,
    }
}

fn child(from: &liveoak_config::ChildConfig, sink: &OutputSink) -> Child {
    let child = match &from.form {
        Form::Program(program) => {
            let builder = Program::new(from.name.as_str(), program.command.clone()).output(sink.clone());
            let builder = builder.replica(program.replica.into());
            let builder = match &program.ready {
                Some(probe) => builder.ready(probe.clone()),
                None => builder,
            };
            return builder.with_spec(from.spec.clone()).into();
        }
        Form::Supervisor(nested) => Child::from(supervisor(from.name.as_str(), nested, sink)),
    };
    child.with_spec(from.spec.clone())
}
