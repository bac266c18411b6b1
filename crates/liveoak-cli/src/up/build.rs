//! Turns the specs of a file into the library's builders. It decides nothing.

use liveoak::process::{Backpressure, OutputSink, Program};
use liveoak::{Child, Supervisor};
use liveoak_config::{Config, Form};

/// Where the output of all programs goes.
pub(crate) struct ProgramOutput {
    /// Receives the lines.
    pub(crate) sink: OutputSink,
    /// Slows the reading down.
    pub(crate) backpressure: Backpressure,
}

/// Returns the tree that `config` declares. The replicas of `config` must be expanded already.
pub(crate) fn tree(config: &Config, io: &ProgramOutput) -> Supervisor {
    let root = supervisor(config.name.as_str(), &config.root, io);
    root.stop_within(config.spec.stop_within).end_when_done()
}

fn supervisor(name: &str, from: &liveoak_config::SupervisorConfig, io: &ProgramOutput) -> Supervisor {
    let spec = &from.spec;
    let to = Supervisor::new(name)
        .strategy(spec.strategy)
        .order(spec.order)
        .first_start(spec.first_start)
        .auto_shutdown(spec.auto_shutdown)
        .children(from.children.iter().map(|declared| child(declared, io)));
    match spec.intensity {
        Some(limit) => to.intensity(limit),
        None => to,
    }
}

fn child(from: &liveoak_config::ChildConfig, io: &ProgramOutput) -> Child {
    let child = match &from.form {
        Form::Program(program) => {
            let builder =
                Program::new(from.name.as_str(), program.command.clone()).replica(program.replica.into());
            let builder = builder.output(io.sink.clone()).backpressure(io.backpressure.clone());
            let builder = match &program.ready {
                Some(probe) => builder.ready(probe.clone()),
                None => builder,
            };
            let checks = from.spec.checks().iter().cloned().zip(program.checks.iter().cloned());
            let builder = checks.fold(builder, |builder, (check, probe)| builder.check(check, probe));
            return builder.with_spec(from.spec.clone()).into();
        }
        Form::Supervisor(nested) => Child::from(supervisor(from.name.as_str(), nested, io)),
    };
    child.with_spec(from.spec.clone())
}
