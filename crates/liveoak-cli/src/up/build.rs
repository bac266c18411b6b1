//! From the file's data to the library's tree. A table: nothing is decided here.

use std::error::Error;
use std::time::Duration;

use liveoak::process::{CommandLine as Run, OutputSink, Probe as Ready, Program};
use liveoak::{
    AutoShutdown, Backoff, Child, ChildSpec, Condition, Edge, GiveUp, Limit, Name, Order, Restart, Strategy,
    Supervisor,
};

use crate::config::{self, Command, Config, Kind, Probe, Process, Window};

/// The tree that `config`, whose replicas are expanded, declares.
///
/// # Errors
/// What the library refuses although the file was found fine; that would be a fault of this program.
pub(crate) fn tree(config: &Config, sink: OutputSink) -> Result<Supervisor, Box<dyn Error>> {
    let root = supervisor(&config.name, &config.root, &sink)?;
    Ok(root.stop_within(config.stop_within).end_when_done())
}

fn supervisor(
    name: &str,
    from: &config::Supervisor,
    sink: &OutputSink,
) -> Result<Supervisor, Box<dyn Error>> {
    let mut to = Supervisor::new(name)
        .strategy(match from.strategy {
            config::Strategy::OneForOne => Strategy::OneForOne,
            config::Strategy::OneForAll => Strategy::OneForAll,
            config::Strategy::RestForOne => Strategy::RestForOne,
        })
        .order(match from.order {
            config::Order::Declared => Order::Declared,
            config::Order::Edges => Order::Edges,
        })
        .auto_shutdown(match from.auto_shutdown {
            config::AutoShutdown::Never => AutoShutdown::Never,
            config::AutoShutdown::AnySignificant => AutoShutdown::AnySignificant,
            config::AutoShutdown::AllSignificant => AutoShutdown::AllSignificant,
        });
    if let Some(intensity) = &from.intensity {
        to = to.intensity(limit(intensity));
    }
    for child in &from.children {
        to = to.child(one_child(child, sink)?);
    }
    Ok(to)
}

fn one_child(from: &config::Child, sink: &OutputSink) -> Result<Child, Box<dyn Error>> {
    let spec = spec(from)?;
    match &from.kind {
        Kind::Process(process) => {
            let spec = ChildSpec {
                start_within: process.ready.within,
                stop_within: process.stop_within.unwrap_or(Duration::MAX),
                ..spec
            };
            Ok(program(&from.name, process)?.output(sink.clone()).with_spec(spec).into())
        }
        Kind::Supervisor { supervisor: nested, stop_within } => {
            let spec = ChildSpec {
                start_within: Duration::MAX,
                stop_within: stop_within.unwrap_or(Duration::MAX),
                ..spec
            };
            Ok(Child::from(supervisor(&from.name, nested, sink)?).with_spec(spec))
        }
    }
}

fn spec(from: &config::Child) -> Result<ChildSpec, Box<dyn Error>> {
    let after = from.after.iter().map(|edge| {
        let condition = match edge.condition {
            config::Condition::Started => Condition::Started,
            config::Condition::Ready => Condition::Ready,
            config::Condition::Healthy => Condition::Healthy,
            config::Condition::Completed => Condition::Completed,
        };
        Ok(Edge { child: Name::new(edge.name.as_str())?, condition })
    });
    Ok(ChildSpec {
        restart: match from.restart {
            config::Restart::Permanent => Restart::Permanent,
            config::Restart::Transient => Restart::Transient,
            config::Restart::Temporary => Restart::Temporary,
        },
        backoff: from.backoff.as_ref().map(|backoff| Backoff {
            from: backoff.from,
            to: backoff.to,
            reset_after: backoff.reset_after,
        }),
        limit: from.limit.as_ref().map(limit),
        significant: from.significant,
        after: after.collect::<Result<_, liveoak::NameError>>()?,
        ..ChildSpec::default()
    })
}

fn limit(from: &config::Limit) -> Limit {
    let limit = match from.window {
        Window::Unlimited => Limit::unlimited(),
        Window::AtMost { restarts, period } => Limit::new(restarts, period),
    };
    limit.on_exceeded(match from.give_up {
        config::GiveUp::Escalate => GiveUp::Escalate,
        config::GiveUp::Quarantine => GiveUp::Quarantine,
    })
}

fn program(name: &str, from: &Process) -> Result<Program, Box<dyn Error>> {
    let mut command = run(&from.command)
        .cwd(&from.cwd)
        .success(from.success.iter().copied().map(i32::from))
        .stop_signal(from.stop_signal.to_string().parse()?);
    for (name, value) in &from.env {
        command = command.env(name, value);
    }
    let program = Program::new(name, command);
    let probe = match &from.ready.probe {
        Probe::Running => return Ok(program),
        Probe::Delay(delay) => Ready::delay(*delay),
        Probe::Log(pattern) => Ready::log(pattern)?,
        Probe::Tcp(endpoint) => Ready::tcp(&endpoint.to_string())?,
        Probe::Unix(path) => Ready::unix(path),
        Probe::File(path) => Ready::file(path),
        Probe::Command(command) => Ready::command(run(command)),
        Probe::Http(url) => Ready::http(&url.to_string())?,
    };
    Ok(program.ready(probe))
}

fn run(from: &Command) -> Run {
    match from {
        Command::Argv { program, args } => Run::new(program).args(args),
        Command::Shell(script) => Run::shell(script),
    }
}
