//! Stamped transactions for tests of the ledger: a fixed graph over three days of `dev`, made once per test binary.

// Each test binary compiles this file for itself and uses a part of it.
#![allow(dead_code)]

use std::{collections::BTreeMap, ops::ControlFlow, sync::OnceLock};

use ed25519_dalek::SigningKey;
use qasedak_chain::{
    Network, Time, Transaction, TxId,
    rules::{self, Verified},
    stamp::{self, Effort},
    transaction::{Core, CoreFields, Kind, body_hash},
};

/// Every fourth transaction of the pool is tagged, with one of two tags.
pub const TAGS: [[u8; 16]; 2] = [[0xa1; 16], [0xb2; 16]];
/// Transactions in the pool.
pub const POOL_LEN: usize = 80;
/// Distance in time between two of the pool: with 80 of them, a little more than three days.
const STEP_SECS: u64 = 3_660;

/// Makes a transaction with the cheapest body there is; `nth` tells it from others.
pub fn make(network: &Network, nth: u64, parents: &[TxId], time: u64) -> Transaction {
    let mut parents = parents.to_vec();
    parents.sort_unstable();
    parents.dedup();
    let mut seed = [5; 32];
    seed[..8].copy_from_slice(&nth.to_le_bytes());
    let key = SigningKey::from_bytes(&seed);
    let body = vec![nth as u8; 512];
    let tagged = nth.is_multiple_of(4);
    let core = Core::new(CoreFields {
        parents,
        time: Time::from_secs(time),
        lifetime_secs: 3_600,
        kind: if tagged { Kind::Tagged } else { Kind::Sealed },
        hint: if tagged { TAGS[(nth / 4 % 2) as usize] } else { [nth as u8; 16] },
        body_hash: body_hash(network, &body),
        body_len: 512,
        author: key.verifying_key().to_bytes(),
    })
    .unwrap();
    let effort = Effort::required(network, &core);
    let signed = core.sign(network, &key).unwrap();
    let stamp = stamp::search(&signed.challenge(network), effort, 0.., || ControlFlow::Continue(())).unwrap();
    Transaction::new(network, signed.stamped(stamp), Some(body)).unwrap()
}

/// Passes a transaction through the rules, as everything that is appended must be.
pub fn verified(network: &Network, transaction: &Transaction) -> Verified {
    rules::verify(network, transaction.clone()).unwrap()
}

/// The pool, parents before children, times ascending. Each names one to three of the eight before it, so that
/// there is a broad frontier at any moment; the first three are children of genesis.
pub fn pool() -> &'static [Transaction] {
    static POOL: OnceLock<Vec<Transaction>> = OnceLock::new();
    POOL.get_or_init(|| {
        let network = Network::dev();
        let mut pool: Vec<Transaction> = Vec::new();
        for nth in 0..POOL_LEN {
            let reach = |back: usize| pool[nth - 1 - back % nth.min(8)].id();
            let parents = match nth {
                0..3 => vec![network.genesis()],
                _ => (0..=nth % 3).map(|k| reach(nth * 7 + k * 5)).collect(),
            };
            let time = network.start().secs() + nth as u64 * STEP_SECS / 60 * 60;
            pool.push(make(&network, nth as u64, &parents, time));
        }
        pool
    })
}

/// A moment by the own clock at which all of the pool lies in the past.
pub fn after_pool() -> Time {
    pool()[POOL_LEN - 1].core().time().plus(60)
}

/// An order of arrival of `some` in which parents come first, chosen by `priorities`.
pub fn topological(some: &[Transaction], priorities: &[u64]) -> Vec<Transaction> {
    let mut waiting: BTreeMap<(u64, TxId), &Transaction> =
        some.iter().enumerate().map(|(n, tx)| ((priorities[n % priorities.len()], tx.id()), tx)).collect();
    let mut order: Vec<Transaction> = Vec::new();
    while !waiting.is_empty() {
        let is_waiting = |id: &TxId| waiting.keys().any(|(_, other)| other == id);
        let ready = waiting.iter().find(|(_, tx)| !tx.core().parents().iter().any(is_waiting)).map(|(key, _)| *key);
        order.push(waiting.remove(&ready.unwrap()).unwrap().clone());
    }
    order
}
