//! What is kept of blocks leads to what reading all of a block leads to, whatever came late and whatever became of it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say by panicking that something is wrong")]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{GROUP, Place, READ_WHOLE, contents_and_bytes};
use crate::{
    Ledger, Network,
    block::{self, Block},
    ids::{LedgerId, Position, TxId},
    proof::{neighbours, place_in_block},
    rules::Verified,
    store::{
        Store,
        disk::{
            DiskOptions, DiskStore,
            faults::{Faults, Kind as Failure},
        },
        memory::MemoryStore,
    },
    time::Time,
    transaction::{Core, CoreFields, Header, Kind, Transaction, body_hash},
};

const BODY: [u8; 512] = [0; 512];

/// A transaction of the network's first hour that has neither signature nor stamp.
fn make(network: &Network, nth: u64) -> Transaction {
    let core = Core::new(CoreFields {
        parents: vec![network.genesis()],
        time: network.start(),
        lifetime_secs: 3_600,
        kind: Kind::Sealed,
        hint: u128::from(nth).to_le_bytes(),
        body_hash: body_hash(network, &BODY),
        body_len: 512,
        author: ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes(),
    });
    let header = Header::from_bytes(&[core.unwrap().to_bytes(), vec![0; 88]].concat()).unwrap();
    Transaction::new(network, header, Some(BODY.to_vec())).unwrap()
}

/// Two hours after the first hour: its block is closed.
fn later(network: &Network) -> Time {
    network.start().plus(3 * 3_600)
}

fn append<S: Store>(ledger: &mut Ledger<S>, nths: std::ops::Range<u64>, now: Time) -> Vec<TxId> {
    let network = ledger.network().clone();
    let ids = nths.map(|nth| {
        let transaction = make(&network, nth);
        let id = transaction.id();
        ledger.append(Verified::unchecked(transaction), now, false).unwrap();
        id
    });
    ids.collect()
}

fn first_block<S: Store>(ledger: &mut Ledger<S>) -> Block {
    ledger.block(ledger.network().start().hour()).unwrap().unwrap()
}

/// Whether something is kept of the block as it is now.
fn is_kept<S: Store>(ledger: &Ledger<S>, block: &Block) -> bool {
    super::KeptBlock::open(ledger.store(), ledger.network().ledger(), block).is_some()
}

/// Asks for the place of one id and for the neighbours of one that is not there, and compares with the whole block.
fn agrees<S: Store>(ledger: &mut Ledger<S>, ids: &BTreeSet<TxId>, pick: prop::sample::Index, stranger: [u8; 32]) {
    let (network, block, all) = (ledger.network().ledger(), first_block(ledger), Vec::from_iter(ids.iter().copied()));
    let id = *pick.get(&all);
    let Place { index, path } = ledger.place_in_block(&block, &id).unwrap().unwrap();
    assert_eq!((index, path), place_in_block(network, &all, &id).unwrap());
    let stranger = TxId::from_bytes(stranger);
    assert_eq!(
        ledger.neighbours_in_block(&block, &stranger).unwrap().unwrap(),
        neighbours(network, &all, &stranger).unwrap()
    );
    assert_eq!(is_kept(ledger, &block), all.len() > READ_WHOLE, "{} ids", all.len());
}

#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    Prove(prop::sample::Index, [u8; 32]),
    /// The process dies behind a flush.
    Reopen,
    /// A byte of what is kept is another, or all from there on is missing.
    Damage(prop::sample::Index, u8, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        // One late arrival, some, or a whole island's.
        2 => prop_oneof![Just(1), 1u64..8, 30u64..150].prop_map(Step::Append),
        4 => (any::<prop::sample::Index>(), any::<[u8; 32]>()).prop_map(|(at, id)| Step::Prove(at, id)),
        1 => Just(Step::Reopen),
        1 => (any::<prop::sample::Index>(), 1u8..=255, any::<bool>()).prop_map(|(at, by, cut)| Step::Damage(at, by, cut)),
    ];
    prop::collection::vec(step, 1..24)
}

fn damage<S: Store>(ledger: &mut Ledger<S>, place: prop::sample::Index, mask: u8, cut: bool) {
    let number = ledger.network.start().hour();
    let places = ledger.block_places(number).unwrap();
    if places.len() <= READ_WHOLE {
        return;
    }
    let (_, mut bytes) = contents_and_bytes(ledger.network.ledger(), &places);
    let at = place.index(bytes.len());
    if cut {
        bytes.truncate(at)
    } else {
        bytes[at] ^= mask
    }
    ledger.store.keep_block(number, &bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn proofs_are_those_of_the_whole_block(first in 1u64..300, steps in steps()) {
        let (network, dir) = (Network::dev(), tempfile::tempdir().unwrap());
        let now = later(&network);
        let options = DiskOptions { memtable_records: 64, segment_bytes: 20_000, ..DiskOptions::default() };
        let open = || {
            let store = DiskStore::open_with(dir.path(), &network, [9; 16], options, &mut |_, _| {}).unwrap();
            Ledger::open(network.clone(), store).unwrap()
        };
        let (mut on_disk, mut in_memory) = (open(), Ledger::open(network.clone(), MemoryStore::new()).unwrap());
        let (mut next, mut ids) = (first, BTreeSet::from_iter(append(&mut on_disk, 0..first, now)));
        append(&mut in_memory, 0..first, now);
        for step in steps {
            match step {
                Step::Append(count) => {
                    ids.extend(append(&mut on_disk, next..next + count, now));
                    append(&mut in_memory, next..next + count, now);
                    next += count;
                }
                Step::Prove(pick, stranger) => {
                    agrees(&mut on_disk, &ids, pick, stranger);
                    agrees(&mut in_memory, &ids, pick, stranger);
                }
                Step::Reopen => {
                    on_disk.flush_now(now).unwrap();
                    drop(on_disk);
                    on_disk = open();
                }
                Step::Damage(place, mask, cut) => {
                    damage(&mut on_disk, place, mask, cut);
                    damage(&mut in_memory, place, mask, cut);
                }
            }
        }
    }

    /// Count and root are those of a block computed in one go, whatever its size.
    #[test]
    fn contents_are_those_of_the_ids(count in 0usize..300) {
        let (ledger, mut ids) = (LedgerId::from_bytes([1; 32]), Vec::new());
        for nth in 0..count as u64 {
            let id = crate::hash::hash(crate::hash::Context::Id, &[&nth.to_le_bytes()]);
            ids.push((TxId::from_bytes(id), Position::new(nth)));
        }
        ids.sort_unstable();
        let right = block::contents(ledger, ids.iter().map(|(id, _)| *id).collect());
        let (contents, bytes) = contents_and_bytes(ledger, &ids);
        assert_eq!(contents, right);
        let roots: usize = (5..32).map(|level| count >> level).sum();
        assert_eq!(bytes.len(), 40 + 5 * count + 32 * roots);
    }
}

/// However large the block, a proof reads three groups of ids at most, beside the first of log n.
#[test]
fn a_proof_reads_few_ids() {
    let network = Network::dev();
    let mut ledger = Ledger::open(network.clone(), MemoryStore::new()).unwrap();
    let ids = append(&mut ledger, 0..2_047, later(&network));
    let block = first_block(&mut ledger);
    for (nth, id) in ids.iter().enumerate().step_by(100) {
        let kept = super::KeptBlock::open(ledger.store(), network.ledger(), &block).unwrap();
        assert!(kept.place(id).is_ok());
        assert!(kept.groups.borrow().len() <= 2, "{nth}");
        assert!(kept.neighbours(&TxId::from_bytes([nth as u8; 32])).is_ok());
        assert!(kept.groups.borrow().len() <= 5, "{nth}");
        assert!(kept.groups.borrow().values().all(|group| group.len() as u64 <= GROUP));
    }
}

/// A block is kept once its hour has ended, by itself if nothing came behind that; and anew after a late arrival.
#[test]
fn a_large_block_is_kept_once_its_hour_has_ended() {
    let network = Network::dev();
    let mut ledger = Ledger::open(network.clone(), MemoryStore::new()).unwrap();
    let count = READ_WHOLE as u64 + 1;
    append(&mut ledger, 0..count, network.start().plus(60));
    let block = first_block(&mut ledger);
    assert!(!is_kept(&ledger, &block), "its hour goes on");
    // Nothing comes behind that: the clock alone goes on.
    ledger.flush_now(later(&network)).unwrap();
    assert_eq!(first_block(&mut ledger), block);
    assert!(is_kept(&ledger, &block) && ledger.unkept_hours.is_empty());
    append(&mut ledger, count..count + 1, later(&network));
    let late = first_block(&mut ledger);
    assert!(is_kept(&ledger, &late) && !is_kept(&ledger, &block));
}

/// What says of itself that it is of the block and is not leads nowhere, and the proof is made from the log.
#[test]
fn what_is_kept_is_not_trusted() {
    let network = Network::dev();
    let now = later(&network);
    let mut ledger = Ledger::open(network.clone(), MemoryStore::new()).unwrap();
    let ids = BTreeSet::from_iter(append(&mut ledger, 0..200, now));
    let block = first_block(&mut ledger);
    let places = ledger.block_places(block.number).unwrap();
    let (_, right) = contents_and_bytes(network.ledger(), &places);
    let all = Vec::from_iter(ids.iter().copied());
    // Each byte behind count and root in turn: of positions and of roots.
    for at in (40..right.len()).step_by(3) {
        let mut wrong = right.clone();
        wrong[at] ^= 1;
        ledger.store.keep_block(block.number, &wrong);
        let id = all[at % all.len()];
        let place = ledger.place_in_block(&block, &id).unwrap().unwrap();
        assert_eq!((place.index, place.path), place_in_block(network.ledger(), &all, &id).unwrap());
        ledger.store.keep_block(block.number, &wrong);
        let stranger = TxId::from_bytes([at as u8; 32]);
        let sides = ledger.neighbours_in_block(&block, &stranger).unwrap().unwrap();
        assert_eq!(sides, neighbours(network.ledger(), &all, &stranger).unwrap());
    }
}

/// On a disk that refuses, nothing is kept, and everything is computed and proven all the same.
#[test]
fn what_cannot_be_kept_is_done_without() {
    let (network, dir) = (Network::dev(), tempfile::tempdir().unwrap());
    let now = later(&network);
    for failure in Failure::ALL {
        let below = dir.path().join(format!("{failure:?}"));
        let store = DiskStore::open(&below, &network, [9; 16]).unwrap();
        let mut ledger = Ledger::open(network.clone(), store).unwrap();
        let ids = Vec::from_iter(BTreeSet::from_iter(append(&mut ledger, 0..200, now)));
        ledger.flush_now(now).unwrap();
        let faults = Faults::below(&below.join("blocks"));
        faults.fail_from(1, failure);
        let block = first_block(&mut ledger);
        for id in ids.iter().step_by(40) {
            let place = ledger.place_in_block(&block, id).unwrap().unwrap();
            assert_eq!((place.index, place.path), place_in_block(network.ledger(), &ids, id).unwrap());
        }
        // It makes no fsync, so that failing ones never strike.
        assert_eq!(faults.hits() > 0, failure != Failure::LostSync, "{failure:?}");
        assert_eq!(is_kept(&ledger, &block), failure == Failure::LostSync);
    }
}
