//! Answers from one run: by the run itself, confirmed by the log; by the log alone when the run cannot be read.

use super::run::{
    Entries, ORDER_BYTES, ORDER_KEY_BYTES, OrderEntry, Run, order_entry, order_key, order_rank, position_of,
};
use crate::{
    ids::{Depth, Position, TxId},
    store::{
        Found, OrderKey, Record, StoreError,
        disk::log::{LogView, Stored},
    },
    time::Time,
    transaction::Kind,
};

/// Records of the log that are looked at in one go in place of a run.
const PAGE: usize = 4_096;
/// Bytes of an id in a place, and where they stand in it.
const ID_BYTES: usize = 4;
const ID_AT: usize = ORDER_KEY_BYTES - ID_BYTES;

/// How ids are read from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::disk) enum Ids {
    /// With the checks of their records.
    Checked,
    /// Without, several times as fast: see [`Store::places`](crate::store::Store::places).
    Unchecked,
}

/// A place and, where it comes from memory, its id.
pub(super) type Gathered = (OrderEntry, Option<TxId>);

pub(super) fn time_of(entry: &OrderEntry) -> u64 {
    entry.iter().take(5).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Places of a run, or of a table in memory, one after the other.
pub(super) enum Places<'a> {
    Run(Entries<'a, ORDER_BYTES>),
    Table(Box<dyn Iterator<Item = (OrderKey, u64)> + 'a>, Option<Gathered>),
}

impl<'a> Places<'a> {
    pub(super) fn table(places: impl Iterator<Item = (OrderKey, u64)> + 'a) -> Self {
        Self::Table(Box::new(places), None)
    }
    fn peek(&mut self) -> Result<Option<Gathered>, StoreError> {
        match self {
            Self::Run(entries) => Ok(entries.peek()?.map(|entry| (entry, None))),
            Self::Table(places, next) => {
                if next.is_none() {
                    *next = places.next().map(|(key, position)| (order_entry(&key, position), Some(key.id)));
                }
                Ok(*next)
            }
        }
    }
    fn advance(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Run(entries) => entries.next().map(drop),
            Self::Table(_, next) => {
                *next = None;
                Ok(())
            }
        }
    }
}

/// The next place of a source, and what orders it among those of others.
pub(super) struct Head<'a> {
    source: Places<'a>,
    pub(super) place: Gathered,
    pub(super) rank: u128,
}

impl<'a> Head<'a> {
    /// `None` for a source that has nothing.
    pub(super) fn of(mut source: Places<'a>) -> Result<Option<Self>, StoreError> {
        let place = source.peek()?;
        Ok(place.map(|place| Self { source, place, rank: order_rank(&place.0) }))
    }

    /// Goes on to the next place; `false` when there is none.
    pub(super) fn advance(&mut self) -> Result<bool, StoreError> {
        self.source.advance()?;
        let next = self.source.peek()?;
        if let Some(place) = next {
            (self.place, self.rank) = (place, order_rank(&place.0));
        }
        Ok(next.is_some())
    }
}

/// The places whose ids are known only to the log: positions, ascending, and which places they are of.
fn unknown(gathered: &[Gathered]) -> (Vec<u64>, Vec<usize>) {
    let unknown = gathered.iter().enumerate().filter(|(_, (_, id))| id.is_none());
    let mut unknown: Vec<(u64, usize)> = unknown.map(|(nth, (entry, _))| (position_of(entry), nth)).collect();
    unknown.sort_unstable();
    unknown.into_iter().unzip()
}

/// The places whole, those that only the log knew with its ids.
pub(super) fn with_ids(
    gathered: Vec<Gathered>,
    log: &LogView,
    ids: Ids,
) -> Result<Vec<(OrderKey, Position)>, StoreError> {
    let (positions, of) = unknown(&gathered);
    let place = |(entry, id): &Gathered, found: Option<TxId>| {
        let depth = entry.iter().skip(5).take(5).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let (time, id) = (Time::from_secs(time_of(entry)), id.or(found)?);
        Some((OrderKey { time, depth: Depth::new(depth), id }, Position::new(position_of(entry))))
    };
    let by_place = |ids: Vec<TxId>| {
        let mut found = vec![None; gathered.len()];
        for (nth, id) in of.iter().zip(ids) {
            if let Some(place) = found.get_mut(*nth) {
                *place = Some(id);
            }
        }
        found
    };
    if let Ids::Unchecked = ids
        && let Some(ids) = log.ids_unchecked(&positions)?
    {
        // What the run has of an id tells most damage.
        let alike =
            |(entry, _): &Gathered, id: &TxId| id.as_bytes().get(..ID_BYTES) == entry.get(ID_AT..ORDER_KEY_BYTES);
        let whole =
            |(gathered, found): (&Gathered, Option<TxId>)| place(gathered, found.filter(|id| alike(gathered, id)));
        let places: Option<Vec<(OrderKey, Position)>> = gathered.iter().zip(by_place(ids)).map(whole).collect();
        if let Some(places) = places {
            return Ok(places);
        }
    }
    let found = by_place(log.ids_at(&positions)?);
    Ok(gathered.iter().zip(found).filter_map(|(gathered, found)| place(gathered, found)).collect())
}

fn found(record: &Record, position: u64) -> Found {
    Found { position: Position::new(position), time: record.header.core().time(), depth: record.depth }
}

/// Where a transaction stands, if it is among a run's records, with its record.
pub(super) fn find(run: &Run, id: &TxId, log: &LogView) -> Result<Option<(Found, Stored)>, StoreError> {
    match or_suspect(run, || find_in_run(run, id, log))? {
        Some(found) => Ok(found),
        None => find_in_log(run, id, log),
    }
}

/// Asks a run; `None` when it cannot be read, so that the log must answer.
fn or_suspect<T>(run: &Run, ask: impl FnOnce() -> Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    if run.is_suspect() {
        return Ok(None);
    }
    match ask() {
        Ok(answer) => Ok(Some(answer)),
        Err(_) if run.is_suspect() => Ok(None),
        Err(error) => Err(error),
    }
}

fn find_in_run(run: &Run, id: &TxId, log: &LogView) -> Result<Option<(Found, Stored)>, StoreError> {
    let Some(near) = run.near(id)? else {
        return Ok(None);
    };
    // A record that has the id needs nobody's word. The check of what led to it is for ids that are not found, and costs as
    // much as all the rest.
    for lead in near.guesses(id) {
        if let Some(stored) = log.read_at(lead.position, lead.offset).filter(|stored| stored.record.id == *id) {
            return Ok(Some((found(&stored.record, lead.position), stored)));
        }
    }
    for position in run.candidates(id, &near)? {
        let stored = log.read(Position::new(position))?;
        if let Some(stored) = stored.filter(|stored| stored.record.id == *id) {
            return Ok(Some((found(&stored.record, position), stored)));
        }
    }
    Ok(None)
}

fn find_in_log(run: &Run, id: &TxId, log: &LogView) -> Result<Option<(Found, Stored)>, StoreError> {
    let mut position = None;
    log.transactions(run.facts.first, run.facts.end, &mut |_, entry, _| {
        position = position.or((entry.id == *id).then_some(entry.position));
        Ok(())
    })?;
    let Some(position) = position else {
        return Ok(None);
    };
    Ok(log.read(Position::new(position))?.map(|stored| (found(&stored.record, position), stored)))
}

fn has_tag(record: &Record, tag: &[u8; 16]) -> bool {
    let core = record.header.core();
    core.kind() == Kind::Tagged && core.hint() == tag
}

/// Adds the positions of a tag among a run's records, up to `max` in all.
pub(super) fn tagged(
    run: &Run,
    tag: &[u8; 16],
    from: u64,
    max: usize,
    log: &LogView,
    positions: &mut Vec<u64>,
) -> Result<(), StoreError> {
    let room = max.saturating_sub(positions.len());
    let found = match or_suspect(run, || tagged_in_run(run, tag, from, room, log))? {
        Some(found) => found,
        None => tagged_in_log(run, tag, from, room, log)?,
    };
    positions.extend(found);
    Ok(())
}

fn tagged_in_run(run: &Run, tag: &[u8; 16], from: u64, max: usize, log: &LogView) -> Result<Vec<u64>, StoreError> {
    let (mut positions, mut entries) = (Vec::new(), run.tagged(tag, from)?);
    while positions.len() < max
        && let Some(entry) = entries.next()?.filter(|entry| entry.get(..8) == tag.get(..8))
    {
        let position = position_of(&entry);
        let stored = log.read(Position::new(position))?;
        positions.extend(stored.filter(|stored| has_tag(&stored.record, tag)).map(|_| position));
    }
    Ok(positions)
}

fn tagged_in_log(run: &Run, tag: &[u8; 16], from: u64, max: usize, log: &LogView) -> Result<Vec<u64>, StoreError> {
    let (mut positions, mut next) = (Vec::new(), run.facts.first.max(from));
    while next < run.facts.end && positions.len() < max {
        let records = log.records(next, run.facts.end, PAGE)?;
        let tagged = (next..).zip(&records).filter(|(_, stored)| has_tag(&stored.record, tag));
        positions.extend(tagged.map(|(position, _)| position));
        next = next.saturating_add(records.len() as u64);
    }
    positions.truncate(max);
    Ok(positions)
}

/// Positions of a run's records with times from `from` up to but not including `to`, ascending.
pub(super) fn positions_between(run: &Run, from: Time, to: Time, log: &LogView) -> Result<Vec<u64>, StoreError> {
    let least = OrderKey { time: from, depth: Depth::new(0), id: TxId::from_bytes([0; 32]) };
    let in_run = || {
        let (mut positions, mut entries) = (Vec::new(), run.in_order(&order_key(&order_entry(&least, 0)))?);
        while let Some(entry) = entries.next()?.filter(|entry| time_of(entry) < to.secs()) {
            positions.push(position_of(&entry));
        }
        positions.sort_unstable();
        Ok(positions)
    };
    if let Some(positions) = or_suspect(run, in_run)? {
        return Ok(positions);
    }
    let mut positions: Vec<u64> =
        order_in_log(run, least, to, log)?.into_iter().map(|(_, position)| position).collect();
    positions.sort_unstable();
    Ok(positions)
}

/// The least place that agrees with `key` in all that a run keeps of it.
pub(super) fn first_of_tied(key: OrderKey) -> OrderKey {
    let mut id = [0; 32];
    id.iter_mut().zip(key.id.as_bytes()).take(4).for_each(|(to, from)| *to = *from);
    OrderKey { id: TxId::from_bytes(id), ..key }
}

/// The places of a run's records from `from` on with times before `to`, from the log.
pub(super) fn order_in_log(
    run: &Run,
    from: OrderKey,
    to: Time,
    log: &LogView,
) -> Result<Vec<(OrderKey, u64)>, StoreError> {
    let (mut places, mut next) = (Vec::new(), run.facts.first);
    while next < run.facts.end {
        let records = log.records(next, run.facts.end, PAGE)?;
        for (position, stored) in (next..).zip(&records) {
            let key = OrderKey::of(&stored.record);
            if from <= key && key.time < to {
                places.push((key, position));
            }
        }
        next = next.saturating_add(records.len() as u64);
    }
    places.sort_unstable();
    Ok(places)
}
