//! Making runs: from records in memory, from other runs, from the log.

use std::{
    cmp::Ordering,
    path::{Path, PathBuf},
    sync::Arc,
    vec,
};

use super::{
    blocks::{BlockWriter, Identity},
    run::{
        Entries, Facts, Fan, Filter, NAME_BYTES, Name, ORDER_BYTES, ORDER_KEY_BYTES, OrderEntry, Run, name,
        order_entry, order_key, position_of,
    },
};
use crate::{
    ids::{LedgerId, TxId},
    store::{
        StoreError,
        disk::{files, log::LogView, memtable::MemTable},
    },
};

/// Records of the log that are taken up in one go.
const PAGE: usize = 4_096;

/// Where the runs of a log are, and how large a table in memory grows.
#[derive(Clone, Debug)]
pub(super) struct Builder {
    pub(super) dir: PathBuf,
    pub(super) ledger: LedgerId,
    pub(super) log_id: [u8; 16],
    pub(super) memtable_records: usize,
}

impl Builder {
    pub(super) fn identity(&self, first: u64, end: u64) -> Identity {
        Identity { ledger: self.ledger, log_id: self.log_id, first, end }
    }
    pub(super) fn path(&self, first: u64, end: u64) -> PathBuf {
        self.dir.join(format!("{first:016x}-{end:016x}.run"))
    }

    /// The run of all records in a table, which must be durable.
    pub(super) fn of_table(&self, table: &MemTable, log: &LogView) -> Result<Run, StoreError> {
        let mut ids: Vec<Name> = table.ids().map(|(id, position)| name(id.as_bytes(), position)).collect();
        let mut tags: Vec<Name> = table.tags().iter().map(|(tag, position)| name(tag, *position)).collect();
        let order: Vec<OrderEntry> = table.order().iter().map(|(key, position)| order_entry(key, *position)).collect();
        ids.sort_unstable();
        tags.sort_unstable();
        let parts = Parts {
            ids: &mut List(ids.into_iter()),
            tags: &mut List(tags.into_iter()),
            order: &mut List(order.into_iter()),
        };
        self.write(self.facts(table.first(), table.end(), table.tags().len() as u64, log)?, parts, log)
    }

    fn facts(&self, first: u64, end: u64, tagged: u64, log: &LogView) -> Result<Facts, StoreError> {
        let zero = TxId::from_bytes([0; 32]);
        let id = |position| Ok::<TxId, StoreError>(log.ids_at(&[position])?.first().copied().unwrap_or(zero));
        Ok(Facts { first, end, tagged, ids: [id(first)?, id(end.saturating_sub(1))?] })
    }

    /// One run in place of neighbouring ones.
    pub(super) fn merged(&self, runs: &[Arc<Run>], log: &LogView) -> Result<Run, StoreError> {
        let zero = Facts { first: 0, end: 0, tagged: 0, ids: [TxId::from_bytes([0; 32]); 2] };
        let [a, b] = [runs.first(), runs.last()].map(|run| run.map_or(zero, |run| run.facts));
        let ([first_id, _], [_, last_id]) = (a.ids, b.ids);
        let tagged = runs.iter().map(|run| run.facts.tagged).fold(0, u64::saturating_add);
        let facts = Facts { first: a.first, end: b.end, tagged, ids: [first_id, last_id] };
        let parts = Parts {
            ids: &mut Merge(runs.iter().map(|run| run.all_ids()).collect()),
            tags: &mut Merge(runs.iter().map(|run| run.all_tags()).collect()),
            order: &mut OrderMerge {
                from: Merge(runs.iter().map(|run| run.all_order()).collect()),
                log,
                tied: List::none(),
            },
        };
        self.write(facts, parts, log)
    }

    /// The run of a range of positions, from the log. `done` is told the position that has been reached.
    pub(super) fn of_log(
        &self,
        first: u64,
        end: u64,
        log: &LogView,
        done: &mut dyn FnMut(u64),
    ) -> Result<Run, StoreError> {
        let mut parts: Vec<Arc<Run>> = Vec::new();
        let mut next = first;
        while next < end {
            let mut table = MemTable::new(next);
            while next < end && table.len() < self.memtable_records {
                let records = log.records(next, end, PAGE)?;
                records.iter().for_each(|stored| table.push(&stored.record));
                next = table.end();
                done(next);
            }
            parts.push(Arc::new(self.of_table(&table, log)?));
        }
        if let [only] = &parts[..] {
            return self.open(only.facts.first, only.facts.end, log);
        }
        let merged = self.merged(&parts, log)?;
        parts.iter().try_for_each(|part| files::remove(part.path()))?;
        Ok(merged)
    }

    pub(super) fn open(&self, first: u64, end: u64, log: &LogView) -> Result<Run, StoreError> {
        Run::open(&self.path(first, end), self.identity(first, end), log)
    }

    fn write(&self, facts: Facts, parts: Parts<'_>, log: &LogView) -> Result<Run, StoreError> {
        let path = self.path(facts.first, facts.end);
        let unfinished = unfinished(&path);
        let mut writer = BlockWriter::create(&unfinished, self.identity(facts.first, facts.end))?;
        writer.push(&facts.to_bytes())?;
        let (mut id_fan, mut tag_fan) = (Fan::new(facts.count()), Fan::new(facts.tagged));
        let mut filter = Filter::new(facts.count());
        while let Some(entry) = parts.ids.next()? {
            id_fan.add(&entry);
            filter.add(&entry);
            writer.push(&entry)?;
        }
        while let Some(entry) = parts.tags.next()? {
            tag_fan.add(&entry);
            writer.push(&entry)?;
        }
        while let Some(entry) = parts.order.next()? {
            writer.push(&entry)?;
        }
        writer.push(&id_fan.to_bytes())?;
        writer.push(&tag_fan.to_bytes())?;
        writer.push(filter.bytes())?;
        writer.finish()?;
        files::rename(&unfinished, &path)?;
        self.open(facts.first, facts.end, log)
    }
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(files::UNFINISHED);
    PathBuf::from(name)
}

/// Entries in their order, from anywhere.
trait Source<const N: usize> {
    fn next(&mut self) -> Result<Option<[u8; N]>, StoreError>;
}

/// What a run is made of.
struct Parts<'a> {
    ids: &'a mut dyn Source<NAME_BYTES>,
    tags: &'a mut dyn Source<NAME_BYTES>,
    order: &'a mut dyn Source<ORDER_BYTES>,
}

struct List<const N: usize>(vec::IntoIter<[u8; N]>);

impl<const N: usize> List<N> {
    fn none() -> Self {
        Self(Vec::new().into_iter())
    }
}

impl<const N: usize> Source<N> for List<N> {
    fn next(&mut self) -> Result<Option<[u8; N]>, StoreError> {
        Ok(self.0.next())
    }
}

/// The entries of several runs, the least first.
struct Merge<'a, const N: usize>(Vec<Entries<'a, N>>);

impl<const N: usize> Merge<'_, N> {
    fn peek(&mut self) -> Result<Option<([u8; N], usize)>, StoreError> {
        let mut least: Option<([u8; N], usize)> = None;
        for (nth, entries) in self.0.iter_mut().enumerate() {
            if let Some(entry) = entries.peek()?
                && least.is_none_or(|(least, _)| entry < least)
            {
                least = Some((entry, nth));
            }
        }
        Ok(least)
    }
}

impl<const N: usize> Source<N> for Merge<'_, N> {
    fn next(&mut self) -> Result<Option<[u8; N]>, StoreError> {
        match self.peek()? {
            Some((_, nth)) => self.0.get_mut(nth).map_or(Ok(None), Entries::next),
            None => Ok(None),
        }
    }
}

/// Places of several runs in canonical order.
struct OrderMerge<'a> {
    from: Merge<'a, ORDER_BYTES>,
    log: &'a LogView,
    /// Entries that only their whole ids tell apart, in order.
    tied: List<ORDER_BYTES>,
}

impl Source<ORDER_BYTES> for OrderMerge<'_> {
    fn next(&mut self) -> Result<Option<OrderEntry>, StoreError> {
        if let Some(entry) = self.tied.next()? {
            return Ok(Some(entry));
        }
        let Some(entry) = self.from.next()? else {
            return Ok(None);
        };
        let key: [u8; ORDER_KEY_BYTES] = order_key(&entry);
        let mut tied = vec![entry];
        // Within one run tied entries need not ascend as bytes, but they stand together in every run.
        while let Some((next, nth)) = self.from.peek()?
            && order_key(&next).cmp(&key) == Ordering::Equal
        {
            tied.push(next);
            self.from.0.get_mut(nth).map_or(Ok(None), Entries::next)?;
        }
        if tied.len() == 1 {
            return Ok(Some(entry));
        }
        tied.sort_unstable_by_key(|entry| position_of(entry));
        let positions: Vec<u64> = tied.iter().map(|entry| position_of(entry)).collect();
        let mut by_id: Vec<(TxId, OrderEntry)> = self.log.ids_at(&positions)?.into_iter().zip(tied).collect();
        by_id.sort_unstable();
        self.tied = List(by_id.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>().into_iter());
        self.tied.next()
    }
}
