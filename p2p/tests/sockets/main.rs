//! The whole crate over real sockets of 127.0.0.1: drivers, engines and ledgers in memory, on the network `dev`.
//!
//! Every wait is for a condition, with a deadline that a working node is far from.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may")]

mod delivery;
mod faults;
mod node;
mod start;
mod stranger;
