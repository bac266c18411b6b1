//! A guardian with real processes.

mod common;
mod programs;
