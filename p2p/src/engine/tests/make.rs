//! Real transactions of `dev`, the same in every run.

use std::sync::OnceLock;

use ed25519_dalek::SigningKey;
use qasedak_chain::{
    Network, Time, Transaction, TxId,
    rules::{self, Verified},
    stamp::{Effort, search},
    time::DAY_SECS,
    transaction::{Core, CoreFields, Kind, LIFETIME_DEFAULT_SECS, body_hash},
};

use crate::engine::{Input, Peer};

/// How many transactions [`world`] has.
pub(crate) const WORLD: usize = 30;

/// A stamped transaction with a body of 512 bytes.
pub(crate) fn make(network: &Network, parents: &[TxId], time: Time, number: u8) -> Transaction {
    make_with(network, parents, time, number, vec![number; 512])
}

/// One with this body.
pub(crate) fn make_with(network: &Network, parents: &[TxId], time: Time, number: u8, body: Vec<u8>) -> Transaction {
    let key = SigningKey::from_bytes(&[number.wrapping_add(1); 32]);
    let mut parents = parents.to_vec();
    parents.sort_unstable();
    let core = Core::new(CoreFields {
        parents,
        time,
        lifetime_secs: LIFETIME_DEFAULT_SECS,
        kind: Kind::Sealed,
        hint: [number; 16],
        body_hash: body_hash(network, &body),
        body_len: u32::try_from(body.len()).unwrap(),
        author: key.verifying_key().to_bytes(),
    })
    .unwrap();
    let effort = Effort::required(network, &core);
    let signed = core.sign(network, &key).unwrap();
    let stamp = search(&signed.challenge(network), effort, 0.., || std::ops::ControlFlow::Continue(())).unwrap();
    Transaction::new(network, signed.stamped(stamp), Some(body)).unwrap()
}

pub(crate) fn verified(network: &Network, transaction: &Transaction) -> Verified {
    rules::verify(network, transaction.clone()).unwrap()
}

/// The peer key of a node with this number.
pub(crate) fn peer_key(number: u64) -> SigningKey {
    let mut secret = [0x6b; 32];
    secret.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
    SigningKey::from_bytes(&secret)
}

/// A peer of this number connects.
pub(crate) fn connected(number: u64) -> Input {
    Input::Connected { peer: Peer(number), key: peer_key(number).verifying_key().to_bytes() }
}

/// Noon, some days after the network's start.
pub(crate) fn noon() -> Time {
    Network::dev().start().plus(20 * DAY_SECS + DAY_SECS / 2)
}

/// Thirty transactions over three days, each under up to three earlier ones, parents first.
pub(crate) fn world() -> &'static [Transaction] {
    static WORLD_OF_DEV: OnceLock<Vec<Transaction>> = OnceLock::new();
    WORLD_OF_DEV.get_or_init(|| {
        let network = Network::dev();
        let first = noon().secs() - 2 * DAY_SECS;
        let step = (2 * DAY_SECS / WORLD as u64).next_multiple_of(60);
        let mut world: Vec<Transaction> = Vec::new();
        for number in 0..WORLD {
            let back = |n: usize| number.checked_sub(n).map(|at| world[at].id());
            let mut parents: Vec<TxId> = [back(1), back(3), back(7)].into_iter().flatten().collect();
            if parents.is_empty() {
                parents.push(network.genesis());
            }
            let time = Time::from_secs(first + step * number as u64);
            world.push(make(&network, &parents, time, number as u8));
        }
        world
    })
}
