//! Bodies that come after their records: what is missing, and how it is taken in (DESIGN §4, the wanted list).

use super::Ledger;
use crate::{
    ids::{Position, TxId},
    retention,
    store::{Batch, Body, LateBody, Store, StoreError},
    time::Time,
    transaction::{Transaction, body_hash},
};

/// Entries of the scan column that one call of [`Ledger::bodies_missing`] looks at, at most.
pub const MISSING_SCANNED_MAX: usize = 65_536;

/// What became of a body that was offered for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// It is here now, and durable after a flush.
    Taken,
    /// It was here before.
    Known,
    /// Its day has come: it is kept no more.
    Expired,
    /// There is no such record in the log, or no body came.
    Unknown,
}

/// Records without a body, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Position and id of records whose body never came, and whose day has not come yet.
    pub records: Vec<(Position, TxId)>,
    /// The next position to look at.
    pub next: Position,
}

impl<S: Store> Ledger<S> {
    /// Takes in the body of a transaction whose record is here without one, or with one that is damaged. Visible at once,
    /// durable after a flush.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails; nothing has changed then.
    pub fn attach_body(&mut self, transaction: &Transaction, system: Time) -> Result<Attached, StoreError> {
        let id = transaction.id();
        let Some(position) = self.position(&id)? else {
            return Ok(Attached::Unknown);
        };
        // The transaction's body has the hash that its header names, or it would be none; its id is the record's.
        let (Some(record), Some(body)) = (self.record(position)?, transaction.body()) else {
            return Ok(Attached::Unknown);
        };
        match self.store.body(position)? {
            Body::Present(found) if body_hash(&self.network, &found) == *record.header.core().body_hash() => {
                return Ok(Attached::Known);
            }
            Body::Dropped { .. } => return Ok(Attached::Expired),
            Body::Present(_) | Body::Damaged(_) | Body::Absent => {}
        }
        let body_day = retention::body_day(record.header.core(), record.arrival);
        if !self.is_ahead(body_day, system) {
            return Ok(Attached::Expired);
        }
        let late = LateBody { position, id, body: body.to_vec(), body_day };
        self.store.stage(Batch { late_bodies: vec![late], ..Batch::default() })?;
        Ok(Attached::Taken)
    }

    /// Whether a body that is not here, or damaged, may still be taken in: its day has not come, nor was it dropped.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    pub fn body_may_come(&self, position: Position, system: Time) -> Result<bool, StoreError> {
        let Some(record) = self.record(position)? else {
            return Ok(false);
        };
        let body_day = retention::body_day(record.header.core(), record.arrival);
        Ok(self.is_ahead(body_day, system) && !matches!(self.store.body(position)?, Body::Dropped { .. }))
    }

    fn is_ahead(&self, day: u64, system: Time) -> bool {
        day > self.clock(system).day()
    }

    /// Records from `from` on whose body never came, at most `max`, as long as other nodes keep it; looks at
    /// [`MISSING_SCANNED_MAX`] records at most, so that a call never takes long.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    pub fn bodies_missing(&self, from: Position, max: usize, system: Time) -> Result<Missing, StoreError> {
        let mut missing = Missing { records: Vec::new(), next: from };
        for entry in self.store.scan(from, MISSING_SCANNED_MAX)? {
            if missing.records.len() >= max {
                break;
            }
            let position = missing.next;
            missing.next = position.next();
            if entry.has_body {
                continue;
            }
            if let Some(record) = self.record(position)?
                && self.is_ahead(retention::body_day(record.header.core(), record.arrival), system)
            {
                missing.records.push((position, record.id));
            }
        }
        Ok(missing)
    }
}
