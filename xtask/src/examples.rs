//! Builds every example of the workspace and runs it to its end. An example must end by itself with success.

use crate::Failure;
use crate::run::{program_within, root, step};
use crate::test::TARGETS;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The time limit of an example. An example that runs longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Builds all examples (and the tests, which share their dependencies), then runs the examples one after the other.
pub(crate) fn run() -> Result<(), Failure> {
    let failure = Failure::io("the examples");
    let names = names(&root().join("crates")).map_err(failure)?;
    step(&format!("cargo build --locked {TARGETS}"), &[])?;
    let built = std::env::current_exe().map_err(failure)?.with_file_name("examples");
    for name in names {
        program_within(Command::new(built.join(&name)), &format!("example {name}"), LIMIT)?;
    }
    Ok(())
}

/// Returns the names of all examples of all crates in a folder: `examples/NAME.rs` or `examples/NAME/main.rs`.
fn names(crates: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for member in fs::read_dir(crates)? {
        let folder = member?.path().join("examples");
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").is_file() {
                names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
            }
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_a_file_or_a_folder_with_a_main_file() {
        let folder = std::env::temp_dir().join(format!("xtask-examples-{}", std::process::id()));
        let examples = folder.join("one/examples");
        fs::create_dir_all(examples.join("shop")).unwrap();
        fs::create_dir_all(examples.join("data")).unwrap();
        fs::create_dir_all(folder.join("two")).unwrap();
        for file in ["tree.rs", "shop/main.rs", "shop/other.rs", "data/shop.toml", "notes.md"] {
            fs::write(examples.join(file), "").unwrap();
        }
        assert_eq!(names(&folder).unwrap(), ["shop", "tree"]);
        fs::remove_dir_all(folder).unwrap();
    }
}
