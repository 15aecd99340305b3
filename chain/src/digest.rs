//! The digest of a set of transactions that does not depend on their order: LtHash16 (Bellare and Micciancio
//! 1997; Lewi et al., ePrint 2019/227) with 1,024 lanes of 16 bits.
//!
//! A transaction's lanes are 2,048 bytes of BLAKE3 XOF of its id, read as little-endian `u16`; the state of a
//! set is their lane-wise sum modulo 2^16; the digest is `H("digest", ledger, state)`.

use crate::{
    hash::{Context, hash, hash_xof},
    ids::{Digest, LedgerId, TxId},
};

/// Lanes of the state.
pub const LANES: usize = 1024;
/// Bytes of the state.
pub const STATE_BYTES: usize = LANES * 2;

/// The sum over a set of transactions.
#[derive(Clone, PartialEq, Eq)]
pub struct SetDigest {
    ledger: LedgerId,
    lanes: Box<[u16; LANES]>,
}

impl std::fmt::Debug for SetDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SetDigest({})", self.digest())
    }
}

impl SetDigest {
    /// The empty set.
    pub fn new(ledger: LedgerId) -> Self {
        Self { ledger, lanes: Box::new([0; LANES]) }
    }

    /// Restores a sum from [`to_bytes`](Self::to_bytes); `None` when the length is wrong.
    pub fn from_bytes(ledger: LedgerId, bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self { ledger, lanes: Box::new(read_lanes(bytes)) })
    }

    /// The state, 2,048 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; STATE_BYTES];
        bytes.as_chunks_mut::<2>().0.iter_mut().zip(self.lanes.iter()).for_each(|(to, lane)| *to = lane.to_le_bytes());
        bytes
    }

    /// Adds one transaction. The caller sees to it that none is added twice.
    pub fn add(&mut self, id: &TxId) {
        let mut bytes = [0; STATE_BYTES];
        hash_xof(Context::DigestLanes, &[self.ledger.as_bytes(), id.as_bytes()], &mut bytes);
        let more = bytes.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair));
        self.lanes.iter_mut().zip(more).for_each(|(lane, more)| *lane = lane.wrapping_add(more));
    }

    /// Adds all transactions of another set, which has none in common with this one.
    pub fn add_set(&mut self, other: &Self) {
        self.lanes.iter_mut().zip(other.lanes.iter()).for_each(|(lane, more)| *lane = lane.wrapping_add(*more));
    }

    /// `H("digest", ledger, state)`.
    pub fn digest(&self) -> Digest {
        Digest::from_bytes(hash(Context::Digest, &[self.ledger.as_bytes(), &self.to_bytes()]))
    }
}

fn read_lanes(bytes: &[u8; STATE_BYTES]) -> [u16; LANES] {
    let mut lanes = [0; LANES];
    lanes.iter_mut().zip(bytes.as_chunks().0).for_each(|(lane, pair)| *lane = u16::from_le_bytes(*pair));
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_gives_the_same_digest_and_any_difference_another() {
        let ledger = LedgerId::from_bytes([3; 32]);
        let ids: Vec<TxId> = (0..50u8).map(|n| TxId::from_bytes([n; 32])).collect();
        let sum = |ids: &mut dyn Iterator<Item = &TxId>| {
            let mut sum = SetDigest::new(ledger);
            ids.for_each(|id| sum.add(id));
            sum
        };
        let forward = sum(&mut ids.iter());
        assert_eq!(forward, sum(&mut ids.iter().rev()));
        assert_ne!(forward.digest(), sum(&mut ids.iter().skip(1)).digest());
        assert_eq!(SetDigest::from_bytes(ledger, &forward.to_bytes()), Some(forward.clone()));
        assert_eq!(SetDigest::from_bytes(ledger, &[0; 3]), None);
        let mut parts = sum(&mut ids.iter().take(20));
        parts.add_set(&sum(&mut ids.iter().skip(20)));
        assert_eq!(parts, forward);
    }
}
