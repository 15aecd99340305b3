//! Bodies that are not durable yet, as they came: whoever stages one copies nothing, and their records are put together on the
//! thread that writes them, piece by piece.

use crate::{
    ids::TxId,
    store::disk::segment::{BODY_HEAD_BYTES, CHECK_BYTES, Framing, body_head},
};

/// Bytes of records that are written in one call: few enough for them to be in the processor's cache still, and more than the
/// longest record has.
const PIECE_BYTES: usize = 128 * 1024;
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

    /// Appends its record to what stands from `start` on.
    fn write_to(&self, framing: &Framing, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        bytes.extend_from_slice(&body_head(&self.id, &self.body));
        bytes.extend_from_slice(&self.body);
        let check = framing.body_check(self.at, bytes.get(start..).unwrap_or_default(), &self.hash);
        bytes.extend_from_slice(&check);
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

    /// Puts their records together as a file's framing asks for, and hands on the bytes and where they are to stand.
    pub(super) fn write<E>(
        &self,
        framing: &Framing,
        mut write: impl FnMut(&[u8], u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let all = usize::try_from(self.bytes()).unwrap_or(usize::MAX);
        let (mut piece, mut at) = (Vec::with_capacity(all.min(PIECE_BYTES)), self.start);
        for waiting in &self.bodies {
            if piece.len().saturating_add(waiting.record_bytes()) > PIECE_BYTES && !piece.is_empty() {
                write(&piece, at)?;
                at = at.saturating_add(piece.len() as u64);
                piece.clear();
            }
            waiting.write_to(framing, &mut piece);
        }
        write(&piece, at)
    }
}
