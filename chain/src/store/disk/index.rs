//! The trees of the index: sled, with what is staged and what is being written laid over it.
//!
//! Invariant: sled never knows of a record that is not durable in the log; changes reach it only through an
//! [`IndexWrite`] that runs behind the log's fsync. They are written behind: they collect in memory until there are many,
//! since sled costs some 70 µs and 540 bytes a record, and what comes and goes in between never costs that. All of it can
//! be derived from the log, so a sled that fails to open is set aside (renamed, never deleted) and an empty one takes its
//! place. sled panics on some damage: its calls are fenced, and a panic becomes an error.

use std::{
    collections::BTreeMap,
    iter::Peekable,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{files, notice::Notices, segment::newer_format};
use crate::store::{Change, Pair, Pairs, StoreError, Tree};

mod db;

pub(super) use db::ahead;
use db::{Opened, Sled, Unfinished, fenced, within};

/// Keys from here on are those of trees.
const FIRST_TREE_KEY: &[u8] = &[1];

/// How long a write of sled may take: many times what the slowest disk needs.
const WRITE_WAIT: Duration = Duration::from_secs(120);

/// A change of a key that is not in sled yet.
#[derive(Clone)]
struct Pending {
    /// The new value; `None` removes the key.
    value: Option<Vec<u8>>,
    /// Whether sled has no such key, so that its removal leaves no trace.
    fresh: bool,
}

/// Changes by key.
type Overlay = BTreeMap<Vec<u8>, Pending>;

/// How many records may be in the log that sled knows nothing of: what a start after a crash derives anew.
const RECORDS_BEHIND_MAX: u64 = 65_536;

/// The trees of a log.
pub(super) struct Index {
    path: PathBuf,
    log_id: [u8; 16],
    /// `None` only while the trees are set aside or reopened, or after that failed.
    db: Option<Arc<Sled>>,
    staged: Overlay,
    /// What is being written, or is to be once the records that it follows from are durable.
    in_flight: Option<Arc<IndexWrite>>,
    /// Changes that are collected before sled gets them.
    limit: usize,
    /// Records in the log when sled was last written.
    written_at: u64,
    /// Something is staged that does not follow from the log.
    urgent: bool,
    /// A write failed: sled takes no more until it is opened again.
    broken: bool,
    /// A write came to no end: sled takes no more in this process.
    stuck: bool,
    /// Why, as it was last told.
    trouble: Option<String>,
    notices: Notices,
}

/// Changes ready to be applied to sled, all or nothing.
pub(super) struct IndexWrite {
    path: PathBuf,
    db: Arc<Sled>,
    changes: Overlay,
    /// Some of it does not follow from the log.
    durably: bool,
    /// An earlier write all of whose changes are in this one too.
    instead_of: Option<Arc<IndexWrite>>,
    /// Another write has taken its place. Held while it is being applied.
    void: Mutex<bool>,
    /// Why it failed, if it did.
    failure: Mutex<Option<String>>,
    /// Whether it came to no end.
    stuck: AtomicBool,
}

impl IndexWrite {
    /// Applies the changes. Without fsync where they follow from the log: what a power cut takes is derived anew.
    pub(super) fn apply(&self) -> Result<(), StoreError> {
        let applied = self.try_to_apply();
        if let Err(error) = &applied {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        }
        applied
    }

    fn try_to_apply(&self) -> Result<(), StoreError> {
        if let Some(earlier) = &self.instead_of {
            *earlier.void.lock().unwrap_or_else(PoisonError::into_inner) = true;
        }
        let void = self.void.lock().unwrap_or_else(PoisonError::into_inner);
        if *void {
            return Ok(());
        }
        let mut batch = sled::Batch::default();
        for (key, pending) in &self.changes {
            match &pending.value {
                Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                None => batch.remove(key.as_slice()),
            }
        }
        let (path, db) = (self.path.clone(), Arc::clone(&self.db));
        let write = move || {
            fenced(&path, || {
                db.db()?.apply_batch(batch)?;
                db.db()?.flush().map(drop)
            })
        };
        let unfinished =
            |what: &str| Err(StoreError::Index { path: self.path.display().to_string(), what: what.to_owned() });
        within(WRITE_WAIT, write).unwrap_or_else(|why| match why {
            Unfinished::Endless => {
                self.stuck.store(true, Ordering::Release);
                unfinished("sled comes to no end with what it writes; start the node again")
            }
            Unfinished::BrokenOff => unfinished("a write broke off, or there was no thread to be had for it"),
        })?;
        // sled 0.34's flush makes no fsync on Linux.
        if self.durably { files::sync_file(&self.path.join("db")) } else { Ok(()) }
    }
}

/// A key in sled: the tree's prefix and the key.
fn full_key(tree: Tree, key: &[u8]) -> Vec<u8> {
    [&[tree.prefix()], key].concat()
}

impl Index {
    /// Opens the index of a log. One that does not open, or that indexes another log, is set aside. `expected`: whether
    /// there should be one.
    pub(super) fn open(
        path: PathBuf,
        log_id: [u8; 16],
        limit: usize,
        expected: bool,
        notices: &Notices,
    ) -> Result<Self, StoreError> {
        if expected && !path.exists() {
            notices.missing(&path);
        }
        let mut index = Self {
            path,
            log_id,
            db: None,
            staged: Overlay::new(),
            in_flight: None,
            limit,
            written_at: 0,
            urgent: false,
            broken: false,
            stuck: false,
            trouble: None,
            notices: notices.clone(),
        };
        // sled finds nothing in some damaged files, and says nothing; what was begun once holds at least the log's id.
        let begun = expected && files::bytes_under(&index.path.join("db")) > 0;
        match index.open_sled(begun) {
            Ok(true) => {}
            Ok(false) => index.start_anew(Some("it is not that of this log, or sled finds nothing in it"))?,
            Err(StoreError::Index { what, .. }) => index.start_anew(Some(&what))?,
            Err(error) => return Err(error),
        }
        Ok(index)
    }

    /// Opens sled; `false` when it indexes another log, or none although it was `begun` for this one.
    fn open_sled(&mut self, begun: bool) -> Result<bool, StoreError> {
        files::make_dir(&self.path)?;
        let (path, log_id) = (&self.path, self.log_id);
        let db = Arc::new(db::open(path)?);
        let opened = fenced(path, || {
            let opened = db::look_at(db.db()?, log_id)?;
            match opened {
                Opened::Ours => {
                    db::read_whole(db.db()?)?;
                    db::renew(db.db()?)?;
                }
                Opened::None if !begun => db::begin(db.db()?, log_id)?,
                Opened::None | Opened::Other | Opened::Newer(_) => {}
            }
            Ok(opened)
        })?;
        match opened {
            Opened::Ours => self.db = Some(db),
            Opened::None if !begun => {
                files::sync_file(&path.join("db"))?;
                self.db = Some(db);
            }
            Opened::None | Opened::Other => self.db = None,
            Opened::Newer(format) => {
                return Err(StoreError::Foreign {
                    path: path.display().to_string(),
                    what: newer_format(format, db::INDEX_FORMAT),
                });
            }
        }
        Ok(self.db.is_some())
    }

    /// Sets the index aside, which is said where there is a reason to be told, and starts an empty one.
    fn start_anew(&mut self, why: Option<&str>) -> Result<(), StoreError> {
        self.db = None;
        let names = files::names(self.path.parent().unwrap_or(Path::new("")))?;
        let numbers = names.iter().filter_map(|name| name.strip_prefix("index.damaged-")?.parse::<u64>().ok());
        let next = numbers.max().unwrap_or_default().saturating_add(1);
        let kept_as = self.path.with_file_name(format!("index.damaged-{next}"));
        files::rename(&self.path, &kept_as)?;
        if let Some(why) = why {
            self.notices.set_aside(&self.path, &kept_as, why);
        }
        match self.open_sled(false)? {
            true => Ok(()),
            false => Err(self.failed("a new index could not be started")),
        }
    }

    /// The same, unless it holds nothing.
    pub(super) fn reset(&mut self, why: Option<&str>) -> Result<(), StoreError> {
        if self.in_flight.is_some() {
            return Err(self.failed("cannot be set aside while a flush is under way"));
        }
        (self.staged, self.written_at, self.urgent) = (Overlay::new(), 0, false);
        // One that holds nothing of any tree was started anew just now.
        if let Some(db) = &self.db
            && fenced(&self.path, || Ok(db.db()?.range(FIRST_TREE_KEY..).next().transpose()?.is_none()))?
        {
            return Ok(());
        }
        self.start_anew(why)
    }

    fn failed(&self, what: &str) -> StoreError {
        StoreError::Index { path: self.path.display().to_string(), what: what.to_owned() }
    }

    fn db(&self) -> Result<&Arc<Sled>, StoreError> {
        self.db.as_ref().ok_or_else(|| self.failed("is not open"))
    }

    /// Stages changes: visible to every read from now on.
    pub(super) fn stage(&mut self, changes: Vec<Change>, underivable: bool) {
        self.urgent |= underivable;
        for Change { tree, key, value, fresh } in changes {
            let key = full_key(tree, &key);
            let fresh = match self.staged.get(&key) {
                Some(pending) => pending.fresh,
                None => fresh && !self.in_flight.as_ref().is_some_and(|write| write.changes.contains_key(&key)),
            };
            if value.is_none() && fresh {
                self.staged.remove(&key);
            } else {
                self.staged.insert(key, Pending { value, fresh });
            }
        }
    }

    /// Why sled takes nothing at the moment, if it does not. Who writes it next opens it again first.
    pub(super) fn trouble(&self) -> Option<&String> {
        self.trouble.as_ref()
    }

    /// Changes that are in memory alone.
    pub(super) fn len(&self) -> usize {
        self.staged.len()
    }

    /// Whether the flush under way is to write sled, since what is staged does not follow from the log.
    pub(super) fn is_urgent(&self) -> bool {
        self.urgent && !self.staged.is_empty()
    }

    /// Whether sled should be written behind a commit of `records`.
    pub(super) fn is_due(&self, records: u64) -> bool {
        let behind = records.saturating_sub(self.written_at);
        let due = self.staged.len() >= self.limit || behind >= RECORDS_BEHIND_MAX;
        !self.staged.is_empty() && self.in_flight.is_none() && due
    }

    /// Takes what is staged, and what an earlier write was to apply, to be applied behind a commit of `records`. `None`
    /// when sled cannot be written.
    pub(super) fn take(&mut self, records: u64) -> Option<Arc<IndexWrite>> {
        if self.stuck {
            return None;
        }
        if self.broken
            && let Err(error) = self.open_again()
        {
            self.trouble = Some(error.to_string());
            return None;
        }
        let (path, db) = (self.path.clone(), self.db.clone()?);
        let instead_of = self.in_flight.take();
        let mut changes = instead_of.as_ref().map_or_else(Overlay::new, |earlier| earlier.changes.clone());
        // What the earlier write puts may be in sled by now, or not.
        changes.values_mut().for_each(|pending| pending.fresh = false);
        changes.append(&mut self.staged);
        let durably = std::mem::take(&mut self.urgent) || instead_of.as_ref().is_some_and(|earlier| earlier.durably);
        let (void, failure, stuck) = (Mutex::default(), Mutex::default(), AtomicBool::new(false));
        let write = Arc::new(IndexWrite { path, db, changes, durably, instead_of, void, failure, stuck });
        self.in_flight = Some(Arc::clone(&write));
        self.written_at = records;
        Some(write)
    }

    /// After a failed write sled takes nothing more. Once a small file beside its own can be written, it is opened anew.
    fn open_again(&mut self) -> Result<(), StoreError> {
        let probe = self.path.join("probe");
        files::create_whole(&probe, b"whether the disk takes this")?;
        files::remove(&probe)?;
        self.db = None;
        match self.open_sled(true)? {
            true => (self.broken, self.trouble) = (false, None),
            false => return Err(self.failed("it indexes another log now")),
        }
        Ok(())
    }

    /// Tells whether a write has been applied. After a failure sled takes no more, and all is staged again.
    pub(super) fn applied(&mut self, write: &Arc<IndexWrite>, success: bool) {
        if !self.in_flight.as_ref().is_some_and(|current| Arc::ptr_eq(current, write)) {
            // Another one has taken its place.
        } else if success {
            self.in_flight = None;
        } else {
            self.broken = true;
            self.stuck |= write.stuck.load(Ordering::Acquire);
            let failure = write.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.trouble = failure.or_else(|| Some(self.failed("a write broke off").to_string()));
            self.give_back();
        }
    }

    /// Stages again what was taken.
    pub(super) fn give_back(&mut self) {
        let Some(write) = self.in_flight.take() else {
            return;
        };
        *write.void.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.urgent |= write.durably;
        self.written_at = 0;
        for (key, pending) in &write.changes {
            let again = || Pending { fresh: false, ..pending.clone() };
            self.staged.entry(key.clone()).or_insert_with(again);
        }
    }

    /// Writes what is staged, before the store is closed. Only when all of it follows from durable records.
    pub(super) fn close(&mut self) {
        if (!self.staged.is_empty() || self.in_flight.is_some())
            && let Some(write) = self.take(0)
        {
            let applied = write.apply();
            self.applied(&write, applied.is_ok());
        }
    }

    pub(super) fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let key = full_key(tree, key);
        let over = self.staged.get(&key).or_else(|| self.in_flight.as_ref()?.changes.get(&key));
        if let Some(pending) = over {
            return Ok(pending.value.clone());
        }
        let db = self.db()?;
        fenced(&self.path, || Ok(db.db()?.get(&key)?.map(|value| value.to_vec())))
    }

    /// Ascending pairs with keys in `from..to`.
    pub(super) fn range(&self, tree: Tree, from: &[u8], to: &[u8], max: usize) -> Result<Pairs, StoreError> {
        if from >= to {
            return Ok(Pairs::new());
        }
        self.merged(full_key(tree, from), full_key(tree, to), max, false)
    }

    pub(super) fn last_before(&self, tree: Tree, to: &[u8]) -> Result<Option<Pair>, StoreError> {
        if to.is_empty() {
            return Ok(None);
        }
        Ok(self.merged(full_key(tree, &[]), full_key(tree, to), 1, true)?.pop())
    }

    /// Merges what is staged, what is in flight and sled; the earlier of them wins.
    fn merged(&self, from: Vec<u8>, to: Vec<u8>, max: usize, backward: bool) -> Result<Pairs, StoreError> {
        let db = self.db()?;
        let empty = Overlay::new();
        let in_flight = self.in_flight.as_ref().map_or(&empty, |write| &write.changes);
        fenced(&self.path, || {
            let staged = self.staged.range(from.clone()..to.clone()).map(own);
            let in_flight = in_flight.range(from.clone()..to.clone()).map(own);
            let stored =
                db.db()?.range(from..to).map(|pair| pair.map(|(key, value)| (key.to_vec(), Some(value.to_vec()))));
            if backward {
                merge([staged.rev().peekable(), in_flight.rev().peekable()], stored.rev().peekable(), max, true)
            } else {
                merge([staged.peekable(), in_flight.peekable()], stored.peekable(), max, false)
            }
        })
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        files::bytes_under(&self.path)
    }
}

type Step = sled::Result<(Vec<u8>, Option<Vec<u8>>)>;

fn own((key, pending): (&Vec<u8>, &Pending)) -> Step {
    Ok((key.clone(), pending.value.clone()))
}

/// Merges sorted sources into at most `max` pairs without the tree's prefix.
fn merge<O, S>(mut over: [Peekable<O>; 2], mut stored: Peekable<S>, max: usize, backward: bool) -> sled::Result<Pairs>
where
    O: Iterator<Item = Step>,
    S: Iterator<Item = Step>,
{
    let mut pairs = Pairs::new();
    while pairs.len() < max {
        let key_of = |step: &Step| step.as_ref().ok().map(|(key, _)| key.clone());
        let mut keys: Vec<Vec<u8>> = over.iter_mut().filter_map(|source| source.peek().and_then(key_of)).collect();
        match stored.peek() {
            Some(Ok((key, _))) => keys.push(key.clone()),
            Some(Err(error)) => return Err(error.clone()),
            None => {}
        }
        let Some(next) = (if backward { keys.into_iter().max() } else { keys.into_iter().min() }) else {
            break;
        };
        let mut found: Option<Option<Vec<u8>>> = None;
        let is_next = |step: &Step| matches!(step, Ok((key, _)) if *key == next);
        for source in &mut over {
            if let Some((_, value)) = source.next_if(is_next).and_then(Result::ok) {
                found.get_or_insert(value);
            }
        }
        if let Some((_, value)) = stored.next_if(is_next).and_then(Result::ok) {
            found.get_or_insert(value);
        }
        if let (Some(Some(value)), Some(key)) = (found, next.get(1..)) {
            pairs.push((key.to_vec(), value));
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests;
