//! The runs: what CI does, and what is done on demand (`docs/testing.md`, "The simulator").

use qasedak_chain::{TxId, time::DAY_SECS};
use rand::RngExt;

use crate::{
    byzantine::{Liar, Vice},
    maker::{self, Draft},
    net::Quality,
    node::Node,
    plan::{Act, Plan},
    runs,
    world::{World, start},
};

/// Virtual time for each 10,000 transactions of backlog.
const CALM_MS: u64 = 60_000;
/// By how much what liars show late may put the end off at most; in networks of more than [`MANY_NODES`] an hour.
const SHOWN_LATE_MS: u64 = 60_000;
/// Liars of so many nodes have more to show than that.
const MANY_NODES: usize = 100;
/// How long a message takes at most, once all is calm and gossip is on.
const PROMPT_MS: u64 = 3_000;
/// How long it takes at most, once all is calm, until links that were cut are up again.
const LINKS_MS: u64 = 10_000;
/// Lifetime of messages that are written in the calm.
const LIFETIME_SECS: u32 = 30 * 86_400;

/// The calm: within a minute for each 10,000 transactions of backlog all honest nodes have every message, and everything that one
/// of them has. What a liar has hidden until then and shows now has the same time from the moment at which an honest node has
/// it: a liar may do so a second before any end. It pays for nothing new, so that does end, and then all honest nodes
/// hold the same.
pub fn settle(world: &mut World) {
    world.calm_down();
    world.look_anew();
    let backlog = world.backlog();
    let within_ms = backlog.div_ceil(10_000).max(1) * CALM_MS;
    let end_ms = world.now_ms + within_ms;
    let last_ms = end_ms + if world.nodes.len() > MANY_NODES { 60 * SHOWN_LATE_MS } else { SHOWN_LATE_MS };
    let (mut complete, mut under_way) = (false, true);
    while !complete || under_way {
        under_way = world.is_under_way(within_ms).unwrap_or_else(|why| {
            panic!("no agreement after the calm, with a backlog of {backlog}: {why}");
        });
        if !complete && (!under_way || world.now_ms >= end_ms) {
            let missing = world.have_every_message().err();
            complete = missing.is_none();
            assert!(complete || world.now_ms < end_ms, "after the calm, with a backlog of {backlog}: {missing:?}");
        }
        if !complete || under_way {
            assert!(world.now_ms < last_ms, "no agreement after the calm, with a backlog of {backlog}");
            world.run(1_000);
        }
    }
    world.nothing_is_lost().unwrap();
    world.same_blocks();
}

/// In the calm a new message is everywhere at once, whatever liars do to it on its way. One that names what a liar shows
/// without its body only now waits for that, some seconds at every hop (decision 0040): it has a minute.
fn new_messages_are_prompt(world: &mut World) {
    // All may have agreed before their links were up again, of whose end a node may hear seconds later.
    let last_ms = world.now_ms + LINKS_MS;
    while !world.honest_links_are_up() {
        assert!(world.now_ms < last_ms, "links of honest nodes are down for {LINKS_MS} ms of calm");
        world.run(100);
    }
    world.run(PROMPT_MS);
    for _ in 0..3 {
        let honest = world.honest().count();
        let writer = world.rng.random_range(0..honest);
        let message = world.write(writer, LIFETIME_SECS).expect("a node that is up");
        let genesis = world.network.genesis();
        let is_late = |node: &Node, id: &TxId| {
            *id != genesis && node.ledger.position(id).unwrap().is_none() && !world.oracle.sound()[id].honest
        };
        let prompt = !world.honest().any(|node| message.core().parents().iter().any(|parent| is_late(node, parent)));
        let within_ms = if prompt { PROMPT_MS } else { CALM_MS };
        world.run(within_ms);
        for node in world.honest() {
            let here = node.ledger.position(&message.id()).unwrap().is_some();
            assert!(here, "node {} has not heard of a message for {within_ms} ms", node.number);
        }
    }
}

fn run(plan: Plan, seed: u64) -> World {
    through(plan, plan.world(seed))
}

/// Both phases, and what must hold at the end.
fn through(plan: Plan, mut world: World) -> World {
    world.run(plan.fault_ms);
    settle(&mut world);
    if world.gossip {
        new_messages_are_prompt(&mut world);
    }
    world
}

/// Some ledgers are on real disks, under which the power goes.
fn on_disk(seed: u64) -> World {
    let mut plan = Plan::draw(seed, runs::nodes(6));
    plan.disk_every = 2;
    plan.liars = 0;
    plan.crashes = 6;
    plan.messages = 60;
    let mut world = plan.world(seed);
    world.struck_percent = 25;
    through(plan, world)
}

/// Transactions of the long chain.
const LONG: u64 = 3_000;

/// Two new nodes, in a line with one that holds a long chain, each of whose transactions has the one before as its parent:
/// the case in which nothing can be taken in but in order. Whatever was sent twice was sent in vain.
fn long_chain(seed: u64) -> World {
    let mut world = World::new(seed, 3, |_| false);
    world.gossip = false;
    let (mut parents, now) = (vec![world.network.genesis()], start());
    for nth in 0..LONG {
        let time = qasedak_chain::Time::from_secs(now.secs() - 3 * DAY_SECS + nth * 80).rounded_down();
        let draft = Draft { parents, time, lifetime_secs: LIFETIME_SECS, body_len: 512, number: world.number() };
        let transaction = maker::made_up(&world.network, &draft);
        let verified = world.oracle.paid(&transaction);
        world.oracle.is_sound(&transaction, true);
        parents = vec![transaction.id()];
        world.nodes[0].ledger.append(verified, now, false).unwrap();
    }
    world.nodes[0].ledger.flush_now(now).unwrap();
    for (a, b) in [(0, 1), (1, 2)] {
        let link = world.link(a, b, Quality::GOOD);
        world.bring_up(link);
    }
    settle(&mut world);
    let served = world.counts.served;
    assert!(served <= 2 * LONG + LONG / 10, "{served} transactions were sent where {} were missing", 2 * LONG);
    world
}

/// A transaction that arrives long before its time, from someone whose clock is two months ahead: its body has gone
/// everywhere before its time comes. Who joins then still gets it, and what names it as its parent.
fn gone_before_its_time(seed: u64) -> World {
    let mut world = World::new(seed, 5, |_| false);
    world.gossip = seed.is_multiple_of(2);
    let links: Vec<usize> = (1..5).map(|at| world.link(at - 1, at, Quality::GOOD)).collect();
    links[..2].iter().for_each(|link| world.bring_up(*link));
    let time = start().plus(60 * DAY_SECS).rounded_down();
    let parents = vec![world.network.genesis()];
    let draft = Draft { parents, time, lifetime_secs: LIFETIME_SECS, body_len: 512, number: world.number() };
    let ahead = maker::made_up(&world.network, &draft);
    let verified = world.oracle.paid(&ahead);
    world.oracle.is_sound(&ahead, true);
    world.own(1, verified);
    world.run(40_000);
    // The whole is sixty days and an hour later by everyone's clock.
    world.sleep((60 * DAY_SECS + 3_600) * 1_000);
    (0..5).for_each(|node| world.act(Act::Prune(node)));
    let child = world.write(1, LIFETIME_SECS).expect("a node that is up");
    assert!(child.core().parents().contains(&ahead.id()), "it is a tip");
    world.run(20_000);
    settle(&mut world);
    assert!(world.honest().all(|node| node.ledger.summary().count == 2));
    world
}

/// Transactions that the flood is made of.
const FLOOD: usize = 3_000;
/// What part of all orphans one peer may fill, as the engine has it: said here a second time on purpose.
const ORPHANS_OF_PEER: usize = 512;

/// A liar pays for a chain of thousands and shows it from its end, so that nothing of it has its parents: the bounds of the
/// engine are reached, and the others go on.
fn flooded(seed: u64) -> World {
    let mut world = World::new(seed, 6, |_| false);
    world.gossip = seed.is_multiple_of(2);
    world.nodes[5].liar = Some(Liar::new(vec![Vice::Flood]));
    for (a, b) in [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (5, 0), (5, 2)] {
        let link = world.link(a, b, Quality::GOOD);
        world.bring_up(link);
    }
    world.run(2_000);
    let mut parents = vec![world.network.genesis()];
    let time = start().rounded_down();
    let chain: Vec<_> = (0..FLOOD)
        .map(|_| {
            let next = world.pays(5, parents.clone(), time, true);
            parents = vec![next.id()];
            next.to_bytes()
        })
        .collect();
    let mut most = 0;
    for (nth, bytes) in chain.into_iter().rev().enumerate() {
        world.whisper(5, bytes);
        if nth % 20 == 0 {
            world.run(100);
            most = most.max(world.nodes[0].engine.status().waiting);
        }
        if nth % 500 == 0 {
            let writer = world.rng.random_range(0..5);
            world.write(writer, LIFETIME_SECS);
        }
    }
    world.run(5_000);
    most = most.max(world.nodes[0].engine.status().waiting);
    assert!(most <= ORPHANS_OF_PEER, "one peer fills {most} places of orphans");
    assert!(most > ORPHANS_OF_PEER * 9 / 10, "the bound was never reached: {most}");
    settle(&mut world);
    world
}

#[test]
fn flood() {
    runs::each("scenarios::flood", 2, flooded);
}

#[test]
fn gone() {
    runs::each("scenarios::gone", 2, gone_before_its_time);
}

#[test]
fn a_long_chain() {
    runs::each("scenarios::a_long_chain", 2, long_chain);
}

#[test]
fn twenty_nodes() {
    runs::each("scenarios::twenty_nodes", 1_000, |seed| run(Plan::draw(seed, runs::nodes(20)), seed));
}

#[test]
fn disks() {
    runs::each("scenarios::disks", 8, on_disk);
}

#[test]
fn a_hundred_nodes() {
    runs::each("scenarios::a_hundred_nodes", 10, |seed| run(Plan::draw(seed, runs::nodes(100)), seed));
}
