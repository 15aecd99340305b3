//! libFuzzer's program for the target `wallet_row` (`docs/testing.md`, "Fuzzing").
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qasedak_fuzz::export::wallet_row(data));
