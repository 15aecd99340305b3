//! What an open wallet keeps in memory about its messages: enough to find any of them, and nothing that they say.
//!
//! Derived from the database when the wallet is opened, and changed after each commit.

use std::collections::{BTreeMap, BTreeSet};

use qasedak_chain::{Time, TxId};

use crate::{
    address::Address,
    inner::InnerId,
    keys::{Account, SealKeyId},
};

/// One message.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// The other side.
    pub(super) peer: Address,
    /// Whether it was sent from here.
    pub(super) sent: bool,
    /// When it ends: from then on its text is gone.
    pub(super) ends: Time,
}

/// A message of a stranger that waits.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    pub(super) sender: Address,
    pub(super) ends: Time,
    pub(super) bytes: usize,
    /// To which of the wallet's identities.
    pub(super) account: Account,
    /// Of its entry among the known ones.
    pub(super) inner_id: InnerId,
}

/// One of the wallet's own seal keys.
#[derive(Clone, Copy)]
pub(super) struct OwnSealKey {
    pub(super) account: Account,
    pub(super) id: SealKeyId,
    /// When it is destroyed.
    pub(super) until: Time,
}

/// All of them.
#[derive(Default)]
pub(super) struct Index {
    entries: BTreeMap<u64, Entry>,
    by_peer: BTreeMap<Address, BTreeSet<u64>>,
    by_tx: BTreeMap<TxId, u64>,
    by_inner: BTreeMap<InnerId, u64>,
    /// By number.
    pub(super) requests: BTreeMap<u64, Waiting>,
    /// Numbers of receipts that are owed.
    pub(super) receipts: BTreeMap<u64, (Account, Address, InnerId)>,
    /// Numbers of sent messages that are not known to have reached the outbox.
    pub(super) posting: BTreeSet<u64>,
    /// Own seal keys by the number of their row.
    pub(super) seal_keys: BTreeMap<u64, OwnSealKey>,
}

impl Index {
    pub(super) fn insert(&mut self, number: u64, entry: Entry) {
        self.by_peer.entry(entry.peer).or_default().insert(number);
        self.entries.insert(number, entry);
    }

    /// A sent message, which can also be found by its transaction and its inner id.
    pub(super) fn insert_sent(&mut self, number: u64, entry: Entry, tx_id: TxId, inner_id: InnerId) {
        self.by_tx.insert(tx_id, number);
        self.by_inner.insert(inner_id, number);
        self.insert(number, entry);
    }

    pub(super) fn remove(&mut self, number: u64) {
        if let Some(entry) = self.entries.remove(&number)
            && let Some(numbers) = self.by_peer.get_mut(&entry.peer)
        {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_peer.remove(&entry.peer);
            }
            if entry.sent {
                self.by_tx.retain(|_, sent| *sent != number);
                self.by_inner.retain(|_, sent| *sent != number);
            }
        }
    }

    pub(super) fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.get(&number)
    }

    /// Numbers of messages with someone, of those before `before`, newest first.
    pub(super) fn with(&self, peer: &Address, before: u64) -> impl Iterator<Item = (u64, &Entry)> {
        let numbers = self.by_peer.get(peer).into_iter().flat_map(move |numbers| numbers.range(..before).rev());
        numbers.filter_map(|number| self.entries.get(number).map(|entry| (*number, entry)))
    }

    /// Messages behind a number, ascending: those sent, or those received.
    pub(super) fn behind(&self, after: u64, sent: bool) -> impl Iterator<Item = (u64, &Entry)> {
        let behind = self.entries.range(after.saturating_add(1)..);
        behind.filter(move |(_, entry)| entry.sent == sent).map(|(number, entry)| (*number, entry))
    }

    /// Whether something was sent to them that is not forgotten yet.
    pub(super) fn wrote_to(&self, peer: &Address) -> bool {
        self.with(peer, u64::MAX).any(|(_, entry)| entry.sent)
    }

    pub(super) fn sent_by_tx(&self, tx_id: &TxId) -> Option<u64> {
        self.by_tx.get(tx_id).copied()
    }

    pub(super) fn tx_of(&self, number: u64) -> Option<TxId> {
        self.by_tx.iter().find(|(_, sent)| **sent == number).map(|(id, _)| *id)
    }

    pub(super) fn sent_by_inner(&self, inner_id: &InnerId) -> Option<u64> {
        self.by_inner.get(inner_id).copied()
    }

    /// The newest message that was received, among those numbered.
    pub(super) fn last_received(&self) -> u64 {
        self.entries.iter().rev().find(|(_, entry)| !entry.sent).map_or(0, |(number, _)| *number)
    }
}
