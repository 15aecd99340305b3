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

    /// Signing, and the digest's hash; and for the first statement behind a start the tree of all blocks.
    fn statement_limit(&self, blocks: u64) -> f64 {
        let signing = seconds(|| assert_ne!(self.key.sign(&[7; 32]).to_bytes(), [0; 64]));
        signing + (raw::hash(1, 2_048) + raw::tree(blocks as usize)).as_secs_f64()
    }

    /// One round, behind a start: statements, then proofs of them. The limits of proofs are the headers' stamps and
    /// signatures, the checkpoint's signature, and the hashes of the path in the block; a proof of absence has two paths and
    /// no header.
    pub fn measure(&self, ledger: &mut Ledger<DiskStore>, add: &mut impl FnMut(&'static str, f64)) {
        let mut signed = None;
        add("first statement", seconds(|| signed = Some(self.checkpoint(ledger))));
        let checkpoint = signed.unwrap();
        let blocks = checkpoint.statement().closed.unwrap().blocks;
        add("first statement limit", self.statement_limit(blocks));
        add("statement limit", self.statement_limit(0));
        add("statement", seconds(|| assert_eq!(self.checkpoint(ledger).signer(), checkpoint.signer())));
        self.proofs(ledger, checkpoint, add);
    }

    /// Proofs under a checkpoint, of single transactions and of an absent one.
    fn proofs(
        &self,
        ledger: &mut Ledger<DiskStore>,
        checkpoint: SignedCheckpoint,
        add: &mut impl FnMut(&'static str, f64),
    ) {
        let (author, now) = (self.key.verifying_key(), pipeline::clock(&self.network));
        let witnesses = Witnesses { own: Some(author.to_bytes()), checkpoints: vec![checkpoint] };
        let (message, signature) =
            (checkpoint.checkpoint().signing_message(&self.network), Signature::from_bytes(checkpoint.signature()));
        let number = self.network.start().hour();
        let block = ledger.block(number).unwrap().unwrap();
        let mut all: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
        for (nth, ids) in self.targets.iter().enumerate() {
            let headers = seconds(|| assert!(ids.iter().all(|id| self.bare[id].check())));
            let signed = seconds(|| author.verify_strict(&message, &signature).unwrap());
            let path = raw::path(block.count).as_secs_f64();
            let (mut file, mut proven) = (Vec::new(), None);
            let made = seconds(|| file = ledger.prove(&ids[0], &witnesses, now).unwrap().file);
            let checked = seconds(|| proven = Some(proof::check(&file).unwrap()));
            assert_eq!(proven.unwrap().words().len(), 1);
            let absent = TxId::from_bytes(fixture::bytes_of(nth as u64, "absent", 32).try_into().unwrap());
            let absence = seconds(|| file = ledger.prove_absent(&absent, number, &witnesses, now).unwrap().file);
            let figures = [
                ("prove", made),
                ("prove limit", headers + signed + path),
                ("check", checked),
                ("check limit", headers + signed + path),
                ("prove absence", absence),
                ("prove absence limit", signed + 2.0 * path),
            ];
            figures.into_iter().for_each(|(name, value)| all.entry(name).or_default().push(value));
        }
        all.into_iter().for_each(|(name, values)| add(name, median(values)));
    }
}
