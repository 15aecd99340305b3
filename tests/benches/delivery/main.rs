//! How long a message takes from one node to all others, beside bare gossipsub over the same links in the same run.
//!
//! `cargo bench -p qasedak-tests --bench delivery`; a number behind `--` (2, 5, 20) runs networks of that size alone.
//! Nodes are drivers in this process with ledgers on disk; every node checks stamp and signature and appends before it
//! relays. Bare gossipsub has the same configuration (mesh, sizes, transports) and no validation. Both take turns in five
//! rounds, so that a machine whose speed drifts drifts for both; figures are medians of rounds. The limit is the p50 of bare
//! gossipsub and one verification for each hop. A message counts as delivered when it is in the ledger; that it
//! is durable is measured beside.

// A benchmark says by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod bare;
mod node;
#[path = "../shared/report.rs"]
#[allow(dead_code, reason = "the other benchmarks use the rest of it")]
mod report;
mod topology;

use std::time::{Duration, Instant};

use qasedak_chain::{Network, Transaction, rules};

use node::Message;
use report::{Asked, Report, median, quantile};
use topology::Topology;

/// Rounds of every figure.
const ROUNDS: usize = 5;
/// Messages of a round at each rate, in messages a second.
const RATES: [(u64, usize); 2] = [(10, 40), (100, 300)];
/// What is asked: at most so many times the limit.
const AT_MOST: f64 = 1.5;

/// The p50 and p99 of a round's deliveries, each from the sender's network layer to the receiver's, in seconds.
fn quantiles(deliveries: &[Duration]) -> (f64, f64) {
    let mut times: Vec<f64> = deliveries.iter().map(Duration::as_secs_f64).collect();
    times.sort_by(f64::total_cmp);
    (quantile(&times, 0.5), quantile(&times, 0.99))
}

/// Seconds that one verification takes on one idle core: size, encoding, stamp, signature.
fn verification(network: &Network, messages: &[Message]) -> f64 {
    let wire: Vec<Vec<u8>> = messages.iter().map(|message| message.transaction().to_bytes()).collect();
    let start = Instant::now();
    for bytes in &wire {
        rules::verify(network, Transaction::from_bytes(network, bytes).unwrap()).unwrap();
    }
    start.elapsed().as_secs_f64() / wire.len() as f64
}

/// One round: the same messages at the same pace, to both.
struct Round {
    bare: (f64, f64),
    ours: (f64, f64),
    durable: (f64, f64),
    verification: f64,
}

async fn measure(topology: &Topology, report: &mut Report) {
    let network = Network::dev();
    let nodes = node::Nodes::start(&network, topology).await;
    let bare = bare::Swarms::start(topology).await;
    for (rate, count) in RATES {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let messages = node::write(&network, count);
            let pace = Duration::from_secs(1) / u32::try_from(rate).unwrap();
            let bytes: Vec<Vec<u8>> = messages.iter().map(|message| message.transaction().to_bytes()).collect();
            let verification = verification(&network, &messages[..count.min(100)]);
            let bare = quantiles(&bare.round(bytes, pace).await);
            let (ours, durable) = nodes.round(messages, pace).await;
            rounds.push(Round { bare, ours: quantiles(&ours), durable: quantiles(&durable), verification });
        }
        show(topology, rate, &rounds, report);
    }
    nodes.stop().await;
}

fn show(topology: &Topology, rate: u64, rounds: &[Round], report: &mut Report) {
    let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let limit = |round: &Round| round.bare.0 + round.verification * topology.mean_hops();
    let name = |what: &str| format!("{} nodes, {rate} messages/s: {what}", topology.len());
    let ratio = of(&|round| round.ours.0 / limit(round));
    report.time(&name("p50, limit: bare p50 + verification"), of(&|r| r.ours.0), of(&limit), Asked::Nothing);
    report.plain(&name("ratio of the two"), ratio, "", format!("at most {AT_MOST}"), Asked::AtMost(AT_MOST));
    report.time(&name("p99, beside bare p99"), of(&|r| r.ours.1), of(&|r| r.bare.1), Asked::Nothing);
    report.time(&name("durable there: p50, p99"), of(&|r| r.durable.0), of(&|r| r.durable.1), Asked::Nothing);
}

fn main() {
    let chosen: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut report = Report::new("qasedak");
    for topology in [Topology::line(2), Topology::ring(5, &[1, 2]), Topology::ring(20, &[1, 5])] {
        if chosen.is_empty() || chosen.contains(&topology.len()) {
            runtime.block_on(measure(&topology, &mut report));
        }
    }
    report.print_summary();
}
