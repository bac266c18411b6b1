//! `liveoak::main`: the runtime's end, the messages and the exit codes.

use crate::support::{Program, output_of, polite, say};
use liveoak_runtime::*;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::AsyncReadExt;

fn tree(child: Child) -> Supervisor {
    Supervisor::new("t").stop_within(Duration::from_secs(1)).child(child)
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_leaves_a_blocking_call() {
    let body = |ctx: Ctx| async move {
        let call = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_secs(300)));
        say("ready");
        let _ = ctx.unless_stopping(call).await;
    };
    assert_eq!(main(tree(Child::task("work", body))), ExitCode::SUCCESS);
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_reads_its_input() {
    let body = |ctx: Ctx| async move {
        let mut buffer = [0; 8];
        let mut input = tokio::io::stdin();
        say("ready");
        let _ = ctx.unless_stopping(input.read(&mut buffer)).await;
    };
    assert_eq!(main(tree(Child::task("work", body))), ExitCode::SUCCESS);
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_never_yields() {
    let body = |_: Ctx| async {
        say("ready");
        std::thread::sleep(Duration::from_secs(300));
    };
    let tree = tree(Child::task("work", body));
    assert_eq!(Main::new().worker_threads(2).run(tree), ExitCode::from(3));
}

#[test]
fn a_program_ends_in_bounded_time_even_if_a_blocking_call_or_an_abandoned_task_is_left() {
    for how in ["leaves_a_blocking_call", "reads_its_input", "never_yields"] {
        let mut program = Program::start(&format!("whole_program::helper_{how}"));
        program.send("-TERM");
        program.ended_well();
    }
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_never_yields_on_any_thread() {
    let body = |_: Ctx| async {
        say("ready");
        std::thread::sleep(Duration::from_secs(300));
    };
    let tree = tree(Child::task("a", body));
    assert_eq!(Main::new().worker_threads(0).run(tree), ExitCode::from(3));
}

#[test]
fn a_signal_ends_a_program_whose_worker_threads_are_all_blocked() {
    let mut program = Program::start("whole_program::helper_never_yields_on_any_thread");
    program.send("-INT");
    program.until("abandoned");
    program.ended_well();
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_sets_up_first() {
    let outcome = Main::new().run_with(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        tokio::task::spawn(async move { drop(listener) }).await.map_err(std::io::Error::other)?;
        Ok::<_, std::io::Error>(tree(polite()))
    });
    assert_eq!(outcome, ExitCode::SUCCESS);
}

#[test]
fn a_tree_can_be_made_by_async_code_on_the_runtime() {
    let mut program = Program::start("whole_program::helper_sets_up_first");
    program.send("-INT");
    program.ended_well();
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_fails_in_all_ways() {
    say("ready");
    let failing = Child::task("work", |_| async { Err::<(), _>("it broke") });
    assert_eq!(main(tree(failing.limit(Limit::new(0, Duration::from_secs(1))))), ExitCode::from(1));
    let unready = Child::task("work", |_| async { Err::<(), _>("it never began") }).reports_ready();
    assert_eq!(main(tree(unready)), ExitCode::from(1));
    assert_eq!(main(Supervisor::new("/")), ExitCode::from(2));
    let refused = Main::new().run_with(async { Err("no configuration") });
    assert_eq!(refused, ExitCode::from(1));
    let done = Child::task("work", |_| async {}).restart(Restart::Transient);
    assert_eq!(main(tree(done)), ExitCode::SUCCESS);
}

#[test]
fn a_failure_is_printed_to_stderr_and_its_kind_is_the_exit_code() {
    let mut program = Program::start("whole_program::helper_fails_in_all_ways");
    program.until("error: ");
    program.until("it never began");
    program.until("error: ");
    program.until("error: no configuration");
    program.ended_well();
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_is_inside_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(runtime.block_on(async { main(tree(polite())) }), ExitCode::from(1));
    say("over");
}

#[test]
fn main_inside_of_a_runtime_starts_nothing_and_returns_one() {
    let output = output_of("whole_program::helper_is_inside_a_runtime");
    assert!(output.contains("error: ") && output.contains("supervisor.run().await"), "{output}");
    assert!(output.contains("child: over") && !output.contains("child: ready"), "{output}");
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_has_no_timers() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime.block_on(tree(polite()).run()).expect_err("there are no timers");
    say(&format!("error: {error}"));
}

#[test]
fn a_runtime_without_timers_is_an_error_and_no_panic_is_shown() {
    let output = output_of("whole_program::helper_has_no_timers");
    assert!(output.contains("enable_time") && !output.contains("panicked"), "{output}");
}

#[test]
#[ignore = "run as a program by the tests of this file: `cargo test -p liveoak-runtime --test signals`"]
fn helper_has_a_child_that_ends_for_good() {
    let gone = Child::task("gone", |_| async { Err::<(), _>("it broke") }).restart(Restart::Temporary);
    assert_eq!(main(tree(gone)), ExitCode::from(1));
}

#[test]
fn the_message_of_a_failure_names_the_child_right_after_the_word_error() {
    let output = output_of("whole_program::helper_has_a_child_that_ends_for_good");
    assert!(output.contains("error: /t/gone"), "{output}");
}
