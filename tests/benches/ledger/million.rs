//! As many transactions as are wanted, with 1 KiB bodies and three parents, valid but for signature and stamp: what stands
//! behind the checks is measured with them, through [`Verified::unchecked`].

use std::collections::VecDeque;

use ed25519_dalek::SigningKey;
use qasedak_chain::{
    Network, Time, Transaction, TxId,
    rules::Verified,
    stamp::Stamp,
    transaction::{Core, CoreFields, Header, Kind, body_hash},
};

use crate::fixture::{BODY_BYTES, bytes_of};

/// How many authors take turns: their keys cost more to make than all else.
const AUTHORS: usize = 512;
/// So many transactions are on their way at a time: one a second, and ten minutes until it settles.
const SETTLING: usize = 600;

/// How the transactions lie in time.
#[derive(Clone, Copy)]
pub struct Spread {
    /// Seconds over which they are spread evenly from the network's start on.
    pub secs: u64,
    /// Lifetime of their bodies, in seconds.
    pub lifetime_secs: u32,
}

/// Over 30 days, with the default lifetime.
pub const MONTH: Spread = Spread { secs: 30 * 86_400, lifetime_secs: 30 * 86_400 };

/// A stream of transactions, parents before children, times ascending.
pub struct Million {
    network: Network,
    count: u64,
    next: u64,
    spread: Spread,
    /// One of so many is tagged, the others are sealed.
    tagged_each: u64,
    authors: Vec<[u8; 32]>,
    /// Not settled yet, oldest first, with the parents that each covers.
    settling: VecDeque<(TxId, Vec<TxId>)>,
    /// Settled ones without settled children, from which parents are drawn as nodes do.
    frontier: Vec<TxId>,
}

impl Million {
    pub fn new(network: &Network, count: u64, spread: Spread) -> Self {
        let author = |nth: usize| {
            let seed: [u8; 32] = bytes_of(nth as u64, "author of many", 32).try_into().unwrap();
            SigningKey::from_bytes(&seed).verifying_key().to_bytes()
        };
        let authors = (0..AUTHORS).map(author).collect();
        let (settling, frontier) = (VecDeque::new(), Vec::new());
        Self { network: network.clone(), count, next: 0, spread, tagged_each: 4, authors, settling, frontier }
    }

    /// The same, all of them tagged.
    pub fn all_tagged(self) -> Self {
        Self { tagged_each: 1, ..self }
    }

    /// Three of the frontier, drawn uniformly; all of it where there are no more.
    fn parents(&self, seed: &[u8]) -> Vec<TxId> {
        if self.frontier.is_empty() {
            return vec![self.network.genesis()];
        }
        let pick = |draw: &[u8]| {
            let draw = u64::from_le_bytes(draw.try_into().unwrap());
            self.frontier[(draw % self.frontier.len() as u64) as usize]
        };
        let mut parents: Vec<TxId> = seed.chunks_exact(8).take(3).map(pick).collect();
        parents.sort_unstable();
        parents.dedup();
        parents
    }

    /// One more is on its way; the oldest of too many settles, and covers its parents.
    fn sent(&mut self, id: TxId, parents: &[TxId]) {
        self.settling.push_back((id, parents.to_vec()));
        if self.settling.len() > SETTLING {
            let (settled, covered) = self.settling.pop_front().unwrap();
            self.frontier.retain(|tip| !covered.contains(tip));
            self.frontier.push(settled);
        }
    }
}

/// Header with a made-up signature and stamp. Goes through the wire form, since nothing else lets one be made.
fn header(core: Core, seed: &[u8]) -> Header {
    let mut bytes = core.to_bytes();
    bytes.extend_from_slice(&seed[..64]);
    let stamp = Stamp::new(7, seed[64..80].try_into().unwrap());
    bytes.extend_from_slice(&stamp.nonce().to_le_bytes());
    bytes.extend_from_slice(stamp.solution());
    Header::from_bytes(&bytes).unwrap()
}

impl Iterator for Million {
    type Item = Verified;

    fn next(&mut self) -> Option<Verified> {
        if self.next == self.count {
            return None;
        }
        let nth = self.next;
        self.next += 1;
        let seed = bytes_of(nth, "fields", 128);
        let body = bytes_of(nth, "body of many", BODY_BYTES);
        let time = self.network.start().secs() + nth * self.spread.secs / self.count;
        let core = Core::new(CoreFields {
            parents: self.parents(&seed[96..120]),
            time: Time::from_secs(time).rounded_down(),
            lifetime_secs: self.spread.lifetime_secs,
            kind: if nth.is_multiple_of(self.tagged_each) { Kind::Tagged } else { Kind::Sealed },
            hint: seed[80..96].try_into().unwrap(),
            body_hash: body_hash(&self.network, &body),
            body_len: BODY_BYTES as u32,
            author: self.authors[nth as usize % AUTHORS],
        })
        .unwrap();
        let transaction = Transaction::new(&self.network, header(core, &seed), Some(body)).unwrap();
        self.sent(transaction.id(), transaction.core().parents());
        Some(Verified::unchecked(transaction))
    }
}
