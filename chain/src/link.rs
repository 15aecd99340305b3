//! The hash chain of one node's log: `link[-1] = ledger`, `link[p] = H("link", link[p-1], id[p])` (DESIGN §3, §6).

use crate::{
    hash::{Context, hash},
    ids::{LedgerId, Link, TxId},
};

/// The link before the first record: the ledger id.
pub fn first_link(ledger: LedgerId) -> Link {
    Link::from_bytes(*ledger.as_bytes())
}

/// The link after a record with this id: `H("link", previous, id)`.
pub fn next_link(previous: Link, id: &TxId) -> Link {
    Link::from_bytes(hash(Context::Link, &[previous.as_bytes(), id.as_bytes()]))
}
