//! Plans of failure, one for each directory: which call fails, how, and what of the unsynced bytes survives.
//!
//! A plan belongs to a directory and not to a thread, since flushes run on other threads and tests beside each other.
//! While there is a plan, everything that is written below its directory is remembered until the file is fsynced, so
//! that a failed fsync can lose it as Linux does (pages that could not be written are marked clean), and so that a
//! power cut can be played.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::Op;

/// Bytes that a disk writes as a whole.
const SECTOR_BYTES: usize = 512;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any call, with EIO.
    Io,
    /// Calls that need space, with ENOSPC.
    NoSpace,
    /// Writes: half of the bytes reach the file, then ENOSPC.
    ShortWrite,
    /// fsyncs, with EIO; what was not synced is gone from the file.
    LostSync,
    /// Calls that read: open, look, read; with EIO.
    Unreadable,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Io, Self::NoSpace, Self::ShortWrite, Self::LostSync, Self::Unreadable];

    fn strikes(self, op: Op) -> bool {
        match self {
            Self::Io => true,
            Self::NoSpace => matches!(op, Op::Create | Op::Write | Op::Sync | Op::Rename),
            Self::ShortWrite => op == Op::Write,
            Self::LostSync => op == Op::Sync,
            Self::Unreadable => matches!(op, Op::Open | Op::Look | Op::Read),
        }
    }

    fn error(self) -> io::Error {
        match self {
            Self::NoSpace | Self::ShortWrite => io::ErrorKind::StorageFull.into(),
            Self::Io | Self::LostSync | Self::Unreadable => io::Error::from_raw_os_error(5),
        }
    }
}

/// What stood in a file before a write that is not synced.
struct Undo {
    offset: u64,
    old: Vec<u8>,
    old_len: u64,
}

#[derive(Default)]
struct Plan {
    kind: Option<Kind>,
    /// Calls that the kind strikes, since it was set.
    calls: u64,
    fail_at: u64,
    until_healed: bool,
    hits: u64,
    unsynced: BTreeMap<PathBuf, Vec<Undo>>,
    /// How often each file was fsynced.
    syncs: BTreeMap<PathBuf, u64>,
}

impl Plan {
    /// Counts a call; the kind of its failure, if it is to fail.
    fn strike(&mut self, op: Op) -> Option<Kind> {
        let kind = self.kind.filter(|kind| kind.strikes(op))?;
        self.calls = self.calls.saturating_add(1);
        let hit = self.calls == self.fail_at || (self.until_healed && self.calls > self.fail_at);
        self.hits = self.hits.saturating_add(u64::from(hit));
        hit.then_some(kind)
    }
}

type Shared = Arc<Mutex<Plan>>;

static PLANS: RwLock<Vec<(PathBuf, Shared)>> = RwLock::new(Vec::new());
/// How many plans there are: none is the usual case, and costs one load.
static COUNT: AtomicUsize = AtomicUsize::new(0);

fn locked(plan: &Shared) -> MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The plan of the directory that a path lies in.
fn of(path: &Path) -> Option<Shared> {
    if COUNT.load(Ordering::Relaxed) == 0 {
        return None;
    }
    let plans = PLANS.read().unwrap_or_else(PoisonError::into_inner);
    plans.iter().find(|(dir, _)| path.starts_with(dir)).map(|(_, plan)| Arc::clone(plan))
}

/// Whether there is a plan for a path.
pub(super) fn is_below(path: &Path) -> bool {
    of(path).is_some()
}

/// Makes calls below a directory fail, for as long as it is kept.
pub struct Faults {
    dir: PathBuf,
    plan: Shared,
}

impl Faults {
    /// A plan for `dir` and all below it; nothing fails yet.
    pub fn below(dir: &Path) -> Self {
        let plan = Shared::default();
        PLANS.write().unwrap_or_else(PoisonError::into_inner).push((dir.to_owned(), Arc::clone(&plan)));
        COUNT.fetch_add(1, Ordering::Relaxed);
        Self { dir: dir.to_owned(), plan }
    }

    /// Lets the `nth` call from now (counted from 1, of those that the kind strikes) fail, and no other.
    pub fn fail_once(&self, nth: u64, kind: Kind) {
        self.set(nth, kind, false);
    }

    /// Lets the `nth` call from now and all behind it fail, until [`heal`](Self::heal).
    pub fn fail_from(&self, nth: u64, kind: Kind) {
        self.set(nth, kind, true);
    }

    fn set(&self, nth: u64, kind: Kind, until_healed: bool) {
        let mut plan = locked(&self.plan);
        (plan.kind, plan.calls, plan.hits) = (Some(kind), 0, 0);
        (plan.fail_at, plan.until_healed) = (nth, until_healed);
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        locked(&self.plan).kind = None;
    }

    /// How many calls have failed since the last one of `fail_…`.
    pub fn hits(&self) -> u64 {
        locked(&self.plan).hits
    }

    /// How often each file or directory was fsynced since the plan was made, those apart for which it failed.
    pub fn syncs(&self) -> BTreeMap<PathBuf, u64> {
        locked(&self.plan).syncs.clone()
    }

    /// A power cut, once everything below the directory is closed: of what was written and not fsynced, only those
    /// sectors of 512 bytes reach the disk for which `keep` says so, in any order. A file's new length does likewise.
    ///
    /// # Errors
    /// The system's.
    pub fn cut_power(&self, keep: &mut dyn FnMut() -> bool) -> io::Result<()> {
        let unsynced = std::mem::take(&mut locked(&self.plan).unsynced);
        for (path, undos) in unsynced {
            // A file that was renamed or removed since had been synced, or is of no account.
            if let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) {
                take_back(&file, &undos, keep)?;
            }
        }
        Ok(())
    }
}

/// Does something at every place at which the disk may fail, in each [`Kind`], once and from there on, each time in a fresh
/// directory, and has what came of it looked at once the disk is well again. `prepare` makes what must be there, `act` does what
/// may fail; `look` is told what that gave, and whether the disk went on failing. Gives how many places were tried.
///
/// # Panics
/// When `act` fails though no call did.
pub fn at_any_call<D: AsRef<Path>, T, E: Debug>(
    fresh: impl Fn() -> D,
    prepare: impl Fn(&Path),
    act: impl Fn(&Path) -> Result<T, E>,
    look: impl Fn(&Path, Result<T, E>, bool),
) -> usize {
    let fails_at = |nth: u64, kind: Kind, lasting: bool| {
        let home = fresh();
        let home = home.as_ref();
        prepare(home);
        let faults = Faults::below(home);
        faults.set(nth, kind, lasting);
        let done = act(home);
        let hits = faults.hits();
        faults.heal();
        assert!(hits > 0 || done.is_ok(), "{kind:?} at call {nth}: {:?}", done.err());
        look(home, done, lasting);
        hits > 0
    };
    let ways = Kind::ALL.into_iter().flat_map(|kind| [(kind, false), (kind, true)]);
    ways.map(|(kind, lasting)| (1..).take_while(|nth| fails_at(*nth, kind, lasting)).count()).sum()
}

impl Drop for Faults {
    fn drop(&mut self) {
        PLANS.write().unwrap_or_else(PoisonError::into_inner).retain(|(dir, _)| *dir != self.dir);
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Undoes writes, the last first, sector by sector where `keep` does not keep them.
fn take_back(file: &File, undos: &[Undo], keep: &mut dyn FnMut() -> bool) -> io::Result<()> {
    let Some(first) = undos.first() else {
        return Ok(());
    };
    let end = file.metadata()?.len();
    let mut restored = all_of(file, end)?;
    for undo in undos.iter().rev() {
        let mut at = usize::try_from(undo.offset).unwrap_or(usize::MAX);
        let mut rest = undo.old.as_slice();
        while !rest.is_empty() {
            let to_boundary = SECTOR_BYTES.saturating_sub(at.checked_rem(SECTOR_BYTES).unwrap_or_default());
            let (sector, behind) = rest.split_at_checked(to_boundary).unwrap_or((rest, &[]));
            if !keep() {
                restored.iter_mut().skip(at).zip(sector).for_each(|(to, from)| *to = *from);
            }
            (at, rest) = (at.saturating_add(sector.len()), behind);
        }
    }
    let len = if keep() { end } else { first.old_len };
    restored.truncate(usize::try_from(len).unwrap_or(usize::MAX));
    super::super::pwrite_all(file, &restored, 0)?;
    file.set_len(len)
}

fn all_of(file: &File, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    let mut filled = 0usize;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match super::super::pread(file, rest, filled as u64)? {
            0 => break,
            read => filled = filled.saturating_add(read),
        }
    }
    Ok(bytes)
}

/// Remembers what stands from `offset` on; behind the file's end there are zeros, as there are in a new extent.
fn remember(plan: &mut Plan, file: &File, path: &Path, offset: u64, len: usize) -> io::Result<()> {
    let old_len = file.metadata()?.len();
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let mut old: Vec<u8> = all_of(file, old_len)?.into_iter().skip(start).take(len).collect();
    old.resize(len, 0);
    plan.unsynced.entry(path.to_owned()).or_default().push(Undo { offset, old, old_len });
    Ok(())
}

pub(super) fn check(op: Op, path: &Path) -> io::Result<()> {
    let Some(plan) = of(path) else {
        return Ok(());
    };
    let mut plan = locked(&plan);
    let Some(kind) = plan.strike(op) else {
        return Ok(());
    };
    if kind == Kind::LostSync
        && let Some(undos) = plan.unsynced.remove(path)
    {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        take_back(&file, &undos, &mut || false)?;
    }
    Err(kind.error())
}

pub(super) fn write(file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
    let Some(plan) = of(path) else {
        return Ok(());
    };
    let mut plan = locked(&plan);
    let struck = plan.strike(Op::Write);
    let written = match struck {
        None => bytes,
        Some(Kind::ShortWrite) => bytes.get(..bytes.len().div_ceil(2)).unwrap_or_default(),
        Some(_) => &[],
    };
    remember(&mut plan, file, path, offset, written.len())?;
    match struck {
        None => Ok(()),
        Some(kind) => {
            super::super::pwrite_all(file, written, offset)?;
            Err(kind.error())
        }
    }
}

pub(super) fn truncate(file: &File, path: &Path, len: u64) -> io::Result<()> {
    let Some(plan) = of(path) else {
        return Ok(());
    };
    let mut plan = locked(&plan);
    if let Some(kind) = plan.strike(Op::Truncate) {
        return Err(kind.error());
    }
    let cut = file.metadata()?.len().saturating_sub(len);
    remember(&mut plan, file, path, len, usize::try_from(cut).unwrap_or(usize::MAX))
}

pub(super) fn synced(path: &Path) {
    if let Some(plan) = of(path) {
        let mut plan = locked(&plan);
        plan.unsynced.remove(path);
        let count = plan.syncs.entry(path.to_owned()).or_default();
        *count = count.saturating_add(1);
    }
}
