//! libFuzzer's program for the target `checkpoints_file` (`docs/testing.md`, "Fuzzing").
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qasedak_fuzz::chain::checkpoints_file(data));
