//! `cargo xtask bless`: what people read (pages of errors, reports, plans) stands in the tests as golden transcripts; this
//! rewrites them to what the code prints now.

#![expect(clippy::print_stderr, reason = "a program for people")]

use crate::Failure;
use crate::task::no_arguments;
use crate::test::all;

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("bless", arguments)?;
    all(&[("UPDATE_EXPECT", "1")])?;
    eprintln!(
        "\nThe transcripts are what the code prints now. Read `git diff` as your users would before you commit it."
    );
    Ok(())
}
