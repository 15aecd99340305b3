//! Proofs out of a ledger: the same files as put together by hand, over every checkpoint that carries the block and no
//! other, and a sentence where there is none.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::OnceLock;

use qasedak_chain::{
    Ledger, Network, Transaction, TxId,
    checkpoint::SignedCheckpoint,
    ledger::{ProveError, Witnesses},
    proof::{self, Fact},
    store::memory::MemoryStore,
};

#[path = "support/node.rs"]
mod node;
#[path = "support/pool.rs"]
mod pool;
#[path = "support/world.rs"]
mod world;

use pool::{make, verified};
use world::{HOURS, World, stranger};

fn dev() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::new(Network::dev()))
}

/// A ledger that holds these, in this order.
fn ledger<'a>(transactions: impl IntoIterator<Item = &'a Transaction>) -> Ledger<MemoryStore> {
    let network = Network::dev();
    let mut ledger = Ledger::open(network.clone(), MemoryStore::new()).unwrap();
    for transaction in transactions {
        ledger.append(verified(&network, transaction), transaction.core().time().plus(60), false).unwrap();
    }
    ledger
}

/// Checkpoints of all three at these hours after the start.
fn checkpoints(world: &World, hours: &[u64]) -> Vec<SignedCheckpoint> {
    hours.iter().flat_map(|hour| world.peers.iter().map(|peer| peer.checkpoint(world.at(*hour)))).collect()
}

fn witnesses(world: &World, checkpoints: Vec<SignedCheckpoint>) -> Witnesses {
    Witnesses { own: Some(world.prover().signer()), checkpoints }
}

#[test]
fn every_transaction_is_proven_as_by_hand() {
    let world = dev();
    let mut ledger = ledger(&world.transactions);
    let all = checkpoints(world, &[10, 12]);
    for transaction in &world.transactions {
        let id = transaction.id();
        let file = ledger.prove(&id, &witnesses(world, all.clone()), world.at(12)).unwrap().file;
        assert_eq!(file, world.inclusion(&id, &all).to_file(&world.network).unwrap());
        let proven = proof::check(&file).unwrap();
        assert_eq!((proven.words().len(), proven.is_own_word_only()), (6, false));
    }
}

#[test]
fn absence_is_proven_in_every_hour_as_by_hand() {
    let world = dev();
    let mut ledger = ledger(&world.transactions);
    let all = checkpoints(world, &[10]);
    for hour in 0..8u64 {
        let number = world.hour(hour);
        for first in [[0, 0], [0x80, 0], [0xff, 0xff]] {
            let id = stranger(first);
            let file = ledger.prove_absent(&id, number, &witnesses(world, all.clone()), world.at(12)).unwrap().file;
            let fact = proof::check(&file).unwrap().fact().clone();
            let by_hand = match HOURS.get(hour as usize).copied().unwrap_or(0) {
                0 => {
                    assert_eq!(fact, Fact::EmptyBlock { id, number });
                    world.empty_block(&id, number, &all).to_file(&world.network)
                }
                count => {
                    assert_eq!(fact, Fact::Absent { id, number, count });
                    world.absence(&id, number, &all).to_file(&world.network)
                }
            };
            assert_eq!(file, by_hand.unwrap());
        }
    }
}

/// A checkpoint from before a late arrival carries nothing of that block and of those behind it; those before it still do.
#[test]
fn a_late_arrival_leaves_out_the_checkpoints_that_do_not_know_it() {
    let world = dev();
    let mut ledger = ledger(&world.transactions);
    let old = witnesses(world, checkpoints(world, &[10]));
    let (early, late) = (world.transactions[0].id(), world.transactions[9].id());
    assert!(ledger.prove(&early, &old, world.at(12)).is_ok() && ledger.prove(&late, &old, world.at(12)).is_ok());
    let island = make(&world.network, 99, &[world.network.genesis()], world.at(2).secs());
    ledger.append(verified(&world.network, &island), world.at(12), false).unwrap();
    // All of these checkpoints state one root over all blocks, which this ledger does not reproduce any more.
    for id in [early, late, island.id()] {
        let error = ledger.prove(&id, &old, world.at(12)).unwrap_err();
        assert!(matches!(error, ProveError::NoWitness(_)), "{error}");
    }
    // Those over a beginning of the blocks are still good for it.
    let beginning = witnesses(world, checkpoints(world, &[3]));
    assert!(ledger.prove(&early, &beginning, world.at(12)).is_ok());
    let number = world.hour(2);
    let absent = |ledger: &mut Ledger<MemoryStore>| ledger.prove_absent(&stranger([1, 1]), number, &old, world.at(12));
    assert!(matches!(absent(&mut ledger), Err(ProveError::NoWitness(of)) if of == number));
}

#[test]
fn the_provers_own_word_only_is_said_to_be_so() {
    let world = dev();
    let mut ledger = ledger(&world.transactions);
    let own = witnesses(world, vec![world.prover().checkpoint(world.at(10))]);
    let file = ledger.prove(&world.transactions[3].id(), &own, world.at(12)).unwrap().file;
    assert!(proof::check(&file).unwrap().is_own_word_only());
    let file = ledger.prove_absent(&stranger([1, 1]), world.hour(4), &own, world.at(12)).unwrap().file;
    assert!(proof::check(&file).unwrap().is_own_word_only());
}

/// A file has room for so many checkpoints; those behind are not looked at, and counted.
#[test]
fn what_a_file_has_no_room_for_is_counted() {
    let world = dev();
    let mut ledger = ledger(&world.transactions);
    let (peer, id) = (&world.peers[0], world.transactions[3].id());
    // A hundred that say nothing of the blocks, and more than there is room for that do.
    let checkpoints = |count: u64| {
        let early = (0..100).map(|n| peer.checkpoint(world.at(0).plus(n)));
        let late = (0..count).map(|n| peer.checkpoint(world.at(12).plus(n)));
        witnesses(world, early.chain(late).collect())
    };
    for (count, cited, left_out) in [(5, 5, 0), (256, 256, 0), (300, 256, 44)] {
        let all = checkpoints(count);
        let made = [
            ledger.prove(&id, &all, world.at(13)),
            ledger.prove_absent(&stranger([1, 1]), world.hour(0), &all, world.at(13)),
            ledger.prove_absent(&stranger([1, 1]), world.hour(7), &all, world.at(13)),
        ];
        for made in made {
            let made = made.unwrap();
            assert_eq!(made.left_out, left_out);
            assert_eq!(proof::check(&made.file).unwrap().words().len(), cited);
        }
    }
}

#[test]
fn what_cannot_be_proven_has_its_sentence() {
    let world = dev();
    let mut ledger = ledger(&world.transactions);
    let all = witnesses(world, checkpoints(world, &[10]));
    let (id, last) = (stranger([1, 1]), world.transactions.last().unwrap());
    assert!(matches!(ledger.prove(&id, &all, world.at(12)), Err(ProveError::NotHere(of)) if of == id));
    let present = ledger.prove_absent(&last.id(), world.hour(0), &all, world.at(12));
    assert!(matches!(present, Err(ProveError::Present { id, number }) if id == last.id() && number == world.hour(5)));
    // Open, and of the future.
    let open = ledger.prove_absent(&id, world.hour(10), &all, world.at(12)).unwrap_err();
    assert!(matches!(open, ProveError::Open { closes, .. } if closes == world.at(13)), "{open}");
    assert!(matches!(ledger.prove_absent(&id, u64::MAX, &all, world.at(12)), Err(ProveError::Open { .. })));
    let before = ledger.prove_absent(&id, world.hour(0) - 1, &all, world.at(12));
    assert!(matches!(before, Err(ProveError::BeforeStart { .. })));
    let nobody = witnesses(world, Vec::new());
    assert!(matches!(ledger.prove(&last.id(), &nobody, world.at(12)), Err(ProveError::NoWitness(_))));
    let empty: [TxId; 0] = [];
    assert_eq!(ledger.block_ids(world.hour(2)).unwrap(), empty);
}
