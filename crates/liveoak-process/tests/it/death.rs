//! No process outlives the program that supervises it, however that program dies. Also tests the guardian, signals, and a
//! lack of file descriptors.

use crate::program::TestProgram;
use crate::support::WatchedProcess;

#[test]
fn kill_9_of_the_supervisor_leaves_no_process_behind() {
    let mut program = TestProgram::start("family", "");
    let all = [program.process(), program.process(), program.process()];
    assert!(all.iter().all(|one| !one.has_ended()));
    program.kill_9();
    all.iter().for_each(WatchedProcess::ends);
}

#[test]
fn kill_9_of_the_supervisor_ends_three_hundred_processes() {
    let mut program = TestProgram::start("crowd", "");
    let all: Vec<WatchedProcess> = (0..301).map(|_| program.process()).collect();
    program.kill_9();
    all.iter().for_each(WatchedProcess::ends);
}

#[test]
fn a_program_that_is_ended_by_sigterm_leaves_no_process_behind() {
    let mut program = TestProgram::start("family", "");
    let all = [program.process(), program.process(), program.process()];
    let group = rustix::process::Pid::from_child(&program.child);
    // The id of the process group is the id of our child, which is not reaped yet, so no other group can have it.
    rustix::process::kill_process_group(group, rustix::process::Signal::TERM).unwrap();
    program.child.wait().unwrap();
    all.iter().for_each(WatchedProcess::ends);
}

#[test]
fn a_guardian_that_dies_is_replaced_and_the_new_guardian_knows_the_process_groups() {
    let mut program = TestProgram::start("guardian killed", "");
    let (survivor, first) = (program.process(), program.process());
    first.kill();
    let second = program.process();
    assert!(!survivor.has_ended(), "the process groups outlive the guardian");
    program.kill_9();
    survivor.ends();
    second.ends();
}

#[test]
fn the_guardian_keeps_no_descriptor_of_the_program_open() {
    let mut program = TestProgram::start("family", "");
    let _family = [program.process(), program.process()];
    let guardian = program.process();
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
fn children_start_with_default_signal_actions_even_if_the_supervisor_ignores_signals() {
    let mut program = TestProgram::start("signals", "trap '' USR1 HUP PIPE QUIT;");
    for _ in 0..2 {
        let line = program.word();
        let mask = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
        // Signals 32 and 33 belong to the C library, which does not let programs change them.
        assert_eq!(mask & !(0b11 << 31), 0, "{line}");
    }
}

#[test]
fn without_free_descriptors_a_process_group_counts_as_alive_and_its_end_is_seen_later() {
    let mut program = TestProgram::start("one descriptor", "ulimit -n 64;");
    for expected in ["0", "0", "1", "1", "2", "2", "none", "some"] {
        assert_eq!(program.word(), format!("{expected} true"));
    }
}

#[test]
fn without_free_descriptors_a_dead_process_group_finishes_unforced_and_a_living_one_is_killed() {
    let mut program = TestProgram::start("no descriptor", "");
    let survivor = program.process();
    assert_eq!(program.word(), "exited with code 0");
    survivor.ends();
    assert_eq!(program.word(), "exited with code 3, forced: false");
}

#[test]
fn without_free_descriptors_a_dead_program_is_reported_as_ended() {
    let mut program = TestProgram::start("unseen children", "");
    assert_eq!(program.word(), "[Killed]");
    assert_eq!([program.word(), program.word()], ["ended by SIGKILL"; 2]);
}

#[test]
fn a_lack_of_descriptors_is_a_retryable_error() {
    let mut program = TestProgram::start("descriptors", "ulimit -n 64;");
    assert_eq!(program.word(), "true");
    assert_eq!(program.word(), "start a process: this process has no file descriptor left (see `ulimit -n`)");
    assert_eq!(program.word(), "exited with code 0");
}
