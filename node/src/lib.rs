//! The node of Qasedak: everything put together, its local API, and its command line.
//!
//! Dependencies run one way, from the top of this list to its bottom:
//!
//! | module | holds |
//! |---|---|
//! | [`cli`] | the command line: parse, run, print, exit code |
//! | [`demo`] | three nodes on this machine exchange a message, end to end |
//! | [`api`] | the loopback API of the running node |
//! | [`node`] | assembly: ledger, wallet, network, API; ordered start and shutdown |
//! | [`mail`] | what the node does for its wallet: scan, open, card, send |
//! | [`finder`] | what it finds for others, with scan keys that open nothing |
//! | [`peer_key`] | the file that says who this node is to others |
//! | [`stamping`] | proof of work on all cores, off the async threads |
//! | [`harden`] | no core dumps; what is said where keys cannot be locked in memory |
//! | [`allocator`] | what the C library's allocator is told, so that a node takes little memory |
//! | [`config`], [`paths`], [`passphrase`], [`logging`], [`failure`] | configuration, files, secrets from people, log lines, how commands fail |

pub mod allocator;
pub mod api;
pub mod cli;
pub mod config;
pub mod demo;
pub mod failure;
pub mod finder;
pub mod harden;
pub mod logging;
pub mod mail;
pub mod node;
mod pace;
pub mod passphrase;
pub mod paths;
pub mod peer_key;
pub mod stamping;
#[cfg(test)]
mod testing;
