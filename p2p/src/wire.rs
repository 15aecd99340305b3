//! What peers say to each other, byte for byte (`docs/protocol.md`, "Sync" and "Gossip").
//!
//! A request and its response are one bincode value each (the encoding rule of
//! [`qasedak_chain::codec`]), preceded by its length as a little-endian `u32`. Every list is bounded here, before
//! anything is allocated; a response is bound to its request by the stream that both travel on.

use bincode::{Decode, Encode};
use qasedak_chain::{
    Digest, Network, TxId,
    checkpoint::SIGNED_BYTES,
    codec::{self, CodecError},
    hash::{Context, hash, hash_prefix},
    merkle::CONSISTENCY_MAX,
    time::TIME_END_SECS,
    transaction::TRANSACTION_MAX_BYTES,
};

/// Longest request on the wire, in bytes.
pub const REQUEST_MAX_BYTES: usize = 64 * 1024;
/// Longest request of the first two versions of the protocol, in bytes.
pub const OLD_REQUEST_MAX_BYTES: usize = 16 * 1024;
/// Longest response on the wire, in bytes: one page.
pub const RESPONSE_MAX_BYTES: usize = 1024 * 1024;
/// Most day digests in one response.
pub const DAYS_MAX: usize = 512;
/// Most ids in one list of a day.
pub const IDS_MAX: usize = 8_192;
/// Most transactions that may be asked for at once.
pub const WANT_MAX: usize = 256;
/// Longest message of negentropy in a request, in bytes.
pub const RECONCILE_ASK_MAX: usize = 60 * 1024;
/// Longest one in a response, in bytes.
pub const RECONCILE_ANSWER_MAX: usize = 256 * 1024;
/// Bytes of an [`Alias`].
pub const ALIAS_BYTES: usize = 8;
/// Longest message in gossip: one transaction.
pub const GOSSIP_MAX_BYTES: usize = TRANSACTION_MAX_BYTES;

/// What makes the aliases of one reconciliation: random, chosen by the asker.
pub type Salt = [u8; 16];

/// The short name of a transaction in one reconciliation: 8 bytes that follow from the salt and its id.
///
/// The fingerprints of negentropy are sums, so that whoever can choose what is summed can make two sets look alike. Nobody
/// can choose a hash under a salt that is drawn after the transaction was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Alias([u8; ALIAS_BYTES]);

impl Alias {
    /// The alias of a transaction.
    pub fn of(salt: &Salt, id: &TxId) -> Self {
        Self(hash_prefix(Context::Reconcile, &[salt, id.as_bytes()]))
    }
    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; ALIAS_BYTES]) -> Self {
        Self(bytes)
    }
    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; ALIAS_BYTES] {
        &self.0
    }
}

/// What a peer may ask.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// Count and digest of the whole set. The asker names its own, so that one question tells both that they differ.
    Digest {
        /// How many transactions the asker has.
        count: u64,
        /// The digest of the asker's set.
        digest: [u8; 32],
    },
    /// Count and digest of each day from `from` on that has transactions.
    Days {
        /// First day, counted from 1970.
        from: u64,
    },
    /// Places of one day in canonical order, behind `after`.
    Day {
        /// The day, counted from 1970.
        day: u64,
        /// The last place that the asker has seen.
        after: Option<Place>,
        /// Most places wanted, 1 to [`IDS_MAX`].
        max: u32,
    },
    /// Whole transactions; the answer keeps the order, leaves out what is not there, and ends where the page is full.
    Transactions {
        /// 1 to [`WANT_MAX`] ids.
        ids: Vec<[u8; 32]>,
        /// Bytes of transactions that make a full page; the first one is sent however long it is. At most
        /// [`RESPONSE_MAX_BYTES`] count.
        max_bytes: u32,
    },
    /// The newest checkpoint of the asked. Since version 2 of the protocol.
    Checkpoint {
        /// The last one of the asked that the asker has, so that the answer shows that its log has only grown since.
        known: Option<KnownCheckpoint>,
    },
    /// One round of a reconciliation of the transactions with times in a span. Since version 3.
    Reconcile {
        /// Makes the aliases.
        salt: Salt,
        /// First second of the span, a multiple of 60.
        from: u64,
        /// First second behind it, a multiple of 60.
        to: u64,
        /// The asker's message, at most [`RECONCILE_ASK_MAX`].
        message: Vec<u8>,
    },
    /// Whole transactions by their aliases; answered as [`Transactions`](Self::Transactions). Since version 3.
    Aliased {
        /// Makes the aliases.
        salt: Salt,
        /// First second of the span that all of them lie in.
        from: u64,
        /// First second behind it.
        to: u64,
        /// 1 to [`WANT_MAX`] aliases.
        aliases: Vec<Alias>,
        /// Bytes of a full page.
        max_bytes: u32,
    },
}

/// Names a checkpoint of the peer that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KnownCheckpoint {
    /// Its log id.
    pub log_id: [u8; 16],
    /// How many transactions it speaks of.
    pub count: u64,
}

/// A place in the canonical order, `(time, depth, id)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Place {
    /// Seconds since 1970.
    pub time: u64,
    /// Depth in the hash graph.
    pub depth: u64,
    /// The transaction's id.
    pub id: [u8; 32],
}

/// The summary of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DayDigest {
    /// The day, counted from 1970.
    pub day: u64,
    /// How many transactions it has.
    pub count: u64,
    /// The digest of their set.
    pub digest: [u8; 32],
}

/// What a peer may answer. Each variant answers the request of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Response {
    /// Count and digest of the whole set.
    Digest {
        /// How many transactions.
        count: u64,
        /// The digest of their set.
        digest: [u8; 32],
    },
    /// Days ascending; when there are [`DAYS_MAX`] of them, more may follow.
    Days(Vec<DayDigest>),
    /// Places ascending; when there are as many as were wanted, more may follow.
    Day(Vec<Place>),
    /// Transactions in their wire form, header | body.
    Transactions(Vec<Vec<u8>>),
    /// The peer is busy: ask again later, or ask another.
    Busy,
    /// The newest checkpoint of the answerer.
    Checkpoint {
        /// Its bytes; `None` when there is none yet.
        checkpoint: Option<Vec<u8>>,
        /// The consistency path from the one that the asker named, at most [`CONSISTENCY_MAX`] hashes; empty when that is
        /// none of the same log.
        path: Vec<[u8; 32]>,
    },
    /// The answerer's message, at most [`RECONCILE_ANSWER_MAX`]; `None` when it has more than it reconciles at once: ask for
    /// shorter spans.
    Reconciled(Option<Vec<u8>>),
}

impl Request {
    /// The canonical encoding.
    ///
    /// # Errors
    /// [`CodecError`] when it would be longer than [`REQUEST_MAX_BYTES`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode::<REQUEST_MAX_BYTES, _>(self)
    }
    /// Decodes a request that fills `bytes`.
    ///
    /// # Errors
    /// [`CodecError`] when it is malformed, not canonical, or asks for more than the bounds allow.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let request: Self = codec::decode::<REQUEST_MAX_BYTES, _>(bytes)?;
        match &request {
            Self::Transactions { ids, .. } if ids.is_empty() || ids.len() > WANT_MAX => Err(CodecError),
            Self::Day { max, .. } if !(1..=IDS_MAX as u64).contains(&u64::from(*max)) => Err(CodecError),
            Self::Reconcile { message, .. } if message.len() > RECONCILE_ASK_MAX => Err(CodecError),
            Self::Reconcile { from, to, .. } | Self::Aliased { from, to, .. } if !is_span(*from, *to) => {
                Err(CodecError)
            }
            Self::Aliased { aliases, .. } if aliases.is_empty() || aliases.len() > WANT_MAX => Err(CodecError),
            _ => Ok(request),
        }
    }
}

fn is_span(from: u64, to: u64) -> bool {
    from < to && to <= TIME_END_SECS && from.is_multiple_of(60) && to.is_multiple_of(60)
}

impl Response {
    /// The canonical encoding.
    ///
    /// # Errors
    /// [`CodecError`] when it would be longer than [`RESPONSE_MAX_BYTES`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode::<RESPONSE_MAX_BYTES, _>(self)
    }
    /// Decodes a response that fills `bytes`.
    ///
    /// # Errors
    /// [`CodecError`] when it is malformed, not canonical, or longer than the bounds allow.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let response: Self = codec::decode::<RESPONSE_MAX_BYTES, _>(bytes)?;
        let fits = match &response {
            Self::Days(days) => days.len() <= DAYS_MAX && days.is_sorted_by(|a, b| a.day < b.day),
            Self::Day(places) => places.len() <= IDS_MAX && places.is_sorted_by(|a, b| a < b),
            Self::Transactions(list) => {
                list.len() <= WANT_MAX && list.iter().all(|bytes| bytes.len() <= TRANSACTION_MAX_BYTES)
            }
            Self::Checkpoint { checkpoint, path } => {
                path.len() <= CONSISTENCY_MAX
                    && checkpoint.as_ref().map_or(path.is_empty(), |bytes| bytes.len() == SIGNED_BYTES)
            }
            Self::Reconciled(message) => message.as_ref().is_none_or(|message| message.len() <= RECONCILE_ANSWER_MAX),
            Self::Digest { .. } | Self::Busy => true,
        };
        if fits { Ok(response) } else { Err(CodecError) }
    }
    /// The digest, if that is what this is.
    pub fn digest(&self) -> Option<(u64, Digest)> {
        match self {
            Self::Digest { count, digest } => Some((*count, Digest::from_bytes(*digest))),
            _ => None,
        }
    }
}

/// The tag by which a network's protocols and topic are named: 16 hex digits that do not give its ledger id away.
fn network_tag(network: &Network) -> String {
    hash_prefix::<8>(Context::Wire, &[network.ledger().as_bytes()]).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Name of the sync protocol of a network, in its newest version.
pub fn sync_protocol(network: &Network) -> String {
    format!("/qasedak/{}/sync/3", network_tag(network))
}

/// Name of its second version, which knows no reconciliation.
pub fn second_sync_protocol(network: &Network) -> String {
    format!("/qasedak/{}/sync/2", network_tag(network))
}

/// Name of its first version, which knows no checkpoints.
pub fn first_sync_protocol(network: &Network) -> String {
    format!("/qasedak/{}/sync/1", network_tag(network))
}

/// Name that identify carries: peers of another network are told apart by it and let go.
pub fn identify_protocol(network: &Network) -> String {
    format!("/qasedak/{}/1", network_tag(network))
}

/// Gossip topic of a network.
pub fn topic(network: &Network) -> String {
    format!("qasedak/{}/1", network_tag(network))
}

/// Gossip message id: BLAKE3 of the whole message, never the transaction id, since gossipsub remembers ids before
/// validation and "right header, wrong body" would otherwise censor the true one.
pub fn gossip_message_id(message: &[u8]) -> [u8; 32] {
    hash(Context::GossipMessage, &[message])
}

/// An id as the wire carries it.
pub fn wire_id(id: &TxId) -> [u8; 32] {
    *id.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_outside_of_the_bounds_do_not_decode() {
        let of = |ids: usize| Request::Transactions { ids: vec![[7; 32]; ids], max_bytes: 1 };
        let day = |max| Request::Day { day: 1, after: None, max };
        let decodes = |request: &Request| request.to_bytes().is_ok_and(|bytes| Request::from_bytes(&bytes).is_ok());
        assert!(decodes(&of(1)) && decodes(&of(WANT_MAX)) && decodes(&day(1)) && decodes(&day(IDS_MAX as u32)));
        assert!(
            !decodes(&of(0)) && !decodes(&of(WANT_MAX + 1)) && !decodes(&day(0)) && !decodes(&day(IDS_MAX as u32 + 1))
        );
    }

    #[test]
    fn lists_that_do_not_ascend_do_not_decode() {
        let place = |time| Place { time, depth: 1, id: [1; 32] };
        let day = |day| DayDigest { day, count: 1, digest: [1; 32] };
        let decodes = |response: Response| Response::from_bytes(&response.to_bytes().unwrap()).is_ok();
        assert!(decodes(Response::Day(vec![place(1), place(2)])) && decodes(Response::Days(vec![day(1), day(2)])));
        assert!(!decodes(Response::Day(vec![place(1), place(1)])) && !decodes(Response::Days(vec![day(2), day(1)])));
    }

    #[test]
    fn every_bit_of_a_request_counts_and_nothing_may_follow_it() {
        let request = Request::Day { day: 3, after: Some(Place { time: 4, depth: 5, id: [6; 32] }), max: 7 };
        let bytes = request.to_bytes().unwrap();
        assert_eq!(Request::from_bytes(&bytes), Ok(request.clone()));
        for at in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert_ne!(Request::from_bytes(&flipped), Ok(request.clone()), "bit {at}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(Request::from_bytes(&longer), Err(CodecError));
        assert_eq!(Request::from_bytes(&bytes[..bytes.len() - 1]), Err(CodecError));
    }

    #[test]
    fn a_length_that_claims_the_world_reserves_nothing() {
        // Variant 3 with 2^60 ids.
        let mut bytes = 3_u32.to_le_bytes().to_vec();
        bytes.extend_from_slice(&(1_u64 << 60).to_le_bytes());
        assert_eq!(Request::from_bytes(&bytes), Err(CodecError));
        assert_eq!(Response::from_bytes(&bytes), Err(CodecError));
    }

    #[test]
    fn names_differ_by_network_and_hide_the_ledger() {
        let (main, dev) = (Network::named("main").unwrap(), Network::dev());
        for name in [sync_protocol, second_sync_protocol, first_sync_protocol, identify_protocol, topic] {
            assert_ne!(name(&main), name(&dev));
            assert!(!name(&main).contains(&main.ledger().to_string()[..16]));
        }
    }
}
