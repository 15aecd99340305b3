//! Many seeds on all cores, each twice; and the line that repeats one.
//!
//! | variable | means |
//! |---|---|
//! | `QASEDAK_SEED=n` | only this seed |
//! | `QASEDAK_SEEDS=n` | so many seeds, from 0 on; `n..m` those from n on that are below m |
//! | `QASEDAK_NODES=n` | so many nodes |

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use crate::world::World;

/// Every so many seeds it is said how far a run is.
const SAID_EVERY: u64 = 1_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// The seeds that the environment names: one, so many, or those of a range.
fn seeds(usual: u64) -> Range<u64> {
    let named = std::env::var("QASEDAK_SEEDS").ok();
    match (number("QASEDAK_SEED"), named.as_deref().and_then(|named| named.split_once(".."))) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some((from, to))) => from.parse().unwrap()..to.parse().unwrap(),
        (None, None) => 0..named.map_or(usual, |named| named.parse().unwrap()),
    }
}

/// How many nodes: those of the test, or as many as the environment says.
pub fn nodes(usual: usize) -> usize {
    number("QASEDAK_NODES").map_or(usual, |nodes| usize::try_from(nodes).unwrap())
}

/// What a panic said.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// Runs a seed, twice: both at once when it is alone. Of the first world only the trace is kept.
fn twice(seed: u64, run: fn(u64) -> World, alone: bool) -> World {
    let (first, second) = thread::scope(|scope| {
        let beside = alone.then(|| scope.spawn(|| run(seed)));
        let first = run(seed).trace();
        let second =
            beside.map_or_else(|| run(seed), |second| second.join().unwrap_or_else(|panic| resume_unwind(panic)));
        (first, second)
    });
    assert!(first == second.trace(), "the second run went another way than the first");
    second
}

/// Runs `usual` seeds, or those that the environment names, each twice. The first one that fails ends all, and says how to
/// repeat it.
pub fn each(test: &str, usual: u64, run: fn(u64) -> World) {
    let Range { start: from, end: to } = seeds(usual);
    // A thousand nodes take ten gigabytes, and twice that is too much for most machines.
    let alone = to - from == 1 && number("QASEDAK_NODES").is_none_or(|nodes| nodes <= 300);
    let began = Instant::now();
    let (next, failed) = (AtomicU64::new(from), AtomicBool::new(false));
    let failures: Mutex<Vec<(u64, String)>> = Mutex::new(Vec::new());
    let totals: Mutex<[u64; 6]> = Mutex::new([0; 6]);
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= to {
                return;
            }
            if seed > from && (seed - from).is_multiple_of(SAID_EVERY) {
                println!("{test}: {seed} begins after {:.0} s", began.elapsed().as_secs_f64());
            }
            match catch_unwind(AssertUnwindSafe(|| twice(seed, run, alone))) {
                Ok(world) => {
                    let counts = world.counts;
                    let of_run = [
                        counts.events,
                        counts.written,
                        counts.stored,
                        counts.crashes,
                        counts.banned,
                        world.now_ms / 1_000,
                    ];
                    let mut totals = totals.lock().unwrap();
                    totals.iter_mut().zip(of_run).for_each(|(total, one)| *total += one);
                }
                Err(panic) => {
                    failed.store(true, Ordering::Relaxed);
                    failures.lock().unwrap().push((seed, said(&*panic)));
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    if let Some((seed, why)) = failures.first() {
        let nodes = number("QASEDAK_NODES").map(|nodes| format!("QASEDAK_NODES={nodes} ")).unwrap_or_default();
        println!("FAILED seed {seed} of {test}: {why}");
        println!(
            "repeat: {nodes}QASEDAK_SEED={seed} cargo test -p qasedak-sim --test sim {test} -- --exact --nocapture"
        );
        panic!("seed {seed} of {test}: {why}");
    }
    let [events, written, stored, crashes, banned, secs] = totals.into_inner().unwrap();
    println!(
        "{test}: {} seeds twice in {:.1} s; in one go {events} events in {secs} virtual s, {written} messages, \
         {stored} records stored, {crashes} crashes, {banned} turned out",
        to - from,
        began.elapsed().as_secs_f64()
    );
}
