//! Shows errors of the core in the file: maps a path and a field to a place in the text.
//!
//! The core finds the errors and describes each in one sentence. This file adds the place, other places that belong to the
//! error, and advice.

use crate::diagnostic::{Diagnostic, Error};
use crate::duration::format_duration;
use crate::reader::{Places, Reader};
use crate::text::{escaped, join, near_miss, one_of};
use liveoak_core::{Backoff, Name, Path, SpecError, SpecProblem};

/// How many siblings are listed when no name is similar, and how many edges of a cycle are shown.
const MAX_LISTED: usize = 12;

impl Reader<'_> {
    /// Records a broken rule at its place. A key that is the place of one of the first `of_reader` errors is not refused twice:
    /// the reader knows better what was meant.
    pub(crate) fn spec_error(&mut self, error: &SpecError, of_reader: usize) {
        let Some(places) = self.places.get(&error.path) else { return };
        let child = escaped(error.path.name());
        let found = match &error.problem {
            SpecProblem::AfterItself => at_edge(places, error.path.name(), error)
                .label(format!("`{child}` would never start"))
                .help("remove this edge; to say when the child itself is ready, use the key `ready`"),
            SpecProblem::UnknownSibling(sibling) => {
                let found = at_edge(places, sibling.as_str(), error);
                let label = format!("`{child}` can only wait for children of its own supervisor");
                self.add_suggestion(found.label(label), &error.path, sibling.as_str())
            }
            SpecProblem::NeverCompletes(sibling) => {
                let found = at_edge(places, sibling.as_str(), error).label("this would wait for ever");
                self.show_permanent(found, &error.path, sibling.as_str())
            }
            SpecProblem::HasNoHealth(sibling) => at_edge(places, sibling.as_str(), error)
                .label("nothing says how healthy it is")
                .help("write \"ready\" here, or give the sibling a check, as in: liveness = { tcp = \"127.0.0.1:7000\" }"),
            SpecProblem::Cycle(children) => self.cycle(error, children),
            SpecProblem::SignificantIsPermanent => at_field(places, error)
                .label("the end of this child never counts")
                .help("make it restart = \"transient\" or \"temporary\", or remove `significant`"),
            SpecProblem::SignificantHasNoEffect => at_field(places, error)
                .label("auto_shutdown is \"never\", so this key has no effect")
                .help("set auto_shutdown = \"any-significant\" on the supervisor around it"),
            SpecProblem::BackoffToBelowFrom { from, to } => at_field(places, error)
                .label(format!("from {} to {}", format_duration(*from), format_duration(*to)))
                .expected("`from` not above `to`")
                .help(format!(
                    "raise `to` (its default is {}), or lower `from`",
                    format_duration(Backoff::default().to)
                )),
            SpecProblem::IntensityOutOfReach { failures, intensity } => {
                at_field(places, error).label(format!(
                    "even if each child always fails, only {failures} restarts within {} are certain",
                    format_duration(intensity.period)
                ))
            }
            // The other rules are shown at their field.
            _ => {
                let found = at_field(places, error);
                if self.problems.diagnostics.iter().take(of_reader).any(|error| error.path == found.path) {
                    return;
                }
                found
            }
        };
        self.problems.push(found);
    }

    /// Adds advice to the error of a child that names an unknown sibling.
    fn add_suggestion(&self, error: Error, path: &Path, name: &str) -> Error {
        let siblings = self.places.get(&parent(path)).map_or(&[][..], |places| &places.children);
        let others = || siblings.iter().map(Name::as_str).filter(|other| *other != path.name());
        let set = name.split_once('.').map(|(set, _)| set).filter(|set| others().any(|other| other == *set));
        if let Some(set) = set {
            return error.help(format!("replicas are waited for together: write `{set}`"));
        }
        // Comparing names is expensive, so it is done only for errors that are shown.
        let near = if self.problems.has_too_many() { None } else { near_miss(name, others()) };
        match (near, others().count()) {
            (Some(near), _) => error.help(format!("did you mean `{near}`?")),
            (None, 0) => error.help("this child has no siblings; remove this edge"),
            (None, 1..=MAX_LISTED) => error.expected(one_of(others())),
            (None, _) => error.help("`after` names children of the same supervisor only"),
        }
    }

    /// Adds to an error the place that makes a sibling permanent.
    fn show_permanent(&self, error: Error, path: &Path, sibling: &str) -> Error {
        let help = format!("give `{}` restart = \"transient\" or \"temporary\"", escaped(sibling));
        let expected = "`started`, `ready` or `healthy`, or a child that is not permanent";
        let error = error.expected(expected).help(help);
        let Some(target) = self.places.get(&parent(path).join(sibling)) else { return error };
        match target.value("restart") {
            Some(span) => error.related(span, "permanent: restarted whenever it ends"),
            None => error.related(
                target.name.clone(),
                "permanent, by default or by its role: restarted whenever it ends",
            ),
        }
    }

    /// Returns the error for children that wait for each other. It is at the edge of the first child and shows the other edges.
    fn cycle(&self, error: &SpecError, children: &[Name]) -> Error {
        let mut found: Option<Error> = None;
        for (child, next) in children.iter().zip(children.iter().cycle().skip(1)).take(MAX_LISTED + 1) {
            let (child, next) = (child.as_str(), next.as_str());
            let Some(places) = self.places.get(&error.path.join(child)) else { continue };
            let label = format!("`{}` waits for `{}`", escaped(child), escaped(next));
            found = Some(match (found, places.edge(next)) {
                (None, _) => at_edge(places, next, error)
                    .label(label)
                    .help("remove one of these edges; otherwise none of these children could ever start"),
                (Some(found), Some(edge)) => found.related(edge.span.clone(), label),
                (Some(found), None) => found,
            });
        }
        found.unwrap_or_else(|| Diagnostic::of_file(error.problem.to_string()))
    }
}

/// Creates an error at the edge to a sibling.
fn at_edge(places: &Places, sibling: &str, error: &SpecError) -> Error {
    match places.edge(sibling) {
        Some(edge) => Diagnostic::at(edge.span.clone(), &edge.path, error.problem.to_string()),
        None => at_field(places, error),
    }
}

/// Creates an error at its field, or at the name of the child if the field is not in the file.
fn at_field(places: &Places, error: &SpecError) -> Error {
    let key = match error.field {
        "start_within" if places.value("start_within").is_none() => "ready",
        "stop_within" | "kill_wait" | "unready_for" => "stop",
        "children" => "child",
        "checks" if places.value("readiness").is_some() => "readiness",
        "checks" => "liveness",
        // The other fields have the same name in the file; `backoff.from` is shown at `backoff`.
        field => field.split('.').next().unwrap_or(field),
    };
    match places.value(key) {
        Some(span) => Diagnostic::at(span, join(&places.path, key), error.problem.to_string()),
        None => Diagnostic::at(places.name.clone(), &places.path, error.problem.to_string()),
    }
}

/// Returns the path of the supervisor of a child.
fn parent(path: &Path) -> Path {
    let text = path.as_str();
    Path::new(text.rfind('/').map_or("", |end| &text[..end]))
}
