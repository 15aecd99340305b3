//! Runs as their files are: of an earlier format, with entries that were changed, with ids that somebody chose
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
        disk::{DiskOptions, DiskStore},
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

/// The check over the content of a run's block.
fn block_check(log_id: &[u8], range: [u64; 2], nth: u64, data: &[u8]) -> [u8; 8] {
    let [first, end] = range.map(u64::to_le_bytes);
    hash_prefix(Context::Record, &[log_id, &first, &end, &nth.to_le_bytes(), data])
}

/// Gives a run the form of format 1: another version in its head, and a Bloom filter of a byte for each id.
fn make_earlier(path: &Path) {
    let bytes = fs::read(path).unwrap();
    let (head, blocks) = bytes.split_at(128);
    let mut head = head.to_vec();
    assert_eq!(head[8], 2);
    head[8] = 1;
    let check: [u8; 8] = hash_prefix(Context::Record, &[&head[..120]]);
    head[120..].copy_from_slice(&check);
    let mut content: Vec<u8> = blocks.chunks(992).flat_map(|block| &block[..block.len() - 8]).copied().collect();
    let number = |at: usize| u64::from_le_bytes(content[at..at + 8].try_into().unwrap());
    let range = [number(0), number(8)];
    let count = (range[1] - range[0]) as usize;
    let mut filter = vec![0u8; count];
    for id in content[88..88 + 13 * count].chunks(13) {
        let id = u64::from_be_bytes(id[..8].try_into().unwrap());
        for hash in [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9_u64] {
            let hash = id.wrapping_mul(hash);
            let bit = (u128::from(hash ^ (hash >> 32)) * (count as u128 * 8)) >> 64;
            filter[(bit / 8) as usize] |= 1 << (bit % 8);
        }
    }
    content.truncate(content.len() - count.div_ceil(32) * 64);
    content.extend(filter);
    let log_id = head[44..60].to_vec();
    for (nth, data) in (0..).zip(content.chunks(984)) {
        head.extend_from_slice(data);
        head.extend(block_check(&log_id, range, nth, data));
    }
    fs::write(path, head).unwrap();
}

/// Runs of format 1 are read, and upkeep makes them anew of themselves; nothing is set aside for it, and nothing said.
#[test]
fn runs_of_an_earlier_format_are_read_and_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = small_store(dir.path());
    let records: Vec<Record> = (0..40).map(|nth| record(nth, nth * 31)).collect();
    for record in &records {
        stage(&mut store, record.clone());
        flush(&mut store);
    }
    drop(store);
    let runs = || -> Vec<PathBuf> {
        let mut runs: Vec<PathBuf> =
            fs::read_dir(dir.path().join("runs")).unwrap().map(|entry| entry.unwrap().path()).collect();
        runs.sort();
        runs
    };
    let formats = || -> BTreeSet<u8> { runs().iter().map(|run| fs::read(run).unwrap()[8]).collect() };
    let (before, sound) = (runs(), fs::read(&runs()[0]).unwrap());
    runs().iter().for_each(|run| make_earlier(run));
    assert!(before.len() > 2);
    let mut store = small_store(dir.path());
    are_found(&store, &records);
    assert_eq!((runs(), formats()), (before.clone(), [1].into()));
    flush(&mut store);
    are_found(&store, &records);
    assert_eq!((runs(), formats()), (before.clone(), [2].into()));
    assert_eq!(fs::read(&before[0]).unwrap(), sound);
    assert_eq!(store.notices(), []);
    drop(store);
    are_found(&small_store(dir.path()), &records);
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
    let mut store = small_store(dir.path());
    let records: Vec<Record> = (0..12).map(|nth| record(nth, nth * 31)).collect();
    for record in &records {
        stage(&mut store, record.clone());
        flush(&mut store);
    }
    drop(store);
    let run = fs::read_dir(dir.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    let sound = fs::read(&run).unwrap();
    let entries = 128 + 88..128 + 88 + 13 * 12;
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
