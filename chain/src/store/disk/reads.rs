//! Reading single records and their places: from memory where they are on their way, else from the log.

use std::sync::PoisonError;

use super::{DiskStore, segment::Place};
use crate::{
    ids::{Position, TxId},
    store::{Record, StoreError},
};

impl DiskStore {
    /// Record and, if it ever came, place of its body when it was written.
    pub(super) fn stored(&self, position: u64) -> Result<Option<(Record, Option<Place>)>, StoreError> {
        if let Some(staged) = self.recent.get(position) {
            return Ok(Some((staged.record.clone(), staged.place)));
        }
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, stored)) = found.take_if(|(at, _)| *at == position) {
            return Ok(Some((stored.record, stored.place)));
        }
        drop(found);
        let stored = self.read_of_log(self.headers.view().read(Position::new(position)))?;
        Ok(stored.map(|stored| (stored.record, stored.place)))
    }

    /// Where the body of a record is now; the second is where it was when the record was written.
    pub(super) fn places(&self, position: u64, written: Option<Place>) -> Result<[Option<Place>; 2], StoreError> {
        let now = match self.late.get(&position) {
            Some(late) => Some(late.place),
            None if position >= self.recent.first() => written,
            None => self.scan.place(self.headers.view(), position)?,
        };
        Ok([now, written.filter(|written| now != Some(*written))])
    }

    /// Ids at positions, without the checks of their records; `None` when one is not there.
    pub(super) fn ids_unchecked(&self, positions: &[Position]) -> Result<Option<Vec<TxId>>, StoreError> {
        let mut places: Vec<(u64, usize)> = positions.iter().map(|at| at.get()).zip(0..).collect();
        places.sort_unstable();
        let (mut ids, mut written) = (vec![TxId::from_bytes([0; 32]); positions.len()], Vec::new());
        for (position, nth) in &places {
            match (self.recent.get(*position), ids.get_mut(*nth)) {
                (Some(staged), Some(id)) => *id = staged.record.id,
                _ => written.push((*position, *nth)),
            }
        }
        let (written, of): (Vec<u64>, Vec<usize>) = written.into_iter().unzip();
        let Some(found) = self.headers.view().ids_unchecked(&written)? else {
            return Ok(None);
        };
        for (nth, found) in of.into_iter().zip(found) {
            if let Some(id) = ids.get_mut(nth) {
                *id = found;
            }
        }
        Ok(Some(ids))
    }
}
