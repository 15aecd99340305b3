//! What the values of the wallet's database hold, before encryption (`docs/wallet-format.md`, "Database").
//!
//! Encoded canonically by `chain::codec`: fixed-width little-endian integers, lengths as `u64`. A row that goes at some time
//! begins with that time, in seconds since 1970.

use bincode::{Decode, Encode};
use qasedak_chain::Time;
use zeroize::Zeroize;

use super::vault::{Class, Row};
use crate::clock::WalletClock;

/// Most bytes of an encoded row: a message of the largest size and its fields.
pub(super) const ROW_MAX_BYTES: usize = 128 * 1024;

/// Version of the database's layout. Version 1 was never released.
pub(super) const VERSION: u8 = 2;

/// Rows of a class that are kept for as long as the wallet exists.
macro_rules! lasting {
    ($($row:ident $class:ident),*) => {$(
        impl Row for $row {
            const CLASS: Class = Class::$class;
        }
    )*};
}

/// Rows of a class that go at the time in their first field.
macro_rules! dated {
    ($($row:ident $class:ident),*) => {$(
        impl Row for $row {
            const CLASS: Class = Class::$class;
            fn until(&self) -> Option<Time> {
                Some(Time::from_secs(self.until))
            }
        }
    )*};
}

lasting!(
    HeaderRow Header, CursorRow Cursor, UnreadRow Unread, ContactRow Contact, CardRow Card, CounterRow Counter,
    ClockRow Clock, BlockedRow Blocked, IdentityRow Identity
);
dated!(SealKeyRow SealKey, ReceivedRow Received, KnownRow Known, SentRow Sent, SentTextRow SentText, ReceiptRow Receipt, PostingRow Posting);

impl Row for RequestRow {
    const CLASS: Class = Class::Request;
    fn until(&self) -> Option<Time> {
        self.0.until()
    }
}

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

/// The greatest number that was given to anything counted. Numbers are never used again, whatever goes.
#[derive(Encode, Decode)]
pub(super) struct CounterRow {
    pub(super) last: u64,
}

/// What the wallet knows of the time.
#[derive(Encode, Decode)]
pub(super) struct ClockRow {
    pub(super) clock: WalletClock,
}

/// A contact. Times are seconds since 1970, 0 for never.
#[derive(Encode, Decode)]
pub(super) struct ContactRow {
    pub(super) name: String,
    pub(super) address: [u8; 32],
    /// By which of the wallet's identities they are written to.
    pub(super) account: u32,
    /// Whether receipts are sent to them.
    pub(super) receipts: bool,
    /// When the safety number was compared.
    pub(super) verified: u64,
    /// What is odd about their keys; 0 for nothing.
    pub(super) warning: u8,
    /// Since when.
    pub(super) warned: u64,
}

/// Someone else's newest card, its plain bytes.
#[derive(Encode, Decode)]
pub(super) struct CardRow {
    pub(super) card: Vec<u8>,
}

/// Someone whose messages are dropped.
#[derive(Encode, Decode)]
pub(super) struct BlockedRow {
    pub(super) address: [u8; 32],
    pub(super) since: u64,
}

/// One of the wallet's identities besides the first.
#[derive(Encode, Decode)]
pub(super) struct IdentityRow {
    pub(super) account: u32,
    pub(super) name: String,
}

/// One of the wallet's own seal keys.
#[derive(Encode, Decode)]
pub(super) struct SealKeyRow {
    pub(super) until: u64,
    pub(super) account: u32,
    pub(super) id: u64,
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
    pub(super) until: u64,
    pub(super) account: u32,
    pub(super) tx_id: [u8; 32],
    pub(super) inner_id: [u8; 32],
    pub(super) sender: [u8; 32],
    pub(super) time_ms: u64,
    pub(super) received_at: u64,
    pub(super) seal_key: u64,
    /// All zero for none.
    pub(super) reply: [u8; 32],
    pub(super) kind: u8,
    pub(super) content: Vec<u8>,
}

/// A message of a stranger that was not accepted yet.
#[derive(Encode, Decode)]
pub(super) struct RequestRow(pub(super) ReceivedRow);

/// That a message is known, and under which number; 0 when it is not kept.
#[derive(Encode, Decode)]
pub(super) struct KnownRow {
    pub(super) until: u64,
    pub(super) number: u64,
}

/// A receipt that is owed.
#[derive(Encode, Decode)]
pub(super) struct ReceiptRow {
    pub(super) until: u64,
    pub(super) account: u32,
    pub(super) to: [u8; 32],
    pub(super) inner_id: [u8; 32],
}

/// That a sent message is not known to have reached the outbox.
#[derive(Encode, Decode)]
pub(super) struct PostingRow {
    pub(super) until: u64,
}

/// That a message was sent, and what became of it. Outlives the text by some days.
#[derive(Encode, Decode)]
pub(super) struct SentRow {
    pub(super) until: u64,
    /// When the message ends.
    pub(super) ends: u64,
    pub(super) account: u32,
    pub(super) tx_id: [u8; 32],
    pub(super) inner_id: [u8; 32],
    pub(super) recipient: [u8; 32],
    pub(super) time_ms: u64,
    /// When its receipt came, 0 for not yet.
    pub(super) delivered: u64,
}

/// What a sent message says, with what a later disclosure needs.
#[derive(Encode, Decode)]
pub(super) struct SentTextRow {
    pub(super) until: u64,
    pub(super) reply: [u8; 32],
    pub(super) kind: u8,
    pub(super) content: Vec<u8>,
    /// Time and lifetime of the transaction.
    pub(super) time: u64,
    pub(super) lifetime_secs: u32,
    pub(super) seal: Vec<u8>,
    pub(super) encapsulation_seed: [u8; 64],
}

impl Drop for SentTextRow {
    fn drop(&mut self) {
        self.encapsulation_seed.zeroize();
        self.content.zeroize();
    }
}

impl Drop for ReceivedRow {
    fn drop(&mut self) {
        self.content.zeroize();
    }
}
