//! A node that makes checkpoints, as a model: a log in order of arrival, the blocks of its set, an own clock, a peer key.
//! Ids are free to choose, since nothing here needs transactions.

// Each test binary compiles this file for itself and uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;

use ed25519_dalek::{Signer, SigningKey};
use qasedak_chain::{
    Network, Time, TxId,
    block::{self, Block},
    checkpoint::{Checkpoint, Closed, SignedCheckpoint, Statement},
    digest::SetDigest,
    link::{first_link, next_link},
    merkle::Tree,
};

#[derive(Clone)]
pub struct Node {
    pub network: Network,
    pub key: SigningKey,
    pub log_id: [u8; 16],
    /// Ids in order of arrival.
    pub log: Tree,
    pub ids: Vec<TxId>,
    /// Ids of each hour, ascending.
    pub hours: BTreeMap<u64, Vec<TxId>>,
}

impl Node {
    /// A node with an empty log; `seed` makes its key and its log id.
    pub fn new(network: Network, seed: u8) -> Self {
        let log = Tree::new(network.ledger());
        let key = SigningKey::from_bytes(&[seed; 32]);
        Self { network, key, log_id: [seed; 16], log, ids: Vec::new(), hours: BTreeMap::new() }
    }

    pub fn signer(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    pub fn append(&mut self, id: TxId, hour: u64) {
        self.log.push(id.as_bytes());
        self.ids.push(id);
        let ids = self.hours.entry(hour).or_default();
        ids.insert(ids.partition_point(|other| *other < id), id);
    }

    pub fn blocks(&self) -> Vec<Block> {
        let ledger = self.network.ledger();
        let mut chain = block::first_previous(ledger);
        let blocks = self.hours.iter().map(|(number, ids)| {
            let block = block::chained(ledger, chain, *number, block::contents(ledger, ids.clone()));
            chain = block.chain;
            block
        });
        blocks.collect()
    }

    /// The tree of blocks, those that are not closed included.
    pub fn tree_of_blocks(&self) -> Tree {
        Tree::of(self.network.ledger(), self.blocks().iter().map(Block::leaf))
    }

    pub fn statement(&self, time: Time) -> Statement {
        let ledger = self.network.ledger();
        let blocks = self.blocks();
        let closed = blocks.iter().filter(|block| block.is_closed(time)).count();
        let mut set = SetDigest::new(ledger);
        self.ids.iter().for_each(|id| set.add(id));
        Statement {
            log: self.log_id,
            count: self.log.len(),
            link: self.ids.iter().fold(first_link(ledger), next_link),
            root: self.log.root(),
            digest: set.digest(),
            closed: closed.checked_sub(1).map(|last| Closed {
                number: blocks[last].number,
                chain: blocks[last].chain,
                blocks: closed as u64,
                root: self.tree_of_blocks().root_of(closed as u64).unwrap(),
            }),
            time,
        }
    }

    pub fn sign(&self, statement: Statement) -> SignedCheckpoint {
        let checkpoint = Checkpoint::new(&self.network, statement).unwrap();
        checkpoint.sign(&self.network, self.signer(), |message| self.key.sign(message).to_bytes()).unwrap()
    }

    pub fn checkpoint(&self, time: Time) -> SignedCheckpoint {
        self.sign(self.statement(time))
    }
}
