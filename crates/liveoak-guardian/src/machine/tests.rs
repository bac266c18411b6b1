//! Tests of the decisions: each rule by a short history, and random histories against a small world of processes.

use super::*;
use crate::message::{Event, HeldState};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

const MARK: u64 = 7 << SLOT_BITS;
const SECRET: Secret = Secret([9; 32]);
const HOLD: u64 = 1000;

fn machine(hold_ns: u64) -> Machine {
    let mut machine = Machine::with_room(77, 4).unwrap();
    machine.handle(0, Input::Request(Request::Begin { mark: MARK, hold_ns, secret: SECRET }));
    assert_eq!(events(&mut machine), [Event::Hello { pid: 77 }]);
    machine
}

fn actions(machine: &mut Machine) -> Vec<Action> {
    std::iter::from_fn(|| machine.next_action()).collect()
}

fn events(machine: &mut Machine) -> Vec<Event> {
    let next = || {
        let sending = machine.next_event()?;
        machine.sent();
        Some(sending.event)
    };
    std::iter::from_fn(next).collect()
}

fn spawn(id: u64) -> Input {
    Input::Request(Request::Spawn { id, streams: [crate::Stream::Null; 3], tag: Tag::EMPTY })
}

/// Starts a program and returns its slot.
fn running(machine: &mut Machine, id: u64, pid: u32) -> Slot {
    machine.handle(0, spawn(id));
    let [Action::Start { slot }] = actions(machine)[..] else { panic!("no start") };
    machine.handle(0, Input::Forked { slot, pid });
    machine.handle(0, Input::Executed { slot });
    assert_eq!(events(machine), [Event::Started { id, pid, pipes: [false; 3] }]);
    slot
}

fn ended(slot: Slot, code: u8) -> Input {
    Input::LeaderEnded { slot, ending: Ending::Code(code), usage: Usage::default() }
}

fn census(machine: &mut Machine, now: u64, orphans: &[(u32, Option<Slot>)]) {
    machine.handle(now, Input::CensusBegins);
    orphans.iter().for_each(|&(pid, slot)| machine.handle(now, Input::Orphan { pid, slot }));
    machine.handle(now, Input::CensusEnds);
}

fn exited(id: u64, code: u8, left: u32) -> Event {
    Event::Exited { id, ending: Ending::Code(code), usage: Usage::default(), left }
}

#[test]
fn a_program_is_gone_when_its_leader_and_each_descendant_has_ended() {
    let mut machine = machine(0);
    let slot = running(&mut machine, 5, 100);
    machine.handle(0, ended(slot, 0));
    assert!(machine.wants_census());
    census(&mut machine, 0, &[(101, Some(slot))]);
    assert_eq!((events(&mut machine), actions(&mut machine)), (vec![exited(5, 0, 1)], vec![]));
    assert!(machine.is_leader(100), "the zombie keeps the number of the group");
    census(&mut machine, 0, &[]);
    assert_eq!(actions(&mut machine), [Action::Reap { slot, pid: 100 }]);
    assert_eq!(events(&mut machine), [Event::Gone { id: 5 }]);
    assert!(!machine.is_leader(100) && !machine.wants_census());
    machine.handle(0, Input::Request(Request::Release { id: 5 }));
    assert_eq!(actions(&mut machine), [Action::Free { slot }]);
}

#[test]
fn a_kill_reaches_each_process_that_appears_later() {
    let mut machine = machine(0);
    let slot = running(&mut machine, 5, 100);
    let other = running(&mut machine, 6, 200);
    machine.handle(0, Input::Request(Request::Kill { id: 5 }));
    assert_eq!(actions(&mut machine), [Action::KillProgram { slot }]);
    census(&mut machine, 0, &[(101, Some(slot)), (201, Some(other))]);
    assert_eq!(actions(&mut machine), [Action::KillOrphan { pid: 101, slot: Some(slot) }]);
    machine.handle(0, ended(slot, 0));
    census(&mut machine, 0, &[(102, Some(slot))]);
    assert_eq!(actions(&mut machine), [Action::KillOrphan { pid: 102, slot: Some(slot) }]);
}

#[test]
fn a_program_that_is_killed_before_its_fork_is_killed_after_it() {
    let mut machine = machine(0);
    machine.handle(0, spawn(5));
    let [Action::Start { slot }] = actions(&mut machine)[..] else { panic!() };
    machine.handle(0, Input::Request(Request::Kill { id: 5 }));
    assert_eq!(actions(&mut machine), []);
    machine.handle(0, Input::Forked { slot, pid: 100 });
    assert_eq!(actions(&mut machine), [Action::KillProgram { slot }]);
}

#[test]
fn an_exec_that_fails_is_told_once_the_process_was_reaped() {
    let mut machine = machine(0);
    machine.handle(0, spawn(5));
    let [Action::Start { slot }] = actions(&mut machine)[..] else { panic!() };
    machine.handle(0, Input::Forked { slot, pid: 100 });
    machine.handle(0, Input::NotExecuted { slot, step: Step::Exec, errno: 2 });
    assert_eq!(events(&mut machine), []);
    machine.handle(0, ended(slot, 127));
    assert_eq!(actions(&mut machine), [Action::Reap { slot, pid: 100 }]);
    assert_eq!(events(&mut machine), [Event::Refused { id: 5, step: Step::Exec, errno: 2 }]);
}

#[test]
fn a_deadline_kills_the_programs_and_refuses_starts_until_a_new_one_is_set() {
    let mut machine = machine(0);
    let slot = running(&mut machine, 5, 100);
    let arm = |deadline_ns, action| Input::Request(Request::Arm { deadline_ns, action });
    machine.handle(0, arm(50, OnDeadline::KillPrograms));
    machine.handle(40, arm(60, OnDeadline::KillPrograms));
    assert_eq!(machine.wake_at(), Some(60));
    machine.handle(59, Input::Tick);
    assert_eq!(actions(&mut machine), []);
    // The renewal comes too late, although nothing else has happened since: the clock counts.
    machine.handle(60, arm(90, OnDeadline::KillProgramsAndClient));
    assert_eq!(actions(&mut machine), [Action::KillProgram { slot }]);
    assert_eq!(events(&mut machine), [Event::Expired]);
    machine.handle(90, spawn(6));
    assert!(matches!(actions(&mut machine)[..], [Action::KillProgram { .. }, Action::KillClient]));
    let refused = Event::Refused { id: 6, step: Step::Ending, errno: 0 };
    assert_eq!(events(&mut machine), [Event::Expired, refused]);
    machine.handle(91, arm(200, OnDeadline::KillPrograms));
    machine.handle(92, spawn(7));
    assert!(matches!(actions(&mut machine)[..], [Action::Start { .. }]));
    machine.handle(92, Input::Request(Request::Disarm));
    machine.handle(500, Input::Tick);
    assert_eq!((actions(&mut machine), machine.wake_at()), (vec![], None));
}

#[test]
fn the_death_of_the_client_ends_everything_unless_programs_are_kept() {
    for lost in [Input::ClientClosed, Input::ClientDied] {
        let mut machine = machine(0);
        let slot = running(&mut machine, 5, 100);
        machine.handle(0, lost);
        assert_eq!(actions(&mut machine), [Action::KillProgram { slot }]);
        machine.handle(0, ended(slot, 9));
        census(&mut machine, 0, &[(300, None)]);
        let stray = Action::KillOrphan { pid: 300, slot: None };
        assert_eq!(actions(&mut machine), [stray, Action::Reap { slot, pid: 100 }, Action::Free { slot }]);
        census(&mut machine, 0, &[]);
        assert_eq!(actions(&mut machine), [Action::Exit]);
    }
}

#[test]
fn kept_programs_are_killed_when_no_successor_comes_in_time() {
    let mut machine = machine(HOLD);
    let slot = running(&mut machine, 5, 100);
    machine.handle(10, Input::ClientClosed);
    machine.handle(20, Input::ClientDied);
    assert_eq!((actions(&mut machine), machine.wake_at()), (vec![], Some(10 + HOLD)));
    machine.handle(10 + HOLD, Input::Tick);
    assert_eq!(actions(&mut machine), [Action::KillProgram { slot }]);
    machine.handle(10 + HOLD, Input::Successor { secret: SECRET });
    assert_eq!(actions(&mut machine), [Action::Refuse { reason: NotAdopted::Ending }]);
}

#[test]
fn one_successor_takes_over_and_only_after_the_client_is_known_dead() {
    let mut machine = machine(HOLD);
    let (a, b) = (running(&mut machine, 5, 100), running(&mut machine, 6, 200));
    machine.handle(0, ended(a, 3));
    census(&mut machine, 0, &[]);
    actions(&mut machine);
    let refused = |machine: &mut Machine, secret, reason| {
        machine.handle(1, Input::Successor { secret });
        assert_eq!(actions(machine), [Action::Refuse { reason }]);
    };
    refused(&mut machine, SECRET, NotAdopted::ClientAlive);
    machine.handle(1, Input::ClientClosed);
    refused(&mut machine, SECRET, NotAdopted::ClientAlive);
    machine.handle(1, Input::ClientDied);
    refused(&mut machine, Secret([8; 32]), NotAdopted::Secret);
    machine.handle(1, Input::Suspended { slot: b, by: Some(19) });
    machine.handle(1, Input::Successor { secret: SECRET });
    assert_eq!((actions(&mut machine), machine.wake_at()), (vec![Action::Adopt], None));
    let held = |id, pid, state, ending| {
        let (usage, tag) = (Usage::default(), Tag::EMPTY);
        Event::Held { id, pid, state, ending, usage, pipes: [false; 3], tag }
    };
    let expected = [
        Event::Adopted { pid: 77, programs: 2 },
        held(5, 100, HeldState::Gone, Some(Ending::Code(3))),
        held(6, 200, HeldState::Running, None),
        Event::Suspended { id: 6, by: Some(19) },
    ];
    assert_eq!(events(&mut machine), expected);
    refused(&mut machine, SECRET, NotAdopted::ClientAlive);
    machine.handle(HOLD * 9, Input::Request(Request::Release { id: 5 }));
    assert_eq!(actions(&mut machine), [Action::Free { slot: a }]);
}

#[test]
fn requests_are_judged_by_the_state_of_what_they_name() {
    let mut machine = machine(0);
    let slot = running(&mut machine, 5, 100);
    let mut ask = |request| {
        machine.handle(0, Input::Request(request));
        (actions(&mut machine), events(&mut machine))
    };
    let signal = |id, signal| Request::Signal { id, signal, reach: Reach::Set };
    let sent = Action::Signal { slot, signal: 15, reach: Reach::Set };
    assert_eq!(ask(signal(5, 15)), (vec![sent], vec![]));
    assert_eq!(ask(signal(5, 0)), (vec![], vec![Event::Invalid { kind: 3, id: 5 }]));
    assert_eq!(ask(signal(5, 65)), (vec![], vec![Event::Invalid { kind: 3, id: 5 }]));
    assert_eq!(ask(signal(6, 15)), (vec![], vec![Event::Signalled { id: 6, errno: libc::ESRCH }]));
    assert_eq!(ask(Request::Release { id: 5 }), (vec![], vec![Event::Invalid { kind: 6, id: 5 }]));
    assert_eq!(ask(Request::Kill { id: 0 }), (vec![], vec![Event::Invalid { kind: 4, id: 0 }]));
    assert_eq!(ask(Request::Ping { nonce: 4 }), (vec![], vec![Event::Pong { nonce: 4 }]));
    let again = Request::Spawn { id: 5, streams: [crate::Stream::Null; 3], tag: Tag::EMPTY };
    assert_eq!(ask(again), (vec![], vec![Event::Refused { id: 5, step: Step::Request, errno: 0 }]));
    let begin = Request::Begin { mark: 1, hold_ns: 0, secret: SECRET };
    assert_eq!(ask(begin), (vec![], vec![Event::Invalid { kind: 1, id: 0 }]));
}

#[test]
fn a_full_guardian_refuses_a_program_and_takes_one_again_after_a_release() {
    let mut machine = machine(0);
    let slots: Vec<Slot> = (1..=4).map(|id| running(&mut machine, id, 100 + id as u32)).collect();
    machine.handle(0, spawn(9));
    assert_eq!(events(&mut machine), [Event::Refused { id: 9, step: Step::Full, errno: 0 }]);
    machine.handle(0, ended(slots[2], 0));
    census(&mut machine, 0, &[]);
    machine.handle(0, Input::Request(Request::Release { id: 3 }));
    assert_eq!(
        events(&mut machine).last(),
        Some(&Event::Invalid { kind: 6, id: 3 }),
        "its end was not sent yet"
    );
    machine.handle(0, Input::Request(Request::Release { id: 3 }));
    actions(&mut machine);
    assert_eq!(running(&mut machine, 9, 900), slots[2]);
}

#[test]
fn no_request_is_read_while_too_many_answers_wait() {
    let mut machine = machine(0);
    for nonce in 0..MAX_REPLIES as u64 {
        assert!(machine.accepts_requests());
        machine.handle(0, Input::Request(Request::Ping { nonce }));
    }
    assert!(!machine.accepts_requests());
    assert_eq!(events(&mut machine).len(), MAX_REPLIES);
    assert!(machine.accepts_requests());
}

#[test]
fn a_stray_is_told_once_and_again_when_its_number_comes_again() {
    let mut machine = machine(0);
    running(&mut machine, 5, 100);
    let unused = machine.slot_of_mark(MARK | 3);
    census(&mut machine, 0, &[(300, None), (301, unused)]);
    census(&mut machine, 0, &[(300, None), (301, unused)]);
    assert_eq!(events(&mut machine), [Event::Stray { pid: 300 }, Event::Stray { pid: 301 }]);
    machine.orphan_reaped(300);
    census(&mut machine, 0, &[(300, None)]);
    assert_eq!(events(&mut machine), [Event::Stray { pid: 300 }]);
    assert_eq!(machine.slot_of_mark((8 << SLOT_BITS) | 1), None);
}

/// A step of a random history.
#[derive(Clone, Debug)]
enum Op {
    Spawn,
    Exec(u8, bool),
    End(u8, u8),
    Daemonise(u8),
    OrphanEnds(u8),
    Kill(u8),
    Census,
    Read(u8),
    Release(u8),
    ClientDies,
    Successor,
    End2,
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => Just(Op::Spawn),
        4 => (any::<u8>(), prop::bool::weighted(0.8)).prop_map(|(at, ok)| Op::Exec(at, ok)),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(at, code)| Op::End(at, code)),
        2 => any::<u8>().prop_map(Op::Daemonise),
        2 => any::<u8>().prop_map(Op::OrphanEnds),
        1 => any::<u8>().prop_map(Op::Kill),
        4 => Just(Op::Census),
        4 => (0u8..6).prop_map(Op::Read),
        3 => any::<u8>().prop_map(Op::Release),
        1 => Just(Op::ClientDies),
        1 => Just(Op::Successor),
        1 => Just(Op::End2),
    ]
}

/// What runs in the small world. A dead leader stays until it is reaped.
#[derive(Debug, Default)]
struct World {
    /// By slot: id, process id, `true` once executed, the code once ended.
    leaders: BTreeMap<u32, (u64, u32, bool, Option<u8>)>,
    /// Process id and slot.
    orphans: VecDeque<(u32, Slot)>,
    next: u32,
    /// The last id of a request to start.
    asked: u64,
    /// By id: the code with which the leader ended, as the world knows it.
    truth: BTreeMap<u64, u8>,
    /// By id: what the present client was told: 0 nothing, 1 started, 2 exited, 3 gone, 4 refused.
    told: BTreeMap<u64, u8>,
    /// By id: the code that some client was told.
    codes: BTreeMap<u64, u8>,
    ended: bool,
    exits: u32,
}

impl World {
    fn carry_out(&mut self, machine: &mut Machine) {
        while let Some(action) = machine.next_action() {
            match action {
                Action::Start { slot } => {
                    assert!(!self.ended, "nothing is started while everything ends");
                    self.next += 1;
                    let id = machine.programs[slot.index()].id;
                    assert!(
                        self.leaders.insert(slot.0, (id, self.next, false, None)).is_none(),
                        "one leader a slot"
                    );
                    machine.handle(0, Input::Forked { slot, pid: self.next });
                }
                Action::KillProgram { slot } => {
                    if let Some((id, _, executed, code @ None)) = self.leaders.get_mut(&slot.0) {
                        (*code, *executed) = (Some(255), true);
                        self.truth.insert(*id, 255);
                        machine.handle(0, ended(slot, 255));
                    }
                }
                Action::KillOrphan { pid, .. } => self.orphans.retain(|(orphan, _)| *orphan != pid),
                Action::Reap { slot, .. } => {
                    assert!(
                        self.orphans.iter().all(|(_, owner)| *owner != slot),
                        "reaped with living descendants"
                    );
                    let (_, _, _, code) = self.leaders.remove(&slot.0).expect("reaped once");
                    assert!(code.is_some(), "only a dead leader is reaped");
                }
                Action::Exit => self.exits += 1,
                Action::Signal { .. } | Action::CloseStreams { .. } | Action::Free { .. } => {}
                Action::KillClient | Action::Adopt | Action::Refuse { .. } => {}
            }
        }
    }

    fn nth(&self, at: u8, executed: bool) -> Option<u32> {
        let fit = |(_, (_, _, done, code)): &(&u32, &(u64, u32, bool, Option<u8>))| {
            *done == executed && code.is_none()
        };
        let fitting: Vec<u32> = self.leaders.iter().filter(fit).map(|(slot, _)| *slot).collect();
        fitting.get(at as usize % fitting.len().max(1)).copied()
    }

    fn read(&mut self, event: Event) {
        let mut step = |id: u64, from: &[u8], to: u8| {
            let told = self.told.entry(id).or_insert(0);
            assert!(from.contains(told), "{event:?} after {told}");
            *told = to;
        };
        match event {
            Event::Started { id, .. } => step(id, &[0], 1),
            Event::Exited { id, ending: Ending::Code(code), .. } => {
                step(id, &[1], 2);
                assert_eq!(self.truth.get(&id), Some(&code));
                self.codes.insert(id, code);
            }
            Event::Gone { id } => step(id, &[2], 3),
            Event::Refused { id, .. } => step(id, &[0, 5], 4),
            Event::Held { id, state, ending, .. } => {
                let to = match state {
                    HeldState::Starting => 0,
                    HeldState::Running => 1,
                    HeldState::Ended => 2,
                    HeldState::Gone => 3,
                    HeldState::Refused => 5,
                };
                step(id, &[0], to);
                if let Some(Ending::Code(code)) = ending {
                    assert_eq!(self.truth.get(&id), Some(&code));
                    self.codes.insert(id, code);
                }
            }
            _ => {}
        }
    }

    fn census(&mut self, machine: &mut Machine) {
        let orphans: Vec<_> = self.orphans.iter().map(|&(pid, slot)| (pid, Some(slot))).collect();
        machine.handle(0, Input::CensusBegins);
        orphans.iter().for_each(|&(pid, slot)| machine.handle(0, Input::Orphan { pid, slot }));
        machine.handle(0, Input::CensusEnds);
        self.carry_out(machine);
    }
}

fn step(machine: &mut Machine, world: &mut World, op: Op) {
    match op {
        Op::Spawn if machine.client == ClientState::Connected => {
            world.asked += 1;
            machine.handle(0, spawn(world.asked));
        }
        Op::Exec(at, ok) => {
            if let Some(slot) = world.nth(at, false) {
                let leader = world.leaders.get_mut(&slot).unwrap();
                leader.2 = true;
                if ok {
                    machine.handle(0, Input::Executed { slot: Slot(slot) });
                } else {
                    leader.3 = Some(127);
                    machine.handle(0, Input::NotExecuted { slot: Slot(slot), step: Step::Exec, errno: 2 });
                    machine.handle(0, ended(Slot(slot), 127));
                }
            }
        }
        Op::End(at, code) => {
            if let Some(slot) = world.nth(at, true) {
                let leader = world.leaders.get_mut(&slot).unwrap();
                leader.3 = Some(code);
                world.truth.insert(leader.0, code);
                machine.handle(0, ended(Slot(slot), code));
            }
        }
        Op::Daemonise(at) => {
            if let Some(slot) = world.nth(at, true) {
                world.next += 1;
                world.orphans.push_back((world.next, Slot(slot)));
            }
        }
        Op::OrphanEnds(at) => {
            let at = at as usize % world.orphans.len().max(1);
            world.orphans.remove(at);
        }
        Op::Kill(at) => machine.handle(0, Input::Request(Request::Kill { id: u64::from(at % 16) })),
        Op::Census => world.census(machine),
        Op::Read(count) => {
            for _ in 0..count {
                let Some(sending) = machine.next_event() else { break };
                machine.sent();
                world.read(sending.event);
            }
        }
        Op::Release(at) => {
            let over: Vec<u64> =
                world.told.iter().filter(|(_, told)| **told > 2).map(|(id, _)| *id).collect();
            if let Some(id) = over.get(at as usize % over.len().max(1)) {
                machine.handle(0, Input::Request(Request::Release { id: *id }));
                world.told.remove(id);
            }
        }
        Op::ClientDies => {
            machine.handle(0, Input::ClientClosed);
            machine.handle(0, Input::ClientDied);
        }
        Op::Successor if machine.client == ClientState::Dead => {
            machine.handle(0, Input::Successor { secret: SECRET });
            world.told.clear();
        }
        Op::End2 => {
            world.ended = true;
            machine.handle(0, Input::Request(Request::End));
        }
        Op::Spawn | Op::Successor => {}
    }
    world.carry_out(machine);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_exit_is_lost_and_nothing_is_left_in_any_history(history in prop::collection::vec(ops(), 0..120)) {
        let (mut machine, mut world) = (machine(HOLD), World::default());
        for op in history {
            step(&mut machine, &mut world, op);
        }
        // A client reads all that waits: afterwards each ended program was told with its code to some client.
        if !machine.ending {
            if machine.client != ClientState::Connected {
                step(&mut machine, &mut world, Op::ClientDies);
                step(&mut machine, &mut world, Op::Successor);
            }
            world.census(&mut machine);
            step(&mut machine, &mut world, Op::Read(255));
            prop_assert_eq!(&world.codes, &world.truth);
        }
        // Then everything ends, and nothing is left.
        step(&mut machine, &mut world, Op::ClientDies);
        machine.handle(HOLD * 2, Input::Tick);
        world.carry_out(&mut machine);
        for _ in 0..3 {
            world.census(&mut machine);
        }
        prop_assert!(world.leaders.is_empty() && world.orphans.is_empty());
        prop_assert_eq!(world.exits, 1);
    }
}
