//! The rules that every node applies alike to every transaction, cheapest first (DESIGN §4).
//!
//! Order: size → encoding → parent count and order → form → body → stamp target → signature → stamp
//! solution (all need only the transaction itself: [`verify`]), then parents known → time against parents
//! ([`check_parents`], which asks the ledger). Whether a body may be missing depends on the own clock and is
//! no question of validity: [`body_may_be_absent`].

use ed25519_dalek::{Signature, VerifyingKey};

use crate::{
    ids::{Depth, TxId},
    network::Network,
    stamp::Effort,
    time::Time,
    transaction::{Core, Header, Transaction},
};

/// How far ahead of the own clock a transaction may be dated and still need its body: 48 hours.
pub const FUTURE_BODY_SECS: u64 = 48 * 3_600;

/// One variant per rule that a transaction can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Shorter than the shortest header or longer than the longest transaction.
    #[error("size: a transaction has 219 to 65,979 bytes")]
    Size,
    /// The format version is not the one that this network's genesis names.
    #[error("version: this network has format 1; a newer format is another network")]
    Version,
    /// Not the canonical encoding.
    #[error("encoding: not the canonical encoding of a transaction")]
    Encoding,
    /// No parents, or more than eight.
    #[error("parents: a transaction names 1 to 8 parents")]
    ParentCount,
    /// Parents are not in strictly ascending order.
    #[error("parents: ids must be strictly ascending")]
    ParentOrder,
    /// Neither sealed nor tagged.
    #[error("kind: must be 0 (sealed) or 1 (tagged)")]
    Kind,
    /// Not a multiple of 60 seconds, or 2^40 and more.
    #[error("time: must be a multiple of 60 seconds below 2^40")]
    TimeForm,
    /// Before the genesis' start.
    #[error("time: lies before the network's start")]
    TimeBeforeStart,
    /// Shorter than an hour or longer than 90 days.
    #[error("lifetime: must be 1 hour to 90 days")]
    Lifetime,
    /// The body length is none of the eight that exist.
    #[error("body length: must be 512 B or 1, 2, 4, 8, 16, 32 or 64 KiB")]
    BodyLen,
    /// The body has another length than the header says. The relay's fault, not the author's.
    #[error("body: its length is not the one that the header names")]
    BodySize,
    /// The body has another hash than the header says. The relay's fault, not the author's.
    #[error("body: its hash is not the one that the header names")]
    BodyHash,
    /// The stamp is not rare enough for size × lifetime.
    #[error("stamp: too little work for this size and lifetime")]
    StampTarget,
    /// The signature does not verify under `verify_strict`.
    #[error("signature: not valid for this author and core")]
    Signature,
    /// The stamp's solution does not solve its puzzle.
    #[error("stamp: its solution does not solve the puzzle")]
    StampSolution,
    /// Earlier than one of its parents.
    #[error("time: lies before a parent's time")]
    TimeBeforeParent,
}

/// A transaction that passed every check that needs no ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    transaction: Transaction,
    author_u: [u8; 32],
}

impl Verified {
    /// The transaction.
    pub fn transaction(&self) -> &Transaction {
        &self.transaction
    }
    /// The author's key as a Montgomery u coordinate (RFC 7748), which follows from the key at little cost while that is
    /// checked.
    pub fn author_u(&self) -> &[u8; 32] {
        &self.author_u
    }
    /// Takes a transaction for verified without any check: for tests and benchmarks of everything behind the checks,
    /// where a million stamps would cost days. An author that is no key counts as zeros.
    #[cfg(feature = "testing")]
    pub fn unchecked(transaction: Transaction) -> Self {
        let key = VerifyingKey::from_bytes(transaction.core().author());
        let author_u = key.map(|key| key.to_montgomery().to_bytes()).unwrap_or_default();
        Self { transaction, author_u }
    }
    /// The transaction, unwrapped.
    pub fn into_transaction(self) -> Transaction {
        self.transaction
    }
}

/// Checks stamp target, signature and stamp solution. What stands before them in the order, a [`Transaction`]
/// has already passed by existing.
///
/// # Errors
/// The [`RuleError`] of the first rule that is broken.
pub fn verify(network: &Network, transaction: Transaction) -> Result<Verified, RuleError> {
    let key = verified_author(network, transaction.header())?;
    Ok(Verified { transaction, author_u: key.to_montgomery().to_bytes() })
}

/// The same checks for a header alone, as an audit needs them.
///
/// # Errors
/// The [`RuleError`] of the first rule that is broken.
pub fn verify_header(network: &Network, header: &Header) -> Result<(), RuleError> {
    verified_author(network, header).map(drop)
}

fn verified_author(network: &Network, header: &Header) -> Result<VerifyingKey, RuleError> {
    let challenge = header.signed().challenge(network);
    if header.core().time() < network.start() {
        return Err(RuleError::TimeBeforeStart);
    }
    // "The stamp comes last and covers the signature": its target is a single hash, so it is asked first.
    if !header.stamp().meets_target(&challenge, Effort::required(network, header.core())) {
        return Err(RuleError::StampTarget);
    }
    let key = check_signature(network, header.core(), header.signed().signature())?;
    if header.stamp().solves(&challenge) { Ok(key) } else { Err(RuleError::StampSolution) }
}

/// "Signature rule, frozen: ed25519-dalek `verify_strict`, one at a time. Never `verify_batch`."
fn check_signature(network: &Network, core: &Core, signature: &[u8; 64]) -> Result<VerifyingKey, RuleError> {
    let key = VerifyingKey::from_bytes(core.author()).map_err(|_| RuleError::Signature)?;
    match key.verify_strict(&core.signing_message(network), &Signature::from_bytes(signature)) {
        Ok(()) => Ok(key),
        Err(_) => Err(RuleError::Signature),
    }
}

/// The signature rule over plain bytes, for the verdict table of `tests/`.
pub fn signature_is_valid(author: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(author)
        .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

/// What the rules need to know of a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The parent's time.
    pub time: Time,
    /// The parent's depth.
    pub depth: Depth,
}

/// Why a transaction does not fit under its parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParentsError {
    /// These parents are not known here. Not a fault: they may still come.
    Unknown(Vec<TxId>),
    /// A rule is broken.
    Rule(RuleError),
}

/// Checks a core against its parents and computes its depth. `known` answers for ids other than genesis.
///
/// # Errors
/// [`ParentsError::Unknown`] with the missing ids; [`ParentsError::Rule`] when the time is before a parent's.
pub fn check_parents(
    network: &Network,
    core: &Core,
    mut known: impl FnMut(&TxId) -> Option<Parent>,
) -> Result<Depth, ParentsError> {
    let genesis = Parent { time: network.start(), depth: Depth::new(0) };
    let mut unknown = Vec::new();
    let mut depth = Depth::new(0);
    let mut newest = network.start();
    for id in core.parents() {
        match if *id == network.genesis() { Some(genesis) } else { known(id) } {
            Some(parent) => {
                depth = depth.max(parent.depth);
                newest = newest.max(parent.time);
            }
            None => unknown.push(*id),
        }
    }
    if !unknown.is_empty() {
        return Err(ParentsError::Unknown(unknown));
    }
    if core.time() < newest {
        return Err(ParentsError::Rule(RuleError::TimeBeforeParent));
    }
    Ok(depth.next())
}

/// Whether a node whose clock says `now` accepts this transaction without its body at once: "from `time + lifetime`
/// on, or when `time` is more than 48 h ahead of the own clock". Else the body is looked for first (decision 0040).
pub fn body_may_be_absent(core: &Core, now: Time) -> bool {
    now >= core.expires() || core.time() > now.plus(FUTURE_BODY_SECS)
}
