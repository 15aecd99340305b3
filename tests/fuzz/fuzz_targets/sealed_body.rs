//! libFuzzer's program for the target `sealed_body` (`docs/testing.md`, "Fuzzing").
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qasedak_fuzz::wallet::sealed_body(data));
