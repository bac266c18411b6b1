//! The checks of `after` across the children of one supervisor: every name exists, nobody waits for itself, no circle
//! of children waits for one another, and every condition can hold.

use std::collections::{HashMap, HashSet};

use super::child::{Declared, DeclaredEdge};
use super::defaults::MAX_EDGES;
use super::diagnostic::{Diagnostic, Problems};
use super::keys::near_miss;
use super::table::{one_of, shown};
use super::values::{Condition, Restart};

/// How many siblings are listed when no name is near.
const MAX_LISTED: usize = 12;

/// Records every wrong edge among siblings. `count` is how many edges the file has had so far, replicas multiplied.
pub(super) fn check(siblings: &[Declared], count: &mut u64, problems: &mut Problems) {
    let index: HashMap<&str, usize> =
        siblings.iter().enumerate().map(|(at, child)| (child.name(), at)).collect();
    let mut targets: Vec<Vec<(usize, &DeclaredEdge)>> = Vec::with_capacity(siblings.len());
    for child in siblings {
        let mut seen = HashSet::new();
        let mut of_child = Vec::new();
        for edge in &child.edges {
            match index.get(edge.edge.name.as_str()) {
                None => problems.push(unknown(edge, child, siblings, problems.is_crowded())),
                Some(_) if edge.edge.name == child.name() => problems.push(own(edge, child)),
                Some(_) if !seen.insert(edge.edge.name.as_str()) => problems.push(twice(edge)),
                Some(&target) => {
                    problems.extend(never_completed(edge, &siblings[target]));
                    problems.extend(too_many(edge, child.replicas() * siblings[target].replicas(), count));
                    of_child.push((target, edge));
                }
            }
        }
        targets.push(of_child);
    }
    for circle in circles(&targets) {
        problems.push(waits_in_a_circle(&circle, siblings));
    }
}

fn at(edge: &DeclaredEdge, message: String) -> Diagnostic {
    Diagnostic::at(edge.span.clone(), &edge.path, message)
}

fn unknown(edge: &DeclaredEdge, child: &Declared, siblings: &[Declared], crowded: bool) -> Diagnostic {
    let name = edge.edge.name.as_str();
    let error = at(edge, format!("`{}` waits for an unknown child `{}`", child.name(), shown(name)))
        .label("not a sibling: no child of the same supervisor");
    let others = || siblings.iter().map(Declared::name).filter(|other| *other != child.name());
    // Comparing every wrong name with every sibling is worth it only for errors that will be seen.
    let set = name.split_once('.').map(|(set, _)| set).filter(|set| others().any(|other| other == *set));
    if let Some(set) = set {
        return error.help(format!("replicas are waited for together: write `{set}`"));
    }
    match (!crowded).then(|| near_miss(name, others())).flatten() {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => match others().count() {
            0 => error.help("this child has no siblings; remove `after`"),
            1..=MAX_LISTED => error.expected(one_of(others())),
            _ => error.help("`after` names children of the same supervisor only"),
        },
    }
}

fn own(edge: &DeclaredEdge, child: &Declared) -> Diagnostic {
    at(edge, format!("`{}` waits for itself", child.name()))
        .label("it would never start")
        .help("remove this edge; a child's own readiness is the key `ready`")
}

fn twice(edge: &DeclaredEdge) -> Diagnostic {
    at(edge, format!("`{}` is named twice in one `after`", shown(&edge.edge.name)))
        .label("again")
        .help("keep one of the two")
}

/// Counts an edge, and says once when there are too many.
fn too_many(edge: &DeclaredEdge, more: u64, count: &mut u64) -> Option<Diagnostic> {
    let before = *count;
    *count += more;
    (before <= MAX_EDGES && *count > MAX_EDGES).then(|| {
        at(edge, "this file declares too many `after` edges".to_owned())
            .label(format!("this one stands for {more}"))
            .expected(format!("at most {MAX_EDGES}, counted between all replicas"))
            .help("let one child that all wait for stand between two large sets")
    })
}

/// Whether the edge waits for the end of a child that is always restarted.
fn never_completed(edge: &DeclaredEdge, target: &Declared) -> Option<Diagnostic> {
    if edge.edge.condition != Condition::Completed || target.restart() != Restart::Permanent {
        return None;
    }
    let name = target.name();
    let by_default = if target.restart_span == target.name_span { " by default" } else { "" };
    let error = at(edge, format!("`{name}` is permanent, so it is never completed"))
        .label("this would wait for ever")
        .related(target.restart_span.clone(), format!("permanent{by_default}: restarted whenever it ends"))
        .expected("`started`, `ready` or `healthy`, or a child that may end");
    Some(error.help(format!("give `{name}` restart = \"transient\" or \"temporary\"")))
}

/// One circle of waiting: who waits, by which edge.
type Circle<'e> = Vec<(usize, &'e DeclaredEdge)>;

/// Finds circles so that every child on one is told of at least once, and none twice. Keeps its own stack: a chain may
/// be as long as there are children.
fn circles<'e>(targets: &[Vec<(usize, &'e DeclaredEdge)>]) -> Vec<Circle<'e>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnPath(usize),
        Outcome,
    }
    let mut marks = vec![Mark::New; targets.len()];
    let mut told = HashSet::new();
    let mut found = Vec::new();
    for root in 0..targets.len() {
        if marks[root] != Mark::New {
            continue;
        }
        // The way from the root: each child, and how many of its edges were followed.
        let mut path = vec![(root, 0)];
        marks[root] = Mark::OnPath(0);
        while let Some((child, followed)) = path.last_mut() {
            let Some((target, _)) = targets[*child].get(*followed) else {
                marks[*child] = Mark::Outcome;
                path.pop();
                continue;
            };
            *followed += 1;
            match marks[*target] {
                Mark::Outcome => {}
                Mark::New => {
                    marks[*target] = Mark::OnPath(path.len());
                    path.push((*target, 0));
                }
                Mark::OnPath(start) => {
                    let circle: Circle<'e> = path[start..]
                        .iter()
                        .map(|&(child, next)| (child, targets[child][next - 1].1))
                        .collect();
                    if circle.iter().all(|(child, _)| !told.contains(child)) {
                        told.extend(circle.iter().map(|(child, _)| *child));
                        found.push(circle);
                    }
                }
            }
        }
    }
    found
}

fn waits_in_a_circle(circle: &Circle<'_>, siblings: &[Declared]) -> Diagnostic {
    // The circle begins where the file does, so that it is told the same way whatever edge closed it.
    let first = circle.iter().enumerate().min_by_key(|(_, (child, _))| *child).map_or(0, |(at, _)| at);
    let steps: Vec<_> = circle[first..].iter().chain(&circle[..first]).collect();
    let mut names: Vec<&str> = steps.iter().map(|(child, _)| siblings[*child].name()).collect();
    names.push(names[0]);
    let label = |child: usize, edge: &DeclaredEdge| {
        format!("`{}` waits for `{}`", siblings[child].name(), edge.edge.name)
    };
    let (child, edge) = steps[0];
    let error = at(edge, format!("these children wait for one another: {}", elided(&names)))
        .label(label(*child, edge))
        .help("remove one of these edges; as it is, none of them could ever start");
    let others = steps.iter().skip(1).take(MAX_LISTED);
    others.fold(error, |error, (child, edge)| error.related(edge.span.clone(), label(*child, edge)))
}

/// "a -> b -> a", the middle of a long one left out.
fn elided(names: &[&str]) -> String {
    if names.len() <= 2 * MAX_LISTED {
        return names.join(" -> ");
    }
    let (head, tail) = (&names[..MAX_LISTED], &names[names.len() - MAX_LISTED..]);
    let left_out = names.len() - 2 * MAX_LISTED;
    format!("{} -> ({left_out} more) -> {}", head.join(" -> "), tail.join(" -> "))
}
