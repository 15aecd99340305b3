//! The runs: what CI does, and what is done on demand (`docs/testing.md`, "The simulator").

use qasedak_chain::time::DAY_SECS;
use rand::RngExt;

use crate::{
    maker::{self, Draft},
    net::Quality,
    plan::Plan,
    runs,
    world::{World, start},
};

/// Virtual time for each 10,000 transactions of backlog.
const CALM_MS: u64 = 60_000;
/// How long a message takes at most, once all is calm and gossip is on.
const PROMPT_MS: u64 = 10_000;
/// Lifetime of messages that are written in the calm.
const LIFETIME_SECS: u32 = 30 * 86_400;

/// The calm: within a minute for each 10,000 transactions of backlog all honest nodes agree.
pub fn settle(world: &mut World) {
    world.calm_down();
    let backlog = world.backlog();
    let end_ms = world.now_ms + backlog.div_ceil(10_000).max(1) * CALM_MS;
    while let Err(why) = world.agree() {
        assert!(world.now_ms < end_ms, "no agreement after the calm, with a backlog of {backlog}: {why}");
        world.run(1_000);
    }
    world.nothing_is_lost().unwrap();
    world.same_blocks();
}

/// In the calm a new message is everywhere at once, whatever liars do to it on its way.
fn new_messages_are_prompt(world: &mut World) {
    for _ in 0..3 {
        let honest = world.honest().count();
        let writer = world.rng.random_range(0..honest);
        let id = world.write(writer, LIFETIME_SECS).expect("a node that is up").id();
        world.run(PROMPT_MS);
        for node in world.honest() {
            let position = node.ledger.position(&id).unwrap();
            assert!(position.is_some(), "node {} has not heard of a message for {PROMPT_MS} ms", node.number);
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
