//! The mark, up to which the last segment is not checked again on opening: it spares what it may spare and nothing else, and
//! one that is wrong spares nothing.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use qasedak_chain::{
    Ledger, Network, Position, Time, audit,
    store::{
        Store, StoreError,
        disk::{DiskOptions, DiskStore, Notice},
    },
};

#[path = "support/disk.rs"]
mod disk;
#[path = "support/pool.rs"]
mod pool;

use disk::{DiskLedger, commit, copy_dir, dev, flip};
use pool::{after_pool, pool};

/// One segment for all, and a mark with every few records.
const OPTIONS: DiskOptions = DiskOptions { segment_bytes: 1 << 26, memtable_records: 4, overlay_entries: 8 };
const COUNT: usize = 24;

fn try_open_as(dir: &Path, log_id: [u8; 16], options: DiskOptions) -> Result<DiskLedger, StoreError> {
    Ledger::open(dev(), DiskStore::open_with(dir, &dev(), log_id, options, &mut |_, _| {})?)
}

fn try_open(dir: &Path) -> Result<DiskLedger, StoreError> {
    try_open_as(dir, disk::LOG_ID, OPTIONS)
}

fn grow(dir: &Path, range: Range<usize>) {
    let mut ledger = try_open(dir).unwrap();
    range.step_by(4).for_each(|from| commit(&mut ledger, from..from + 4));
}

/// A ledger that was closed, with a mark at its end.
fn closed(dir: &Path) {
    grow(dir, 0..COUNT);
    assert!(dir.join("mark").exists());
}

/// A ledger that was closed, its copy to which so many transactions more were added, and where the segment of the first ends.
fn marked_and_longer(home: &Path, more: usize) -> (PathBuf, PathBuf, usize) {
    let (marked, longer) = (home.join("marked"), home.join("longer"));
    closed(&marked);
    copy_dir(&marked, &longer);
    grow(&longer, COUNT..COUNT + more);
    let end = fs::metadata(segment(&marked)).unwrap().len();
    (marked, longer, end as usize)
}

fn segment(dir: &Path) -> PathBuf {
    dir.join("headers/0000000000000000.seg")
}

/// A byte of the log's second record.
const EARLY: usize = 600;

/// Whether opening looks at the beginning of the segment.
fn checks_all(dir: &Path) -> bool {
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir, copy.path());
    flip(&segment(copy.path()), EARLY, 4);
    match try_open(copy.path()) {
        Ok(_) => false,
        Err(StoreError::Damaged { path, .. }) => path.ends_with(".seg"),
        Err(_) => false,
    }
}

fn is_whole(dir: &Path, count: usize) {
    let ledger = try_open(dir).unwrap();
    assert_eq!(ledger.summary().count, count as u64);
    for (at, transaction) in (0..).zip(&pool()[..count]) {
        let found = ledger.transaction(Position::new(at)).unwrap().unwrap();
        assert_eq!((found.id(), found.body().is_some()), (transaction.id(), transaction.body().is_some()));
        assert_eq!(ledger.position(&transaction.id()).unwrap(), Some(Position::new(at)));
    }
    assert_eq!(ledger.scan(Position::new(0), usize::MAX).unwrap().len(), count);
    assert_eq!(ledger.store().notices(), []);
    drop(ledger);
    let report = audit::verify(dir, &Network::dev(), after_pool(), &mut |_| {}).unwrap();
    assert_eq!((report.count, report.findings.len()), (count as u64, 0), "{:?}", report.findings);
}

/// What is damaged before the mark does not stop a start; it is found by whoever reads it, and by the audit.
#[test]
fn damage_before_the_mark_is_found_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path());
    assert!(!checks_all(dir.path()));
    flip(&segment(dir.path()), EARLY, 4);
    let ledger = try_open(dir.path()).unwrap();
    assert_eq!(ledger.summary().count, COUNT as u64);
    let read: Vec<bool> = (0..COUNT as u64).map(|at| ledger.record(Position::new(at)).is_ok()).collect();
    assert_eq!(read.iter().filter(|read| !**read).count(), 1, "{read:?}");
    assert!(ledger.check_index(&mut |_| {}).is_err());
    drop(ledger);
    let report = audit::verify(dir.path(), &Network::dev(), after_pool(), &mut |_| {}).unwrap();
    assert!(!report.is_clean());
    // The next start checks all, so that the log is mended.
    assert!(!dir.path().join("mark").exists());
    assert!(matches!(try_open(dir.path()), Err(StoreError::Damaged { .. })));
}

/// A way of looking something up, and whether it met damage.
type Way = fn(&DiskLedger) -> bool;

/// Whoever comes upon it by a look-up takes the mark away as well.
#[test]
fn damage_before_the_mark_is_found_when_it_is_looked_up() {
    let home = tempfile::tempdir().unwrap();
    let sound = home.path().join("sound");
    closed(&sound);
    let ways: [(&str, Way); 2] = [
        ("by id", |ledger| pool()[..COUNT].iter().any(|of| ledger.position(&of.id()).is_err())),
        ("in order", |ledger| {
            let far = Time::from_secs(1 << 40);
            ledger.store().in_order(Time::default(), far, None, usize::MAX).is_err()
        }),
    ];
    for (way, meets) in ways {
        let dir = home.path().join(way);
        copy_dir(&sound, &dir);
        flip(&segment(&dir), EARLY, 4);
        let ledger = try_open(&dir).unwrap();
        assert!(meets(&ledger), "{way}");
        drop(ledger);
        assert!(!dir.join("mark").exists(), "{way}");
        assert!(matches!(try_open(&dir), Err(StoreError::Damaged { .. })), "{way}");
    }
}

#[test]
fn without_a_mark_all_of_the_segment_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path());
    fs::remove_file(dir.path().join("mark")).unwrap();
    assert!(checks_all(dir.path()));
    // The next end sets it again.
    is_whole(dir.path(), COUNT);
    assert!(!checks_all(dir.path()));
}

/// Wherever a byte of it has changed, and wherever it is cut.
#[test]
fn a_mark_that_is_unsound_is_as_none() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path());
    let path = dir.path().join("mark");
    let sound = fs::read(&path).unwrap();
    for at in 0..sound.len() {
        // The format of a later version is refused, which is another test's.
        flip(&path, at, 1);
        assert!(checks_all(dir.path()), "byte {at}");
        fs::write(&path, &sound[..at]).unwrap();
        assert!(checks_all(dir.path()), "cut to {at}");
        fs::write(&path, &sound).unwrap();
    }
    assert!(!checks_all(dir.path()));
}

/// A mark beyond the end, of a log that has come further: as when an older copy of the segment was put back.
#[test]
fn a_mark_too_far_spares_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (short, long) = (home.path().join("short"), home.path().join("long"));
    closed(&short);
    copy_dir(&short, &long);
    grow(&long, COUNT..COUNT + 4);
    fs::copy(long.join("mark"), short.join("mark")).unwrap();
    assert!(checks_all(&short));
    is_whole(&short, COUNT);
    // Columns that tell of less than the mark are behind it: they must be compared.
    fs::copy(short.join("scan.col"), long.join("scan.col")).unwrap();
    assert!(checks_all(&long));
    is_whole(&long, COUNT + 4);
}

/// A mark of another log in which all stands at the same places, and of another segment of this one.
#[test]
fn a_mark_of_another_file_spares_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (ours, other, parts) = (home.path().join("ours"), home.path().join("other"), home.path().join("parts"));
    closed(&ours);
    let mut ledger = try_open_as(&other, [8; 16], OPTIONS).unwrap();
    (0..COUNT).step_by(4).for_each(|from| commit(&mut ledger, from..from + 4));
    drop(ledger);
    fs::copy(other.join("mark"), ours.join("mark")).unwrap();
    assert!(checks_all(&ours));
    let small = DiskOptions { segment_bytes: 1_500, ..OPTIONS };
    let mut ledger = try_open_as(&parts, disk::LOG_ID, small).unwrap();
    (0..COUNT).step_by(4).for_each(|from| commit(&mut ledger, from..from + 4));
    drop(ledger);
    fs::copy(parts.join("mark"), ours.join("mark")).unwrap();
    assert!(checks_all(&ours));
    is_whole(&ours, COUNT);
}

/// What a broken-off write left behind the mark is cut, and what was committed behind it counts.
#[test]
fn a_torn_tail_behind_the_mark_is_cut() {
    let home = tempfile::tempdir().unwrap();
    let (marked, longer, end) = marked_and_longer(home.path(), 4);
    let bytes = fs::read(segment(&longer)).unwrap();
    for cut in [end + 1, end + 13, (end + bytes.len()) / 2, bytes.len() - 1] {
        let torn = home.path().join(format!("torn-{cut}"));
        copy_dir(&marked, &torn);
        fs::write(segment(&torn), &bytes[..cut]).unwrap();
        assert!(!checks_all(&torn));
        let ledger = try_open(&torn).unwrap();
        assert!(matches!(ledger.store().notices()[..], [Notice::Unfinished { .. }]));
        drop(ledger);
        assert_eq!(fs::read(segment(&torn)).unwrap(), bytes[..end]);
        is_whole(&torn, COUNT);
    }
    // The mark of before, and one commit behind it.
    fs::copy(marked.join("mark"), longer.join("mark")).unwrap();
    assert!(!checks_all(&longer));
    is_whole(&longer, COUNT + 4);
}

/// A commit behind the mark whose bodies are not there, of which no column tells, is cut back to the mark.
#[test]
fn a_commit_without_its_bodies_behind_the_mark_is_cut() {
    let home = tempfile::tempdir().unwrap();
    let (marked, longer, end) = marked_and_longer(home.path(), 4);
    fs::copy(segment(&longer), segment(&marked)).unwrap();
    assert!(!checks_all(&marked));
    let ledger = try_open(&marked).unwrap();
    assert_eq!(ledger.summary().count, COUNT as u64);
    assert!(matches!(ledger.store().notices()[..], [Notice::TornCommit { .. }]));
    drop(ledger);
    assert_eq!(fs::metadata(segment(&marked)).unwrap().len(), end as u64);
    is_whole(&marked, COUNT);
}

/// Damage behind the mark, before another commit, stops the start as ever.
#[test]
fn damage_behind_the_mark_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let (marked, longer, end) = marked_and_longer(home.path(), 12);
    fs::copy(marked.join("mark"), longer.join("mark")).unwrap();
    flip(&segment(&longer), end + 40, 1);
    assert!(matches!(try_open(&longer), Err(StoreError::Damaged { .. })));
}

/// A store that was not closed has the mark that was set beside the flushes.
#[test]
fn a_killed_process_leaves_a_mark() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = try_open(dir.path()).unwrap();
    (0..COUNT).step_by(4).for_each(|from| commit(&mut ledger, from..from + 4));
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), copy.path());
    drop(ledger);
    assert!(!checks_all(copy.path()));
    is_whole(copy.path(), COUNT);
}
