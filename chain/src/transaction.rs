//! The transaction: one signed, stamped record that names its parents and carries one envelope.
//!
//! Types here hold only values that obey the rules of form (DESIGN §4; `docs/protocol.md`, "Transaction"):
//! a [`Core`] cannot be built, nor decoded, with a field out of range. What needs work to check (stamp,
//! signature, parents) is checked in [`rules`](crate::rules). Making one runs in phases that consume each other:
//! [`Core`] → [`Signed`] → [`Transaction`].

use arrayvec::ArrayVec;
use ed25519_dalek::{Signer, SigningKey};

use crate::{
    hash::{Context, hash},
    ids::{LedgerId, TxId},
    network::Network,
    rules::RuleError,
    stamp::Stamp,
    time::{TIME_END_SECS, TIME_STEP_SECS, Time},
};

mod wire;

/// Most parents that a transaction may name.
pub const PARENTS_MAX: usize = 8;
/// Bytes of a header without its parents; each parent adds 32.
pub const HEADER_BASE_BYTES: usize = 187;
/// Bytes of the longest header.
pub const HEADER_MAX_BYTES: usize = HEADER_BASE_BYTES + 32 * PARENTS_MAX;
/// Bytes of the shortest header.
pub const HEADER_MIN_BYTES: usize = HEADER_BASE_BYTES + 32;
/// Lengths that a body may have, in bytes.
pub const BODY_LENS: [u32; 8] = [512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];
/// Bytes of the longest body.
pub const BODY_MAX_BYTES: usize = 65_536;
/// Bytes of the longest transaction.
pub const TRANSACTION_MAX_BYTES: usize = HEADER_MAX_BYTES + BODY_MAX_BYTES;
/// Shortest lifetime of a body: an hour.
pub const LIFETIME_MIN_SECS: u32 = 3_600;
/// Longest lifetime of a body: 90 days.
pub const LIFETIME_MAX_SECS: u32 = 90 * 86_400;
/// Lifetime where nobody chose one: 30 days.
pub const LIFETIME_DEFAULT_SECS: u32 = 30 * 86_400;

/// How a recipient finds an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Found by trial: the hint follows from a Diffie-Hellman with the author's one-time key.
    Sealed,
    /// Found by look-up: the hint is a tag that the parties can predict.
    Tagged,
}

impl Kind {
    /// The byte on the wire: 0 sealed, 1 tagged.
    pub const fn to_byte(self) -> u8 {
        match self {
            Kind::Sealed => 0,
            Kind::Tagged => 1,
        }
    }
    /// The kind of a wire byte.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Kind::Sealed),
            1 => Some(Kind::Tagged),
            _ => None,
        }
    }
}

/// What the author signs first: everything but signature and stamp. Fields obey the rules of form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core {
    /// In its place, so that a header is one piece of memory.
    parents: ArrayVec<TxId, PARENTS_MAX>,
    time: Time,
    lifetime_secs: u32,
    kind: Kind,
    hint: [u8; 16],
    body_hash: [u8; 32],
    body_len: u32,
    author: [u8; 32],
}

/// The fields of a [`Core`], to build one from.
#[derive(Clone, Debug)]
pub struct CoreFields {
    /// Ids of 1 to 8 earlier transactions, strictly ascending.
    pub parents: Vec<TxId>,
    /// The sender's clock, a multiple of 60 s.
    pub time: Time,
    /// How long the body is kept, in seconds.
    pub lifetime_secs: u32,
    /// How the envelope is found.
    pub kind: Kind,
    /// 16 bytes by which the recipient finds it.
    pub hint: [u8; 16],
    /// [`body_hash`] of the body.
    pub body_hash: [u8; 32],
    /// The body's length in bytes, one of [`BODY_LENS`].
    pub body_len: u32,
    /// One-time Ed25519 public key, new for every transaction.
    pub author: [u8; 32],
}

/// `H("body", ledger, body)`, the body hash that a core carries.
pub fn body_hash(network: &Network, body: &[u8]) -> [u8; 32] {
    body_hash_in(network.ledger(), body)
}

/// The same for who knows the network by its ledger id.
pub(crate) fn body_hash_in(ledger: LedgerId, body: &[u8]) -> [u8; 32] {
    hash(Context::Body, &[ledger.as_bytes(), body])
}

impl Core {
    /// Builds a core, checking the rules of form that need no network.
    ///
    /// # Errors
    /// The [`RuleError`] of the first rule that is broken.
    pub fn new(fields: CoreFields) -> Result<Self, RuleError> {
        let CoreFields { parents, time, lifetime_secs, kind, hint, body_hash, body_len, author } = fields;
        let parents = ArrayVec::try_from(&parents[..]).map_err(|_| RuleError::ParentCount)?;
        Self { parents, time, lifetime_secs, kind, hint, body_hash, body_len, author }.formed()
    }

    /// Checks the rules of form that need no network.
    fn formed(self) -> Result<Self, RuleError> {
        if self.parents.is_empty() {
            return Err(RuleError::ParentCount);
        }
        if !self.parents.is_sorted_by(|a, b| a < b) {
            return Err(RuleError::ParentOrder);
        }
        if !self.time.secs().is_multiple_of(TIME_STEP_SECS) || self.time.secs() >= TIME_END_SECS {
            return Err(RuleError::TimeForm);
        }
        if !(LIFETIME_MIN_SECS..=LIFETIME_MAX_SECS).contains(&self.lifetime_secs) {
            return Err(RuleError::Lifetime);
        }
        if !BODY_LENS.contains(&self.body_len) {
            return Err(RuleError::BodyLen);
        }
        Ok(self)
    }

    /// Ids of the parents, strictly ascending.
    pub fn parents(&self) -> &[TxId] {
        &self.parents
    }
    /// The sender's clock.
    pub fn time(&self) -> Time {
        self.time
    }
    /// How long the body is kept, in seconds.
    pub fn lifetime_secs(&self) -> u32 {
        self.lifetime_secs
    }
    /// When the body's lifetime is over.
    pub fn expires(&self) -> Time {
        self.time.plus(u64::from(self.lifetime_secs))
    }
    /// How the envelope is found.
    pub fn kind(&self) -> Kind {
        self.kind
    }
    /// 16 bytes by which the recipient finds the envelope.
    pub fn hint(&self) -> &[u8; 16] {
        &self.hint
    }
    /// `H("body", ledger, body)`.
    pub fn body_hash(&self) -> &[u8; 32] {
        &self.body_hash
    }
    /// The body's length in bytes.
    pub fn body_len(&self) -> u32 {
        self.body_len
    }
    /// The one-time Ed25519 public key.
    pub fn author(&self) -> &[u8; 32] {
        &self.author
    }
    /// Bytes of the header that this core becomes part of.
    pub fn header_len(&self) -> usize {
        HEADER_BASE_BYTES.saturating_add(self.parents.len().saturating_mul(32))
    }
    /// The canonical encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::encode_core(self)
    }
    /// The encoding without `body_hash`: what a body's encryption binds as associated data.
    pub fn to_bytes_without_body_hash(&self) -> Vec<u8> {
        wire::encode_core_without_body_hash(self)
    }
    /// Signs the core with the one-time key.
    ///
    /// # Errors
    /// [`RuleError::Signature`] when `key` is not the key of this core's author.
    pub fn sign(self, network: &Network, key: &SigningKey) -> Result<Signed, RuleError> {
        if key.verifying_key().as_bytes() != &self.author {
            return Err(RuleError::Signature);
        }
        let signature = key.sign(&self.signing_message(network)).to_bytes();
        Ok(Signed { core: self, signature })
    }
    /// `H("sign", ledger, core)`, the message under the signature.
    pub fn signing_message(&self, network: &Network) -> [u8; 32] {
        hash(Context::Sign, &[network.ledger().as_bytes(), &self.to_bytes()])
    }
}

/// A core with its author's signature, still without a stamp. A phone may sign and let a desktop stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    core: Core,
    signature: [u8; 64],
}

impl Signed {
    /// The signed core.
    pub fn core(&self) -> &Core {
        &self.core
    }
    /// The Ed25519 signature.
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }
    /// `H("stamp", ledger, core, signature)`: what the stamp's work is bound to.
    pub fn challenge(&self, network: &Network) -> [u8; 32] {
        hash(Context::Stamp, &[network.ledger().as_bytes(), &self.core.to_bytes(), &self.signature])
    }
    /// Completes the header with a stamp.
    pub fn stamped(self, stamp: Stamp) -> Header {
        Header { signed: Box::new(self), stamp }
    }
}

/// Core, signature and stamp: the part of a transaction that is never dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Apart, since headers pass through many hands.
    signed: Box<Signed>,
    stamp: Stamp,
}

impl Header {
    /// The core.
    pub fn core(&self) -> &Core {
        &self.signed.core
    }
    /// The signed part.
    pub fn signed(&self) -> &Signed {
        &self.signed
    }
    /// The stamp.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }
    /// `H("id", ledger, header)`.
    pub fn id(&self, network: &Network) -> TxId {
        TxId::from_bytes(hash(Context::Id, &[network.ledger().as_bytes(), &self.to_bytes()]))
    }
    /// The canonical encoding, 187 bytes and 32 per parent.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.core().header_len());
        self.write_to(&mut bytes);
        bytes
    }
    /// Appends the canonical encoding.
    pub fn write_to(&self, bytes: &mut Vec<u8>) {
        wire::write_header(self, bytes);
    }
    /// Decodes a header that fills `bytes` exactly.
    ///
    /// # Errors
    /// The [`RuleError`] of the first rule of form that is broken.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RuleError> {
        match wire::decode_header(bytes)? {
            (header, []) => Ok(header),
            _ => Err(RuleError::Encoding),
        }
    }
}

/// A whole transaction: its header, and its body unless that is gone or not there yet.
///
/// Well formed, and with the id computed, but not verified: see
/// [`rules::verify`](crate::rules::verify).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    id: TxId,
    header: Header,
    body: Option<Vec<u8>>,
}

impl Transaction {
    /// Joins header and body.
    ///
    /// # Errors
    /// [`RuleError::BodySize`] or [`RuleError::BodyHash`] when `body` is not the one that the header names.
    pub fn new(network: &Network, header: Header, body: Option<Vec<u8>>) -> Result<Self, RuleError> {
        if let Some(body) = &body {
            if u32::try_from(body.len()) != Ok(header.core().body_len()) {
                return Err(RuleError::BodySize);
            }
            if &body_hash(network, body) != header.core().body_hash() {
                return Err(RuleError::BodyHash);
            }
        }
        Ok(Self { id: header.id(network), header, body })
    }

    /// Decodes the wire form, header | body, where an absent body has no bytes.
    ///
    /// # Errors
    /// The [`RuleError`] of the first rule that is broken: size, encoding, parents, form, body.
    pub fn from_bytes(network: &Network, bytes: &[u8]) -> Result<Self, RuleError> {
        if bytes.len() < HEADER_MIN_BYTES || bytes.len() > TRANSACTION_MAX_BYTES {
            return Err(RuleError::Size);
        }
        let (header, rest) = wire::decode_header(bytes)?;
        if header.core().time() < network.start() {
            return Err(RuleError::TimeBeforeStart);
        }
        let body = if rest.is_empty() { None } else { Some(rest.to_vec()) };
        Self::new(network, header, body)
    }

    /// The wire form: header | body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let body = self.body.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(self.core().header_len().saturating_add(body.len()));
        self.header.write_to(&mut bytes);
        bytes.extend_from_slice(body);
        bytes
    }
    /// The id: `H("id", ledger, header)`.
    pub fn id(&self) -> TxId {
        self.id
    }
    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }
    /// Shorthand for the header's core.
    pub fn core(&self) -> &Core {
        self.header.core()
    }
    /// The body, padded and encrypted, if it is here.
    pub fn body(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }
    /// Header and body, without a copy.
    pub fn into_parts(self) -> (Header, Option<Vec<u8>>) {
        (self.header, self.body)
    }
}
