//! Comparing tips and waiting transactions with the log.
//!
//! Which transactions wait to settle depends on when somebody last asked, so what waits is taken as it stands, but for
//! when it is due; and so is which own ones are held back, which does not follow from the log. All else has settled, and
//! then the tips follow: they are those that no other of these names as its parent.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    ids::{Position, TxId},
    ledger::{Ledger, keys},
    store::{Record, Store, StoreError, Tree},
    time::Time,
};

/// The frontier as it follows from the records so far.
pub(super) struct FrontierCheck {
    /// Positions that wait and have not come by, and when they are due.
    waiting: BTreeMap<u64, Time>,
    /// Those held back that have not come by.
    held_back: BTreeSet<TxId>,
    tips: BTreeMap<TxId, Time>,
}

impl FrontierCheck {
    pub(super) fn new<S: Store>(ledger: &Ledger<S>) -> Result<Self, StoreError> {
        let pairs = ledger.store.range(Tree::Frontier, keys::TIPS.1, keys::WAITING_END, usize::MAX)?;
        let waits = |key: &[u8]| Some((keys::read_waiting(key)?.get(), keys::read_due(key)?));
        let waiting = pairs.iter().filter_map(|(key, _)| waits(key)).collect();
        Ok(Self { waiting, held_back: ledger.held_back.clone(), tips: BTreeMap::new() })
    }

    /// Takes the next record of the log. What the index says wrongly of it, if anything.
    pub(super) fn push<S: Store>(
        &mut self,
        ledger: &Ledger<S>,
        position: Position,
        record: &Record,
    ) -> Option<&'static str> {
        let core = record.header.core();
        let held_back = self.held_back.remove(&record.id);
        if let Some(due) = self.waiting.remove(&position.get()) {
            let right = due == ledger.due(core, record.arrival);
            return (!right).then_some("it waits to settle, and at another time than follows from it");
        }
        if !held_back {
            for parent in core.parents() {
                self.tips.remove(parent);
            }
            self.tips.insert(record.id, core.time());
        }
        None
    }

    /// What is wrong with the frontier now that all records have come by, if anything.
    pub(super) fn end<S: Store>(self, ledger: &Ledger<S>) -> Option<String> {
        if let Some(position) = self.waiting.keys().next() {
            return Some(format!("position {position} waits to settle, but the log does not reach that far"));
        }
        if let Some(id) = self.held_back.first() {
            return Some(format!("id {id} is held back, but it is not in the log"));
        }
        if let Some((id, _)) = self.tips.iter().find(|(id, time)| ledger.tips.time_of(id) != Some(**time)) {
            return Some(format!("the frontier lacks id {id}, or has it with another time"));
        }
        let more = ledger.tips.ids().into_iter().find(|id| !self.tips.contains_key(id))?;
        Some(format!("the frontier has id {more}, which is no tip"))
    }
}
