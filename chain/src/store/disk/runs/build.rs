//! Making runs: from records in memory, from other runs, from the log.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    filter::Filter,
    merge::Merging,
    run::{Facts, Fan, IdEntry, Name, OrderEntry, Run, id_entry, name, order_entry, prefix},
};
use crate::{
    ids::{LedgerId, TxId},
    store::{
        StoreError,
        disk::{
            checked::{CheckedWriter, Identity},
            files::{self, DiskFile},
            log::LogView,
            memtable::MemTable,
            notice::Notices,
            segment::{FILE_HEADER_BYTES, FileHeader, FileKind, HeaderFault},
        },
    },
};

/// Records of the log that are taken up in one go.
const PAGE: usize = 4_096;

/// Where the runs of a log are, and how large a table in memory grows.
#[derive(Clone, Debug)]
pub(super) struct Builder {
    pub(super) dir: PathBuf,
    pub(super) ledger: LedgerId,
    pub(super) log_id: [u8; 16],
    pub(super) memtable_records: usize,
    pub(super) notices: Notices,
}

impl Builder {
    pub(super) fn identity(&self, first: u64, end: u64) -> Identity {
        Identity { kind: FileKind::Run, ledger: self.ledger, log_id: self.log_id, first, end }
    }
    pub(super) fn path(&self, first: u64, end: u64) -> PathBuf {
        self.dir.join(format!("{first:016x}-{end:016x}.run"))
    }

    /// An empty table for the records from `first` on.
    pub(super) fn new_table(&self, first: u64) -> MemTable {
        MemTable::new(first, self.memtable_records)
    }

    /// The run of all records in a table, which must be durable.
    pub(super) fn of_table(&self, table: &MemTable, log: &LogView) -> Result<Run, StoreError> {
        let offsets = log.offsets(table.first(), table.end())?;
        let mut ids: Vec<IdEntry> =
            table.ids().zip(offsets).map(|((id, position), offset)| id_entry(id, position, offset)).collect();
        let mut tags: Vec<Name> = table.tags().map(|(tag, position)| name(tag, position)).collect();
        ids.sort_unstable_by_key(|entry| (prefix(entry), *entry));
        tags.sort_unstable();
        let facts = self.facts(table.first(), table.end(), table.tags().len() as u64, log)?;
        let mut writer = RunWriter::create(self, facts)?;
        ids.iter().try_for_each(|entry| writer.push_id(entry))?;
        tags.iter().try_for_each(|entry| writer.push_tag(entry))?;
        table.order().try_for_each(|(key, position)| writer.push_orders(&[order_entry(key, *position)]))?;
        // If its name is lost, nothing is: the tail of the log is indexed anew.
        writer.end(CheckedWriter::finish_content)?;
        self.open(facts.first, facts.end, log)
    }

    fn facts(&self, first: u64, end: u64, tagged: u64, log: &LogView) -> Result<Facts, StoreError> {
        let zero = TxId::from_bytes([0; 32]);
        let id = |position| Ok::<TxId, StoreError>(log.ids_at(&[position])?.first().copied().unwrap_or(zero));
        Ok(Facts { first, end, tagged, ids: [id(first)?, id(end.saturating_sub(1))?] })
    }

    /// One run in place of neighbouring ones, in one go.
    fn merged(&self, runs: Vec<Arc<Run>>, log: &LogView) -> Result<Run, StoreError> {
        let mut merging = Merging::begin(self, runs)?;
        while !merging.step(usize::MAX, log)? {}
        merging.finish(self, log)
    }

    /// The run of a range of positions, from the log. `done` is told the position that has been reached.
    pub(super) fn of_log(
        &self,
        first: u64,
        end: u64,
        log: &LogView,
        done: &mut dyn FnMut(u64),
    ) -> Result<Run, StoreError> {
        let mut parts: Vec<Arc<Run>> = Vec::new();
        let mut next = first;
        while next < end {
            let mut table = self.new_table(next);
            while next < end && table.len() < self.memtable_records {
                let records = log.records(next, end, PAGE)?;
                records.iter().for_each(|stored| table.push(&stored.record));
                next = table.end();
                done(next);
            }
            parts.push(Arc::new(self.of_table(&table, log)?));
        }
        if let [only] = &parts[..] {
            return self.open(only.facts.first, only.facts.end, log);
        }
        let merged = self.merged(parts.clone(), log)?;
        parts.iter().try_for_each(|part| files::remove(part.path()))?;
        Ok(merged)
    }

    /// Whether the run of a range has the form of an earlier version.
    pub(super) fn is_earlier(&self, first: u64, end: u64) -> Result<bool, StoreError> {
        let file = DiskFile::open(&self.path(first, end), false)?;
        let head = file.map_or(Ok(Vec::new()), |file| file.read_at(0, FILE_HEADER_BYTES))?;
        Ok(matches!(FileHeader::parse(FileKind::Run, self.ledger, &head), Err(HeaderFault::Earlier)))
    }

    pub(super) fn open(&self, first: u64, end: u64, log: &LogView) -> Result<Run, StoreError> {
        Run::open(&self.path(first, end), self.identity(first, end), log)
    }
}

/// Writes a run: ids, then tags, then places in canonical order, each ascending.
pub(super) struct RunWriter {
    facts: Facts,
    path: PathBuf,
    blocks: CheckedWriter,
    id_fan: Fan,
    tag_fan: Fan,
    filter: Filter,
}

impl RunWriter {
    pub(super) fn create(builder: &Builder, facts: Facts) -> Result<Self, StoreError> {
        let path = builder.path(facts.first, facts.end);
        let mut blocks = CheckedWriter::create(&path, builder.identity(facts.first, facts.end))?;
        blocks.push(&facts.to_bytes())?;
        let (id_fan, tag_fan) = (Fan::new(facts.count()), Fan::new(facts.tagged));
        Ok(Self { path, blocks, id_fan, tag_fan, filter: Filter::new(facts.count()), facts })
    }

    pub(super) fn push_id(&mut self, entry: &IdEntry) -> Result<(), StoreError> {
        self.id_fan.add(entry);
        self.filter.add(entry);
        self.blocks.push(entry)
    }
    pub(super) fn push_tag(&mut self, entry: &Name) -> Result<(), StoreError> {
        self.tag_fan.add(entry);
        self.blocks.push(entry)
    }
    pub(super) fn push_orders(&mut self, entries: &[OrderEntry]) -> Result<(), StoreError> {
        self.blocks.push(entries.as_flattened())
    }

    /// Makes durable what is there so far.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        self.blocks.sync()
    }

    /// Ends the run in place of others, which may go then, and opens it.
    pub(super) fn finish(&mut self, builder: &Builder, log: &LogView) -> Result<Run, StoreError> {
        self.end(CheckedWriter::finish)?;
        builder.open(self.facts.first, self.facts.end, log)
    }

    fn end(
        &mut self,
        finish: impl FnOnce(&mut CheckedWriter, &Path) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.blocks.push(&self.id_fan.to_bytes())?;
        self.blocks.push(&self.tag_fan.to_bytes())?;
        self.filter.lines().try_for_each(|line| self.blocks.push(&line))?;
        // What is opened has its own: for a long run they would take a megabyte twice.
        (self.id_fan, self.tag_fan, self.filter) = (Fan::new(0), Fan::new(0), Filter::new(0));
        finish(&mut self.blocks, &self.path)
    }
}

/// First position and end of a run, from the name of its file.
pub(super) fn range_of(name: &str) -> Option<(u64, u64)> {
    let (first, end) = name.strip_suffix(".run")?.split_once('-')?;
    let (first, end) = (u64::from_str_radix(first, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    (first < end).then_some((first, end))
}

/// Renames a run that is of no use, and keeps it; `None` when there is no such file.
pub(super) fn set_aside(path: &Path) -> Result<Option<PathBuf>, StoreError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let names = files::names(path.parent().unwrap_or(Path::new("")))?;
    if !names.iter().any(|found| *found == name) {
        return Ok(None);
    }
    let number = |found: &String| found.strip_prefix(&*name)?.strip_prefix(".damaged-")?.parse::<u64>().ok();
    let next = names.iter().filter_map(number).max().unwrap_or_default().saturating_add(1);
    let kept_as = path.with_file_name(format!("{name}.damaged-{next}"));
    files::rename(path, &kept_as)?;
    Ok(Some(kept_as))
}
