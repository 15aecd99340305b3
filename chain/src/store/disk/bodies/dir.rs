//! The directory of body files: what stands in it, and how far it has been dropped.
//!
//! Shared with the flush under way, which makes files on another thread. Invariant: no file is made before the line,
//! since both hold the lock on it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{Part, pending::MEMORY_MAX_BYTES};
use crate::{
    ids::{LedgerId, TxId},
    link::first_link,
    store::{
        Body, StoreError,
        disk::{
            files::{self, DiskFile},
            recover::{LEAST_ZEROS, SECTOR_BYTES},
            segment::{
                BODY_HEAD_BYTES, CHECK_BYTES, FILE_HEADER_BYTES, FRAME_BYTES, Fields, FileHeader, FileKind, Framing,
                KIND_EARLY, Place,
            },
        },
    },
    transaction::BODY_LENS,
};

/// Bytes of the record that says how far bodies were dropped early: a part's number.
const EARLY_BYTES: usize = 8;

/// Threads that put records together at a time, mostly.
const MEMORY_KEPT: usize = 2;

/// How far bodies have been dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// The first part that has not been dropped.
    pub(crate) kept: Part,
    /// The first part that has not been dropped to keep to a disk budget: those before it may have gone before their day.
    pub(crate) early: Part,
}

impl Line {
    /// What `dropped` says: its header, and behind that nothing or the record of what went early.
    pub(crate) fn parse(header: &FileHeader, rest: &[u8]) -> Result<Self, &'static str> {
        let kept = Part::from_number(header.number);
        if rest.is_empty() {
            return Ok(Self { kept, early: Part::default() });
        }
        let frame = header.framing().read(FILE_HEADER_BYTES as u64, rest, EARLY_BYTES)?;
        let number = Fields(frame.payload).u64();
        let whole = frame.kind == KIND_EARLY && frame.payload.len() == EARLY_BYTES && frame.len() == rest.len();
        let early = number.filter(|_| whole).map(Part::from_number).ok_or("what went early is not told rightly")?;
        Ok(Self { kept, early })
    }

    fn to_bytes(self, header: &FileHeader) -> Vec<u8> {
        let mut bytes = header.to_bytes();
        if self.early != Part::default() {
            let number = self.early.number().to_le_bytes();
            bytes.extend(header.framing().frame(FILE_HEADER_BYTES as u64, KIND_EARLY, &number));
        }
        bytes
    }
}

/// The directory of body files.
pub(crate) struct BodyDir {
    path: PathBuf,
    ledger: LedgerId,
    log_id: [u8; 16],
    kept: Mutex<Part>,
    /// Whether a file got its name since the directory was made durable.
    named: AtomicBool,
    /// Memory in which records are put together, to be used again: each flush has another thread, which would take it elsewhere.
    memory: Mutex<Vec<Vec<u8>>>,
}

impl BodyDir {
    pub(crate) fn new(path: PathBuf, ledger: LedgerId, log_id: [u8; 16]) -> Self {
        Self { path, ledger, log_id, kept: Mutex::default(), named: AtomicBool::new(false), memory: Mutex::default() }
    }

    pub(super) fn part_path(&self, part: Part) -> PathBuf {
        self.path.join(part.file_name())
    }

    fn line_path(&self) -> PathBuf {
        self.path.join("dropped")
    }

    /// The parts that have a file.
    pub(super) fn parts(&self) -> Result<Vec<Part>, StoreError> {
        Ok(files::names(&self.path)?.iter().filter_map(|name| Part::from_file_name(name)).collect())
    }

    /// Bytes of a part's file.
    pub(super) fn bytes(&self, part: Part) -> u64 {
        files::bytes_under(&self.part_path(part))
    }

    pub(super) fn remove(&self, part: Part) -> Result<(), StoreError> {
        files::remove(&self.part_path(part))
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        files::sync_dir(&self.path)
    }

    fn header(&self, kind: FileKind, number: u64) -> FileHeader {
        FileHeader { kind, ledger: self.ledger, log_id: self.log_id, number, link: first_link(self.ledger) }
    }

    fn read_header(&self, file: &DiskFile, kind: FileKind) -> Result<FileHeader, StoreError> {
        let header = FileHeader::parse(kind, self.ledger, &file.read_at(0, FILE_HEADER_BYTES)?)
            .map_err(|fault| fault.into_error(file.path()))?;
        if header.log_id != self.log_id {
            return Err(damaged(file.path(), 0, "the file belongs to another log".to_owned()));
        }
        Ok(header)
    }

    /// A part's file and its framing, once its file header is checked; `None` when there is none.
    pub(super) fn open_part(&self, part: Part, write: bool) -> Result<Option<(DiskFile, Framing)>, StoreError> {
        let Some(file) = DiskFile::open(&self.part_path(part), write)? else {
            return Ok(None);
        };
        let header = self.read_header(&file, FileKind::Bodies)?;
        if header.number != part.number() {
            return Err(damaged(file.path(), 0, "the file is that of another day or part".to_owned()));
        }
        Ok(Some((file, header.framing())))
    }

    /// Makes a part's file with what `write` puts into it, durably, and whole: nobody ever finds it with less. Its name is durable
    /// after [`sync_names`](Self::sync_names). Makes none when the part has been dropped.
    pub(super) fn create_part(
        &self,
        part: Part,
        write: impl FnOnce(&DiskFile, &Framing) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (path, header) = (self.part_path(part), self.header(FileKind::Bodies, part.number()));
        let mut file = files::create_unfinished(&path)?;
        file.write_at(&header.to_bytes(), 0)?;
        write(&file, &header.framing())?;
        // The line and whoever makes another part do not wait for the disk.
        file.sync()?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if part < *kept {
            return files::remove(file.path());
        }
        file.finish_soon(&path)?;
        self.named.store(true, Ordering::Release);
        drop(kept);
        Ok(())
    }

    /// Makes names durable that are not, also those of an earlier attempt that failed there.
    pub(super) fn sync_names(&self) -> Result<(), StoreError> {
        if !self.named.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        self.sync().inspect_err(|_| self.named.store(true, Ordering::Release))
    }

    pub(super) fn take_memory(&self) -> Vec<u8> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    pub(super) fn keep_memory(&self, memory: Vec<u8>) {
        let mut all = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MEMORY_KEPT && memory.capacity() <= MEMORY_MAX_BYTES {
            all.push(memory);
        }
    }

    /// How far bodies have been dropped, as the file `dropped` has it.
    pub(super) fn read_line(&self) -> Result<Line, StoreError> {
        let Some(file) = DiskFile::open(&self.line_path(), false)? else {
            return Ok(Line::default());
        };
        let header = self.read_header(&file, FileKind::Dropped)?;
        let rest = file.read_from(FILE_HEADER_BYTES as u64)?;
        Line::parse(&header, &rest).map_err(|what| damaged(file.path(), FILE_HEADER_BYTES as u64, what.to_owned()))
    }

    /// Makes a new line durable. From here on no file is made before it.
    pub(super) fn write_line(&self, line: Line) -> Result<(), StoreError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let header = self.header(FileKind::Dropped, line.kept.number());
        files::create_whole(&self.line_path(), &line.to_bytes(&header))?;
        *kept = line.kept;
        Ok(())
    }

    /// Takes the line that was found on opening.
    pub(super) fn set_line(&self, line: Line) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = line.kept;
    }

    /// Reads a durable body of `len` bytes; absent when its file is gone.
    pub(super) fn read(&self, place: Place, id: &TxId, len: u32) -> Result<Body, StoreError> {
        let Some((file, framing)) = self.open_part(place.part(), false)? else {
            return Ok(Body::Absent);
        };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let bytes = file.read_at(place.at(), len.saturating_add(id.as_bytes().len()).saturating_add(FRAME_BYTES))?;
        let (owner, body) = framing
            .read_body(place.at(), &bytes, len)
            .map_err(|what| damaged(file.path(), place.at(), format!("body of {id}: {what}")))?;
        if owner != *id.as_bytes() {
            return Err(damaged(file.path(), place.at(), format!("there is no body of {id} here")));
        }
        Ok(Body::Present(body.to_vec()))
    }

    /// Whether a place holds what a write left that did not come to its end, and not a body that was durable once: its file
    /// is missing or ends too soon, or its record is not right and reaches into a sector that was never written, which
    /// reads as zeros. Bodies and the records that name them are made durable at the same time, so a power cut can keep
    /// these and lose those. Who does not know the body's length has it read from the place.
    pub(crate) fn is_unfinished(&self, place: Place, len: Option<u32>) -> Result<bool, StoreError> {
        let part = place.part();
        let (file, framing) = match self.open_part(part, false) {
            Ok(Some(open)) => open,
            Ok(None) => return Ok(part >= self.read_line()?.kept),
            // A file gets its name when its head is durable, so that what is wrong with one is damage.
            Err(StoreError::Damaged { .. } | StoreError::Foreign { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let stated = || Ok::<u32, StoreError>(body_len_stated(&file.read_at(place.at(), BODY_HEAD_BYTES)?));
        let len = usize::try_from(len.map_or_else(stated, Ok)?).unwrap_or(usize::MAX);
        let whole = len.saturating_add(BODY_HEAD_BYTES).saturating_add(CHECK_BYTES);
        let bytes = file.read_at(place.at(), whole)?;
        let right = framing.read_body(place.at(), &bytes, len).is_ok();
        Ok(!right && (bytes.len() < whole || has_unwritten_sector(place.at(), &bytes)))
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a part durable as it is.
    pub(crate) fn sync_part(&self, part: Part) -> Result<(), StoreError> {
        DiskFile::open(&self.part_path(part), true)?.map_or(Ok(()), |file| file.sync())
    }

    /// A day has more bodies than places can name.
    pub(super) fn full(&self, part: Part) -> StoreError {
        files::io_error("cannot write", &self.part_path(part), std::io::ErrorKind::FileTooLarge.into())
    }
}

/// The length of a body that the head of its record tells; the longest there is where that cannot be.
fn body_len_stated(head: &[u8]) -> u32 {
    let stated = Fields(head).u32().and_then(|len| len.checked_sub(32));
    stated.filter(|len| BODY_LENS.contains(len)).or(BODY_LENS.last().copied()).unwrap_or_default()
}

/// Whether bytes that stand at `at` hold nothing but zeros in a sector, or in the part of one that they reach into.
fn has_unwritten_sector(at: u64, bytes: &[u8]) -> bool {
    let into = at.checked_rem(SECTOR_BYTES).unwrap_or_default();
    let first = usize::try_from(SECTOR_BYTES.saturating_sub(into)).unwrap_or_default();
    let (first, rest) = bytes.split_at_checked(first).unwrap_or((bytes, &[]));
    let unwritten = |sector: &[u8]| sector.len() >= LEAST_ZEROS && sector.iter().all(|byte| *byte == 0);
    unwritten(first) || rest.chunks(SECTOR_BYTES as usize).any(unwritten)
}

fn damaged(path: &Path, offset: u64, what: String) -> StoreError {
    StoreError::Damaged { path: path.display().to_string(), offset, what }
}
