//! Transactions to attack with. Their stamps are real, since that is what floods have to pay; on `dev` one costs a few
//! milliseconds.

use std::{ops::ControlFlow, thread};

use ed25519_dalek::SigningKey;
use qasedak_chain::{
    Network, Time, Transaction, TxId,
    stamp::{self, Effort},
    transaction::{Core, CoreFields, Kind, LIFETIME_DEFAULT_SECS, body_hash},
};

/// Random bytes of the system's.
pub fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// The system's clock.
pub fn now_secs() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// A transaction that is right in itself.
pub fn make(network: &Network, parents: Vec<TxId>, time_secs: u64, body_len: usize) -> Transaction {
    let key = SigningKey::from_bytes(&random());
    let mut body = random().repeat(body_len / 32);
    body.truncate(body_len);
    let fields = CoreFields {
        parents,
        time: Time::from_secs(time_secs / 60 * 60),
        lifetime_secs: LIFETIME_DEFAULT_SECS,
        kind: Kind::Sealed,
        hint: [0; 16],
        body_hash: body_hash(network, &body),
        body_len: body_len as u32,
        author: key.verifying_key().to_bytes(),
    };
    let signed = Core::new(fields).unwrap().sign(network, &key).unwrap();
    let effort = Effort::required(network, signed.core());
    let stamp = stamp::search(&signed.challenge(network), effort, 0.., || ControlFlow::Continue(())).unwrap();
    Transaction::new(network, signed.stamped(stamp), Some(body)).unwrap()
}

/// Messages in their wire form.
pub type Messages = Vec<Vec<u8>>;

/// All that the cases draw from. A message of a flood is used by one case only.
#[derive(Default)]
pub struct Stock {
    /// Valid, over genesis.
    pub plain: Messages,
    /// Valid in themselves, with a parent that does not exist.
    pub parentless: Messages,
    /// The same, with the largest body.
    pub parentless_large: Messages,
    /// Valid, dated some hours ahead.
    pub future: Messages,
    /// Valid, dated years ahead.
    pub far_future: Messages,
    /// Valid, with the largest body.
    pub large: Messages,
}

impl Stock {
    /// For cases that need none.
    pub fn none() -> Self {
        Self::default()
    }

    /// Makes all of it, on all cores.
    pub fn new(network: &Network) -> Self {
        let (now, genesis) = (now_secs(), || vec![network.genesis()]);
        let nobody = || vec![TxId::from_bytes(random())];
        let many = |count, of: &(dyn Fn() -> Transaction + Sync)| -> Messages { many(count, &|| of().to_bytes()) };
        Self {
            plain: many(120, &|| make(network, genesis(), now, 512)),
            parentless: many(700, &|| make(network, nobody(), now, 512)),
            parentless_large: many(160, &|| make(network, nobody(), now, 65_536)),
            future: many(300, &|| make(network, genesis(), now + 6 * 3_600, 512)),
            far_future: many(100, &|| make(network, genesis(), now + 900 * 86_400, 512)),
            large: many(300, &|| make(network, genesis(), now, 65_536)),
        }
    }
}

/// At least so many, made on all cores.
pub fn many<T: Send>(count: usize, of: &(dyn Fn() -> T + Sync)) -> Vec<T> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let some = |_| scope.spawn(|| (0..count.div_ceil(cores)).map(|_| of()).collect::<Vec<_>>());
        let threads: Vec<_> = (0..cores).map(some).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Where the body of a transaction with one parent begins.
pub const BODY_AT: usize = qasedak_chain::transaction::HEADER_MIN_BYTES;

/// The same with one bit changed.
pub fn flipped(message: &[u8], at: usize) -> Vec<u8> {
    let mut other = message.to_vec();
    other[at] ^= 1;
    other
}
