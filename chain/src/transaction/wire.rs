//! Bytes of cores and headers: the canonical encoding of DESIGN §4 (`docs/protocol.md`, "Transaction").
//!
//! A parent list is one count byte and the ids; everything else has a fixed size.

use arrayvec::ArrayVec;
use bincode::{
    Decode, Encode,
    de::{Decoder, read::Reader},
    enc::{Encoder, write::Writer},
    error::{DecodeError, EncodeError},
};

use super::{Core, HEADER_MAX_BYTES, Header, Kind, PARENTS_MAX, Signed};
use crate::{codec, ids::TxId, network::FORMAT_VERSION, rules::RuleError, stamp::Stamp, time::Time};

/// Parents as they stand on the wire: one count byte, then that many ids.
struct WireParents(ArrayVec<TxId, PARENTS_MAX>);

impl Encode for WireParents {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        let count = u8::try_from(self.0.len()).map_err(|_| EncodeError::Other("too many parents"))?;
        count.encode(encoder)?;
        self.0.iter().try_for_each(|id| encoder.writer().write(id.as_bytes()))
    }
}

impl<C> Decode<C> for WireParents {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let count = u8::decode(decoder)?;
        let mut parents = ArrayVec::new();
        for _ in 0..count {
            decoder.claim_bytes_read(32)?;
            let mut id = [0; 32];
            decoder.reader().read(&mut id)?;
            parents.try_push(TxId::from_bytes(id)).map_err(|_| DecodeError::Other("too many parents"))?;
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

/// Appends the bytes that bincode makes of a [`WireCore`], which need no copy of the parents this way; decoding compares
/// the two.
fn write_core(core: &Core, with_body_hash: bool, out: &mut Vec<u8>) {
    // A core has at most `PARENTS_MAX` parents.
    out.extend([FORMAT_VERSION, u8::try_from(core.parents.len()).unwrap_or(u8::MAX)]);
    core.parents.iter().for_each(|parent| out.extend_from_slice(parent.as_bytes()));
    out.extend_from_slice(&core.time.secs().to_le_bytes());
    out.extend_from_slice(&core.lifetime_secs.to_le_bytes());
    out.push(core.kind.to_byte());
    out.extend_from_slice(&core.hint);
    if with_body_hash {
        out.extend_from_slice(&core.body_hash);
    }
    out.extend_from_slice(&core.body_len.to_le_bytes());
    out.extend_from_slice(&core.author);
}

pub(super) fn encode_core(core: &Core) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(core.header_len());
    write_core(core, true, &mut bytes);
    bytes
}

pub(super) fn encode_core_without_body_hash(core: &Core) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(core.header_len());
    write_core(core, false, &mut bytes);
    bytes
}

pub(super) fn write_header(header: &Header, out: &mut Vec<u8>) {
    write_core(&header.signed.core, true, out);
    out.extend_from_slice(&header.signed.signature);
    out.extend_from_slice(&header.stamp.nonce().to_le_bytes());
    out.extend_from_slice(header.stamp.solution());
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
    let core = Core {
        parents: wire.core.parents.0,
        time: Time::from_secs(wire.core.time),
        lifetime_secs: wire.core.lifetime,
        kind: Kind::from_byte(wire.core.kind).ok_or(RuleError::Kind)?,
        hint: wire.core.hint,
        body_hash: wire.core.body_hash,
        body_len: wire.core.body_len,
        author: wire.core.author,
    };
    let core = core.formed()?;
    let signed = Signed { core, signature: wire.signature };
    Ok((signed.stamped(Stamp::new(wire.nonce, wire.solution)), rest))
}
