//! Whatever the bytes of a `liveoak.toml`: a config that the library takes, or errors with a place that can be shown; never
//! a panic, and never for ever.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _good = liveoak_cli::read_bytes(bytes);
});
