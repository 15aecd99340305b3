//! The store at size: what a million transactions take in time, memory and bytes. On demand, in release.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, clippy::panic)]

use std::{fs, path::Path, time::Instant};

use qasedak_chain::{
    Ledger, Network, Time, Transaction, TxId,
    rules::Verified,
    store::disk::DiskStore,
    transaction::{Core, CoreFields, Kind, body_hash},
};

const BODY_BYTES: u32 = 1_024;
const PER_FLUSH: u64 = 512;

/// Transactions with three parents, a minute of sixty for every sixty; the signature and the stamp are not real.
fn make(network: &Network, nth: u64, recent: &[TxId], author: [u8; 32]) -> Transaction {
    let mut parents: Vec<TxId> =
        (0..3).filter_map(|k| recent.get((nth as usize * 7 + k * 5) % recent.len().max(1))).copied().collect();
    parents.sort_unstable();
    parents.dedup();
    if parents.is_empty() {
        parents.push(network.genesis());
    }
    let mut body = vec![0; BODY_BYTES as usize];
    body[..8].copy_from_slice(&nth.to_le_bytes());
    let mut hint = [0; 16];
    hint[..8].copy_from_slice(&nth.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let core = Core::new(CoreFields {
        parents,
        time: Time::from_secs(network.start().secs() + 60 * (nth / 60)),
        lifetime_secs: 30 * 86_400,
        kind: if nth.is_multiple_of(2) { Kind::Tagged } else { Kind::Sealed },
        hint,
        body_hash: body_hash(network, &body),
        body_len: BODY_BYTES,
        author,
    })
    .unwrap();
    let mut bytes = core.to_bytes();
    bytes.extend([0; 64 + 8 + 16]);
    bytes.extend(body);
    Transaction::from_bytes(network, &bytes).unwrap()
}

fn memory(field: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|line| line.starts_with(field)).unwrap_or("unknown").to_owned()
}

fn open(dir: &Path) -> Ledger<DiskStore> {
    Ledger::open(Network::dev(), DiskStore::open(dir, &Network::dev(), [1; 16]).unwrap()).unwrap()
}

#[test]
#[ignore = "a million transactions, in release: minutes and 2 GB of disk"]
fn a_million_transactions() {
    let count: u64 = std::env::var("COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(1_000_000);
    let network = Network::dev();
    let dir = tempfile::tempdir_in(std::env::var("DIR").unwrap_or_else(|_| "/tmp".to_owned())).unwrap();
    let author = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes();
    let mut ledger = open(dir.path());
    let (mut recent, mut ids): (Vec<TxId>, Vec<TxId>) = Default::default();
    let (mut making, mut wire, mut slowest) = (0.0, 0u64, 0.0f64);
    let start = Instant::now();
    for nth in 0..count {
        let begun = Instant::now();
        let transaction = make(&network, nth, &recent, author);
        wire += transaction.to_bytes().len() as u64;
        let (id, now) = (transaction.id(), transaction.core().time().plus(30));
        let verified = Verified::unchecked(transaction);
        making += begun.elapsed().as_secs_f64();
        ledger.append(verified, now, false).unwrap();
        if recent.len() < 64 {
            recent.push(id)
        } else {
            recent[nth as usize % 64] = id
        }
        if nth.is_multiple_of(1_000) {
            ids.push(id);
        }
        if nth % PER_FLUSH == PER_FLUSH - 1 {
            ledger.settle(now).unwrap();
            let flushing = Instant::now();
            ledger.flush_now(now).unwrap();
            slowest = slowest.max(flushing.elapsed().as_secs_f64());
        }
    }
    let end = ledger.clock(Time::default());
    ledger.flush_now(end).unwrap();
    let took = start.elapsed().as_secs_f64() - making;
    println!(
        "{count} appended and flushed on one thread: {:.1} µs each, {:.0}/s",
        took / count as f64 * 1e6,
        count as f64 / took
    );
    println!("slowest flush {:.3} s; {}; {}", slowest, memory("VmHWM"), memory("VmRSS"));
    let begun = Instant::now();
    for id in &ids {
        assert!(ledger.position(id).unwrap().is_some());
    }
    println!("known id: {:.1} µs", begun.elapsed().as_secs_f64() / ids.len() as f64 * 1e6);
    let begun = Instant::now();
    for nth in 0..10_000u64 {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&nth.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        assert!(ledger.position(&TxId::from_bytes(id)).unwrap().is_none());
    }
    println!("unknown id: {:.1} µs", begun.elapsed().as_secs_f64() / 10_000.0 * 1e6);
    let begun = Instant::now();
    ledger.root_at(count * 2 / 3).unwrap();
    println!("root of two thirds: {:.1} µs", begun.elapsed().as_secs_f64() * 1e6);
    let begun = Instant::now();
    let newest = ledger.newest_block(end).unwrap();
    println!("all blocks anew: {:.3} s, newest {}", begun.elapsed().as_secs_f64(), newest.unwrap().number);
    ledger.flush_now(end).unwrap();
    let used = ledger.disk();
    drop(ledger);
    let all = used.headers + used.bodies + used.scan + used.index;
    println!("{used:?}: {:.1} bytes each, {:.4} of the wire", all as f64 / count as f64, all as f64 / wire as f64);
    let begun = Instant::now();
    let mut ledger = open(dir.path());
    println!("open: {:.3} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let order = ledger.in_order(Time::default(), Time::from_secs(u64::MAX), None, 100_000).unwrap();
    println!("100,000 places in order: {:.3} s", begun.elapsed().as_secs_f64());
    assert!(order.is_sorted());
    ledger.settle(end).unwrap();
    drop(ledger);
    fs::remove_dir_all(dir.path().join("runs")).unwrap();
    fs::remove_file(dir.path().join("tree.col")).unwrap();
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let begun = Instant::now();
    open(dir.path());
    println!("open without index: {:.3} s; {}", begun.elapsed().as_secs_f64(), memory("VmHWM"));
}
