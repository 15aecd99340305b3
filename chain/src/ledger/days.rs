//! Per-day digests: what two nodes compare to find the days on which they differ (DESIGN §7, sync).

use super::{Ledger, digests::Day, keys};
use crate::{
    digest::SetDigest,
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

/// count u64 | digest | state, unless there are few.
fn day_bytes(day: &Day) -> Vec<u8> {
    let state = if day.count > FEW { day.set.to_bytes() } else { Vec::new() };
    [&day.count.to_be_bytes()[..], day.set.digest().as_bytes(), &state].concat()
}

impl<S: Store> Ledger<S> {
    /// Loads a day's running values, to be changed.
    pub(super) fn load_day(&mut self, number: u64) -> Result<(), StoreError> {
        if self.digests.has_day(number) {
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
        self.digests.load_day(number, Day::new(count, set));
        Ok(())
    }

    /// The sum over a day's transactions among those that are in the digests.
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
            let counted = page.iter().filter(|(_, position)| position.get() < self.digests.whole().count);
            counted.for_each(|(key, _)| set.add(&key.id));
        }
    }

    /// The days that changed since the last flush, as changes to the index.
    pub(super) fn take_day_changes(&mut self) -> Vec<Change> {
        let days = self.digests.take_changed_days().into_iter();
        days.map(|(number, day)| Change::put(Tree::Days, keys::number(number), day_bytes(&day))).collect()
    }

    /// At most `max` days from `from` on that have transactions, ascending.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    pub fn days(&self, from: u64, max: usize) -> Result<Vec<DaySummary>, StoreError> {
        let pairs = self.store.range(Tree::Days, &keys::number(from), &[0xff; 9], max)?;
        let mut days: std::collections::BTreeMap<u64, DaySummary> =
            pairs.iter().filter_map(|(key, value)| read_summary(key, value)).map(|day| (day.day, day)).collect();
        // Those behind the last of so many are not asked for.
        let to =
            if days.len() < max { u64::MAX } else { days.keys().nth(max.saturating_sub(1)).copied().unwrap_or(from) };
        let changed = self.digests.days(from, to).into_iter();
        days.extend(changed.map(|(day, count, digest)| (day, DaySummary { day, count, digest })));
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
