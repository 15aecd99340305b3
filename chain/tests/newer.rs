//! Files of a later format are refused with a sentence that names them, and are left as they are.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use qasedak_chain::{
    Position, Time,
    hash::{Context, hash_prefix},
    store::{
        Outbox, StoreError,
        disk::{DiskCheckpoints, DiskOutbox},
    },
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

/// Every file below a directory but those of sled and the lock.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("index") {
            found.extend(files(&path));
        } else if path.is_file() && !path.ends_with("lock") {
            found.push(path);
        }
    }
    found
}

/// All files of a ledger, also those that could be made anew: what a newer version put in them is not known here.
#[test]
fn a_newer_ledger_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let mut ledger = open_small(home.path());
    (0..6).for_each(|batch| commit(&mut ledger, batch * 10..batch * 10 + 10));
    let early = Time::from_secs(dev().start().secs() + 5 * 86_400);
    assert!(!ledger.prune(early).unwrap().is_nothing());
    drop(ledger);
    let mut tried = Vec::new();
    for path in files(home.path()) {
        let sound = fs::read(&path).unwrap();
        let newer = make_newer(&path);
        let name = path.display().to_string();
        let is_body = path.parent().unwrap().ends_with("bodies") && !path.ends_with("dropped");
        let refused = match try_open(home.path()) {
            Err(error) => vec![error],
            // A part of bodies is looked at when one of them is asked for.
            Ok(ledger) if is_body => (0..60).filter_map(|at| ledger.transaction(Position::new(at)).err()).collect(),
            Ok(_) => panic!("opened with {name}"),
        };
        assert!(!refused.is_empty(), "{name}");
        for error in refused {
            assert!(matches!(&error, StoreError::Foreign { path, what } if *path == name && what.contains("newer")));
        }
        assert_eq!(fs::read(&path).unwrap(), newer, "{name}");
        fs::write(&path, sound).unwrap();
        tried.push(name);
    }
    for kind in [".seg", ".off", "dropped", "bodies", "scan.col", "tree.col", ".run"] {
        assert!(tried.iter().any(|name| name.contains(kind)), "{kind}: {tried:?}");
    }
    assert_eq!(try_open(home.path()).unwrap().store().notices(), []);
}

/// A newer file may be one of another kind altogether under an old name.
#[test]
fn a_newer_file_is_left_alone_whatever_its_kind() {
    let home = tempfile::tempdir().unwrap();
    commit(&mut open_small(home.path()), 0..10);
    let path = home.path().join("scan.col");
    let mut bytes = fs::read(&path).unwrap();
    bytes[..8].copy_from_slice(b"qasedakz");
    fs::write(&path, &bytes).unwrap();
    let newer = make_newer(&path);
    let refused = try_open(home.path()).unwrap_err();
    assert!(matches!(&refused, StoreError::Foreign { what, .. } if what.contains("newer")), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), newer);
}

/// Opens sled, whose lock is held a little longer than by its last user.
fn open_sled(path: &Path) -> sled::Db {
    let start = Instant::now();
    loop {
        match sled::Config::new().path(path).segment_size(64 * 1024).flush_every_ms(None).open() {
            Ok(db) => return db,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(20), "{error}"),
        }
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_newer_index_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    commit(&mut open_small(home.path()), 0..20);
    let index = home.path().join("index");
    let with_format = |format: Option<u32>| {
        let db = open_sled(&index);
        match format {
            Some(format) => db.insert([0, 0], &format.to_le_bytes()).unwrap(),
            None => db.remove([0, 0]).unwrap(),
        };
        db.flush().unwrap();
    };
    with_format(Some(4));
    let refused = try_open(home.path()).unwrap_err();
    let StoreError::Foreign { path, what } = refused else { panic!("{refused}") };
    assert!(Path::new(&path) == index && what.contains("newer"), "{path}: {what}");
    assert!(!home.path().join("index.damaged-1").exists());
    // Those without a format are of the first.
    for format in [None, Some(1), Some(2), Some(3)] {
        with_format(format);
        let ledger = try_open(home.path()).unwrap();
        assert_eq!((ledger.summary().count, ledger.store().notices()), (20, Vec::new()));
    }
}

#[test]
fn newer_checkpoints_are_left_alone() {
    let home = tempfile::tempdir().unwrap();
    drop(DiskCheckpoints::open(home.path(), &dev()).unwrap());
    let path = home.path().join("checkpoints.seg");
    let newer = make_newer(&path);
    let refused = DiskCheckpoints::open(home.path(), &dev()).unwrap_err();
    assert!(matches!(&refused, StoreError::Foreign { what, .. } if what.contains("newer")), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), newer);
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
