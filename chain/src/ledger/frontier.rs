//! The frontier: settled transactions without settled children, from which parents are drawn (DESIGN §4).
//!
//! *Settled* = time not after the own clock, received at least the network's settle time ago, and, for one's own
//! on `main`, known to be held by two peers. So no one can push a sender's time forward, and no spy can hand
//! one victim a tip to be recognised by.

use rand_core::Rng;

use super::{Ledger, keys};
use crate::{
    ids::{Position, TxId},
    store::{Batch, Change, Record, Store, StoreError, Tree},
    time::Time,
};

/// How many parents a new transaction names when the frontier has more.
pub const PARENTS_DRAWN: usize = 3;
/// How many waiting transactions are settled in one go.
const SETTLE_PAGE: usize = 1_024;

impl<S: Store> Ledger<S> {
    /// The index entry of a transaction that waits to settle. Ordered by when it is due, then by position, so that
    /// parents settle before their children.
    pub(super) fn waits_to_settle(&self, position: Position, record: &Record) -> Change {
        let due = record.header.core().time().max(record.arrival.plus(self.network.settle_secs()));
        Change { tree: Tree::Frontier, key: keys::waiting(due, position), value: Some(Vec::new()) }
    }

    pub(super) fn load_frontier(&mut self) -> Result<(), StoreError> {
        let pairs = self.store.range(Tree::Frontier, keys::TIPS.0, keys::TIPS.1, usize::MAX)?;
        self.tips = pairs
            .iter()
            .filter_map(|(key, value)| Some((keys::read_tip(key)?, Time::from_secs(keys::read_u64(value)?))))
            .collect();
        Ok(())
    }

    /// Settles everything that is due by the own clock.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    pub fn settle(&mut self, system: Time) -> Result<(), StoreError> {
        let (from, to) = keys::waiting_until(self.clock(system));
        loop {
            let due = self.store.range(Tree::Frontier, &from, &to, SETTLE_PAGE)?;
            if due.is_empty() {
                return Ok(());
            }
            let mut changes = Vec::new();
            for (key, _) in due {
                if let Some(record) = keys::read_waiting(&key).map(|at| self.store.record(at)).transpose()?.flatten() {
                    self.settle_one(&record, &mut changes);
                }
                changes.push(Change { tree: Tree::Frontier, key, value: None });
            }
            self.store.stage(Batch { records: Vec::new(), changes })?;
        }
    }

    fn settle_one(&mut self, record: &Record, changes: &mut Vec<Change>) {
        let core = record.header.core();
        for parent in core.parents() {
            // A child that came from elsewhere shows that the world has its parent.
            self.held_back.remove(parent);
            if self.tips.remove(parent).is_some() {
                changes.push(Change { tree: Tree::Frontier, key: keys::tip(parent), value: None });
            }
        }
        if !self.held_back.contains(&record.id) {
            changes.push(self.add_tip(record.id, core.time()));
        }
    }

    fn add_tip(&mut self, id: TxId, time: Time) -> Change {
        self.tips.insert(id, time);
        Change { tree: Tree::Frontier, key: keys::tip(&id), value: Some(keys::time(time)) }
    }

    /// Two peers are known to hold this own transaction: it may become a parent once it is due.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    pub fn known_to_be_held(&mut self, id: &TxId, system: Time) -> Result<(), StoreError> {
        // Settle first, so that what is due but held back is no longer waiting.
        self.settle(system)?;
        if !self.held_back.remove(id) {
            return Ok(());
        }
        let Some(record) = self.position(id)?.map(|at| self.store.record(at)).transpose()?.flatten() else {
            return Ok(());
        };
        let due = record.header.core().time().max(record.arrival.plus(self.network.settle_secs()));
        if due <= self.clock(system) {
            let change = self.add_tip(*id, record.header.core().time());
            self.store.stage(Batch { records: Vec::new(), changes: vec![change] })?;
        }
        Ok(())
    }

    /// Parents and time for a new transaction: [`draw_parents`](Self::draw_parents), and the own clock to the minute,
    /// or the newest parent's time should the system's clock have been set back since that one settled.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    pub fn next_place(&mut self, system: Time, rng: &mut dyn Rng) -> Result<(Vec<TxId>, Time), StoreError> {
        let parents = self.draw_parents(system, rng)?;
        let newest = parents.iter().filter_map(|id| self.tips.get(id)).max().copied();
        let clock = self.clock(system).rounded_down();
        Ok((parents, newest.map_or(clock, |newest| newest.max(clock))))
    }

    /// How many tips the frontier has.
    pub fn frontier_len(&self) -> usize {
        self.tips.len()
    }

    /// Parents for a new transaction: the whole frontier up to three, or three of it drawn uniformly; genesis when
    /// nothing has settled. Ascending, as a core wants them.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    pub fn draw_parents(&mut self, system: Time, rng: &mut dyn Rng) -> Result<Vec<TxId>, StoreError> {
        self.settle(system)?;
        let mut tips: Vec<TxId> = self.tips.keys().copied().collect();
        if tips.is_empty() {
            return Ok(vec![self.network.genesis()]);
        }
        // The first steps of a Fisher-Yates shuffle.
        for at in 0..PARENTS_DRAWN.min(tips.len()) {
            let other = at.saturating_add(draw_below(rng, tips.len().saturating_sub(at)));
            tips.swap(at, other);
        }
        tips.truncate(PARENTS_DRAWN);
        tips.sort_unstable();
        Ok(tips)
    }
}

/// A number below `bound`, by Lemire's multiplication; its bias, below `bound` / 2^64, is nothing here.
fn draw_below(rng: &mut dyn Rng, bound: usize) -> usize {
    let product = u128::from(rng.next_u64()).saturating_mul(bound as u128);
    usize::try_from(product >> 64).unwrap_or(0)
}
