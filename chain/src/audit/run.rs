//! One audit: segments in order; each record by itself on all cores, then against what stands before it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    num::NonZero,
    path::PathBuf,
    thread,
};

use super::{
    AuditError, BodyCount, FINDINGS_MAX, Finding, OwnWord, Problem, Progress, Remedy, Report,
    files::{Files, SegmentFile, finding},
    late::late_bodies,
    record::{Checked, Checker, Job, Where},
    stated::Stated,
    tally::Tally,
    walk::{Item, Walk, last_commit},
};
use crate::{
    block::{Block, chained, contents, first_previous},
    checkpoint::SignedCheckpoint,
    ids::{Depth, Position, TxId},
    network::Network,
    rules::{Parent, ParentsError, check_parents},
    store::{
        CommitPoint, StoreError,
        disk::{
            bodies::Bodies,
            files::DiskFile,
            scan::entry_at,
            segment::{FILE_HEADER_BYTES, Place, TransactionEntry},
        },
    },
    time::{Time, own_clock},
    transaction::Header,
};

/// Records that are checked between two reports of progress.
const PAGE: usize = 2_048;

/// An audit under way.
pub(super) struct Run {
    network: Network,
    now: Time,
    files: Files,
    bodies: Bodies,
    tally: Tally,
    stated: Stated,
    /// Where bodies stand that came after their records.
    late: BTreeMap<u64, Place>,
    known: HashMap<TxId, (Time, Depth)>,
    /// Ids of records that were changed, of which no more is known.
    unread: HashSet<TxId>,
    hours: BTreeMap<u64, Vec<TxId>>,
    body_count: BodyCount,
    tail: u64,
    last_time: Time,
    findings: Vec<Finding>,
    findings_total: u64,
    remedy: Option<Remedy>,
}

impl Run {
    pub(super) fn new(dir: PathBuf, network: Network, own: &[SignedCheckpoint], now: Time) -> Result<Self, AuditError> {
        let ledger = network.ledger();
        let files = Files::collect(dir, ledger)?;
        let bodies = Bodies::open_to_read(files.dir.join("bodies"), ledger, files.log_id.unwrap_or_default());
        let stated = Stated::new(own, files.log_id);
        let mut run = Self {
            network,
            now,
            files,
            bodies,
            tally: Tally::new(ledger),
            stated,
            late: BTreeMap::new(),
            known: HashMap::new(),
            unread: HashSet::new(),
            hours: BTreeMap::new(),
            body_count: BodyCount::default(),
            tail: 0,
            last_time: Time::default(),
            findings: Vec::new(),
            findings_total: 0,
            remedy: None,
        };
        std::mem::take(&mut run.files.findings).into_iter().for_each(|found| run.found(found));
        Ok(run)
    }

    pub(super) fn finish(mut self, progress: &mut dyn FnMut(Progress)) -> Result<Report, AuditError> {
        self.late = late_bodies(&self.files, &self.network)?;
        let segments = std::mem::take(&mut self.files.segments);
        for (nth, segment) in segments.iter().enumerate() {
            let next = segments.get(nth.saturating_add(1)).map(|next| next.first);
            self.check_segment(segment, next, progress)?;
        }
        let (claimed, count) = (self.files.claimed, self.tally.count());
        let lost = (count < claimed).then_some(Problem::Lost { claimed, count });
        let stated = std::mem::replace(&mut self.stated, Stated::new(&[], None));
        let (own_word, rolled_back) = stated.end(count);
        if let Some(last) = segments.last() {
            let len = DiskFile::open(&self.files.dir.join(&last.name), false)?.map_or(Ok(0), |file| file.len())?;
            lost.into_iter().chain(rolled_back).for_each(|problem| self.found(finding(&last.name, len, problem)));
        }
        Ok(self.report(own_word))
    }

    fn report(self, own_word: OwnWord) -> Report {
        let ledger = self.network.ledger();
        let summary = self.tally.summary();
        let clock = own_clock(self.now, self.last_time);
        let (mut chain, mut newest, mut blocks) = (first_previous(ledger), None, 0u64);
        for (number, ids) in self.hours {
            let block: Block = chained(ledger, chain, number, contents(ledger, ids));
            chain = block.chain;
            blocks = blocks.saturating_add(1);
            newest = if block.has_begun(clock) { Some(block) } else { newest };
        }
        Report {
            count: summary.count,
            link: summary.link,
            root: summary.root,
            digest: summary.digest,
            blocks,
            newest_block: newest,
            bodies: self.body_count,
            own_word,
            scan_entries: self.files.scan_entries,
            unfinished_tail_bytes: self.tail,
            findings: self.findings,
            findings_total: self.findings_total,
            remedy: self.remedy,
        }
    }

    fn found(&mut self, found: Finding) {
        self.findings_total = self.findings_total.saturating_add(1);
        self.remedy = self.remedy.max(Some(found.problem.remedy(&found.file)));
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(found);
        }
    }

    fn check_segment(
        &mut self,
        segment: &SegmentFile,
        next: Option<u64>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), StoreError> {
        if let Some(problem) = self.tally.enter(segment) {
            self.found(finding(&segment.name, 0, problem));
        }
        let loaded = self.files.load(self.network.ledger(), segment, next)?;
        let bytes = loaded.bytes.as_slice();
        let Some(framing) = loaded.framing else {
            self.found(finding(&segment.name, 0, Problem::RestUnchecked(bytes.len() as u64)));
            return Ok(());
        };
        self.tail = loaded.tail;
        let network = self.network.clone();
        let walk =
            Walk { network: &network, framing: framing.clone(), bytes, first: segment.first, until: loaded.until };
        self.check_items(segment, &walk.items(), progress)?;
        if next.is_some() && !matches!(last_commit(&framing, bytes), Some((at, _)) if at == bytes.len()) {
            let what = "it does not end with a commit marker".to_owned();
            self.found(finding(&segment.name, bytes.len() as u64, Problem::Segments(what)));
        }
        Ok(())
    }

    fn check_items(
        &mut self,
        segment: &SegmentFile,
        items: &[Item<'_>],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), StoreError> {
        for page in items.chunks(PAGE) {
            let mut jobs = Vec::new();
            for item in page {
                if let Item::Transaction { entry, .. } = item {
                    let late = self.late.get(&entry.position).copied();
                    jobs.push(Job { entry: *entry, scan: self.files.scan_entry(entry.position)?, late });
                }
            }
            let mut checked = self.check_jobs(&jobs).into_iter();
            for item in page {
                self.take_item(segment, item, &mut checked);
            }
            let checked = self.tally.count();
            progress(Progress { checked, total: self.files.claimed.max(checked) });
        }
        Ok(())
    }

    /// Checks records by themselves, on all cores, and returns what came of them in order.
    fn check_jobs(&self, jobs: &[Job<'_>]) -> Vec<Checked> {
        let checker = Checker {
            network: &self.network,
            bodies: &self.bodies,
            bad_parts: &self.files.bad_parts,
            now: own_clock(self.now, self.last_time),
        };
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let share = jobs.len().div_ceil(threads).max(1);
        thread::scope(|scope| {
            let checker = &checker;
            let check_all = move |jobs: &[Job<'_>]| jobs.iter().map(|job| checker.check(job)).collect::<Vec<_>>();
            let workers: Vec<_> = jobs.chunks(share).map(|jobs| (jobs, scope.spawn(move || check_all(jobs)))).collect();
            // A worker that broke off is no reason to leave its records out.
            workers.into_iter().flat_map(|(jobs, worker)| worker.join().unwrap_or_else(|_| check_all(jobs))).collect()
        })
    }

    fn take_item(&mut self, segment: &SegmentFile, item: &Item<'_>, checked: &mut impl Iterator<Item = Checked>) {
        let name = &segment.name;
        match item {
            Item::Transaction { at, entry } => {
                if let Some(checked) = checked.next() {
                    self.take_transaction(segment, *at, entry, checked);
                    self.compare_stated(name, *at as u64);
                }
            }
            Item::Changed { at, position, why, id, header } => {
                let problem = Problem::Record(why);
                let at_position = Some(Position::new(*position));
                self.found(Finding { position: at_position, id: *id, ..finding(name, *at as u64, problem) });
                self.take_changed(*position, *id, header.as_deref());
                self.compare_stated(name, *at as u64);
            }
            Item::Unreadable { at, position, count } => {
                let problem = Problem::Unreadable(*count);
                self.found(Finding { position: Some(Position::new(*position)), ..finding(name, *at as u64, problem) });
                self.tally.skip_to(position.saturating_add(*count));
            }
            // Taken note of before.
            Item::LateBody { .. } => {}
            Item::Commit { at, point } => self.take_commit(name, *at as u64, point),
            Item::ChangedMarker { at, why } => self.found(finding(name, *at as u64, Problem::CommitMarker(why))),
            Item::Rest { at, bytes } => self.found(finding(name, *at as u64, Problem::RestUnchecked(*bytes))),
            Item::Contradiction { at, what } => self.found(finding(name, *at as u64, Problem::Contradiction(what))),
        }
    }

    /// Holds what the node has stated of the records so far against them.
    fn compare_stated(&mut self, name: &str, at: u64) {
        if let Some(problem) = self.stated.compare(&self.tally) {
            let last = self.tally.count().checked_sub(1).map(Position::new);
            self.found(Finding { position: last, ..finding(name, at, problem) });
        }
    }

    fn take_commit(&mut self, name: &str, at: u64, point: &CommitPoint) {
        if !self.tally.commit(point) {
            self.found(finding(name, at, Problem::Link));
        }
        self.last_time = point.time;
    }

    fn take_changed(&mut self, position: u64, id: Option<TxId>, header: Option<&Header>) {
        let Some(id) = id else {
            self.tally.skip_to(position.saturating_add(1));
            return;
        };
        self.tally.push(position, &id);
        self.unread.insert(id);
        if let Some(header) = header {
            self.hours.entry(header.core().time().hour()).or_default().push(id);
        }
    }

    fn take_transaction(&mut self, segment: &SegmentFile, at: usize, entry: &TransactionEntry<'_>, checked: Checked) {
        let position = Some(Position::new(entry.position));
        let in_log =
            Finding { position, id: Some(checked.id), ..finding(&segment.name, at as u64, Problem::Duplicate) };
        for (place, problem) in checked.problems {
            let (file, offset) = match place {
                Where::Record => (segment.name.clone(), at as u64),
                Where::Scan => ("scan.col".to_owned(), entry_at(entry.position)),
                Where::Body(place) => (format!("bodies/{}", place.part().file_name()), place.at()),
            };
            self.found(Finding { file, offset, problem, ..in_log.clone() });
        }
        let nth = usize::try_from(entry.position.saturating_sub(segment.first)).unwrap_or(usize::MAX);
        let column = segment.offsets.as_chunks::<4>().0.get(nth).map(|bytes| u32::from_le_bytes(*bytes));
        if column.is_some_and(|column| u32::try_from(at) != Ok(column)) {
            let file = segment.name.replace(".seg", ".off");
            let offset = (nth as u64).saturating_mul(4).saturating_add(FILE_HEADER_BYTES as u64);
            self.found(Finding { file, offset, problem: Problem::OffsetEntry, ..in_log.clone() });
        }
        if let Some(fate) = checked.body {
            self.body_count.add(fate);
        }
        if self.known.contains_key(&checked.id) || self.unread.contains(&checked.id) {
            self.found(in_log.clone());
        }
        self.tally.push(entry.position, &checked.id);
        let Some(header) = checked.header else {
            self.unread.insert(checked.id);
            return;
        };
        self.hours.entry(header.core().time().hour()).or_default().push(checked.id);
        for problem in self.parent_problems(&header, entry.depth) {
            self.found(Finding { problem, ..in_log.clone() });
        }
        self.known.insert(checked.id, (header.core().time(), entry.depth));
    }

    /// What is wrong between a transaction and its parents.
    fn parent_problems(&self, header: &Header, found: Depth) -> Vec<Problem> {
        let known = |id: &TxId| self.known.get(id).map(|(time, depth)| Parent { time: *time, depth: *depth });
        match check_parents(&self.network, header.core(), known) {
            Ok(expected) if expected == found => Vec::new(),
            Ok(expected) => vec![Problem::Depth { found, expected }],
            Err(ParentsError::Rule(rule)) => vec![Problem::Rule(rule)],
            // Parents whose records were changed have been reported already.
            Err(ParentsError::Unknown(ids)) => {
                let missing = |id: &TxId| !self.tally.has_gaps() && !self.unread.contains(id);
                ids.into_iter().filter(missing).map(Problem::Parent).collect()
            }
        }
    }
}
