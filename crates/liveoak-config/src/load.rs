//! Reads a path or a text into a [`Config`] or a [`Diagnostics`].

use crate::bounds::DEFAULT_FILE;
use crate::config::Config;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::kinds::Kinds;
use crate::other_tools;
use crate::reader::Reader;
use crate::source::{NotUtf8, Sources, Unreadable, is_stream, shown_name};
use crate::stream::Tell;
use crate::syntax;
use crate::table::Table;
use liveoak_core::SpecProblem;
use std::path::Path;

/// Reads and checks a whole file, and the env files that it names. Starts nothing and writes nothing.
///
/// The file `-` is the standard input. The paths in a file are relative to its folder. In the standard input, a
/// pipe or a descriptor, they are relative to the working directory.
///
/// # Errors
/// Returns all errors, in the order of the file. If the TOML syntax is broken, returns only syntax errors.
pub fn load(file: &Path) -> Result<Config, Diagnostics> {
    load_for(file, None, &|_| {}, &[])
}

/// Reads and checks a whole file like [`load()`], and calls `tell` with a sentence when a pipe, a FIFO, a device or a
/// terminal has been silent for two seconds. After 30 s without a byte it is an error; a terminal is waited for without
/// limit.
///
/// # Errors
/// As [`load()`].
pub fn load_and_tell(file: &Path, tell: Tell<'_>) -> Result<Config, Diagnostics> {
    load_for(file, None, tell, &[])
}

/// Reads and checks a whole file like [`load()`], for a program with kinds. With `load`, the key `kind` is an error.
///
/// # Errors
/// As [`load()`].
pub fn load_with(file: &Path, kinds: &Kinds) -> Result<Config, Diagnostics> {
    load_for(file, Some(kinds), &|_| {}, &[])
}

/// Reads and checks a file. `replicas` are numbers that take the place of those of the file, each with the dotted path of the
/// table of its child.
pub(crate) fn load_for(
    file: &Path,
    kinds: Option<&Kinds>,
    tell: Tell<'_>,
    replicas: &[(String, u16)],
) -> Result<Config, Diagnostics> {
    let name = shown_name(file);
    let fail = |diagnostic| Diagnostics::of_file(&name, diagnostic);
    let sources = Sources::new(tell);
    let text = sources.read_main(file).map_err(|problem| unreadable(file, &name, problem))?;
    // Symbolic links in the name of the folder are left as they are.
    let folder = if is_stream(file) {
        std::env::current_dir()
    } else {
        std::path::absolute(file).map(|file| file.parent().unwrap_or(Path::new("/")).to_owned())
    };
    let folder = folder.map_err(|error| {
        let error = Diagnostic::of_file(format!("cannot tell the working directory: {error}"));
        fail(error.help(other_tools::REMOVED_FOLDER))
    })?;
    let open = |env_file: &Path| sources.read_env_file(env_file);
    let mut reader = Reader::new(&folder, &open, &name, &text);
    (reader.kinds, reader.replicas) = (kinds, replicas);
    read_with(reader, file, &text)
}

/// Returns the error for a file whose text could not be read.
fn unreadable(file: &Path, name: &str, problem: Unreadable) -> Diagnostics {
    if let Unreadable::NotUtf8(NotUtf8 { text, offset, byte }) = problem {
        let span = offset..offset + char::REPLACEMENT_CHARACTER.len_utf8();
        let error = Diagnostic::at(span, "", format!("{name} is not text in UTF-8"));
        let error = error.label(format!("the byte 0x{byte:02x} is not valid UTF-8"));
        let mut problems = Diagnostics::new(name, &text);
        problems.push(error.help_if(Unreadable::Wide.help().map(str::to_owned)));
        return problems;
    }
    let help = match &problem {
        Unreadable::Missing => Some(other_tools::help_without_file(file)),
        Unreadable::Directory => {
            Some(format!("name the file in it, such as {}", file.join(DEFAULT_FILE).display()))
        }
        other => other.help().map(str::to_owned),
    };
    let error = Diagnostic::of_file(format!("cannot read {name}: {problem}"));
    Diagnostics::of_file(name, error.help_if(help))
}

/// Reads and checks a text. It is read as the file `file` in `folder`, and its env files by `open`.
///
/// # Errors
/// Returns the first syntax error of each line. If there is none, returns all other errors, in the order of the file.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn read(
    file: &Path,
    folder: &Path,
    text: &str,
    open: crate::source::ReadEnvFile<'_>,
    kinds: Option<&Kinds>,
) -> Result<Config, Diagnostics> {
    let mut reader = Reader::new(folder, open, &shown_name(file), text);
    reader.kinds = kinds;
    read_with(reader, file, text)
}

fn read_with(mut reader: Reader<'_>, file: &Path, text: &str) -> Result<Config, Diagnostics> {
    let document = syntax::parse(text, &mut reader.problems);
    if let Some(tool) = other_tools::recognized(text).filter(|_| !reader.problems.is_empty()) {
        reader.problems.keep_first(tool);
    }
    if !reader.problems.is_empty() {
        return Err(reader.problems.sorted());
    }
    let mut config = reader.root(file, &Table::new(String::new(), 0..0, &document));
    config.note_places();
    // Run the core's check even if there are errors already: it finds errors between children.
    if let Err(errors) = config.declaration().check() {
        let (counts, others): (Vec<_>, Vec<_>) =
            errors.0.into_iter().partition(|error| counts_children(&error.problem));
        let of_reader = reader.problems.diagnostics.len();
        others.iter().for_each(|error| reader.spec_error(error, of_reader));
        // If there are other errors, the children or their backoffs may be incomplete. Each replica counts as a child.
        let judge = !counts.is_empty() && reader.problems.is_empty();
        let expanded = judge.then(|| config.expanded().declaration().check().err()).flatten();
        let errors = expanded.into_iter().flat_map(|errors| errors.0);
        errors.filter(|error| counts_children(&error.problem)).for_each(|error| reader.spec_error(&error, 0));
    }
    if reader.problems.is_empty() { Ok(config) } else { Err(reader.problems.sorted()) }
}

/// Returns `true` if the number of children decides whether the rule is broken.
const fn counts_children(problem: &SpecProblem) -> bool {
    matches!(problem, SpecProblem::IntensityOutOfReach { .. })
}
