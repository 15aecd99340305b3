//! Records whose columns are not written yet, in the groups that flushes take them in: a group is handed to the thread of
//! the flush as it is, without a copy, while everyone reads on in it.

use std::{collections::VecDeque, sync::Arc};

use super::segment::Place;
use crate::store::{Record, ScanEntry};

/// A record on its way, with what was worked out for it.
pub(super) struct Staged {
    pub(super) record: Record,
    /// The author's key as a Montgomery u coordinate.
    pub(super) author_u: [u8; 32],
    pub(super) place: Option<Place>,
}

impl Staged {
    /// Its entry of the scan column.
    pub(super) fn scan(&self) -> ScanEntry {
        let core = self.record.header.core();
        ScanEntry { kind: core.kind(), hint: *core.hint(), author_u: self.author_u, has_body: self.place.is_some() }
    }
}

/// Records that a flush took together.
#[derive(Clone)]
pub(super) struct Group {
    /// Position of the first of them.
    pub(super) first: u64,
    pub(super) records: Arc<Vec<Staged>>,
}

impl Group {
    fn end(&self) -> u64 {
        self.first.saturating_add(self.records.len() as u64)
    }
}

/// All of them: durable ones, those of the flush under way, then those of the next.
pub(super) struct Recent {
    closed: VecDeque<Group>,
    /// Position of the first open one.
    open_first: u64,
    open: Vec<Staged>,
}

impl Recent {
    /// None yet, behind `first` records.
    pub(super) fn new(first: u64) -> Self {
        Self { closed: VecDeque::new(), open_first: first, open: Vec::new() }
    }

    /// Position of the first of them.
    pub(super) fn first(&self) -> u64 {
        self.closed.front().map_or(self.open_first, |group| group.first)
    }
    /// The position behind the last.
    pub(super) fn end(&self) -> u64 {
        self.open_first.saturating_add(self.open.len() as u64)
    }
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        usize::try_from(self.end().saturating_sub(self.first())).unwrap_or(usize::MAX)
    }

    pub(super) fn push(&mut self, staged: Staged) {
        self.open.push(staged);
    }

    /// Ends the open group, and gives all groups that have not been let go.
    pub(super) fn close(&mut self) -> Vec<Group> {
        if !self.open.is_empty() {
            let room = self.open.len();
            let records = Arc::new(std::mem::replace(&mut self.open, Vec::with_capacity(room)));
            let group = Group { first: self.open_first, records };
            self.open_first = group.end();
            self.closed.push_back(group);
        }
        self.closed.iter().cloned().collect()
    }

    /// Lets groups go that end at `position` or before, and gives them.
    pub(super) fn let_go(&mut self, position: u64) -> Vec<Group> {
        let gone = self.closed.partition_point(|group| group.end() <= position);
        self.closed.drain(..gone).collect()
    }

    pub(super) fn get(&self, position: u64) -> Option<&Staged> {
        if let Some(nth) = position.checked_sub(self.open_first) {
            return self.open.get(usize::try_from(nth).ok()?);
        }
        let behind = self.closed.partition_point(|group| group.first <= position);
        let group = self.closed.get(behind.checked_sub(1)?)?;
        group.records.get(usize::try_from(position.saturating_sub(group.first)).ok()?)
    }

    /// Those from a position on.
    pub(super) fn from(&self, position: u64) -> impl Iterator<Item = &Staged> {
        let mut skip = usize::try_from(position.saturating_sub(self.first())).unwrap_or(usize::MAX);
        let groups = self.closed.iter().map(|group| group.records.as_slice()).chain([self.open.as_slice()]);
        groups.flat_map(move |group| {
            let (_, rest) = group.split_at_checked(skip).unwrap_or_default();
            skip = skip.saturating_sub(group.len());
            rest
        })
    }
}
