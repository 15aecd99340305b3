//! Checkpoints and evidence on disk: one append-only file of framed records, each fsynced (`docs/storage.md`,
//! "Checkpoints").
//!
//! Invariants: what [`keep`](Checkpoints::keep) accepted survives a power cut; the file never outgrows
//! [`FILE_MAX_BYTES`] by more than one record, since it is then rewritten whole with what the [`Book`] keeps; a file with
//! damage is set aside, never deleted, and what is right in it lives on in a new one. Only a record that ends with the
//! file before its own end, and of which no witness tells that it was kept, is what a broken-off write left, and is cut
//! without a word.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{
    files::{self, DiskFile, Lock},
    segment::{FILE_HEADER_BYTES, FRAME_BYTES, Fields, FileHeader, FileKind, Framing},
    witness::Witness,
};
use crate::{
    book::{Book, Entry, Evidence, Kept},
    checkpoint::{Contradiction, SIGNED_BYTES, SignedCheckpoint, judge},
    ids::LedgerId,
    link::first_link,
    merkle::CONSISTENCY_MAX,
    network::Network,
    store::{StoreError, checkpoints::Checkpoints},
    time::Time,
};

/// Size from which the file is rewritten: 8 MiB, more than twice what a full book takes.
pub const FILE_MAX_BYTES: u64 = 8 * 1024 * 1024;
/// The file's name in its directory.
const FILE: &str = "checkpoints.seg";
/// The name of the witness beside it.
const WITNESS: &str = "checkpoints.end";

/// Kinds of records in this file.
const KIND_OWN: u8 = 1;
const KIND_PEER: u8 = 2;
const KIND_EVIDENCE: u8 = 3;
/// Bytes of the longest payload: time, two checkpoints, the path.
const PAYLOAD_MAX_BYTES: usize = 8 + 2 * SIGNED_BYTES + 32 * CONSISTENCY_MAX;
/// Most damaged files that are kept beside the current one.
const SET_ASIDE_MAX: usize = 8;

/// Checkpoints and evidence in a directory of their own.
pub struct DiskCheckpoints {
    path: PathBuf,
    network: Network,
    max_bytes: u64,
    damage: Vec<String>,
    open: Mutex<Open>,
    /// Closed last, so that nobody opens what is still being closed.
    _lock: Lock,
}

struct Open {
    file: DiskFile,
    end: u64,
    book: Book,
    witness: Witness,
    failed: bool,
}

impl fmt::Debug for DiskCheckpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskCheckpoints").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What reading a file gave.
struct Scanned {
    entries: Vec<Entry>,
    /// Where the last whole record ends.
    end: u64,
    damage: Vec<String>,
}

impl DiskCheckpoints {
    /// Opens the checkpoints of a network in `dir`, which is made if there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`] when they cannot be opened, [`StoreError::InUse`] when another process has them open,
    /// [`StoreError::Foreign`] when they belong to another network or were written by a newer version.
    pub fn open(dir: &Path, network: &Network) -> Result<Self, StoreError> {
        Self::open_with_bound(dir, network, FILE_MAX_BYTES)
    }

    /// The same with a file that is rewritten once it has `max_bytes`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with_bound(dir: &Path, network: &Network, max_bytes: u64) -> Result<Self, StoreError> {
        files::make_dir(dir)?;
        let lock = files::lock(&dir.join("lock"))?;
        let path = dir.join(FILE);
        files::remove(&dir.join(format!("{FILE}{}", files::UNFINISHED)))?;
        let mut witness = Witness::new(dir.join(WITNESS), FileKind::Checkpoints, network.ledger());
        let (entries, damage, file) = match DiskFile::open(&path, true)? {
            None => (Vec::new(), Vec::new(), None),
            Some(file) => {
                let mut scanned = scan(network, &file)?;
                if let Some((_, kept)) = witness.told()?.filter(|(_, kept)| *kept > scanned.end) {
                    scanned
                        .damage
                        .push(format!("{}: records up to byte {kept} were kept, and are gone", path.display()));
                }
                let sound = scanned.damage.is_empty();
                if sound && file.len()? > scanned.end {
                    file.truncate(scanned.end)?;
                    file.sync()?;
                }
                (scanned.entries, scanned.damage, sound.then_some((file, scanned.end)))
            }
        };
        let book = Book::of(entries);
        let (file, end) = match file {
            Some(opened) => opened,
            None => {
                if !damage.is_empty() {
                    set_aside(dir)?;
                }
                witness.forget()?;
                write_whole(&path, network, &book)?
            }
        };
        witness.tell(&header(network.ledger()), end);
        let open = Mutex::new(Open { file, end, book, witness, failed: false });
        Ok(Self { path, network: network.clone(), max_bytes, damage, open, _lock: lock })
    }

    /// Reads the book of a directory and changes nothing, beside a running node too. An empty book when there is none.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read, belongs to another network, or was written by a newer version.
    pub fn read(dir: &Path, network: &Network) -> Result<Book, StoreError> {
        match DiskFile::open(&dir.join(FILE), false)? {
            Some(file) => Ok(Book::of(scan(network, &file)?.entries)),
            None => Ok(Book::new()),
        }
    }

    /// What was found damaged on opening, one sentence each. The file was set aside, and all else in it is here.
    pub fn damage(&self) -> &[String] {
        &self.damage
    }
}

impl Checkpoints for DiskCheckpoints {
    fn keep(&self, entry: &Entry) -> Result<(), StoreError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.book.insert(entry.clone()) && !open.failed {
            return Ok(());
        }
        // What a failed write left is written anew with all the rest.
        if open.failed || open.end >= self.max_bytes {
            open.witness.forget()?;
            (open.file, open.end) = write_whole(&self.path, &self.network, &open.book)?;
            open.failed = false;
            let end = open.end;
            open.witness.tell(&header(self.network.ledger()), end);
            return Ok(());
        }
        let (kind, payload) = to_payload(entry);
        let bytes = framing(&self.network).frame(open.end, kind, &payload);
        let written = open.file.write_at(&bytes, open.end).and_then(|()| open.file.sync());
        if written.is_err() {
            open.failed = true;
        } else {
            let end = open.end.saturating_add(bytes.len() as u64);
            open.end = end;
            open.witness.tell(&header(self.network.ledger()), end);
        }
        written
    }

    fn book(&self) -> Result<Book, StoreError> {
        Ok(self.open.lock().unwrap_or_else(PoisonError::into_inner).book.clone())
    }
}

/// The file belongs to a network and to no log: it outlives them.
fn header(ledger: LedgerId) -> FileHeader {
    FileHeader { kind: FileKind::Checkpoints, ledger, log_id: [0; 16], number: 0, link: first_link(ledger) }
}

fn framing(network: &Network) -> Framing {
    header(network.ledger()).framing()
}

/// Makes the file anew with what the book keeps.
fn write_whole(path: &Path, network: &Network, book: &Book) -> Result<(DiskFile, u64), StoreError> {
    let framing = framing(network);
    let mut bytes = header(network.ledger()).to_bytes();
    for entry in book.entries() {
        let (kind, payload) = to_payload(&entry);
        bytes.extend(framing.frame(bytes.len() as u64, kind, &payload));
    }
    let file = files::create_whole(path, &bytes)?;
    Ok((file, bytes.len() as u64))
}

/// Renames a damaged file; the oldest such ones go when there are too many.
fn set_aside(dir: &Path) -> Result<(), StoreError> {
    let prefix = format!("{FILE}.damaged-");
    let number = |name: &String| name.strip_prefix(&prefix).and_then(|number| number.parse::<u64>().ok());
    let mut numbers: Vec<u64> = files::names(dir)?.iter().filter_map(number).collect();
    numbers.sort_unstable();
    let next = numbers.last().map_or(1, |last| last.saturating_add(1));
    files::rename(&dir.join(FILE), &dir.join(format!("{prefix}{next}")))?;
    let surplus = numbers.len().saturating_add(1).saturating_sub(SET_ASIDE_MAX);
    numbers.iter().take(surplus).try_for_each(|number| files::remove(&dir.join(format!("{prefix}{number}"))))
}

/// Reads all records. Damage is told of, and what is right behind it is read on.
fn scan(network: &Network, file: &DiskFile) -> Result<Scanned, StoreError> {
    let bytes = file.read_from(0)?;
    let framing = match FileHeader::parse(FileKind::Checkpoints, network.ledger(), &bytes) {
        Ok(found) if found.log_id == [0; 16] && found.number == 0 => found.framing(),
        Ok(_) => framing(network),
        Err(fault) => match fault.into_error(file.path()) {
            // With its header gone, the records still say by their checks where they belong.
            StoreError::Damaged { .. } => framing(network),
            foreign => return Err(foreign),
        },
    };
    let mut scanned = Scanned { entries: Vec::new(), end: FILE_HEADER_BYTES as u64, damage: Vec::new() };
    let path = file.path().display();
    if bytes.get(..FILE_HEADER_BYTES) != Some(&header(network.ledger()).to_bytes()[..]) {
        scanned.damage.push(format!("{path}: the file header is damaged"));
    }
    let mut at = FILE_HEADER_BYTES;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match record(network, &framing, at, rest) {
            Ok((entry, len)) => {
                scanned.entries.push(entry);
                at = at.saturating_add(len);
                scanned.end = at as u64;
            }
            Err(what) => {
                let next = (1..rest.len()).find_map(|skip| {
                    let there = at.saturating_add(skip);
                    record(network, &framing, there, rest.get(skip..)?).is_ok().then_some(there)
                });
                if next.is_none() && broken_off(rest) {
                    break;
                }
                scanned.damage.push(format!("{path}: record at byte {at}: {what}"));
                at = next.unwrap_or(bytes.len());
            }
        }
    }
    Ok(scanned)
}

/// Whether a record ends with the file before its own end, and has begun like one: that is what a broken-off write
/// leaves.
fn broken_off(rest: &[u8]) -> bool {
    let mut fields = Fields(rest);
    let (Some(len), Some(kind)) = (fields.u32().and_then(|len| usize::try_from(len).ok()), fields.u8()) else {
        return true;
    };
    let fits = match kind {
        KIND_OWN | KIND_PEER => len == 8 + SIGNED_BYTES,
        KIND_EVIDENCE => {
            len <= PAYLOAD_MAX_BYTES && len.checked_sub(8 + 2 * SIGNED_BYTES).is_some_and(|path| path % 32 == 0)
        }
        _ => false,
    };
    fits && rest.len() < len.saturating_add(FRAME_BYTES)
}

fn record(network: &Network, framing: &Framing, at: usize, rest: &[u8]) -> Result<(Entry, usize), &'static str> {
    let frame = framing.read(at as u64, rest, PAYLOAD_MAX_BYTES)?;
    let entry = from_payload(network, frame.kind, frame.payload).ok_or("no entry of this version")?;
    Ok((entry, frame.len()))
}

/// received u64 | checkpoint; for evidence both checkpoints, then the path.
fn to_payload(entry: &Entry) -> (u8, Vec<u8>) {
    let kept = |kept: &Kept| [&kept.received.secs().to_le_bytes()[..], &kept.checkpoint.to_bytes()].concat();
    match entry {
        Entry::Own(own) => (KIND_OWN, kept(own)),
        Entry::Peer(peer) => (KIND_PEER, kept(peer)),
        Entry::Evidence(evidence) => {
            let mut bytes = evidence.received.secs().to_le_bytes().to_vec();
            bytes.extend(evidence.first.to_bytes());
            bytes.extend(evidence.second.to_bytes());
            evidence.path.iter().for_each(|hash| bytes.extend_from_slice(hash));
            (KIND_EVIDENCE, bytes)
        }
    }
}

fn from_payload(network: &Network, kind: u8, payload: &[u8]) -> Option<Entry> {
    let (received, rest) = payload.split_first_chunk::<8>()?;
    let received = Time::from_secs(u64::from_le_bytes(*received));
    let (first, rest) = rest.split_at_checked(SIGNED_BYTES)?;
    let first = SignedCheckpoint::from_bytes(network, first).ok()?;
    match kind {
        KIND_OWN if rest.is_empty() => Some(Entry::Own(Kept { checkpoint: first, received })),
        KIND_PEER if rest.is_empty() => Some(Entry::Peer(Kept { checkpoint: first, received })),
        KIND_EVIDENCE => {
            let (second, path) = rest.split_at_checked(SIGNED_BYTES)?;
            let second = SignedCheckpoint::from_bytes(network, second).ok()?;
            let (path, []) = path.as_chunks::<32>() else {
                return None;
            };
            let reason = reason(network, &first, &second, path)?;
            let path = path.to_vec();
            Some(Entry::Evidence(Box::new(Evidence { first, second, path, reason, received })))
        }
        _ => None,
    }
}

/// What contradicts what is not stored, but judged anew. A path that was never given is stored as an empty one.
fn reason(
    network: &Network,
    first: &SignedCheckpoint,
    second: &SignedCheckpoint,
    path: &[[u8; 32]],
) -> Option<Contradiction> {
    judge(network, first, second, (!path.is_empty()).then_some(path)).err()
}
