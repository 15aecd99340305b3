//! What can be checked of one record by itself: encoding, id, stamp, signature, body, columns. Runs on many threads.

use std::collections::BTreeSet;

use super::Problem;
use crate::{
    ids::TxId,
    network::Network,
    rules,
    store::{
        Body, StoreError,
        disk::{
            bodies::{Bodies, Part},
            scan::{EntryBytes, author_u, entry_bytes},
            segment::{Place, TransactionEntry},
        },
    },
    time::Time,
    transaction::{Header, body_hash},
};

/// What the checks of a record need.
pub(super) struct Checker<'a> {
    pub(super) network: &'a Network,
    pub(super) bodies: &'a Bodies,
    /// Parts whose file has a head that is not what was written: reported once, their bodies are left out.
    pub(super) bad_parts: &'a BTreeSet<Part>,
    pub(super) now: Time,
}

/// A record to check, and what the scan column has for it.
pub(super) struct Job<'a> {
    pub(super) entry: TransactionEntry<'a>,
    pub(super) scan: Option<EntryBytes>,
    /// Where its body stands if it came, or came again, later.
    pub(super) late: Option<Place>,
}

/// Where a problem lies, if not in the record itself.
#[derive(Clone, Debug)]
pub(super) enum Where {
    Record,
    Scan,
    Body(Place),
}

/// What became of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is here and right, and its day is still to come.
    Here,
    /// It is here and right, though its day has come.
    Kept,
    /// It never came.
    NeverCame,
    /// It was dropped when its day had come.
    Expired,
    /// It was dropped before its day.
    Early,
}

/// What came of one record.
pub(super) struct Checked {
    /// The header, if it decodes and is the one of the id.
    pub(super) header: Option<Header>,
    /// The id that the evidence supports.
    pub(super) id: TxId,
    /// What became of the body; `None` when that could not be said.
    pub(super) body: Option<Fate>,
    pub(super) problems: Vec<(Where, Problem)>,
}

impl Checker<'_> {
    /// Checks one record.
    pub(super) fn check(&self, job: &Job<'_>) -> Checked {
        let entry = &job.entry;
        let mut checked = Checked { header: None, id: entry.id, body: None, problems: Vec::new() };
        let header = match Header::from_bytes(entry.header) {
            Ok(header) => header,
            Err(error) => {
                checked.problems.push((Where::Record, Problem::Encoding(error)));
                return checked;
            }
        };
        let computed = header.id(self.network);
        if computed != entry.id {
            checked.problems.push((Where::Record, Problem::Id(computed)));
        }
        if let Err(error) = rules::verify_header(self.network, &header) {
            checked.problems.push((Where::Record, Problem::Rule(error)));
        }
        self.check_bodies(job, &header, &mut checked);
        if let Some(scan) = &job.scan {
            self.check_scan(job, &header, scan, &mut checked);
        }
        checked.header = Some(header);
        checked
    }

    /// A body that came later stands for one that never came or is damaged.
    fn check_bodies(&self, job: &Job<'_>, header: &Header, to: &mut Checked) {
        let mut bodies = Vec::new();
        for place in [job.late.map(Some), Some(job.entry.place)].into_iter().flatten() {
            let mut found = Checked { header: None, id: to.id, body: None, problems: Vec::new() };
            self.check_body(&job.entry, header, place, &mut found);
            if found.problems.is_empty() {
                to.body = found.body;
                return;
            }
            bodies.push(found);
        }
        to.body = bodies.iter().find_map(|found| found.body);
        to.problems.extend(bodies.into_iter().flat_map(|found| found.problems));
    }

    fn check_body(&self, entry: &TransactionEntry<'_>, header: &Header, place: Option<Place>, to: &mut Checked) {
        let Some(place) = place else {
            // Headers may be taken in alone at any time (decision 0040): counted, and no fault.
            to.body = Some(Fate::NeverCame);
            return;
        };
        if self.bad_parts.contains(&place.part()) {
            return;
        }
        let has_come = u64::from(place.day) <= self.now.day();
        let (fate, problem) = match self.bodies.read(place, &entry.id, header.core().body_len()) {
            Ok(Body::Present(body)) if &body_hash(self.network, &body) != header.core().body_hash() => {
                (None, Some(Problem::Body("it does not hash to what its header names".to_owned())))
            }
            Ok(Body::Present(_)) => (Some(if has_come { Fate::Kept } else { Fate::Here }), None),
            Ok(Body::Damaged(what)) => (None, Some(Problem::Body(what))),
            Ok(Body::Absent | Body::Dropped { .. }) => {
                (Some(if has_come { Fate::Expired } else { Fate::Early }), self.check_absent(place, has_come))
            }
            Err(StoreError::Damaged { what, .. }) => (None, Some(Problem::Body(what))),
            Err(error) => (None, Some(Problem::Body(error.to_string()))),
        };
        to.body = fate.filter(|_| problem.is_none());
        to.problems.extend(problem.map(|problem| (Where::Body(place), problem)));
    }

    /// A body that is gone: its part must have been dropped, and not before its day but to keep to a disk budget.
    fn check_absent(&self, place: Place, has_come: bool) -> Option<Problem> {
        // A running node may have dropped parts since this audit began.
        let line = self.bodies.current_line().ok()?;
        if place.part() >= line.kept {
            return Some(Problem::BodyMissing);
        }
        (place.part() >= line.early && !has_come).then_some(Problem::BodyDroppedEarly(place.day))
    }

    fn check_scan(&self, job: &Job<'_>, header: &Header, found: &EntryBytes, to: &mut Checked) {
        let (author, position) = (author_u(header.core()), job.entry.position);
        // A body that came later shows in the column soon after it shows in the log.
        let right = [job.late, job.entry.place];
        if !right.iter().any(|place| *found == entry_bytes(position, header.core(), &author, *place)) {
            to.problems.push((Where::Scan, Problem::ScanEntry));
        }
    }
}
