//! libFuzzer's program for the target `address` (`docs/testing.md`, "Fuzzing").
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qasedak_fuzz::wallet::address(data));
