//! Bodies that come after their records, because they never came or were damaged: taken in, durable, and in the audit.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;

use qasedak_chain::{
    Ledger, Position, Time, Transaction, audit,
    ledger::{Attached, IndexCheck},
    rules::Verified,
    store::{Body, Store, memory::MemoryStore},
};

#[path = "support/disk.rs"]
mod disk;
#[path = "support/pool.rs"]
mod pool;

use disk::{append, arrival, commit, dev, flip, open_small};
use pool::{after_pool, make, pool};

/// Dated so far ahead that it may come bare, and its bare self.
fn ahead() -> (Transaction, Transaction, Time) {
    let time = after_pool().plus(30 * 86_400);
    let whole = make(&dev(), 3_001, &[dev().genesis()], time.secs());
    let bare = Transaction::new(&dev(), whole.header().clone(), None).unwrap();
    (whole, bare, after_pool())
}

/// Attaches a body to a bare record, after a flush that fails; returns where.
fn attach_to<S: Store>(ledger: &mut Ledger<S>) -> Position {
    let (whole, bare, now) = ahead();
    let position = ledger.append(Verified::unchecked(bare.clone()), now, false).unwrap();
    ledger.flush_now(now).unwrap();
    let missing = ledger.bodies_missing(Position::new(0), 10, now).unwrap();
    assert_eq!((missing.records, missing.next), (vec![(position, whole.id())], position.next()));
    assert!(ledger.bodies_missing(position.next(), 10, now).unwrap().records.is_empty());
    assert_eq!(ledger.attach_body(&bare, now).unwrap(), Attached::Unknown, "no body came");
    assert_eq!(ledger.attach_body(&pool()[79], now).unwrap(), Attached::Unknown, "no such record");
    let long_after = whole.core().expires().plus(10 * 86_400);
    assert_eq!(ledger.attach_body(&whole, long_after).unwrap(), Attached::Expired);
    assert_eq!(ledger.attach_body(&whole, now).unwrap(), Attached::Taken);
    is_attached(ledger, position);
    assert!(ledger.flush(now).unwrap().is_some());
    ledger.flushed(false);
    is_attached(ledger, position);
    ledger.flush_now(now).unwrap();
    is_attached(ledger, position);
    position
}

fn is_attached<S: Store>(ledger: &mut Ledger<S>, position: Position) {
    let (whole, _, now) = ahead();
    assert_eq!(ledger.transaction(position).unwrap().as_ref(), Some(&whole));
    assert!(ledger.scan(position, 1).unwrap()[0].has_body);
    assert!(ledger.bodies_missing(Position::new(0), 10, now).unwrap().records.is_empty());
    assert_eq!(ledger.attach_body(&whole, now).unwrap(), Attached::Known);
}

#[test]
fn a_body_is_attached_in_memory() {
    let mut ledger = Ledger::open(dev(), MemoryStore::new()).unwrap();
    let position = attach_to(&mut ledger);
    is_attached(&mut Ledger::open(dev(), ledger.store().crashed()).unwrap(), position);
}

#[test]
fn a_body_is_attached_on_disk_and_shows_in_the_audit() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open_small(dir.path());
    commit(&mut ledger, 0..12);
    let position = attach_to(&mut ledger);
    assert_eq!(ledger.check_index(&mut |_| {}).unwrap(), IndexCheck::Agrees);
    drop(ledger);
    let mut ledger = open_small(dir.path());
    is_attached(&mut ledger, position);
    drop(ledger);
    // The scan column follows from the log, the late body too.
    fs::remove_file(dir.path().join("scan.col")).unwrap();
    is_attached(&mut open_small(dir.path()), position);
    let report = audit::verify(dir.path(), &dev(), after_pool(), &mut |_| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
}

/// A body that is damaged reads as that, is had again from elsewhere, and leaves the audit nothing to find.
#[test]
fn a_damaged_body_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open_small(dir.path());
    commit(&mut ledger, 0..8);
    drop(ledger);
    let part = fs::read_dir(dir.path().join("bodies")).unwrap().map(|entry| entry.unwrap().path());
    let part = part.filter(|path| path.extension().is_some_and(|ending| ending == "seg")).min().unwrap();
    flip(&part, 128 + 200, 1);
    let mut ledger = open_small(dir.path());
    let now = arrival(&pool()[7]);
    let damaged = (0..8).find(|at| matches!(ledger.store().body(Position::new(*at)), Ok(Body::Damaged(_)))).unwrap();
    let (at, whole) = (Position::new(damaged), &pool()[damaged as usize]);
    assert!(ledger.transaction(at).is_err());
    assert!(!audit::verify(dir.path(), &dev(), now, &mut |_| {}).unwrap().is_clean());
    assert_eq!(ledger.attach_body(whole, now).unwrap(), Attached::Taken);
    assert_eq!(ledger.transaction(at).unwrap().as_ref(), Some(whole));
    append(&mut ledger, &pool()[8]);
    ledger.flush_now(now).unwrap();
    drop(ledger);
    let report = audit::verify(dir.path(), &dev(), now, &mut |_| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    let ledger = open_small(dir.path());
    assert_eq!(ledger.transaction(at).unwrap().as_ref(), Some(whole));
}
