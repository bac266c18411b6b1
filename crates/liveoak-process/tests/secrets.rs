//! Arguments and values of variables often are secrets. No message of Liveoak contains one. This test has a process of
//! its own, because its log subscriber gets the log of the whole process.

use liveoak_process::{CommandLine, Probe, Process, Program};
use liveoak_runtime::*;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

const SECRET: &str = "hunter2";

/// All texts so far.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<String>>);

impl Said {
    fn debug(&self, value: &impl Debug) {
        writeln!(self.0.lock().unwrap(), "{value:?}\n{value:#?}").unwrap();
    }

    fn text(&self, text: &impl ToString) {
        writeln!(self.0.lock().unwrap(), "{}", text.to_string()).unwrap();
    }
}

impl Subscriber for Said {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.debug(span);
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        self.debug(event);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A shell line that does not print its arguments itself.
fn secretive(name: &str, line: &str) -> Program {
    let line = format!(": {SECRET}; {line}");
    let command = CommandLine::argv(["sh", "-c", &line, "sh", SECRET]).env("PASSWORD", SECRET);
    Program::new(name, command).restart(Restart::Temporary)
}

fn failing_probe() -> Probe {
    Probe::command(CommandLine::argv(["sh", "-c", "exit 1", SECRET]).env("PASSWORD", SECRET))
}

/// Programs that fail in many ways.
fn programs() -> Vec<Program> {
    let hanging = Probe::command(CommandLine::argv(["sleep", "1000", SECRET]));
    let missing = Probe::command(CommandLine::argv(["/no/such/check", SECRET]));
    let nul = |what: CommandLine| Program::new("nul", what).restart(Restart::Temporary);
    vec![
        secretive("fails", "exit 3"),
        secretive("killed", "kill -9 $$"),
        secretive("leaves", "sleep 1000 & exit 0"),
        secretive("unready", "sleep 1000").ready(failing_probe()).start_within(Duration::from_millis(300)),
        secretive("hangs", "sleep 1000").ready(hanging).start_within(Duration::from_millis(300)),
        secretive("unchecked", "sleep 1000").ready(missing).start_within(Duration::from_millis(300)),
        secretive("stubborn", "trap '' TERM; echo up; sleep 1000")
            .ready(Probe::log("up").unwrap())
            .stop_within(Duration::from_millis(100)),
        secretive("nowhere", "exit").cwd("/no/such/folder"),
        Program::new("missing", CommandLine::argv(["/no/such/program", SECRET]).env("PASSWORD", SECRET)),
        nul(CommandLine::argv(["true", &format!("{SECRET}\0")])),
        nul(CommandLine::new("true").env("PASSWORD", format!("{SECRET}\0"))),
        nul(CommandLine::new("true").env("NAME\0", SECRET)),
    ]
}

/// A group with a secret argument, whose members fail in several ways.
fn group() -> (Group<String>, GroupHandle<String>) {
    let group = Group::new("group", |_: Ctx, secret: String| async move {
        assert_eq!(secret.trim_end_matches('!'), SECRET);
        match secret.len() % 2 {
            0 => Err::<(), _>("a failure"),
            _ => panic!("a panic"),
        }
    });
    let handle = group.handle();
    (group, handle)
}

#[tokio::test]
async fn no_output_of_liveoak_contains_an_argument_or_a_value_of_a_variable() {
    let said = Said::default();
    tracing::subscriber::set_global_default(said.clone()).unwrap();
    for program in programs() {
        said.debug(&program);
        let child = Child::from(program);
        said.debug(&child);
        let tree = Supervisor::new("t").child(child).start().await;
        match tree {
            Err(error) => {
                said.text(&error);
                said.debug(&error);
            }
            Ok(tree) => {
                let mut events = tree.events();
                let ends_by_itself = tree.snapshot().get("/t/stubborn").is_none();
                while ends_by_itself && let Some(event) = events.next().await {
                    said.debug(&event);
                    if matches!(event, EventOrLost::Event(Event { kind: EventKind::Exited { .. }, .. })) {
                        break;
                    }
                }
                said.debug(&tree.snapshot());
                said.debug(&tree.stop().await);
                while let Some(event) = events.next().await {
                    said.debug(&event);
                }
                said.debug(&tree.join().await);
            }
        }
    }
    for command in [CommandLine::argv(["sleep", "1000", SECRET]), CommandLine::argv(["/no/such", SECRET])] {
        match Process::spawn(&command, |_| {}).await {
            Ok(process) => said.debug(&process),
            Err(error) => said.text(&error),
        }
    }
    for _ in 0..2 {
        let run = failing_probe().start();
        said.debug(&run);
        let failure = run.check().await.unwrap_err();
        said.text(&failure);
        said.debug(&failure);
    }
    let (group, handle) = group();
    said.debug(&group);
    said.debug(&handle);
    let tree = Supervisor::new("t").child(group).start().await.unwrap();
    let mut events = tree.events();
    handle.spawn(SECRET.to_owned()).unwrap();
    handle.spawn(format!("{SECRET}!")).unwrap();
    said.debug(&tree.snapshot());
    said.debug(&tree.stop().await);
    while let Some(event) = events.next().await {
        said.debug(&event);
    }
    if let Err(refusal) = handle.spawn(SECRET.to_owned()) {
        said.debug(&refusal);
    }
    let said = said.0.lock().unwrap();
    assert!(said.contains("the value of the variable PASSWORD") && said.contains("argument 1"), "{said}");
    let told: Vec<&str> = said.lines().filter(|line| line.contains(SECRET)).collect();
    assert!(told.is_empty(), "{told:#?}");
}
