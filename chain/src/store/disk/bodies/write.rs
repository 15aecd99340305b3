//! The bodies that one flush writes.

use std::{collections::BTreeMap, sync::Arc, thread};

use super::{BodyDir, Part, Pending, PendingParts};
use crate::store::{
    StoreError,
    disk::{
        files::{DiskFile, fault},
        segment::Framing,
    },
};

/// Bodies with their reserved places, to be written and made durable. May be run again after a failure: every byte is
/// written again, since a failed fsync may have dropped any of them.
pub(crate) struct BodyWrites {
    dir: Arc<BodyDir>,
    taken: Vec<Arc<PendingParts>>,
}

impl BodyWrites {
    pub(super) fn new(dir: Arc<BodyDir>, taken: Vec<Arc<PendingParts>>) -> Self {
        Self { dir, taken }
    }

    /// Whether it is to be done on one thread.
    pub(crate) fn in_order(&self) -> bool {
        fault::in_order(self.dir.path())
    }

    /// Makes missing files, writes all bodies at their places, and makes them durable. What has been dropped since is
    /// left out.
    pub(crate) fn run(&self) -> Result<(), StoreError> {
        let mut parts: BTreeMap<Part, Vec<&Pending>> = BTreeMap::new();
        for (part, bodies) in self.taken.iter().flat_map(|taken| taken.iter()) {
            parts.entry(*part).or_default().extend(bodies);
        }
        let parts: Vec<(Part, Vec<&Pending>)> = parts.into_iter().collect();
        let (beside, here) = parts.split_at(if self.in_order() { 0 } else { parts.len() / 2 });
        // The disk is waited for in both halves at once.
        let all =
            |parts: &[(Part, Vec<&Pending>)]| parts.iter().try_for_each(|(part, bodies)| self.write(*part, bodies));
        thread::scope(|scope| {
            let other = (!beside.is_empty()).then(|| thread::Builder::new().spawn_scoped(scope, || all(beside)));
            let written = all(here);
            let other = match other {
                Some(Ok(other)) => other.join().unwrap_or(Err(StoreError::BrokenOff)),
                // Without a second thread the first one does it.
                Some(Err(_)) => all(beside),
                None => Ok(()),
            };
            written.and(other)
        })
    }

    /// Writes the bodies of a part, durably.
    fn write(&self, part: Part, bodies: &[&Pending]) -> Result<(), StoreError> {
        if let Some((file, framing)) = self.dir.open_part(part, true)? {
            write_bodies(&file, &framing, bodies)?;
            return file.sync();
        }
        self.dir.create_part(part, |file, framing| write_bodies(file, framing, bodies))
    }
}

fn write_bodies(file: &DiskFile, framing: &Framing, bodies: &[&Pending]) -> Result<(), StoreError> {
    bodies.iter().try_for_each(|pending| pending.write(framing, |bytes, at| file.write_at(bytes, at)))
}
