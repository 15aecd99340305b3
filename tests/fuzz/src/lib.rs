//! Fuzz targets: every parser of bytes that a stranger can choose, as one function each.
//!
//! A target takes any bytes and panics when a promise is broken: what is accepted encodes back to the same bytes, nothing
//! is read twice in two ways, and nothing panics, hangs or takes memory without bound. libFuzzer calls these functions
//! (`fuzz_targets/`, with the feature `libfuzzer`), and so do plain tests with the seed corpus (`tests/replay.rs`).
//!
//! | module | parses |
//! |---|---|
//! | [`chain`] | transactions, checkpoints, proof files, the files of a ledger, journals |
//! | [`wallet`] | cards, sealed bodies, keystores, scan key files, disclosures, and what a person types |
//! | [`export`] | exports of a wallet, and the rows of its database |
//! | [`p2p`] | requests and responses of sync, their frames, messages of reconciliation |

// Targets and the helpers of tests say by panicking that a promise is broken.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

pub mod chain;
pub mod export;
pub mod p2p;
pub mod wallet;

// The bytes of sync. Taken in as a file: it needs nothing of libp2p, which would take minutes to build. Only what reads and
// writes is used of it.
#[allow(dead_code)]
#[path = "../../../p2p/src/wire.rs"]
mod wire;

// A ledger to put fuzzed files into, from the helpers of the ledger's own tests.
#[path = "../../../chain/tests/support/disk.rs"]
mod disk;
#[path = "../../../chain/tests/support/pool.rs"]
mod pool;

/// A target: its name, which is that of its program and its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 30] = [
    ("address", wallet::address),
    ("audit", chain::audit),
    ("card", wallet::card),
    ("card_body", wallet::card_body),
    ("checkpoint", chain::checkpoint),
    ("checkpoints_file", chain::checkpoints_file),
    ("contact_name", wallet::contact_name),
    ("disclosure", wallet::disclosure),
    ("display", wallet::display),
    ("export", export::export),
    ("export_entries", export::export_entries),
    ("found_row", wallet::found_row),
    ("frame", p2p::frame),
    ("header", chain::header),
    ("inner", wallet::inner),
    ("journal", chain::journal),
    ("keystore", wallet::keystore),
    ("keystore_payload", wallet::keystore_payload),
    ("network_name", chain::network_name),
    ("proof", chain::proof),
    ("reconcile", p2p::reconcile),
    ("recovery", chain::recovery),
    ("request", p2p::request),
    ("response", p2p::response),
    ("safety_number", wallet::safety_number),
    ("scan_key_file", wallet::scan_key_file),
    ("sealed_body", wallet::sealed_body),
    ("transaction", chain::transaction),
    ("wallet_row", export::wallet_row),
    ("words", wallet::words),
];
