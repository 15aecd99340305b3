//! The bodies that one flush writes.

use std::{collections::BTreeMap, sync::Arc};

use super::{BodyDir, Part, Pending, PendingParts};
use crate::store::{
    StoreError,
    disk::{
        files::DiskFile,
        segment::{FILE_HEADER_BYTES, Framing, KIND_BODY},
    },
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
        let mut written = Vec::new();
        for (part, bodies) in &parts {
            written.extend(self.write_part(*part, bodies)?);
        }
        written.iter().try_for_each(DiskFile::sync)
    }

    /// Writes the bodies of a part; gives its file, unless all of it is durable already, or has been dropped.
    fn write_part(&self, part: Part, bodies: &[&Pending]) -> Result<Option<DiskFile>, StoreError> {
        let mut rest = Gathered { bodies, bytes: Vec::with_capacity(WRITE_BYTES.min(gathered_bytes(bodies))) };
        if let Some((file, framing)) = self.dir.open_part(part, true)? {
            rest.write(&file, &framing)?;
            return Ok(Some(file));
        }
        let header = self.dir.new_part(part);
        let framing = header.framing();
        if bodies.first().is_some_and(|first| first.at == FILE_HEADER_BYTES as u64) {
            rest.gather(&framing);
        }
        let start = [header.to_bytes(), std::mem::take(&mut rest.bytes)].concat();
        let Some(file) = self.dir.create_part(part, &start)? else {
            return Ok(None);
        };
        if rest.bodies.is_empty() {
            return Ok(None);
        }
        rest.write(&file, &framing)?;
        Ok(Some(file))
    }
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
        while let Some((Pending { at, id, body }, rest)) = self.bodies.split_first()
            && self.bytes.len() < WRITE_BYTES
            && start.saturating_add(self.bytes.len() as u64) == *at
        {
            framing.frame_into(&mut self.bytes, *at, KIND_BODY, &[id.as_bytes(), body]);
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
