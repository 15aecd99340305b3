//! Taking in what is not durable yet: records and bodies that came late get their places, and are indexed.

use super::{CHANGES_MAX, DiskStore, Late, RECENT_MAX, recent::Staged, scan};
use crate::store::{LateBody, NewRecord, StoreError};

impl DiskStore {
    /// Refuses what would have to be kept in memory for longer than anyone knows.
    pub(super) fn check_room(&self) -> Result<(), StoreError> {
        let full =
            self.recent.len() >= RECENT_MAX || self.index.len() >= CHANGES_MAX || self.runs.in_memory() >= RECENT_MAX;
        let cause = self.failing.as_ref().or_else(|| self.lagging().filter(|_| full));
        cause.map_or(Ok(()), |cause| Err(StoreError::Failing { cause: cause.clone() }))
    }

    pub(super) fn stage_record(&mut self, new: NewRecord) -> Result<(), StoreError> {
        let hash = *new.record.header.core().body_hash();
        let reserve = |body: Vec<u8>| self.bodies.reserve(new.body_day, new.record.id, hash, body);
        let place = new.body.map(reserve).transpose()?;
        self.runs.push(&new.record);
        self.recent.push(Staged { record: new.record, author_u: new.author_u, place });
        Ok(())
    }

    pub(super) fn stage_late(&mut self, late: LateBody) -> Result<(), StoreError> {
        let position = late.position.get();
        let Some((record, _)) = self.stored(position)? else {
            return Err(crate::store::beyond_the_log(&self.dir.display().to_string(), position));
        };
        let core = record.header.core();
        let place = self.bodies.reserve(late.body_day, late.id, *core.body_hash(), late.body)?;
        let entry = scan::entry_bytes(position, core, &scan::author_u(core), Some(place));
        self.late.insert(position, Late { place, entry, logged: false });
        Ok(())
    }
}
