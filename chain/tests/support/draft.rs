//! A second writer of the transaction format: puts the fields of `docs/protocol.md`, "Transaction", on the wire by
//! hand, valid or not.
//!
//! It shares no code with the encoder under test, so the two can only agree by both being right. A [`Draft`] is
//! changed field by field, then [`finish`](Draft::finish)ed: what was not broken on purpose is made valid.

// Each test binary compiles this file for itself and uses a part of it.
#![allow(dead_code)]

use std::ops::ControlFlow;

use ed25519_dalek::{Signer, SigningKey};
use qasedak_chain::{
    Network, Transaction,
    hash::{Context, hash},
    rules::RuleError,
    stamp::{self, Effort, Stamp},
    transaction::body_hash,
};

/// One-time key of every draft.
pub fn author_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// All fields of a transaction as they stand on the wire, each free to be wrong.
#[derive(Clone, Debug)]
pub struct Draft {
    pub network: Network,
    pub version: u8,
    /// Stands for the number of parents where it is to be another.
    pub parent_count: Option<u8>,
    pub parents: Vec<[u8; 32]>,
    pub time: u64,
    pub lifetime: u32,
    pub kind: u8,
    pub hint: [u8; 16],
    pub body_hash: [u8; 32],
    pub body_len: u32,
    pub author: [u8; 32],
    pub signature: [u8; 64],
    pub nonce: u64,
    pub solution: [u8; 16],
    pub body: Vec<u8>,
}

impl Draft {
    /// The golden transaction, still without signature and stamp: genesis as its parent, an hour after the start,
    /// the shortest lifetime and body.
    pub fn new(network: Network) -> Self {
        let body: Vec<u8> = (0..512u32).map(|n| n as u8).collect();
        Self {
            version: 1,
            parent_count: None,
            parents: vec![*network.genesis().as_bytes()],
            time: network.start().secs() + 3_600,
            lifetime: 3_600,
            kind: 0,
            hint: *b"sixteen byte tag",
            body_hash: body_hash(&network, &body),
            body_len: 512,
            author: author_key().verifying_key().to_bytes(),
            signature: [0; 64],
            nonce: 0,
            solution: [0; 16],
            body,
            network,
        }
    }

    pub fn core(&self) -> Vec<u8> {
        let count = self.parent_count.unwrap_or(self.parents.len() as u8);
        let mut bytes = vec![self.version, count];
        bytes.extend(self.parents.iter().flatten());
        bytes.extend(self.time.to_le_bytes());
        bytes.extend(self.lifetime.to_le_bytes());
        bytes.push(self.kind);
        bytes.extend(self.hint);
        bytes.extend(self.body_hash);
        bytes.extend(self.body_len.to_le_bytes());
        bytes.extend(self.author);
        bytes
    }

    pub fn header(&self) -> Vec<u8> {
        [&self.core()[..], &self.signature, &self.nonce.to_le_bytes(), &self.solution].concat()
    }

    pub fn bytes(&self) -> Vec<u8> {
        [self.header(), self.body.clone()].concat()
    }

    pub fn parse(&self) -> Result<Transaction, RuleError> {
        Transaction::from_bytes(&self.network, &self.bytes())
    }

    pub fn challenge(&self) -> [u8; 32] {
        hash(Context::Stamp, &[self.network.ledger().as_bytes(), &self.core(), &self.signature])
    }

    /// The effort that `main` or `dev` asks for, by the formula of DESIGN §4 written out once more.
    pub fn effort(&self) -> u128 {
        let header = 187 + 32 * self.parents.len() as u128;
        let body = u128::from(self.body_len) * (604_800 + u128::from(self.lifetime)) / 604_800;
        let milli_units = u128::from(self.network.base_milli()) * (header * 14 + body);
        milli_units.div_ceil(1_024_000).max(1)
    }

    pub fn meets_target(&self) -> bool {
        let (nonce, challenge) = (self.nonce.to_le_bytes(), self.challenge());
        let luck = hash(Context::Effort, &[&challenge, &nonce, &self.solution]);
        let first = u128::from(u64::from_le_bytes(luck[..8].try_into().unwrap()));
        first * self.effort() < 1 << 64
    }

    /// Signs the core as it is now.
    pub fn sign(mut self) -> Self {
        let message = hash(Context::Sign, &[self.network.ledger().as_bytes(), &self.core()]);
        self.signature = author_key().sign(&message).to_bytes();
        self
    }

    /// Finds a nonce that meets the target without solving anything: a hash each, so cheap even on `main`.
    pub fn lucky(mut self) -> Self {
        self.nonce = (0..).find(|nonce| Self { nonce: *nonce, ..self.clone() }.meets_target()).unwrap();
        self
    }

    /// Finds a nonce that misses the target, if the target can be missed.
    pub fn unlucky(mut self) -> Self {
        self.nonce = (0..1_000).find(|nonce| !Self { nonce: *nonce, ..self.clone() }.meets_target()).unwrap();
        self
    }

    /// Stamps the draft as it is now, with real work.
    pub fn stamp(mut self) -> Self {
        let found = self.find_stamp(0..);
        self.nonce = found.nonce();
        self.solution = *found.solution();
        self
    }

    /// The first stamp over these nonces that the network accepts.
    pub fn find_stamp(&self, nonces: impl IntoIterator<Item = u64>) -> Stamp {
        let effort = Effort::required(&self.network, self.clone().parse().unwrap().core());
        stamp::search(&self.challenge(), effort, nonces, || ControlFlow::Continue(())).unwrap()
    }
}
