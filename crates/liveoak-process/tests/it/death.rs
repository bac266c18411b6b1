//! No process outlives the program that started it, however that dies. Guardian, signals, and lack of descriptors.

use crate::program::Program;
use crate::support::Stranger;

#[test]
fn kill_9_of_the_supervisor_leaves_no_process_behind() {
    let mut program = Program::start("family", "");
    let all = [program.stranger(), program.stranger(), program.stranger()];
    assert!(all.iter().all(|one| !one.has_ended()));
    program.kill_9();
    all.iter().for_each(Stranger::dies);
}

#[test]
fn kill_9_of_the_supervisor_kills_many_process_groups() {
    let mut program = Program::start("crowd", "");
    let all: Vec<Stranger> = (0..301).map(|_| program.stranger()).collect();
    program.kill_9();
    all.iter().for_each(Stranger::dies);
}

#[test]
fn sigterm_to_the_supervisor_without_a_handler_leaves_no_process_behind() {
    let mut program = Program::start("family", "");
    let all = [program.stranger(), program.stranger(), program.stranger()];
    let group = rustix::process::Pid::from_child(&program.child);
    // The child process is not reaped yet, so its process group cannot be another one.
    rustix::process::kill_process_group(group, rustix::process::Signal::TERM).unwrap();
    program.child.wait().unwrap();
    all.iter().for_each(Stranger::dies);
}

#[test]
fn a_guardian_that_dies_is_replaced_and_the_new_one_knows_the_process_groups() {
    let mut program = Program::start("guardian killed", "");
    let (member, first) = (program.stranger(), program.stranger());
    first.kill();
    let second = program.stranger();
    assert!(!member.has_ended(), "the death of the guardian is not the death of its groups");
    program.kill_9();
    member.dies();
    second.dies();
}

#[test]
fn the_guardian_holds_no_descriptor_of_the_program_open() {
    let mut program = Program::start("family", "");
    let _family = [program.stranger(), program.stranger()];
    let guardian = program.stranger();
    let mut open: Vec<(String, String)> = std::fs::read_dir(format!("/proc/{}/fd", guardian.pid))
        .unwrap()
        .map(Result::unwrap)
        .filter_map(|entry| {
            let target = std::fs::read_link(entry.path()).ok()?;
            Some((entry.file_name().to_str()?.to_owned(), target.to_str()?.to_owned()))
        })
        .collect();
    open.sort();
    let null = |fd: &str| (fd.to_owned(), "/dev/null".to_owned());
    assert_eq!(open[1..], [null("1"), null("2")]);
    assert!(open[0].1.starts_with("pipe:"), "{open:?}");
    assert_eq!(std::fs::read_link(format!("/proc/{}/cwd", guardian.pid)).unwrap(), std::path::Path::new("/"));
}

#[test]
fn children_start_with_default_signals_whatever_the_program_ignores() {
    let mut program = Program::start("signals", "trap '' USR1 HUP PIPE QUIT;");
    for _ in 0..2 {
        let line = program.word();
        let mask = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
        // Signals 32 and 33 are reserved by the C library, and cannot be changed.
        assert_eq!(mask & !(0b11 << 31), 0, "{line}");
    }
}

#[test]
fn without_a_free_descriptor_a_group_does_not_count_as_ended_and_its_end_is_seen_later() {
    let mut program = Program::start("one descriptor", "ulimit -n 64;");
    for expected in ["0", "0", "1", "1", "2", "2", "none", "some"] {
        assert_eq!(program.word(), format!("{expected} true"));
    }
}

#[test]
fn without_a_free_descriptor_a_dead_group_is_finished_unforced_and_a_living_one_is_killed() {
    let mut program = Program::start("no descriptor", "");
    let member = program.stranger();
    assert_eq!(program.word(), "exited with code 0");
    member.dies();
    assert_eq!(program.word(), "exited with code 3, forced: false");
}

#[test]
fn without_a_free_descriptor_a_dead_program_is_neither_running_nor_abandoned() {
    let mut program = Program::start("unseen children", "");
    assert_eq!(program.word(), "[Killed]");
    assert_eq!([program.word(), program.word()], ["ended by SIGKILL"; 2]);
}

#[test]
fn lack_of_descriptors_is_a_retryable_error() {
    let mut program = Program::start("descriptors", "ulimit -n 64;");
    assert_eq!(program.word(), "true");
    assert_eq!(program.word(), "start a process: a system limit is reached");
    assert_eq!(program.word(), "exited with code 0");
}
