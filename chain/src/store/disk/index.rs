//! The index: sled, with what is staged and what is being written laid over it.
//!
//! Invariant: sled never knows of a record that is not durable in the log; changes reach it only through an
//! [`IndexWrite`] that runs behind the log's fsync. All of it can be derived from the log, so a sled that fails to open
//! is set aside (renamed, never deleted) and an empty one takes its place. sled panics on some damage: its calls are
//! fenced, and a panic becomes an error.

use std::{
    collections::BTreeMap,
    iter::Peekable,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::files;
use crate::store::{Change, Pair, Pairs, StoreError, Tree};

/// Memory that sled may use for its pages.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// The key under which sled holds the id of the log that it indexes; no tree has the prefix 0.
const LOG_ID_KEY: &[u8] = &[0];

/// Changes by key; `None` removes.
type Overlay = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The index of a log.
pub(super) struct Index {
    path: PathBuf,
    log_id: [u8; 16],
    /// `None` only while the index is set aside, or after that failed.
    db: Option<sled::Db>,
    staged: Overlay,
    in_flight: Option<Arc<Overlay>>,
}

/// Changes ready to be applied to sled, all or nothing.
pub(super) struct IndexWrite {
    path: PathBuf,
    db: sled::Db,
    changes: Arc<Overlay>,
}

impl IndexWrite {
    /// Applies the changes. Without fsync: what a power cut takes is derived anew.
    pub(super) fn apply(&self) -> Result<(), StoreError> {
        fenced(&self.path, || {
            let mut batch = sled::Batch::default();
            for (key, value) in self.changes.iter() {
                match value {
                    Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                    None => batch.remove(key.as_slice()),
                }
            }
            self.db.apply_batch(batch)
        })
    }
}

/// Runs a call of sled; its errors and its panics become [`StoreError::Index`].
fn fenced<T>(path: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    let failed = |what: String| StoreError::Index { path: path.display().to_string(), what };
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| failed(error.to_string())),
        Err(_) => Err(failed("sled broke off on what it found".to_owned())),
    }
}

/// A key in sled: the tree's prefix and the key.
fn full_key(tree: Tree, key: &[u8]) -> Vec<u8> {
    [&[tree.prefix()], key].concat()
}

impl Index {
    /// Opens the index of a log. One that does not open, or that indexes another log, is set aside.
    pub(super) fn open(path: PathBuf, log_id: [u8; 16]) -> Result<Self, StoreError> {
        let mut index = Self { path, log_id, db: None, staged: Overlay::new(), in_flight: None };
        match index.open_sled() {
            Ok(true) => {}
            Ok(false) | Err(StoreError::Index { .. }) => index.start_anew()?,
            Err(error) => return Err(error),
        }
        Ok(index)
    }

    /// Opens sled; `false` when it indexes another log.
    fn open_sled(&mut self) -> Result<bool, StoreError> {
        files::make_dir(&self.path)?;
        let (path, log_id) = (&self.path, self.log_id);
        let (db, ours) = fenced(path, || {
            let db = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).open()?;
            let ours = match db.get(LOG_ID_KEY)? {
                Some(found) => found.as_ref() == log_id.as_slice(),
                // An index without a log id is of no log unless it is empty.
                None if db.is_empty() => db.insert(LOG_ID_KEY, log_id.as_slice())?.is_none(),
                None => false,
            };
            Ok((db, ours))
        })?;
        self.db = ours.then_some(db);
        Ok(ours)
    }

    fn start_anew(&mut self) -> Result<(), StoreError> {
        self.db = None;
        let names = files::names(self.path.parent().unwrap_or(Path::new("")))?;
        let numbers = names.iter().filter_map(|name| name.strip_prefix("index.damaged-")?.parse::<u64>().ok());
        let next = numbers.max().unwrap_or_default().saturating_add(1);
        files::rename(&self.path, &self.path.with_file_name(format!("index.damaged-{next}")))?;
        match self.open_sled()? {
            true => Ok(()),
            false => Err(self.failed("a new index could not be started")),
        }
    }

    /// Sets the index aside and starts an empty one.
    pub(super) fn reset(&mut self) -> Result<(), StoreError> {
        if self.in_flight.is_some() {
            return Err(self.failed("cannot be set aside while a flush is under way"));
        }
        self.staged.clear();
        // One that holds nothing but the log id was started anew just now.
        if let Some(db) = &self.db
            && fenced(&self.path, || Ok(db.iter().take(2).count() < 2))?
        {
            return Ok(());
        }
        self.start_anew()
    }

    fn failed(&self, what: &str) -> StoreError {
        StoreError::Index { path: self.path.display().to_string(), what: what.to_owned() }
    }

    fn db(&self) -> Result<&sled::Db, StoreError> {
        self.db.as_ref().ok_or_else(|| self.failed("is not open"))
    }

    /// Stages changes: visible to every read from now on.
    pub(super) fn stage(&mut self, changes: Vec<Change>) {
        for change in changes {
            self.staged.insert(full_key(change.tree, &change.key), change.value);
        }
    }

    /// Whether nothing is staged.
    pub(super) fn is_clean(&self) -> bool {
        self.staged.is_empty()
    }

    /// Takes what is staged, to be applied.
    pub(super) fn take(&mut self) -> Result<IndexWrite, StoreError> {
        let (path, db) = (self.path.clone(), self.db()?.clone());
        let changes = Arc::new(std::mem::take(&mut self.staged));
        self.in_flight = Some(Arc::clone(&changes));
        Ok(IndexWrite { path, db, changes })
    }

    /// What was taken has been applied.
    pub(super) fn applied(&mut self) {
        self.in_flight = None;
    }

    pub(super) fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let key = full_key(tree, key);
        let over = self.staged.get(&key).or_else(|| self.in_flight.as_ref()?.get(&key));
        if let Some(value) = over {
            return Ok(value.clone());
        }
        let db = self.db()?;
        fenced(&self.path, || Ok(db.get(&key)?.map(|value| value.to_vec())))
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
        let in_flight = self.in_flight.as_deref().unwrap_or(&empty);
        fenced(&self.path, || {
            let staged = self.staged.range(from.clone()..to.clone()).map(own);
            let in_flight = in_flight.range(from.clone()..to.clone()).map(own);
            let stored = db.range(from..to).map(|pair| pair.map(|(key, value)| (key.to_vec(), Some(value.to_vec()))));
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

fn own((key, value): (&Vec<u8>, &Option<Vec<u8>>)) -> Step {
    Ok((key.clone(), value.clone()))
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
