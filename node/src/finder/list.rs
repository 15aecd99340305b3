//! The list of what was found for one scan key: a journal, its rows encrypted under a key that follows from the scan key
//! file (`docs/wallet-format.md`, "List of what was found").
//!
//! Invariants: entries are numbered in order of finding, and no number is used twice; an id stands in it once; at most
//! [`FOUND_MAX`] entries, and those that end first go first. It can all be derived from the ledger again, but for the numbers.

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

use super::FinderError;

/// Most entries of a list.
pub(super) const FOUND_MAX: usize = 65_536;
/// So many positions in which nothing was found are not worth a commit: they are scanned again after a crash.
const UNCOMMITTED_MAX: u64 = 4_096;
/// Key of the row that holds all but the entries.
const STATE_KEY: &[u8] = &[0];
/// Key of the row that says where the log is to be scanned again, while there is such a place. It sorts before the entries.
const GIVEN_UP_KEY: &[u8] = &[0, 1];
/// First byte of the keys of entries; the number follows, most significant byte first.
const ENTRY: u8 = 1;

/// What one step of a scan came to.
pub(super) struct Step {
    /// The log that was scanned.
    pub(super) log: [u8; 16],
    /// The position from which to go on.
    pub(super) next: Position,
    /// What was found, whole.
    pub(super) found: Vec<FoundRow>,
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
}

impl FoundList {
    /// Opens the list in `dir`, or begins one. A damaged one is set aside under another name: all of it is in the ledger.
    pub(super) fn open(dir: &Path, network: &Network, key: ListKey, rng: &mut StdRng) -> Result<Self, FinderError> {
        let opened = Self::read(dir, network, &key)?;
        let Parts { journal, state, given_up, rows } = match opened {
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
        Ok(Self { key, journal, committed: state.next, state, given_up, known, ends })
    }

    /// What stands in `dir`; `None` when it cannot be what was written.
    fn read(dir: &Path, network: &Network, key: &ListKey) -> Result<Option<Parts>, FinderError> {
        let journal = match Journal::open(dir, Holds::Found, network.ledger()) {
            Ok(journal) => journal,
            Err(StoreError::DamagedJournal { .. } | StoreError::Foreign { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (mut state, mut given_up, mut rows, mut sound) = (None, None, Vec::new(), true);
        for entry in journal.entries(Bound::Unbounded) {
            let (name, value) = entry?;
            let row = key.open(&name, &value);
            match (number_of(&name), row) {
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
        Ok(sound.then_some(Parts { journal, state, given_up, rows }))
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
        let mut fresh: BTreeMap<TxId, FoundRow> = step.found.iter().map(|row| (row.id, *row)).collect();
        fresh.retain(|id, _| !self.known.contains_key(id));
        let given_up = step.given_up.map(Position::get);
        let same = step.log == self.state.log && waiting == self.state.waiting && given_up == self.given_up;
        if same && fresh.is_empty() && step.next.get().saturating_sub(self.committed) < UNCOMMITTED_MAX {
            self.state.next = step.next.get();
            return Ok(());
        }
        let mut state =
            State { list: self.state.list, log: step.log, next: step.next.get(), waiting, ..State::default() };
        state.last = self.state.last;
        let (mut changes, mut added) = (Changes::default(), Vec::new());
        // In the order of the log.
        for row in step.found.iter().filter_map(|row| fresh.remove(&row.id)) {
            // Four thousand million are found nowhere: each has a stamp.
            let Some(number) = state.last.checked_add(1) else { break };
            state.last = number;
            self.put(&mut changes, &key_of(number), &row.to_bytes(), rng)?;
            added.push((number, row));
        }
        let mut ends = self.ends.clone();
        ends.extend(added.iter().map(|(number, row)| (row.until, *number)));
        let mut gone = Vec::new();
        while ends.len() > FOUND_MAX {
            gone.extend(ends.pop_first().map(|(_, number)| number));
        }
        gone.iter().for_each(|number| changes.remove(&key_of(*number)));
        self.put(&mut changes, STATE_KEY, &state.to_bytes(), rng)?;
        match given_up {
            Some(position) => self.put(&mut changes, GIVEN_UP_KEY, &position.to_le_bytes(), rng)?,
            None => changes.remove(GIVEN_UP_KEY),
        }
        self.journal.commit(&changes)?;
        self.known.extend(added.iter().map(|(number, row)| (row.id, *number)));
        self.forget(&gone);
        (self.committed, self.state, self.given_up, self.ends) = (state.next, state, given_up, ends);
        Ok(())
    }

    fn put(&self, changes: &mut Changes, name: &[u8], row: &[u8], rng: &mut StdRng) -> Result<(), FinderError> {
        changes.insert(name, &self.key.seal(name, row, rng).ok_or(FinderError::Row)?);
        Ok(())
    }

    /// Lets go of what has ended long ago.
    pub(super) fn let_go(&mut self, now: Time) -> Result<(), FinderError> {
        let gone: Vec<u32> =
            self.ends.iter().take_while(|(until, _)| *until <= now.secs()).map(|(_, number)| *number).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let mut changes = Changes::default();
        gone.iter().for_each(|number| changes.remove(&key_of(*number)));
        self.journal.commit(&changes)?;
        self.ends.retain(|(until, _)| *until > now.secs());
        self.forget(&gone);
        Ok(())
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
        let number = if after >> 32 == u64::from(self.state.list) { (after & u64::from(u32::MAX)) as u32 } else { 0 };
        let start = key_of(number);
        let mut entries = self.journal.entries(Bound::Excluded(&start));
        let mut rows = Vec::new();
        for entry in entries.by_ref().take(most) {
            let (name, value) = entry?;
            let number = number_of(&name).ok_or(FinderError::Row)?;
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

fn key_of(number: u32) -> [u8; 5] {
    let [a, b, c, d] = number.to_be_bytes();
    [ENTRY, a, b, c, d]
}

fn number_of(name: &[u8]) -> Option<u32> {
    let (&first, number) = name.split_first()?;
    (first == ENTRY).then_some(u32::from_be_bytes(number.try_into().ok()?))
}

#[cfg(test)]
mod tests;
