//! What is lost when the process, the power, the disk or single bytes fail: nothing that was acknowledged.
//!
//! | module | fails |
//! |---|---|
//! | `kill` | the process, by `kill -9` in the middle of a write |
//! | `power` | the power: ext4 on a loop device, shut down without flushing |
//! | `full` | the space: a full file system, a limit on file sizes |
//! | `corruption`, `kept` | bytes: files cut short, bits flipped, of the ledger and of what lies beside it |
//! | `fixtures`, `beside` | time: ledgers, and what lies beside them, that an earlier version wrote |
//!
//! Each module says how many rounds it makes; `QASEDAK_SOAK=1` makes all of them (`docs/testing.md`).

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod beside;
mod child;
mod corruption;
mod fixtures;
mod full;
mod kept;
mod kill;
mod line;
mod mount;
mod power;
mod support;
