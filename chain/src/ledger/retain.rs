//! Letting bodies go: when their day has come, or earlier to keep to a disk budget (DESIGN §4;
//! `docs/decisions/0020-disk-budget-for-bodies.md`). Headers stay for good.

use super::Ledger;
use crate::{
    retention::Keep,
    store::{BodyPart, BodyUse, Store, StoreError},
    time::Time,
};

/// What a call of [`Ledger::prune`] let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Files of bodies whose day has come.
    pub expired: usize,
    /// Files of bodies that went before their day, for want of room.
    pub early: usize,
}

impl Pruned {
    /// Whether nothing went, so that nothing is left to be done.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// What bodies take, and when some go next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retained {
    /// How long this node keeps bodies.
    pub keep: Keep,
    /// Bytes of all bodies.
    pub bytes: u64,
    /// The next UTC day on which bodies go for their age, counted from 1970, and the bytes that this frees; `None` when
    /// there are none, or they are kept for good.
    pub next: Option<(u64, u64)>,
    /// The file of bodies that goes before its day once more bodies come than there is room for, and how many bytes of
    /// them there is room for until then; `None` without a disk budget, or without bodies.
    pub next_early: Option<(BodyPart, u64)>,
    /// Bodies were dropped before their day, up to those of this UTC day, which is still to come.
    pub early_until: Option<u64>,
}

impl<S: Store> Ledger<S> {
    /// Sets how long bodies are kept, from now on; by default until their day comes.
    pub fn keep_bodies(&mut self, keep: Keep) {
        self.keep = keep;
    }

    /// Lets bodies go whose time is over by the own clock, and those that the disk budget has no room for. A bounded
    /// number of files goes in one call: to be called again until [nothing](Pruned::is_nothing) goes.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be removed.
    pub fn prune(&mut self, system: Time) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        if self.keep != Keep::Archive {
            let today = self.clock(system).day();
            pruned.expired = self.store.drop_bodies_before(today.saturating_add(1))?;
        }
        if let Keep::Budget(bytes) = self.keep {
            pruned.early = self.store.drop_bodies_over(bytes)?;
        }
        Ok(pruned)
    }

    /// Makes room before a flush writes more, so that the budget holds however fast bodies come.
    ///
    /// That it fails is no reason to refuse what came: [`prune`](Self::prune) meets the same failure, and reports it.
    pub(super) fn make_room(&mut self) {
        if let Keep::Budget(bytes) = self.keep {
            drop(self.store.drop_bodies_over(bytes));
        }
    }

    /// What bodies take, and when some go next.
    pub fn retained(&self, system: Time) -> Retained {
        let today = self.clock(system).day();
        let BodyUse { bytes, next, next_part, early_until } = self.store.bodies();
        Retained {
            keep: self.keep,
            bytes,
            next: next.filter(|_| self.keep != Keep::Archive),
            next_early: match self.keep {
                Keep::Budget(budget) => next_part.map(|part| (part, budget.saturating_sub(bytes))),
                Keep::UntilTheirDay | Keep::Archive => None,
            },
            early_until: early_until.filter(|day| *day > today),
        }
    }
}
