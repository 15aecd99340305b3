//! libFuzzer's program for the target `checkpoint` (`docs/testing.md`, "Fuzzing").
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qasedak_fuzz::chain::checkpoint(data));
