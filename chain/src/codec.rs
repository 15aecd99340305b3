//! The one place that knows bincode: canonical encoding with an explicit byte limit.
//!
//! Encoding rule, frozen (DESIGN §4): bincode 2, fixed-width little-endian integers; decoding consumes every
//! byte and encodes back to the same bytes, or the input is rejected. bincode alone accepts trailing bytes,
//! and without a limit reserves memory by the length that the input claims, hence this wrapper.

use bincode::{
    Decode, Encode,
    config::{Configuration, Fixint, Limit, LittleEndian},
};

/// The input is not the canonical encoding of a value of the expected type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a canonical encoding")]
pub struct CodecError;

const fn config<const LIMIT: usize>() -> Configuration<LittleEndian, Fixint, Limit<LIMIT>> {
    bincode::config::standard().with_fixed_int_encoding().with_limit::<LIMIT>()
}

/// Encodes `value`.
///
/// # Errors
/// [`CodecError`] when the encoding would be longer than `LIMIT` bytes.
pub fn encode<const LIMIT: usize, T: Encode>(value: &T) -> Result<Vec<u8>, CodecError> {
    // bincode heeds the limit when it decodes only.
    let bytes = bincode::encode_to_vec(value, config::<LIMIT>()).map_err(|_| CodecError)?;
    if bytes.len() > LIMIT { Err(CodecError) } else { Ok(bytes) }
}

/// Decodes a value that stands at the start of `bytes` and returns the bytes after it.
///
/// # Errors
/// [`CodecError`] when the value is malformed, not canonical, or longer than `LIMIT` bytes.
pub fn decode_prefix<const LIMIT: usize, T: Encode + Decode<()>>(bytes: &[u8]) -> Result<(T, &[u8]), CodecError> {
    let (value, used): (T, usize) = bincode::decode_from_slice(bytes, config::<LIMIT>()).map_err(|_| CodecError)?;
    let (own, rest) = bytes.split_at_checked(used).ok_or(CodecError)?;
    if encode::<LIMIT, T>(&value)? != own {
        return Err(CodecError);
    }
    Ok((value, rest))
}

/// Decodes a value that must fill `bytes` exactly.
///
/// # Errors
/// [`CodecError`] when the value is malformed, not canonical, longer than `LIMIT`, or followed by more bytes.
pub fn decode<const LIMIT: usize, T: Encode + Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > LIMIT {
        return Err(CodecError);
    }
    let (value, rest) = decode_prefix::<LIMIT, T>(bytes)?;
    if rest.is_empty() { Ok(value) } else { Err(CodecError) }
}
