//! Completions for shells, and man pages: both are made of the definition of the command line.

use std::path::Path;

use clap::CommandFactory as _;

use super::failure::Failure;
use super::{Done, print};
use crate::args::Cli;

/// The name of the program in both.
const NAME: &str = "liveoak";

/// Runs `liveoak completions`.
pub(crate) fn completions(shell: clap_complete::Shell) -> Done {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut text);
    print::text(&String::from_utf8_lossy(&text))?;
    Ok(0)
}

/// Runs `liveoak man`.
pub(crate) fn man(folder: Option<&Path>) -> Done {
    let Some(folder) = folder else {
        let mut text = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut text)?;
        print::text(&String::from_utf8_lossy(&text))?;
        return Ok(0);
    };
    clap_mangen::generate_to(Cli::command(), folder).map_err(|error| {
        Failure::failed(format!("cannot write man pages to {}: {error}", folder.display()))
    })?;
    Ok(0)
}
