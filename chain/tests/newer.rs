//! Files of a later format are refused with a sentence that names them, and are left as they are.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::{fs, path::Path};

use qasedak_chain::{
    Position, Time,
    hash::{Context, hash_prefix},
    store::{Outbox, StoreError, disk::DiskOutbox},
};

#[path = "support/disk.rs"]
mod disk;
#[path = "support/pool.rs"]
mod pool;

use disk::{commit, dev, open_small, try_open};

/// Gives a file's head the next format, its check made to fit.
fn make_newer(path: &Path) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    bytes[8] += 1;
    let check: [u8; 8] = hash_prefix(Context::Record, &[&bytes[..120]]);
    bytes[120..128].copy_from_slice(&check);
    fs::write(path, &bytes).unwrap();
    bytes
}

/// The log, the bodies and how far they were dropped cannot be made anew, so nothing is done to them. What follows from
/// the log is made anew, which a newer version does likewise.
#[test]
fn a_newer_ledger_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let mut ledger = open_small(home.path());
    (0..6).for_each(|batch| commit(&mut ledger, batch * 10..batch * 10 + 10));
    let early = Time::from_secs(dev().start().secs() + 5 * 86_400);
    assert!(!ledger.prune(early).unwrap().is_nothing());
    drop(ledger);
    let mut tried = Vec::new();
    for folder in ["headers", "bodies"] {
        for entry in fs::read_dir(home.path().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "off") {
                continue;
            }
            let sound = fs::read(&path).unwrap();
            let newer = make_newer(&path);
            let refused = match try_open(home.path()) {
                Err(error) => vec![error],
                Ok(ledger) => (0..60).filter_map(|at| ledger.transaction(Position::new(at)).err()).collect(),
            };
            let name = path.display().to_string();
            assert!(!refused.is_empty(), "{name}");
            for error in refused {
                assert!(
                    matches!(&error, StoreError::Foreign { path, what } if *path == name && what.contains("newer"))
                );
            }
            assert_eq!(fs::read(&path).unwrap(), newer, "{name}");
            fs::write(&path, sound).unwrap();
            tried.push(name);
        }
    }
    for kind in ["headers", "dropped", "bodies"] {
        assert!(tried.iter().any(|name| name.contains(kind)), "{kind}: {tried:?}");
    }
    try_open(home.path()).unwrap();
}

#[test]
fn a_newer_outbox_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("outbox");
    DiskOutbox::open(&dir, &dev()).unwrap().put(&pool::pool()[0]).unwrap();
    let journal = dir.join("journal.seg");
    let newer = make_newer(&journal);
    let refused = DiskOutbox::open(&dir, &dev()).unwrap_err();
    let StoreError::Foreign { path, what } = refused else { panic!("{refused}") };
    assert!(Path::new(&path) == journal && what.contains("newer"), "{path}: {what}");
    assert_eq!(fs::read(&journal).unwrap(), newer);
}
