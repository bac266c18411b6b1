//! Takes any bytes for the parts of a request to the control server: path, query, headers and body. Each is accepted, or refused with a
//! problem of the table. Nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| liveoak_control::fuzzing::request(bytes));
