//! The export (`docs/protocol.md`, "Export"): everything can be computed anew from its lines alone and is what the audit
//! says; what is gone or damaged is told in its place, and the rest goes out all the same.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{fs, io, path::Path};

use qasedak_chain::{
    Link, TxId,
    audit::{self, AuditError, ExportError, Exported, Problem},
    digest::SetDigest,
    hash::{Context, hash},
    link, merkle,
    store::{Store, disk::DiskStore},
};
use serde_json::Value;

#[path = "support/disk.rs"]
mod disk;
#[path = "support/pool.rs"]
mod pool;

use disk::{LOG_ID, arrival, commit, dev, flip, open, open_small};
use pool::{after_pool, pool};

/// What an export puts out: its lines, what it says at the end, and the damage that it told.
fn export(dir: &Path) -> (Vec<Value>, Exported, Vec<audit::Finding>) {
    let (mut out, mut told) = (Vec::new(), Vec::new());
    let exported = audit::export(dir, &dev(), &mut out, &mut |found| told.push(found.clone())).unwrap();
    assert_eq!(out.last(), Some(&b'\n'));
    let lines = String::from_utf8(out).unwrap();
    (lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), exported, told)
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// The header of a line, put together from its fields as `docs/protocol.md` says.
fn header(line: &Value) -> Vec<u8> {
    let number = |name: &str| line[name].as_u64().unwrap();
    let parents = line["parents"].as_array().unwrap();
    let mut header = vec![number("version") as u8, parents.len() as u8];
    parents.iter().for_each(|parent| header.extend(bytes(parent)));
    header.extend(number("time").to_le_bytes());
    header.extend((number("lifetime") as u32).to_le_bytes());
    header.push(["sealed", "tagged"].iter().position(|kind| line["kind"] == *kind).unwrap() as u8);
    header.extend([bytes(&line["hint"]), bytes(&line["body_hash"])].concat());
    header.extend((number("body_len") as u32).to_le_bytes());
    ["author", "signature", "nonce", "solution"].iter().for_each(|name| header.extend(bytes(&line[*name])));
    header
}

/// Computes ids, link, root and digest from the lines alone and compares them with the head.
fn recompute(lines: &[Value]) -> (u64, String, String, String) {
    let ledger = dev().ledger();
    let (head, end) = (&lines[0], &lines[lines.len() - 1]);
    assert_eq!((head["type"].as_str(), end["type"].as_str()), (Some("head"), Some("end")));
    assert_eq!((head["network"].as_str(), head["ledger"].as_str()), (Some("dev"), Some(&*ledger.to_string())));
    assert_eq!(head["log_id"], hex::encode(LOG_ID));
    let (mut ids, mut link, mut digest) = (Vec::new(), link::first_link(ledger), SetDigest::new(ledger));
    for (position, line) in lines[1..lines.len() - 1].iter().enumerate() {
        assert_eq!((line["type"].as_str(), line["position"].as_u64()), (Some("transaction"), Some(position as u64)));
        let id = TxId::from_bytes(hash(Context::Id, &[ledger.as_bytes(), &header(line)]));
        assert_eq!(line["id"], id.to_string());
        if let Some(body) = line["body"].as_str() {
            assert!(line["absent"].is_null());
            let body = hex::decode(body).unwrap();
            assert_eq!(line["body_hash"], hex::encode(hash(Context::Body, &[ledger.as_bytes(), &body])));
            assert_eq!(line["body_len"], body.len() as u64);
        }
        link = Link::from_bytes(hash(Context::Link, &[link.as_bytes(), id.as_bytes()]));
        digest.add(&id);
        ids.push(id);
    }
    assert_eq!(head["count"], ids.len() as u64);
    assert_eq!(end["transactions"], ids.len() as u64);
    assert_eq!(head["link"], link.to_string());
    assert_eq!(head["root"], merkle::root(ledger, &ids).to_string());
    assert_eq!(head["digest"], digest.digest().to_string());
    (ids.len() as u64, head["link"].to_string(), head["root"].to_string(), head["digest"].to_string())
}

#[test]
fn all_can_be_computed_anew_from_the_lines_and_is_what_verify_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open_small(dir.path());
    (0..10).for_each(|batch| commit(&mut ledger, batch * 4..batch * 4 + 4));
    // With the node running, and something staged that is not committed.
    disk::append(&mut ledger, &pool()[40]);
    let (lines, exported, told) = export(dir.path());
    assert_eq!(told, []);
    assert_eq!(exported, Exported { transactions: 40, bodies: 40, damaged: 0 });
    let report = audit::verify(dir.path(), &dev(), after_pool(), &mut |_| {}).unwrap();
    let quoted = |text: String| format!("{text:?}");
    let expected =
        (40, quoted(report.link.to_string()), quoted(report.root.to_string()), quoted(report.digest.to_string()));
    assert_eq!(recompute(&lines), expected);
    for (line, transaction) in lines[1..].iter().zip(&pool()[..40]) {
        assert_eq!(bytes(&line["body"]), transaction.body().unwrap());
        assert_eq!(header(line), transaction.header().to_bytes());
        // By the own clock, which a commit may have moved on.
        assert!(line["arrival"].as_u64().unwrap() >= arrival(transaction).secs());
    }
    assert_eq!((&lines[1]["depth"], &lines[1]["arrival"]), (&1.into(), &arrival(&pool()[0]).secs().into()));
}

#[test]
fn dropped_bodies_are_told_from_damaged_ones() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path());
    commit(&mut ledger, 0..60);
    drop(ledger);
    let first_day = arrival(&pool()[0]).day() + 4;
    DiskStore::open(dir.path(), &dev(), LOG_ID).unwrap().drop_bodies_before(first_day + 1).unwrap();
    let (lines, exported, told) = export(dir.path());
    assert_eq!((recompute(&lines).0, told), (60, vec![]));
    let dropped = lines.iter().filter(|line| line["absent"] == "dropped").count() as u64;
    assert!(dropped > 0 && exported.bodies == 60 - dropped, "{exported:?}");
    assert!(lines.iter().filter(|line| line["absent"] == "dropped").all(|line| line["body"].is_null()));

    let next = dir.path().join(format!("bodies/{}.seg", first_day + 1));
    flip(&next, 300, 1);
    let (lines, exported, told) = export(dir.path());
    assert_eq!((recompute(&lines).0, exported.damaged), (60, 1));
    assert!(matches!(told[0].problem, Problem::Body(_)), "{told:?}");
    assert_eq!(lines.iter().filter(|line| line["absent"] == "damaged").count(), 1);
    assert_eq!(lines.last().unwrap()["damaged"], 1);
    fs::remove_file(&next).unwrap();
    assert!(export(dir.path()).2.iter().all(|found| found.problem == Problem::BodyMissing));
}

#[test]
fn a_damaged_record_has_a_line_of_its_own_and_the_rest_goes_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path());
    (0..3).for_each(|batch| commit(&mut ledger, batch * 4..batch * 4 + 4));
    let summary = ledger.summary();
    drop(ledger);
    let path = dir.path().join("headers/0000000000000000.seg");
    let sound = fs::read(&path).unwrap();
    for offset in (0..sound.len()).step_by(37) {
        flip(&path, offset, 0x10);
        let (lines, exported, told) = export(dir.path());
        assert!(!told.is_empty() && exported.damaged == told.len() as u64, "{offset}");
        let damaged: Vec<&Value> = lines.iter().filter(|line| line["type"] == "damaged").collect();
        assert_eq!(damaged.len() as u64, exported.damaged, "{offset}");
        let hit: u64 = damaged.iter().map(|line| line["count"].as_u64().unwrap()).sum();
        assert_eq!(exported.transactions + hit, 12, "{offset}: {damaged:?}");
        // The id of one changed record is known all the same, so what follows from the ids is.
        assert_eq!(lines[0]["digest"], summary.digest.to_string(), "{offset}");
        assert_eq!(lines.last().unwrap()["type"], "end");
        fs::write(&path, &sound).unwrap();
    }
}

/// A reader that goes away, as `head` does.
struct Closed(usize);

impl io::Write for Closed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn nothing_to_export_and_a_reader_that_goes_away_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let none = audit::export(dir.path(), &dev(), &mut Vec::new(), &mut |_| {});
    assert!(matches!(none, Err(ExportError::Audit(AuditError::NoLedger { .. }))));
    let mut ledger = open(dir.path());
    assert_eq!(recompute(&export(dir.path()).0).0, 0);
    commit(&mut ledger, 0..4);
    for lines in 0..6 {
        let closed = audit::export(dir.path(), &dev(), &mut Closed(lines), &mut |_| {});
        assert!(matches!(closed, Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe));
    }
}
