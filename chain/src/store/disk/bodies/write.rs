//! The bodies that one flush writes.

use std::{collections::BTreeMap, sync::Arc};

use super::{BodyDir, Part, Pending};
use crate::store::{
    StoreError,
    disk::{
        files::DiskFile,
        segment::{Framing, KIND_BODY, Place},
    },
};

/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 1024 * 1024;

/// Bodies with their reserved places, to be written and made durable. May be run again after a failure: every byte is
/// written again, since a failed fsync may have dropped any of them.
pub(crate) struct BodyWrites {
    dir: Arc<BodyDir>,
    parts: BTreeMap<Part, Vec<(u64, Pending)>>,
}

impl BodyWrites {
    pub(super) fn new(dir: Arc<BodyDir>, bodies: &BTreeMap<Place, Pending>) -> Self {
        let mut parts: BTreeMap<Part, Vec<(u64, Pending)>> = BTreeMap::new();
        for (place, pending) in bodies {
            parts.entry(place.part()).or_default().push((place.at(), pending.clone()));
        }
        Self { dir, parts }
    }

    /// Makes missing files, writes all bodies at their places, and makes them durable. What has been dropped since is
    /// left out.
    pub(crate) fn run(&self) -> Result<(), StoreError> {
        for (part, bodies) in &self.parts {
            let Some((file, framing)) = self.dir.open_to_write(*part)? else {
                continue;
            };
            write_bodies(&file, &framing, bodies)?;
            file.sync()?;
        }
        Ok(())
    }
}

/// Writes neighbours in one go.
fn write_bodies(file: &DiskFile, framing: &Framing, bodies: &[(u64, Pending)]) -> Result<(), StoreError> {
    let (mut start, mut bytes) = (0u64, Vec::new());
    for (at, Pending { id, body }) in bodies {
        if bytes.len() >= WRITE_BYTES || start.saturating_add(bytes.len() as u64) != *at {
            file.write_at(&bytes, start)?;
            bytes.clear();
            start = *at;
        }
        bytes.extend(framing.frame(*at, KIND_BODY, &[id.as_bytes(), &body[..]].concat()));
    }
    file.write_at(&bytes, start)
}
