//! Point 5: one changed byte on disk is found and named by `audit verify`.
//!
//! The exhaustive test over every byte stands with the audit itself (`chain/tests/audit.rs`); here the real binary
//! is asked about a sample of every file.

use std::fs;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;

use crate::harness::{PATIENCE, copy, damage_bodies, files, node_with_relay, run, seed, wait_for};

const SAMPLES_PER_FILE: usize = 12;

#[test]
fn a_flipped_byte_is_found_and_named() {
    let home = tempfile::tempdir().unwrap();
    let (mut a, _relay) = node_with_relay(home.path());
    let own = a.address.clone();
    let ids: Vec<String> = (0..4).map(|n| a.send(&own, &format!("to myself {n}"))).collect();
    wait_for("ledger", std::time::Duration::from_secs(30), || (a.view().2 == 5).then_some(()));
    a.stop();
    assert!(run(&a.data, &["audit", "verify"]).status.success());

    let mut rng = StdRng::seed_from_u64(seed());
    let ledger = a.data.join("dev").join("ledger");
    for part in ["headers", "bodies"] {
        for file in files(&ledger.join(part)).iter().filter(|file| file.extension().is_some_and(|kind| kind == "seg")) {
            let bytes = fs::read(file).unwrap();
            for _ in 0..SAMPLES_PER_FILE {
                let at = rng.random_range(0..bytes.len());
                let data = home.path().join("copy");
                copy(&a.data, &data);
                let target = data.join(file.strip_prefix(&a.data).unwrap());
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << rng.random_range(0..8);
                fs::write(&target, damaged).unwrap();
                check(
                    &data,
                    &format!("{} byte {at}", target.display()),
                    &target.file_name().unwrap().to_string_lossy(),
                    &ids,
                );
                fs::remove_dir_all(&data).unwrap();
            }
        }
    }
}

/// The audit must fail, and name position and id, or file and offset.
fn check(data: &std::path::Path, what: &str, file: &str, ids: &[String]) {
    let output = run(data, &["--json", "audit", "verify"]);
    assert_eq!(output.status.code(), Some(1), "{what} was not found");
    let verdict: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = verdict["findings"].to_string();
    let names_place = findings.contains(file) && findings.contains("byte");
    let names_transaction = findings.contains("position");
    assert!(names_place || names_transaction, "{what}: {findings} (ids {ids:?})");
}

/// A card that cannot be read any more is no reason to be unreachable: the owner publishes another. Nobody has a whole one,
/// which would come back and be as good.
#[test]
fn a_damaged_card_is_published_anew() {
    let home = tempfile::tempdir().unwrap();
    let (mut a, mut relay) = node_with_relay(home.path());
    wait_for("own card", PATIENCE, || [&a, &relay].iter().all(|node| node.view().2 == 1).then_some(()));
    for node in [&mut a, &mut relay] {
        node.stop();
        damage_bodies(node);
    }
    relay.start(&[]);
    a.start(&[&relay]);
    wait_for("second card", PATIENCE, || (a.view().2 == 2).then_some(()));
}

/// What opening mends is said, by the command and by the node: not "all is well", as if nothing had been.
#[test]
fn what_is_mended_on_opening_is_said() {
    let home = tempfile::tempdir().unwrap();
    let (mut a, relay) = node_with_relay(home.path());
    wait_for("own card", PATIENCE, || (a.view().2 == 1).then_some(()));
    a.stop();
    let ledger = a.data.join("dev").join("ledger");
    let check = || {
        let output = run(&a.data, &["--json", "ledger", "check"]);
        let verdict: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (output.status.code(), verdict)
    };
    let garble = || {
        let db = ledger.join("index").join("db");
        fs::write(&db, vec![0x5a; fs::read(&db).unwrap().len()]).unwrap();
    };
    let (code, verdict) = check();
    assert_eq!((code, &verdict["damaged"], &verdict["notices"]), (Some(0), &false.into(), &Value::Array(Vec::new())));
    garble();
    let (code, verdict) = check();
    assert_eq!((code, &verdict["damaged"], &verdict["agrees"]), (Some(1), &true.into(), &true.into()), "{verdict}");
    assert!(ledger.join("index.damaged-1").is_dir() && verdict["notices"].to_string().contains("index.damaged-1"));
    let (code, verdict) = check();
    assert_eq!((code, &verdict["damaged"]), (Some(0), &false.into()), "it was mended: {verdict}");
    garble();
    a.start(&[&relay]);
    let log = fs::read_to_string(a.log()).unwrap();
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains("index.damaged-2")), "{log}");
}
