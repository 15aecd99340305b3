//! What follows from the ids of a log in their order: count, link, root and digest, also where some could not be read.

use super::{Problem, files::SegmentFile};
use crate::{
    digest::SetDigest,
    ids::{LedgerId, Link, TxId},
    ledger::{Summary, state::State},
    link::{first_link, next_link},
    store::CommitPoint,
};

/// The running values over the records of a log that may be damaged.
pub(super) struct Tally {
    state: State,
    set: SetDigest,
    /// Position after the last record that was accounted for.
    count: u64,
    /// The link so far; `None` behind what could not be read, until a commit marker tells it.
    link: Option<Link>,
    /// Whether there were records of which not even the id is known.
    gaps: bool,
}

impl Tally {
    pub(super) fn new(ledger: LedgerId) -> Self {
        Self {
            state: State::new(ledger),
            set: SetDigest::new(ledger),
            count: 0,
            link: Some(first_link(ledger)),
            gaps: false,
        }
    }

    /// Records that were accounted for.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
    /// Whether there were records of which not even the id is known.
    pub(super) fn has_gaps(&self) -> bool {
        self.gaps
    }

    /// The link after the last of them, where it is known.
    pub(super) fn link(&self) -> Option<Link> {
        self.link
    }

    /// Goes on with a segment; returns what is wrong between it and the one before.
    pub(super) fn enter(&mut self, segment: &SegmentFile) -> Option<Problem> {
        let (mut problem, link) = (None, segment.head.map(|head| head.link));
        if segment.first != self.count {
            let what = format!("position {} should come next, but this one begins with {}", self.count, segment.first);
            problem = Some(Problem::Segments(what));
            self.gaps = true;
            self.link = link;
            self.count = segment.first;
        } else if let (Some(before), Some(link)) = (self.link, link)
            && before != link
        {
            problem =
                Some(Problem::Segments("its head names another link than the one before it ends with".to_owned()));
        }
        self.link = self.link.or(link);
        problem
    }

    /// Counts the id at a position.
    pub(super) fn push(&mut self, position: u64, id: &TxId) {
        self.link = self.link.map(|link| next_link(link, id));
        self.state.push(id);
        self.set.add(id);
        self.count = position.saturating_add(1);
    }

    /// Leaves out all records up to `count`, of which not even the ids are known.
    pub(super) fn skip_to(&mut self, count: u64) {
        (self.gaps, self.link, self.count) = (true, None, count);
    }

    /// Takes what a commit marker says; false when its link does not follow from the ids before it.
    pub(super) fn commit(&mut self, point: &CommitPoint) -> bool {
        let follows = self.link.is_none_or(|link| link == point.link);
        self.link = Some(point.link);
        follows
    }

    /// Count and link of the log, root and digest over the ids that are known.
    pub(super) fn summary(&self) -> Summary {
        let known = self.state.summary(self.set.digest());
        Summary { count: self.count, link: self.link.unwrap_or(known.link), ..known }
    }
}
