//! Bodies that are not durable yet, in the form in which they are written: each is copied once, when it gets its place,
//! and what it came in is given back at once.

use std::sync::{PoisonError, RwLock};

use crate::{
    ids::TxId,
    store::disk::segment::{CHECK_BYTES, Framing, body_head},
};

/// A buffer that has become larger than this is not used again.
const SPARE_BYTES: usize = 4 * 1024 * 1024;
/// So many buffers are kept for what comes next: those of one flush and of the next.
const SPARES: usize = 4;

/// Bodies that stand one behind the other in a part.
pub(crate) struct Pending {
    /// Where the first of them is to stand.
    start: u64,
    /// Their records; the checks are zeros until they are written, since what they cover depends on the file.
    bytes: RwLock<Vec<u8>>,
    /// Where each is to stand, and its hash as the header names it.
    bodies: Vec<(u64, [u8; 32])>,
}

impl Pending {
    /// None yet, in a buffer that is empty.
    pub(super) fn new(start: u64, buffer: Vec<u8>) -> Self {
        Self { start, bytes: RwLock::new(buffer), bodies: Vec::new() }
    }

    /// Adds a body that is to stand at `at`, unless that is not behind the last one. Gives where it ends.
    pub(super) fn push(&mut self, at: u64, id: &TxId, hash: &[u8; 32], body: &[u8]) -> Option<u64> {
        let bytes = self.bytes.get_mut().unwrap_or_else(PoisonError::into_inner);
        if self.start.checked_add(bytes.len() as u64) != Some(at) {
            return None;
        }
        bytes.extend_from_slice(&body_head(id, body));
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(&[0; CHECK_BYTES]);
        self.bodies.push((at, *hash));
        self.start.checked_add(bytes.len() as u64)
    }

    /// Where a record is in the bytes.
    fn range(&self, nth: usize, len: usize) -> Option<std::ops::Range<usize>> {
        let from = |at: u64| usize::try_from(at.saturating_sub(self.start)).ok();
        let start = from(self.bodies.get(nth)?.0)?;
        let end = self.bodies.get(nth.saturating_add(1)).map_or(Some(len), |next| from(next.0))?;
        (start <= end && end <= len).then_some(start..end)
    }

    /// The body that is to stand at `at`.
    pub(super) fn body(&self, at: u64) -> Option<Vec<u8>> {
        let nth = self.bodies.binary_search_by_key(&at, |body| body.0).ok()?;
        let bytes = self.bytes.read().unwrap_or_else(PoisonError::into_inner);
        let record = bytes.get(self.range(nth, bytes.len())?)?;
        let (_, body) = record.split_at_checked(body_head(&TxId::from_bytes([0; 32]), &[]).len())?;
        Some(body.split_last_chunk::<CHECK_BYTES>()?.0.to_vec())
    }

    /// Puts in the checks that a file's framing asks for, and hands on the bytes and where they are to stand.
    pub(super) fn write<E>(&self, framing: &Framing, write: impl FnOnce(&[u8], u64) -> Result<(), E>) -> Result<(), E> {
        let mut bytes = self.bytes.write().unwrap_or_else(PoisonError::into_inner);
        for (nth, (at, hash)) in self.bodies.iter().enumerate() {
            let record = self.range(nth, bytes.len()).and_then(|range| bytes.get_mut(range));
            if let Some((covered, check)) = record.and_then(|record| record.split_last_chunk_mut::<CHECK_BYTES>()) {
                *check = framing.body_check(*at, covered, hash);
            }
        }
        drop(bytes);
        // Whoever reads one of them need not wait for the disk.
        write(&self.bytes.read().unwrap_or_else(PoisonError::into_inner), self.start)
    }

    fn into_buffer(self) -> Vec<u8> {
        self.bytes.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Buffers that are used again: the system need not find memory for every flush anew.
#[derive(Default)]
pub(super) struct Spares(Vec<Vec<u8>>);

impl Spares {
    /// An empty buffer.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    /// Keeps the buffer of what is durable now.
    pub(super) fn give(&mut self, pending: Pending) {
        let mut buffer = pending.into_buffer();
        if self.0.len() < SPARES && buffer.capacity() <= SPARE_BYTES {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}
