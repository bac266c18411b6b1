//! The order of start: declared order, re-sorted only as far as `after` edges demand.

use super::ChildDeclaration;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// The indexes of `children` in the order in which they start: each child stands behind everything it comes
/// after, and otherwise as declared. Kahn's algorithm, taking the earliest declared of what is free. Edges to
/// unknown names are passed over (the check names them).
///
/// # Errors
/// The indexes along one cycle, each coming after the next, the last after the first.
pub fn start_order(children: &[ChildDeclaration]) -> Result<Vec<usize>, Vec<usize>> {
    let index: HashMap<&str, usize> =
        children.iter().enumerate().map(|(i, child)| (child.name.as_str(), i)).collect();
    let targets =
        |i: usize| children[i].spec.after.iter().filter_map(|edge| index.get(edge.child.as_str()).copied());
    let mut waits = vec![0usize; children.len()];
    let mut followers = vec![Vec::new(); children.len()];
    for (i, wait) in waits.iter_mut().enumerate() {
        for target in targets(i) {
            *wait += 1;
            followers[target].push(i);
        }
    }
    let mut free: BinaryHeap<Reverse<usize>> =
        waits.iter().enumerate().filter(|(_, wait)| **wait == 0).map(|(i, _)| Reverse(i)).collect();
    let mut order = Vec::with_capacity(children.len());
    while let Some(Reverse(i)) = free.pop() {
        order.push(i);
        for &follower in &followers[i] {
            waits[follower] -= 1;
            if waits[follower] == 0 {
                free.push(Reverse(follower));
            }
        }
    }
    if order.len() == children.len() {
        return Ok(order);
    }
    // Whoever still waits, waits for another that does: following those edges must come round.
    let mut trail: Vec<usize> = waits.iter().position(|wait| *wait > 0).into_iter().collect();
    loop {
        let next = trail.last().and_then(|last| targets(*last).find(|target| waits[*target] > 0));
        let Some(next) = next else { return Err(trail) };
        if let Some(start) = trail.iter().position(|seen| *seen == next) {
            return Err(trail.split_off(start));
        }
        trail.push(next);
    }
}
