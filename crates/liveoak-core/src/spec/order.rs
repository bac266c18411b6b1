//! The order of start: the declared order, changed only as far as `after` edges require.

use super::ChildDeclaration;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

/// Returns the indexes of `children` in the order in which they start: the declared order, except that each child comes
/// later than the siblings in its `after`. The function uses Kahn's algorithm, and of all children that may start it takes
/// the one declared first. Edges to unknown names are ignored (the check names them).
///
/// # Errors
/// Returns the indexes along the first cycle: each child comes after the next, and the last comes after the first.
pub fn start_order(children: &[ChildDeclaration]) -> Result<Vec<usize>, Vec<usize>> {
    let targets = targets(children);
    let mut waits: Vec<usize> = targets.iter().map(Vec::len).collect();
    let mut followers = vec![Vec::new(); children.len()];
    for (i, targets) in targets.iter().enumerate() {
        targets.iter().for_each(|target| followers[*target].push(i));
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
    Err(cycles(children).into_iter().next().unwrap_or_default())
}

/// Returns for each child the indexes of the siblings that it comes after.
fn targets(children: &[ChildDeclaration]) -> Vec<Vec<usize>> {
    let index: HashMap<&str, usize> =
        children.iter().enumerate().map(|(i, child)| (child.name.as_str(), i)).collect();
    let of_child = |child: &ChildDeclaration| {
        child.spec.after.iter().filter_map(|edge| index.get(edge.child.as_str()).copied()).collect()
    };
    children.iter().map(of_child).collect()
}

/// The progress of the search at one child.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    /// The child is on the current path from the root of the search, at this position.
    OnWay(usize),
    Finished,
}

/// Returns cycles of children that wait for each other. No child is in two of the returned cycles, and each cycle of
/// the graph shares a child with a returned one. A cycle begins with its first declared child; each child comes after
/// the next, and the last comes after the first. A child that comes after itself is not a cycle here, but a different
/// error.
///
/// The search uses an explicit stack instead of recursion, because a chain may contain all children.
pub(super) fn cycles(children: &[ChildDeclaration]) -> Vec<Vec<usize>> {
    let targets = targets(children);
    let mut marks = vec![Mark::New; children.len()];
    let (mut reported, mut found) = (HashSet::<usize>::new(), Vec::new());
    for root in 0..children.len() {
        if marks[root] != Mark::New {
            continue;
        }
        // The path from the root of the search: each child, and how many of its edges were followed.
        let mut way = vec![(root, 0)];
        marks[root] = Mark::OnWay(0);
        while let Some((child, followed)) = way.last_mut() {
            let child = *child;
            let Some(&target) = targets[child].get(*followed) else {
                marks[child] = Mark::Finished;
                way.pop();
                continue;
            };
            *followed += 1;
            match marks[target] {
                Mark::New => {
                    marks[target] = Mark::OnWay(way.len());
                    way.push((target, 0));
                }
                Mark::OnWay(start) if target != child => {
                    let mut cycle: Vec<usize> = way[start..].iter().map(|(child, _)| *child).collect();
                    if cycle.iter().all(|child| !reported.contains(child)) {
                        reported.extend(&cycle);
                        // The cycle begins with its first declared child, whichever edge closed it.
                        let first = (0..cycle.len()).min_by_key(|at| cycle[*at]);
                        cycle.rotate_left(first.unwrap_or_default());
                        found.push(cycle);
                    }
                }
                Mark::OnWay(_) | Mark::Finished => {}
            }
        }
    }
    found
}
