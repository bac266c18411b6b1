//! Limits: what counts against a limit, what resets the counts, and which limits are refused. The name of each test is
//! the rule.

use super::shape::{SECOND, group, leaf, millis, secs, sup};
use super::test_driver::{Obeys, TestDriver};
use crate::{
    Backoff, ChildDeclaration, ChildForm, Command, Condition, EventKind, Exit, GiveUp, Limit, Strategy,
    SupervisorSpec, Time,
};
use proptest::prelude::{Just, ProptestConfig, any, prop_oneof, proptest};
use proptest::{collection::vec, option, prop_assert_eq};
use std::time::Duration;

/// Returns a leaf or a supervisor as users declare it: with the default backoff.
pub(super) fn with_defaults(declared: ChildDeclaration) -> ChildDeclaration {
    declared.with(|child| child.backoff = Some(Backoff::default()))
}

fn unobserved(tree: &ChildDeclaration, random: u64) -> TestDriver {
    let mut driver = TestDriver::new(tree);
    driver.careful = false;
    driver.random = random;
    driver.start();
    driver
}

/// Lets time pass until a child runs or nothing will start it any more.
pub(super) fn until_it_runs(driver: &mut TestDriver, path: &str) -> bool {
    while driver.down.is_none() && !driver.is_alive(path) {
        let Some(next) = driver.machine.poll_deadline() else { return false };
        driver.advance(next.since(driver.now));
    }
    driver.down.is_none() && driver.is_alive(path)
}

/// Lets each attempt of a child run for `ran` and then fail, until the tree ends. Returns how often it failed.
fn fail_until_the_end(driver: &mut TestDriver, path: &str, ran: Duration) -> u32 {
    let mut failures = 0;
    while until_it_runs(driver, path) {
        driver.advance(ran);
        driver.fail(path);
        failures += 1;
        assert!(failures < 20_000, "it is never given up on");
    }
    failures
}

/// Returns a number like that of a driver's random source.
fn random(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z ^ (z >> 27)
}

#[test]
fn with_all_defaults_a_child_that_is_never_stable_is_given_up_on_after_exactly_eleven_failures() {
    let tree = sup("t", [with_defaults(leaf("a"))]);
    for seed in 0..400 {
        for ran in [Duration::ZERO, secs(7), millis(9_999)] {
            let mut driver = unobserved(&tree, random(seed));
            assert_eq!(fail_until_the_end(&mut driver, "a", ran), 11, "seed {seed}, each runs for {ran:?}");
            assert_eq!(driver.down_kind(), "gave-up");
        }
    }
}

#[test]
fn failures_in_a_row_exceed_a_limit_even_if_they_are_too_far_apart_for_its_period() {
    let child = leaf("a").delayed(secs(20)).limit(Limit::new(2, secs(1)));
    let mut driver = unobserved(&sup("t", [child]), u64::MAX);
    assert_eq!(fail_until_the_end(&mut driver, "a", Duration::ZERO), 3);
    let (exit, _) = driver.down.clone().expect("down");
    let Exit::GaveUp(gave_up) = exit else { panic!("{exit}") };
    assert_eq!((gave_up.count, gave_up.allowed, gave_up.own_limit, gave_up.in_a_row), (3, 2, true, true));
    let mut driver = unobserved(&sup("t", [leaf("a").limit(Limit::new(2, secs(1)))]), 1);
    assert_eq!(fail_until_the_end(&mut driver, "a", Duration::ZERO), 3);
    let (exit, _) = driver.down.clone().expect("down");
    let Exit::GaveUp(gave_up) = exit else { panic!("{exit}") };
    assert!(!gave_up.in_a_row, "three restarts within the period are named first");
}

/// The longest time until a tree ends. Its only leaf is `levels` supervisors deep and always fails at once, and everything has its
/// defaults: the sum of all delays at their longest. Each level is given up on eleven times by the one above.
fn longest_time(levels: u32) -> (u32, Duration) {
    let backoff = Backoff::default();
    let first: Duration = (0..10).map(|step| backoff.ceiling(step)).sum();
    // A later attempt of a supervisor does not reset the delays, so it takes longer than the first.
    let (mut failures, mut first_time, mut later_time) = (11, first, 10 * backoff.to);
    for _ in 1..levels {
        let (begin, later) = (first_time + 10 * later_time + first, 11 * later_time + 10 * backoff.to);
        (failures, first_time, later_time) = (11 * failures, begin, later);
    }
    (failures, first_time)
}

#[test]
fn with_nested_supervisors_the_numbers_multiply_and_the_tree_ends_in_the_documented_time() {
    let mut tree = with_defaults(leaf("a"));
    let mut path = "a".to_owned();
    for levels in 1..=3 {
        tree = with_defaults(sup(if levels == 1 { "s" } else { "u" }, [tree]));
        tree.name = super::shape::name("s");
        if levels > 1 {
            path = format!("s/{path}");
        }
        let (failures, longest) = longest_time(levels);
        let mut driver = unobserved(&tree, 7);
        assert_eq!(fail_until_the_end(&mut driver, &path, Duration::ZERO), failures, "{levels} levels");
        let delays = driver.events.iter().filter_map(|event| match event.kind {
            EventKind::BackingOff { nth, .. } => Some(Backoff::default().ceiling(nth - 1)),
            _ => None,
        });
        assert_eq!(delays.sum::<Duration>(), longest, "{levels} levels, each delay as long as it may be");
    }
    let minutes = |levels| longest_time(levels).1.as_secs().div_ceil(60);
    // README.md, the front page and docs/liveoak-toml.md state these numbers.
    assert_eq!(longest_time(1), (11, millis(81_100)));
    assert_eq!((longest_time(2).0, minutes(2)), (121, 53));
    assert_eq!((longest_time(3).0, minutes(3).div_ceil(60)), (1_331, 11));
    for page in [
        include_str!("../../../../../README.md"),
        include_str!("../../../../../docs/liveoak-toml.md"),
        include_str!("../../../../liveoak/src/lib.rs"),
    ] {
        for words in ["81 s", "121", "53 min", "1,331", "11 h"] {
            assert!(page.contains(words), "a page does not say {words}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_child_that_is_never_stable_is_given_up_on_after_exactly_one_failure_more_than_its_limit_allows(
        restarts in 0u32..30,
        period in 1u64..100_000,
        backoff in option::of((1u64..5_000, 0u64..60_000, 1u64..20_000)),
        share in 0u64..1_000,
        strategy in prop_oneof![Just(Strategy::OneForOne), Just(Strategy::OneForAll), Just(Strategy::RestForOne)],
        reports in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let backoff = backoff.map(|(from, more, reset_after)| Backoff {
            from: millis(from),
            to: millis(from + more),
            reset_after: millis(reset_after),
            ..Backoff::default()
        });
        let reset_after = backoff.map_or(secs(10), |backoff| backoff.reset_after);
        // Less than a stable run.
        let ran = Duration::from_nanos(reset_after.as_nanos() as u64 / 1_000 * share);
        let child = leaf("a").limit(Limit::new(restarts, millis(period))).with(|child| child.backoff = backoff);
        let child = if reports { child.reports() } else { child };
        let tree = sup("t", [leaf("before"), child, leaf("behind")]).strategy(strategy);
        let mut driver = unobserved(&tree, seed);
        prop_assert_eq!(fail_until_the_end(&mut driver, "a", ran), restarts + 1);
        prop_assert_eq!(driver.down_kind(), "gave-up");
    }

    #[test]
    fn only_a_stable_run_or_a_success_resets_the_row_and_the_backoff(
        runs in vec((0u64..30, any::<bool>()), 1..60),
        seed in any::<u64>(),
    ) {
        // The period is too short for the window to count, so only the row counts.
        let backoff = Backoff { from: millis(10), to: secs(100), reset_after: secs(10), ..Backoff::default() };
        let child = leaf("a").limit(Limit::new(4, Duration::from_nanos(1)));
        let tree = sup("t", [child.with(|child| child.backoff = Some(backoff))]);
        let mut driver = unobserved(&tree, seed | 1 << 63);
        let (mut row, mut step) = (0, 0);
        for (ran, fails) in runs {
            prop_assert_eq!(until_it_runs(&mut driver, "a"), row <= 4);
            if row > 4 {
                break;
            }
            driver.advance(secs(ran));
            if ran >= 10 || !fails {
                (row, step) = (0, 0);
            }
            driver.exit("a", if fails { Exit::failed("boom") } else { Exit::Completed });
            row += u32::from(fails);
            step += u32::from(fails);
            if fails && row <= 4 {
                prop_assert_eq!(last_step(&driver), Some(step));
            }
        }
    }
}

/// Returns the step of the last backoff.
pub(super) fn last_step(driver: &TestDriver) -> Option<u32> {
    driver.events.iter().rev().find_map(|event| match event.kind {
        EventKind::BackingOff { nth, .. } => Some(nth),
        _ => None,
    })
}

#[test]
fn a_failure_does_not_reset_the_steps_of_successes() {
    let backoff = Backoff { from: millis(100), to: secs(30), reset_after: secs(10), ..Backoff::default() };
    for (failures_between, ran) in [(1, 0), (2, 0), (5, 0), (1, 9)] {
        let child = leaf("a").limit(Limit::unlimited()).with(|child| child.backoff = Some(backoff));
        let mut driver = unobserved(&sup("t", [child]), 1 << 63);
        for successes in 1..10 {
            for failures in 1..=failures_between {
                assert!(until_it_runs(&mut driver, "a"));
                driver.fail("a");
                assert_eq!(last_step(&driver), Some(failures), "a success resets the count of failures");
            }
            assert!(until_it_runs(&mut driver, "a"));
            driver.advance(secs(ran));
            driver.complete("a");
            assert_eq!(
                last_step(&driver),
                Some(successes),
                "failures in between do not end a loop of successes"
            );
        }
        assert!(until_it_runs(&mut driver, "a"));
        driver.advance(secs(10));
        driver.complete("a");
        assert_eq!(last_step(&driver), Some(1), "a stable run resets both counts");
    }
}

#[test]
fn a_success_resets_the_row_and_a_stop_by_others_does_not() {
    let tree = sup("t", [leaf("a").limit(Limit::new(2, Duration::from_nanos(1))), leaf("b")]);
    let mut driver = TestDriver::started(&tree.clone().strategy(Strategy::OneForAll));
    for end in ["fail", "fail", "success", "fail", "fail", "swept", "asked", "fail"] {
        assert!(driver.down.is_none(), "{end}");
        driver.advance(millis(1));
        match end {
            "fail" => driver.fail("a"),
            "success" => driver.complete("a"),
            // It ends without a failure, but only because its sibling failed, or it returns `Stopped` itself.
            "swept" => {
                driver.obeys("a", Obeys::Test);
                driver.fail("b");
                driver.complete("a");
            }
            _ => driver.exit("a", Exit::Stopped),
        }
    }
    assert_eq!(driver.down_kind(), "gave-up");
}

#[test]
fn an_unlimited_limit_bounds_neither_restarts_within_a_period_nor_failures_in_a_row() {
    let tree = sup("t", [leaf("a").limit(Limit::unlimited())]);
    let mut driver = unobserved(&tree, 1);
    for _ in 0..1_000 {
        driver.fail("a");
    }
    assert_eq!(driver.state("a"), "running");
}

#[test]
fn an_intensity_is_a_window_only() {
    let tree = sup("t", [leaf("a")]).intensity(2, millis(10));
    let mut driver = unobserved(&tree, 1);
    for _ in 0..1_000 {
        driver.fail("a");
        driver.advance(millis(6));
    }
    assert_eq!(driver.state("a"), "running", "never more than two within the period");
}

#[test]
fn a_start_that_failed_only_because_a_dependency_was_missing_counts_in_neither_window_nor_row() {
    let app = leaf("app").after("job", Condition::Started).limit(Limit::new(1, secs(3_600)));
    let tree = sup("t", [leaf("job").temporary(), app]).intensity(1, secs(3_600));
    let mut driver = TestDriver::started(&tree);
    driver.fail("job");
    driver.fail("app");
    driver.advance(secs(3_600));
    assert!(driver.down.is_none(), "it was charged for its own failure only");
}

#[test]
fn a_supervisor_that_is_restarted_for_other_reasons_does_not_reset_the_rows_of_its_children() {
    // The sibling has a stable run each time, and then takes the supervisor down.
    let nested = sup("s", [leaf("a").delayed(secs(20)).limit(Limit::new(5, secs(1)))]);
    let tree = sup("t", [leaf("x"), nested]).strategy(Strategy::OneForAll);
    let mut driver = TestDriver::started(&tree.edges());
    let mut failures = 0;
    while driver.count("gave-up") == 0 {
        assert!(failures < 100, "its supervisor is restarted before it can be given up on");
        if driver.is_alive("s/a") {
            driver.fail("s/a");
            failures += 1;
        }
        driver.advance(secs(11));
        driver.fail("x");
    }
    assert_eq!(failures, 6);
}

#[test]
fn a_command_that_starts_a_quarantined_child_resets_its_counts_and_those_below_it() {
    let once = Limit::new(1, secs(100));
    let nested = sup("s", [leaf("a").limit(once)]);
    let nested = nested.limit(Limit::new(0, secs(100)).on_exceeded(GiveUp::QUARANTINE));
    let mut driver = TestDriver::started(&sup("t", [nested]));
    driver.fail("s/a");
    driver.fail("s/a");
    assert_eq!(driver.state("s"), "quarantined");
    driver.command("s", Command::Start);
    driver.fail("s/a");
    assert_eq!(driver.state("s/a"), "running", "its row is reset");
}

#[test]
fn an_intensity_is_refused_if_and_only_if_the_backoffs_make_it_impossible_to_exceed() {
    let children = |count: usize, backoff: Option<Backoff>| -> Vec<ChildDeclaration> {
        let names = (0..count).map(|n| format!("c{n}"));
        names.map(|name| leaf(&name).with(|child| child.backoff = backoff)).collect()
    };
    let default = Some(Backoff::default());
    // One child fails ten times within a minute at least.
    let table = [
        (1, default, 9, true),
        (1, default, 10, false),
        (2, default, 19, true),
        (2, default, 20, false),
        (1, None, Limit::MAX_RESTARTS, true),
        (0, default, 5, true),
        (1, default, Limit::UNLIMITED, true),
    ];
    for (count, backoff, restarts, accepted) in table {
        let tree = sup("t", children(count, backoff)).intensity(restarts, secs(60));
        assert_eq!(
            tree.check().is_ok(),
            accepted,
            "{count} children, {restarts} restarts: {:?}",
            tree.check()
        );
        // A temporary child is never restarted; a group is never refused.
        let ChildForm::Supervisor(SupervisorSpec { children, .. }) = &tree.form else {
            panic!("no supervisor")
        };
        let mut children = children.clone();
        children.push(leaf("job").temporary());
        let tree = sup("t", children).intensity(restarts, secs(60));
        assert_eq!(tree.check().is_ok(), accepted, "with a job: {count} children, {restarts} restarts");
        let template = leaf("x").with(|child| child.backoff = backoff);
        let members = group("t").members(|group| {
            group.template = template.spec.clone();
            group.intensity = Some(Limit::new(restarts, secs(60)));
        });
        assert_eq!(members.check(), Ok(()));
    }
}

#[test]
fn an_accepted_intensity_is_exceeded_if_all_children_always_fail_immediately() {
    for (count, restarts) in [(1, 9), (2, 19), (3, 25)] {
        let names: Vec<String> = (0..count).map(|n| format!("c{n}")).collect();
        let tree = sup("t", names.iter().map(|name| with_defaults(leaf(name)))).intensity(restarts, secs(60));
        assert_eq!(tree.check(), Ok(()));
        for seed in [u64::MAX, 1, random(1), random(2)] {
            let mut driver = unobserved(&tree, seed);
            while driver.down.is_none() && driver.now < Time::ZERO.after(secs(61)) {
                for name in &names {
                    if driver.down.is_none() && driver.is_alive(name) {
                        driver.fail(name);
                    }
                }
                let next = driver.machine.poll_deadline().filter(|_| driver.down.is_none());
                driver.advance(next.map_or(Duration::ZERO, |next| next.since(driver.now)));
            }
            assert!(driver.down.is_some(), "{count} children, {restarts} restarts, seed {seed}");
        }
    }
}

#[test]
fn a_child_that_cannot_exceed_the_intensity_alone_is_warned_of_unless_it_has_a_limit_of_its_own() {
    let fast = leaf("fast").with(|child| child.backoff = None);
    let limited = with_defaults(leaf("limited")).limit(Limit::new(3, SECOND));
    let job = with_defaults(leaf("job")).temporary();
    let (db, web) = (with_defaults(leaf("db")), with_defaults(leaf("web")));
    let nested = sup("s", [db, fast, limited, job, web]).intensity(10, secs(60));
    let tree = sup("t", [nested]);
    assert_eq!(tree.check(), Ok(()));
    let warnings: Vec<String> = tree.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "/t/s: intensity: db, web: such a child alone may never exceed it: if it always fails immediately, with a \
             backoff from 100ms to 30s, it may fail only 10 times within 60s, and 10 restarts are allowed; give it a \
             limit of its own"
        ]
    );
    let (nine, unlimited) = (9, Limit::UNLIMITED);
    for restarts in [nine, unlimited] {
        let tree = sup("t", [with_defaults(leaf("db"))]).intensity(restarts, secs(60));
        assert_eq!(tree.warnings(), []);
    }
    let many = (0..100).map(|n| with_defaults(leaf(&format!("c{n}"))));
    let warnings = sup("t", many).intensity(10, secs(60)).warnings();
    assert_eq!((warnings.len(), warnings[0].children.len()), (1, 100), "one sentence for all of them");
    assert!(warnings[0].to_string().contains("c11 and 88 more: "), "{}", warnings[0]);
}
