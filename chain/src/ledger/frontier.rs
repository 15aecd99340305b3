//! The frontier: settled transactions without settled children, from which parents are drawn (DESIGN §4).
//!
//! *Settled* = time not after the own clock, received at least the network's settle time ago, and, for one's own
//! on `main`, known to be held by two peers. So no one can push a sender's time forward, and no spy can hand
//! one victim a tip to be recognised by.

use super::{Ledger, keys, tips::Tips};
use crate::{
    ids::{Position, TxId},
    store::{Batch, Change, Record, Store, StoreError, Tree},
    time::Time,
    transaction::Core,
};

/// How many waiting transactions are settled in one go.
const SETTLE_PAGE: usize = 1_024;

impl<S: Store> Ledger<S> {
    /// The index entry of a transaction that waits to settle. Ordered by when it is due, then by position, so that
    /// parents settle before their children.
    pub(super) fn waits_to_settle(&mut self, position: Position, core: &Core, arrival: Time) -> Change {
        let due = self.due(core, arrival);
        self.next_due = self.next_due.min(due);
        Change::put_fresh(Tree::Frontier, keys::waiting(due, position), Vec::new())
    }

    pub(super) fn load_frontier(&mut self) -> Result<(), StoreError> {
        let pairs = self.store.range(Tree::Frontier, keys::TIPS.0, keys::TIPS.1, usize::MAX)?;
        self.tips = Tips::load(&pairs);
        let pairs = self.store.range(Tree::Frontier, keys::ALL_HELD_BACK.0, keys::ALL_HELD_BACK.1, usize::MAX)?;
        self.held_back = pairs.iter().filter_map(|(key, _)| keys::read_id(key)).collect();
        Ok(())
    }

    /// Settles everything that is due by the own clock.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    pub fn settle(&mut self, system: Time) -> Result<(), StoreError> {
        let now = self.clock(system);
        if now < self.next_due {
            return Ok(());
        }
        let (from, to) = keys::waiting_until(now);
        loop {
            let due = self.store.range(Tree::Frontier, &from, &to, SETTLE_PAGE)?;
            if due.is_empty() {
                break;
            }
            let mut changes = Vec::new();
            for (key, _) in due {
                if let Some(record) = keys::read_waiting(&key).map(|at| self.store.record(at)).transpose()?.flatten() {
                    let core = record.header.core();
                    self.settle_one(&record.id, core.time(), core.parents(), &mut changes)?;
                }
                changes.push(Change::remove(Tree::Frontier, key));
            }
            changes.extend(self.tips.take_changes());
            self.store.stage(Batch::of_changes(changes))?;
        }
        let next = self.store.range(Tree::Frontier, &from, keys::WAITING_END, 1)?;
        let never = Time::from_secs(u64::MAX);
        self.next_due = next.first().and_then(|(key, _)| keys::read_due(key)).unwrap_or(never);
        Ok(())
    }

    /// Whether a transaction that comes now never waits: it is due, and its parents, which were due no later, have settled.
    pub(super) fn settles_at_once(&mut self, core: &Core, now: Time) -> bool {
        self.held_back.is_empty() && self.due(core, now) <= now && self.settle(now).is_ok()
    }

    pub(super) fn settle_one(
        &mut self,
        id: &TxId,
        time: Time,
        parents: &[TxId],
        changes: &mut Vec<Change>,
    ) -> Result<(), StoreError> {
        for parent in parents {
            // A settled child shows that the world has its parent. The parent was due no later than the child.
            if self.let_go(parent, changes)
                && let Some(parent) = self.record_of(parent)?
            {
                self.cover(parent.header.core().parents());
            }
        }
        if !self.held_back.contains(id) {
            self.becomes_tip(id, time, parents);
        }
        Ok(())
    }

    /// A settled transaction without settled children takes the place of its parents.
    pub(super) fn becomes_tip(&mut self, id: &TxId, time: Time, parents: &[TxId]) {
        self.cover(parents);
        self.tips.add(*id, time);
    }

    fn cover(&mut self, parents: &[TxId]) {
        parents.iter().for_each(|parent| self.tips.cover(parent));
    }

    /// The index entry of an own transaction that must not become a parent yet. It survives a restart.
    pub(super) fn hold_back(&mut self, id: TxId) -> Change {
        self.held_back.insert(id);
        Change::put(Tree::Frontier, keys::held_back(&id), Vec::new())
    }

    /// Holds a transaction back no longer; whether it was.
    fn let_go(&mut self, id: &TxId, changes: &mut Vec<Change>) -> bool {
        let was = self.held_back.remove(id);
        if was {
            changes.push(Change::remove(Tree::Frontier, keys::held_back(id)));
        }
        was
    }

    fn record_of(&self, id: &TxId) -> Result<Option<Record>, StoreError> {
        Ok(self.position(id)?.map(|at| self.store.record(at)).transpose()?.flatten())
    }

    /// Own transactions that few peers are known to hold, ascending: who counts holders goes on with these after a
    /// restart.
    pub fn held_back(&self) -> impl Iterator<Item = &TxId> {
        self.held_back.iter()
    }

    /// Two peers are known to hold this own transaction: it may become a parent once it is due.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    pub fn known_to_be_held(&mut self, id: &TxId, system: Time) -> Result<(), StoreError> {
        // Settle first, so that what is due but held back is no longer waiting.
        self.settle(system)?;
        let mut changes = Vec::new();
        if !self.let_go(id, &mut changes) {
            return Ok(());
        }
        if let Some(record) = self.record_of(id)?
            && self.due(record.header.core(), record.arrival) <= self.clock(system)
        {
            self.becomes_tip(id, record.header.core().time(), record.header.core().parents());
            changes.extend(self.tips.take_changes());
        }
        self.store.stage(Batch::of_changes(changes))
    }

    /// When a transaction settles, as far as time goes.
    pub(super) fn due(&self, core: &Core, arrival: Time) -> Time {
        core.time().max(arrival.plus(self.network.settle_secs()))
    }

    /// How many tips the frontier has.
    pub fn frontier_len(&self) -> usize {
        self.tips.len()
    }
}
