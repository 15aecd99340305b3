//! libFuzzer's program for the target `found_row` (`docs/testing.md`, "Fuzzing").
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qasedak_fuzz::wallet::found_row(data));
