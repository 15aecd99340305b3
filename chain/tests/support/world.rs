//! A small world to prove things about: real transactions of `dev` over some hours, and peers that hold them.
//!
//! Blocks, by hours after the start: 0 has one transaction, 1 has seven, 2 none, 3 two, 4 none, 5 one. A user of this
//! file has `node.rs` and `pool.rs` beside it as modules `node` and `pool`.

// Each test binary compiles this file for itself and uses a part of it.
#![allow(dead_code)]

use qasedak_chain::{
    Network, Time, Transaction, TxId,
    block::{Block, Contents},
    checkpoint::SignedCheckpoint,
    hash::{Context, hash},
    merkle::Tree,
    proof::{self, AbsenceProof, EmptyBlockProof, InclusionProof},
    transaction::Header,
};

use crate::{node::Node, pool::make};

/// How many transactions each hour has.
pub const HOURS: [u64; 6] = [1, 7, 0, 2, 0, 1];

pub struct World {
    pub network: Network,
    pub transactions: Vec<Transaction>,
    /// The prover, and two peers that got everything in another order.
    pub peers: [Node; 3],
}

impl World {
    pub fn new(network: Network) -> Self {
        let mut transactions: Vec<Transaction> = Vec::new();
        for (hour, count) in HOURS.into_iter().enumerate() {
            // All of an hour name the last two of the hours before.
            let last: Vec<TxId> = transactions.iter().rev().take(2).map(Transaction::id).collect();
            let parents = if last.is_empty() { vec![network.genesis()] } else { last };
            for nth in 0..count {
                let time = network.start().secs() + hour as u64 * 3_600 + nth * 60;
                transactions.push(make(&network, transactions.len() as u64, &parents, time));
            }
        }
        let peers = [1, 2, 3].map(|seed| {
            let mut node = Node::new(network.clone(), seed);
            let mut order: Vec<&Transaction> = transactions.iter().collect();
            let by = [seed];
            order.sort_by_key(|tx| hash(Context::Id, &[&by, tx.id().as_bytes()]));
            order.iter().for_each(|tx| node.append(tx.id(), tx.core().time().hour()));
            node
        });
        Self { network, transactions, peers }
    }

    pub fn prover(&self) -> &Node {
        &self.peers[0]
    }

    pub fn hour(&self, after: u64) -> u64 {
        self.network.start().hour() + after
    }

    /// A moment some hours after the start.
    pub fn at(&self, hours: u64) -> Time {
        self.network.start().plus(hours * 3_600)
    }

    /// Ids of a block, ascending.
    pub fn ids(&self, number: u64) -> Vec<TxId> {
        self.prover().hours.get(&number).cloned().unwrap_or_default()
    }

    pub fn header(&self, id: &TxId) -> Header {
        self.transactions.iter().find(|tx| tx.id() == *id).unwrap().header().clone()
    }

    fn tree(&self) -> (Vec<Block>, Tree) {
        (self.prover().blocks(), self.prover().tree_of_blocks())
    }

    fn contents(&self, number: u64) -> (u64, Contents) {
        let blocks = self.prover().blocks();
        let index = blocks.iter().position(|block| block.number == number).unwrap();
        (index as u64, Contents { count: blocks[index].count, root: blocks[index].root })
    }

    fn placed(&self, number: u64, checkpoints: &[SignedCheckpoint]) -> Vec<proof::Placed> {
        let ((index, _), (blocks, tree)) = (self.contents(number), self.tree());
        let len = blocks.len() as u64;
        let place = |checkpoint| proof::place(self.network.ledger(), &tree, len, index, checkpoint).unwrap();
        checkpoints.iter().filter_map(place).collect()
    }

    pub fn inclusion(&self, id: &TxId, checkpoints: &[SignedCheckpoint]) -> InclusionProof {
        let header = self.header(id);
        let number = header.core().time().hour();
        let (index, path) = proof::place_in_block(self.network.ledger(), &self.ids(number), id).unwrap();
        let parents = header.core().parents().iter().filter(|parent| **parent != self.network.genesis());
        InclusionProof {
            parents: parents.map(|parent| self.header(parent)).collect(),
            header,
            block: self.contents(number).1,
            index,
            path,
            own: self.own(checkpoints),
            checkpoints: self.placed(number, checkpoints),
        }
    }

    pub fn absence(&self, id: &TxId, number: u64, checkpoints: &[SignedCheckpoint]) -> AbsenceProof {
        let (before, after) = proof::neighbours(self.network.ledger(), &self.ids(number), id).unwrap();
        AbsenceProof {
            id: *id,
            number,
            block: self.contents(number).1,
            before,
            after,
            own: self.own(checkpoints),
            checkpoints: self.placed(number, checkpoints),
        }
    }

    pub fn empty_block(&self, id: &TxId, number: u64, checkpoints: &[SignedCheckpoint]) -> EmptyBlockProof {
        let (blocks, tree) = self.tree();
        let indexed = || blocks.iter().enumerate().map(|(index, block)| (index as u64, *block));
        let sides =
            (indexed().rfind(|(_, block)| block.number < number), indexed().find(|(_, block)| block.number > number));
        let around = |checkpoint| {
            proof::surroundings(self.network.ledger(), &tree, blocks.len() as u64, number, sides, checkpoint).unwrap()
        };
        EmptyBlockProof {
            id: *id,
            number,
            own: self.own(checkpoints),
            checkpoints: checkpoints.iter().filter_map(around).collect(),
        }
    }

    fn own(&self, checkpoints: &[SignedCheckpoint]) -> Option<[u8; 32]> {
        let own = self.prover().signer();
        checkpoints.iter().any(|checkpoint| *checkpoint.signer() == own).then_some(own)
    }
}

/// An id that nobody has, with these first two bytes.
pub fn stranger(first: [u8; 2]) -> TxId {
    let mut bytes = [0x77; 32];
    bytes[..2].copy_from_slice(&first);
    TxId::from_bytes(bytes)
}

/// Where the digits of the check stand in a proof file.
fn check_digits(file: &[u8]) -> std::ops::Range<usize> {
    file.len().saturating_sub(68)..file.len().saturating_sub(4)
}

/// The file with the check that its bytes ask for, as a forger would put it: by the text alone.
pub fn rechecked(file: &[u8]) -> Vec<u8> {
    let (mut file, digits) = (file.to_vec(), check_digits(file));
    file[digits.clone()].fill(b'0');
    let check = hex::encode(hash(Context::Proof, &[&file]));
    file[digits].copy_from_slice(check.as_bytes());
    file
}
