//! The checks of specs, at their limits.

use liveoak_core::{
    ChildDeclaration, ChildForm, ChildSpec, Condition, Edge, Effect, Input, Limit, Machine, Name, Refusal,
    RequestId, Restart, SupervisorSpec, Time,
};
use std::time::Duration;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn leaf(text: &str) -> ChildDeclaration {
    ChildDeclaration { name: name(text), spec: ChildSpec::default(), form: ChildForm::Leaf }
}

fn root(children: Vec<ChildDeclaration>) -> ChildDeclaration {
    let spec = SupervisorSpec { children, ..SupervisorSpec::default() };
    ChildDeclaration { name: name("t"), spec: ChildSpec::of_root(), form: ChildForm::Supervisor(spec) }
}

/// Returns the errors of a tree as text; empty if there are none.
fn wrong(tree: &ChildDeclaration) -> String {
    Machine::new(tree).err().map_or_else(String::new, |errors| errors.to_string())
}

#[test]
fn a_restart_rule_or_a_limit_of_the_root_is_refused() {
    let message = "/t: restart: the root of a tree has no supervisor above it that could restart it; put it below another supervisor";
    assert_eq!(wrong(&root(Vec::new())), "");
    let mut transient = root(Vec::new());
    transient.spec.restart = Restart::Transient;
    assert_eq!(wrong(&transient), message);
    let mut limited = root(Vec::new());
    limited.spec.limit = Some(Limit::new(1, Duration::from_secs(1)));
    assert_eq!(wrong(&limited), message);
}

#[test]
fn supervisors_may_be_nested_sixty_four_levels_deep_and_no_deeper() {
    let nested = |levels: usize| {
        let mut tree = leaf("a");
        for _ in 1..levels {
            let spec = SupervisorSpec { children: vec![tree], ..SupervisorSpec::default() };
            tree = ChildDeclaration {
                name: name("s"),
                spec: ChildSpec::of_supervisor(),
                form: ChildForm::Supervisor(spec),
            };
        }
        root(vec![tree])
    };
    assert_eq!(wrong(&nested(64)), "");
    assert!(wrong(&nested(65)).ends_with("children: supervisors are nested deeper than 64 levels"));
    assert!(wrong(&nested(70)).ends_with("children: supervisors are nested deeper than 64 levels"));
    // An error, and no overflow of the stack: neither in the check nor when the declaration is dropped.
    assert!(wrong(&nested(20_000)).ends_with("children: supervisors are nested deeper than 64 levels"));
}

#[test]
fn a_tree_can_be_checked_before_a_machine_is_created() {
    assert!(root(vec![leaf("a"), leaf("b")]).check().is_ok());
    let errors = root(vec![leaf("a"), leaf("a")]).check().unwrap_err();
    assert_eq!(errors.0.len(), 1);
    assert!(errors.to_string().starts_with("/t: children: the name \"a\" is used twice"), "{errors}");
}

#[test]
fn an_added_child_is_checked_like_a_declared_one_and_an_invalid_one_changes_nothing() {
    let (mut machine, _) = Machine::new(&root(vec![leaf("a")])).unwrap();
    machine.handle(Time::ZERO, 0, Input::Start);
    while machine.poll_effect().is_some() {}
    let before = machine.snapshot(Time::ZERO);
    let edge = |child: &str, condition| vec![Edge { child: name(child), condition }];
    let with = |change: &dyn Fn(&mut ChildSpec)| {
        let mut declared = leaf("b");
        change(&mut declared.spec);
        declared
    };
    let cases = [
        (with(&|child| child.start_within = Duration::ZERO), "start_within"),
        (
            with(&|child| child.after = edge("absent", Condition::Ready)),
            "there is no sibling called \"absent\"",
        ),
        (with(&|child| child.after = edge("b", Condition::Ready)), "a child cannot come after itself"),
        (
            with(&|child| child.after = edge("a", Condition::Completed)),
            "\"a\" is permanent, so it never completes",
        ),
    ];
    let root = machine.root();
    for (declared, message) in cases {
        let refused = machine.add_child(Time::ZERO, root, &declared, Some(RequestId(1))).unwrap_err();
        assert!(matches!(refused, Refusal::Invalid(_)) && refused.to_string().contains(message), "{refused}");
        assert!(machine.poll_effect().is_none());
    }
    assert_eq!(machine.snapshot(Time::ZERO).number, before.number);
    let good = with(&|child| child.after = edge("a", Condition::Ready));
    let id = machine.add_child(Time::ZERO, root, &good, Some(RequestId(2))).unwrap()[0];
    let spawned = |effect: &Effect| matches!(effect, Effect::Start(spawned, ..) if *spawned == id);
    assert!(std::iter::from_fn(|| machine.poll_effect()).any(|effect| spawned(&effect)));
}

#[test]
fn the_error_of_a_cycle_names_only_its_children_and_every_cycle_is_an_error() {
    let after = |text: &str, others: &[&str]| {
        let edge = |child: &&str| Edge { child: name(child), condition: Condition::Ready };
        let mut declared = leaf(text);
        declared.spec.after = others.iter().map(edge).collect();
        declared
    };
    // A free child, two children that wait for each other and for the free one, and one that only waits for the cycle.
    let mut children =
        vec![leaf("free"), after("a", &["free", "b"]), after("b", &["free", "a"]), after("late", &["a"])];
    let first = "/t: after: children wait for each other in a cycle: a after b after a";
    assert_eq!(wrong(&root(children.clone())), first);
    children.extend([after("z", &["y", "late"]), after("y", &["x"]), after("x", &["z", "a"])]);
    let second = "/t: after: children wait for each other in a cycle: z after y after x after z";
    assert_eq!(wrong(&root(children)), format!("{first}; {second}"));
}
