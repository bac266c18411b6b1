//! Nothing outlives the program, however it dies. What it may do to others, and they to it.

use crate::program::Program;
use crate::support::Stranger;

#[test]
fn kill_9_of_the_supervisor_leaves_no_process_behind() {
    let mut program = Program::start("family", "");
    let all = [program.stranger(), program.stranger(), program.stranger()];
    assert!(all.iter().all(|one| !one.is_gone()));
    program.kill_9();
    all.iter().for_each(Stranger::dies);
}

#[test]
fn kill_9_of_the_supervisor_takes_a_crowd_with_it() {
    let mut program = Program::start("crowd", "");
    let all: Vec<Stranger> = (0..301).map(|_| program.stranger()).collect();
    program.kill_9();
    all.iter().for_each(Stranger::dies);
}

#[test]
fn a_program_that_is_told_to_stop_and_does_not_care_leaves_no_process_behind() {
    let mut program = Program::start("family", "");
    let all = [program.stranger(), program.stranger(), program.stranger()];
    let group = rustix::process::Pid::from_child(&program.child);
    // The group's number is our child's, which is not reaped: it is nobody else's.
    rustix::process::kill_process_group(group, rustix::process::Signal::TERM).unwrap();
    program.child.wait().unwrap();
    all.iter().for_each(Stranger::dies);
}

#[test]
fn a_guardian_that_dies_is_replaced_and_the_new_one_knows_the_groups() {
    let mut program = Program::start("guardian killed", "");
    let (member, first) = (program.stranger(), program.stranger());
    first.kill();
    let second = program.stranger();
    assert!(!member.is_gone(), "the death of the guardian is not the death of its groups");
    program.kill_9();
    member.dies();
    second.dies();
}

#[test]
fn the_guardian_holds_nothing_of_the_program_open() {
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
        // Signals 32 and 33 are the C library's own, which lets nobody change them.
        assert_eq!(mask & !(0b11 << 31), 0, "{line}");
    }
}

#[test]
fn without_a_descriptor_to_look_with_a_group_is_not_taken_for_gone_and_its_end_is_seen_later() {
    let mut program = Program::start("one descriptor", "ulimit -n 64;");
    for expected in ["0", "0", "1", "1", "2", "2", "none", "some"] {
        assert_eq!(program.word(), format!("{expected} true"));
    }
}

#[test]
fn without_a_descriptor_to_look_with_a_dead_group_is_finished_unforced_and_a_living_one_is_killed() {
    let mut program = Program::start("no descriptor", "");
    let member = program.stranger();
    assert_eq!(program.word(), "exited with code 0");
    member.dies();
    assert_eq!(program.word(), "exited with code 3, forced: false");
}

#[test]
fn without_a_descriptor_to_look_with_a_dead_program_is_not_running_and_not_abandoned() {
    let mut program = Program::start("unseen children", "");
    assert_eq!(program.word(), "[Killed]");
    assert_eq!([program.word(), program.word()], ["ended by SIGKILL"; 2]);
}

#[test]
fn want_of_descriptors_is_a_retryable_error() {
    let mut program = Program::start("descriptors", "ulimit -n 64;");
    assert_eq!(program.word(), "true");
    assert_eq!(program.word(), "start a process: a system limit is reached");
    assert_eq!(program.word(), "exited with code 0");
}
