//! Broken rules of the core, shown where the file breaks them: the map from a path and a field to a place in the text.
//!
//! The core decides what is wrong and says it in one sentence. This file adds the place, what else belongs to the error, and what
//! to do about it.

use crate::diagnostic::Diagnostic;
use crate::keys::near_miss;
use crate::reader::{EdgePlace, Places, Reader};
use crate::supervision::from_to;
use crate::text::{join, one_of, shown};
use liveoak_core::{Name, Path, SpecError, SpecProblem};

/// How many siblings are listed when no name is near, and how many edges of a circle are shown.
const MAX_LISTED: usize = 12;

impl Reader<'_> {
    /// Records a broken rule at its place.
    pub(crate) fn spec_error(&mut self, error: &SpecError) {
        let Some(places) = self.places.get(&error.path) else { return };
        let message = error.problem.to_string();
        let found = match &error.problem {
            SpecProblem::AfterItself => self.after_itself(&error.path, places, message),
            SpecProblem::UnknownSibling { sibling } => {
                self.unknown_sibling(&error.path, places, sibling, message)
            }
            SpecProblem::NeverCompletes { sibling } => {
                self.never_completes(&error.path, places, sibling, message)
            }
            SpecProblem::Circle { children } => self.circle(&error.path, children, message),
            SpecProblem::SignificantIsPermanent => {
                let error =
                    at_field(places, error.field, message).label("the end of this child never counts");
                Some(error.help("make it restart = \"transient\" or \"temporary\", or remove `significant`"))
            }
            SpecProblem::SignificantHasNoEffect => {
                let error = at_field(places, error.field, message);
                let error = error.label("no end of a child ends the supervisor of this child");
                Some(error.help("set auto_shutdown = \"any-significant\" on the supervisor around it"))
            }
            SpecProblem::BackoffFallsBelow { from, to } => {
                let error = at_field(places, error.field, message).label(from_to(*from, *to));
                Some(
                    error
                        .expected("`from` not above `to`")
                        .help("raise `to` (its default is 30s), or lower `from`"),
                )
            }
            // No other rule can be broken by a file: its types allow no such value. Should the core get a new rule, its
            // errors are shown at their field.
            _ => Some(at_field(places, error.field, message)),
        };
        self.problems.extend(found);
    }

    fn after_itself(&self, path: &Path, places: &Places, message: String) -> Option<Diagnostic> {
        let error = at_edge(places.edge(path.name())?, message);
        let help = "remove this edge; a child's own readiness is the key `ready`";
        Some(error.label(format!("`{}` would never start", shown(path.name()))).help(help))
    }

    fn unknown_sibling(
        &self,
        path: &Path,
        places: &Places,
        sibling: &Name,
        message: String,
    ) -> Option<Diagnostic> {
        let name = sibling.as_str();
        let error = at_edge(places.edge(name)?, message)
            .label(format!("`{}` can only wait for children of its own supervisor", shown(path.name())));
        let siblings = self.places.get(&above(path)).map_or(&[][..], |places| &places.children);
        let others = || siblings.iter().map(Name::as_str).filter(|other| *other != path.name());
        let set = name.split_once('.').map(|(set, _)| set).filter(|set| others().any(|other| other == *set));
        if let Some(set) = set {
            return Some(error.help(format!("replicas are waited for together: write `{set}`")));
        }
        // Comparing every wrong name with every sibling is worth it only for errors that will be seen.
        let near = if self.problems.is_crowded() { None } else { near_miss(name, others()) };
        Some(match (near, others().count()) {
            (Some(near), _) => error.help(format!("did you mean `{near}`?")),
            (None, 0) => error.help("this child has no siblings; remove `after`"),
            (None, 1..=MAX_LISTED) => error.expected(one_of(others())),
            (None, _) => error.help("`after` names children of the same supervisor only"),
        })
    }

    fn never_completes(
        &self,
        path: &Path,
        places: &Places,
        sibling: &Name,
        message: String,
    ) -> Option<Diagnostic> {
        let error = at_edge(places.edge(sibling.as_str())?, message);
        let target = self.places.get(&above(path).join(sibling.as_str()))?;
        let (span, by_default) = match target.value("restart") {
            Some(span) => (span, ""),
            None => (target.name.clone(), " by default"),
        };
        let error = error
            .label("this would wait for ever")
            .related(span, format!("permanent{by_default}: restarted whenever it ends"))
            .expected("`started`, `ready` or `healthy`, or a child that may end");
        Some(
            error
                .help(format!("give `{}` restart = \"transient\" or \"temporary\"", shown(sibling.as_str()))),
        )
    }

    fn circle(&self, path: &Path, children: &[Name], message: String) -> Option<Diagnostic> {
        let next = children.iter().cycle().skip(1);
        let mut steps = children.iter().zip(next).filter_map(|(child, next)| {
            let edge = self.places.get(&path.join(child.as_str()))?.edge(next.as_str())?;
            let label = format!("`{}` waits for `{}`", shown(child.as_str()), shown(next.as_str()));
            Some((edge, label))
        });
        let (first, label) = steps.next()?;
        let error = Diagnostic::at(first.span.clone(), &first.keys, message)
            .label(label)
            .help("remove one of these edges; as it is, none of them could ever start");
        Some(
            steps
                .take(MAX_LISTED)
                .fold(error, |error, (edge, label)| error.related(edge.span.clone(), label)),
        )
    }
}

/// Creates an error at a field of what is declared at `places`, or at its name if the file leaves the field out.
fn at_field(places: &Places, field: &str, message: String) -> Diagnostic {
    let key = key_of(field);
    match places.value(key) {
        Some(span) => Diagnostic::at(span, join(&places.keys, key), message),
        None => Diagnostic::at(places.name.clone(), &places.keys, message),
    }
}

fn at_edge(edge: &EdgePlace, message: String) -> Diagnostic {
    Diagnostic::at(edge.span.clone(), &edge.keys, message)
}

/// Returns the key of the file that holds a field of a spec. The others have the same name in both.
fn key_of(field: &str) -> &str {
    match field {
        "start_within" => "ready",
        "stop_within" => "stop",
        "children" => "child",
        // A field inside another stands in the table of the outer one.
        _ => field.split('.').next().unwrap_or(field),
    }
}

/// Returns the path of the supervisor of a child.
fn above(path: &Path) -> Path {
    let text = path.as_str();
    Path::new(text.rfind('/').map_or("", |end| &text[..end]))
}
