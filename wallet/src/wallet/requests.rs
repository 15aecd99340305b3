//! Message requests: what strangers send waits apart, bounded, until its sender is accepted or blocked.
//!
//! A stranger pays a stamp for each message and nothing else bounds how many there are, so only the newest stay: at most
//! [`REQUESTS_MAX`], [`REQUEST_BYTES_MAX`] of text, and [`REQUESTS_PER_SENDER_MAX`] of one sender. Requests never push out what
//! stands in the inbox, and no receipt is ever sent for one.

use std::collections::BTreeMap;

use super::{
    Numbers, StoredMessage, Wallet, WalletError,
    index::{Entry, Waiting},
    rows::{KnownRow, RequestRow},
    vault::{Changes, Class, Vault},
};
use crate::{address::Address, inner::InnerId, keys::Account};

/// Most requests that wait.
pub const REQUESTS_MAX: usize = 256;
/// Most bytes of content in all of them.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most requests of one sender.
pub const REQUESTS_PER_SENDER_MAX: usize = 16;

/// The requests with those of one step of a scan: the oldest fall out when there are too many.
pub(super) struct Waits {
    waiting: BTreeMap<u64, Waiting>,
    bytes: usize,
    fallen: Vec<(u64, InnerId)>,
    added: usize,
}

impl Waits {
    pub(super) fn of(waiting: &BTreeMap<u64, Waiting>) -> Self {
        let bytes = waiting.values().map(|request| request.bytes).sum();
        Self { waiting: waiting.clone(), bytes, fallen: Vec::new(), added: 0 }
    }

    pub(super) fn insert(&mut self, number: u64, request: Waiting) {
        let of_sender = || self.waiting.iter().filter(|(_, other)| other.sender == request.sender);
        if of_sender().count() >= REQUESTS_PER_SENDER_MAX {
            let oldest = of_sender().next().map(|(number, _)| *number);
            oldest.into_iter().for_each(|oldest| self.drop(oldest));
        }
        self.bytes = self.bytes.saturating_add(request.bytes);
        self.waiting.insert(number, request);
        self.added = self.added.saturating_add(1);
        while self.waiting.len() > REQUESTS_MAX || self.bytes > REQUEST_BYTES_MAX {
            let Some(oldest) = self.waiting.keys().next().copied() else {
                return;
            };
            self.drop(oldest);
        }
    }

    fn drop(&mut self, number: u64) {
        if let Some(request) = self.waiting.remove(&number) {
            self.bytes = self.bytes.saturating_sub(request.bytes);
            self.fallen.push((number, request.inner_id));
        }
    }

    /// Adds the removal of those that fell out.
    pub(super) fn removed(&self, changes: &mut Changes, vault: &Vault) {
        for (number, inner_id) in &self.fallen {
            changes.remove(&Vault::counted_key(Class::Request, *number));
            // A copy that is stamped again may come back as a request: it costs a stamp, and the memory is bounded.
            changes.remove(&vault.named_key(Class::Known, inner_id.as_bytes()));
        }
    }

    pub(super) fn added(&self) -> usize {
        self.added
    }

    pub(super) fn into_inner(self) -> BTreeMap<u64, Waiting> {
        self.waiting
    }
}

impl Wallet {
    /// All message requests, oldest first, at most [`REQUESTS_MAX`]. They come from strangers: show them through
    /// [`display`](crate::display), and nothing of what they link to.
    ///
    /// # Errors
    /// What reading gives.
    pub fn requests(&self) -> Result<Vec<StoredMessage>, WalletError> {
        let shown = self.index.requests.iter().filter(|(_, request)| self.shows(request.ends));
        shown.filter_map(|(number, _)| self.request(*number).transpose()).collect()
    }

    /// How many message requests wait.
    pub fn requests_waiting(&self) -> usize {
        self.index.requests.values().filter(|request| self.shows(request.ends)).count()
    }

    fn request(&self, number: u64) -> Result<Option<StoredMessage>, WalletError> {
        let row = self.vault.get::<RequestRow>(&Vault::counted_key(Class::Request, number))?;
        row.map(|RequestRow(row)| self.stored(number, row)).transpose()
    }

    fn requests_of(&self, sender: &Address) -> Vec<(u64, Waiting)> {
        let all = self.index.requests.iter().filter(|(_, request)| request.sender == *sender);
        all.map(|(number, request)| (*number, *request)).collect()
    }

    /// The identity to which the newest request of someone is addressed.
    pub(super) fn request_account(&self, sender: &Address) -> Option<Account> {
        self.requests_of(sender).last().map(|(_, request)| request.account)
    }

    /// Moves the requests of someone who is a stranger no more to the inbox, where they stand as if they came now. No
    /// receipt is owed for them. Returns how many.
    pub(super) fn accept_requests(&mut self, sender: &Address) -> Result<usize, WalletError> {
        let requests = self.requests_of(sender);
        if requests.is_empty() {
            return Ok(0);
        }
        let mut changes = Changes::default();
        let mut last = self.last_number(Numbers::Messages)?;
        let mut moved = Vec::new();
        for (number, request) in &requests {
            let old = Vault::counted_key(Class::Request, *number);
            changes.remove(&old);
            let Some(RequestRow(row)) = self.vault.get(&old)? else {
                continue;
            };
            last = last.saturating_add(1);
            self.vault.put(&mut changes, &Vault::counted_key(Class::Received, last), &row)?;
            let known_key = self.vault.named_key(Class::Known, request.inner_id.as_bytes());
            if let Some(known) = self.vault.get::<KnownRow>(&known_key)? {
                self.vault.put(&mut changes, &known_key, &KnownRow { number: last, ..known })?;
            }
            moved.push((last, Entry { peer: *sender, sent: false, ends: request.ends }));
        }
        self.put_last_number(&mut changes, Numbers::Messages, last)?;
        self.vault.commit(changes)?;
        self.index.requests.retain(|_, request| request.sender != *sender);
        let count = moved.len();
        moved.into_iter().for_each(|(number, entry)| self.index.insert(number, entry));
        Ok(count)
    }

    /// Removes the requests of someone, who stays a stranger. That they are known stays too, so copies of them are refused.
    /// Returns how many.
    ///
    /// # Errors
    /// What writing gives.
    pub fn decline_requests(&mut self, sender: &Address) -> Result<usize, WalletError> {
        let requests = self.requests_of(sender);
        if requests.is_empty() {
            return Ok(0);
        }
        let mut changes = Changes::default();
        for (number, _) in &requests {
            changes.remove(&Vault::counted_key(Class::Request, *number));
        }
        self.vault.commit(changes)?;
        self.index.requests.retain(|_, request| request.sender != *sender);
        Ok(requests.len())
    }
}

#[cfg(test)]
mod tests;
