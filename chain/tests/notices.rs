//! What a store mends on opening, or when it reads, it also says: no damage passes in silence, and nothing is called
//! damage that a killed process leaves.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use qasedak_chain::{
    Ledger, Position, Time, audit,
    hash::{Context, hash_prefix},
    ledger::IndexCheck,
    store::{
        Store,
        disk::{DiskStore, Notice},
    },
};

#[path = "support/disk.rs"]
mod disk;
#[path = "support/pool.rs"]
mod pool;

use disk::{DiskLedger, LOG_ID, SMALL, commit, copy_dir, dev, flip, open, open_small};

/// A ledger of many small parts in `dir`, closed.
fn make(dir: &Path) {
    let mut ledger = open_small(dir);
    (0..8).for_each(|batch| commit(&mut ledger, batch * 5..batch * 5 + 5));
    ledger.blocks(0, usize::MAX).unwrap();
    commit(&mut ledger, 40..42);
}

/// Opens it, looks through all of it, and says what it had to say.
fn notices(dir: &Path) -> Vec<Notice> {
    let ledger = open_small(dir);
    let count = ledger.summary().count;
    assert_eq!(ledger.check_index(&mut |_| {}).unwrap(), IndexCheck::Agrees);
    for position in 0..count {
        let found = ledger.transaction(Position::new(position)).unwrap().unwrap();
        assert_eq!(found, pool::pool()[position as usize]);
    }
    assert_eq!(ledger.scan(Position::new(0), usize::MAX).unwrap().len() as u64, count);
    ledger.store().notices()
}

fn paths(dir: &Path, folder: &str, ending: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(dir.join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = all.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    paths.sort();
    paths
}

#[test]
fn a_sound_ledger_has_nothing_to_say() {
    let home = tempfile::tempdir().unwrap();
    make(home.path());
    assert_eq!(notices(home.path()), []);
    let mut ledger = open_small(home.path());
    let early = Time::from_secs(dev().start().secs() + 5 * 86_400);
    assert!(!ledger.prune(early).unwrap().is_nothing());
    drop(ledger);
    let ledger = open_small(home.path());
    assert_eq!(ledger.store().notices(), []);
}

/// A process that is killed leaves files as they are at that moment; what they lack is no damage.
#[test]
fn what_a_killed_process_leaves_is_no_damage() {
    let home = tempfile::tempdir().unwrap();
    let mut ledger = open_small(&home.path().join("live"));
    for batch in 0..12 {
        commit(&mut ledger, batch * 3..batch * 3 + 3);
        let killed = home.path().join(format!("{batch}"));
        copy_dir(&home.path().join("live"), &killed);
        assert_eq!(notices(&killed), [], "killed after batch {batch}");
    }
}

#[test]
fn bytes_behind_the_last_commit_are_told_of_and_are_no_damage() {
    let home = tempfile::tempdir().unwrap();
    make(home.path());
    let last = paths(home.path(), "headers", ".seg").pop().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    let offset = bytes.len() as u64;
    bytes.extend([0xa5; 77]);
    fs::write(&last, bytes).unwrap();
    let path = last.display().to_string();
    assert_eq!(notices(home.path()), [Notice::Unfinished { path, offset, bytes: 77 }]);
    assert!(!Notice::Unfinished { path: String::new(), offset, bytes: 77 }.is_damage());
    assert_eq!(notices(home.path()), []);
}

#[test]
fn an_index_that_was_set_aside_is_told_of() {
    let home = tempfile::tempdir().unwrap();
    make(home.path());
    let db = home.path().join("index/db");
    fs::write(&db, vec![0x5a; fs::metadata(&db).unwrap().len() as usize]).unwrap();
    let said = notices(home.path());
    let [Notice::SetAside { path, kept_as, why }] = &said[..] else { unreachable!("{said:?}") };
    assert_eq!(Path::new(path), home.path().join("index"));
    assert!(Path::new(kept_as).is_dir() && !why.is_empty(), "{said:?}");
    assert!(said[0].is_damage() && said[0].to_string().contains(kept_as));
    assert_eq!(notices(home.path()), []);
}

/// An index of the same log at another time: the ledger sees it, and the store says it.
#[test]
fn an_index_that_contradicts_the_log_is_told_of() {
    let home = tempfile::tempdir().unwrap();
    let (one, other) = (home.path().join("one"), home.path().join("other"));
    make(&one);
    let mut ledger = open_small(&other);
    commit(&mut ledger, 0..3);
    ledger.append(pool::verified(&dev(), &pool::pool()[4]), disk::arrival(&pool::pool()[4]), false).ok();
    drop(ledger);
    fs::remove_dir_all(one.join("index")).unwrap();
    // More records than the log has.
    let long = home.path().join("long");
    let mut ledger = open_small(&long);
    (0..10).for_each(|batch| commit(&mut ledger, batch * 5..batch * 5 + 5));
    drop(ledger);
    copy_dir(&long.join("index"), &one.join("index"));
    let said = notices(&one);
    assert!(matches!(&said[..], [Notice::SetAside { why, .. }] if why.contains("contradicts")), "{said:?}");
}

/// Every file that follows from the log, damaged in its header, or in what it holds.
#[test]
fn every_file_that_was_damaged_is_named() {
    let home = tempfile::tempdir().unwrap();
    let intact = home.path().join("intact");
    make(&intact);
    let mut tried = 0;
    let off = paths(&intact, "headers", ".off");
    let runs = paths(&intact, "runs", ".run");
    assert!(off.len() > 2 && !runs.is_empty());
    let files = [&off[..], &runs[..], &[intact.join("scan.col"), intact.join("tree.col")]].concat();
    for file in files {
        let name = file.strip_prefix(&intact).unwrap();
        let len = fs::metadata(&file).unwrap().len() as usize;
        // In the file header; in the first entry, and near the last one.
        for at in [70, 135, len.saturating_sub(12)] {
            if at >= len {
                continue;
            }
            let dir = home.path().join(format!("{tried}"));
            copy_dir(&intact, &dir);
            flip(&dir.join(name), at, 4);
            let said = notices(&dir);
            let path = dir.join(name).display().to_string();
            assert!(
                said.iter().any(|notice| notice.is_damage() && notice.path() == path),
                "{} changed at {at}: {said:?}",
                name.display()
            );
            tried += 1;
        }
    }
    assert!(tried > 12, "{tried}");
}

#[test]
fn a_file_that_was_moved_away_is_told_of_and_is_no_damage() {
    let home = tempfile::tempdir().unwrap();
    let intact = home.path().join("intact");
    make(&intact);
    let first_off = paths(&intact, "headers", ".off").remove(0);
    let first_run = paths(&intact, "runs", ".run").remove(0);
    for (nth, file) in [intact.join("scan.col"), intact.join("tree.col"), first_off, first_run].iter().enumerate() {
        let dir = home.path().join(format!("{nth}"));
        copy_dir(&intact, &dir);
        let gone = dir.join(file.strip_prefix(&intact).unwrap());
        fs::remove_file(&gone).unwrap();
        let said = notices(&dir);
        if said.is_empty() {
            // All runs were one: then all is indexed in memory, as after a start.
            assert_eq!(paths(&intact, "runs", ".run").len(), 1);
            continue;
        }
        assert!(said.iter().all(|notice| matches!(notice, Notice::Missing { .. }) && !notice.is_damage()), "{said:?}");
        assert_eq!(notices(&dir), []);
    }
    let dir = home.path().join("index gone");
    copy_dir(&intact, &dir);
    fs::remove_dir_all(dir.join("index")).unwrap();
    assert_eq!(notices(&dir), [Notice::Missing { path: dir.join("index").display().to_string() }]);
}

/// The scan column had no checks once, and another name in its head: such a one is made anew, and that is no damage.
#[test]
fn a_scan_column_of_the_earlier_form_is_made_anew() {
    let home = tempfile::tempdir().unwrap();
    make(home.path());
    let scan = |dir: &Path| open_small(dir).scan(Position::new(0), usize::MAX).unwrap();
    let (before, path) = (scan(home.path()), home.path().join("scan.col"));
    let now = fs::read(&path).unwrap();
    let mut earlier = now.clone();
    earlier[..8].copy_from_slice(b"qasedaks");
    let check: [u8; 8] = hash_prefix(Context::Record, &[&earlier[..120]]);
    earlier[120..128].copy_from_slice(&check);
    // Nothing of what stands in it is taken over.
    earlier[128..].fill(0x77);
    fs::write(&path, earlier).unwrap();
    let said = notices(home.path());
    assert_eq!(said, [Notice::Upgraded { path: path.display().to_string() }]);
    assert!(!said[0].is_damage());
    assert_eq!(fs::read(&path).unwrap(), now);
    assert_eq!((scan(home.path()), notices(home.path())), (before, vec![]));
    // One flipped bit makes its name of that of now, and that is damage.
    flip(&path, 7, b'c' ^ b's');
    let report = audit::verify(home.path(), &dev(), pool::after_pool(), &mut |_| {}).unwrap();
    assert!(matches!(&report.findings[..], [found] if found.file == "scan.col"), "{:?}", report.findings);
    let said = notices(home.path());
    assert!(matches!(&said[..], [Notice::MadeAnew { .. }]) && said[0].is_damage(), "{said:?}");
}

/// The last commit lost a sector, and its marker is here: it is cut (decision 0021), and never in silence.
#[test]
fn a_commit_that_is_cut_with_its_marker_is_told_of() {
    let home = tempfile::tempdir().unwrap();
    let (before, dir) = (home.path().join("before"), home.path().join("ledger"));
    let mut ledger = open(&dir);
    commit(&mut ledger, 0..5);
    drop(ledger);
    copy_dir(&dir, &before);
    let mut ledger = open(&dir);
    commit(&mut ledger, 5..15);
    drop(ledger);
    // The columns and the index were not written any more.
    let segment = paths(&dir, "headers", ".seg").remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    let torn = before.join(segment.strip_prefix(&dir).unwrap());
    let committed = fs::read(&torn).unwrap().len();
    let sector = committed.next_multiple_of(512);
    assert!(sector + 1_024 < bytes.len());
    bytes[sector..sector + 512].fill(0);
    fs::write(&torn, &bytes).unwrap();
    let ledger: DiskLedger = open(&before);
    assert_eq!(ledger.summary().count, 5);
    let said = ledger.store().notices();
    let cut = Notice::TornCommit {
        path: torn.display().to_string(),
        offset: committed as u64,
        bytes: (bytes.len() - committed) as u64,
    };
    assert_eq!(said, [cut]);
    assert!(said[0].is_damage());
    drop(ledger);
    assert_eq!(open(&before).store().notices(), []);
}

/// Making an index anew because somebody asked for it is no news.
#[test]
fn rebuilding_by_hand_is_no_damage() {
    let home = tempfile::tempdir().unwrap();
    make(home.path());
    let store = DiskStore::open_with(home.path(), &dev(), LOG_ID, SMALL, &mut |_, _| {}).unwrap();
    assert!(store.len() > 0);
    let ledger = Ledger::rebuild_index(dev(), store).unwrap();
    assert_eq!(ledger.store().notices(), []);
}

/// Making a column anew takes long in a large ledger, so whoever waits is told how far it is.
#[test]
fn making_a_column_anew_tells_how_far_it_is() {
    let home = tempfile::tempdir().unwrap();
    make(home.path());
    let opened = |told: &mut Vec<(u64, u64)>| {
        DiskStore::open_with(home.path(), &dev(), LOG_ID, SMALL, &mut |done, of| told.push((done, of))).unwrap()
    };
    let mut told = Vec::new();
    drop(opened(&mut told));
    let nothing_to_do = told.len();
    // The tree's roots stand over 16 records and more.
    for (file, end) in [("scan.col", 42), ("tree.col", 32)] {
        fs::remove_file(home.path().join(file)).unwrap();
        let mut told = Vec::new();
        drop(opened(&mut told));
        assert!(told.len() > nothing_to_do && told.contains(&(end, 42)), "{file}: {told:?}");
    }
    let mut store = opened(&mut Vec::new());
    let mut told = Vec::new();
    store.reset_index(&mut |done, of| told.push((done, of))).unwrap();
    assert_eq!((told.first(), told.last()), (Some(&(32, 42)), Some(&(42, 42))), "the tree, then the runs: {told:?}");
}
