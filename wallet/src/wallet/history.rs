//! History: what was said with one person, both ways, paged from the newest back, and searched.

use super::{SentMessage, StoredMessage, Wallet, WalletError};
use crate::{address::Address, contact::fold, inner::InnerId};

/// One message of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryEntry {
    /// They wrote it.
    Received(StoredMessage),
    /// It was written to them. Its text is gone once it has ended.
    Sent(SentMessage),
}

impl HistoryEntry {
    /// Its number in this wallet.
    pub fn number(&self) -> u64 {
        match self {
            Self::Received(message) => message.seq,
            Self::Sent(message) => message.seq,
        }
    }

    /// Its identity, by which another message can answer it.
    pub fn inner_id(&self) -> InnerId {
        match self {
            Self::Received(message) => message.inner_id,
            Self::Sent(message) => message.inner_id,
        }
    }

    /// What it says, if it is a text and has not ended.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Received(message) => message.content.text(),
            Self::Sent(message) => message.record.as_ref().and_then(|record| record.message.content.text()),
        }
    }
}

impl Wallet {
    /// The newest `limit` messages with someone before the number `before`, oldest of them first. With `search`, only texts
    /// that contain it, in any case and however accents are encoded.
    ///
    /// # Errors
    /// What reading gives.
    pub fn history(
        &self,
        with: &Address,
        before: Option<u64>,
        limit: usize,
        search: Option<&str>,
    ) -> Result<Vec<HistoryEntry>, WalletError> {
        let search = search.map(fold).filter(|search| !search.is_empty());
        let mut found = Vec::new();
        for (number, entry) in self.index.with(with, before.unwrap_or(u64::MAX)) {
            if found.len() >= limit {
                break;
            }
            // A sent message is shown as expired for some days more.
            if !entry.sent && !self.shows(entry.ends) {
                continue;
            }
            let entry = match entry.sent {
                true => self.sent_message(number)?.map(HistoryEntry::Sent),
                false => self.received(number)?.map(HistoryEntry::Received),
            };
            let fits = |entry: &HistoryEntry| {
                search.as_ref().is_none_or(|search| entry.text().is_some_and(|text| fold(text).contains(search)))
            };
            found.extend(entry.filter(fits));
        }
        found.reverse();
        Ok(found)
    }
}
