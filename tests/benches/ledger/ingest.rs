//! Taking transactions in: with all checks, and the storage alone.

use std::time::Instant;

use qasedak_chain::{Network, rules::Verified};

use crate::{
    ROUNDS, fixture,
    million::{MONTH, Million},
    pipeline::{self, Writer},
    raw::{self, Bare},
    report::{Asked, Report, median},
};

/// Transactions of the storage figure.
const STORED: u64 = 50_000;
/// Transactions that one fsync makes durable in the storage figure, on both sides.
const GROUP: usize = 1_000;

/// Full checks, fsynced in groups, both cores.
pub fn checked(report: &mut Report) {
    let network = Network::dev();
    let wire = fixture::load(&network);
    let bare: Vec<Bare> = wire.iter().map(|wire| Bare::new(&network, wire)).collect();
    let (mut ours, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let dir = crate::child::scratch();
        limits.push(wire.len() as f64 / raw::check_and_append(&bare, &dir.path().join("raw")).as_secs_f64());
        let taken = pipeline::check_and_append(&network, &wire, &dir.path().join("ledger"));
        ours.push(wire.len() as f64 / taken.as_secs_f64());
    }
    let name = "ingest: 20,000 stamped, all checks, durable";
    report.rate(name, median(ours), median(limits), Asked::AtLeast(0.7));
}

/// Everything behind the checks, against a raw append and fsync of the same bytes.
pub fn storage_alone(report: &mut Report) {
    let network = Network::dev();
    let all: Vec<Verified> = Million::new(&network, STORED, MONTH).collect();
    let bytes = |group: &[Verified]| group.iter().flat_map(|verified| verified.transaction().to_bytes()).collect();
    let groups: Vec<Vec<u8>> = all.chunks(GROUP).map(bytes).collect();
    let (mut ours, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let dir = crate::child::scratch();
        limits.push(STORED as f64 / raw::append(&groups, &dir.path().join("raw")).as_secs_f64());
        let copies: Vec<Vec<Verified>> = all.chunks(GROUP).map(<[Verified]>::to_vec).collect();
        let mut ledger = pipeline::open(&network, &dir.path().join("ledger"));
        let start = Instant::now();
        Writer::scope(&mut ledger, |writer| {
            for group in copies {
                group.into_iter().for_each(|verified| writer.append(verified));
                // One fsync for each group, as on the other side.
                writer.wait();
                writer.flush();
            }
        });
        ours.push(STORED as f64 / start.elapsed().as_secs_f64());
    }
    let name = "storage alone: 50,000 of 1 KiB, an fsync per 1,000";
    report.rate(name, median(ours), median(limits), Asked::AtLeast(0.4));
}
