//! What it costs to find one's envelopes, beside the bare primitives.
//!
//! `cargo bench -p qasedak-tests --bench scan` runs everything; a word behind `--` (`sealed`, `tagged`, `whole`) runs that part
//! alone. Figures are medians of five rounds in which limit and scanner take turns, so that a machine whose speed drifts
//! drifts for both: quote the ratios. The whole scan writes a ledger of a million below the target directory first, and
//! removes it again.

// A benchmark says by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout, clippy::print_stderr)]

mod entries;
#[allow(dead_code)]
#[path = "../ledger/fixture.rs"]
mod fixture;
mod limits;
#[allow(dead_code)]
#[path = "../ledger/million.rs"]
mod million;
#[allow(dead_code)]
#[path = "../ledger/pipeline.rs"]
mod pipeline;
#[allow(dead_code)]
#[path = "../shared/report.rs"]
mod report;
mod whole;

use std::{hint::black_box, num::NonZeroUsize, time::Instant};

use qasedak_chain::Network;
use qasedak_wallet::{Scanner, keys::ScanKey};

use report::{Asked, Report, median};

/// Rounds of every figure.
const ROUNDS: usize = 5;
/// Sealed entries of a figure.
const SEALED: usize = 20_000;
/// Tagged entries of a figure.
const TAGGED: usize = 1_000_000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let chosen = |part: &str| args.is_empty() || args.iter().any(|arg| arg == part);
    let mut report = Report::new("scanner");
    if chosen("sealed") {
        sealed(&mut report, "sealed, one identity, one thread", 1, 1, Asked::AtLeast(0.95));
        sealed(&mut report, "sealed, one identity, two threads", 1, 2, Asked::AtLeast(0.95));
        sealed(&mut report, "sealed, ten identities, two threads", 10, 2, Asked::Nothing);
    }
    if chosen("tagged") {
        whole::tagged(&mut report, 1, TAGGED);
        whole::tagged(&mut report, 100_000, TAGGED);
    }
    if chosen("whole") {
        whole::mixed(&mut report);
    }
    report.print_summary();
}

/// A scanner for so many identities.
fn scanner(keys: &[ScanKey]) -> Scanner {
    let first = Scanner::new(&Network::dev(), &keys[0]);
    keys[1..].iter().fold(first, |scanner, key| scanner.with_key(key))
}

/// So many scan keys.
fn keys(count: usize) -> Vec<ScanKey> {
    (0..count as u64)
        .map(|nth| ScanKey::from_bytes(&fixture::bytes_of(nth, "scan key", 32).try_into().unwrap()))
        .collect()
}

/// Seconds that something takes.
fn timed<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    black_box(work());
    start.elapsed().as_secs_f64()
}

/// Sealed entries from memory, against as many Diffie-Hellmans by graviola on as many threads.
fn sealed(report: &mut Report, name: &str, identities: usize, threads: usize, asked: Asked) {
    let all = entries::sealed(SEALED / identities);
    let (keys, on) = (keys(identities), NonZeroUsize::new(threads).unwrap());
    let scanner = scanner(&keys);
    let (mut ours, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        limits.push(all.len() as f64 / timed(|| limits::diffie_hellmans(&all, identities, threads)));
        ours.push(all.len() as f64 / timed(|| scanner.matches_on(&all, on)));
    }
    report.rate(name, median(ours), median(limits), asked);
}
