//! The wallet's database: encrypted values under keys that show no names; a commit is on disk when it returns.
//!
//! A key is one class byte and either a keyed hash of a name or a counter. A value is `key id | nonce | ciphertext`, with
//! key and key id as associated data, so values cannot be moved or swapped (`docs/wallet-format.md`, "Database"). What
//! goes one day is encrypted under the epoch key of that day, which is in the keystore file, durably, before the value is
//! committed; when the day is over the key is dropped, and what the journal's file still holds of the value opens never again.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    path::{Path, PathBuf},
};

use bincode::{Decode, Encode};
use qasedak_chain::{
    LedgerId, Time, codec,
    store::disk::journal::{self, Entry, Holds, Journal},
};
use zeroize::Zeroizing;

use super::{error::WalletError, rows::ROW_MAX_BYTES};
use crate::{
    aead::{self, NONCE_BYTES},
    keystore::{Secrets, live::Keystore},
};

/// What a key is for: its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Header = 1,
    Cursor = 2,
    Contact = 3,
    Card = 4,
    SealKey = 5,
    Received = 6,
    Known = 7,
    Sent = 8,
    Unread = 9,
    Counter = 10,
    Clock = 11,
    SentText = 12,
    Request = 13,
    Blocked = 14,
    Identity = 15,
    Receipt = 16,
    Posting = 17,
}

impl Class {
    const fn byte(self) -> u8 {
        self as u8
    }
    fn of(key: &[u8]) -> Option<Self> {
        const ALL: [Class; 17] = [
            Class::Header,
            Class::Cursor,
            Class::Contact,
            Class::Card,
            Class::SealKey,
            Class::Received,
            Class::Known,
            Class::Sent,
            Class::Unread,
            Class::Counter,
            Class::Clock,
            Class::SentText,
            Class::Request,
            Class::Blocked,
            Class::Identity,
            Class::Receipt,
            Class::Posting,
        ];
        ALL.into_iter().find(|class| key.first() == Some(&class.byte()))
    }
    /// What becomes of its rows.
    const fn keeping(self) -> Keeping {
        match self {
            Class::SealKey
            | Class::Received
            | Class::Sent
            | Class::SentText
            | Class::Request
            | Class::Receipt
            | Class::Posting => Keeping::Epoch,
            Class::Known => Keeping::Dated,
            _ => Keeping::Lasting,
        }
    }
}

/// How long rows of a class are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeping {
    /// Under the record key, for as long as the wallet exists.
    Lasting,
    /// Under the record key, until their time.
    Dated,
    /// Under the epoch key of the day on which they go, until their time.
    Epoch,
}

/// What a value of the database holds.
pub(super) trait Row: Encode + Decode<()> {
    /// The class of its key.
    const CLASS: Class;
    /// From when on it must not exist any more; only for classes whose rows go. It is the first field of the row.
    fn until(&self) -> Option<Time> {
        None
    }
}

/// Names the record key in a value; epoch keys are named by their day, which is never 0.
const RECORD_KEY_ID: u64 = 0;

/// The day under whose epoch key lies what goes at `until`: the one whose end is the first not before it.
fn last_day(until: Time) -> u64 {
    Time::from_secs(until.secs().saturating_sub(1)).day().max(1)
}

/// Changes that become durable together or not at all.
#[derive(Default)]
pub(super) struct Changes {
    batch: journal::Changes,
    /// Rows that are written, and until when they are kept.
    dated: Vec<(Vec<u8>, Time)>,
    removed: Vec<Vec<u8>>,
}

impl Changes {
    pub(super) fn remove(&mut self, key: &[u8]) {
        self.batch.remove(key);
        self.removed.push(key.to_vec());
    }
}

/// When rows go.
#[derive(Default)]
struct Due {
    by_time: BTreeSet<(Time, Vec<u8>)>,
    by_key: BTreeMap<Vec<u8>, Time>,
}

impl Due {
    fn set(&mut self, key: Vec<u8>, until: Time) {
        self.clear(&key);
        self.by_time.insert((until, key.clone()));
        self.by_key.insert(key, until);
    }
    fn clear(&mut self, key: &[u8]) {
        if let Some((key, until)) = self.by_key.remove_entry(key) {
            self.by_time.remove(&(until, key));
        }
    }
    fn by(&self, time: Time) -> Vec<Vec<u8>> {
        self.by_time.iter().take_while(|(until, _)| *until <= time).map(|(_, key)| key.clone()).collect()
    }
}

/// Most epoch keys for days so far ahead that only a wrong clock and transactions from the future lead there.
const FAR_EPOCHS_MAX: usize = 256;
/// From how many days ahead on a day is far. Whatever is made in time goes within 126 days.
const FAR_DAYS: u64 = 200;

/// An open database.
pub(super) struct Vault {
    dir: PathBuf,
    journal: Journal,
    keystore: Keystore,
    due: Due,
    /// The UTC day before which nothing is kept.
    today: u64,
}

/// Opens the journal in `dir`, or starts an empty one.
pub(super) fn open_journal(dir: &Path, ledger: &[u8; 32]) -> Result<Journal, WalletError> {
    Ok(Journal::open(dir, Holds::Wallet, LedgerId::from_bytes(*ledger))?)
}

impl Vault {
    /// Opens the database in `dir`, or starts an empty one.
    pub(super) fn open(dir: &Path, keystore: Keystore) -> Result<Self, WalletError> {
        let journal = open_journal(dir, keystore.secrets().ledger())?;
        Ok(Self { dir: dir.to_owned(), journal, keystore, due: Due::default(), today: 0 })
    }

    /// The keystore beside it.
    pub(super) fn keystore(&mut self) -> &mut Keystore {
        &mut self.keystore
    }

    /// Whether the system keeps what the keystore holds out of swap.
    pub(super) fn is_locked(&self) -> bool {
        self.keystore.is_locked()
    }

    /// What the keystore holds.
    pub(super) fn secrets(&self) -> &Secrets {
        self.keystore.secrets()
    }

    /// Whether nothing was ever committed.
    pub(super) fn is_empty(&self) -> bool {
        self.journal.is_empty()
    }

    /// What is said when a value is not what was written.
    pub(super) fn damaged(&self) -> WalletError {
        WalletError::damaged(&self.dir)
    }

    /// The key of something that has a name or an id, which the key does not show.
    pub(super) fn named_key(&self, class: Class, name: &[u8]) -> Vec<u8> {
        let mut hasher = blake3::Hasher::new_keyed(self.keystore.secrets().name_key());
        hasher.update(&[class.byte()]).update(name);
        let mut key = vec![class.byte()];
        key.extend_from_slice(hasher.finalize().as_bytes());
        key
    }

    /// The key of something that is counted.
    pub(super) fn counted_key(class: Class, number: u64) -> Vec<u8> {
        let mut key = vec![class.byte()];
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    /// The value of a key.
    pub(super) fn get<R: Row>(&self, key: &[u8]) -> Result<Option<R>, WalletError> {
        let value = self.journal.get(key)?;
        value.map(|value| self.decrypt(key, &value)).transpose()
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        self.journal.contains(key)
    }

    /// All values of a class, in order of their keys. What is only waiting to be removed is left out.
    pub(super) fn all<R: Row>(&self) -> Result<Vec<(Vec<u8>, R)>, WalletError> {
        let mut rows = Vec::new();
        for entry in self.journal.prefixed(&[R::CLASS.byte()]) {
            let (key, value) = entry?;
            if !self.has_gone(&key, &value) {
                let row = self.decrypt(&key, &value)?;
                rows.push((key, row));
            }
        }
        Ok(rows)
    }

    /// All values of a class whose rows are counted, in order.
    pub(super) fn all_counted<R: Row>(&self) -> Result<Vec<(u64, R)>, WalletError> {
        let rows = self.all::<R>()?;
        rows.into_iter().map(|(key, row)| Ok((counter(&key).ok_or_else(|| self.damaged())?, row))).collect()
    }

    /// Keys and values as they stand in the database, at most `limit` behind a key.
    pub(super) fn entries(&self, behind: &[u8], limit: usize) -> Result<Vec<Entry>, WalletError> {
        Ok(self.journal.entries(Bound::Excluded(behind)).take(limit).collect::<Result<_, _>>()?)
    }

    /// Keys and values of a class as they stand in the database.
    #[cfg(test)]
    pub(super) fn raw(&self, class: Class) -> Result<Vec<Entry>, WalletError> {
        Ok(self.journal.prefixed(&[class.byte()]).collect::<Result<_, _>>()?)
    }

    /// Whether a value is encrypted under an epoch key that has been dropped. Only a crash between the two leaves one.
    fn has_gone(&self, key: &[u8], value: &[u8]) -> bool {
        let id = value.first_chunk::<8>().map(|id| u64::from_le_bytes(*id));
        Class::of(key).is_some_and(|class| class.keeping() == Keeping::Epoch)
            && id.is_some_and(|id| (1..self.today).contains(&id) && self.keystore.secrets().epoch(id).is_none())
    }

    /// Encrypts a value and adds it to `changes`. An epoch key that it needs is made here, in memory; [`commit`](Self::commit)
    /// writes it first.
    pub(super) fn put<R: Row>(&mut self, changes: &mut Changes, key: &[u8], row: &R) -> Result<(), WalletError> {
        let plaintext = codec::encode::<ROW_MAX_BYTES, R>(row).map_err(|_| self.damaged())?;
        let plaintext = Zeroizing::new(plaintext);
        let until = row.until().unwrap_or(Time::from_secs(u64::MAX));
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| WalletError::Randomness)?;
        let (id, sealed) = match R::CLASS.keeping() {
            Keeping::Epoch => {
                let day = self.epoch_day(until);
                let secret = self.keystore.epoch_for(day)?;
                (day, aead::seal(secret, &nonce, &associated(key, day), &plaintext))
            }
            Keeping::Dated | Keeping::Lasting => {
                let secret = self.keystore.secrets().record_key();
                (RECORD_KEY_ID, aead::seal(secret, &nonce, &associated(key, RECORD_KEY_ID), &plaintext))
            }
        };
        let sealed = sealed.map_err(|_| self.damaged())?;
        changes.batch.insert(key, &[id.to_le_bytes().as_slice(), &nonce, &sealed].concat());
        if R::CLASS.keeping() != Keeping::Lasting {
            changes.dated.push((key.to_vec(), until));
        }
        Ok(())
    }

    fn decrypt<R: Row>(&self, key: &[u8], value: &[u8]) -> Result<R, WalletError> {
        let row = self.plaintext(key, value).and_then(|bytes| codec::decode::<ROW_MAX_BYTES, R>(&bytes).ok());
        row.ok_or_else(|| self.damaged())
    }

    fn plaintext(&self, key: &[u8], value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (id, rest) = value.split_first_chunk::<8>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let id = u64::from_le_bytes(*id);
        let secret = match id {
            RECORD_KEY_ID => self.keystore.secrets().record_key(),
            day => self.keystore.secrets().epoch(day)?,
        };
        aead::open(secret, nonce, &associated(key, id), sealed).ok()
    }

    /// Makes changes durable, all or none: first the keystore with the epoch keys that are new, then the rows. When this
    /// returns they survive a power cut.
    pub(super) fn commit(&mut self, changes: Changes) -> Result<(), WalletError> {
        self.keystore.save()?;
        self.journal.commit(&changes.batch)?;
        for (key, until) in changes.dated {
            self.due.set(key, until);
        }
        for key in &changes.removed {
            self.due.clear(key);
        }
        Ok(())
    }

    /// The day under whose epoch key something is put that goes at `until`. Of far days only some get a key of their own; the
    /// rest share, so that no stranger can fill the keystore by transactions from the future.
    fn epoch_day(&self, until: Time) -> u64 {
        let (day, far) = (last_day(until), self.today.saturating_add(FAR_DAYS));
        let secrets = self.keystore.secrets();
        if day <= far || secrets.epoch(day).is_some() {
            return day;
        }
        let taken: Vec<u64> = secrets.epoch_days().filter(|day| *day > far).collect();
        if taken.len() < FAR_EPOCHS_MAX {
            return day;
        }
        taken.iter().find(|taken| **taken > day).or(taken.last()).copied().unwrap_or(day)
    }

    /// Finds out when each row goes. To be called once, after the header was checked.
    pub(super) fn load_due(&mut self) -> Result<(), WalletError> {
        let mut due = Due::default();
        for entry in self.journal.entries(Bound::Unbounded) {
            let (key, value) = entry?;
            if Class::of(&key).is_none_or(|class| class.keeping() == Keeping::Lasting) {
                continue;
            }
            if self.has_gone(&key, &value) {
                due.set(key, Time::from_secs(0));
                continue;
            }
            // What is damaged is reported by whoever reads it.
            let plaintext = self.plaintext(&key, &value);
            if let Some(until) = plaintext.as_deref().and_then(|bytes| bytes.first_chunk::<8>()) {
                due.set(key, Time::from_secs(u64::from_le_bytes(*until)));
            }
        }
        self.due = due;
        Ok(())
    }

    /// The keys of all rows whose time has come.
    pub(super) fn due_by(&self, time: Time) -> Vec<Vec<u8>> {
        self.due.by(time)
    }

    /// Says what day it is, by what the wallet believes.
    pub(super) fn set_today(&mut self, time: Time) {
        self.today = time.day();
    }

    /// Drops the epoch keys of all days that are over. What was encrypted under them is gone for good.
    pub(super) fn drop_epochs(&mut self) -> Result<bool, WalletError> {
        self.keystore.drop_before(self.today)
    }
}

fn associated(key: &[u8], id: u64) -> Vec<u8> {
    [key, &id.to_le_bytes()].concat()
}

pub(super) fn counter(key: &[u8]) -> Option<u64> {
    key.get(1..)?.try_into().ok().map(u64::from_be_bytes)
}
