//! Hostile peers over real sockets: what they do to a node, and what it does to them.
//!
//! The victim is the real program in a process of its own. An honest pair goes on sending through it while it is
//! attacked. For each case: no panic; resident memory grows by less than 64 MiB; the p99 of honest deliveries at most doubles, or
//! stays below 64 ms, which over all cases is no excuse (see `judge`); who is provably at fault is let go, and nobody else.
//! Every attack has bounds in count and time, and stops by itself.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod cases;
mod field;
mod frames;
#[path = "../e2e/harness.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest of it")]
mod harness;
mod honest;
mod judge;
mod manners;
mod rogue;
mod stock;
mod victim;

use std::path::PathBuf;

use qasedak_chain::Network;

use cases::{answers, asks, gossip, patient, quic, reconciling, streams, transport};
use field::Case;
use judge::Bench;
use stock::Stock;

/// Attacks that are over soon, one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_bears_hostile_peers() {
    let network = Network::dev();
    let below = [transport::cases(), quic::cases(), streams::cases()];
    let above = [asks::cases(&network), answers::cases(), reconciling::cases(), gossip::cases()];
    let cases: Vec<Case> = below.into_iter().chain(above).flatten().filter(is_chosen).collect();
    let stock = Stock::new(&network);
    let mut bench = Bench::new(home(), network, stock).await;
    bench.run(&cases).await;
    conclude(cases.len(), &bench.end());
}

/// Attacks that take their time, all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_bears_patient_peers() {
    let cases: Vec<Case> = patient::cases().into_iter().chain(quic::patient()).filter(is_chosen).collect();
    let mut bench = Bench::new(home(), Network::dev(), Stock::none()).await;
    bench.run_at_once(&cases).await;
    conclude(cases.len(), &bench.end());
}

/// `QASEDAK_CASE` runs those cases alone whose names hold it.
fn is_chosen(case: &Case) -> bool {
    std::env::var("QASEDAK_CASE").map_or(true, |part| case.name.contains(&part))
}

/// It is left behind, since the victims' logs are in it, for the system to clean.
fn home() -> PathBuf {
    tempfile::Builder::new().prefix("qasedak-hostile-").tempdir().unwrap().keep()
}

fn conclude(count: usize, failures: &[String]) {
    println!("{count} cases, {} failures", failures.len());
    assert!(failures.is_empty(), "\n  {}\n", failures.join("\n  "));
}
