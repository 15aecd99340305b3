//! A commit whose records became durable and whose bodies did not: bodies and records are made durable at the same time, so
//! a power cut can keep either. It was never acknowledged, and is as if it had not been; what was acknowledged is not.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use qasedak_chain::{
    Ledger, Network, Position, audit,
    store::disk::{DiskStore, Notice},
};

#[path = "support/disk.rs"]
mod disk;
#[path = "support/pool.rs"]
mod pool;

use disk::{append, commit, copy_dir, flip, open};
use pool::{after_pool, pool};

/// A ledger with one commit of four, and the same with one more.
struct Two {
    home: tempfile::TempDir,
}

impl Two {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (one, two) = (home.path().join("one"), home.path().join("two"));
        commit(&mut open(&one), 0..4);
        copy_dir(&one, &two);
        commit(&mut open(&two), 4..8);
        Self { home }
    }

    /// Records of both commits; `bodies` and all that is derived of so many of them.
    fn mix(&self, bodies: &str, columns: &str) -> PathBuf {
        let mixed = self.home.path().join("mixed");
        fs::remove_dir_all(&mixed).unwrap_or_default();
        copy_dir(&self.home.path().join(columns), &mixed);
        for entry in fs::read_dir(self.home.path().join("two/headers")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "seg") {
                fs::copy(&path, mixed.join("headers").join(path.file_name().unwrap())).unwrap();
            }
        }
        fs::remove_dir_all(mixed.join("bodies")).unwrap();
        copy_dir(&self.home.path().join(bodies).join("bodies"), &mixed.join("bodies"));
        mixed
    }

    /// Where the bodies of the second commit stand: their files, and the bytes of each from where on they are new.
    fn new_bodies(&self) -> Vec<(String, usize, usize)> {
        let files = fs::read_dir(self.home.path().join("two/bodies")).unwrap().map(|entry| entry.unwrap());
        let named = files.map(|file| file.file_name().into_string().unwrap()).filter(|name| name != "dropped");
        let len = |of: &str, name: &str| {
            fs::metadata(self.home.path().join(of).join("bodies").join(name)).map_or(0, |meta| meta.len() as usize)
        };
        named
            .map(|name| (name.clone(), len("one", &name).max(128), len("two", &name)))
            .filter(|(_, a, b)| a < b)
            .collect()
    }
}

fn audited(dir: &Path) -> audit::Report {
    audit::verify(dir, &Network::dev(), after_pool(), &mut |_| {}).unwrap()
}

fn has_body(ledger: &Ledger<DiskStore>, at: u64) -> bool {
    ledger.transaction(Position::new(at)).is_ok_and(|found| found.unwrap().body().is_some())
}

/// It is cut, which is said, and comes again.
fn is_cut(dir: &Path) {
    let report = audited(dir);
    assert_eq!((report.count, report.findings.len()), (4, 0), "{:?}", report.findings);
    assert!(report.unfinished_tail_bytes > 0);
    let mut ledger = open(dir);
    assert_eq!(ledger.summary().count, 4);
    let notices = ledger.store().notices();
    assert!(matches!(notices[..], [Notice::TornCommit { .. }]), "{notices:?}");
    pool()[4..8].iter().for_each(|transaction| append(&mut ledger, transaction));
    ledger.flush_now(after_pool()).unwrap();
    drop(ledger);
    let ledger = open(dir);
    assert!((0..8).all(|at| has_body(&ledger, at)));
    assert_eq!(ledger.store().notices(), []);
    drop(ledger);
    assert_eq!((audited(dir).count, audited(dir).findings.len()), (8, 0));
}

#[test]
fn a_commit_without_its_bodies_is_cut() {
    let two = Two::new();
    is_cut(&two.mix("one", "one"));
}

#[test]
fn a_commit_with_a_body_that_ends_too_soon_is_cut() {
    let two = Two::new();
    let files = two.new_bodies();
    for (name, from, len) in &files {
        for cut in [*from, from + 1, from + 40, (from + len) / 2, len - 1] {
            let dir = two.mix("two", "one");
            let file = fs::OpenOptions::new().write(true).open(dir.join("bodies").join(name)).unwrap();
            file.set_len(cut as u64).unwrap();
            is_cut(&dir);
        }
    }
    assert!(!files.is_empty());
}

#[test]
fn a_commit_with_a_sector_that_was_never_written_is_cut() {
    let two = Two::new();
    let mut tried = 0;
    for (name, from, len) in two.new_bodies() {
        for sector in (from.next_multiple_of(512)..len.saturating_sub(511)).step_by(512) {
            let dir = two.mix("two", "one");
            let path = dir.join("bodies").join(&name);
            let mut bytes = fs::read(&path).unwrap();
            bytes[sector..sector + 512].fill(0);
            fs::write(&path, bytes).unwrap();
            is_cut(&dir);
            tried += 1;
        }
    }
    assert!(tried > 0);
}

/// A dying process can leave all of a commit and no columns: it counts.
#[test]
fn a_whole_commit_counts() {
    let two = Two::new();
    let dir = two.mix("two", "one");
    assert_eq!((audited(&dir).count, audited(&dir).findings.len()), (8, 0));
    let ledger = open(&dir);
    assert!((0..8).all(|at| has_body(&ledger, at)));
    assert_eq!(ledger.store().notices(), []);
}

/// What was acknowledged stays, whatever becomes of a body: columns tell of it, or another commit behind it.
#[test]
fn an_acknowledged_commit_is_never_cut() {
    let two = Two::new();
    let dir = two.mix("one", "two");
    assert_ne!(audited(&dir).findings.len(), 0);
    let ledger = open(&dir);
    assert_eq!(ledger.summary().count, 8);
    assert!((0..4).all(|at| has_body(&ledger, at)) && (4..8).all(|at| !has_body(&ledger, at)));
    drop(ledger);
    // The first commit has one behind it: without any body, only the second goes.
    let dir = two.mix("two", "one");
    fs::remove_dir_all(dir.join("bodies")).unwrap();
    let ledger = open(&dir);
    assert_eq!(ledger.summary().count, 4);
    assert!((0..4).all(|at| !has_body(&ledger, at)));
}

/// A changed byte is damage of that body, and takes no commit with it.
#[test]
fn a_changed_body_is_no_unfinished_one() {
    let two = Two::new();
    for (name, from, len) in two.new_bodies() {
        for at in [from, from + 4, from + 20, from + 37, (from + len) / 2, len - 1] {
            let dir = two.mix("two", "one");
            flip(&dir.join("bodies").join(&name), at, 4);
            let report = audited(&dir);
            assert_eq!((report.count, report.findings.len()), (8, 1), "byte {at}: {:?}", report.findings);
            let ledger = open(&dir);
            assert_eq!((ledger.summary().count, ledger.store().notices()), (8, Vec::new()), "byte {at}");
        }
    }
}
