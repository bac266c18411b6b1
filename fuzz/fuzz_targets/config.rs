//! Any bytes as a `liveoak.toml`: reading them ends with a config that the core accepts, or with errors that have a place and can
//! be shown. It never panics and always ends.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _good = liveoak_config::fuzzing::read_bytes(bytes);
});
