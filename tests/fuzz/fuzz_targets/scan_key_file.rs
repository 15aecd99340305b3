//! libFuzzer's program for the target `scan_key_file` (`docs/testing.md`, "Fuzzing").
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qasedak_fuzz::wallet::scan_key_file(data));
