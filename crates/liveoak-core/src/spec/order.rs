//! The order of start: declared order, re-sorted only as far as `after` edges demand.

use super::ChildDeclaration;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

/// Returns the indexes of `children` in the order in which they start: declared order, but each child later than the
/// siblings in its `after`. Kahn's algorithm; of all children that may start it takes the one declared first. Edges to
/// unknown names are passed over (the check names them).
///
/// # Errors
/// The indexes along the first circle, each coming after the next, the last after the first.
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
    Err(circles(children).into_iter().next().unwrap_or_default())
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
    /// On the current way from the root of the search, at this position.
    OnWay(usize),
    Finished,
}

/// Returns circles of children that wait for each other, so that every child of a circle is in at least one of them,
/// and no child is in two. A circle begins with its first declared child; each child comes after the next one, the
/// last after the first. A child that comes after itself is no circle: that is an error of its own.
///
/// The search keeps a stack of its own: a chain may be as long as there are children.
pub(super) fn circles(children: &[ChildDeclaration]) -> Vec<Vec<usize>> {
    let targets = targets(children);
    let mut marks = vec![Mark::New; children.len()];
    let (mut reported, mut found) = (HashSet::<usize>::new(), Vec::new());
    for root in 0..children.len() {
        if marks[root] != Mark::New {
            continue;
        }
        // The way from the root: each child, and how many of its edges were followed.
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
                    let mut circle: Vec<usize> = way[start..].iter().map(|(child, _)| *child).collect();
                    if circle.iter().all(|child| !reported.contains(child)) {
                        reported.extend(&circle);
                        // Whichever edge closed it, it begins with its first declared child.
                        let first = (0..circle.len()).min_by_key(|at| circle[*at]);
                        circle.rotate_left(first.unwrap_or_default());
                        found.push(circle);
                    }
                }
                Mark::OnWay(_) | Mark::Finished => {}
            }
        }
    }
    found
}
