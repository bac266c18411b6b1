//! The rules about what is around the children.

use super::*;

/// The findings of a program with these samples, one each 15 seconds.
fn with_memory(samples: impl Iterator<Item = u64>) -> Vec<Found> {
    let api = program(1, "api");
    let samples = samples.zip(0..).map(|(mib, nth)| (at(1_000 + 15 * nth), mib * MIB)).collect();
    let memory = vec![Memory { id: api.id, attempt: Attempt(1), samples }];
    found(vec![api], &[], &Observations { memory, ..quiet() })
}

#[test]
fn memory_that_grows_steadily_is_found_with_its_numbers() {
    let all = with_memory((0..28).map(|nth| 100 + 5 * nth));
    let evidence = ["from 135 MiB to 235 MiB within 5m", "in 20 of 20 steps", "a cache that fills"];
    assert_one(&all, FindingKind::GrowingMemory, 1_105, &evidence, "liveoak restart /shop/api");
}

#[test]
fn memory_that_comes_to_rest_or_falls_or_grows_little_or_was_seen_briefly_is_not_found() {
    assert_nothing(&with_memory((0..28u64).map(|nth| 100 + 10 * nth.min(14))));
    assert_nothing(&with_memory((0..28).map(|nth| 100 + 20 * (nth % 7))));
    assert_nothing(&with_memory((0..28).map(|nth| 100 + nth)));
    assert_nothing(&with_memory((0..28).map(|nth| 4_000 + 5 * nth)));
    assert_nothing(&with_memory((0..20).map(|nth| 100 + 10 * nth)));
    assert_nothing(&with_memory(std::iter::empty()));
    assert_nothing(&with_memory(std::iter::once(5)));
}

#[test]
fn memory_of_an_earlier_attempt_says_nothing() {
    let mut api = program(1, "api");
    let samples = (0..28).map(|nth| (at(1_000 + 15 * nth), (100 + 5 * nth) * MIB)).collect();
    let memory = vec![Memory { id: api.id, attempt: Attempt(1), samples }];
    api.attempt = Attempt(2);
    assert_nothing(&found(vec![api], &[], &Observations { memory, ..quiet() }));
}

fn line(text: &str) -> Line {
    Line { path: Path::new("/shop/api"), attempt: Attempt(1), at: at(9_990), text: text.to_owned() }
}

fn listener(port: u16, owner: Option<Owner>) -> Listener {
    Listener { address: ([127, 0, 0, 1], port).into(), owner }
}

fn owner(child: Option<&str>) -> Option<Owner> {
    let child = child.map(Path::new);
    Some(Owner { pid: 4711, command: "python3 -m http.server 8080".to_owned(), child })
}

#[test]
fn a_taken_port_is_found_with_its_holder() {
    let (api, _) = failing(&[], Duration::ZERO);
    let lines = vec![line("serving at 8080"), line("OSError: [Errno 98] Address already in use")];
    let with = |listeners: Vec<Listener>| {
        let seen = Observations { lines: lines.clone(), listeners, ..quiet() };
        found(vec![api.clone()], &[], &seen)
    };
    let all = with(vec![listener(443, owner(None)), listener(8080, owner(None))]);
    let evidence =
        ["Address already in use", "process 4711 (python3 -m http.server 8080) listens at 127.0.0.1:8080"];
    assert_one(&all, FindingKind::PortTaken, 9_990, &evidence, "ps -o pid,user,lstart,args -p 4711");
    let all = with(vec![listener(8080, owner(Some("/shop/web")))]);
    assert_one(
        &all,
        FindingKind::PortTaken,
        9_990,
        &["/shop/web (process 4711)"],
        "liveoak explain /shop/web",
    );
    let all = with(vec![listener(8080, None)]);
    assert_one(&all, FindingKind::PortTaken, 9_990, &["another user"], "sudo ss -ltnp 'sport = :8080'");
    assert_one(&with(vec![]), FindingKind::PortTaken, 9_990, &["no process listens"], "ss -ltnp");
}

#[test]
fn a_program_that_runs_although_it_said_so_once_or_has_its_port_now_is_not_found() {
    let lines = vec![line("listen 127.0.0.1:8080: address already in use, trying again")];
    let seen = |listeners| Observations { lines: lines.clone(), listeners, ..quiet() };
    let api = program(1, "api");
    assert_nothing(&found(vec![api.clone()], &[], &seen(vec![])));
    assert_nothing(&found(vec![api.clone()], &[], &seen(vec![listener(8080, owner(Some("/shop/api")))])));
    // It runs, but does not have its port.
    assert_eq!(found(vec![api.clone()], &[], &seen(vec![listener(8080, owner(None))])).len(), 1);
    let later = ChildView { attempt: Attempt(3), ..api };
    assert_nothing(&found(vec![later], &[], &seen(vec![listener(8080, owner(None))])));
}

#[test]
fn a_task_whose_error_says_that_the_address_is_taken_is_found() {
    let (mut api, _) = failing(&[], Duration::ZERO);
    api.last_exit =
        Some(Exit::failed("cannot listen at 127.0.0.1:8080: Address already in use (os error 98)"));
    let seen = Observations { listeners: vec![listener(8080, owner(None))], ..quiet() };
    let all = found(vec![api], &[], &seen);
    assert_one(
        &all,
        FindingKind::PortTaken,
        NOW - 1,
        &["process 4711"],
        "ps -o pid,user,lstart,args -p 4711",
    );
}

fn with_disk(free: u64, size: u64, free_files: u64, files: u64) -> Vec<Found> {
    let disk = Disk {
        path: Path::new("/shop/db"),
        folder: "/srv/my data".into(),
        free,
        size,
        free_files,
        files,
        full_since: Some(at(9_000)),
    };
    found(vec![], &[], &Observations { disks: vec![disk], ..quiet() })
}

#[test]
fn a_file_system_without_space_or_without_files_is_full() {
    let all = with_disk(63 * MIB, 1 << 40, 1 << 20, 1 << 24);
    let command = "du -x -h '/srv/my data' | sort -h | tail -n 20";
    assert_one(&all, FindingKind::DiskFull, 9_000, &["/srv/my data: 63 MiB of 1.0 TiB are free"], command);
    assert_nothing(&with_disk(64 * MIB, 1 << 40, 1 << 20, 1 << 24));
    let all = with_disk(1 << 39, 1 << 40, 12, 1 << 24);
    assert!(all[0].evidence.contains("only 12 files more"), "{all:?}");
    // A small one, one that does not count files, and one without any size.
    assert_nothing(&with_disk(10 * MIB, 100 * MIB, 0, 0));
    assert_eq!(with_disk(4 * MIB, 100 * MIB, 0, 0).len(), 1);
    assert_nothing(&with_disk(0, 0, 0, 0));
}

#[test]
fn lost_events_and_lines_are_counted_apart_while_they_are_recent() {
    let loss = |what, count, time| Loss { what, count, at: at(time) };
    let losses = vec![
        loss("events", 7, 100),
        loss("events", 5, 9_000),
        loss("lines", 3, 9_400),
        loss("events", 4, 9_500),
    ];
    let all = found(vec![], &[], &Observations { losses, ..quiet() });
    assert_eq!(all.len(), 2, "{all:#?}");
    assert_one(
        &all[..1],
        FindingKind::Lost,
        9_000,
        &["9 events are missing, in 2 gaps"],
        "liveoak events --since 1001s",
    );
    assert_one(
        &all[1..],
        FindingKind::Lost,
        9_400,
        &["3 lines are missing, in 1 gap"],
        "liveoak logs --since 601s",
    );
}

#[test]
fn jumps_of_the_clock_are_one_finding_at_the_root_for_an_hour() {
    let snapshot = tree(vec![]);
    let jump = |time, late, deadlines| {
        let kind = EventKind::TimeJump { late: Duration::from_secs(late), deadlines };
        event(time, &snapshot.root, kind)
    };
    let all = found(vec![], &[jump(5_000, 99, 9), jump(7_000, 12, 3), jump(8_000, 4, 1)], &quiet());
    let evidence = ["did not run 2 times, for 12s at the longest", "4 deadlines were prolonged"];
    assert_one(&all, FindingKind::ClockJump, 7_000, &evidence, "liveoak events --kind time-jump --since 1h");
    assert_eq!(all[0].path, Path::new("/shop"));
}
