//! Delegated finding: what the node finds with the scan key of someone whose messages it cannot open, and hands over to
//! them (`docs/wallet-format.md`, "Scan key file"; decision 0037).
//!
//! Each file has a list of its own, which is scanned for as a wallet scans: only durable positions, and what was found and
//! how far it got are one commit. List and ledger have a lock each, and neither is taken while the other is held. A bounded
//! number of copies is kept, for when the ledger has no room for their bodies; they go when the messages end.
//! **Nothing here says in a log which transactions were found.**

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use qasedak_chain::{
    Network, Position, Time, Transaction,
    store::{StoreError, disk::files},
};
use qasedak_wallet::{
    ScanKeyError, ScanKeyFile, Scanner,
    finding::{FILE_BYTES, FoundRow},
    wallet::UNREAD_MAX,
};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::{
    failure::{Failure, Outcome, io_failure},
    mail::{Envelope, LOOK_BACK_EVERY, envelope_at},
    node::{DiskLedger, cores, now, read, rng},
    pace::Pace,
};

mod list;

use list::{Found, FoundList, Place, Step};

/// Most scan key files of one node: each makes every scan slower.
pub const FILES_MAX: usize = 16;
/// Most transactions of one page.
pub const PAGE_MAX: usize = 64;
/// A page that has so many bytes of transactions takes no further one.
const PAGE_BYTES: usize = 1024 * 1024;
/// Most entries of the list that are looked at for one page: behind some of them may be no body any more.
const LOOKED_AT_MAX: usize = 256;
/// A step of a scan that has found so many bytes is kept before it goes on: a commit holds 16 MiB.
const STEP_BYTES: usize = 8 * 1024 * 1024;
/// Entries of the scan column that are scanned under one lock of the ledger.
const SCAN_PAGE: usize = 4_096;
/// How often what has ended is let go.
const LET_GO_EVERY: Duration = Duration::from_secs(60);
/// How soon a scan that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// A transaction from the future is taken to have been made so long after it came, as for its body (DESIGN §4).
const AHEAD_MAX_SECS: u64 = 2 * 86_400;
/// So long after a message has ended it stays in the list, as its body stays on disk at most.
const KEPT_FOR_SECS: u64 = 4 * 86_400;

impl Step {
    fn is_full(&self) -> bool {
        self.found.iter().map(|found| found.bytes.len()).sum::<usize>() >= STEP_BYTES
    }
}

/// Why something could not be found or kept.
#[derive(Debug, thiserror::Error)]
pub enum FinderError {
    /// The ledger's or the list's own reason.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row of the list is not what was written.
    #[error("a list of what was found is damaged; remove the directory `found`, and it is made anew from the ledger")]
    Row,
    /// The system gives no randomness.
    #[error("the system gives no randomness; nothing was kept")]
    Randomness,
}

/// What is handed over at a time.
#[derive(Debug, Default)]
pub struct Page {
    /// Whole transactions, as they stand on the wire, in order of finding.
    pub transactions: Vec<Vec<u8>>,
    /// Where the next page begins; means nothing to others.
    pub next: u64,
    /// Whether there is more.
    pub more: bool,
    /// How many were passed over because their bodies are not here any more, or not now.
    pub missing: u64,
}

/// Finds for one scan key.
pub struct Finder {
    file: ScanKeyFile,
    scanner: Scanner,
    ledger: Arc<RwLock<DiskLedger>>,
    list: Mutex<FoundList>,
    /// Held while something is scanned.
    working: Mutex<()>,
    looking_back: Mutex<Pace>,
    stopping: AtomicBool,
}

impl Finder {
    /// Takes up the list that belongs to a file, below `dir`, or begins one. One that is damaged is set aside.
    ///
    /// # Errors
    /// [`FinderError`] when it cannot be read or made.
    pub fn open(
        network: &Network,
        dir: &Path,
        file: ScanKeyFile,
        ledger: Arc<RwLock<DiskLedger>>,
    ) -> Result<Self, FinderError> {
        let mut rng = rng().map_err(|_| FinderError::Randomness)?;
        let list = FoundList::open(&dir.join(hex::encode(file.list_name())), network, file.list_key(), &mut rng)?;
        let scanner = file.scanner(network);
        Ok(Self {
            file,
            scanner,
            ledger,
            list: Mutex::new(list),
            working: Mutex::new(()),
            looking_back: Mutex::new(Pace::at_once(LOOK_BACK_EVERY)),
            stopping: AtomicBool::new(false),
        })
    }

    /// Whether a token is that of the file.
    pub fn admits(&self, token: &[u8]) -> bool {
        self.file.admits(token)
    }

    fn list(&self) -> MutexGuard<'_, FoundList> {
        // The list commits as a whole, so a panic of another holder leaves nothing half done.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds in whatever becomes durable, until it is dropped or told to finish.
    pub async fn run(self: Arc<Self>, mut durable: watch::Receiver<u64>) {
        let mut said = None;
        loop {
            let end = Position::new(*durable.borrow_and_update());
            let finder = Arc::clone(&self);
            let step = tokio::task::spawn_blocking(move || finder.step(end)).await;
            let failed = step.ok().and_then(Result::err).map(|error| error.to_string());
            if let Some(error) = failed.as_ref().filter(|error| said.as_ref() != Some(*error)) {
                tracing::error!("cannot find for a scan key: {error}");
            }
            let patience = if failed.is_some() { RETRY_AFTER } else { LET_GO_EVERY };
            // Whether the log grows or not: what has ended goes, and what failed is tried again.
            let ended = tokio::time::timeout(patience, durable.changed()).await.is_ok_and(|grown| grown.is_err());
            if ended || self.stopping.load(Ordering::Relaxed) {
                return;
            }
            said = failed;
        }
    }

    /// Ends the scan that goes on, and waits for it. The list's files are free once the last handle is dropped.
    pub async fn finish(self: &Arc<Self>) {
        self.stopping.store(true, Ordering::Relaxed);
        let finder = Arc::clone(self);
        let waited = tokio::task::spawn_blocking(move || {
            drop(finder.working.lock());
        });
        drop(waited.await);
    }

    fn step(&self, end: Position) -> Result<(), FinderError> {
        let _working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        self.scan_to(end, now())?;
        self.list().let_go(now())
    }

    /// Scans from the cursor up to `end` (excluded) and keeps what is found.
    fn scan_to(&self, end: Position, now: Time) -> Result<(), FinderError> {
        let log = read(&self.ledger, |ledger| ledger.store().log_id());
        self.look_back(log)?;
        self.try_again(log, now)?;
        while !self.stopping.load(Ordering::Relaxed) {
            let Place { next: from, waiting, given_up } = self.list().place(log);
            let most = end.get().saturating_sub(from.get()).min(SCAN_PAGE as u64);
            let most = usize::try_from(most).unwrap_or(SCAN_PAGE);
            let entries = if most == 0 { Vec::new() } else { read(&self.ledger, |ledger| ledger.scan(from, most))? };
            if entries.is_empty() {
                return Ok(());
            }
            let next = Position::new(from.get().saturating_add(entries.len() as u64));
            let mut step = Step { log, next, found: Vec::new(), waiting, given_up };
            for index in self.scanner.matches_on(&entries, cores()) {
                let position = Position::new(from.get().saturating_add(index as u64));
                self.look_at(position, &mut step, now)?;
                if step.is_full() {
                    let rest = Step { found: Vec::new(), waiting: step.waiting.clone(), ..step };
                    self.keep(Step { next: Position::new(position.get().saturating_add(1)), ..step })?;
                    step = rest;
                }
            }
            self.keep(step)?;
        }
        Ok(())
    }

    /// Sets the cursor back to the first that was given up, once an hour: its body may have come since.
    fn look_back(&self, log: [u8; 16]) -> Result<(), FinderError> {
        let Place { given_up, mut waiting, .. } = self.list().place(log);
        let Some(from) = given_up.filter(|_| self.is_time_to_look_back()) else {
            return Ok(());
        };
        waiting.retain(|position| *position < from);
        self.keep(Step { log, next: from, found: Vec::new(), waiting, given_up: None })
    }

    fn is_time_to_look_back(&self) -> bool {
        self.looking_back.lock().unwrap_or_else(PoisonError::into_inner).is_due(Instant::now())
    }

    /// Looks again at what was found without its body.
    fn try_again(&self, log: [u8; 16], now: Time) -> Result<(), FinderError> {
        let Place { next, waiting, given_up } = self.list().place(log);
        let mut step = Step { log, next, found: Vec::new(), waiting: Vec::new(), given_up };
        for position in &waiting {
            // The rest waits for the next time.
            if step.is_full() {
                step.waiting.push(*position);
            } else {
                self.look_at(*position, &mut step, now)?;
            }
        }
        if step.waiting == waiting { Ok(()) } else { self.keep(step) }
    }

    fn look_at(&self, position: Position, step: &mut Step, now: Time) -> Result<(), FinderError> {
        match read(&self.ledger, |ledger| envelope_at(ledger, position, now))? {
            Envelope::Whole(transaction) => {
                step.found.push(Found { row: row(&transaction, now), bytes: transaction.to_bytes() });
            }
            Envelope::Unread if step.waiting.len() < UNREAD_MAX => step.waiting.push(position),
            Envelope::Unread => step.given_up = Some(step.given_up.map_or(position, |first| first.min(position))),
            Envelope::Gone => {}
        }
        Ok(())
    }

    fn keep(&self, step: Step) -> Result<(), FinderError> {
        let mut rng = rng().map_err(|_| FinderError::Randomness)?;
        self.list().keep(step, &mut rng)
    }

    /// The page of what was found behind `after`, which an earlier page gave as `next`; 0 for the first.
    ///
    /// # Errors
    /// What reading gives.
    pub fn page(&self, after: u64) -> Result<Page, FinderError> {
        let (rows, behind) = self.list().behind(after, LOOKED_AT_MAX)?;
        let mut page = Page { next: after, more: behind, ..Page::default() };
        let mut bytes = 0usize;
        for (next, row) in rows {
            if page.transactions.len() >= PAGE_MAX || bytes >= PAGE_BYTES {
                page.more = true;
                break;
            }
            let transaction = match read(&self.ledger, |ledger| whole(ledger, &row))? {
                Some(transaction) => Some(transaction.to_bytes()),
                None => self.list().copy(next),
            };
            match transaction {
                Some(transaction) => {
                    bytes = bytes.saturating_add(transaction.len());
                    page.transactions.push(transaction);
                }
                None => page.missing = page.missing.saturating_add(1),
            }
            page.next = next;
        }
        Ok(page)
    }
}

/// What is kept of a transaction that was found.
fn row(transaction: &Transaction, now: Time) -> FoundRow {
    let core = transaction.core();
    let ends = core.time().min(now.plus(AHEAD_MAX_SECS)).plus(u64::from(core.lifetime_secs()));
    FoundRow { id: transaction.id(), until: ends.plus(KEPT_FOR_SECS).secs() }
}

/// The transaction with its body, if both are here and whole.
fn whole(ledger: &DiskLedger, row: &FoundRow) -> Result<Option<Transaction>, StoreError> {
    let Some(position) = ledger.position(&row.id)? else {
        return Ok(None);
    };
    Ok(match envelope_at(ledger, position, now())? {
        Envelope::Whole(transaction) => Some(*transaction),
        Envelope::Unread | Envelope::Gone => None,
    })
}

/// Removes the lists below `dir` of scan keys that are not among `keys`, and those that were set aside: nobody lets go of what is in
/// them when it ends, and all but copies is found again.
///
/// # Errors
/// The system's; some may be gone by then.
pub fn remove_other_lists(dir: &Path, keys: &[ScanKeyFile]) -> Result<(), StoreError> {
    let found_for: Vec<String> = keys.iter().map(|key| hex::encode(key.list_name())).collect();
    let is_list = |name: &String| name.get(..32).is_some_and(|start| hex::decode(start).is_ok());
    for name in files::names(dir)?.into_iter().filter(|name| is_list(name) && !found_for.contains(name)) {
        files::remove_dir(&dir.join(name))?;
    }
    Ok(())
}

/// Reads a scan key file.
///
/// # Errors
/// [`Failure`] that says what is wrong with it.
pub fn read_file(path: &Path, network: &Network) -> Outcome<ScanKeyFile> {
    let failed = || io_failure("cannot read the scan key file", path);
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES.saturating_add(1)));
    files::read_stream(path, FILE_BYTES.saturating_add(1), &mut bytes).map_err(failed())?;
    let named = |error: ScanKeyError| Failure::failed(format!("{}: {error}", path.display()));
    ScanKeyFile::from_bytes(network, &bytes).map_err(named)
}

/// Says so when others on this computer can read a file.
fn warn_of_readers(path: &Path) {
    if files::is_open_to_others(path) {
        tracing::warn!("others on this computer can read the scan key file {}: chmod 600 it", path.display());
    }
}

/// Reads the files that a node is to find for.
///
/// # Errors
/// [`Failure`] for too many, for one that is given twice, and for what reading gives.
pub fn read_files(paths: &[std::path::PathBuf], network: &Network) -> Outcome<Vec<ScanKeyFile>> {
    if paths.len() > FILES_MAX {
        return Err(Failure::usage(format!(
            "a node finds for at most {FILES_MAX} scan keys; each makes every scan slower"
        )));
    }
    let mut files: Vec<ScanKeyFile> = Vec::new();
    for path in paths {
        let file = read_file(path, network)?;
        warn_of_readers(path);
        if files.iter().any(|other| other.list_name() == file.list_name()) {
            return Err(Failure::usage(format!("{} is given twice; name each scan key file once", path.display())));
        }
        files.push(file);
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
