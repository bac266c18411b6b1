//! The effect of signals while a tree runs.

use crate::support::{Program, SIGNALS, deaf, polite, runs, tidy};
use liveoak_runtime::*;
use std::process::ExitCode;

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_stops_when_asked() {
    runs(async {
        let outcome = Supervisor::new("t").child(polite()).run().await;
        assert!(outcome.is_ok(), "{outcome:?}");
    });
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_tidies_up() {
    runs(async {
        let outcome = Supervisor::new("t").child(tidy()).run().await;
        assert!(outcome.is_ok(), "{outcome:?}");
    });
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_never_stops() {
    assert_eq!(main(deaf()), ExitCode::from(3));
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_is_forced() {
    runs(async {
        let outcome = deaf().run().await;
        let Err(Error::Forced(report)) = &outcome else { panic!("{outcome:?}") };
        assert_eq!(report.forced().count(), 2);
        let text = outcome.unwrap_err().to_string();
        assert!(text.starts_with("stopped, but by force: /t/"), "{text}");
        assert!(text.contains("/t/deaf (killed)") && text.contains("/t/says (killed)"), "{text}");
    });
}

#[test]
fn any_first_signal_stops_gracefully() {
    for (signal, _) in SIGNALS {
        let mut program = Program::start("wishes::helper_stops_when_asked");
        program.send(signal);
        program.until("child: stopping");
        program.ended_well();
    }
}

#[test]
fn signals_within_a_second_of_the_first_count_as_one() {
    for (second, _) in SIGNALS {
        let mut program = Program::start("wishes::helper_tidies_up");
        program.send("-INT");
        program.send(second);
        program.send(second);
        program.until("child: tidied up");
        program.ended_well();
    }
}

#[test]
fn a_sigint_more_than_a_second_after_the_first_signal_kills_and_a_line_announces_this() {
    for (signal, _) in SIGNALS {
        let mut program = Program::start("wishes::helper_never_stops");
        program.send(signal);
        program.until("Ctrl-C (SIGINT) kills what is left");
        program.send("-INT");
        program.until("killing what is left");
        program.ended_well();
    }
}

#[test]
fn sigterm_and_sighup_never_escalate() {
    for (signal, _) in SIGNALS {
        let mut program = Program::start("wishes::helper_never_stops");
        program.send(signal);
        program.until("Ctrl-C (SIGINT) kills what is left");
        for later in ["-TERM", "-HUP", "-TERM"] {
            program.send(later);
            program.until_it_still_runs();
        }
        program.send("-INT");
        program.ended_well();
    }
}

#[test]
fn children_that_a_sigint_killed_are_in_the_error_of_run() {
    let mut program = Program::start("wishes::helper_is_forced");
    program.send("-TERM");
    std::thread::sleep(std::time::Duration::from_millis(1_200)); // Without a log no line announces when a kill is possible.
    program.send("-INT");
    program.ended_well();
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    for (signal, _) in SIGNALS {
        let name = signal.trim_start_matches('-');
        let ignoring = format!("--ignore-signal={name}");
        let program = Program::start_under(&["env", &ignoring], "wishes::helper_never_stops");
        program.send(signal);
        program.until_it_still_runs();
        let other = if name == "TERM" { "-HUP" } else { "-TERM" };
        program.send(other);
        program.until(&format!("SIG{}: still stopping", other.trim_start_matches('-')));
    }
}

#[test]
fn a_program_that_was_started_with_its_signals_blocked_can_be_stopped() {
    for (signal, _) in SIGNALS {
        let blocking = format!("--block-signal={}", signal.trim_start_matches('-'));
        let mut program = Program::start_under(&["env", &blocking], "wishes::helper_stops_when_asked");
        program.send(signal);
        program.ended_well();
    }
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_runs_two_trees() {
    runs(async {
        let quick =
            Supervisor::new("quick").child(Child::task("work", |_| async {}).restart(Restart::Transient));
        assert!(quick.run().await.is_ok());
        let slow = tokio::spawn(Supervisor::new("slow").child(tidy()).run());
        let other = Supervisor::new("other").child(polite()).run().await;
        assert!(other.is_ok(), "{other:?}");
        crate::support::say("the other is over");
        let slow = slow.await.unwrap();
        assert!(slow.is_ok(), "{slow:?}");
    });
}

#[test]
fn each_of_several_trees_gets_the_signal() {
    let mut program = Program::start("wishes::helper_runs_two_trees");
    program.until("child: ready");
    program.send("-TERM");
    program.until("child: tidied up");
    program.ended_well();
}
