//! What speaks to sled: opening it, whose index it is, a fence around its panics, and an end to waiting for it.
//!
//! sled 0.34 comes to no end now and then when it writes or is closed, with several of them in one process at least: its
//! threads wait for one another. All that is in it follows from the log, so it is left to itself then (decision 0039).

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::store::{
    StoreError,
    disk::files::{self, DiskFile},
};

/// Format of what is in sled. In the first one the state held all peaks of the tree, in the second it did not say of how
/// many records the digests are.
pub(super) const INDEX_FORMAT: u32 = 3;
/// Memory that sled may use for its pages.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes of the pieces in which sled's file grows.
const SEGMENT_BYTES: usize = 64 * 1024;
/// The key under which sled holds the id of the log that it indexes; no tree has the prefix 0.
const LOG_ID_KEY: &[u8] = &[0];
/// The key under which sled holds the format of all that is in it, a little-endian u32. One without it has the first.
const FORMAT_KEY: &[u8] = &[0, 0];
/// How long a closed sled may hold its lock.
const LOCK_WAIT: Duration = Duration::from_secs(20);
/// Between two looks at the lock.
const LOCK_STEP: Duration = Duration::from_millis(2);

/// Bytes of a file of sled's that are asked for ahead, at most.
const AHEAD_BYTES: u64 = 4 * 1024 * 1024;
/// How long sled may take to close. What it did not write by then is derived from the log at the next start.
const CLOSE_WAIT: Duration = Duration::from_secs(20);

/// An open sled, until its last user is gone.
#[derive(Debug)]
pub(super) struct Sled(Option<sled::Db>);

impl Sled {
    /// The sled in it.
    ///
    /// # Errors
    /// None while it has users.
    pub(super) fn db(&self) -> sled::Result<&sled::Db> {
        self.0.as_ref().ok_or_else(|| sled::Error::Unsupported("it is closed".to_owned()))
    }
}

impl Drop for Sled {
    /// Closes it.
    fn drop(&mut self) {
        let db = self.0.take();
        // Either way nothing can be done about it here.
        within(CLOSE_WAIT, move || drop(db)).unwrap_or_default();
    }
}

/// Why something that was to be done has not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfinished {
    /// It goes on, and may go on without end.
    Endless,
    /// There was no thread to be had, or it broke off.
    BrokenOff,
}

/// Does something on a thread of its own, and waits for it no longer than `limit`.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unfinished> {
    let (done, result) = mpsc::sync_channel(1);
    let work = move || drop(done.send(work()));
    let thread = thread::Builder::new().name("index".to_owned()).spawn(work);
    thread.map_err(|_| Unfinished::BrokenOff)?;
    result.recv_timeout(limit).map_err(|error| match error {
        RecvTimeoutError::Timeout => Unfinished::Endless,
        RecvTimeoutError::Disconnected => Unfinished::BrokenOff,
    })
}

/// Which log sled indexes.
pub(super) enum Opened {
    Ours,
    /// None so far: it is empty.
    None,
    /// Another one.
    Other,
    /// Ours, in a format of a later version.
    Newer(u32),
}

/// Runs a call of sled; its errors and its panics become [`StoreError::Index`].
pub(super) fn fenced<T>(path: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    let failed = |what: String| StoreError::Index { path: path.display().to_string(), what };
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| failed(error.to_string())),
        Err(_) => Err(failed("sled broke off on what it found".to_owned())),
    }
}

/// Opens sled with small segments; one that was made with sled's own size keeps that. It is written seldom, and flushed
/// then: no thread of sled's is to do it in between, which leaves gaps in its file.
fn open_once(path: &Path) -> sled::Result<sled::Db> {
    let config = || sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None);
    match config().segment_size(SEGMENT_BYTES).open() {
        Err(sled::Error::Unsupported(_)) => config().open(),
        opened => opened,
    }
}

/// Asks the system for the beginning of sled's file, and for the small ones beside it. sled reads them in hundreds of places,
/// each of which would wait for the disk.
pub(in super::super) fn ahead(path: &Path) {
    for name in files::names(path).unwrap_or_default() {
        if let Ok(Some(file)) = DiskFile::open(&path.join(name), false) {
            file.will_need(0, AHEAD_BYTES);
        }
    }
}

/// Opens sled, once the one before is gone: sled's threads let go of a closed one a little later than its last user does,
/// and hold its lock until then. That is no damage.
///
/// # Errors
///
/// [`StoreError::InUse`] when something holds its lock for longer, [`StoreError::Index`] when sled does not open it.
pub(super) fn open(path: &Path) -> Result<Sled, StoreError> {
    let mut waited = Duration::ZERO;
    open_waiting(path, || {
        waited += LOCK_STEP;
        thread::sleep(LOCK_STEP);
        waited < LOCK_WAIT
    })
}

/// The same, for as long as `wait` says so.
fn open_waiting(path: &Path, mut wait: impl FnMut() -> bool) -> Result<Sled, StoreError> {
    loop {
        let opened = fenced(path, || match open_once(path) {
            Err(sled::Error::Io(error)) if is_locked(&error) => Ok(None),
            opened => opened.map(Some),
        })?;
        match opened {
            Some(db) => return Ok(Sled(Some(db))),
            None if wait() => {}
            None => return Err(StoreError::InUse { path: path.display().to_string() }),
        }
    }
}

/// Whether an error of sled's says that its file is locked: it has no kind of its own for that.
fn is_locked(error: &io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// Which log an open sled indexes.
pub(super) fn look_at(db: &sled::Db, log_id: [u8; 16]) -> sled::Result<Opened> {
    if let Some(format) = db.get(FORMAT_KEY)?.and_then(|bytes| bytes.as_ref().try_into().ok().map(u32::from_le_bytes))
        && format > INDEX_FORMAT
    {
        return Ok(Opened::Newer(format));
    }
    Ok(match db.get(LOG_ID_KEY)? {
        Some(found) if found.as_ref() == log_id.as_slice() => Opened::Ours,
        // One without a log id is of no log unless it is empty.
        None if db.is_empty() => Opened::None,
        _ => Opened::Other,
    })
}

/// Reads every page. sled reads a page when something in it is asked for, and knows from another file where it lies: it opens
/// what has lost pages to a power cut, and would fail whenever one of them is needed.
pub(super) fn read_whole(db: &sled::Db) -> sled::Result<()> {
    db.iter().try_for_each(|pair| pair.map(drop))
}

/// Marks a sled as being in the present format: what is written into it from now on is.
pub(super) fn renew(db: &sled::Db) -> sled::Result<()> {
    let current = INDEX_FORMAT.to_le_bytes();
    if db.get(FORMAT_KEY)?.is_none_or(|format| format.as_ref() != current.as_slice()) {
        db.insert(FORMAT_KEY, &current)?;
        db.flush()?;
    }
    Ok(())
}

/// Marks an empty sled as the index of a log.
pub(super) fn begin(db: &sled::Db, log_id: [u8; 16]) -> sled::Result<()> {
    db.insert(LOG_ID_KEY, log_id.as_slice())?;
    db.insert(FORMAT_KEY, &INDEX_FORMAT.to_le_bytes())?;
    db.flush().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sled panics on some damage. Nothing above it may.
    #[test]
    fn a_panic_inside_of_sled_becomes_an_error() {
        let path = Path::new("some/index");
        let broken = fenced::<()>(path, || std::panic::panic_any("what sled says when it panics"));
        let error = broken.unwrap_err();
        assert!(matches!(&error, StoreError::Index { path, .. } if path == "some/index"), "{error}");
        assert!(error.to_string().contains("can be made anew"), "{error}");
        let refused = fenced::<()>(path, || Err(sled::Error::Unsupported("a reason".to_owned())));
        assert!(refused.unwrap_err().to_string().contains("a reason"));
        assert_eq!(fenced(path, || Ok(7)).unwrap(), 7);
    }

    /// What comes to no end is not waited for, and what does gives what it gives.
    #[test]
    fn what_has_no_end_is_left_to_itself() {
        let (end, never) = mpsc::channel::<()>();
        let (told, hears) = mpsc::channel();
        let endless = move || {
            assert!(never.recv().is_err());
            told.send(()).unwrap();
        };
        assert_eq!(within(Duration::from_millis(20), endless), Err(Unfinished::Endless));
        drop(end);
        hears.recv_timeout(Duration::from_secs(20)).expect("it goes on by itself");
        let breaks_off = || std::panic::panic_any("what breaks off");
        assert_eq!(within::<()>(Duration::from_secs(20), breaks_off), Err(Unfinished::BrokenOff));
        assert_eq!(within(Duration::from_secs(20), || 7), Ok(7));
    }

    /// A sled that was closed a moment ago is not a damaged one.
    #[test]
    fn a_lock_that_is_let_go_of_a_little_later_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        drop(open(home.path()).unwrap());
        let mut holder = Some(open(home.path()).unwrap());
        let mut looks = 0;
        let waits = || {
            looks += 1;
            if looks == 3 {
                holder = None;
            }
            thread::sleep(LOCK_STEP);
            looks < 5_000
        };
        drop(open_waiting(home.path(), waits).unwrap());
        assert!(looks >= 3, "{looks}");
        let holder = open(home.path()).unwrap();
        let refused = open_waiting(home.path(), || false).unwrap_err();
        assert!(matches!(refused, StoreError::InUse { .. }), "{refused}");
        drop(holder);
    }
}
