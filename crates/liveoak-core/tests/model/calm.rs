//! What must hold when no child fails any more: whatever happened before, all that is wanted runs, or waits for something that
//! can still happen.

use crate::machine_under_test::MachineUnderTest;
use crate::steps::Step;
use liveoak_core::{ChildState, ChildView, Condition, Health, IdleReason, Path, Snapshot, WaitingFor};
use std::time::Duration;

/// The number of rounds after which everything has to be up: more than the longest chain of siblings that wait for each other.
const ROUNDS: u32 = 40;

impl MachineUnderTest {
    /// Lets every attempt do as it is told, until the tree has come to rest. Then checks each child.
    pub(crate) fn check_that_all_is_well(&mut self) {
        for _ in 0..ROUNDS {
            self.obey_all();
            self.advance(Duration::from_secs(2));
        }
        self.obey_all();
        if self.down.is_some() {
            return;
        }
        // An attempt that may run only for a while is stopped again and again.
        let snapshot = self.machine.snapshot(self.time());
        let rests = snapshot.nodes().all(|node| node.spec.run_within.is_none());
        for node in snapshot.nodes() {
            let waits = |below: &ChildView| {
                matches!(below.state, ChildState::Waiting { .. } | ChildState::Starting { .. })
            };
            let at_rest = match node.state {
                ChildState::Running | ChildState::Idle(_) | ChildState::Waiting { .. } => true,
                // A supervisor starts for as long as a child in it waits.
                ChildState::Starting { .. } => node.children.iter().any(waits),
                ChildState::BackingOff { .. } | ChildState::Stopping { .. } => false,
            };
            assert!(at_rest || !rests, "{} does not come up: {:?}", node.path, node.state);
            if let Err(why) = is_explained(&snapshot, node) {
                panic!("{} is down for ever: {:?}: {why}", node.path, node.state);
            }
        }
    }

    /// Ends what was asked to end, makes ready what starts, and lets all be healthy and beat.
    fn obey_all(&mut self) {
        self.hung.clear();
        self.step(&Step::Obey);
        for path in self.with_processes.keys().cloned().collect::<Vec<_>>() {
            self.step(&Step::Gone(path));
        }
        for path in self.live.keys().cloned().collect::<Vec<_>>() {
            self.step(&Step::Health(path.clone(), Health::Healthy));
            self.step(&Step::Ready(path));
        }
    }
}

fn sibling<'a>(snapshot: &'a Snapshot, node: &ChildView, name: &str) -> Option<&'a ChildView> {
    snapshot.get(above(&node.path).join(name))
}

fn above(path: &Path) -> Path {
    path.as_str().rsplit_once('/').map_or("/", |(above, _)| above).into()
}

/// Returns `true` if something still happens to the child without help.
fn is_busy(node: &ChildView) -> bool {
    matches!(
        node.state,
        ChildState::Starting { .. } | ChildState::BackingOff { .. } | ChildState::Stopping { .. }
    )
}

/// Returns `Ok` if a child runs, is down for a reason that only a command ends, or waits for something that explains it.
fn is_explained(snapshot: &Snapshot, node: &ChildView) -> Result<(), String> {
    match &node.state {
        ChildState::Waiting { what, .. } => is_wait_explained(snapshot, node, what),
        ChildState::Idle(IdleReason::SupervisorDown) => match snapshot.get(above(&node.path)) {
            Some(above) if matches!(above.state, ChildState::Running) => {
                Err("its supervisor runs".to_owned())
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn is_wait_explained(snapshot: &Snapshot, node: &ChildView, what: &WaitingFor) -> Result<(), String> {
    let parent = above(&node.path);
    let beside = |other: &&ChildView| above(&other.path) == parent;
    match what {
        WaitingFor::Nothing => Err("nothing keeps it".to_owned()),
        WaitingFor::Place | WaitingFor::RestartStop => {
            let busy = snapshot.nodes().filter(beside).any(is_busy);
            if busy { Ok(()) } else { Err("no sibling starts or stops".to_owned()) }
        }
        WaitingFor::Turn(name) | WaitingFor::RestartBackoff(name) => {
            let Some(other) = sibling(snapshot, node, name.as_str()) else {
                return Err("no such sibling".to_owned());
            };
            let waits = matches!(other.state, ChildState::Waiting { .. });
            if waits { is_explained(snapshot, other) } else { is_busy_or(other) }
        }
        WaitingFor::Edge(name, condition) => {
            let Some(other) = sibling(snapshot, node, name.as_str()) else { return Ok(()) };
            match &other.state {
                ChildState::Idle(IdleReason::SupervisorDown) => Err("its sibling does not start".to_owned()),
                ChildState::Idle(_) => Ok(()),
                ChildState::Waiting { .. } => is_explained(snapshot, other),
                ChildState::Running if other.trial || *condition == Condition::Completed => Ok(()),
                // A supervisor below which a child is quarantined, for example.
                ChildState::Running if other.health != Health::Healthy => Ok(()),
                _ => is_busy_or(other),
            }
        }
    }
}

fn is_busy_or(other: &ChildView) -> Result<(), String> {
    if is_busy(other) { Ok(()) } else { Err(format!("{} is {:?}", other.path, other.state)) }
}
