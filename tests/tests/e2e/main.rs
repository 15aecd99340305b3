//! End to end: the real binary, in real processes, over real sockets on 127.0.0.1, with real files.
//!
//! One test per point of the promise in README: delivery along a line, catching up, kills, damage, bad input,
//! secrecy, finding for others, the demo, and README's own transcript. `docs/testing.md` says how to run more of them.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod audit;
mod bad_input;
mod catch_up;
mod checkpoints;
mod commands;
mod damage;
mod demo;
mod finding;
mod full_disk;
mod harness;
mod holders;
mod kill;
mod lan;
mod line;
mod people;
mod pruned;
mod readme;
mod refetch;
mod repair;
mod secrecy;
mod storm;
mod upkeep;
