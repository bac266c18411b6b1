//! The effect of signals after `run`, and together with handlers of the program itself.

use crate::support::{Program, SIGNALS, polite, runs, say, tidy, wait_long};
use liveoak_runtime::*;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

fn done() -> Supervisor {
    Supervisor::new("t").child(Child::task("job", |_| async {}).restart(Restart::Transient))
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_goes_on_after_a_stop() {
    assert!(runs(Supervisor::new("t").child(polite()).run()).is_ok());
    wait_long();
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_goes_on_after_an_end() {
    say("ready");
    assert!(runs(done().run()).is_ok());
    wait_long();
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_goes_on_after_a_dropped_run() {
    let run = Supervisor::new("t").child(tidy()).run();
    assert!(runs(async { tokio::time::timeout(Duration::from_millis(200), run).await }).is_err());
    wait_long();
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_goes_on_after_a_refused_start() {
    say("ready");
    assert!(runs(Supervisor::new("/").run()).is_err());
    wait_long();
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_goes_on_after_one_of_two() {
    runs(async {
        let other = tokio::spawn(Supervisor::new("other").child(polite()).run());
        assert!(done().run().await.is_ok());
        say("one is over");
        assert!(other.await.unwrap().is_ok());
    });
    wait_long();
}

#[test]
fn after_run_a_signal_has_its_former_effect_again() {
    for (signal, number) in SIGNALS {
        let mut program = Program::start("afterwards::helper_goes_on_after_a_stop");
        program.send("-TERM");
        program.until("child: over");
        program.send(signal);
        program.killed_by(number);
    }
    for how in ["an_end", "a_dropped_run", "a_refused_start"] {
        for (signal, number) in SIGNALS {
            let mut program = Program::start(&format!("afterwards::helper_goes_on_after_{how}"));
            program.until("child: over");
            program.send(signal);
            program.killed_by(number);
        }
    }
}

#[test]
fn signal_actions_are_restored_only_after_the_last_of_two_trees() {
    let mut program = Program::start("afterwards::helper_goes_on_after_one_of_two");
    program.until("child: one is over");
    program.send("-INT");
    program.until("child: over");
    program.send("-INT");
    program.killed_by(2);
}

/// Prints, in a separate task, the signals that a handler of the program got.
fn listen(kind: SignalKind, name: &'static str) {
    let mut signals = signal(kind).unwrap();
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            say(&format!("the program got {name}"));
        }
    });
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_has_a_handler_before() {
    runs(async {
        listen(SignalKind::interrupt(), "SIGINT");
        assert!(Supervisor::new("t").child(polite()).run().await.is_ok());
        say("over");
        std::future::pending::<()>().await;
    });
}

#[test]
fn an_earlier_handler_is_also_called_and_is_restored_afterwards() {
    let program = Program::start("afterwards::helper_has_a_handler_before");
    program.send("-INT");
    program.until("child: the program got SIGINT");
    program.until("child: over");
    program.send("-INT");
    program.until("child: the program got SIGINT");
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_gets_a_handler_meanwhile() {
    runs(async {
        for _ in 0..3 {
            let child = Child::task("listens", |ctx: Ctx| async move {
                let mut signals = signal(SignalKind::interrupt()).unwrap();
                say("ready");
                signals.recv().await;
                say("the program got SIGINT");
                ctx.stopping().await;
            });
            assert!(Supervisor::new("t").child(child).run().await.is_ok());
            say("over");
        }
        let mut signals = signal(SignalKind::interrupt()).unwrap();
        say("ready");
        signals.recv().await;
    });
}

#[test]
fn a_handler_that_was_installed_meanwhile_stays_and_the_next_run_works_with_it() {
    let mut program = Program::start("afterwards::helper_gets_a_handler_meanwhile");
    for _ in 0..3 {
        program.send("-INT");
        program.until("child: the program got SIGINT");
        program.until("child: over");
        program.until("child: ready");
    }
    program.send("-INT");
    program.ended_well();
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_reloads_on_hangup() {
    runs(async {
        listen(SignalKind::hangup(), "SIGHUP");
        assert!(Supervisor::new("t").child(polite()).run().await.is_ok());
    });
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_begins_to_reload_on_hangup() {
    runs(async {
        let child = Child::task("reloads", |ctx: Ctx| async move {
            listen(SignalKind::hangup(), "SIGHUP");
            say("ready");
            ctx.stopping().await;
            say("stopping");
        });
        assert!(Supervisor::new("t").child(child).run().await.is_ok());
    });
}

#[test]
fn a_program_that_handles_sighup_itself_is_not_stopped_by_it() {
    for how in ["reloads", "begins_to_reload"] {
        let mut program = Program::start(&format!("afterwards::helper_{how}_on_hangup"));
        for _ in 0..3 {
            program.send("-HUP");
            program.until("child: the program got SIGHUP");
        }
        program.send("-TERM");
        program.until("child: stopping");
        program.ended_well();
    }
}
