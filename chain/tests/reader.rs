//! The second reader, `tests/reader` in Python, which was written from the pages of `docs/` alone: it agrees with all
//! vectors, it says the same of a ledger on disk as the ledger itself, and it notices what was changed.
//!
//! Needs python3 with the packages of `tests/reader/requirements.txt`, in the interpreter that `QASEDAK_READER` names, in
//! `target/reader` (where `.ci/run` puts them), or in the system's. Without them the tests are skipped, but not under
//! `CI=true`.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use qasedak_chain::{Transaction, ledger::Attached, retention::Keep, rules::Verified};
use serde_json::Value;

#[path = "support/disk.rs"]
mod disk;
#[path = "support/pool.rs"]
mod pool;

use disk::{DiskLedger, append, commit, copy_dir, dev, flip, open_small};
use pool::{POOL_LEN, after_pool, make, pool};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests")
}

/// An interpreter that has all packages, if there is one.
fn python() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let named = std::env::var_os("QASEDAK_READER").map(PathBuf::from);
        let beside = tests().join("../target/reader/bin/python3");
        let known = named.into_iter().chain([beside, "python3".into()]);
        let imports = "import argon2, blake3, kyber_py, mnemonic, nacl";
        let able =
            |python: &PathBuf| Command::new(python).args(["-c", imports]).output().is_ok_and(|it| it.status.success());
        known.into_iter().find(able)
    });
    if found.is_none() {
        eprintln!("skipped: no python3 with the packages of tests/reader/requirements.txt; see docs/testing.md");
        assert!(std::env::var("CI").is_err(), "skipped in CI: .ci/run installs the packages into target/reader");
    }
    found.as_deref()
}

fn read(python: &Path, arguments: &[&str]) -> Output {
    let script = tests().join("reader/read.py");
    Command::new(python).arg("-B").arg(script).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn it_agrees_with_all_vectors() {
    let Some(python) = python() else { return };
    let signatures = std::env::var("QASEDAK_VECTORS").ok();
    let arguments = signatures.as_deref().map_or(Vec::new(), |directory| vec!["--signatures", directory]);
    let output = read(python, &arguments);
    eprint!("{}", text(&output.stderr));
    assert!(output.status.success());
}

/// One wrong digit in any file of vectors is noticed: the reader computes what it is told to compare.
#[test]
fn it_notices_a_wrong_vector() {
    let Some(python) = python() else { return };
    let changes = [
        ("transaction", "\"chain\": \"9", "\"chain\": \"8"),
        ("merkle", "\"root\": \"93", "\"root\": \"94"),
        ("checkpoint", "\"time\": 1793494800", "\"time\": 1793494801"),
        ("block", "\"digest\": \"", "\"digest\": \"0"),
        ("stamp", "\"luck\": \"", "\"luck\": \"1"),
        ("network", "\"tag\": \"", "\"tag\": \"0"),
        ("derivation", "\"identity_public\": \"", "\"identity_public\": \"0"),
        ("seal", "\"inner_id\": \"", "\"inner_id\": \"0"),
        ("export", "\"row\": \"02", "\"row\": \"03"),
    ];
    for (name, from, to) in changes {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(&tests().join("vectors"), dir.path());
        let path = dir.path().join(format!("{name}.json"));
        let good = fs::read_to_string(&path).unwrap();
        let changed = good.replacen(from, to, 1);
        assert_ne!(good, changed, "{name}");
        fs::write(&path, changed).unwrap();
        let output = read(python, &["--vectors", dir.path().to_str().unwrap(), "--only", name]);
        assert_eq!(output.status.code(), Some(1), "{name}: {}", text(&output.stderr));
    }
}

/// A ledger of many small files: segments, parts of bodies, runs; a bare header, a body that came late, dropped ones.
fn ledger(dir: &Path) -> DiskLedger {
    let mut ledger = open_small(dir);
    let now = after_pool();
    (0..8).for_each(|n| commit(&mut ledger, n * 9..n * 9 + 9));
    for (nth, late) in [(3_001, true), (3_002, false)] {
        let whole = make(&dev(), nth, &[dev().genesis()], now.secs() + 30 * 86_400);
        let bare = Transaction::new(&dev(), whole.header().clone(), None).unwrap();
        ledger.append(Verified::unchecked(bare), now, false).unwrap();
        ledger.flush_now(now).unwrap();
        if late {
            assert_eq!(ledger.attach_body(&whole, now).unwrap(), Attached::Taken);
            ledger.flush_now(now).unwrap();
        }
    }
    pool()[72..POOL_LEN].iter().for_each(|transaction| append(&mut ledger, transaction));
    ledger.flush_now(now).unwrap();
    ledger.keep_bodies(Keep::UntilTheirDay);
    ledger
}

/// What the reader says of a ledger.
fn said(python: &Path, dir: &Path) -> Value {
    let output = read(python, &["--ledger", dir.to_str().unwrap(), "dev"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn it_reads_a_ledger_from_its_files() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = ledger(dir.path());
    let last = ledger.last_block_before(u64::MAX).unwrap().unwrap();
    let blocks = ledger.blocks(0, 1_000).unwrap().len();
    let summary = ledger.summary();
    drop(ledger);
    let found = said(python, dir.path());
    assert_eq!(found["count"], summary.count);
    assert_eq!(found["link"], summary.link.to_string());
    assert_eq!(found["root"], summary.root.to_string());
    assert_eq!(found["digest"], summary.digest.to_string());
    assert_eq!((&found["blocks"], &found["chain"]), (&blocks.into(), &last.chain.to_string().into()));
    assert_eq!(found["bodies"], POOL_LEN + 1, "one header has come bare");
    assert!(found["runs"].as_u64().unwrap() > 0 && found["segments"].as_u64().unwrap() > 1, "{found}");
    // The bodies of the first days go; everything else stays as it is.
    let mut ledger = open_small(dir.path());
    ledger.keep_bodies(Keep::UntilTheirDay);
    while !ledger.prune(after_pool().plus(2 * 86_400)).unwrap().is_nothing() {}
    drop(ledger);
    let pruned = said(python, dir.path());
    assert!(pruned["bodies"].as_u64() < found["bodies"].as_u64(), "{pruned}");
    assert_eq!((&pruned["root"], &pruned["chain"]), (&found["root"], &found["chain"]));
}

/// What each released version left on disk, and said of it.
#[test]
fn it_reads_a_ledger_of_every_released_format() {
    let Some(python) = python() else { return };
    for format in ["format-1", "format-2", "format-3", "format-4", "format-5"] {
        let dir = tempfile::tempdir().unwrap();
        let archive = tests().join(format!("fixtures/{format}.tar.gz"));
        let unpack = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])";
        let done = Command::new(python).args(["-c", unpack]).arg(archive).arg(dir.path()).status().unwrap();
        assert!(done.success());
        let stated = fs::read(tests().join(format!("fixtures/{format}.json"))).unwrap();
        let stated: Value = serde_json::from_slice(&stated).unwrap();
        let found = said(python, &dir.path().join("ledger"));
        for (name, other) in
            [("count", "transactions"), ("bodies", "bodies"), ("link", "link"), ("root", "root"), ("digest", "digest")]
        {
            assert_eq!(found[name], stated[other], "{format}: {name}");
        }
    }
}

/// A changed byte anywhere in the ledger's own files is noticed: a sample of places in each kind of file.
#[test]
fn it_notices_damage() {
    let Some(python) = python() else { return };
    let good = tempfile::tempdir().unwrap();
    drop(ledger(good.path()));
    let first = |directory: &str, ending: &str| {
        let files = fs::read_dir(good.path().join(directory)).unwrap().map(|entry| entry.unwrap().path());
        let path = files.filter(|path| path.extension().is_some_and(|it| it == ending)).min().unwrap();
        path.strip_prefix(good.path()).unwrap().to_owned()
    };
    let files = [
        (first("headers", "seg"), vec![0, 9, 60, 127, 128, 200, 400]),
        (first("headers", "off"), vec![130]),
        (first("bodies", "seg"), vec![5, 140, 300]),
        (first("runs", "run"), vec![44, 128, 230]),
        (PathBuf::from("scan.col"), vec![128, 130, 200]),
        (PathBuf::from("tree.col"), vec![127, 129, 165]),
    ];
    for (file, places) in files {
        for at in places {
            let dir = tempfile::tempdir().unwrap();
            copy_dir(good.path(), dir.path());
            flip(&dir.path().join(&file), at, 1);
            let output = read(python, &["--ledger", dir.path().to_str().unwrap(), "dev"]);
            assert_eq!(output.status.code(), Some(1), "{} at {at}: {}", file.display(), text(&output.stderr));
        }
    }
}
