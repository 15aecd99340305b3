//! Per-day digests: what two nodes compare to find the days on which they differ (DESIGN §7, sync).

use super::{Ledger, keys};
use crate::{
    digest::{Lanes, SetDigest},
    ids::Digest,
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

/// Up to so many transactions a day's digest state is not kept, but computed again from their ids: a stranger must not
/// buy two kilobytes with one stamp on a day of its own.
const FEW: u64 = 32;
/// Transactions of a day that are looked at in one go.
const DAY_PAGE: usize = 4_096;

/// The running values of one day.
#[derive(Clone, Debug)]
pub(super) struct Day {
    count: u64,
    set: SetDigest,
}

impl Day {
    /// count u64 | digest | state, unless there are few.
    fn to_bytes(&self) -> Vec<u8> {
        let state = if self.count > FEW { self.set.to_bytes() } else { Vec::new() };
        [&self.count.to_be_bytes()[..], self.set.digest().as_bytes(), &state].concat()
    }
    fn summary(&self, day: u64) -> DaySummary {
        DaySummary { day, count: self.count, digest: self.set.digest() }
    }
}

impl<S: Store> Ledger<S> {
    /// Counts a transaction into its day, which [`load_day`](Self::load_day) has loaded.
    pub(super) fn add_to_day(&mut self, number: u64, lanes: &Lanes) {
        if let Some(day) = self.days.get_mut(&number) {
            day.count = day.count.saturating_add(1);
            day.set.add_lanes(lanes);
        }
    }

    /// Loads a day's running values, to be changed.
    pub(super) fn load_day(&mut self, number: u64) -> Result<(), StoreError> {
        if self.days.contains_key(&number) {
            return Ok(());
        }
        let ledger = self.network.ledger();
        let stored = self.store.get(Tree::Days, &keys::number(number))?;
        let count =
            stored.as_deref().and_then(|bytes| bytes.first_chunk()).map_or(0, |count| u64::from_be_bytes(*count));
        let set = match stored.as_deref().and_then(|bytes| SetDigest::from_bytes(ledger, bytes.get(40..)?)) {
            Some(set) => set,
            None if count == 0 => SetDigest::new(ledger),
            None => self.set_of_day(number)?,
        };
        self.days.insert(number, Day { count, set });
        Ok(())
    }

    /// Forgets a day that was loaded for a transaction that did not come to be: nobody is told of days without any.
    pub(super) fn unload_empty_day(&mut self, number: u64) {
        if self.days.get(&number).is_some_and(|day| day.count == 0) {
            self.days.remove(&number);
        }
    }

    /// The sum over a day's transactions among those that the state counts.
    fn set_of_day(&self, number: u64) -> Result<SetDigest, StoreError> {
        let mut set = SetDigest::new(self.network.ledger());
        let (from, to) = Self::day_range(number);
        let mut after = None;
        loop {
            let page = self.store.in_order(from, to, after, DAY_PAGE)?;
            let Some((last, _)) = page.last() else {
                return Ok(set);
            };
            after = Some(*last);
            let counted = page.iter().filter(|(_, position)| position.get() < self.state.count());
            counted.for_each(|(key, _)| set.add(&key.id));
        }
    }

    /// The days that changed since the last flush, as changes to the index.
    pub(super) fn take_day_changes(&mut self) -> Vec<Change> {
        let days = std::mem::take(&mut self.days);
        days.iter().map(|(number, day)| Change::put(Tree::Days, keys::number(*number), day.to_bytes())).collect()
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
