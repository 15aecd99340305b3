//! A journal: keys and values that were acknowledged and that nothing can give back, in one append-only file
//! (`docs/storage.md`, "Journals"; decision 0036). The outbox and the wallet stand on it.
//!
//! A commit is one framed record with all its changes, then an fsync. In memory stands where each value is, and a check of
//! it; the values stay in the file. When more than half of the file is dead it is made anew with what lives, under the next
//! generation.
//!
//! Invariants: what [`commit`](Journal::commit) said yes to survives a power cut, as a whole. Opening cuts only bytes behind
//! the last sound record, and only if neither a sound record behind them nor the witness tells that they were committed;
//! else it refuses and changes nothing. After a failed write the file is cut back before it is written to again; after a
//! failed fsync it is made anew, since a second fsync tells nothing of what the first one lost.

use std::{
    fmt,
    ops::Bound,
    path::{Path, PathBuf},
};

use self::content::{Content, Place};
use super::{
    files::{self, DiskFile},
    segment::{FILE_HEADER_BYTES, FileHeader, FileKind},
    witness::Witness,
};
use crate::{ids::LedgerId, link::first_link, store::StoreError};

mod content;

pub use content::{COMMIT_MAX_BYTES, Changes};

/// The file's name in its directory.
const FILE: &str = "journal.seg";
/// The name of the witness beside it.
const WITNESS: &str = "journal.end";
/// A smaller file is not made anew, unless nothing in it lives.
const SMALL_BYTES: u64 = 64 * 1024;
/// From how many bytes on a record of a file that is made anew is closed.
const BATCH_BYTES: usize = 256 * 1024;

/// What a journal holds; one of another kind is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Transactions on the stem.
    Outbox,
    /// The rows of a wallet.
    Wallet,
    /// What was found for a scan key.
    Found,
}

/// What has to be done before the file is written to again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubt {
    Nothing,
    /// A write broke off: bytes stand behind the last commit.
    Tail,
    /// An fsync failed, or nobody knows which file has the name.
    File,
}

/// An open journal. Whoever opens it holds a lock, so that no other process does.
pub struct Journal {
    path: PathBuf,
    header: FileHeader,
    file: DiskFile,
    content: Content,
    witness: Witness,
    doubt: Doubt,
    /// After a making anew failed: how long the file is to be before the next.
    wait_for: u64,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

impl Journal {
    /// Opens the journal in `dir`, or starts an empty one; the directory is made if there is none.
    ///
    /// # Errors
    /// [`StoreError::DamagedJournal`] when something that was committed cannot be read, [`StoreError::Foreign`] when it
    /// belongs to another network or was written by another version; nothing has been changed then. [`StoreError::Io`] when
    /// the system refuses.
    pub fn open(dir: &Path, holds: Holds, ledger: LedgerId) -> Result<Self, StoreError> {
        files::make_dir(dir)?;
        let path = dir.join(FILE);
        let kind = match holds {
            Holds::Outbox => FileKind::Outbox,
            Holds::Wallet => FileKind::Wallet,
            Holds::Found => FileKind::Found,
        };
        let mut witness = Witness::new(dir.join(WITNESS), kind, ledger);
        let (header, file, content) = match DiskFile::open(&path, true)? {
            Some(file) => {
                let head = file.read_at(0, FILE_HEADER_BYTES)?;
                let header =
                    FileHeader::parse(kind, ledger, &head).map_err(|fault| header_error(fault.into_error(&path)))?;
                let content = committed(&file, &header, &witness)?;
                if file.len()? > content.end() {
                    file.truncate(content.end())?;
                }
                // A commit that a dying process wrote and did not make durable counts from now on, so now it must be.
                file.sync()?;
                (header, file, content)
            }
            None => {
                check_new(dir, &path)?;
                let header = FileHeader { kind, ledger, log_id: [0; 16], number: 0, link: first_link(ledger) };
                (header, files::create_whole(&path, &header.to_bytes())?, Content::new())
            }
        };
        files::remove(&files::unfinished(&path))?;
        witness.tell(&header, content.end());
        Ok(Self { path, header, file, content, witness, doubt: Doubt::Nothing, wait_for: 0 })
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.content.live().is_empty()
    }

    /// Whether a key has a value.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.content.live().contains_key(key)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read, or is not what was written.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.content.live().get(key).map(|place| self.value(place)).transpose()
    }

    /// Keys and values behind `behind`, ascending by key.
    pub fn entries(&self, behind: Bound<&[u8]>) -> impl Iterator<Item = Result<Entry, StoreError>> {
        let places = self.content.live().range::<[u8], _>((behind, Bound::Unbounded));
        places.map(|(key, place)| Ok((key.clone(), self.value(place)?)))
    }

    /// Keys and values whose keys begin with `prefix`, ascending.
    pub fn prefixed<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = Result<Entry, StoreError>> + 'a {
        let places = self.content.live().range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        let places = places.take_while(move |(key, _)| key.starts_with(prefix));
        places.map(|(key, place)| Ok((key.clone(), self.value(place)?)))
    }

    fn value(&self, place: &Place) -> Result<Vec<u8>, StoreError> {
        let value = self.file.read_at(place.offset, place.len)?;
        if place.is_of(&self.header.framing(), &value) {
            return Ok(value);
        }
        Err(damaged(&self.path, place.offset, "a value is not what was read there before"))
    }

    /// Makes changes durable, all or none. When this returns they survive a power cut. When it fails they may be found at
    /// the next opening all the same, as a whole.
    ///
    /// # Errors
    /// [`StoreError::TooMuch`] for more than [`COMMIT_MAX_BYTES`], before anything is written; [`StoreError::Io`] when the
    /// system refuses. What is here stays readable, and the next commit tries anew.
    pub fn commit(&mut self, changes: &Changes) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        if changes.len() > COMMIT_MAX_BYTES {
            let path = self.path.display().to_string();
            return Err(StoreError::TooMuch { path, bytes: changes.len(), max: COMMIT_MAX_BYTES });
        }
        self.settle()?;
        let framing = self.header.framing();
        let (at, record) = (self.content.end(), self.content.record(&framing, changes));
        self.doubt = Doubt::Tail;
        self.file.write_at(&record, at)?;
        self.doubt = Doubt::File;
        if let Err(error) = self.file.sync() {
            // So that the next start does not take for durable what the system only remembers.
            drop(self.file.truncate(at));
            return Err(error);
        }
        self.content.take(&framing, &record).map_err(|what| damaged(&self.path, at, what))?;
        self.doubt = Doubt::Nothing;
        self.witness.tell(&self.header, self.content.end());
        self.tidy();
        Ok(())
    }

    /// Does what a failure left to be done.
    fn settle(&mut self) -> Result<(), StoreError> {
        match self.doubt {
            Doubt::Nothing => {}
            Doubt::Tail => {
                self.file.truncate(self.content.end())?;
                self.doubt = Doubt::File;
                self.file.sync()?;
                self.doubt = Doubt::Nothing;
            }
            Doubt::File => self.make_anew()?,
        }
        Ok(())
    }

    /// Makes the file anew when more than half of it is dead, or all. What is acknowledged stands in the old file and in the
    /// new one, so a failure is nothing that a caller must hear of.
    fn tidy(&mut self) {
        let end = self.content.end();
        let wasteful = self.is_empty() || (end >= SMALL_BYTES && self.content.dead_bytes() > end / 2);
        if wasteful && end >= self.wait_for {
            self.wait_for = if self.make_anew().is_ok() { 0 } else { end.saturating_add(end / 2) };
        }
    }

    /// Writes what lives to a new file, which then takes the old one's place: what was removed stands in no file from then on.
    ///
    /// # Errors
    /// [`StoreError`] of reading and writing. Everything stays as it was, or the next commit does it again.
    pub fn make_anew(&mut self) -> Result<(), StoreError> {
        let header = FileHeader { number: self.header.number.saturating_add(1), ..self.header };
        let mut file = files::create_unfinished(&self.path)?;
        file.write_at(&header.to_bytes(), 0)?;
        let (mut content, mut batch) = (Content::new(), Changes::default());
        for (key, place) in self.content.live() {
            let value = self.value(place)?;
            if batch.len().saturating_add(value.len()) > BATCH_BYTES {
                self.append(&file, &header, &mut content, std::mem::take(&mut batch))?;
            }
            batch.insert(key, &value);
        }
        self.append(&file, &header, &mut content, batch)?;
        // Up to here a failure leaves all as it was. From here on the name may belong to either file.
        file.sync()?;
        self.doubt = Doubt::File;
        file.finish(&self.path)?;
        (self.header, self.file, self.content, self.doubt) = (header, file, content, Doubt::Nothing);
        self.witness.tell(&self.header, self.content.end());
        Ok(())
    }

    fn append(
        &self,
        file: &DiskFile,
        header: &FileHeader,
        content: &mut Content,
        batch: Changes,
    ) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let (at, record) = (content.end(), content.record(&header.framing(), &batch));
        file.write_at(&record, at)?;
        content.take(&header.framing(), &record).map_err(|what| damaged(&self.path, at, what))
    }
}

/// What was committed to a file. Changes nothing.
fn committed(file: &DiskFile, header: &FileHeader, witness: &Witness) -> Result<Content, StoreError> {
    let (content, bad) = content::scan(file, &header.framing())?;
    let at = content.end();
    if let Some(what) = bad.filter(|bad| bad.has_sound_behind).map(|bad| bad.what) {
        return Err(damaged(file.path(), at, what));
    }
    match witness.told()? {
        Some((generation, _)) if generation > header.number => {
            Err(damaged(file.path(), 0, "a later file stood in this place once"))
        }
        Some((generation, end)) if generation == header.number && end > at => {
            let what = bad.map_or("the file ends too early", |bad| bad.what);
            Err(damaged(file.path(), at, &format!("{what}, and what stood there was committed (up to byte {end})")))
        }
        _ => Ok(content),
    }
}

/// Whether there was never anything here that a new journal would take the place of.
fn check_new(dir: &Path, path: &Path) -> Result<(), StoreError> {
    let names = files::names(dir)?;
    let has = |name: &str| names.iter().any(|found| found == name);
    if has(WITNESS) {
        return Err(damaged(path, 0, "the file is missing"));
    }
    // sled's own names.
    if has("db") && has("conf") {
        let what = "was written by a test version in a form that this one cannot read, and is left alone; use that \
                    version, or rename the directory to go on without what it holds";
        return Err(StoreError::Foreign { path: dir.display().to_string(), what: what.to_owned() });
    }
    Ok(())
}

fn damaged(path: &Path, offset: u64, what: &str) -> StoreError {
    StoreError::DamagedJournal { path: path.display().to_string(), offset, what: what.to_owned() }
}

fn header_error(error: StoreError) -> StoreError {
    match error {
        StoreError::Damaged { path, offset, what } => StoreError::DamagedJournal { path, offset, what },
        other => other,
    }
}
