//! Fuzz targets: every parser of bytes that a stranger can choose, as one function each.
//!
//! A target takes any bytes and panics when a promise is broken: what is accepted encodes back to the same bytes, nothing
//! is read twice in two ways, and nothing panics, hangs or takes memory without bound. libFuzzer calls these functions
//! (`fuzz_targets/`, with the feature `libfuzzer`), and so do plain tests with the seed corpus (`tests/replay.rs`).
//!
//! | module | parses |
//! |---|---|
//! | [`chain`] | transactions, checkpoints, proof files, the files of a ledger |
//! | [`wallet`] | cards, sealed bodies, keystores, scan key files, disclosures, and what a person types |
//! | [`p2p`] | requests and responses of sync |

// Targets and the helpers of tests say by panicking that a promise is broken.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

pub mod chain;
pub mod p2p;
pub mod wallet;

// A ledger to put fuzzed files into, from the helpers of the ledger's own tests.
#[path = "../../../chain/tests/support/disk.rs"]
mod disk;
#[path = "../../../chain/tests/support/pool.rs"]
mod pool;

/// A target: its name, which is that of its program and its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 22] = [
    ("address", wallet::address),
    ("audit", chain::audit),
    ("card", wallet::card),
    ("card_body", wallet::card_body),
    ("checkpoint", chain::checkpoint),
    ("checkpoints_file", chain::checkpoints_file),
    ("contact_name", wallet::contact_name),
    ("disclosure", wallet::disclosure),
    ("display", wallet::display),
    ("header", chain::header),
    ("inner", wallet::inner),
    ("keystore", wallet::keystore),
    ("keystore_payload", wallet::keystore_payload),
    ("network_name", chain::network_name),
    ("proof", chain::proof),
    ("recovery", chain::recovery),
    ("request", p2p::request),
    ("response", p2p::response),
    ("scan_key_file", wallet::scan_key_file),
    ("sealed_body", wallet::sealed_body),
    ("transaction", chain::transaction),
    ("words", wallet::words),
];
