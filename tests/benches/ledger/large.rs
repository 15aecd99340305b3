//! One block, and one day of bodies, with 100,000 transactions.

use std::{collections::BTreeMap, path::Path, time::Instant};

use qasedak_chain::{Network, Time, rules::Verified, time::HOUR_SECS};

use crate::{
    ROUNDS,
    million::{MONTH, Million, Spread},
    pipeline::{self, Writer},
    proofs::{self, Proofs, STAMPED},
    raw,
    report::{Asked, Report, median},
};

const COUNT: u64 = 100_000;
/// All within one hour, their bodies going on one day.
const ONE_HOUR: Spread = Spread { secs: HOUR_SECS, lifetime_secs: 86_400, ..MONTH };

fn write(network: &Network, dir: &Path, all: impl Iterator<Item = Verified>) {
    let mut ledger = pipeline::open(network, dir);
    Writer::scope(&mut ledger, |writer| {
        for (nth, verified) in all.enumerate() {
            writer.append(verified);
            if nth % 4_096 == 4_095 {
                writer.wait();
                writer.flush();
            }
        }
    });
}

/// A block of 100,000 computed anew after it gained one, against the hashes that its tree takes.
pub fn block_of_100_000(report: &mut Report) {
    let network = Network::dev();
    let dir = crate::child::scratch();
    let mut late: Vec<Verified> = Million::new(&network, COUNT + ROUNDS as u64, ONE_HOUR).collect();
    let last = late.split_off(COUNT as usize);
    write(&network, dir.path(), late.into_iter());
    let mut ledger = pipeline::open(&network, dir.path());
    let hour = network.start().hour();
    let (mut ours, mut limits) = (Vec::new(), Vec::new());
    for verified in last {
        limits.push(raw::tree(COUNT as usize).as_secs_f64());
        ledger.append(verified, pipeline::clock(&network), false).unwrap();
        let start = Instant::now();
        let block = ledger.block(hour).unwrap().unwrap();
        ours.push(start.elapsed().as_secs_f64());
        assert!(block.count > COUNT);
    }
    report.time("block of 100,000, anew after one came late", median(ours), median(limits), Asked::Nothing);
}

/// Proofs in a block of 100,000, against those of the bare primitives.
pub fn proofs_in_block_of_100_000(report: &mut Report) {
    let network = Network::dev();
    let dir = crate::child::scratch();
    let made = COUNT - STAMPED as u64;
    let all = proofs::stamped(&network).into_iter().chain(Million::new(&network, made, ONE_HOUR));
    write(&network, dir.path(), all);
    let (proofs, mut samples) = (Proofs::new(&network), BTreeMap::<&str, Vec<f64>>::new());
    for _ in 0..ROUNDS {
        let mut ledger = pipeline::open(&network, dir.path());
        assert_eq!(ledger.block(network.start().hour()).unwrap().unwrap().count, COUNT);
        proofs.measure(&mut ledger, &mut |name, value| samples.entry(name).or_default().push(value));
    }
    let of = |name: &str| median(samples[name].clone());
    report.time("prove, in a block of 100,000", of("prove"), of("prove limit"), Asked::Nothing);
    let name = "prove that one is absent, in a block of 100,000";
    report.time(name, of("prove absence"), of("prove absence limit"), Asked::Nothing);
}

/// Dropping a day with 100,000 bodies, against removing one file of as many bytes.
pub fn prune_of_100_000(report: &mut Report) {
    let network = Network::dev();
    let (mut ours, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let dir = crate::child::scratch();
        write(&network, &dir.path().join("ledger"), Million::new(&network, COUNT, ONE_HOUR));
        let mut ledger = pipeline::open(&network, &dir.path().join("ledger"));
        let raw_file = dir.path().join("raw");
        raw::append(&[vec![7; ledger.disk().bodies as usize]], &raw_file);
        let start = Instant::now();
        std::fs::remove_file(&raw_file).unwrap();
        limits.push(start.elapsed().as_secs_f64());
        let later = Time::from_secs(pipeline::clock(&network).secs() + 30 * 86_400);
        let start = Instant::now();
        let mut gone = 0;
        loop {
            let pruned = ledger.prune(later).unwrap();
            if pruned.is_nothing() {
                break;
            }
            gone += pruned.expired;
        }
        ours.push(start.elapsed().as_secs_f64());
        assert!(gone > 0 && ledger.disk().bodies < 1_000_000);
    }
    report.time("prune of a day with 100,000 bodies of 1 KiB", median(ours), median(limits), Asked::Nothing);
}
