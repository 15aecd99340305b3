//! Scans over the scan column of a ledger on disk, page by page as a node does it.

use std::{collections::HashSet, num::NonZeroUsize, path::Path};

use foldhash::quality::RandomState;
use qasedak_chain::{Ledger, Network, Position, store::disk::DiskStore};
use qasedak_wallet::Scanner;

use crate::{
    ROUNDS, entries, keys, limits,
    million::{MONTH, Million, Spread},
    pipeline::{self, Writer},
    report::{Asked, Report, median},
    scanner, timed,
};

/// Entries that a node scans under one lock of the ledger.
const PAGE: usize = 4_096;
/// Transactions of the whole scan: three sealed for each tagged one.
const MIXED: u64 = 1_000_000;

/// Writes a ledger.
fn write(network: &Network, dir: &Path, all: Million) -> Ledger<DiskStore> {
    let mut ledger = pipeline::open(network, dir);
    Writer::scope(&mut ledger, |writer| {
        for (nth, verified) in all.enumerate() {
            writer.append(verified);
            if nth % 4_000 == 0 {
                writer.wait();
                writer.flush();
            }
        }
    });
    ledger
}

fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Scans the whole column, and returns how many entries were found and how many there are.
fn scan(ledger: &Ledger<DiskStore>, scanner: &Scanner, threads: usize) -> (usize, usize) {
    let (mut found, mut from, threads) = (0, 0, NonZeroUsize::new(threads).unwrap());
    loop {
        let page = ledger.scan(Position::new(from), PAGE).unwrap();
        if page.is_empty() {
            return (found, from as usize);
        }
        found += scanner.matches_on(&page, threads).len();
        from += page.len() as u64;
    }
}

/// Tagged entries alone, from the scan column, on one thread, against bare look-ups of the same hints in memory.
pub fn tagged(report: &mut Report, expected: usize, count: usize) {
    let (network, dir) = (Network::dev(), scratch());
    let ledger = write(&network, dir.path(), Million::new(&network, count as u64, Spread { tagged_each: 1, ..MONTH }));
    let tags: HashSet<u128, RandomState> = entries::tags(expected).into_iter().map(u128::from_le_bytes).collect();
    let hints: Vec<[u8; 16]> = ledger.scan(Position::new(0), count).unwrap().iter().map(|entry| entry.hint).collect();
    assert_eq!(hints.len(), count);
    let scanner = scanner(&keys(1)).with_tags(entries::tags(expected));
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(count as f64 / timed(|| limits::look_ups(&tags, &hints)));
        ours.push(count as f64 / timed(|| assert_eq!(scan(&ledger, &scanner, 1), (0, count))));
    }
    let (ours, bare) = (median(ours), median(bare));
    // One of the two is asked for.
    let asked = if ours >= 20e6 { Asked::AtLeast(0.0) } else { Asked::AtLeast(0.5) };
    report.rate(&format!("tagged from the column, {expected} expected tags, one thread"), ours, bare, asked);
}

/// A million mixed transactions for one identity and 100,000 expected tags, on two threads.
pub fn mixed(report: &mut Report) {
    let (network, dir) = (Network::dev(), scratch());
    let ledger = write(&network, dir.path(), Million::new(&network, MIXED, MONTH));
    let all = ledger.scan(Position::new(0), MIXED as usize).unwrap();
    let sealed: Vec<_> =
        all.into_iter().filter(|entry| entry.kind == qasedak_chain::transaction::Kind::Sealed).collect();
    let scanner = scanner(&keys(1)).with_tags(entries::tags(100_000));
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(timed(|| limits::diffie_hellmans(&sealed, 1, 2)));
        ours.push(timed(|| assert_eq!(scan(&ledger, &scanner, 2), (0, MIXED as usize))));
    }
    report.time(
        "whole scan of 1,000,000, three of four sealed, two threads",
        median(ours),
        median(bare),
        Asked::Nothing,
    );
}
