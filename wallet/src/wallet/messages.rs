//! Received messages of a wallet, and how a scan is kept.
//!
//! Received messages and the cursor behind them are one commit, so a crash loses none and shows none twice. Of what opens,
//! messages of contacts and of people whom this wallet wrote to go to the inbox, those of strangers to the
//! [requests](super::requests), and receipts become a state of what was sent.

use std::{collections::BTreeSet, fmt};

use qasedak_chain::{Position, Time, TxId};

use super::{
    Numbers, Wallet, WalletError,
    contacts::KeyWarning,
    index::{Entry, Waiting},
    requests::Waits,
    rows::{CursorRow, KnownRow, PostingRow, ReceiptRow, ReceivedRow, RequestRow, SentRow, UnreadRow},
    vault::{Changes, Class, Vault},
};
use crate::{
    address::Address,
    contact::ContactName,
    inner::{Content, InnerId},
    keys::{Account, SealKeyId},
    open::Opened,
};

/// Most envelopes of a log that are remembered for want of their bodies. A stranger pays a stamp for each.
pub const UNREAD_MAX: usize = 1_024;
/// Behind a log's id in the name of the row that says where it is to be scanned again.
const GIVEN_UP: &[u8] = &[1];
/// A transaction from the future is taken to have been made so long after it came, as for its body (DESIGN §4).
const AHEAD_MAX_SECS: u64 = 2 * 86_400;
/// So long after a message has ended copies of it may still come: until honest nodes have dropped the body.
pub(super) const COPIES_FOR_SECS: u64 = 4 * 86_400;

/// What one step of a scan came to.
#[derive(Debug, Default)]
pub struct Scanned {
    /// The position from which to go on.
    pub next: Position,
    /// What opened.
    pub opened: Vec<Opened>,
    /// All positions before `next` whose envelopes are for this wallet, and whose bodies are missing or damaged but may yet
    /// come: what is kept of them is replaced by this list. Only the first [`UNREAD_MAX`] are kept; which are worth it, the node
    /// knows.
    pub unread: Vec<Position>,
    /// The first position before `next` whose envelope is one of those and found no room among them: what is kept is replaced
    /// by this, too.
    pub given_up: Option<Position>,
}

/// What became of what opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// New messages in the inbox.
    pub kept: Vec<StoredMessage>,
    /// New messages of strangers among the requests.
    pub requests: usize,
    /// Sent messages that are known to be delivered now.
    pub delivered: usize,
    /// Copies of messages that are known, by inner id: replayed, or stamped again by someone.
    pub duplicates: usize,
    /// Messages that had ended before they came.
    pub ended: usize,
    /// Messages of people who are blocked.
    pub blocked: usize,
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

/// A received message.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its number in this wallet, in order of opening and sending. Numbers are never used again.
    pub seq: u64,
    /// The transaction that first carried it.
    pub tx_id: TxId,
    /// The message's identity.
    pub inner_id: InnerId,
    /// Who wrote it.
    pub sender: Address,
    /// The sender's name, if they are a contact now.
    pub contact: Option<ContactName>,
    /// What is odd about the sender's keys, and since when, if they are a contact now.
    pub warning: Option<(KeyWarning, Time)>,
    /// To which of the wallet's identities.
    pub account: Account,
    /// When it was written, by the sender's word, in milliseconds since 1970.
    pub time_ms: u64,
    /// What it says. It comes from someone else: show it through [`display`](crate::display).
    pub content: Content,
    /// The message that it answers, by the sender's word.
    pub reply_to: Option<InnerId>,
    /// When it was opened here.
    pub received_at: Time,
    /// When it ends: then it is gone from here.
    pub ends: Time,
    /// The seal key that opened it.
    pub seal_key: SealKeyId,
}

impl fmt::Debug for StoredMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredMessage({}, {}, …)", self.seq, self.tx_id)
    }
}

/// What a step of a scan gathers before it is committed.
#[derive(Default)]
struct Step {
    changes: Changes,
    recorded: Recorded,
    /// The last number that was given.
    last: u64,
    /// Inner ids of this step.
    known: BTreeSet<InnerId>,
    /// Receipts that are owed, by number.
    owed: Vec<(u64, (Account, Address, InnerId))>,
}

impl Wallet {
    pub(super) fn load_messages(&mut self) -> Result<(), WalletError> {
        for (number, row) in self.vault.all_counted::<ReceivedRow>()? {
            let (peer, ends) = (Address::from_bytes(row.sender)?, Time::from_secs(row.until));
            self.index.insert(number, Entry { peer, sent: false, ends });
        }
        for (number, row) in self.vault.all_counted::<SentRow>()? {
            let (peer, ends) = (Address::from_bytes(row.recipient)?, Time::from_secs(row.ends));
            let (tx_id, inner_id) = (TxId::from_bytes(row.tx_id), InnerId::from_bytes(row.inner_id));
            self.index.insert_sent(number, Entry { peer, sent: true, ends }, tx_id, inner_id);
        }
        for (number, RequestRow(row)) in self.vault.all_counted::<RequestRow>()? {
            self.index.requests.insert(number, waiting(&row)?);
        }
        for (number, row) in self.vault.all_counted::<ReceiptRow>()? {
            let owed = (Account::new(row.account), Address::from_bytes(row.to)?, InnerId::from_bytes(row.inner_id));
            self.index.receipts.insert(number, owed);
        }
        for (number, _) in self.vault.all_counted::<PostingRow>()? {
            self.index.posting.insert(number);
        }
        Ok(())
    }

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

    /// The first position of a log whose envelope was given up for want of room among the [unread](Self::unread): from there on
    /// it is to be scanned again.
    ///
    /// # Errors
    /// What reading gives.
    pub fn given_up(&self, log: &LogId) -> Result<Option<Position>, WalletError> {
        let row = self.vault.get::<CursorRow>(&self.given_up_key(log))?;
        Ok(row.map(|row| Position::new(row.next)))
    }

    fn given_up_key(&self, log: &LogId) -> Vec<u8> {
        self.vault.named_key(Class::Cursor, &[log.0.as_slice(), GIVEN_UP].concat())
    }

    /// Keeps what a step of scanning `log` has found, and how far it got, in one commit. Each message is kept once, by its
    /// inner id.
    ///
    /// # Errors
    /// What reading and writing give; nothing was kept then.
    pub fn record_scanned(&mut self, log: &LogId, scanned: Scanned, now: Time) -> Result<Recorded, WalletError> {
        self.clock.tick(now);
        let mut step = Step::default();
        let last = self.last_number(Numbers::Messages)?;
        step.last = last;
        let mut requests = Waits::of(&self.index.requests);
        for message in &scanned.opened {
            self.take(message, &mut step, &mut requests)?;
        }
        if step.last > last {
            self.put_last_number(&mut step.changes, Numbers::Messages, step.last)?;
        }
        requests.removed(&mut step.changes, &self.vault);
        self.put_unread(&mut step.changes, log, &scanned.unread)?;
        self.put_given_up(&mut step.changes, log, scanned.given_up)?;
        let cursor = self.vault.named_key(Class::Cursor, &log.0);
        self.vault.put(&mut step.changes, &cursor, &CursorRow { next: scanned.next.get() })?;
        self.vault.commit(step.changes)?;
        for message in &step.recorded.kept {
            self.index.insert(message.seq, Entry { peer: message.sender, sent: false, ends: message.ends });
        }
        self.index.receipts.extend(step.owed);
        step.recorded.requests = requests.added();
        self.index.requests = requests.into_inner();
        Ok(step.recorded)
    }

    /// Decides where one message belongs, and adds it to the step.
    fn take(&mut self, message: &Opened, step: &mut Step, requests: &mut Waits) -> Result<(), WalletError> {
        let ends = self.end_of(message.time, message.lifetime_secs);
        if self.blocked.contains_key(&message.sender) {
            step.recorded.blocked += 1;
            return Ok(());
        }
        if ends <= self.clock.gone() {
            step.recorded.ended += 1;
            return Ok(());
        }
        if let Content::Receipt(ids) = &message.message.content {
            step.recorded.delivered += self.take_receipt(&message.sender, ids, &mut step.changes)?;
            return Ok(());
        }
        let known_key = self.vault.named_key(Class::Known, message.inner_id.as_bytes());
        if self.vault.contains(&known_key) || !step.known.insert(message.inner_id) {
            step.recorded.duplicates += 1;
            return Ok(());
        }
        step.last = step.last.saturating_add(1);
        let number = step.last;
        let account = self.account_of(&message.recipient);
        let row = received_row(message, account, ends, self.clock.arrival());
        if self.is_stranger(&message.sender) {
            requests.insert(number, waiting(&row)?);
            let row = RequestRow(row);
            self.vault.put(&mut step.changes, &Vault::counted_key(Class::Request, number), &row)?;
        } else {
            self.vault.put(&mut step.changes, &Vault::counted_key(Class::Received, number), &row)?;
            if self.contact_at(&message.sender).is_some_and(|contact| contact.receipts) {
                let owed = (account, message.sender, message.inner_id);
                self.put_owed(&mut step.changes, number, owed, ends)?;
                step.owed.push((number, owed));
            }
            step.recorded.kept.push(self.stored(number, row)?);
        }
        let until = message.time.plus(u64::from(message.lifetime_secs)).plus(COPIES_FOR_SECS).max(ends);
        self.vault.put(&mut step.changes, &known_key, &KnownRow { until: until.secs(), number })
    }

    /// When a message ends that was made at `time`, comes now, and lives so long.
    pub(super) fn end_of(&self, time: Time, lifetime_secs: u32) -> Time {
        time.min(self.clock.arrival().plus(AHEAD_MAX_SECS)).plus(u64::from(lifetime_secs))
    }

    /// Whether someone is neither a contact, nor this wallet, nor somebody whom it wrote to.
    pub(super) fn is_stranger(&self, address: &Address) -> bool {
        self.contact_at(address).is_none()
            && !self.index.wrote_to(address)
            && self.own().all(|own| own.keys.address() != *address)
    }

    /// Writes the list only where it changed: nearly always it is and stays empty.
    fn put_unread(&mut self, changes: &mut Changes, log: &LogId, unread: &[Position]) -> Result<(), WalletError> {
        if self.unread(log)? == unread {
            return Ok(());
        }
        let positions = unread.iter().take(UNREAD_MAX).map(|position| position.get()).collect();
        let key = self.vault.named_key(Class::Unread, &log.0);
        self.vault.put(changes, &key, &UnreadRow { positions })
    }

    /// Written only where it changed, too.
    fn put_given_up(
        &mut self,
        changes: &mut Changes,
        log: &LogId,
        given_up: Option<Position>,
    ) -> Result<(), WalletError> {
        if self.given_up(log)? == given_up {
            return Ok(());
        }
        let key = self.given_up_key(log);
        match given_up {
            Some(position) => self.vault.put(changes, &key, &CursorRow { next: position.get() }),
            None => {
                changes.remove(&key);
                Ok(())
            }
        }
    }

    pub(super) fn stored(&self, seq: u64, row: ReceivedRow) -> Result<StoredMessage, WalletError> {
        let sender = Address::from_bytes(row.sender)?;
        let contact = self.contact_at(&sender);
        Ok(StoredMessage {
            seq,
            tx_id: TxId::from_bytes(row.tx_id),
            inner_id: InnerId::from_bytes(row.inner_id),
            sender,
            contact: contact.map(|contact| contact.name.clone()),
            warning: contact.and_then(|contact| contact.warning),
            account: Account::new(row.account),
            time_ms: row.time_ms,
            content: self.content(row.kind, &row.content)?,
            reply_to: reply_of(row.reply),
            received_at: Time::from_secs(row.received_at),
            ends: Time::from_secs(row.until),
            seal_key: SealKeyId::new(row.seal_key),
        })
    }

    /// At most `limit` received messages behind the number `after`, in order of opening.
    ///
    /// # Errors
    /// What reading gives.
    pub fn inbox(&self, after: Option<u64>, limit: usize) -> Result<Vec<StoredMessage>, WalletError> {
        let numbers = self.index.behind(after.unwrap_or(0), false).filter(|(_, entry)| self.shows(entry.ends));
        numbers.take(limit).filter_map(|(number, _)| self.received(number).transpose()).collect()
    }

    /// A received message by its number.
    pub(super) fn received(&self, number: u64) -> Result<Option<StoredMessage>, WalletError> {
        let row = self.vault.get::<ReceivedRow>(&Vault::counted_key(Class::Received, number))?;
        row.map(|row| self.stored(number, row)).transpose()
    }

    /// The number of the newest received message, 0 if there is none.
    pub fn last_received(&self) -> u64 {
        self.index.last_received()
    }

    pub(super) fn content(&self, kind: u8, bytes: &[u8]) -> Result<Content, WalletError> {
        Content::from_parts(kind, bytes).ok_or_else(|| self.vault.damaged())
    }
}

/// A reply as it stands in a row.
pub(super) fn reply_of(reply: [u8; 32]) -> Option<InnerId> {
    (reply != [0; 32]).then(|| InnerId::from_bytes(reply))
}

fn waiting(row: &ReceivedRow) -> Result<Waiting, WalletError> {
    Ok(Waiting {
        sender: Address::from_bytes(row.sender)?,
        ends: Time::from_secs(row.until),
        bytes: row.content.len(),
        account: Account::new(row.account),
        inner_id: InnerId::from_bytes(row.inner_id),
    })
}

fn received_row(opened: &Opened, account: Account, ends: Time, now: Time) -> ReceivedRow {
    ReceivedRow {
        until: ends.secs(),
        account: account.get(),
        tx_id: *opened.tx_id.as_bytes(),
        inner_id: *opened.inner_id.as_bytes(),
        sender: *opened.sender.as_bytes(),
        time_ms: opened.message.time_ms,
        received_at: now.secs(),
        seal_key: opened.seal_key.get(),
        reply: opened.message.reply_to.map_or([0; 32], |reply| *reply.as_bytes()),
        kind: opened.message.content.kind(),
        content: opened.message.content.as_bytes().to_vec(),
    }
}
