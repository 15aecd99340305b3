//! Verified transactions whose parents are not all in the ledger yet.
//!
//! Bounds: [`ORPHANS_MAX`] and [`ORPHANS_MAX_BYTES`] in all, a quarter of each per peer, [`MAX_AGE_MS`] of waiting. A
//! peer over its share is refused; when the pool is full, the peer that fills it most gives way, newest first,
//! since the oldest are nearest to what is in the ledger. Nothing is lost by it: sync brings them again.

use std::collections::{BTreeMap, BTreeSet};

use qasedak_chain::{TxId, rules::Verified};

use super::{
    Peer,
    checks::{Origin, Waiter},
};

/// Most orphans.
const ORPHANS_MAX: usize = 2_048;
/// Most bytes of orphans.
const ORPHANS_MAX_BYTES: usize = 16 * 1024 * 1024;
/// What part of either one peer may fill.
const SHARES: usize = 4;
/// How long an orphan waits for its parents.
const MAX_AGE_MS: u64 = 600_000;

/// A verified transaction and where it came from.
#[derive(Debug)]
pub(super) struct Orphan {
    pub(super) verified: Verified,
    pub(super) origin: Origin,
    missing: BTreeSet<TxId>,
    bytes: usize,
    since_ms: u64,
    /// Order of arrival.
    number: u64,
}

/// What one peer has in the pool.
#[derive(Debug, Default)]
struct Share {
    /// In order of arrival.
    ids: BTreeMap<u64, TxId>,
    bytes: usize,
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Orphans {
    max: usize,
    max_bytes: usize,
    by_id: BTreeMap<TxId, Orphan>,
    /// Missing parent → those that wait for it.
    children: BTreeMap<TxId, BTreeSet<TxId>>,
    /// In order of arrival.
    arrived: BTreeMap<u64, TxId>,
    shares: BTreeMap<Peer, Share>,
    bytes: usize,
    next_number: u64,
}

impl Default for Orphans {
    fn default() -> Self {
        Self::with_bounds(ORPHANS_MAX, ORPHANS_MAX_BYTES)
    }
}

impl Orphans {
    fn with_bounds(max: usize, max_bytes: usize) -> Self {
        Self {
            max,
            max_bytes,
            by_id: BTreeMap::new(),
            children: BTreeMap::new(),
            arrived: BTreeMap::new(),
            shares: BTreeMap::new(),
            bytes: 0,
            next_number: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
    pub(super) fn ids(&self) -> impl Iterator<Item = &TxId> {
        self.by_id.keys()
    }
    /// How many of them came from a peer.
    pub(super) fn of(&self, peer: Peer) -> usize {
        self.shares.get(&peer).map_or(0, |share| share.ids.len())
    }
    pub(super) fn contains(&self, id: &TxId) -> bool {
        self.by_id.contains_key(id)
    }

    /// Takes in a transaction that lacks the parents `missing`. Returns what had to give way, which may be itself.
    pub(super) fn insert(
        &mut self,
        verified: Verified,
        origin: Origin,
        missing: BTreeSet<TxId>,
        now_ms: u64,
    ) -> Vec<Orphan> {
        let transaction = verified.transaction();
        let id = transaction.id();
        let body = transaction.body().map_or(0, <[u8]>::len);
        // What the pool itself needs for one counts too.
        let bytes = transaction.core().header_len().saturating_mul(2).saturating_add(body);
        let number = self.next_number;
        self.next_number = self.next_number.saturating_add(1);
        let orphan = Orphan { verified, origin, missing, bytes, since_ms: now_ms, number };
        let (count, held) = self.shares.get(&origin.peer).map_or((0, 0), |share| (share.ids.len(), share.bytes));
        if self.contains(&id) || count >= self.max / SHARES || held.saturating_add(bytes) > self.max_bytes / SHARES {
            return vec![orphan];
        }
        for parent in &orphan.missing {
            self.children.entry(*parent).or_default().insert(id);
        }
        let share = self.shares.entry(origin.peer).or_default();
        share.ids.insert(number, id);
        share.bytes = share.bytes.saturating_add(bytes);
        self.arrived.insert(number, id);
        self.bytes = self.bytes.saturating_add(bytes);
        self.by_id.insert(id, orphan);
        self.make_room()
    }

    fn make_room(&mut self) -> Vec<Orphan> {
        let mut gone = Vec::new();
        while self.by_id.len() > self.max || self.bytes > self.max_bytes {
            let fullest = self.shares.values().max_by_key(|share| (share.bytes, share.ids.len()));
            let Some(id) = fullest.and_then(|share| share.ids.values().next_back().copied()) else {
                break;
            };
            gone.extend(self.remove(&id));
        }
        gone
    }

    fn remove(&mut self, id: &TxId) -> Option<Orphan> {
        let orphan = self.by_id.remove(id)?;
        for parent in &orphan.missing {
            if let Some(children) = self.children.get_mut(parent) {
                children.remove(id);
                if children.is_empty() {
                    self.children.remove(parent);
                }
            }
        }
        self.arrived.remove(&orphan.number);
        self.bytes = self.bytes.saturating_sub(orphan.bytes);
        if let Some(share) = self.shares.get_mut(&orphan.origin.peer) {
            share.ids.remove(&orphan.number);
            share.bytes = share.bytes.saturating_sub(orphan.bytes);
            if share.ids.is_empty() {
                self.shares.remove(&orphan.origin.peer);
            }
        }
        Some(orphan)
    }

    /// `parent` is in the ledger now: takes out those that lack nothing any more.
    pub(super) fn adopt(&mut self, parent: &TxId) -> Vec<Orphan> {
        let Some(children) = self.children.remove(parent) else {
            return Vec::new();
        };
        let mut ready = Vec::new();
        for id in children {
            let Some(orphan) = self.by_id.get_mut(&id) else {
                continue;
            };
            orphan.missing.remove(parent);
            if orphan.missing.is_empty() {
                ready.extend(self.remove(&id));
            }
        }
        ready
    }

    /// Lets a gossip message wait for an orphan to be adopted, unless another one does.
    pub(super) fn attach(&mut self, id: &TxId, waiter: Waiter) -> bool {
        match self.by_id.get_mut(id) {
            Some(orphan) if orphan.origin.waiter.is_none() => {
                orphan.origin.waiter = Some(waiter);
                true
            }
            _ => false,
        }
    }

    /// Takes the waiters whose time is up, and lets go of the orphans that waited too long.
    pub(super) fn expire(&mut self, now_ms: u64) -> Vec<Waiter> {
        let mut over = Vec::new();
        while let Some(id) = self.arrived.values().next().copied() {
            match self.by_id.get(&id) {
                Some(orphan) if now_ms.saturating_sub(orphan.since_ms) < MAX_AGE_MS => break,
                Some(_) => over.extend(self.remove(&id).and_then(|orphan| orphan.origin.waiter)),
                None => break,
            }
        }
        for orphan in self.by_id.values_mut() {
            if orphan.origin.waiter.is_some_and(|waiter| waiter.until_ms <= now_ms) {
                over.extend(orphan.origin.waiter.take());
            }
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        checks::Via,
        tests::make::{verified, world},
    };
    use qasedak_chain::Network;

    /// Puts in some of the world as orphans of `peer` that lack `parents`. Returns how many gave way.
    fn fill(pool: &mut Orphans, peer: u64, of: std::ops::Range<usize>, parents: &[TxId], now_ms: u64) -> usize {
        let origin = Origin::new(Peer(peer), Via::Gossip);
        let mut insert = |one| {
            let parents = parents.iter().copied().collect();
            pool.insert(verified(&Network::dev(), one), origin, parents, now_ms).len()
        };
        world()[of].iter().map(&mut insert).sum()
    }

    fn parent(number: u8) -> TxId {
        TxId::from_bytes([number; 32])
    }

    fn share(pool: &Orphans, peer: u64) -> usize {
        pool.shares.get(&Peer(peer)).map_or(0, |share| share.ids.len())
    }

    #[test]
    fn no_peer_holds_more_than_its_share_and_the_fullest_gives_way() {
        // From the eighth on all have three parents, and so the same size.
        let each = world()[7].core().header_len() * 2 + 512;
        for (max, max_bytes) in [(16, 1_000_000), (1_000, 16 * each + 600)] {
            let mut pool = Orphans::with_bounds(max, max_bytes);
            for peer in 0..4 {
                let first = 7 + 5 * peer as usize;
                assert_eq!(fill(&mut pool, peer, first..first + 5, &[parent(1)], 0), 1, "past its share");
            }
            assert_eq!(pool.len(), 16);
            assert_eq!(fill(&mut pool, 9, 27..29, &[parent(1)], 0), 2, "others give way");
            assert_eq!((pool.len(), share(&pool, 9)), (16, 2));
            assert!(pool.bytes <= max_bytes);
        }
    }

    #[test]
    fn whatever_leaves_leaves_nothing_behind() {
        let mut pool = Orphans::default();
        fill(&mut pool, 1, 0..10, &[parent(1)], 0);
        fill(&mut pool, 2, 10..20, &[parent(2)], 1_000);
        assert_eq!(pool.adopt(&parent(1)).len(), 10);
        assert_eq!(pool.adopt(&parent(1)).len(), 0);
        pool.expire(999 + MAX_AGE_MS);
        assert_eq!(pool.len(), 10);
        pool.expire(1_000 + MAX_AGE_MS);
        assert_eq!((pool.len(), pool.bytes), (0, 0));
        assert!(pool.children.is_empty() && pool.arrived.is_empty() && pool.shares.is_empty());
    }

    #[test]
    fn an_orphan_with_two_missing_parents_waits_for_both_and_is_taken_in_once() {
        let mut pool = Orphans::default();
        assert_eq!(fill(&mut pool, 1, 0..1, &[parent(1), parent(2)], 0), 0);
        assert_eq!(fill(&mut pool, 2, 0..1, &[parent(1), parent(2)], 0), 1, "it is here");
        assert_eq!(pool.adopt(&parent(2)).len(), 0);
        assert_eq!(pool.adopt(&parent(1)).len(), 1);
        assert_eq!((pool.len(), pool.bytes), (0, 0));
    }
}
