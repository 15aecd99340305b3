//! libFuzzer's program for the target `header` (`docs/testing.md`, "Fuzzing").
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qasedak_fuzz::chain::header(data));
