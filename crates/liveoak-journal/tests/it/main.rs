//! The tests of this crate on real files. They are one binary, because a single binary links faster.

mod appending;
mod bounds;
mod damage;
mod holding;
mod killed;
mod moments;
mod output;
mod reading;
mod sequences;
mod support;
