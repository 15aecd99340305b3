//! Ledgers on disk for tests: a directory with transactions of the pool, committed in batches.

// Each test binary compiles this file for itself and uses a part of it.
#![allow(dead_code)]

use std::{fs, path::Path};

use qasedak_chain::{
    Ledger, Network, Time, Transaction,
    store::{
        StoreError,
        disk::{DiskOptions, DiskStore},
    },
};

use crate::pool::{after_pool, pool, verified};

pub type DiskLedger = Ledger<DiskStore>;

/// Log id of every log that these tests start.
pub const LOG_ID: [u8; 16] = [9; 16];

pub fn dev() -> Network {
    Network::dev()
}

/// Opens a ledger of `dev` with header segments of 64 MiB.
pub fn try_open(dir: &Path) -> Result<DiskLedger, StoreError> {
    Ledger::open(dev(), DiskStore::open(dir, &dev(), LOG_ID)?)
}

pub fn open(dir: &Path) -> DiskLedger {
    try_open(dir).unwrap()
}

/// Sizes with which a few records make a segment, a run, and a write to sled.
pub const SMALL: DiskOptions = DiskOptions { segment_bytes: 1_500, memtable_records: 3, overlay_entries: 8 };

pub fn small_store(dir: &Path) -> DiskStore {
    DiskStore::open_with(dir, &dev(), LOG_ID, SMALL, &mut |_, _| {}).unwrap()
}

/// Opens a ledger whose parts hold a few records each.
pub fn open_small(dir: &Path) -> DiskLedger {
    Ledger::open(dev(), small_store(dir)).unwrap()
}

/// When a transaction of the pool arrives: soon after it was made.
pub fn arrival(transaction: &Transaction) -> Time {
    transaction.core().time().plus(5)
}

pub fn append(ledger: &mut DiskLedger, transaction: &Transaction) {
    ledger.append(verified(&dev(), transaction), arrival(transaction), false).unwrap();
}

/// Appends transactions `range` of the pool and commits them.
pub fn commit(ledger: &mut DiskLedger, range: std::ops::Range<usize>) {
    pool()[range].iter().for_each(|transaction| append(ledger, transaction));
    ledger.flush_now(after_pool()).unwrap();
}

/// Copies the files of a directory with all below it.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// Changes one byte of a file by `mask`.
pub fn flip(path: &Path, offset: usize, mask: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset] ^= mask;
    fs::write(path, bytes).unwrap();
}
