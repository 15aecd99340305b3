//! The bodies that one flush writes.

use std::{collections::BTreeMap, sync::Arc};

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

    /// Makes missing files, writes all bodies at their places, and makes them durable, one file behind the other. What has been
    /// dropped since is left out.
    pub(crate) fn run(&self) -> Result<(), StoreError> {
        self.parts().iter().try_for_each(PartWrite::run)?;
        self.sync_names()
    }

    /// The same, file by file, without names.
    pub(crate) fn parts(&self) -> Vec<PartWrite<'_>> {
        let mut parts: BTreeMap<Part, Vec<&Pending>> = BTreeMap::new();
        for (part, bodies) in self.taken.iter().flat_map(|taken| taken.iter()) {
            parts.entry(*part).or_default().extend(bodies);
        }
        parts.into_iter().map(|(part, bodies)| PartWrite { dir: &self.dir, part, bodies }).collect()
    }

    /// Makes the names of new files durable.
    pub(crate) fn sync_names(&self) -> Result<(), StoreError> {
        self.dir.sync_names()
    }
}

/// The bodies of a part.
pub(crate) struct PartWrite<'a> {
    dir: &'a BodyDir,
    part: Part,
    bodies: Vec<&'a Pending>,
}

impl PartWrite<'_> {
    /// Writes them, durably but for the name of a new file.
    pub(crate) fn run(&self) -> Result<(), StoreError> {
        if let Some((file, framing)) = self.dir.open_part(self.part, true)? {
            self.write(&file, &framing)?;
            return file.sync();
        }
        self.dir.create_part(self.part, |file, framing| self.write(file, framing))
    }

    fn write(&self, file: &DiskFile, framing: &Framing) -> Result<(), StoreError> {
        let mut memory = self.dir.take_memory();
        let mut write =
            |pending: &&Pending| pending.write(framing, &mut memory, |bytes, at| file.write_much_at(bytes, at));
        let written = self.bodies.iter().try_for_each(&mut write);
        self.dir.keep_memory(memory);
        written
    }
}
