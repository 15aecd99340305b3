//! What a log states in a checkpoint: the same for the same set where it must be, and never what an earlier one denies.

// Tests say by panicking that something is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use ed25519_dalek::{Signer, SigningKey};
use proptest::prelude::*;
use qasedak_chain::{
    Ledger, Network, Time, Transaction, block,
    checkpoint::{Checkpoint, SignedCheckpoint, judge},
    ledger::public_log_id,
    merkle::{self, Tree, verify_inclusion},
    store::memory::MemoryStore,
    time::HOUR_SECS,
};

#[path = "support/pool.rs"]
mod pool;

use pool::{POOL_LEN, after_pool, pool, topological, verified};

type MemoryLedger = Ledger<MemoryStore>;

fn empty() -> MemoryLedger {
    Ledger::open(Network::dev(), MemoryStore::new()).unwrap()
}

fn append(ledger: &mut MemoryLedger, transaction: &Transaction) {
    ledger.append(verified(&Network::dev(), transaction), after_pool(), false).unwrap();
}

fn sign(ledger: &mut MemoryLedger, at: Time) -> Option<SignedCheckpoint> {
    let network = Network::dev();
    let key = SigningKey::from_bytes(&[3; 32]);
    let statement = ledger.statement([1; 16], at).unwrap()?;
    let checkpoint = Checkpoint::new(&network, statement).unwrap();
    Some(checkpoint.sign(&network, key.verifying_key().to_bytes(), |message| key.sign(message).to_bytes()).unwrap())
}

/// The tree of blocks up to one of them, as its definition says.
fn naive(ledger: &mut MemoryLedger, last: u64) -> (u64, qasedak_chain::Root) {
    let blocks = ledger.blocks(0, usize::MAX).unwrap();
    let leaves: Vec<[u8; 48]> = blocks.iter().filter(|one| one.number <= last).map(block::Block::leaf).collect();
    (leaves.len() as u64, Tree::of(Network::dev().ledger(), &leaves).root())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the order of arrival and whenever it is asked: the tree of blocks is that of its definition, every block
    /// has a path to its root, and no checkpoint contradicts an earlier one, though late ones change closed blocks.
    #[test]
    fn checkpoints_of_a_growing_log_agree(
        priorities in prop::collection::vec(any::<u64>(), POOL_LEN),
        every in 1usize..9,
    ) {
        let network = Network::dev();
        let mut ledger = empty();
        let mut last: Option<SignedCheckpoint> = None;
        for (n, transaction) in topological(pool(), &priorities).iter().enumerate() {
            append(&mut ledger, transaction);
            if n % every != 0 {
                continue;
            }
            let next = sign(&mut ledger, after_pool().plus(n as u64)).unwrap();
            if let Some(last) = &last {
                let path = ledger.consistency_path(last.statement().count, next.statement().count).unwrap();
                prop_assert_eq!(judge(&network, last, &next, Some(&path)), Ok(()));
            }
            if let Some(closed) = next.statement().closed {
                prop_assert_eq!((closed.blocks, closed.root), naive(&mut ledger, closed.number));
            }
            last = Some(next);
        }
        let blocks = ledger.blocks(0, usize::MAX).unwrap();
        let newest = blocks.last().unwrap().number;
        let all = ledger.blocks_up_to(newest).unwrap().unwrap();
        prop_assert_eq!((all.blocks, all.root), naive(&mut ledger, newest));
        for (n, one) in blocks.iter().enumerate() {
            let found = ledger.block_path(one.number, newest).unwrap().unwrap();
            prop_assert_eq!((found.index, found.size), (n as u64, blocks.len() as u64));
            let leaf = merkle::leaf(network.ledger(), &one.leaf());
            prop_assert!(verify_inclusion(network.ledger(), leaf, found.index, found.size, &found.path, &all.root));
        }
    }
}

#[test]
fn a_block_is_stated_from_the_second_on_in_which_it_closes() {
    let mut ledger = empty();
    pool().iter().for_each(|transaction| append(&mut ledger, transaction));
    let newest = ledger.blocks(0, usize::MAX).unwrap().last().unwrap().number;
    let closes = Time::from_secs((newest + 3) * HOUR_SECS);
    assert_eq!(block::closes(newest), closes);
    let last = |ledger: &mut MemoryLedger, at| ledger.closed_blocks(at).unwrap().map(|closed| closed.number);
    assert_eq!(last(&mut ledger, closes), Some(newest));
    assert!(last(&mut ledger, Time::from_secs(closes.secs() - 1)) < Some(newest));
    assert_eq!(last(&mut ledger, Time::from_secs(0)), None);
    assert_eq!(ledger.blocks_up_to(newest + 1).unwrap(), None, "an empty hour");
    assert_eq!(ledger.block_path(newest, newest - 1).unwrap(), None);
    assert_eq!(POOL_LEN as u64, ledger.summary().count);
}

#[test]
fn an_empty_log_states_nothing_and_a_restart_changes_nothing() {
    assert_eq!(sign(&mut empty(), after_pool()), None);
    let mut ledger = empty();
    pool().iter().for_each(|transaction| append(&mut ledger, transaction));
    ledger.flush_now(after_pool()).unwrap();
    let before = sign(&mut ledger, after_pool().plus(60));
    let mut again = Ledger::open(Network::dev(), ledger.store().crashed()).unwrap();
    assert_eq!(sign(&mut again, after_pool().plus(60)), before);
}

#[test]
fn a_new_peer_key_or_log_is_another_log_id() {
    let id = public_log_id(&[1; 16], &[2; 32]);
    assert_ne!(id, public_log_id(&[1; 16], &[3; 32]));
    assert_ne!(id, public_log_id(&[2; 16], &[2; 32]));
    assert_ne!(id, [1; 16], "the disk's own is not shown");
}
