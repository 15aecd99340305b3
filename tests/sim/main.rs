//! A simulator of whole networks (DESIGN §7; decision 0029): many engines and ledgers, the ones that ship, in one thread
//! and in virtual time, with everything that goes wrong in a network and on a machine, and with nodes that lie.
//!
//! | module | holds |
//! |---|---|
//! | `world` | the nodes, the queue of what is to happen, and the loop |
//! | `node` | one machine: engine, ledger, what is on its disk, what its clock shows, what gossip has seen |
//! | `net` | links, gossip, questions and answers |
//! | `store` | the ledger's store, in memory or on disk |
//! | `maker`, `stamped`, `oracle` | transactions, sound and broken; and what a check of stamp and signature says of them |
//! | `byzantine`, `lies` | nodes that lie, and what they answer |
//! | `plan` | what happens in a run, drawn from its seed |
//! | `checks` | what must hold at every moment, and at the end |
//! | `scenarios`, `blackout` | the runs themselves |
//! | `runs` | many seeds on all cores, each twice; and the line that repeats one |
//!
//! A run is a function of its seed alone: one queue ordered by time and number, one generator, sorted maps. It has two
//! phases. In the first everything goes wrong; in the second, the calm, all links are up and quick, all machines run,
//! nothing new is written, and the nodes that lie go on lying.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod blackout;
mod byzantine;
mod checks;
mod lies;
mod maker;
mod net;
mod node;
mod oracle;
mod plan;
mod runs;
mod scenarios;
mod stamped;
mod store;
mod world;
