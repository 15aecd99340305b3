//! Sealing: a message for the holder of a card becomes a signed transaction that lacks only its stamp.
//!
//! Body = KEM ciphertext | key commitment | AEAD (DESIGN §8; `docs/wallet-format.md`, "Sealed body"). The same random
//! bytes give the same transaction, so vectors can be made.

use ed25519_dalek::SigningKey;
use hkdf::Hkdf;
use qasedak_chain::{
    Network, Time,
    hash::{Context, hash},
    rules::RuleError,
    transaction::Kind,
};
use rand_core::CryptoRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    address::Address,
    aead::{self, NONCE_BYTES, TAG_BYTES},
    card::Card,
    envelope::{Draft, Unstamped, body_len_for, close, hint_for, pad},
    inner::{Binding, INNER_OVERHEAD_BYTES, Inner, InnerId, Message},
    keys::{EncapsulationSeed, KEM_CIPHERTEXT_BYTES, Keys, SealPublic},
};

/// Bytes of a key commitment.
pub const COMMITMENT_BYTES: usize = 32;
/// Bytes of the smallest sealed body.
pub const BODY_MIN_BYTES: u32 = 2048;
/// Bytes of a sealed body besides the padded inner plaintext.
pub const BODY_OVERHEAD_BYTES: usize = KEM_CIPHERTEXT_BYTES + COMMITMENT_BYTES + TAG_BYTES;
/// Most bytes of content in one message: what the largest body, 64 KiB, holds.
pub const CONTENT_MAX_BYTES: usize = 65_536 - BODY_OVERHEAD_BYTES - INNER_OVERHEAD_BYTES;

const HKDF_LABEL: &[u8] = b"qasedak v1 sealed body";

/// Why a message could not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// More content than the largest body holds.
    #[error("the message has {bytes} bytes and at most {CONTENT_MAX_BYTES} fit; shorten it or send it in parts")]
    TooLong {
        /// Its bytes in UTF-8.
        bytes: usize,
    },
    /// The recipient's keys cannot be used, which a verified card excludes.
    #[error("the recipient's card has keys that cannot be used; ask them to publish a new one")]
    Card,
    /// The recipient may have destroyed the key by the time that the message ends.
    #[error(
        "the recipient's card is too old for a message that lives so long: they may destroy its key before the message \
         ends; choose a shorter expiry, or wait until their node has published a new card"
    )]
    OldCard,
    /// The draft breaks a rule of form.
    #[error(transparent)]
    Rule(#[from] RuleError),
}

/// A sealed message that lacks its stamp, and what its sender keeps of it.
#[derive(Debug)]
pub struct SealedMessage {
    /// To be stamped and handed to the outbox.
    pub unstamped: Unstamped,
    /// To be kept once the transaction's id is known.
    pub record: SentRecord,
}

/// What a sender keeps of a message: enough to show it, and to disclose it later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentRecord {
    /// The message's identity.
    pub inner_id: InnerId,
    /// By which of the sender's identities.
    pub sender: Address,
    /// To whom.
    pub recipient: Address,
    /// What was written, and when.
    pub message: Message,
    /// The time of the transaction.
    pub time: Time,
    /// How long it lives, in seconds.
    pub lifetime_secs: u32,
    /// The seal key that it was sealed to.
    pub seal: SealPublic,
    /// The randomness of the encapsulation.
    pub encapsulation_seed: EncapsulationSeed,
}

/// What is derived from a KEM's shared secret.
pub(crate) struct BodyKeys {
    pub(crate) key: Zeroizing<[u8; 32]>,
    pub(crate) nonce: [u8; NONCE_BYTES],
    pub(crate) commitment: [u8; COMMITMENT_BYTES],
}

/// Key and nonce by HKDF-SHA256 (RFC 5869) from the shared secret; commitment = `H("commitment", ledger, KEM
/// ciphertext, key)`. The AEAD alone does not commit to its key: one ciphertext can open under two.
pub(crate) fn body_keys(
    network: &Network,
    author: &[u8; 32],
    ciphertext: &[u8; KEM_CIPHERTEXT_BYTES],
    shared: &[u8; 32],
) -> Option<BodyKeys> {
    let ledger = network.ledger();
    let mut okm = Zeroizing::new([0; 32 + NONCE_BYTES]);
    Hkdf::<Sha256>::new(Some(ledger.as_bytes()), shared).expand_multi_info(&[HKDF_LABEL, author], okm.as_mut()).ok()?;
    let (key, nonce) = okm.split_first_chunk::<32>()?;
    Some(BodyKeys {
        key: Zeroizing::new(*key),
        nonce: nonce.try_into().ok()?,
        commitment: hash(Context::Commitment, &[ledger.as_bytes(), ciphertext, key]),
    })
}

/// Seals `message`, written by `sender`, to the holder of `card`. The message ends with the transaction's lifetime.
///
/// # Errors
/// [`SealError`] when the content is too long, the card too old, or the draft breaks a rule of form.
pub fn seal(
    network: &Network,
    sender: &Keys,
    card: &Card,
    message: Message,
    draft: &Draft,
    rng: &mut dyn CryptoRng,
) -> Result<SealedMessage, SealError> {
    if draft.time.plus(u64::from(draft.lifetime_secs)) > card.opens_until() {
        return Err(SealError::OldCard);
    }
    let bytes = message.content.as_bytes().len();
    let needed = bytes.saturating_add(BODY_OVERHEAD_BYTES).saturating_add(INNER_OVERHEAD_BYTES);
    let body_len = body_len_for(needed, BODY_MIN_BYTES).ok_or(SealError::TooLong { bytes })?;
    let author = SigningKey::generate(rng);
    let author_public = author.verifying_key().to_bytes();
    let encapsulation_seed = EncapsulationSeed::generate(rng);
    let encapsulated = card.seal().encapsulate(&encapsulation_seed).ok_or(SealError::Card)?;
    let hint = hint_for(network.ledger(), &author, card.scan()).ok_or(SealError::Card)?;
    let inner = Inner { sender: *sender.address().as_bytes(), seal_key: card.sequence(), message };
    let inner_id = inner.id(&Binding {
        network,
        author: &author_public,
        recipient: &card.address(),
        seal: card.seal(),
        ciphertext: &encapsulated.ciphertext,
    });
    let mut plaintext = inner.signed_bytes();
    plaintext.extend_from_slice(&sender.sign(inner_id.as_bytes()));
    pad(&mut plaintext, usize::try_from(body_len).unwrap_or_default().saturating_sub(BODY_OVERHEAD_BYTES));
    let keys =
        body_keys(network, &author_public, &encapsulated.ciphertext, &encapsulated.shared).ok_or(SealError::Card)?;
    let unstamped = close(network, draft, (Kind::Sealed, hint), &author, body_len, |aad| {
        let sealed = aead::seal(&keys.key, &keys.nonce, aad, &plaintext).map_err(|_| SealError::TooLong { bytes })?;
        Ok::<_, SealError>([encapsulated.ciphertext.as_slice(), &keys.commitment, &sealed].concat())
    })?;
    let record = SentRecord {
        inner_id,
        sender: sender.address(),
        recipient: card.address(),
        message: inner.message,
        time: draft.time,
        lifetime_secs: draft.lifetime_secs,
        seal: card.seal().clone(),
        encapsulation_seed,
    };
    Ok(SealedMessage { unstamped, record })
}
