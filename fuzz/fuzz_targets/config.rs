//! Reads any bytes as a `liveoak.toml`. The result is a config that the core accepts, or errors with a position.
//! Reading never panics and always ends.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _good = liveoak_config::fuzzing::read_bytes(bytes);
});
