//! Bodies that are not durable yet, as they came: whoever stages one copies nothing, and their records are put together on the
//! thread that writes them, piece by piece, in memory as they will lie in the file's blocks.

use crate::{
    ids::TxId,
    store::disk::{
        files::direct::{BLOCK_BYTES, to_block},
        segment::{BODY_HEAD_BYTES, CHECK_BYTES, Framing, body_head},
    },
    transaction::BODY_MAX_BYTES,
};

/// Bytes of records that are written in one call: many, since the disk is waited for each time, and few enough for them to be in the
/// processor's cache still.
const PIECE_BYTES: usize = 512 * 1024;
/// Bytes of the longest record.
const RECORD_MAX_BYTES: usize = BODY_HEAD_BYTES + BODY_MAX_BYTES + CHECK_BYTES;
/// Bytes in which records are put together, at most.
pub(super) const MEMORY_MAX_BYTES: usize = PIECE_BYTES + RECORD_MAX_BYTES + 2 * BLOCK_BYTES;
/// Records whose checks are made in one go.
const TOGETHER: usize = 32;
/// Bodies that are durable wait to be given back beside the next flush, unless they are more than this.
pub(super) const SPENT_BYTES: u64 = 4 * 1024 * 1024;

/// A body that has its place.
struct Waiting {
    at: u64,
    id: TxId,
    /// As the header names it.
    hash: [u8; 32],
    body: Vec<u8>,
}

impl Waiting {
    /// Bytes of its record.
    fn record_bytes(&self) -> usize {
        self.body.len().saturating_add(BODY_HEAD_BYTES).saturating_add(CHECK_BYTES)
    }

    /// What stands before the body in its record, and behind it.
    fn ends(&self, framing: &Framing) -> ([u8; BODY_HEAD_BYTES], [u8; CHECK_BYTES]) {
        let head = body_head(&self.id, &self.body);
        (head, framing.body_check(self.at, &head, &self.body, &self.hash))
    }
}

/// Bodies that stand one behind the other in a part.
pub(crate) struct Pending {
    /// Where the first of them is to stand.
    start: u64,
    /// Where the next one would.
    end: u64,
    bodies: Vec<Waiting>,
}

impl Pending {
    /// None yet.
    pub(super) fn new(start: u64) -> Self {
        Self { start, end: start, bodies: Vec::new() }
    }

    /// Adds a body that is to stand at `at`, where the last one ends. Gives where it ends.
    pub(super) fn push(&mut self, at: u64, id: TxId, hash: [u8; 32], body: Vec<u8>) -> Option<u64> {
        let waiting = Waiting { at, id, hash, body };
        self.end = at.checked_add(waiting.record_bytes() as u64)?;
        self.bodies.push(waiting);
        Some(self.end)
    }

    /// Where the next one would stand.
    pub(super) fn end(&self) -> u64 {
        self.end
    }
    /// Bytes of all their records.
    pub(super) fn bytes(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// The body that is to stand at `at`.
    pub(super) fn body(&self, at: u64) -> Option<Vec<u8>> {
        let nth = self.bodies.binary_search_by_key(&at, |waiting| waiting.at).ok()?;
        self.bodies.get(nth).map(|waiting| waiting.body.clone())
    }

    /// Puts their records together in `memory` as a file's framing asks for, and hands on the bytes and where they are to stand.
    pub(super) fn write<E>(
        &self,
        framing: &Framing,
        memory: &mut Vec<u8>,
        mut write: impl FnMut(&[u8], u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut piece = Piece::new(memory, self.start, usize::try_from(self.bytes()).unwrap_or(usize::MAX));
        for some in self.bodies.chunks(TOGETHER) {
            // What another core wrote last comes faster when nothing else is done between.
            let ends: Vec<_> = some.iter().map(|waiting| waiting.ends(framing)).collect();
            for (waiting, (head, check)) in some.iter().zip(ends) {
                [&head[..], &waiting.body, &check].into_iter().for_each(|part| piece.bytes.extend_from_slice(part));
                if piece.is_full() {
                    piece.write_blocks(&mut write)?;
                }
            }
        }
        write(piece.rest(), piece.at)
    }
}

/// Bytes that are to stand from `at` on; the first block among them begins in memory where blocks do.
struct Piece<'a> {
    bytes: &'a mut Vec<u8>,
    /// Of these so many come before them.
    skip: usize,
    at: u64,
}

impl<'a> Piece<'a> {
    /// An empty one, for so many bytes in all.
    fn new(bytes: &'a mut Vec<u8>, at: u64, all: usize) -> Self {
        bytes.clear();
        bytes.reserve_exact(all.saturating_add(2 * BLOCK_BYTES).min(MEMORY_MAX_BYTES));
        let mut piece = Self { bytes, skip: 0, at };
        let in_memory = to_block(piece.bytes.as_ptr().addr() as u64);
        piece.skip = in_memory.saturating_add(BLOCK_BYTES).saturating_sub(to_block(at)) % BLOCK_BYTES;
        piece.bytes.resize(piece.skip, 0);
        piece
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.skip..).unwrap_or_default()
    }

    fn is_full(&self) -> bool {
        self.rest().len() >= PIECE_BYTES
    }

    /// Hands on what comes before the last block that is not whole.
    fn write_blocks<E>(&mut self, write: &mut impl FnMut(&[u8], u64) -> Result<(), E>) -> Result<(), E> {
        let before = to_block(self.at);
        let whole = self.rest().len().saturating_sub(before) / BLOCK_BYTES * BLOCK_BYTES;
        let (whole, rest) = self.rest().split_at_checked(before.saturating_add(whole)).unwrap_or_default();
        write(whole, self.at)?;
        let (written, rest) = (whole.len() as u64, rest.to_vec());
        self.at = self.at.saturating_add(written);
        self.skip = to_block(self.bytes.as_ptr().addr() as u64);
        self.bytes.truncate(self.skip);
        self.bytes.extend_from_slice(&rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say by panicking that something is wrong")]

    use proptest::prelude::*;

    use super::*;
    use crate::{
        ids::LedgerId,
        link::first_link,
        store::disk::segment::{FileHeader, FileKind},
    };

    fn framing() -> Framing {
        let ledger = LedgerId::from_bytes([7; 32]);
        FileHeader { kind: FileKind::Bodies, ledger, log_id: [3; 16], number: 9, link: first_link(ledger) }.framing()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
        /// Wherever they begin and however long they are: all records, one behind the other, in pieces that end where a block of the
        /// file does, but for the last, and whose blocks begin in memory where blocks do.
        #[test]
        fn pieces_are_the_records_and_lie_in_blocks(
            start in 128..20_000u64,
            lens in prop::collection::vec((0..3u8, 500..65_537usize), 1..90),
        ) {
            let (framing, mut pending, mut expected, mut at) = (framing(), Pending::new(start), Vec::new(), start);
            for (nth, (what, len)) in lens.into_iter().enumerate() {
                let (id, hash) = (TxId::from_bytes([nth as u8; 32]), [nth as u8 ^ 0xff; 32]);
                let body = vec![nth as u8; if what == 0 { 500 } else { len }];
                let waiting = Waiting { at, id, hash, body: body.clone() };
                let (head, check) = waiting.ends(&framing);
                expected.extend([&head[..], &waiting.body, &check].concat());
                at = pending.push(at, id, hash, body).unwrap();
            }
            let (mut written, mut ends) = (Vec::new(), Vec::new());
            pending.write::<()>(&framing, &mut Vec::new(), |bytes, at| {
                assert_eq!(at, start + written.len() as u64);
                let first = to_block(at);
                if first < bytes.len() {
                    assert_eq!(bytes[first..].as_ptr().addr() % BLOCK_BYTES, 0);
                }
                written.extend_from_slice(bytes);
                ends.push(at + bytes.len() as u64);
                Ok(())
            }).unwrap();
            prop_assert_eq!(ends.pop(), Some(pending.end()));
            prop_assert!(ends.iter().all(|end| end % BLOCK_BYTES as u64 == 0));
            prop_assert!(ends.len() as u64 >= pending.bytes() / (PIECE_BYTES + RECORD_MAX_BYTES) as u64);
            prop_assert!(written == expected);
        }
    }
}
