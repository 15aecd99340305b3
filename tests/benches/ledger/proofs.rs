//! Making proofs and checking them, against the bare primitives that they take.
//!
//! A proof holds four headers (a transaction and its three parents) and one checkpoint, all of which are verified when it
//! is made and when it is checked: signatures and stamps are real, so these come from the fixture.

use std::{collections::BTreeMap, time::Instant};

use ed25519_dalek::{Signature, Signer, SigningKey};
use qasedak_chain::{
    Ledger, Network, Transaction, TxId,
    checkpoint::{Checkpoint, SignedCheckpoint},
    ledger::Witnesses,
    proof,
    rules::{self, Verified},
    store::disk::DiskStore,
};

use crate::{
    fixture, pipeline,
    raw::{self, Bare},
    report::median,
};

/// Stamped transactions at the beginning of each ledger.
pub const STAMPED: usize = 256;
/// Proofs that are made and checked in one round.
const PROOFS: usize = 16;

/// The beginning of each ledger.
pub fn stamped(network: &Network) -> Vec<Verified> {
    let verified = |wire: Vec<u8>| rules::verify(network, Transaction::from_bytes(network, &wire).unwrap()).unwrap();
    fixture::first(network, STAMPED).into_iter().map(verified).collect()
}

/// What the rounds share.
pub struct Proofs {
    network: Network,
    /// Transactions that are proven, each with its own id and those of its parents.
    targets: Vec<Vec<TxId>>,
    bare: BTreeMap<TxId, Bare>,
    key: SigningKey,
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

impl Proofs {
    pub fn new(network: &Network) -> Self {
        let mut bare = BTreeMap::new();
        let mut targets = Vec::new();
        for wire in fixture::first(network, STAMPED) {
            let transaction = Transaction::from_bytes(network, &wire).unwrap();
            let id = transaction.id();
            bare.insert(id, Bare::new(network, &wire));
            targets.push([&[id], transaction.core().parents()].concat());
        }
        let targets = targets.split_off(STAMPED - PROOFS);
        Self { network: network.clone(), targets, bare, key: SigningKey::from_bytes(&[5; 32]) }
    }

    fn checkpoint(&self, ledger: &mut Ledger<DiskStore>) -> SignedCheckpoint {
        let statement = ledger.statement([4; 16], pipeline::clock(&self.network)).unwrap().unwrap();
        let sign = |message: &[u8; 32]| self.key.sign(message).to_bytes();
        Checkpoint::new(&self.network, statement)
            .unwrap()
            .sign(&self.network, self.key.verifying_key().to_bytes(), sign)
            .unwrap()
    }

    /// One round: the limits are the headers' stamps and signatures, the checkpoint's signature, and, for making a
    /// proof, the hashes of the block's tree.
    pub fn measure(&self, ledger: &mut Ledger<DiskStore>, add: &mut impl FnMut(&'static str, f64)) {
        let mut signed = None;
        add("statement", seconds(|| signed = Some(self.checkpoint(ledger))));
        let checkpoint = signed.unwrap();
        let (author, now) = (self.key.verifying_key(), pipeline::clock(&self.network));
        let witnesses = Witnesses { own: Some(author.to_bytes()), checkpoints: vec![checkpoint] };
        let (message, signature) =
            (checkpoint.checkpoint().signing_message(&self.network), Signature::from_bytes(checkpoint.signature()));
        let mut all: [Vec<f64>; 4] = Default::default();
        for ids in &self.targets {
            let bare = seconds(|| {
                assert!(ids.iter().all(|id| self.bare[id].check()));
                author.verify_strict(&message, &signature).unwrap();
            });
            let block = ledger.block(self.network.start().hour()).unwrap().unwrap();
            let hashes = raw::tree(block.count as usize).as_secs_f64();
            let (mut file, mut proven) = (Vec::new(), None);
            let made = seconds(|| file = ledger.prove(&ids[0], &witnesses, now).unwrap().file);
            let checked = seconds(|| proven = Some(proof::check(&file).unwrap()));
            assert_eq!(proven.unwrap().words().len(), 1);
            all.iter_mut().zip([made, bare + hashes, checked, bare]).for_each(|(all, value)| all.push(value));
        }
        let [made, made_limit, checked, checked_limit] = all.map(median);
        add("prove", made);
        add("prove limit", made_limit);
        add("check", checked);
        add("check limit", checked_limit);
    }
}
