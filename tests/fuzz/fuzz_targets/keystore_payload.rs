//! libFuzzer's program for the target `keystore_payload` (`docs/testing.md`, "Fuzzing").
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qasedak_fuzz::wallet::keystore_payload(data));
