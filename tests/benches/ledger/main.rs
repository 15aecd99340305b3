//! What the ledger costs, each figure beside the physical limit that was measured in the same run.
//!
//! `cargo bench -p qasedak-tests --bench ledger` runs everything; a word behind `--` (`ingest`, `storage`, `scale`, `block`,
//! `prune`) runs that part alone. Figures are medians of five rounds in which limit and ledger take turns, so that a
//! machine whose speed drifts drifts for both: quote the ratios. Memory is that of a child process that does nothing but
//! write, or nothing but open. Everything is written below the target directory and removed again.

// A benchmark says by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout, clippy::print_stderr)]

mod child;
mod fixture;
mod growth;
mod ingest;
mod large;
mod million;
mod pipeline;
mod proofs;
mod raw;
#[path = "../shared/report.rs"]
mod report;

use report::Report;

/// Rounds of every figure.
const ROUNDS: usize = 5;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if child::run(&args) {
        return;
    }
    let chosen = |part: &str| args.is_empty() || args.iter().any(|arg| arg == part);
    let mut report = Report::new("ledger");
    if chosen("ingest") {
        ingest::checked(&mut report);
    }
    if chosen("storage") {
        ingest::storage_alone(&mut report);
    }
    if chosen("block") {
        large::block_of_100_000(&mut report);
        large::proofs_in_block_of_100_000(&mut report);
    }
    if chosen("prune") {
        large::prune_of_100_000(&mut report);
    }
    if chosen("scale") {
        growth::scale(&mut report);
    }
    report.print_summary();
}
