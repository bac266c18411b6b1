//! The tests of this crate on real files. They are one binary, because a single binary links faster.

mod appending;
mod bounds;
mod damage;
mod holding;
mod moments;
mod reading;
mod support;
