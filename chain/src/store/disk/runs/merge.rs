//! Merging neighbouring runs into one, in slices: a merge of many records never has to be waited for, nor to end before
//! the process does. What a slice wrote is made durable with it, so that no fsync ever has much to do.

use std::sync::Arc;

use super::{
    build::{Builder, RunWriter},
    run::{Entries, Facts, ORDER_BYTES, ORDER_KEY_BYTES, OrderEntry, Run, order_key, position_of, prefix},
};
use crate::{
    ids::TxId,
    store::{StoreError, disk::log::LogView},
};

/// Which part of the content is being merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Ids,
    Tags,
    Order,
}

/// A merge under way.
pub(super) struct Merging {
    runs: Vec<Arc<Run>>,
    writer: RunWriter,
    part: Part,
    /// Entries of the part that were taken from each run.
    taken: Vec<u64>,
}

impl Merging {
    /// Begins to make one run of neighbouring ones.
    pub(super) fn begin(builder: &Builder, runs: Vec<Arc<Run>>) -> Result<Self, StoreError> {
        let zero = Facts { first: 0, end: 0, tagged: 0, ids: [TxId::from_bytes([0; 32]); 2] };
        let [a, b] = [runs.first(), runs.last()].map(|run| run.map_or(zero, |run| run.facts));
        let ([first_id, _], [_, last_id]) = (a.ids, b.ids);
        let tagged = runs.iter().map(|run| run.facts.tagged).fold(0, u64::saturating_add);
        let facts = Facts { first: a.first, end: b.end, tagged, ids: [first_id, last_id] };
        let writer = RunWriter::create(builder, facts)?;
        Ok(Self { taken: vec![0; runs.len()], runs, writer, part: Part::Ids })
    }

    /// The runs that become one.
    pub(super) fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    /// Merges some `max` entries and makes them durable; whether that was all, which whoever ends the run makes durable.
    pub(super) fn step(&mut self, max: usize, log: &LogView) -> Result<bool, StoreError> {
        let mut left = max;
        loop {
            let before = self.taken();
            let whole = self.copy(left, log)?;
            left = left.saturating_sub(usize::try_from(self.taken().saturating_sub(before)).unwrap_or(usize::MAX));
            if !whole {
                self.writer.sync()?;
                return Ok(false);
            }
            self.taken.fill(0);
            self.part = match self.part {
                Part::Ids => Part::Tags,
                Part::Tags => Part::Order,
                Part::Order => return Ok(true),
            };
        }
    }

    /// Entries of the part that were taken.
    fn taken(&self) -> u64 {
        self.taken.iter().copied().fold(0, u64::saturating_add)
    }

    /// Merges some `max` entries of the part; whether that was all of it.
    fn copy(&mut self, max: usize, log: &LogView) -> Result<bool, StoreError> {
        let Self { runs, writer, part, taken } = self;
        let from = || runs.iter().zip(taken.iter().copied());
        Ok(match part {
            Part::Ids => {
                let mut merge = Merge::new(from().map(|(run, at)| run.ids_from(at)).collect())?;
                let whole = copy(max, || merge.next(), |entry| writer.push_id(entry))?;
                *taken = merge.reached();
                whole
            }
            Part::Tags => {
                let mut merge = Merge::new(from().map(|(run, at)| run.tags_from(at)).collect())?;
                let whole = copy(max, || merge.next(), |entry| writer.push_tag(entry))?;
                *taken = merge.reached();
                whole
            }
            Part::Order => {
                let merge = Merge::new(from().map(|(run, at)| run.order_from(at)).collect())?;
                let mut merge = OrderMerge { from: merge, log };
                let whole = merge.copy(max, |entries| writer.push_orders(entries))?;
                *taken = merge.from.reached();
                whole
            }
        })
    }

    /// The run, once all is merged.
    pub(super) fn finish(&mut self, builder: &Builder, log: &LogView) -> Result<Run, StoreError> {
        self.writer.finish(builder, log)
    }
}

/// Hands on at most `max` entries; whether there are no more.
fn copy<const N: usize>(
    max: usize,
    mut next: impl FnMut() -> Result<Option<[u8; N]>, StoreError>,
    mut push: impl FnMut(&[u8; N]) -> Result<(), StoreError>,
) -> Result<bool, StoreError> {
    for _ in 0..max {
        match next()? {
            Some(entry) => push(&entry)?,
            None => return Ok(true),
        }
    }
    Ok(false)
}

/// The entries of several runs, the least first.
struct Merge<'a, const N: usize>(Vec<Source<'a, N>>);

/// The entries of one run, with the next one ahead; what begins it, as a number, nearly always tells which is the least.
struct Source<'a, const N: usize> {
    entries: Entries<'a, N>,
    next: Option<(u64, [u8; N])>,
}

impl<const N: usize> Source<'_, N> {
    fn look_ahead(&mut self) -> Result<(), StoreError> {
        self.next = self.entries.peek()?.map(|entry| (prefix(&entry), entry));
        Ok(())
    }
}

impl<'a, const N: usize> Merge<'a, N> {
    fn new(all: Vec<Entries<'a, N>>) -> Result<Self, StoreError> {
        let mut sources: Vec<_> = all.into_iter().map(|entries| Source { entries, next: None }).collect();
        sources.iter_mut().try_for_each(Source::look_ahead)?;
        Ok(Self(sources))
    }

    /// The least entry, and which run has it.
    fn peek(&self) -> Option<([u8; N], usize)> {
        let nexts = self.0.iter().enumerate().filter_map(|(nth, source)| Some((source.next.as_ref()?, nth)));
        nexts.min_by_key(|(next, _)| *next).map(|((_, entry), nth)| (*entry, nth))
    }

    fn next(&mut self) -> Result<Option<[u8; N]>, StoreError> {
        let least = self.peek();
        least.map_or(Ok(()), |(_, nth)| self.skip(nth, 1))?;
        Ok(least.map(|(entry, _)| entry))
    }

    /// Goes on behind the next `count` entries of a run, which were read already.
    fn skip(&mut self, nth: usize, count: usize) -> Result<(), StoreError> {
        let Some(source) = self.0.get_mut(nth) else {
            return Ok(());
        };
        source.entries.pass(count);
        source.look_ahead()
    }

    /// Entries of a run, at most `max` of those that were read already, that come before all of other runs by what `key` gives.
    fn stretch<K: Ord>(&self, nth: usize, max: usize, key: impl Fn(&[u8; N]) -> K) -> &[[u8; N]] {
        let others = self.0.iter().enumerate().filter(|(other, _)| *other != nth);
        let bound = others.filter_map(|(_, source)| Some(key(&source.next.as_ref()?.1))).min();
        let ahead = self.0.get(nth).map(|source| source.entries.ahead()).unwrap_or_default();
        let ahead = ahead.get(..max).unwrap_or(ahead);
        let before = |entry: &[u8; N]| bound.as_ref().is_none_or(|bound| key(entry) < *bound);
        let count = if ahead.last().is_some_and(before) { ahead.len() } else { ahead.partition_point(before) };
        ahead.get(..count).unwrap_or_default()
    }

    /// Entries of each run before the next one.
    fn reached(&self) -> Vec<u64> {
        self.0.iter().map(|source| source.entries.reached()).collect()
    }
}

/// Places of several runs in canonical order.
struct OrderMerge<'a> {
    from: Merge<'a, ORDER_BYTES>,
    log: &'a LogView,
}

impl OrderMerge<'_> {
    /// Hands on at most `max` entries, or a few more; whether there are no more. Neighbouring runs hardly overlap in time, so
    /// that most entries go in long stretches.
    fn copy(
        &mut self,
        max: usize,
        mut push: impl FnMut(&[OrderEntry]) -> Result<(), StoreError>,
    ) -> Result<bool, StoreError> {
        let mut left = max;
        while left > 0 {
            let Some((entry, nth)) = self.from.peek() else {
                return Ok(true);
            };
            let stretch = self.from.stretch(nth, left, order_key);
            let count = stretch.len();
            push(stretch)?;
            self.from.skip(nth, count)?;
            left = left.saturating_sub(count);
            if count == 0 {
                // Those that only their whole ids tell apart are taken together.
                let tied = self.take_tied(order_key(&entry))?;
                push(&tied)?;
                left = left.saturating_sub(tied.len());
            }
        }
        Ok(false)
    }

    /// The entries that agree in time, depth and the first bytes of their ids with `key`, which is the least, in the order of their
    /// whole ids. Within one run tied entries need not ascend as bytes, but they stand together in every run.
    fn take_tied(&mut self, key: [u8; ORDER_KEY_BYTES]) -> Result<Vec<OrderEntry>, StoreError> {
        let mut tied = Vec::new();
        while let Some((next, nth)) = self.from.peek()
            && order_key(&next) == key
        {
            tied.push(next);
            self.from.skip(nth, 1)?;
        }
        tied.sort_unstable_by_key(|entry| position_of(entry));
        let positions: Vec<u64> = tied.iter().map(|entry| position_of(entry)).collect();
        let mut by_id: Vec<(TxId, OrderEntry)> = self.log.ids_at(&positions)?.into_iter().zip(tied).collect();
        by_id.sort_unstable();
        Ok(by_id.into_iter().map(|(_, entry)| entry).collect())
    }
}
