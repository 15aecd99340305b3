//! The state at the end of the log: count, link, Merkle peaks and set digest, all advanced by one id at a time.

use crate::{
    digest::{Lanes, STATE_BYTES, SetDigest},
    ids::{LedgerId, Link, TxId},
    ledger::Summary,
    link::{first_link, next_link},
    merkle::Accumulator,
};

/// The running values over all records of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    ledger: LedgerId,
    link: Link,
    tree: Accumulator,
    digest: SetDigest,
}

impl State {
    pub(crate) fn new(ledger: LedgerId) -> Self {
        Self { ledger, link: first_link(ledger), tree: Accumulator::new(ledger), digest: SetDigest::new(ledger) }
    }

    pub(crate) fn ledger(&self) -> LedgerId {
        self.ledger
    }
    pub(crate) fn count(&self) -> u64 {
        self.tree.len()
    }
    pub(crate) fn link(&self) -> Link {
        self.link
    }

    pub(crate) fn push(&mut self, id: &TxId, lanes: &Lanes) {
        self.link = next_link(self.link, id);
        self.tree.push(id);
        self.digest.add_lanes(lanes);
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary { count: self.count(), link: self.link, root: self.tree.root(), digest: self.digest.digest() }
    }

    /// count u64 | link | digest state | peaks.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.count().to_be_bytes().to_vec();
        bytes.extend_from_slice(self.link.as_bytes());
        bytes.extend_from_slice(&self.digest.to_bytes());
        self.tree.peaks().iter().for_each(|peak| bytes.extend_from_slice(peak));
        bytes
    }

    pub(crate) fn from_bytes(ledger: LedgerId, bytes: &[u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk::<8>()?;
        let (link, rest) = rest.split_first_chunk::<32>()?;
        let (digest, rest) = rest.split_at_checked(STATE_BYTES)?;
        let (peaks, []) = rest.as_chunks::<32>() else {
            return None;
        };
        Some(Self {
            ledger,
            link: Link::from_bytes(*link),
            tree: Accumulator::from_peaks(ledger, u64::from_be_bytes(*count), peaks.to_vec())?,
            digest: SetDigest::from_bytes(ledger, digest)?,
        })
    }
}
