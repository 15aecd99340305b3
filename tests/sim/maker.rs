//! Transactions with made-up signatures and stamps, which cost nothing: what honest nodes write, and what liars pay for.
//!
//! The [oracle](crate::oracle) says of those that it was told of that their work is done. What has real stamps is in
//! `stamped`.

use qasedak_chain::{
    Network, Time, Transaction, TxId,
    transaction::{Core, CoreFields, Header, Kind, body_hash},
};

/// What a transaction is made of.
#[derive(Clone, Debug)]
pub struct Draft {
    pub parents: Vec<TxId>,
    pub time: Time,
    pub lifetime_secs: u32,
    pub body_len: usize,
    /// Makes it another than all others.
    pub number: u64,
}

/// A body that no other number has.
pub fn body(number: u64, len: usize) -> Vec<u8> {
    let mut body = vec![number.to_le_bytes()[0]; len];
    body[..8].copy_from_slice(&number.to_le_bytes());
    body
}

/// The fields of a core, with a tag on every third one.
pub fn fields(network: &Network, draft: &Draft, author: [u8; 32]) -> CoreFields {
    let mut parents = draft.parents.clone();
    parents.sort_unstable();
    parents.dedup();
    let body = body(draft.number, draft.body_len);
    CoreFields {
        parents,
        time: draft.time,
        lifetime_secs: draft.lifetime_secs,
        kind: if draft.number.is_multiple_of(3) { Kind::Tagged } else { Kind::Sealed },
        hint: [draft.number.to_le_bytes()[0]; 16],
        body_hash: body_hash(network, &body),
        body_len: u32::try_from(draft.body_len).unwrap(),
        author,
    }
}

/// A whole transaction whose signature and stamp are nothing but numbers.
pub fn made_up(network: &Network, draft: &Draft) -> Transaction {
    let mut author = [0xee; 32];
    author[..8].copy_from_slice(&draft.number.to_le_bytes());
    let core = Core::new(fields(network, draft, author)).unwrap();
    let mut bytes = core.to_bytes();
    bytes.extend_from_slice(&[draft.number.to_le_bytes()[0]; 64]);
    bytes.extend_from_slice(&draft.number.to_le_bytes());
    bytes.extend_from_slice(&[0x5a; 16]);
    let header = Header::from_bytes(&bytes).unwrap();
    Transaction::new(network, header, Some(body(draft.number, draft.body_len))).unwrap()
}
