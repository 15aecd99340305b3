//! Support for the tests that look at the project as a whole; nothing depends on this crate.
//!
//! | module | holds |
//! |---|---|
//! | [`tidy`] | the rules of the project that a machine can check, each with samples that prove it can fail |
//!
//! The tests themselves are in `tests/`: `tidy.rs` holds the workspace to the rules, `signatures.rs` pins the verdict
//! of the signature rule over public and generated vectors, and the end-to-end tests run the real binary.

pub mod tidy;
