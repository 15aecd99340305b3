//! A new transaction's place: its parents, drawn from the frontier, and its time.
//!
//! Parents are durable here. A transaction may stay in the outbox for long, and over a crash, and is valid only where its
//! parents are: one that the crash took might never be shown again, by a liar who had sent it to this node alone.

use std::collections::BTreeMap;

use rand_core::Rng;

use super::Ledger;
use crate::{
    ids::TxId,
    store::{Found, Store, StoreError},
    time::Time,
};

/// How many parents a new transaction names when the frontier has more.
const PARENTS_DRAWN: usize = 3;

impl<S: Store> Ledger<S> {
    /// Parents and time for a new transaction: [`draw_parents`](Self::draw_parents), and the own clock to the minute,
    /// or the newest parent's time should the system's clock have been set back since that one settled.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    pub fn next_place(&mut self, system: Time, rng: &mut dyn Rng) -> Result<(Vec<TxId>, Time), StoreError> {
        let parents = self.draw(system, rng)?;
        let newest = parents.values().copied().max().unwrap_or_default();
        Ok((parents.into_keys().collect(), newest.max(self.clock(system).rounded_down())))
    }

    /// Parents for a new transaction: the whole frontier up to three, or three of it drawn uniformly; genesis when
    /// nothing has settled. In place of what is not durable yet stands its nearest ancestor that is, so that there may
    /// be fewer. Ascending, as a core wants them.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    pub fn draw_parents(&mut self, system: Time, rng: &mut dyn Rng) -> Result<Vec<TxId>, StoreError> {
        Ok(self.draw(system, rng)?.into_keys().collect())
    }

    /// The parents with their times; genesis counts as of no time, since none is before its start.
    fn draw(&mut self, system: Time, rng: &mut dyn Rng) -> Result<BTreeMap<TxId, Time>, StoreError> {
        self.settle(system)?;
        let mut tips = self.tips.ids();
        // The first steps of a Fisher-Yates shuffle.
        for at in 0..PARENTS_DRAWN.min(tips.len()) {
            let other = at.saturating_add(draw_below(rng, tips.len().saturating_sub(at)));
            tips.swap(at, other);
        }
        let drawn = tips.into_iter().take(PARENTS_DRAWN);
        let mut parents = drawn.map(|tip| self.durable(tip, rng)).collect::<Result<BTreeMap<_, _>, _>>()?;
        // It is no parent beside others, whose ancestor it is.
        parents.remove(&self.network.genesis());
        if parents.is_empty() {
            parents.insert(self.network.genesis(), Time::default());
        }
        Ok(parents)
    }

    /// The tip, or while a crash could take it, one of its parents, and so on.
    fn durable(&self, tip: TxId, rng: &mut dyn Rng) -> Result<(TxId, Time), StoreError> {
        let durable = self.store.last_commit().map_or(0, |point| point.count);
        let mut id = tip;
        // Parents stand before children, so that this ends.
        while let Some(Found { position, time, .. }) = self.store.find(&id)? {
            if position.get() < durable {
                return Ok((id, time));
            }
            let Some(record) = self.store.record(position)? else {
                break;
            };
            let parents = record.header.core().parents();
            id = parents.get(draw_below(rng, parents.len())).copied().unwrap_or(self.network.genesis());
        }
        Ok((self.network.genesis(), Time::default()))
    }
}

/// A number below `bound`, by Lemire's multiplication; its bias, below `bound` / 2^64, is nothing here.
fn draw_below(rng: &mut dyn Rng, bound: usize) -> usize {
    let product = u128::from(rng.next_u64()).saturating_mul(bound as u128);
    usize::try_from(product >> 64).unwrap_or(0)
}
