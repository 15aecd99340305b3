//! The ledger as JSON Lines, from its files alone (DESIGN §6; `docs/protocol.md`, "Export"): a head, one line for each
//! transaction in log order, and an end, so that a cut export shows.
//!
//! Two passes over the files, so that the head can tell count, link, root and digest: memory holds one segment at a time,
//! and the places of bodies that came late. What a running node appends meanwhile is left out. Stamps, signatures and parents are not
//! checked: that is what [`verify`](super::verify) is for.

use std::{collections::BTreeMap, io, path::Path};

use serde::Serialize;

use super::{
    AuditError, Finding, Problem,
    files::{Files, SegmentFile, finding},
    late::late_bodies,
    tally::Tally,
    walk::{Item, Walk},
};
use crate::{
    ids::{Position, TxId},
    ledger::Summary,
    network::{FORMAT_VERSION, Network},
    store::{
        Body, StoreError,
        disk::{
            bodies::Bodies,
            segment::{Place, TransactionEntry},
        },
    },
    transaction::{Core, Header, Kind, body_hash},
};

/// What an export put out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Transactions that have a line.
    pub transactions: u64,
    /// Bodies among these.
    pub bodies: u64,
    /// Things that are not as they were written; each was told.
    pub damaged: u64,
}

/// Why an export broke off.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is nothing to export, or it cannot be read.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The lines could not be written.
    #[error("the export broke off: {0}")]
    Write(#[from] io::Error),
}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> Self {
        Self::Audit(error.into())
    }
}

/// One line. Hashes, keys and bytes are lower-case hexadecimal, numbers are decimal.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Head {
        format: u32,
        network: &'a str,
        ledger: String,
        log_id: String,
        count: u64,
        link: String,
        root: String,
        digest: String,
    },
    Transaction(Box<TransactionLine>),
    Damaged {
        position: Option<u64>,
        count: u64,
        id: Option<String>,
        problem: String,
    },
    End {
        transactions: u64,
        bodies: u64,
        damaged: u64,
    },
}

/// Fields of a transaction, in the order of its header; `nonce` is its eight bytes as they stand there.
#[derive(Serialize)]
struct TransactionLine {
    position: u64,
    id: String,
    arrival: u64,
    depth: u64,
    version: u8,
    parents: Vec<String>,
    time: u64,
    lifetime: u32,
    kind: &'static str,
    hint: String,
    body_hash: String,
    body_len: u32,
    author: String,
    signature: String,
    nonce: String,
    solution: String,
    body: Option<String>,
    absent: Option<&'static str>,
}

/// Version of the lines.
const FORMAT: u32 = 1;

/// Writes the whole ledger in `dir` to `out`. `damaged` is told of everything that is not as it was written; what can be
/// read goes out all the same.
///
/// # Errors
/// [`ExportError`] when there is no ledger, the system refuses to read it, or `out` takes no more.
pub fn export(
    dir: &Path,
    network: &Network,
    out: &mut dyn io::Write,
    damaged: &mut dyn FnMut(&Finding),
) -> Result<Exported, ExportError> {
    let mut files = Files::collect(dir.to_owned(), network.ledger())?;
    let bodies = Bodies::open_to_read(dir.join("bodies"), network.ledger(), files.log_id.unwrap_or_default());
    let heads = std::mem::take(&mut files.findings);
    let head = summarise(&files, network)?;
    let (late, until, exported) = (late_bodies(&files, network)?, head.count, Exported::default());
    let mut exporter = Exporter { network, files: &files, bodies, late, until, out, damaged, exported };
    exporter.head(&head)?;
    heads.iter().try_for_each(|found| exporter.damaged_record(found, 0))?;
    exporter.transactions()?;
    exporter.end()
}

/// The first pass.
fn summarise(files: &Files, network: &Network) -> Result<Summary, ExportError> {
    let mut tally = Tally::new(network.ledger());
    each_item(files, network, &mut tally, &mut |_, _| Ok(()))?;
    Ok(tally.summary())
}

/// What a pass comes upon: something wrong between records, with its offset, or an item.
enum Step<'a, 'b> {
    Problem(usize, Problem),
    Item(&'b Item<'a>),
}

type Visit<'v> = &'v mut dyn FnMut(&SegmentFile, Step<'_, '_>) -> Result<(), ExportError>;

/// Goes through all segments in order, keeping the tally.
fn each_item(files: &Files, network: &Network, tally: &mut Tally, visit: Visit<'_>) -> Result<(), ExportError> {
    for (nth, segment) in files.segments.iter().enumerate() {
        let next = files.segments.get(nth.saturating_add(1)).map(|next| next.first);
        if let Some(problem) = tally.enter(segment) {
            visit(segment, Step::Problem(0, problem))?;
        }
        let loaded = files.load(network.ledger(), segment, next)?;
        let bytes = loaded.bytes.as_slice();
        let Some(framing) = loaded.framing else {
            visit(segment, Step::Item(&Item::Rest { at: 0, bytes: bytes.len() as u64 }))?;
            continue;
        };
        for item in (Walk { network, framing, bytes, first: segment.first, until: loaded.until }).items() {
            if let Some(at) = take(tally, &item) {
                visit(segment, Step::Problem(at, Problem::Link))?;
            }
            visit(segment, Step::Item(&item))?;
        }
    }
    Ok(())
}

/// Counts an item; returns where it stands when it is a commit marker whose link does not follow.
fn take(tally: &mut Tally, item: &Item<'_>) -> Option<usize> {
    match item {
        Item::Transaction { entry, .. } => tally.push(entry.position, &entry.id),
        Item::Changed { position, id: Some(id), .. } => tally.push(*position, id),
        Item::Changed { position, id: None, .. } => tally.skip_to(position.saturating_add(1)),
        Item::Unreadable { position, count, .. } => tally.skip_to(position.saturating_add(*count)),
        Item::Commit { at, point } => return (!tally.commit(point)).then_some(*at),
        Item::LateBody { .. } | Item::ChangedMarker { .. } | Item::Rest { .. } | Item::Contradiction { .. } => {}
    }
    None
}

/// The second pass.
struct Exporter<'a> {
    network: &'a Network,
    files: &'a Files,
    bodies: Bodies,
    /// Where bodies stand that came after their records.
    late: BTreeMap<u64, Place>,
    /// What the head counts: a running node may have gone on since.
    until: u64,
    out: &'a mut dyn io::Write,
    damaged: &'a mut dyn FnMut(&Finding),
    exported: Exported,
}

impl Exporter<'_> {
    fn line(&mut self, line: &Line<'_>) -> Result<(), ExportError> {
        let mut bytes = serde_json::to_vec(line).map_err(io::Error::from)?;
        bytes.push(b'\n');
        Ok(self.out.write_all(&bytes)?)
    }

    fn tell(&mut self, found: &Finding) {
        self.exported.damaged = self.exported.damaged.saturating_add(1);
        (self.damaged)(found);
    }

    fn head(&mut self, head: &Summary) -> Result<(), ExportError> {
        self.line(&Line::Head {
            format: FORMAT,
            network: self.network.name(),
            ledger: self.network.ledger().to_string(),
            log_id: hex::encode(self.files.log_id.unwrap_or_default()),
            count: head.count,
            link: head.link.to_string(),
            root: head.root.to_string(),
            digest: head.digest.to_string(),
        })
    }

    fn end(mut self) -> Result<Exported, ExportError> {
        let Exported { transactions, bodies, damaged } = self.exported;
        self.line(&Line::End { transactions, bodies, damaged })?;
        self.out.flush()?;
        Ok(self.exported)
    }

    fn transactions(&mut self) -> Result<(), ExportError> {
        let (files, network) = (self.files, self.network);
        let mut tally = Tally::new(network.ledger());
        each_item(files, network, &mut tally, &mut |segment, step| match step {
            Step::Problem(at, problem) => self.damaged_record(&finding(&segment.name, at as u64, problem), 0),
            Step::Item(item) => self.item(segment, item),
        })?;
        if tally.count() < files.claimed {
            let problem = Problem::Lost { claimed: files.claimed, count: tally.count() };
            self.damaged_record(&finding("headers", 0, problem), 0)?;
        }
        Ok(())
    }

    fn item(&mut self, segment: &SegmentFile, item: &Item<'_>) -> Result<(), ExportError> {
        let found = |at: usize, problem| finding(&segment.name, at as u64, problem);
        match item {
            Item::Transaction { entry, .. } if entry.position >= self.until => Ok(()),
            Item::Transaction { at, entry } => self.transaction(found(*at, Problem::Duplicate), entry),
            Item::Changed { at, position, why, id, .. } => {
                let found =
                    Finding { position: Some(Position::new(*position)), id: *id, ..found(*at, Problem::Record(why)) };
                self.damaged_record(&found, 1)
            }
            Item::Unreadable { at, position, count } => {
                let found =
                    Finding { position: Some(Position::new(*position)), ..found(*at, Problem::Unreadable(*count)) };
                self.damaged_record(&found, *count)
            }
            Item::LateBody { .. } | Item::Commit { .. } => Ok(()),
            Item::ChangedMarker { at, why } => self.damaged_record(&found(*at, Problem::CommitMarker(why)), 0),
            Item::Rest { at, bytes } => self.damaged_record(&found(*at, Problem::RestUnchecked(*bytes)), 0),
            Item::Contradiction { at, what } => self.damaged_record(&found(*at, Problem::Contradiction(what)), 0),
        }
    }

    /// Tells of damage and leaves a line in the place of the `count` transactions that it hit.
    fn damaged_record(&mut self, found: &Finding, count: u64) -> Result<(), ExportError> {
        self.tell(found);
        self.line(&Line::Damaged {
            position: found.position.map(Position::get),
            count,
            id: found.id.map(|id| id.to_string()),
            problem: found.problem.to_string(),
        })
    }

    /// `place`: where the record stands.
    fn transaction(&mut self, place: Finding, entry: &TransactionEntry<'_>) -> Result<(), ExportError> {
        let place = Finding { position: Some(Position::new(entry.position)), id: Some(entry.id), ..place };
        let header = match Header::from_bytes(entry.header) {
            Ok(header) => header,
            Err(error) => return self.damaged_record(&Finding { problem: Problem::Encoding(error), ..place }, 1),
        };
        let computed = header.id(self.network);
        if computed != entry.id {
            return self.damaged_record(&Finding { problem: Problem::Id(computed), ..place }, 1);
        }
        let (body, absent) = match self.body(entry, header.core())? {
            Ok(body) => (Some(hex::encode(body)), None),
            Err(Absence::Fine(why)) => (None, Some(why)),
            Err(Absence::Damage(problem)) => {
                self.tell(&Finding { problem, ..place });
                (None, Some("damaged"))
            }
        };
        self.exported.transactions = self.exported.transactions.saturating_add(1);
        self.exported.bodies = self.exported.bodies.saturating_add(u64::from(body.is_some()));
        self.line(&Line::Transaction(Box::new(line_of(entry, &header, body, absent))))
    }

    /// The body of a record, or why there is none.
    fn body(&self, entry: &TransactionEntry<'_>, core: &Core) -> Result<Result<Vec<u8>, Absence>, StoreError> {
        // One that came later stands for one that is damaged.
        let late = self.late.get(&entry.position).copied();
        let mut found = Err(Absence::Fine("never came"));
        for place in late.into_iter().chain(entry.place) {
            found = self.body_at(place, entry, core)?;
            if found.is_ok() {
                break;
            }
        }
        Ok(found)
    }

    fn body_at(
        &self,
        place: Place,
        entry: &TransactionEntry<'_>,
        core: &Core,
    ) -> Result<Result<Vec<u8>, Absence>, StoreError> {
        Ok(match self.bodies.read(place, &entry.id, core.body_len()) {
            Ok(Body::Present(body)) if &body_hash(self.network, &body) == core.body_hash() => Ok(body),
            Ok(Body::Present(_)) => {
                Err(Absence::Damage(Problem::Body("it does not hash to what its header names".to_owned())))
            }
            // A running node may have dropped the day just now, so the line is read behind the file.
            Ok(Body::Absent | Body::Dropped { .. }) if self.bodies.current_line()?.kept > place.part() => {
                Err(Absence::Fine("dropped"))
            }
            Ok(Body::Absent | Body::Dropped { .. }) => Err(Absence::Damage(Problem::BodyMissing)),
            Ok(Body::Damaged(what)) | Err(StoreError::Damaged { what, .. }) => {
                Err(Absence::Damage(Problem::Body(what)))
            }
            Err(error) => Err(Absence::Damage(Problem::Body(error.to_string()))),
        })
    }
}

/// Why a transaction goes out without its body.
enum Absence {
    Fine(&'static str),
    Damage(Problem),
}

fn line_of(
    entry: &TransactionEntry<'_>,
    header: &Header,
    body: Option<String>,
    absent: Option<&'static str>,
) -> TransactionLine {
    let core = header.core();
    TransactionLine {
        position: entry.position,
        id: entry.id.to_string(),
        arrival: entry.arrival.secs(),
        depth: entry.depth.get(),
        version: FORMAT_VERSION,
        parents: core.parents().iter().map(TxId::to_string).collect(),
        time: core.time().secs(),
        lifetime: core.lifetime_secs(),
        kind: match core.kind() {
            Kind::Sealed => "sealed",
            Kind::Tagged => "tagged",
        },
        hint: hex::encode(core.hint()),
        body_hash: hex::encode(core.body_hash()),
        body_len: core.body_len(),
        author: hex::encode(core.author()),
        signature: hex::encode(header.signed().signature()),
        nonce: hex::encode(header.stamp().nonce().to_le_bytes()),
        solution: hex::encode(header.stamp().solution()),
        body,
        absent,
    }
}
