//! The Merkle tree over the log, as a column: roots of perfect subtrees of 16 records and more, in the order in which they
//! become whole (`docs/storage.md`, "Tree"). About 5 bytes a record; a path needs O(log n) of them.
//!
//! Invariants: it is written only after the records are durable and can be made anew from them; every root has a check of
//! its own, and one that fails it is computed from the two below it, at last from 16 ids.

use std::{path::PathBuf, sync::Arc};

use super::{
    derived,
    files::DiskFile,
    headers::ColumnWrite,
    log::LogView,
    notice::Notices,
    segment::{FILE_HEADER_BYTES, Fields, FileHeader, FileKind},
};
use crate::{
    hash::{Context, hash_prefix},
    ids::{LedgerId, TxId},
    link::first_link,
    merkle::{Accumulator, leaf, node},
    store::StoreError,
};

/// The lowest level that is kept: roots over 2^4 records.
const LEVEL: u32 = 4;
/// Records below a root of the lowest level.
pub(super) const LEAVES: u64 = 1 << LEVEL;
/// A root of 32 bytes and a check of 8.
const ENTRY_BYTES: u64 = 40;
/// Records that are taken up in one go while the column is made anew.
const PAGE: u64 = 4_096;

/// How many roots stand in the column once `count` records are in the log.
fn entries(count: u64) -> u64 {
    let whole = count / LEAVES;
    whole.saturating_mul(2).saturating_sub(whole.count_ones().into())
}

/// The place of a root: `level` counts from the lowest that is kept, `index` within the level. A root is written when its
/// last 16 records come, behind the lower ones that these complete too.
fn place(level: u32, index: u64) -> u64 {
    let whole = index.saturating_add(1) << level;
    let before = whole.saturating_sub(1);
    before.saturating_mul(2).saturating_sub(before.count_ones().into()).saturating_add(level.into())
}

/// The tree of a log.
pub(super) struct TreeColumn {
    file: Arc<DiskFile>,
    ledger: LedgerId,
    log_id: [u8; 16],
    notices: Notices,
}

impl TreeColumn {
    /// Opens the column, or makes it anew where it is missing or unsound, and brings it up to the log.
    pub(super) fn open(
        path: PathBuf,
        ledger: LedgerId,
        log_id: [u8; 16],
        log: &LogView,
        notices: &Notices,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, StoreError> {
        let link = first_link(ledger);
        let header = FileHeader { kind: FileKind::Tree, ledger, log_id, number: 0, link };
        let file = derived::open(&path, header, log.len > 0, notices)?;
        let tree = Self { file: Arc::new(file), ledger, log_id, notices: notices.clone() };
        if tree.written()? < entries(log.last_first()) {
            notices.missing(&path);
        }
        tree.catch_up(log, progress)?;
        Ok(tree)
    }

    fn entry_at(place: u64) -> u64 {
        place.saturating_mul(ENTRY_BYTES).saturating_add(FILE_HEADER_BYTES as u64)
    }

    /// Roots that the file has room for.
    fn written(&self) -> Result<u64, StoreError> {
        Ok(self.file.len()?.saturating_sub(FILE_HEADER_BYTES as u64) / ENTRY_BYTES)
    }

    /// Adds what the column lacks, and cuts what it has too much.
    fn catch_up(&self, log: &LogView, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        let found = self.written()?;
        // The greatest multiple of 16 records all of whose roots are there.
        let mut whole = found.min(entries(log.len)) / 2;
        while entries(whole.saturating_add(1).saturating_mul(LEAVES)) <= found {
            whole = whole.saturating_add(1);
        }
        let mut count = whole.saturating_mul(LEAVES).min(log.len / LEAVES * LEAVES);
        while count.saturating_add(LEAVES) <= log.len {
            let end = log.len.min(count.saturating_add(PAGE)) / LEAVES * LEAVES;
            let positions: Vec<u64> = (count..end).collect();
            self.prepare(count, &log.ids_at(&positions)?, log)?.write()?;
            count = end;
            progress(count, log.len);
        }
        let end = Self::entry_at(entries(log.len));
        if self.file.len()? > end { self.file.truncate(end) } else { Ok(()) }
    }

    fn check(&self, place: u64, root: &[u8]) -> [u8; 8] {
        hash_prefix(Context::Record, &[b"tree", &self.log_id, &place.to_le_bytes(), root])
    }

    /// Roots that become whole with `ids`, which stand from position `from` on: a multiple of 16.
    pub(super) fn prepare(&self, from: u64, ids: &[TxId], log: &LogView) -> Result<ColumnWrite, StoreError> {
        Ok(self.grow(from, ids, log)?.0)
    }

    /// The same with the peaks of the tree that ends with `ids`.
    pub(super) fn grow(
        &self,
        from: u64,
        ids: &[TxId],
        log: &LogView,
    ) -> Result<(ColumnWrite, Vec<[u8; 32]>), StoreError> {
        let mut made: Vec<[u8; 32]> = Vec::new();
        let first = entries(from);
        for (whole, ids) in (from / LEAVES..).zip(ids.as_chunks::<16>().0) {
            let mut root = self.lowest(ids);
            made.push(root);
            // Each trailing one bit is a subtree to the left that this one completes.
            for level in 0..whole.trailing_ones() {
                let index = (whole >> level).saturating_sub(1);
                let known = place(level, index).checked_sub(first).and_then(|nth| usize::try_from(nth).ok());
                let left = match known.and_then(|nth| made.get(nth)) {
                    Some(left) => *left,
                    None => self.kept(level, index, log)?,
                };
                root = node(self.ledger, &left, &root);
                made.push(root);
            }
        }
        let mut bytes = Vec::with_capacity(made.len().saturating_mul(ENTRY_BYTES as usize));
        for (place, root) in (first..).zip(&made) {
            bytes.extend_from_slice(root);
            bytes.extend_from_slice(&self.check(place, root));
        }
        let peaks = self.peaks(from, ids, &made, log)?;
        Ok((ColumnWrite { file: Arc::clone(&self.file), at: Self::entry_at(first), bytes }, peaks))
    }

    /// Roots of the perfect subtrees, the largest first, that make up the tree which ends with `ids` from position `from` on;
    /// `made` are those that became whole with them.
    fn peaks(&self, from: u64, ids: &[TxId], made: &[[u8; 32]], log: &LogView) -> Result<Vec<[u8; 32]>, StoreError> {
        let (whole, rest) = ids.as_chunks::<16>();
        let (first, high) = (entries(from), (from / LEAVES).saturating_add(whole.len() as u64));
        let mut peaks = Vec::new();
        for level in (0..u64::BITS).rev().filter(|level| high >> level & 1 == 1) {
            let index = (high >> level).saturating_sub(1);
            let known = place(level, index).checked_sub(first).and_then(|nth| usize::try_from(nth).ok());
            peaks.push(match known.and_then(|nth| made.get(nth)) {
                Some(root) => *root,
                None => self.kept(level, index, log)?,
            });
        }
        let mut low = Accumulator::new(self.ledger);
        rest.iter().for_each(|id| low.push(id));
        peaks.extend_from_slice(low.peaks());
        Ok(peaks)
    }

    fn lowest(&self, ids: &[TxId; 16]) -> [u8; 32] {
        self.fold(&mut ids.map(|id| leaf(self.ledger, id.as_bytes())))
    }

    /// The root over a power of two of neighbours, which is worked out in their place.
    fn fold(&self, nodes: &mut [[u8; 32]]) -> [u8; 32] {
        let mut len = nodes.len();
        while len > 1 {
            len /= 2;
            for nth in 0..len {
                let pair = nodes.as_chunks::<2>().0.get(nth).map(|[left, right]| node(self.ledger, left, right));
                if let (Some(to), Some(root)) = (nodes.get_mut(nth), pair) {
                    *to = root;
                }
            }
        }
        nodes.first().copied().unwrap_or_default()
    }

    /// Root of the perfect subtree over the records `index << level ..`; level 0 is a leaf. All must be durable.
    pub(super) fn node(&self, level: u32, index: u64, log: &LogView) -> Result<[u8; 32], StoreError> {
        match level.checked_sub(LEVEL) {
            Some(level) => self.kept(level, index, log),
            None => {
                let from = index << level;
                let positions: Vec<u64> = (from..from.saturating_add(1 << level)).collect();
                let ids = log.ids_at(&positions)?;
                let mut leaves: Vec<[u8; 32]> = ids.iter().map(|id| leaf(self.ledger, id.as_bytes())).collect();
                Ok(self.fold(&mut leaves))
            }
        }
    }

    /// A root that the column keeps, or that follows from those below.
    fn kept(&self, level: u32, index: u64, log: &LogView) -> Result<[u8; 32], StoreError> {
        let place = place(level, index);
        let bytes = self.file.read_at(Self::entry_at(place), ENTRY_BYTES as usize).unwrap_or_default();
        let mut fields = Fields(&bytes);
        if let (Some(root), Some(check)) = (fields.take::<32>(), fields.take::<8>())
            && self.check(place, &root) == check
        {
            return Ok(root);
        }
        let root = match level.checked_sub(1) {
            Some(below) => {
                let (left, right) = (index.saturating_mul(2), index.saturating_mul(2).saturating_add(1));
                node(self.ledger, &self.kept(below, left, log)?, &self.kept(below, right, log)?)
            }
            None => self.node(LEVEL.saturating_sub(1), index.saturating_mul(2), log).and_then(|left| {
                let right = self.node(LEVEL.saturating_sub(1), index.saturating_mul(2).saturating_add(1), log)?;
                Ok(node(self.ledger, &left, &right))
            })?,
        };
        self.notices.corrected(self.file.path(), 1);
        // Tried again when it is read again.
        drop(self.file.write_at(&[&root[..], &self.check(place, &root)].concat(), Self::entry_at(place)));
        Ok(root)
    }

    /// Makes the column anew.
    pub(super) fn reset(&self, log: &LogView, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        self.file.truncate(FILE_HEADER_BYTES as u64)?;
        self.catch_up(log, progress)
    }

    /// The file, for an fsync.
    pub(super) fn file(&self) -> &Arc<DiskFile> {
        &self.file
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.file.len().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_stand_in_the_order_in_which_they_become_whole() {
        let mut next = 0;
        for whole in 0..300u64 {
            assert_eq!(entries(whole * LEAVES), next);
            for level in 0..=whole.trailing_ones() {
                assert_eq!(place(level, whole >> level), next, "level {level}, 16 records number {whole}");
                next += 1;
            }
        }
    }
}
