//! The rules about what children do and did.

use super::*;

fn exceeded(of: &ChildView) -> LimitExceeded {
    LimitExceeded {
        path: of.path.clone(),
        child: name("api"),
        exit: Exit::Code(3),
        count: 11,
        allowed: 10,
        period: Duration::from_secs(60),
        own_limit: true,
        retry_after: None,
        in_a_row: true,
    }
}

#[test]
fn a_child_that_was_given_up_on_is_found_but_not_one_that_a_command_quarantined() {
    let mut api = program(1, "api");
    api.state = ChildState::Idle(IdleReason::Quarantined);
    api.since = at(9_000);
    assert_nothing(&found(vec![api.clone()], &[], &quiet()));
    let gave_up = Some(Arc::new(exceeded(&api)));
    api.history = Some(Box::new(ChildHistory { gave_up, ..ChildHistory::default() }));
    let all = found(vec![api.clone()], &[], &quiet());
    let evidence = ["11 failures in a row", "only a command starts it again"];
    assert_one(&all, FindingKind::GivenUp, 9_000, &evidence, "liveoak release /shop/api");
    api.retry_in = Some(Duration::from_secs(40));
    assert!(found(vec![api], &[], &quiet())[0].evidence.ends_with("it is tried again in 40s"));
}

#[test]
fn a_child_that_has_failed_for_good_is_found_with_its_exit() {
    let mut job = program(1, "job");
    (job.state, job.since) = (ChildState::Idle(IdleReason::Finished), at(9_500));
    job.last_exit = Some(Exit::Code(3));
    let all = found(vec![job.clone()], &[], &quiet());
    assert_one(&all, FindingKind::GivenUp, 9_500, &["attempt 1 has failed", "3"], "liveoak start /shop/job");
    job.spec = Arc::new(ChildSpec { once: true, ..ChildSpec::default() });
    assert_eq!(found(vec![job], &[], &quiet())[0].command, "liveoak explain /shop/job");
}

#[test]
fn a_poll_beyond_its_limit_is_found_with_its_place() {
    let mut task = program(1, "task");
    let limit = PollLimit::new(Duration::from_millis(700));
    task.stuck = Some(Arc::new(StuckPoll {
        attempt: Attempt(1),
        since: at(NOW - 12),
        limit,
        place: "thread tokio-worker (4711), which sleeps".into(),
        stack: None,
    }));
    let all = found(vec![task], &[], &quiet());
    let evidence = ["lasted for 12s", "may take 700ms", "thread tokio-worker"];
    assert_one(&all, FindingKind::Stuck, NOW - 12, &evidence, "liveoak restart /shop/task");
}

#[test]
fn five_failures_in_five_minutes_are_a_storm_and_four_are_not() {
    let ran = Duration::from_millis(120);
    let (api, events) = failing(&[9_800, 9_850, 9_900, 9_950, 9_999], ran);
    let all = found(vec![api.clone()], &events, &quiet());
    let evidence = ["5 attempts ended by themselves within 3m 20s", "after 120ms", "exit code 3"];
    assert_one(&all, FindingKind::RestartStorm, 9_800, &evidence, "liveoak logs /shop/api -n 50");
    assert_nothing(&found(vec![api], &events[1..], &quiet()));
    let (api, events) = failing(&[9_000, 9_850, 9_900, 9_950, 9_999], ran);
    assert_nothing(&found(vec![api], &events, &quiet()));
}

#[test]
fn failures_in_a_row_are_a_storm_however_slowly_they_come() {
    let (mut api, events) = failing(&[9_999], Duration::from_secs(2));
    let limit = LimitUse { used: 1, limit: 10, period: Duration::from_secs(60), in_a_row: 6 };
    api.history = Some(Box::new(ChildHistory { limit: Some(limit), ..ChildHistory::default() }));
    let all = found(vec![api], &events, &quiet());
    let evidence = ["6 failures in a row", "after 2s", "1 of 10 restarts in 1m"];
    assert_one(&all, FindingKind::RestartStorm, 9_999, &evidence, "liveoak logs /shop/api -n 50");
}

#[test]
fn a_storm_is_over_when_the_child_has_run_twice_as_long_as_before() {
    let (mut api, events) = failing(&[9_800, 9_830, 9_860, 9_890, 9_920], Duration::from_secs(20));
    api.state = ChildState::Running;
    api.since = at(NOW - 39);
    assert_eq!(found(vec![api.clone()], &events, &quiet()).len(), 1);
    api.since = at(NOW - 40);
    assert_nothing(&found(vec![api], &events, &quiet()));
}

#[test]
fn a_program_that_ends_at_once_with_success_is_a_storm_but_one_that_asks_for_restarts_is_not() {
    let (api, _) = failing(&[], Duration::ZERO);
    let ends = |exit: Exit, ran: u64| -> Vec<Event> {
        (0..6).map(|nth| event(9_900 + nth, &api, exited(exit.clone(), Duration::from_millis(ran)))).collect()
    };
    assert_eq!(found(vec![api.clone()], &ends(Exit::Completed, 20), &quiet()).len(), 1);
    assert_nothing(&found(vec![api.clone()], &ends(Exit::Completed, 1_000), &quiet()));
    assert_nothing(&found(vec![api.clone()], &ends(Exit::restart_requested("rotate"), 20), &quiet()));
}

/// A child `api` that has waited for `db` for a minute.
fn waiting(condition: Condition, db: ChildState) -> Vec<ChildView> {
    let mut api = program(1, "api");
    let what = WaitingFor::Edge(name("db"), condition);
    (api.state, api.since) = (ChildState::Waiting { what, remaining: None }, at(NOW - 60));
    let mut other = program(2, "db");
    (other.state, other.since) = (db, at(NOW - 90));
    vec![api, other]
}

#[test]
fn a_wait_for_what_is_down_is_found_with_the_command_that_ends_it() {
    let idle = [
        (IdleReason::Quarantined, "liveoak release /shop/db"),
        (IdleReason::StoppedByCommand, "liveoak start /shop/db"),
        (IdleReason::Finished, "liveoak start /shop/db"),
        (IdleReason::NotWanted, "liveoak start /shop/db"),
        (IdleReason::Paused, "liveoak resume /shop/db"),
    ];
    for (reason, command) in idle {
        let all = found(waiting(Condition::Ready, ChildState::Idle(reason)), &[], &quiet());
        let evidence = [
            "for 1m it has waited for /shop/db to be ready",
            &format!("has been {} for 1m 30s", reason.as_str()),
        ];
        assert_one(&all, FindingKind::WaitsTooLong, NOW - 60, &evidence, command);
    }
    let backing_off = ChildState::BackingOff { remaining: Duration::from_secs(5) };
    let all = found(waiting(Condition::Ready, backing_off), &[], &quiet());
    assert_eq!(all[0].command, "liveoak explain /shop/db");
    assert_eq!(found(waiting(Condition::Healthy, ChildState::Running), &[], &quiet()).len(), 1);
}

#[test]
fn a_wait_for_what_is_under_way_or_within_the_deadline_is_not_found() {
    let starting = ChildState::Starting { remaining: Some(Duration::from_secs(5)) };
    assert_nothing(&found(waiting(Condition::Ready, starting), &[], &quiet()));
    assert_nothing(&found(waiting(Condition::Completed, ChildState::Running), &[], &quiet()));
    let mut short = waiting(Condition::Ready, ChildState::Idle(IdleReason::Quarantined));
    short[0].since = at(NOW - 30);
    assert_nothing(&found(short, &[], &quiet()));
    let mut place = waiting(Condition::Ready, ChildState::Running);
    place[0].state = ChildState::Waiting { what: WaitingFor::Place, remaining: None };
    assert_nothing(&found(place, &[], &quiet()));
}

#[test]
fn a_chain_of_waits_is_followed_to_its_end() {
    let what = WaitingFor::Edge(name("disk"), Condition::Ready);
    let mut all = waiting(Condition::Ready, ChildState::Waiting { what, remaining: None });
    all[1].since = at(NOW - 20);
    let mut disk = program(3, "disk");
    disk.state = ChildState::Idle(IdleReason::StoppedByCommand);
    all.push(disk);
    let all = found(all, &[], &quiet());
    assert_one(
        &all,
        FindingKind::WaitsTooLong,
        NOW - 60,
        &["waited for /shop/db", "/shop/disk has been stopped"],
        "liveoak start /shop/disk",
    );
}

#[test]
fn two_children_that_wait_for_each_other_do_not_hold_the_rule() {
    let what = WaitingFor::Edge(name("api"), Condition::Ready);
    let mut all = waiting(Condition::Ready, ChildState::Waiting { what, remaining: None });
    all[1].since = at(NOW - 20);
    assert_eq!(found(all, &[], &quiet()).len(), 1);
}

#[test]
fn a_start_without_a_deadline_is_found_after_five_minutes() {
    let mut api = program(1, "api");
    (api.state, api.since) = (ChildState::Starting { remaining: None }, at(NOW - 301));
    let all = found(vec![api.clone()], &[], &quiet());
    assert_one(
        &all,
        FindingKind::WaitsTooLong,
        NOW - 301,
        &["not been ready for 5m 1s"],
        "liveoak logs /shop/api -n 50",
    );
    api.since = at(NOW - 300);
    assert_nothing(&found(vec![api], &[], &quiet()));
}

fn checked(kind: CheckKind) -> ChildView {
    let check = CheckView { name: name("http"), kind, failing: false, tries: 9, failures: 0, last: None };
    ChildView { checks: vec![check], ..program(1, "api") }
}

#[test]
fn a_check_that_fails_three_times_in_ten_minutes_flaps_and_twice_does_not() {
    let api = checked(CheckKind::Readiness);
    let unready =
        |time| event(time, &api, EventKind::Unready { check: name("http"), reason: "status 503".into() });
    let events = [unready(9_500), unready(9_700), unready(9_900)];
    let all = found(vec![api.clone()], &events, &quiet());
    let evidence = ["the readiness check http failed 3 times within 8m 20s: status 503"];
    assert_one(&all, FindingKind::FlappingCheck, 9_500, &evidence, "liveoak checks /shop/api");
    assert_nothing(&found(vec![api.clone()], &events[1..], &quiet()));
    let old = [unready(9_399), unready(9_700), unready(9_900)];
    assert_nothing(&found(vec![api.clone()], &old, &quiet()));
}

#[test]
fn a_liveness_check_that_restarts_its_child_three_times_flaps_too() {
    let api = checked(CheckKind::Liveness);
    let exit = Exit::Unhealthy(Arc::new(Unhealthy { check: name("http"), reason: "no answer".into() }));
    let times = [9_500, 9_700, 9_900];
    let events = times.map(|time| event(time, &api, exited(exit.clone(), Duration::from_secs(60))));
    let all = found(vec![api.clone()], &events, &quiet());
    assert_one(&all, FindingKind::FlappingCheck, 9_500, &["liveness check http"], "liveoak checks /shop/api");
}

#[test]
fn a_stop_that_needed_a_kill_after_its_deadline_is_late_and_a_kill_at_once_is_not() {
    let api = program(1, "api");
    let stopping = event(9_000, &api, EventKind::Stopping { attempt: Attempt(1) });
    let killed = |time| event(time, &api, EventKind::Killed { attempt: Attempt(1) });
    let all = found(vec![api.clone()], &[stopping.clone(), killed(9_005)], &quiet());
    let evidence = ["in the last 1h: killed 1 time", "not ended within 5s"];
    assert_one(&all, FindingKind::LateStop, 9_005, &evidence, "liveoak logs /shop/api -n 50");
    assert_nothing(&found(vec![api.clone()], &[stopping, killed(9_000)], &quiet()));
    let old = [event(5_000, &api, EventKind::Stopping { attempt: Attempt(1) }), killed(5_005)];
    assert_nothing(&found(vec![api.clone()], &old, &quiet()));
    let abandoned = event(9_007, &api, EventKind::Abandoned { attempt: Attempt(1) });
    let all = found(vec![api.clone()], &[abandoned], &quiet());
    assert_one(&all, FindingKind::LateStop, 9_007, &["1 attempt abandoned"], "liveoak logs /shop/api -n 50");
}

#[test]
fn processes_that_survived_a_kill_are_a_late_stop_and_named() {
    let mut api = program(1, "api");
    (api.state, api.since) = (ChildState::Idle(IdleReason::Quarantined), at(9_000));
    let left = Survivors { pids: vec![12, 13], refused: None };
    api.last_exit = Some(Exit::StillRuns(Arc::new(left)));
    let all = found(vec![api], &[], &quiet());
    let command = "ps -o pid,user,stat,wchan:20,args -p 12,13";
    assert_one(&all, FindingKind::LateStop, 9_000, &["processes 12, 13 were killed"], command);
}

#[test]
fn a_stop_without_a_deadline_is_late_after_half_a_minute() {
    let mut api = program(1, "api");
    (api.state, api.since) =
        (ChildState::Stopping { stage: StopStage::Asked, remaining: None }, at(NOW - 31));
    let all = found(vec![api.clone()], &[], &quiet());
    assert_one(&all, FindingKind::LateStop, NOW - 31, &["lasted for 31s"], "liveoak logs /shop/api -n 50");
    api.since = at(NOW - 30);
    assert_nothing(&found(vec![api], &[], &quiet()));
}
