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

/// Version of the layout: one message from one person to one person. The others are free for conversations.
const VERSION: u8 = 1;
/// Bytes of an inner plaintext besides its content.
pub const INNER_OVERHEAD_BYTES: usize = HEAD_BYTES + 64;
const HEAD_BYTES: usize = 1 + 32 + 8 + 1 + 8 + 32 + 4;
/// Stands for no reply.
const NO_REPLY: [u8; 32] = [0; 32];
/// Most messages that one receipt names.
pub const RECEIPT_IDS_MAX: usize = 64;

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
    /// Type 1: the messages with these inner ids, written by the one whom this is sealed to, were opened. Shown as their state, never as a
    /// message.
    Receipt(Vec<[u8; 32]>),
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
            Content::Receipt(ids) => write!(f, "Receipt({} ids)", ids.len()),
            Content::Unsupported { kind, bytes } => write!(f, "Unsupported({kind}, {} bytes)", bytes.len()),
        }
    }
}

impl Content {
    /// The type byte.
    pub fn kind(&self) -> u8 {
        match self {
            Content::Text(_) => 0,
            Content::Receipt(_) => 1,
            Content::Unsupported { kind, .. } => *kind,
        }
    }
    /// The bytes as they stand in the plaintext.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Content::Text(text) => text.as_bytes(),
            Content::Receipt(ids) => ids.as_flattened(),
            Content::Unsupported { bytes, .. } => bytes,
        }
    }
    /// From type and bytes; `None` when a text is not UTF-8 or a receipt is not 1 to [`RECEIPT_IDS_MAX`] ids.
    pub fn from_parts(kind: u8, bytes: &[u8]) -> Option<Self> {
        match kind {
            0 => std::str::from_utf8(bytes).ok().map(|text| Content::Text(text.to_owned())),
            1 => {
                let (ids, rest) = bytes.as_chunks::<32>();
                let whole = rest.is_empty() && (1..=RECEIPT_IDS_MAX).contains(&ids.len());
                whole.then(|| Content::Receipt(ids.to_vec()))
            }
            kind => Some(Content::Unsupported { kind, bytes: bytes.to_vec() }),
        }
    }
    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Content::Text(text) => Some(text),
            Content::Receipt(_) | Content::Unsupported { .. } => None,
        }
    }
}

/// What a person sends: content, when it was written by their clock, and which message it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it says.
    pub content: Content,
    /// When it was written, in milliseconds since 1970.
    pub time_ms: u64,
    /// The message that it answers.
    pub reply_to: Option<InnerId>,
}

impl Message {
    /// A message that answers none.
    pub fn new(content: Content, time_ms: u64) -> Self {
        Self { content, time_ms, reply_to: None }
    }
}

/// The fields that are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inner {
    /// Not checked to be a usable key: that is part of verifying the signature.
    pub(crate) sender: [u8; 32],
    pub(crate) seal_key: SealKeyId,
    pub(crate) message: Message,
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
    /// version | sender | seal key id | type | time | reply | content length | content: what is signed.
    pub(crate) fn signed_bytes(&self) -> Zeroizing<Vec<u8>> {
        let content = self.message.content.as_bytes();
        let mut bytes = Zeroizing::new(Vec::with_capacity(INNER_OVERHEAD_BYTES.saturating_add(content.len())));
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.sender);
        bytes.extend_from_slice(&self.seal_key.get().to_le_bytes());
        bytes.push(self.message.content.kind());
        bytes.extend_from_slice(&self.message.time_ms.to_le_bytes());
        bytes.extend_from_slice(&self.message.reply_to.map_or(NO_REPLY, |reply| reply.0));
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
        let (inner, kind, content, signature) = Self::fields(&mut reader).ok_or(InnerError::Layout)?;
        if !all_zero(reader.rest()) {
            return Err(InnerError::Layout);
        }
        let wrong = if kind == 0 { InnerError::Text } else { InnerError::Layout };
        let content = Content::from_parts(kind, content).ok_or(wrong)?;
        let message = Message { content, ..inner.message };
        if matches!(message, Message { content: Content::Receipt(_), reply_to: Some(_), .. }) {
            return Err(InnerError::Layout);
        }
        Ok((Self { message, ..inner }, signature))
    }

    /// The fields, with an empty text; type, content and signature.
    fn fields<'a>(reader: &mut Reader<'a>) -> Option<(Self, u8, &'a [u8], [u8; 64])> {
        let sender = reader.array()?;
        let seal_key = SealKeyId::new(reader.u64()?);
        let kind = reader.u8()?;
        let time_ms = reader.u64()?;
        let reply: [u8; 32] = reader.array()?;
        let length = usize::try_from(reader.u32()?).ok()?;
        let content = reader.slice(length)?;
        let reply_to = (reply != NO_REPLY).then_some(InnerId(reply));
        let message = Message { content: Content::Text(String::new()), time_ms, reply_to };
        Some((Self { sender, seal_key, message }, kind, content, reader.array()?))
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
            sender: [u8; 32], key: u64, kind in prop_oneof![Just(0u8), 2u8..], time_ms: u64, reply: Option<[u8; 32]>, text in "\\PC{0,60}", padding in 0usize..50, junk: Vec<u8>
        ) {
            let content = Content::from_parts(kind, text.as_bytes()).unwrap();
            let reply_to = reply.filter(|reply| *reply != NO_REPLY).map(InnerId);
            let inner = Inner { sender, seal_key: SealKeyId::new(key), message: Message { content, time_ms, reply_to } };
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

    #[test]
    fn receipts_are_one_to_sixty_four_whole_ids_and_answer_nothing() {
        let ids: Vec<[u8; 32]> = (0..64).map(|n| [n; 32]).collect();
        let receipt = Content::Receipt(ids);
        assert_eq!(Content::from_parts(1, receipt.as_bytes()), Some(receipt.clone()));
        for bytes in [0, 31, 33, 65 * 32] {
            assert_eq!(Content::from_parts(1, &vec![7; bytes]), None, "{bytes}");
        }
        let message = Message { content: receipt, time_ms: 1, reply_to: Some(InnerId([9; 32])) };
        let inner = Inner { sender: [1; 32], seal_key: SealKeyId::new(1), message };
        let bytes = [inner.signed_bytes().as_slice(), &[0; 64]].concat();
        assert_eq!(Inner::read(&bytes), Err(InnerError::Layout));
    }
}
