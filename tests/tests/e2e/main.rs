//! End to end: the real binary, in real processes, over real sockets on 127.0.0.1, with real files.
//!
//! One test per point of the promise in README: delivery along a line, catching up, kills, damage, bad input,
//! secrecy, finding for others, the demo, and README's own transcript. `docs/testing.md` says how to run more of them.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod allocator;
mod audit;
mod bad_input;
mod catch_up;
mod checkpoints;
mod commands;
mod culprit;
mod damage;
mod demo;
mod finding;
#[path = "../../benches/ledger/fixture.rs"]
#[allow(dead_code, clippy::print_stderr, reason = "the benchmarks use the rest of it, and wait for it at a terminal")]
mod fixture;
#[path = "../hostile/frames.rs"]
#[allow(dead_code, reason = "the hostile suite uses the rest of it")]
mod frames;
mod full_disk;
mod harness;
mod holders;
mod kill;
mod lan;
mod late;
mod line;
#[path = "../hostile/manners.rs"]
#[allow(dead_code, reason = "the hostile suite uses the rest of it")]
mod manners;
mod people;
mod pruned;
mod readme;
mod refetch;
mod repair;
#[path = "../hostile/rogue.rs"]
#[allow(dead_code, reason = "the hostile suite uses the rest of it")]
mod rogue;
mod secrecy;
mod storm;
mod upkeep;
