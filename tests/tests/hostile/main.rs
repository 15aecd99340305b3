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
use tokio::{
    runtime::{self, Handle, Runtime},
    sync::Mutex,
};

use cases::{answers, asks, gossip, patient, quic, reconciling, streams, transport};
use field::Case;
use judge::Bench;
use stock::Stock;

/// Held by the test whose turn it is: attacks of the other one would be felt in the deliveries that this one takes for
/// calm, or take for its own attack's.
static TURN: Mutex<()> = Mutex::const_new(());

/// Attacks that are over soon, one after the other.
#[test]
fn a_node_bears_hostile_peers() {
    on_threads_apart(async |honest| {
        let _turn = TURN.lock().await;
        let network = Network::dev();
        let below = [transport::cases(), quic::cases(), streams::cases()];
        let above = [asks::cases(&network), answers::cases(), reconciling::cases(), gossip::cases()];
        let cases: Vec<Case> = below.into_iter().chain(above).flatten().filter(is_chosen).collect();
        let stock = Stock::new(&network);
        let mut bench = Bench::new(honest, home(), network, stock).await;
        bench.run(&cases).await;
        conclude(cases.len(), &bench.end());
    });
}

/// Attacks that take their time, all at once.
#[test]
fn a_node_bears_patient_peers() {
    on_threads_apart(async |honest| {
        let _turn = TURN.lock().await;
        let cases: Vec<Case> = patient::cases().into_iter().chain(quic::patient()).filter(is_chosen).collect();
        let mut bench = Bench::new(honest, home(), Network::dev(), Stock::none()).await;
        bench.run_at_once(&cases).await;
        conclude(cases.len(), &bench.end());
    });
}

/// Runs a test with the attackers on threads that give way to those of the victim and of the honest pair. Elsewhere they are on
/// machines of their own, and what an attack costs them is taken from nobody.
fn on_threads_apart(test: impl AsyncFnOnce(Handle)) {
    // Their threads are begun before this one gives way, since what a thread begins is as important as itself.
    let honest = threads();
    give_way();
    threads().block_on(test(honest.handle().clone()));
    honest.shutdown_background();
}

fn threads() -> Runtime {
    runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Makes this thread less important, and what it begins.
fn give_way() {
    // The thread alone on Linux (setpriority(2)); elsewhere it would be the whole process.
    #[cfg(target_os = "linux")]
    rustix::process::nice(10).expect("anybody may become less important");
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
