//! `cargo xtask bless`: rewrites the golden transcripts of the tests (error pages, reports, plans) to what the code
//! prints now.
//!
//! Use it only after a wanted change of a text: afterwards the tests accept whatever the code prints.

#![expect(clippy::print_stderr, reason = "a program for people")]

use crate::Failure;
use crate::failure::no_arguments;
use crate::test::all;

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("bless", arguments)?;
    all(&[("UPDATE_EXPECT", "1")])?;
    eprintln!(
        "\nThe transcripts now contain what the code prints. Read `git diff` as a user would before you commit it."
    );
    Ok(())
}
