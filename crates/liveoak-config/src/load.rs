//! From a path, or a text, to a [`Config`] or a [`Diagnostics`].

use crate::bounds::DEFAULT_FILE;
use crate::config::Config;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::reader::Reader;
use crate::source::{ReadEnvFile, Unreadable, read_text};
use crate::syntax;
use crate::table::Table;
use liveoak_core::SpecProblem;
use std::path::Path;

/// Reads and checks a whole file, and the env files that it names. Starts nothing and writes nothing.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file. When the TOML itself is broken, only that.
pub fn load(file: &Path) -> Result<Config, Diagnostics> {
    let name = file.display().to_string();
    let fail = |diagnostic| Diagnostics::of_file(&name, diagnostic);
    let text = read_text(file).map_err(|problem| {
        let help = match problem {
            Unreadable::Missing => Some(format!(
                "name a file, as in `liveoak check path/to/{DEFAULT_FILE}`, or write one: [child.db] and below it command = \"redis-server\""
            )),
            Unreadable::Directory => Some(format!("name the file in it, such as {}", file.join(DEFAULT_FILE).display())),
            _ => None,
        };
        fail(Diagnostic::of_file(format!("cannot read {name}: {problem}")).help_if(help))
    })?;
    // Symbolic links in the name of the folder are left as they are.
    let absolute = std::path::absolute(file)
        .map_err(|error| fail(Diagnostic::of_file(format!("cannot tell the folder of {name}: {error}"))))?;
    read(file, absolute.parent().unwrap_or(Path::new("/")), &text, &read_text)
}

/// Reads and checks a text. It is read as the file `file` in `folder`, and its env files by `open`.
///
/// # Errors
/// The first syntax error of each line; if there are none, all other errors, in order of position.
pub(crate) fn read(
    file: &Path,
    folder: &Path,
    text: &str,
    open: ReadEnvFile<'_>,
) -> Result<Config, Diagnostics> {
    let mut reader = Reader::new(folder, open, &file.display().to_string(), text);
    let document = syntax::parse(text, &mut reader.problems);
    if !reader.problems.is_empty() {
        return Err(reader.problems.sorted());
    }
    let config = reader.root(file, &Table::new(String::new(), 0..0, &document));
    // Run the core's check even if there are errors already: it finds errors between children.
    if let Err(errors) = config.declaration().check() {
        let (counts, others): (Vec<_>, Vec<_>) =
            errors.0.into_iter().partition(|error| counts_children(&error.problem));
        others.iter().for_each(|error| reader.spec_error(error));
        // With other errors the children, or their backoffs, may not be what is meant. Each replica is a child of its own.
        let judge = !counts.is_empty() && reader.problems.is_empty();
        let expanded = judge.then(|| config.expanded().declaration().check().err()).flatten();
        let errors = expanded.into_iter().flat_map(|errors| errors.0);
        errors.filter(|error| counts_children(&error.problem)).for_each(|error| reader.spec_error(&error));
    }
    if reader.problems.is_empty() { Ok(config) } else { Err(reader.problems.sorted()) }
}

/// Returns `true` if the number of children decides whether the rule is broken.
const fn counts_children(problem: &SpecProblem) -> bool {
    matches!(problem, SpecProblem::IntensityOutOfReach { .. })
}
