//! libFuzzer's program for the target `reconcile` (`docs/testing.md`, "Fuzzing").
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qasedak_fuzz::p2p::reconcile(data));
