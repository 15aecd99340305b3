//! What is inside a sealed body: who wrote, when and what, signed by the writer's identity.
//!
//! The signature covers ledger, author, recipient, seal key and KEM ciphertext besides the plaintext, so a recipient
//! cannot re-seal a message to someone else as if its writer had. The signed hash is the message's [`InnerId`]
//! (DESIGN §8; `docs/wallet-format.md`, "Inner plaintext").

use std::fmt;

use qasedak_chain::{
    Network,
    hash::{Context, hash},
};
use zeroize::Zeroizing;

use crate::{
    address::Address,
    bytes::{Reader, all_zero},
    keys::{KEM_CIPHERTEXT_BYTES, SealKeyId, SealPublic},
};

/// Version of the layout.
const VERSION: u8 = 1;
/// Bytes of an inner plaintext besides its content.
pub const INNER_OVERHEAD_BYTES: usize = HEAD_BYTES + 64;
const HEAD_BYTES: usize = 1 + 32 + 8 + 1 + 8 + 4;

/// Identity of a message: the hash that its writer signed. A stranger who stamps a copy again makes a new transaction
/// id, not a new inner id, so wallets show one message per inner id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InnerId([u8; 32]);

impl InnerId {
    /// Wraps 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for InnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for InnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InnerId({self})")
    }
}

/// What a message says.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// Type 0: text. It comes from someone else: show it through [`display`](crate::display).
    Text(String),
    /// A type that this version does not know. Kept, and to be shown as unsupported.
    Unsupported {
        /// The type.
        kind: u8,
        /// The content.
        bytes: Vec<u8>,
    },
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Content::Unsupported { kind, bytes } => write!(f, "Unsupported({kind}, {} bytes)", bytes.len()),
        }
    }
}

impl Content {
    /// The type byte.
    pub fn kind(&self) -> u8 {
        match self {
            Content::Text(_) => 0,
            Content::Unsupported { kind, .. } => *kind,
        }
    }
    /// The bytes as they stand in the plaintext.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Content::Text(text) => text.as_bytes(),
            Content::Unsupported { bytes, .. } => bytes,
        }
    }
    /// From type and bytes; `None` when a text is not UTF-8.
    pub fn from_parts(kind: u8, bytes: &[u8]) -> Option<Self> {
        match kind {
            0 => std::str::from_utf8(bytes).ok().map(|text| Content::Text(text.to_owned())),
            kind => Some(Content::Unsupported { kind, bytes: bytes.to_vec() }),
        }
    }
    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Content::Text(text) => Some(text),
            Content::Unsupported { .. } => None,
        }
    }
}

/// The fields that are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inner {
    /// Not checked to be a usable key: that is part of verifying the signature.
    pub(crate) sender: [u8; 32],
    pub(crate) seal_key: SealKeyId,
    pub(crate) time_ms: u64,
    pub(crate) content: Content,
}

/// What a signature binds a plaintext to.
pub(crate) struct Binding<'a> {
    pub(crate) network: &'a Network,
    pub(crate) author: &'a [u8; 32],
    pub(crate) recipient: &'a Address,
    pub(crate) seal: &'a SealPublic,
    pub(crate) ciphertext: &'a [u8; KEM_CIPHERTEXT_BYTES],
}

/// Why a decrypted plaintext is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InnerError {
    Version,
    Layout,
    Text,
}

impl Inner {
    /// version | sender | seal key id | type | time | content length | content: what is signed.
    pub(crate) fn signed_bytes(&self) -> Zeroizing<Vec<u8>> {
        let content = self.content.as_bytes();
        let mut bytes = Zeroizing::new(Vec::with_capacity(INNER_OVERHEAD_BYTES.saturating_add(content.len())));
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.sender);
        bytes.extend_from_slice(&self.seal_key.get().to_le_bytes());
        bytes.push(self.content.kind());
        bytes.extend_from_slice(&self.time_ms.to_le_bytes());
        // Content is bounded far below 4 GiB by the largest body.
        bytes.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(content);
        bytes
    }

    /// `H("inner", ledger, author, recipient, seal key, KEM ciphertext, signed bytes)`.
    pub(crate) fn id(&self, binding: &Binding<'_>) -> InnerId {
        InnerId(hash(
            Context::Inner,
            &[
                binding.network.ledger().as_bytes(),
                binding.author,
                binding.recipient.as_bytes(),
                binding.seal.as_bytes(),
                binding.ciphertext,
                &self.signed_bytes(),
            ],
        ))
    }

    /// Reads a padded plaintext: the fields, the signature, zeros.
    pub(crate) fn read(plaintext: &[u8]) -> Result<(Self, [u8; 64]), InnerError> {
        let mut reader = Reader::new(plaintext);
        if reader.u8().ok_or(InnerError::Layout)? != VERSION {
            return Err(InnerError::Version);
        }
        let (sender, seal_key, kind, time_ms, content, signature) =
            Self::fields(&mut reader).ok_or(InnerError::Layout)?;
        if !all_zero(reader.rest()) {
            return Err(InnerError::Layout);
        }
        let content = Content::from_parts(kind, content).ok_or(InnerError::Text)?;
        Ok((Self { sender, seal_key, time_ms, content }, signature))
    }

    #[expect(clippy::type_complexity, reason = "the fields in their order, used once")]
    fn fields<'a>(reader: &mut Reader<'a>) -> Option<([u8; 32], SealKeyId, u8, u64, &'a [u8], [u8; 64])> {
        let sender = reader.array()?;
        let seal_key = SealKeyId::new(reader.u64()?);
        let kind = reader.u8()?;
        let time_ms = reader.u64()?;
        let length = usize::try_from(reader.u32()?).ok()?;
        let content = reader.slice(length)?;
        Some((sender, seal_key, kind, time_ms, content, reader.array()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is written is read back; padding must be zero; no cut or stranger's bytes panic.
        #[test]
        fn round_trip(
            sender: [u8; 32], key: u64, kind: u8, time_ms: u64, text in "\\PC{0,60}", padding in 0usize..50, junk: Vec<u8>
        ) {
            let content = Content::from_parts(kind, text.as_bytes()).unwrap();
            let inner = Inner { sender, seal_key: SealKeyId::new(key), time_ms, content };
            let mut bytes = inner.signed_bytes().to_vec();
            bytes.extend_from_slice(&[7; 64]);
            let whole = bytes.len();
            prop_assert_eq!(whole, INNER_OVERHEAD_BYTES + text.len());
            bytes.resize(whole + padding, 0);
            prop_assert_eq!(Inner::read(&bytes), Ok((inner, [7; 64])));
            prop_assert!(Inner::read(&bytes[..whole - 1]).is_err());
            bytes.push(1);
            prop_assert_eq!(Inner::read(&bytes), Err(InnerError::Layout));
            let _ = Inner::read(&junk);
        }
    }

    #[test]
    fn texts_are_utf8_and_debug_shows_none_of_it() {
        assert_eq!(Content::from_parts(0, &[0xff]), None);
        assert_eq!(format!("{:?}", Content::Text("secret".into())), "Text(6 bytes)");
    }
}
