//! libFuzzer's program for the target `network_name` (`docs/testing.md`, "Fuzzing").
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qasedak_fuzz::chain::network_name(data));
