//! Per-day digests: what two nodes compare to find the days on which they differ (DESIGN §7, sync).

use super::{Ledger, keys};
use crate::{
    digest::SetDigest,
    ids::{Digest, TxId},
    store::{Change, Store, StoreError, Tree},
};

/// Count and digest of the transactions of one UTC day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaySummary {
    /// The day, counted from 1970.
    pub day: u64,
    /// How many transactions have a time on that day.
    pub count: u64,
    /// Digest of their set.
    pub digest: Digest,
}

/// The running values of one day.
#[derive(Clone, Debug)]
pub(super) struct Day {
    count: u64,
    set: SetDigest,
}

impl Day {
    /// count u64 | digest | state.
    fn to_bytes(&self) -> Vec<u8> {
        [&self.count.to_be_bytes()[..], self.set.digest().as_bytes(), &self.set.to_bytes()].concat()
    }
    fn summary(&self, day: u64) -> DaySummary {
        DaySummary { day, count: self.count, digest: self.set.digest() }
    }
}

impl<S: Store> Ledger<S> {
    /// Counts a transaction into its day, which [`load_day`](Self::load_day) has loaded.
    pub(super) fn add_to_day(&mut self, number: u64, id: &TxId) {
        if let Some(day) = self.days.get_mut(&number) {
            day.count = day.count.saturating_add(1);
            day.set.add(id);
        }
    }

    /// Loads a day's running values, to be changed.
    pub(super) fn load_day(&mut self, number: u64) -> Result<(), StoreError> {
        if self.days.contains_key(&number) {
            return Ok(());
        }
        let ledger = self.network.ledger();
        let stored = self.store.get(Tree::Days, &keys::number(number))?;
        let parsed = stored.as_deref().and_then(|bytes| {
            let (count, rest) = bytes.split_first_chunk::<8>()?;
            Some(Day { count: u64::from_be_bytes(*count), set: SetDigest::from_bytes(ledger, rest.get(32..)?)? })
        });
        self.days.insert(number, parsed.unwrap_or_else(|| Day { count: 0, set: SetDigest::new(ledger) }));
        Ok(())
    }

    /// The days that changed since the last flush, as changes to the index.
    pub(super) fn take_day_changes(&mut self) -> Vec<Change> {
        let days = std::mem::take(&mut self.days);
        days.iter()
            .map(|(number, day)| Change { tree: Tree::Days, key: keys::number(*number), value: Some(day.to_bytes()) })
            .collect()
    }

    /// At most `max` days from `from` on that have transactions, ascending.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    pub fn days(&self, from: u64, max: usize) -> Result<Vec<DaySummary>, StoreError> {
        let pairs = self.store.range(Tree::Days, &keys::number(from), &[0xff; 9], max)?;
        let mut days: std::collections::BTreeMap<u64, DaySummary> =
            pairs.iter().filter_map(|(key, value)| read_summary(key, value)).map(|day| (day.day, day)).collect();
        days.extend(self.days.range(from..).map(|(number, day)| (*number, day.summary(*number))));
        Ok(days.into_values().take(max).collect())
    }
}

fn read_summary(key: &[u8], value: &[u8]) -> Option<DaySummary> {
    let (count, rest) = value.split_first_chunk::<8>()?;
    let digest = rest.first_chunk::<32>()?;
    Some(DaySummary {
        day: keys::read_u64(key)?,
        count: u64::from_be_bytes(*count),
        digest: Digest::from_bytes(*digest),
    })
}
