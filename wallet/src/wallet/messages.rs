//! Messages of a wallet: received ones with the scan cursor, and sent ones.
//!
//! Received messages and the cursor behind them are one commit, so a crash loses none and shows none twice.

use std::{collections::BTreeSet, fmt};

use qasedak_chain::{Position, Time, TxId};

use super::{
    Wallet, WalletError,
    rows::{CursorRow, KnownRow, ReceivedRow, SentRow, UnreadRow},
    vault::{Changes, Class, Vault},
};
use crate::{
    address::Address,
    contact::ContactName,
    inner::{Content, InnerId},
    keys::{EncapsulationSeed, SealKeyId, SealPublic},
    open::Opened,
    seal::SentRecord,
};

/// Sent messages that are read at a time while one is searched for.
const SEARCH_PAGE: usize = 256;

/// Most envelopes of a log that are remembered for want of their bodies. A stranger pays a stamp for each.
pub const UNREAD_MAX: usize = 1_024;

/// What one step of a scan came to.
#[derive(Debug, Default)]
pub struct Scanned {
    /// The position from which to go on.
    pub next: Position,
    /// What opened.
    pub opened: Vec<Opened>,
    /// All positions before `next` whose envelopes are for this wallet, and whose bodies are missing or damaged but may yet
    /// come: what is kept of them is replaced by this list. Only the first [`UNREAD_MAX`] are kept.
    pub unread: Vec<Position>,
}

/// Names one node's log. Positions mean nothing in another log, so a new one is scanned from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId([u8; 16]);

impl LogId {
    /// Wraps the 16 random bytes that name a log.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// A message in the inbox.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its number in this inbox, from 1, in order of arrival.
    pub seq: u64,
    /// The transaction that first carried it.
    pub tx_id: TxId,
    /// The message's identity.
    pub inner_id: InnerId,
    /// Who wrote it.
    pub sender: Address,
    /// The sender's name, if they are a contact now.
    pub contact: Option<ContactName>,
    /// When it was written, by the sender's word, in milliseconds since 1970.
    pub time_ms: u64,
    /// What it says.
    pub content: Content,
    /// When it was opened here.
    pub received_at: Time,
    /// The seal key that opened it.
    pub seal_key: SealKeyId,
}

impl fmt::Debug for StoredMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredMessage({}, {}, …)", self.seq, self.tx_id)
    }
}

/// A message that was sent from here.
#[derive(Clone, PartialEq, Eq)]
pub struct SentMessage {
    /// Its number among the sent ones, from 1.
    pub seq: u64,
    /// The transaction that carries it.
    pub tx_id: TxId,
    /// What was kept of it when it was sealed.
    pub record: SentRecord,
}

impl fmt::Debug for SentMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SentMessage({}, {}, …)", self.seq, self.tx_id)
    }
}

impl Wallet {
    /// The position from which the log named `log` is to be scanned next; 0 for a log that was never scanned.
    ///
    /// # Errors
    /// What reading gives.
    pub fn cursor(&self, log: &LogId) -> Result<Position, WalletError> {
        let row = self.vault.get::<CursorRow>(&self.vault.named_key(Class::Cursor, &log.0))?;
        Ok(Position::new(row.map_or(0, |row| row.next)))
    }

    /// Positions of a log whose envelopes are for this wallet and wait for their bodies, ascending.
    ///
    /// # Errors
    /// What reading gives.
    pub fn unread(&self, log: &LogId) -> Result<Vec<Position>, WalletError> {
        let row = self.vault.get::<UnreadRow>(&self.vault.named_key(Class::Unread, &log.0))?;
        Ok(row.map_or_else(Vec::new, |row| row.positions.into_iter().map(Position::new).collect()))
    }

    /// Keeps what a step of scanning `log` has found, and how far it got, in one commit. Returns the messages that are
    /// new; copies of known ones, by inner id, are left out.
    ///
    /// # Errors
    /// What reading and writing give; nothing was kept then.
    pub fn record_scanned(
        &mut self,
        log: &LogId,
        scanned: Scanned,
        now: Time,
    ) -> Result<Vec<StoredMessage>, WalletError> {
        let mut changes = Changes::default();
        let mut seq = self.vault.last_counter(Class::Received)?;
        let (mut kept, mut known) = (Vec::new(), BTreeSet::new());
        for message in scanned.opened {
            let known_key = self.vault.named_key(Class::Known, message.inner_id.as_bytes());
            if self.vault.contains(&known_key)? || !known.insert(message.inner_id) {
                continue;
            }
            seq = seq.saturating_add(1);
            let row = received_row(&message, now);
            self.vault.put(&mut changes, Class::Received, &Vault::counted_key(Class::Received, seq), &row)?;
            self.vault.put(&mut changes, Class::Known, &known_key, &KnownRow { seq })?;
            kept.push(self.stored(seq, message, now));
        }
        self.put_unread(&mut changes, log, &scanned.unread)?;
        let cursor = self.vault.named_key(Class::Cursor, &log.0);
        self.vault.put(&mut changes, Class::Cursor, &cursor, &CursorRow { next: scanned.next.get() })?;
        self.vault.commit(changes)?;
        Ok(kept)
    }

    /// Writes the list only where it changed: nearly always it is and stays empty.
    fn put_unread(&self, changes: &mut Changes, log: &LogId, unread: &[Position]) -> Result<(), WalletError> {
        if self.unread(log)? == unread {
            return Ok(());
        }
        let positions = unread.iter().take(UNREAD_MAX).map(|position| position.get()).collect();
        let key = self.vault.named_key(Class::Unread, &log.0);
        self.vault.put(changes, Class::Unread, &key, &UnreadRow { positions })
    }

    fn stored(&self, seq: u64, message: Opened, received_at: Time) -> StoredMessage {
        StoredMessage {
            seq,
            tx_id: message.tx_id,
            inner_id: message.inner_id,
            sender: message.sender,
            contact: self.name_of(&message.sender).cloned(),
            time_ms: message.time_ms,
            content: message.content,
            received_at,
            seal_key: message.seal_key,
        }
    }

    /// At most `limit` received messages behind the number `after`, in order of arrival.
    ///
    /// # Errors
    /// What reading gives.
    pub fn inbox(&self, after: Option<u64>, limit: usize) -> Result<Vec<StoredMessage>, WalletError> {
        let rows = self.vault.counted::<ReceivedRow>(Class::Received, after.unwrap_or(0), limit)?;
        rows.into_iter()
            .map(|(seq, row)| {
                let message = Opened {
                    tx_id: TxId::from_bytes(row.tx_id),
                    inner_id: InnerId::from_bytes(row.inner_id),
                    sender: Address::from_bytes(row.sender)?,
                    time_ms: row.time_ms,
                    content: self.content(row.kind, &row.content)?,
                    seal_key: SealKeyId::new(row.seal_key),
                };
                Ok(self.stored(seq, message, Time::from_secs(row.received_at)))
            })
            .collect()
    }

    /// The number of the newest received message, 0 if there is none.
    ///
    /// # Errors
    /// What reading gives.
    pub fn last_received(&self) -> Result<u64, WalletError> {
        self.vault.last_counter(Class::Received)
    }

    /// Keeps a sent message. To be called before its transaction is let out, so that no message goes unrecorded.
    /// Returns its number.
    ///
    /// # Errors
    /// What writing gives; the transaction should not be let out then.
    pub fn record_sent(&mut self, tx_id: TxId, record: &SentRecord) -> Result<u64, WalletError> {
        let seq = self.vault.last_counter(Class::Sent)?.saturating_add(1);
        let row = SentRow {
            tx_id: *tx_id.as_bytes(),
            inner_id: *record.inner_id.as_bytes(),
            recipient: *record.recipient.as_bytes(),
            time_ms: record.time_ms,
            kind: record.content.kind(),
            content: record.content.as_bytes().to_vec(),
            seal: record.seal.as_bytes().to_vec(),
            encapsulation_seed: *record.encapsulation_seed.as_bytes(),
        };
        let mut changes = Changes::default();
        self.vault.put(&mut changes, Class::Sent, &Vault::counted_key(Class::Sent, seq), &row)?;
        self.vault.commit(changes)?;
        Ok(seq)
    }

    /// At most `limit` sent messages behind the number `after`, in order of sending.
    ///
    /// # Errors
    /// What reading gives.
    pub fn sent(&self, after: Option<u64>, limit: usize) -> Result<Vec<SentMessage>, WalletError> {
        let rows = self.vault.counted::<SentRow>(Class::Sent, after.unwrap_or(0), limit)?;
        rows.into_iter()
            .map(|(seq, row)| {
                let seal = row.seal.as_slice().try_into().ok().and_then(SealPublic::from_bytes);
                let record = SentRecord {
                    inner_id: InnerId::from_bytes(row.inner_id),
                    recipient: Address::from_bytes(row.recipient)?,
                    time_ms: row.time_ms,
                    content: self.content(row.kind, &row.content)?,
                    seal: seal.ok_or_else(|| self.vault.damaged())?,
                    encapsulation_seed: EncapsulationSeed::from_bytes(&row.encapsulation_seed),
                };
                Ok(SentMessage { seq, tx_id: TxId::from_bytes(row.tx_id), record })
            })
            .collect()
    }

    /// The sent message that this transaction carries.
    ///
    /// # Errors
    /// What reading gives.
    pub fn sent_by(&self, tx_id: &TxId) -> Result<Option<SentMessage>, WalletError> {
        let mut after = 0;
        loop {
            let page = self.sent(Some(after), SEARCH_PAGE)?;
            let Some(last) = page.last().map(|message| message.seq) else {
                return Ok(None);
            };
            after = last;
            if let Some(found) = page.into_iter().find(|message| message.tx_id == *tx_id) {
                return Ok(Some(found));
            }
        }
    }

    fn content(&self, kind: u8, bytes: &[u8]) -> Result<Content, WalletError> {
        Content::from_parts(kind, bytes).ok_or_else(|| self.vault.damaged())
    }
}

fn received_row(message: &Opened, now: Time) -> ReceivedRow {
    ReceivedRow {
        tx_id: *message.tx_id.as_bytes(),
        inner_id: *message.inner_id.as_bytes(),
        sender: *message.sender.as_bytes(),
        time_ms: message.time_ms,
        received_at: now.secs(),
        seal_key: message.seal_key.get(),
        kind: message.content.kind(),
        content: message.content.as_bytes().to_vec(),
    }
}
