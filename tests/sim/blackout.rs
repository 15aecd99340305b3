//! The headline: sixty nodes are cut into five islands for 24 days while all of them write, and then joined in random
//! order. Nothing is lost, and all end with the same digest and the same blocks.
//!
//! Each island goes on like a network of its own. Between the hours in which its people write, all machines sleep, their
//! clocks going on; that is what makes 24 days short. Lifetimes go from an hour to 30 days, and machines let bodies go
//! when their day comes, so that at the end islands meet of which some hold headers alone.

use qasedak_chain::time::{DAY_SECS, HOUR_SECS};
use rand::RngExt;

use crate::{
    net::Quality,
    plan::Act,
    runs,
    scenarios::settle,
    world::{Event, World},
};

const ISLANDS: usize = 5;
const DAYS: u64 = 24;
/// Times a day at which people write.
const WAVES: u64 = 2;
/// How long one of them takes.
const WAVE_MS: u64 = 12_000;
/// How long it takes until the islands are joined.
const JOINING_MS: u64 = 30_000;

/// Nodes of an island in a ring with chords; one link to each of the others, which the blackout holds down.
fn archipelago(seed: u64, nodes: usize) -> (World, Vec<usize>) {
    let mut world = World::new(seed, nodes, |_| false);
    let quality = Quality { delay_ms: 30, scatter_ms: 40, loss_percent: 1, twice_percent: 1 };
    let each = nodes / ISLANDS;
    for island in 0..ISLANDS {
        let (first, count) = (island * each, if island + 1 == ISLANDS { nodes - island * each } else { each });
        for at in 0..count {
            for step in [1, 3] {
                let (a, b) = (first + at, first + (at + step) % count);
                if a != b && !world.are_linked(a, b) {
                    world.link(a, b, quality);
                }
            }
        }
    }
    let mut bridges = Vec::new();
    for a in 0..ISLANDS {
        for b in a + 1..ISLANDS {
            let ends = (a * each + world.rng.random_range(0..each), b * each + world.rng.random_range(0..each));
            bridges.push(world.link(ends.0, ends.1, quality));
        }
    }
    bridges.iter().for_each(|link| world.links[*link].held = true);
    (0..world.links.len()).for_each(|link| world.bring_up(link));
    (world, bridges)
}

/// One hour in which people write; some machines crash and come back.
fn wave(world: &mut World) {
    for node in 0..world.nodes.len() {
        if world.rng.random_range(0..2) == 0 {
            let lifetimes = [HOUR_SECS, DAY_SECS, 5 * DAY_SECS, 30 * DAY_SECS];
            let lifetime_secs = u32::try_from(lifetimes[world.rng.random_range(0..4)]).unwrap();
            let at_ms = world.rng.random_range(0..WAVE_MS / 2);
            world.after(at_ms, Event::Act(Act::Write { node, lifetime_secs }));
        }
    }
    let node = world.rng.random_range(0..world.nodes.len());
    let at_ms = world.rng.random_range(0..WAVE_MS / 2);
    world.after(at_ms, Event::Act(Act::Crash(node)));
    world.after(at_ms + 2_000, Event::Act(Act::Restart(node)));
    world.run(WAVE_MS);
}

fn run(seed: u64) -> World {
    let (mut world, mut bridges) = archipelago(seed, runs::nodes(60));
    world.gossip = seed.is_multiple_of(2);
    for _ in 0..DAYS * WAVES {
        wave(&mut world);
        world.sleep(DAY_SECS / WAVES * 1_000 - WAVE_MS);
        for node in 0..world.nodes.len() {
            world.act(Act::Prune(node));
        }
    }
    // Four bridges in random order make one network of five islands; more of them do no harm.
    while !bridges.is_empty() {
        let link = bridges.swap_remove(world.rng.random_range(0..bridges.len()));
        world.links[link].held = false;
        world.bring_up(link);
        world.run(JOINING_MS / 10);
    }
    settle(&mut world);
    let counts: Vec<u64> = world.honest().map(|node| node.ledger.summary().count).collect();
    assert!(
        counts.iter().all(|count| *count == world.counts.written),
        "{} written, {counts:?} here",
        world.counts.written
    );
    world
}

/// The headline scenario.
#[test]
fn blackout() {
    runs::each("blackout::blackout", 2, run);
}
