//! The list of what was found for one scan key: a journal, its rows encrypted under a key that follows from the scan key
//! file (`docs/wallet-format.md`, "List of what was found").
//!
//! Invariants: entries are numbered in order of finding, and no number is used twice; an id stands in it once; at most
//! [`FOUND_MAX`] entries, and those that end first go first; likewise the transactions themselves, of which copies of
//! [`COPIES_MAX_BYTES`] are kept in case that the ledger has to drop their bodies early. It can all be derived from the ledger
//! again, but for the numbers and those copies.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    path::Path,
};

use qasedak_chain::{
    Network, Position, Time, TxId,
    store::{
        StoreError,
        disk::{
            files,
            journal::{Changes, Holds, Journal},
        },
    },
};
use qasedak_wallet::{
    finding::{FoundRow, ListKey},
    wallet::UNREAD_MAX,
};
use rand::{Rng, rngs::StdRng};

use super::{FinderError, KEPT_FOR_SECS};

/// Most entries of a list.
pub(super) const FOUND_MAX: usize = 65_536;
/// Most bytes of copies.
pub(super) const COPIES_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// After copies have ended the file is made anew, so that they are on the disk no more; at most so often.
const ANEW_EVERY_SECS: u64 = 3_600;
/// So many positions in which nothing was found are not worth a commit: they are scanned again after a crash.
const UNCOMMITTED_MAX: u64 = 4_096;
/// Key of the row that holds all but the entries.
const STATE_KEY: &[u8] = &[0];
/// Key of the row that says where the log is to be scanned again, while there is such a place. It sorts before the entries.
const GIVEN_UP_KEY: &[u8] = &[0, 1];
/// What the keys of entries begin with; the number follows, most significant byte first. They are the last keys.
const ENTRY: &[u8] = &[1];
/// What the keys of copies begin with; the entry's number follows.
const COPY: &[u8] = &[0, 2];

/// A transaction that was found.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) row: FoundRow,
    /// As it stands on the wire.
    pub(super) bytes: Vec<u8>,
}

/// What one step of a scan came to.
pub(super) struct Step {
    /// The log that was scanned.
    pub(super) log: [u8; 16],
    /// The position from which to go on.
    pub(super) next: Position,
    /// What was found, whole.
    pub(super) found: Vec<Found>,
    /// All positions before `next` that match, and whose bodies may yet come.
    pub(super) waiting: Vec<Position>,
    /// The first of those that found no room in `waiting`.
    pub(super) given_up: Option<Position>,
}

/// How far a log was scanned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The position to go on from.
    pub(super) next: Position,
    /// Positions before it that wait for their bodies.
    pub(super) waiting: Vec<Position>,
    /// From where it is to be scanned again for more of them.
    pub(super) given_up: Option<Position>,
}

/// `list:u32 | log:[16] | next:u64 | last:u32 | count:u32 | count × position:u64`.
#[derive(Clone, Default, PartialEq, Eq)]
struct State {
    /// Random; part of every cursor, so that one of a lost list is not taken for one of this.
    list: u32,
    log: [u8; 16],
    next: u64,
    /// The last number that was given.
    last: u32,
    waiting: Vec<u64>,
}

impl State {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.list.to_le_bytes().to_vec();
        bytes.extend(self.log);
        bytes.extend(self.next.to_le_bytes());
        bytes.extend(self.last.to_le_bytes());
        bytes.extend(u32::try_from(self.waiting.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(self.waiting.iter().flat_map(|position| position.to_le_bytes()));
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (list, bytes) = bytes.split_first_chunk()?;
        let (log, bytes) = bytes.split_first_chunk()?;
        let (next, bytes) = bytes.split_first_chunk()?;
        let (last, bytes) = bytes.split_first_chunk()?;
        let (count, bytes) = bytes.split_first_chunk()?;
        let (positions, rest) = bytes.as_chunks::<8>();
        let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
        let sound = rest.is_empty() && positions.len() == count && count <= UNREAD_MAX;
        sound.then(|| Self {
            list: u32::from_le_bytes(*list),
            log: *log,
            next: u64::from_le_bytes(*next),
            last: u32::from_le_bytes(*last),
            waiting: positions.iter().map(|position| u64::from_le_bytes(*position)).collect(),
        })
    }
}

/// What stands in a directory.
struct Parts {
    journal: Journal,
    /// `None` in a new one.
    state: Option<State>,
    given_up: Option<u64>,
    rows: Vec<(u32, FoundRow)>,
    copies: BTreeMap<u32, u64>,
}

/// The list.
pub(super) struct FoundList {
    key: ListKey,
    journal: Journal,
    state: State,
    given_up: Option<u64>,
    /// `next` as it is on disk.
    committed: u64,
    known: BTreeMap<TxId, u32>,
    /// When each entry goes, and its number.
    ends: BTreeSet<(u64, u32)>,
    /// How many bytes each copy has.
    copies: BTreeMap<u32, u64>,
    /// Whether copies that have ended may still be in the file.
    has_ended_copies: bool,
    made_anew: Time,
}

impl FoundList {
    /// Opens the list in `dir`, or begins one. A damaged one is set aside under another name: all of it is in the ledger.
    pub(super) fn open(dir: &Path, network: &Network, key: ListKey, rng: &mut StdRng) -> Result<Self, FinderError> {
        let opened = Self::read(dir, network, &key)?;
        let Parts { journal, state, given_up, rows, copies } = match opened {
            Some(opened) => opened,
            None => {
                // Said without its name, which only those with the file can tell the meaning of.
                tracing::error!("a list of what was found is damaged; it is set aside, and made anew from the ledger");
                files::set_aside(dir)?;
                Self::read(dir, network, &key)?.ok_or(FinderError::Row)?
            }
        };
        let state = state.unwrap_or_else(|| State { list: rng.next_u32(), ..State::default() });
        let known = rows.iter().map(|(number, row)| (row.id, *number)).collect();
        let ends = rows.iter().map(|(number, row)| (row.until, *number)).collect();
        Ok(Self {
            key,
            journal,
            committed: state.next,
            state,
            given_up,
            known,
            ends,
            copies,
            // Whether it is so is not known after a start.
            has_ended_copies: true,
            made_anew: Time::from_secs(0),
        })
    }

    /// What stands in `dir`; `None` when it cannot be what was written.
    fn read(dir: &Path, network: &Network, key: &ListKey) -> Result<Option<Parts>, FinderError> {
        let journal = match Journal::open(dir, Holds::Found, network.ledger()) {
            Ok(journal) => journal,
            Err(StoreError::DamagedJournal { .. } | StoreError::Foreign { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (mut state, mut given_up, mut rows, mut sound) = (None, None, Vec::new(), true);
        let mut copies = BTreeMap::new();
        for entry in journal.entries(Bound::Unbounded) {
            let (name, value) = entry?;
            let row = key.open(&name, &value);
            if let (Some(number), true) = (number_of(&name, COPY), row.is_some()) {
                copies.insert(number, value.len() as u64);
                continue;
            }
            match (number_of(&name, ENTRY), row) {
                (Some(number), Some(row)) => match FoundRow::from_bytes(&row) {
                    Some(row) => rows.push((number, row)),
                    None => sound = false,
                },
                (None, Some(row)) if name == STATE_KEY => {
                    state = State::from_bytes(&row);
                    sound &= state.is_some();
                }
                (None, Some(row)) if name == GIVEN_UP_KEY => {
                    given_up = row.as_slice().try_into().ok().map(u64::from_le_bytes);
                    sound &= given_up.is_some();
                }
                _ => sound = false,
            }
        }
        let last = state.as_ref().map_or(0, |state: &State| state.last);
        sound &= rows.iter().all(|(number, _)| *number <= last);
        let numbers: BTreeSet<u32> = rows.iter().map(|(number, _)| *number).collect();
        sound &= copies.keys().all(|number| numbers.contains(number));
        Ok(sound.then_some(Parts { journal, state, given_up, rows, copies }))
    }

    /// How far a log was scanned. Another log than the last one is scanned from its start.
    pub(super) fn place(&self, log: [u8; 16]) -> Place {
        if self.state.log != log {
            return Place { next: Position::new(0), waiting: Vec::new(), given_up: None };
        }
        Place {
            next: Position::new(self.state.next),
            waiting: self.state.waiting.iter().copied().map(Position::new).collect(),
            given_up: self.given_up.map(Position::new),
        }
    }

    /// Keeps a step: in one commit, unless there is nothing to keep but how far it got.
    pub(super) fn keep(&mut self, step: Step, rng: &mut StdRng) -> Result<(), FinderError> {
        let waiting: Vec<u64> = step.waiting.iter().take(UNREAD_MAX).map(|position| position.get()).collect();
        let fresh = self.fresh(step.found);
        let given_up = step.given_up.map(Position::get);
        let same = step.log == self.state.log && waiting == self.state.waiting && given_up == self.given_up;
        if same && fresh.is_empty() && step.next.get().saturating_sub(self.committed) < UNCOMMITTED_MAX {
            self.state.next = step.next.get();
            return Ok(());
        }
        let (list, last) = (self.state.list, self.state.last);
        let mut state = State { list, log: step.log, next: step.next.get(), last, waiting };
        let (mut changes, mut ends, mut copies) = (Changes::default(), self.ends.clone(), self.copies.clone());
        let mut added = Vec::new();
        for Found { row, bytes } in fresh {
            // Four thousand million are found nowhere: each has a stamp.
            let Some(number) = state.last.checked_add(1) else { break };
            state.last = number;
            self.put(&mut changes, &key_of(ENTRY, number), &row.to_bytes(), rng)?;
            copies.insert(number, self.put(&mut changes, &key_of(COPY, number), &bytes, rng)?);
            ends.insert((row.until, number));
            added.push((number, row));
        }
        let gone = make_room(&mut ends, &mut copies, &mut changes);
        self.put(&mut changes, STATE_KEY, &state.to_bytes(), rng)?;
        if let Some(position) = given_up {
            self.put(&mut changes, GIVEN_UP_KEY, &position.to_le_bytes(), rng)?;
        } else {
            changes.remove(GIVEN_UP_KEY);
        }
        self.journal.commit(&changes)?;
        self.known.extend(added.iter().map(|(number, row)| (row.id, *number)));
        self.forget(&gone);
        (self.committed, self.state, self.given_up) = (state.next, state, given_up);
        (self.ends, self.copies) = (ends, copies);
        Ok(())
    }

    /// What is not in the list, each once, in the order of the log.
    fn fresh(&self, found: Vec<Found>) -> Vec<Found> {
        let mut seen = BTreeSet::new();
        found.into_iter().filter(|found| !self.known.contains_key(&found.row.id) && seen.insert(found.row.id)).collect()
    }

    /// Encrypts a row, and says how long it is then.
    fn put(&self, changes: &mut Changes, name: &[u8], row: &[u8], rng: &mut StdRng) -> Result<u64, FinderError> {
        let sealed = self.key.seal(name, row, rng).ok_or(FinderError::Row)?;
        changes.insert(name, &sealed);
        Ok(sealed.len() as u64)
    }

    /// Lets go of entries that have ended long ago, and of copies as soon as they end.
    pub(super) fn let_go(&mut self, now: Time) -> Result<(), FinderError> {
        let over =
            |after: u64| self.ends.iter().take_while(move |(until, _)| until.saturating_sub(after) <= now.secs());
        let gone: Vec<u32> = over(0).map(|(_, number)| *number).collect();
        let ended: Vec<u32> =
            over(KEPT_FOR_SECS).map(|(_, number)| *number).filter(|number| self.copies.contains_key(number)).collect();
        if !gone.is_empty() || !ended.is_empty() {
            let mut changes = Changes::default();
            gone.iter().for_each(|number| changes.remove(&key_of(ENTRY, *number)));
            ended.iter().for_each(|number| changes.remove(&key_of(COPY, *number)));
            self.journal.commit(&changes)?;
            self.ends.retain(|(until, _)| *until > now.secs());
            self.forget(&gone);
            ended.iter().for_each(|number| _ = self.copies.remove(number));
            self.has_ended_copies |= !ended.is_empty();
        }
        if self.has_ended_copies && now.since(self.made_anew) >= ANEW_EVERY_SECS {
            self.journal.make_anew()?;
            (self.has_ended_copies, self.made_anew) = (false, now);
        }
        Ok(())
    }

    /// The copy of a transaction, by the cursor behind its entry; `None` when there is none any more, or it cannot be read: one
    /// that is damaged keeps no other back.
    pub(super) fn copy(&self, cursor: u64) -> Option<Vec<u8>> {
        let name = key_of(COPY, number_in(cursor));
        let sealed = self.journal.get(&name).ok()??;
        self.key.open(&name, &sealed).map(|row| row.to_vec())
    }

    fn forget(&mut self, gone: &[u32]) {
        if !gone.is_empty() {
            let gone: BTreeSet<u32> = gone.iter().copied().collect();
            self.known.retain(|_, number| !gone.contains(number));
        }
    }

    /// At most `most` entries behind a cursor, each with the cursor behind it, and whether there are more. A cursor of another
    /// list stands before the first.
    pub(super) fn behind(&self, after: u64, most: usize) -> Result<(Vec<(u64, FoundRow)>, bool), FinderError> {
        let base = u64::from(self.state.list) << 32;
        let number = if after >> 32 == u64::from(self.state.list) { number_in(after) } else { 0 };
        let start = key_of(ENTRY, number);
        let mut entries = self.journal.entries(Bound::Excluded(&start));
        let mut rows = Vec::new();
        for entry in entries.by_ref().take(most) {
            let (name, value) = entry?;
            let number = number_of(&name, ENTRY).ok_or(FinderError::Row)?;
            let row = self.key.open(&name, &value).and_then(|row| FoundRow::from_bytes(&row));
            rows.push((base | u64::from(number), row.ok_or(FinderError::Row)?));
        }
        Ok((rows, entries.next().is_some()))
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }
}

/// Removes entries that are too many, and copies that are too much: those that end first. Gives the entries.
fn make_room(ends: &mut BTreeSet<(u64, u32)>, copies: &mut BTreeMap<u32, u64>, changes: &mut Changes) -> Vec<u32> {
    let mut gone = Vec::new();
    while ends.len() > FOUND_MAX {
        gone.extend(ends.pop_first().map(|(_, number)| number));
    }
    for number in &gone {
        changes.remove(&key_of(ENTRY, *number));
        if copies.remove(number).is_some() {
            changes.remove(&key_of(COPY, *number));
        }
    }
    let mut bytes: u64 = copies.values().sum();
    let mut in_order = ends.iter();
    while bytes > COPIES_MAX_BYTES {
        let Some((_, number)) = in_order.next() else { break };
        if let Some(freed) = copies.remove(number) {
            changes.remove(&key_of(COPY, *number));
            bytes = bytes.saturating_sub(freed);
        }
    }
    gone
}

fn key_of(class: &[u8], number: u32) -> Vec<u8> {
    [class, &number.to_be_bytes()].concat()
}

fn number_of(name: &[u8], class: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(name.strip_prefix(class)?.try_into().ok()?))
}

/// The number in a cursor.
fn number_in(cursor: u64) -> u32 {
    (cursor & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests;
