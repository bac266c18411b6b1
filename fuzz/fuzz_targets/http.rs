//! Sends any bytes to the control server of a small tree. Each answer is HTTP, and each refusal a problem. Nothing panics or hangs.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| liveoak_control::fuzzing::http(bytes));
