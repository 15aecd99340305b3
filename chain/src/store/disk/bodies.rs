//! Bodies, in one file for each day on which they go, so that dropping a day is one `unlink`
//! (`docs/storage.md`, "Bodies").
//!
//! Invariants: a day before the one in `dropped` has no file and gets none again, so that a place never comes to mean
//! another body; bytes that no record refers to (left by a crash) are never read.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use super::{
    files::{self, DiskFile},
    segment::{FILE_HEADER_BYTES, FRAME_BYTES, FileHeader, FileKind, Framing, KIND_BODY, Place},
};
use crate::{
    ids::{LedgerId, TxId},
    store::{Body, StoreError},
};

/// Most body files that are kept open for writing.
const WRITERS_MAX: usize = 32;

struct Writer {
    file: Arc<DiskFile>,
    framing: Framing,
    end: u64,
}

/// All body files.
pub(crate) struct Bodies {
    dir: PathBuf,
    ledger: LedgerId,
    log_id: [u8; 16],
    /// The first day that has not been dropped.
    kept_from: u32,
    writers: BTreeMap<u32, Writer>,
    /// Files with bodies that are not durable yet.
    touched: BTreeMap<u32, Arc<DiskFile>>,
}

fn day_path(dir: &std::path::Path, day: u32) -> PathBuf {
    dir.join(format!("{day}.seg"))
}

impl Bodies {
    /// Opens the bodies of a log.
    pub(crate) fn open(dir: PathBuf, ledger: LedgerId, log_id: [u8; 16]) -> Result<Self, StoreError> {
        files::make_dir(&dir)?;
        let mut bodies = Self::open_to_read(dir, ledger, log_id);
        bodies.kept_from = bodies.current_line()?;
        Ok(bodies)
    }

    /// The same for reading alone: makes nothing, and takes no day to be dropped.
    pub(crate) fn open_to_read(dir: PathBuf, ledger: LedgerId, log_id: [u8; 16]) -> Self {
        Self { dir, ledger, log_id, kept_from: 0, writers: BTreeMap::new(), touched: BTreeMap::new() }
    }

    /// The first day that has not been dropped, as the file `dropped` has it now.
    pub(crate) fn current_line(&self) -> Result<u32, StoreError> {
        let Some(file) = DiskFile::open(&self.dir.join("dropped"), false)? else {
            return Ok(0);
        };
        let header = self.read_header(&file, FileKind::Dropped)?;
        Ok(u32::try_from(header.number).unwrap_or(u32::MAX))
    }

    fn header(&self, kind: FileKind, number: u64) -> FileHeader {
        let link = crate::link::first_link(self.ledger);
        FileHeader { kind, ledger: self.ledger, log_id: self.log_id, number, link }
    }

    fn read_header(&self, file: &DiskFile, kind: FileKind) -> Result<FileHeader, StoreError> {
        let header = FileHeader::parse(kind, self.ledger, &file.read_at(0, FILE_HEADER_BYTES)?)
            .map_err(|fault| fault.into_error(file.path()))?;
        if header.log_id != self.log_id {
            return Err(damaged(file, 0, "the file belongs to another log".to_owned()));
        }
        Ok(header)
    }

    /// The framing of a day's file, once its file header is checked.
    fn open_day(&self, day: u32, write: bool) -> Result<Option<(DiskFile, Framing)>, StoreError> {
        let Some(file) = DiskFile::open(&day_path(&self.dir, day), write)? else {
            return Ok(None);
        };
        let header = self.read_header(&file, FileKind::Bodies)?;
        if header.number != u64::from(day) {
            return Err(damaged(&file, 0, "the file is that of another day".to_owned()));
        }
        Ok(Some((file, header.framing())))
    }

    fn writer(&mut self, day: u32) -> Result<&mut Writer, StoreError> {
        if !self.writers.contains_key(&day) {
            let (file, framing) = match self.open_day(day, true)? {
                Some(opened) => opened,
                None => {
                    let header = self.header(FileKind::Bodies, u64::from(day));
                    (files::create_whole(&day_path(&self.dir, day), &header.to_bytes())?, header.framing())
                }
            };
            if self.writers.len() >= WRITERS_MAX {
                self.writers.pop_first();
            }
            let end = file.len()?;
            self.writers.insert(day, Writer { file: Arc::new(file), framing, end });
        }
        let dir = &self.dir;
        self.writers.get_mut(&day).ok_or_else(|| StoreError::Damaged {
            path: day_path(dir, day).display().to_string(),
            offset: 0,
            what: "the file is gone".to_owned(),
        })
    }

    /// Writes a body to the file of its day; durable once [`take_touched`](Self::take_touched) has been fsynced.
    pub(crate) fn append(&mut self, day: u64, id: &TxId, body: &[u8]) -> Result<Place, StoreError> {
        // A day that was dropped gets no new file: its bodies go with the next day that is.
        let day = u32::try_from(day).unwrap_or(u32::MAX.saturating_sub(1)).max(self.kept_from);
        let writer = self.writer(day)?;
        let place = Place { day, offset: writer.end };
        let bytes = writer.framing.frame(writer.end, KIND_BODY, &[id.as_bytes(), body].concat());
        writer.file.write_at(&bytes, writer.end)?;
        writer.end = writer.end.saturating_add(bytes.len() as u64);
        let file = Arc::clone(&writer.file);
        self.touched.insert(day, file);
        Ok(place)
    }

    /// The files to be fsynced before records that refer to them are written.
    pub(crate) fn take_touched(&mut self) -> Vec<Arc<DiskFile>> {
        std::mem::take(&mut self.touched).into_values().collect()
    }

    /// Reads a body of `len` bytes; absent when its file is gone.
    pub(crate) fn read(&self, place: Place, id: &TxId, len: u32) -> Result<Body, StoreError> {
        if place.day < self.kept_from {
            return Ok(Body::Absent);
        }
        let Some((file, framing)) = self.open_day(place.day, false)? else {
            return Ok(Body::Absent);
        };
        let payload = usize::try_from(len).unwrap_or(usize::MAX).saturating_add(32);
        let bytes = file.read_at(place.offset, payload.saturating_add(FRAME_BYTES))?;
        let frame = framing
            .read(place.offset, &bytes, payload)
            .map_err(|what| damaged(&file, place.offset, format!("body of {id}: {what}")))?;
        match frame.payload.split_first_chunk::<32>() {
            Some((owner, body)) if frame.kind == KIND_BODY && owner == id.as_bytes() => {
                Ok(Body::Present(body.to_vec()))
            }
            _ => Err(damaged(&file, place.offset, format!("there is no body of {id} here"))),
        }
    }

    /// Drops the bodies of all days before `day`; returns how many files went.
    pub(crate) fn drop_before(&mut self, day: u64) -> Result<usize, StoreError> {
        let day = u32::try_from(day).unwrap_or(u32::MAX);
        if day <= self.kept_from {
            return Ok(0);
        }
        // The line is durable before the first file goes, so that a missing file is never taken for damage.
        let header = self.header(FileKind::Dropped, u64::from(day));
        files::create_whole(&self.dir.join("dropped"), &header.to_bytes())?;
        self.kept_from = day;
        self.writers = self.writers.split_off(&day);
        self.touched = self.touched.split_off(&day);
        let mut gone = 0usize;
        for name in files::names(&self.dir)? {
            let number = name.strip_suffix(".seg").and_then(|number| number.parse::<u32>().ok());
            if number.is_some_and(|number| number < day) {
                files::remove(&self.dir.join(name))?;
                gone = gone.saturating_add(1);
            }
        }
        files::sync_dir(&self.dir)?;
        Ok(gone)
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        files::bytes_under(&self.dir)
    }
}

fn damaged(file: &DiskFile, offset: u64, what: String) -> StoreError {
    StoreError::Damaged { path: file.path().display().to_string(), offset, what }
}
