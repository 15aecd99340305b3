//! Bytes of cores and headers: the canonical encoding of DESIGN §4 (`docs/protocol.md`, "Transaction").
//!
//! A parent list is one count byte and the ids; everything else has a fixed size.

use bincode::{
    Decode, Encode,
    de::{Decoder, read::Reader},
    enc::{Encoder, write::Writer},
    error::{DecodeError, EncodeError},
};

use super::{Core, CoreFields, HEADER_MAX_BYTES, Header, Kind, PARENTS_MAX, Signed};
use crate::{codec, ids::TxId, network::FORMAT_VERSION, rules::RuleError, stamp::Stamp, time::Time};

/// Parents as they stand on the wire: one count byte, then that many ids.
struct WireParents(Vec<TxId>);

impl Encode for WireParents {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        let count = u8::try_from(self.0.len()).map_err(|_| EncodeError::Other("too many parents"))?;
        count.encode(encoder)?;
        self.0.iter().try_for_each(|id| encoder.writer().write(id.as_bytes()))
    }
}

impl<C> Decode<C> for WireParents {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let count = usize::from(u8::decode(decoder)?);
        if count > PARENTS_MAX {
            return Err(DecodeError::Other("too many parents"));
        }
        let mut parents = Vec::with_capacity(count);
        for _ in 0..count {
            decoder.claim_bytes_read(32)?;
            let mut id = [0; 32];
            decoder.reader().read(&mut id)?;
            parents.push(TxId::from_bytes(id));
        }
        Ok(Self(parents))
    }
}

bincode::impl_borrow_decode!(WireParents);

#[derive(Encode, Decode)]
struct WireCore {
    version: u8,
    parents: WireParents,
    time: u64,
    lifetime: u32,
    kind: u8,
    hint: [u8; 16],
    body_hash: [u8; 32],
    body_len: u32,
    author: [u8; 32],
}

#[derive(Encode, Decode)]
struct WireHeader {
    core: WireCore,
    signature: [u8; 64],
    nonce: u64,
    solution: [u8; 16],
}

fn wire_core(core: &Core) -> WireCore {
    WireCore {
        version: FORMAT_VERSION,
        parents: WireParents(core.parents.clone()),
        time: core.time.secs(),
        lifetime: core.lifetime_secs,
        kind: core.kind.to_byte(),
        hint: core.hint,
        body_hash: core.body_hash,
        body_len: core.body_len,
        author: core.author,
    }
}

/// Encoding cannot fail: a `Core` has at most [`PARENTS_MAX`] parents and so fits the limit.
fn encode_infallibly<T: Encode>(value: &T) -> Vec<u8> {
    codec::encode::<HEADER_MAX_BYTES, T>(value).unwrap_or_default()
}

pub(super) fn encode_core(core: &Core) -> Vec<u8> {
    encode_infallibly(&wire_core(core))
}

pub(super) fn encode_core_without_body_hash(core: &Core) -> Vec<u8> {
    let c = wire_core(core);
    encode_infallibly(&(c.version, c.parents, c.time, c.lifetime, c.kind, c.hint, c.body_len, c.author))
}

pub(super) fn encode_header(header: &Header) -> Vec<u8> {
    encode_infallibly(&WireHeader {
        core: wire_core(&header.signed.core),
        signature: header.signed.signature,
        nonce: header.stamp.nonce(),
        solution: *header.stamp.solution(),
    })
}

/// Decodes the header at the start of `bytes`; returns what follows it.
pub(super) fn decode_header(bytes: &[u8]) -> Result<(Header, &[u8]), RuleError> {
    // Version and parent count have rules, and errors, of their own; both stand first.
    let (Some(version), Some(count)) = (bytes.first(), bytes.get(1)) else {
        return Err(RuleError::Size);
    };
    if *version != FORMAT_VERSION {
        return Err(RuleError::Version);
    }
    if !(1..=PARENTS_MAX).contains(&usize::from(*count)) {
        return Err(RuleError::ParentCount);
    }
    let (wire, rest): (WireHeader, _) =
        codec::decode_prefix::<HEADER_MAX_BYTES, _>(bytes).map_err(|_| RuleError::Encoding)?;
    let core = Core::new(CoreFields {
        parents: wire.core.parents.0,
        time: Time::from_secs(wire.core.time),
        lifetime_secs: wire.core.lifetime,
        kind: Kind::from_byte(wire.core.kind).ok_or(RuleError::Kind)?,
        hint: wire.core.hint,
        body_hash: wire.core.body_hash,
        body_len: wire.core.body_len,
        author: wire.core.author,
    })?;
    let signed = Signed { core, signature: wire.signature };
    Ok((signed.stamped(Stamp::new(wire.nonce, wire.solution)), rest))
}
