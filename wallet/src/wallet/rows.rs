//! What the values of the wallet's database hold, before encryption (`docs/wallet-format.md`, "Database").
//!
//! Encoded canonically by `chain::codec`: fixed-width little-endian integers, lengths as `u64`.

use bincode::{Decode, Encode};
use zeroize::Zeroize;

/// Most bytes of an encoded row: a message of the largest size and its fields.
pub(super) const ROW_MAX_BYTES: usize = 128 * 1024;

/// Version of the database's layout.
pub(super) const VERSION: u8 = 1;

/// What the database is, and whose.
#[derive(Encode, Decode)]
pub(super) struct HeaderRow {
    pub(super) version: u8,
    pub(super) ledger: [u8; 32],
    pub(super) address: [u8; 32],
}

/// How far a node's log has been scanned: the next position.
#[derive(Encode, Decode)]
pub(super) struct CursorRow {
    pub(super) next: u64,
}

/// Positions of a node's log whose envelopes are for this wallet and could not be read yet.
#[derive(Encode, Decode)]
pub(super) struct UnreadRow {
    pub(super) positions: Vec<u64>,
}

/// A contact.
#[derive(Encode, Decode)]
pub(super) struct ContactRow {
    pub(super) name: String,
    pub(super) address: [u8; 32],
}

/// Someone else's newest card, its plain bytes.
#[derive(Encode, Decode)]
pub(super) struct CardRow {
    pub(super) card: Vec<u8>,
}

/// One of the wallet's own seal keys.
#[derive(Encode, Decode)]
pub(super) struct SealKeyRow {
    pub(super) secret: [u8; 32],
}

impl Drop for SealKeyRow {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// A received message.
#[derive(Encode, Decode)]
pub(super) struct ReceivedRow {
    pub(super) tx_id: [u8; 32],
    pub(super) inner_id: [u8; 32],
    pub(super) sender: [u8; 32],
    pub(super) time_ms: u64,
    pub(super) received_at: u64,
    pub(super) seal_key: u64,
    pub(super) kind: u8,
    pub(super) content: Vec<u8>,
}

/// That a message is known, and where it stands.
#[derive(Encode, Decode)]
pub(super) struct KnownRow {
    pub(super) seq: u64,
}

/// A sent message, with what a later disclosure needs.
#[derive(Encode, Decode)]
pub(super) struct SentRow {
    pub(super) tx_id: [u8; 32],
    pub(super) inner_id: [u8; 32],
    pub(super) recipient: [u8; 32],
    pub(super) time_ms: u64,
    pub(super) kind: u8,
    pub(super) content: Vec<u8>,
    pub(super) seal: Vec<u8>,
    pub(super) encapsulation_seed: [u8; 64],
}

impl Drop for SentRow {
    fn drop(&mut self) {
        self.encapsulation_seed.zeroize();
    }
}
