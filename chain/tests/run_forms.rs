//! Runs as their files are: of earlier formats, with entries that were changed, with ids that somebody chose
//! (`docs/storage.md`, "Runs").

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use qasedak_chain::{
    Position, Time, TxId,
    hash::{Context, hash_prefix},
    store::{
        OrderKey, Record, Store,
        disk::{DiskOptions, DiskStore, Notice},
    },
};

#[path = "support/disk.rs"]
mod disk;
#[path = "support/pool.rs"]
mod pool;
#[path = "support/store.rs"]
mod store;

use disk::{LOG_ID, SMALL, dev, flip, small_store};
use store::{flush, record, stage};

/// Every record is found by its id, and stands in its place in the canonical order; no other id is.
fn are_found(store: &DiskStore, records: &[Record]) {
    for (at, record) in (0..).map(Position::new).zip(records) {
        assert_eq!(store.find(&record.id).unwrap().unwrap().position, at);
    }
    assert!((4..24).all(|unknown| store.find(&TxId::from_bytes([unknown; 32])).unwrap().is_none()));
    let mut order: Vec<(OrderKey, Position)> = records.iter().map(OrderKey::of).zip((0..).map(Position::new)).collect();
    order.sort_unstable();
    let far = Time::from_secs(1 << 40);
    assert_eq!(store.in_order(Time::default(), far, None, usize::MAX).unwrap(), order);
}

/// Fills a store with so many records, a flush for each.
fn filled(dir: &Path, count: u64) -> Vec<Record> {
    let mut store = small_store(dir);
    let records: Vec<Record> = (0..count).map(|nth| record(nth, nth * 31)).collect();
    for record in &records {
        stage(&mut store, record.clone());
        flush(&mut store);
    }
    records
}

/// Puts another format into the head of a run.
fn make_earlier(path: &Path, format: u8) {
    let mut bytes = fs::read(path).unwrap();
    assert_eq!(bytes[8], 3);
    bytes[8] = format;
    let check: [u8; 8] = hash_prefix(Context::Record, &[&bytes[..120]]);
    bytes[120..128].copy_from_slice(&check);
    fs::write(path, bytes).unwrap();
}

fn run_files(dir: &Path) -> Vec<PathBuf> {
    let mut runs: Vec<PathBuf> = fs::read_dir(dir.join("runs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    runs.sort();
    runs
}

/// Runs of earlier formats give way to runs of now when the store is opened: it is said once, and nothing is set aside.
#[test]
fn runs_of_an_earlier_format_are_made_anew() {
    for format in [1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let records = filled(dir.path(), 40);
        let before = run_files(dir.path());
        assert!(before.len() > 2);
        before.iter().for_each(|run| make_earlier(run, format));
        let store = small_store(dir.path());
        are_found(&store, &records);
        assert_eq!(store.notices(), [Notice::Upgraded { path: dir.path().join("runs").display().to_string() }]);
        let formats: BTreeSet<u8> = run_files(dir.path()).iter().map(|run| fs::read(run).unwrap()[8]).collect();
        assert_eq!(formats, [3].into());
        drop(store);
        let store = small_store(dir.path());
        are_found(&store, &records);
        assert_eq!(store.notices(), []);
    }
}

/// Where a record begins is taken from its run, and from the offset column where the run is wrong. A wrong column is mended
/// by who needs it, and not by a look-up that does not.
#[test]
fn a_look_up_goes_by_the_offset_in_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let records = filled(dir.path(), 40);
    let column = dir.path().join("headers").join(format!("{:016x}.off", 0));
    let sound = fs::read(&column).unwrap();
    let store = small_store(dir.path());
    flip(&column, 128 + 1, 7);
    let wrong = fs::read(&column).unwrap();
    assert_eq!(store.find(&records[0].id).unwrap().unwrap().position, Position::new(0));
    assert_eq!(fs::read(&column).unwrap(), wrong, "nobody asked the column");
    assert!(store.record(Position::new(0)).unwrap().is_some(), "what a look-up read is not read again");
    assert!(store.record(Position::new(0)).unwrap().is_some());
    assert_eq!(fs::read(&column).unwrap(), sound);
}

/// Many ids that somebody chose to begin alike: more than are read at once. Each is found, and none that is not there.
#[test]
fn ids_that_begin_alike_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let options = DiskOptions { memtable_records: 200, segment_bytes: 1 << 26, ..SMALL };
    let open = || DiskStore::open_with(dir.path(), &dev(), LOG_ID, options, &mut |_, _| {}).unwrap();
    let id = |nth: u64| {
        let mut id = [5; 32];
        id[24..].copy_from_slice(&nth.to_be_bytes());
        TxId::from_bytes(id)
    };
    let mut store = open();
    for nth in 0..200 {
        stage(&mut store, Record { id: id(nth), ..record(nth, nth) });
    }
    flush(&mut store);
    drop(store);
    let store = open();
    assert_eq!(fs::read_dir(dir.path().join("runs")).unwrap().count(), 1);
    for nth in 0..200 {
        assert_eq!(store.find(&id(nth)).unwrap().unwrap().position, Position::new(nth));
    }
    assert!((200..300).all(|nth| store.find(&id(nth)).unwrap().is_none()));
}

/// An entry of an id that was changed leads to another record or to none: the id is found all the same, since what leads to
/// no record is checked before it is believed.
#[test]
fn a_changed_entry_hides_no_id() {
    let dir = tempfile::tempdir().unwrap();
    let records = filled(dir.path(), 12);
    let run = fs::read_dir(dir.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    let sound = fs::read(&run).unwrap();
    let entries = 128 + 88..128 + 88 + 17 * 12;
    for at in entries {
        flip(&run, at, 2);
        let store = small_store(dir.path());
        for (at, record) in (0..).map(Position::new).zip(&records) {
            assert_eq!(store.find(&record.id).unwrap().unwrap().position, at);
        }
        assert!(store.find(&TxId::from_bytes([9; 32])).unwrap().is_none());
        drop(store);
        fs::write(&run, &sound).unwrap();
    }
}
