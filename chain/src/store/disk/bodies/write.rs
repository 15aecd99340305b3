//! The bodies that one flush writes.

use std::{collections::BTreeMap, sync::Arc, thread};

use super::{BodyDir, Part, Pending, PendingParts};
use crate::store::{
    StoreError,
    disk::{files::DiskFile, segment::Framing},
};

/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 1024 * 1024;

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

    /// Makes missing files, writes all bodies at their places, and makes them durable. What has been dropped since is
    /// left out.
    pub(crate) fn run(&self) -> Result<(), StoreError> {
        let mut parts: BTreeMap<Part, Vec<&Pending>> = BTreeMap::new();
        for (part, bodies) in self.taken.iter().flat_map(|taken| taken.iter()) {
            parts.entry(*part).or_default().extend(bodies);
        }
        let parts: Vec<(Part, Vec<&Pending>)> = parts.into_iter().collect();
        let (beside, here) = parts.split_at(parts.len() / 2);
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
    let mut rest = Gathered { bodies, bytes: Vec::with_capacity(WRITE_BYTES.min(gathered_bytes(bodies))) };
    rest.write(file, framing)
}

fn gathered_bytes(bodies: &[&Pending]) -> usize {
    bodies.iter().map(|pending| pending.body.len().saturating_add(64)).fold(0, usize::saturating_add)
}

/// Bodies that are still to be written, and the bytes of those that come next.
struct Gathered<'a> {
    bodies: &'a [&'a Pending],
    bytes: Vec<u8>,
}

impl Gathered<'_> {
    /// Puts neighbours together; gives the place of the first.
    fn gather(&mut self, framing: &Framing) -> u64 {
        self.bytes.clear();
        let start = self.bodies.first().map_or(0, |first| first.at);
        while let Some((Pending { at, id, hash, body }, rest)) = self.bodies.split_first()
            && self.bytes.len() < WRITE_BYTES
            && start.saturating_add(self.bytes.len() as u64) == *at
        {
            framing.body_into(&mut self.bytes, *at, id, body, hash);
            self.bodies = rest;
        }
        start
    }

    fn write(&mut self, file: &DiskFile, framing: &Framing) -> Result<(), StoreError> {
        while !self.bodies.is_empty() {
            let start = self.gather(framing);
            file.write_at(&self.bytes, start)?;
        }
        Ok(())
    }
}
