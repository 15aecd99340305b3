//! A second writer of what a wallet makes: the bytes of `docs/wallet-format.md` put together by hand, good or not.
//!
//! It shares no code with the wallet but the hash, so the two can only agree by both being right. Everything is
//! deterministic: what is random in a wallet is an argument here.

use std::{collections::VecDeque, ops::ControlFlow};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use ed25519_dalek::{Signer, SigningKey};
use hkdf::Hkdf;
use qasedak_chain::{
    Network, Time, Transaction, TxId,
    hash::{Context, hash},
    stamp::{self, Effort},
    time::RELEASE_SECS,
    transaction::{Core, CoreFields, Kind, body_hash},
};
use qasedak_wallet::phrase::Phrase;
use sha2::{Digest, Sha256, Sha512};
use x_wing::{DecapsulationKeyRejectNonContrib, Decapsulator, EncapsulationKey, KeyExport};

/// Bytes of an X-Wing ciphertext.
pub const CIPHERTEXT: usize = 1_120;

/// A moment some weeks after the networks' start, in whole minutes.
pub fn now() -> Time {
    Time::from_secs(RELEASE_SECS + 50 * 86_400).rounded_down()
}

/// The parents of everything here that needs no real ones.
pub fn parents() -> Vec<TxId> {
    vec![TxId::from_bytes([1; 32]), TxId::from_bytes([2; 32])]
}

/// Gives out bytes that were put in, in their order; more than these are asked for is a failure.
pub struct Tape(VecDeque<u8>);

impl Tape {
    pub fn new(parts: &[&[u8]]) -> Self {
        Self(parts.concat().into())
    }
}

impl rand_core::TryRng for Tape {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }
    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Self::Error> {
        to.iter_mut().for_each(|byte| *byte = self.0.pop_front().unwrap());
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Tape {}

/// Someone with all secrets in the open.
#[derive(Clone)]
pub struct Person {
    pub identity: SigningKey,
    pub scan: [u8; 32],
    pub seal_secret: [u8; 32],
    pub seal_id: u64,
}

impl Person {
    /// The first identity of the phrase of 32 bytes of `number`, and a seal key of the same 32 bytes.
    pub fn new(number: u8) -> Self {
        let seed = Phrase::from_entropy(&[number; 32]).unwrap().seed();
        let secret = |purpose: &[u8]| hash(Context::WalletKey, &[seed.as_slice(), purpose, &0u32.to_le_bytes()]);
        Self {
            identity: SigningKey::from_bytes(&secret(b"identity")),
            scan: secret(b"scan"),
            seal_secret: [number; 32],
            seal_id: now().secs(),
        }
    }
    pub fn address(&self) -> [u8; 32] {
        self.identity.verifying_key().to_bytes()
    }
    pub fn scan_public(&self) -> [u8; 32] {
        x25519_dalek::x25519(self.scan, x25519_dalek::X25519_BASEPOINT_BYTES)
    }
    pub fn seal_public(&self) -> Vec<u8> {
        seal_public(&self.seal_secret)
    }
}

pub fn seal_public(secret: &[u8; 32]) -> Vec<u8> {
    DecapsulationKeyRejectNonContrib::from(*secret).encapsulation_key().to_bytes().to_vec()
}

/// Ciphertext and shared secret of an encapsulation to `seal_public` with `seed`.
pub fn encapsulate(seal_public: &[u8], seed: &[u8; 64]) -> (Vec<u8>, [u8; 32]) {
    let key = EncapsulationKey::try_from(seal_public).unwrap();
    let (ciphertext, shared) = key.encapsulate_deterministic(&(*seed).into());
    (ciphertext.to_vec(), shared.into())
}

pub fn aead(key: &[u8; 32], nonce: &[u8; 24], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    XChaCha20Poly1305::new(key.into()).encrypt(nonce.into(), Payload { msg: plaintext, aad }).unwrap()
}

/// A transaction around a body that is made from the core without body hash.
#[derive(Clone)]
pub struct Envelope {
    pub network: Network,
    pub parents: Vec<TxId>,
    pub time: Time,
    pub lifetime_secs: u32,
    pub kind: Kind,
    pub hint: [u8; 16],
    pub body_len: u32,
    pub author: SigningKey,
}

impl Envelope {
    pub fn author_public(&self) -> [u8; 32] {
        self.author.verifying_key().to_bytes()
    }

    fn core(&self, body_hash: [u8; 32]) -> Core {
        Core::new(CoreFields {
            parents: self.parents.clone(),
            time: self.time,
            lifetime_secs: self.lifetime_secs,
            kind: self.kind,
            hint: self.hint,
            body_hash,
            body_len: self.body_len,
            author: self.author_public(),
        })
        .unwrap()
    }

    /// Makes the body, signs and stamps: the first stamp that the network takes, from nonce 0 on.
    pub fn close(&self, body: impl FnOnce(&[u8]) -> Vec<u8>) -> Transaction {
        let whole = self.core([0; 32]).to_bytes();
        let at = 31 + 32 * self.parents.len();
        let body = body(&[&whole[..at], &whole[at + 32..]].concat());
        let core = self.core(body_hash(&self.network, &body));
        let effort = Effort::required(&self.network, &core);
        let signed = core.sign(&self.network, &self.author).unwrap();
        let challenge = signed.challenge(&self.network);
        let stamp = stamp::search(&challenge, effort, 0.., || ControlFlow::Continue(())).unwrap();
        Transaction::new(&self.network, signed.stamped(stamp), Some(body)).unwrap()
    }
}

/// A card and what carries it, each part free to be wrong.
#[derive(Clone)]
pub struct CardDraft {
    pub owner: Person,
    pub version: u8,
    pub address: [u8; 32],
    pub scan_public: [u8; 32],
    pub seal_public: Vec<u8>,
    pub sequence: u64,
    pub signature: Option<[u8; 64]>,
    /// The byte with which the card is padded.
    pub padding: u8,
    pub nonce: [u8; 24],
    /// Whose tag and key, and of which week.
    pub found_by: [u8; 32],
    pub week: u64,
    pub envelope: Envelope,
}

impl CardDraft {
    pub fn new(network: Network, owner: &Person) -> Self {
        let envelope = Envelope {
            network,
            parents: parents(),
            time: now(),
            lifetime_secs: 2_592_000,
            kind: Kind::Tagged,
            hint: [0; 16],
            body_len: 2_048,
            author: SigningKey::from_bytes(&[0x61; 32]),
        };
        Self {
            owner: owner.clone(),
            version: 1,
            address: owner.address(),
            scan_public: owner.scan_public(),
            seal_public: owner.seal_public(),
            sequence: owner.seal_id,
            signature: None,
            padding: 0,
            nonce: [0x62; 24],
            found_by: owner.address(),
            week: now().secs() / 604_800,
            envelope,
        }
    }

    pub fn tag(&self) -> [u8; 16] {
        let ledger = self.envelope.network.ledger();
        let whole = hash(Context::CardTag, &[ledger.as_bytes(), &self.found_by, &self.week.to_le_bytes()]);
        whole[..16].try_into().unwrap()
    }

    pub fn key(&self) -> [u8; 32] {
        let ledger = self.envelope.network.ledger();
        hash(Context::CardKey, &[ledger.as_bytes(), &self.found_by, &self.week.to_le_bytes()])
    }

    pub fn card(&self) -> Vec<u8> {
        let sequence = self.sequence.to_le_bytes();
        let signed = [&[self.version][..], &self.address, &self.scan_public, &self.seal_public, &sequence].concat();
        let message = hash(Context::CardSign, &[self.envelope.network.ledger().as_bytes(), &signed]);
        let signature = self.signature.unwrap_or_else(|| self.owner.identity.sign(&message).to_bytes());
        [signed, signature.to_vec()].concat()
    }

    pub fn transaction(&self) -> Transaction {
        let mut plain = self.card();
        plain.resize(self.envelope.body_len as usize - 40, self.padding);
        let envelope = Envelope { hint: self.tag(), ..self.envelope.clone() };
        envelope.close(|aad| [self.nonce.to_vec(), aead(&self.key(), &self.nonce, aad, &plain)].concat())
    }
}

/// A sealed message and what carries it, each part free to be wrong.
#[derive(Clone)]
pub struct MessageDraft {
    pub sender: Person,
    pub recipient: Person,
    pub version: u8,
    /// Stands for the sender where it is to be another.
    pub claimed: Option<[u8; 32]>,
    /// For whom the signature is made.
    pub signed_for: [u8; 32],
    pub seal_id: u64,
    pub kind: u8,
    pub time_ms: u64,
    /// The inner id of the message that is answered, or zeros.
    pub reply: [u8; 32],
    pub content: Vec<u8>,
    /// Stands for the content's length where it is to be another.
    pub length: Option<u32>,
    pub padding: u8,
    pub seed: [u8; 64],
    /// Changes the KEM ciphertext after it was made.
    pub ciphertext_end: Option<[u8; 32]>,
    pub spoil_commitment: bool,
    pub envelope: Envelope,
}

impl MessageDraft {
    pub fn new(network: Network, sender: &Person, recipient: &Person, text: &str) -> Self {
        let envelope = Envelope {
            network,
            parents: parents(),
            time: now(),
            lifetime_secs: 2_592_000,
            kind: Kind::Sealed,
            hint: [0; 16],
            body_len: 2_048,
            author: SigningKey::from_bytes(&[0x71; 32]),
        };
        Self {
            sender: sender.clone(),
            recipient: recipient.clone(),
            version: 1,
            claimed: None,
            signed_for: recipient.address(),
            seal_id: recipient.seal_id,
            kind: 0,
            time_ms: now().secs() * 1_000 + 123,
            reply: [0; 32],
            content: text.as_bytes().to_vec(),
            length: None,
            padding: 0,
            seed: [0x72; 64],
            ciphertext_end: None,
            spoil_commitment: false,
            envelope,
        }
    }

    pub fn author_u(&self) -> [u8; 32] {
        self.envelope.author.verifying_key().to_montgomery().to_bytes()
    }

    /// By the sender's side of the Diffie-Hellman.
    pub fn hint(&self) -> [u8; 16] {
        let scalar: [u8; 32] = Sha512::digest(self.envelope.author.to_bytes())[..32].try_into().unwrap();
        let scan = self.recipient.scan_public();
        let shared = x25519_dalek::x25519(scalar, scan);
        let ledger = self.envelope.network.ledger();
        hash(Context::Hint, &[ledger.as_bytes(), &shared, &self.author_u(), &scan])[..16].try_into().unwrap()
    }

    pub fn encapsulated(&self) -> (Vec<u8>, [u8; 32]) {
        let (mut ciphertext, shared) = encapsulate(&self.recipient.seal_public(), &self.seed);
        if let Some(end) = self.ciphertext_end {
            ciphertext[CIPHERTEXT - 32..].copy_from_slice(&end);
        }
        (ciphertext, shared)
    }

    pub fn signed(&self) -> Vec<u8> {
        let sender = self.claimed.unwrap_or_else(|| self.sender.address());
        let length = self.length.unwrap_or(self.content.len() as u32);
        let mut bytes = vec![self.version];
        bytes.extend(sender);
        bytes.extend(self.seal_id.to_le_bytes());
        bytes.push(self.kind);
        bytes.extend(self.time_ms.to_le_bytes());
        bytes.extend(self.reply);
        bytes.extend(length.to_le_bytes());
        bytes.extend(&self.content);
        bytes
    }

    pub fn inner_id(&self) -> [u8; 32] {
        let ledger = self.envelope.network.ledger();
        let (ciphertext, _) = self.encapsulated();
        let (author, seal) = (self.envelope.author_public(), self.recipient.seal_public());
        let parts = [ledger.as_bytes(), &author[..], &self.signed_for, &seal, &ciphertext, &self.signed()];
        hash(Context::Inner, &parts)
    }

    /// Key, nonce and commitment.
    pub fn body_keys(&self) -> ([u8; 32], [u8; 24], [u8; 32]) {
        let (ciphertext, shared) = self.encapsulated();
        let ledger = self.envelope.network.ledger();
        let info = [&b"qasedak v1 sealed body"[..], &self.envelope.author_public()].concat();
        let mut derived = [0; 56];
        Hkdf::<Sha256>::new(Some(ledger.as_bytes()), &shared).expand(&info, &mut derived).unwrap();
        let key: [u8; 32] = derived[..32].try_into().unwrap();
        let mut commitment = hash(Context::Commitment, &[ledger.as_bytes(), &ciphertext, &key]);
        commitment[0] ^= u8::from(self.spoil_commitment);
        (key, derived[32..].try_into().unwrap(), commitment)
    }

    pub fn transaction(&self) -> Transaction {
        let signature = self.sender.identity.sign(&self.inner_id()).to_bytes();
        let mut plain = [self.signed(), signature.to_vec()].concat();
        plain.resize(self.envelope.body_len as usize - CIPHERTEXT - 48, self.padding);
        let (key, nonce, commitment) = self.body_keys();
        let (ciphertext, _) = self.encapsulated();
        let hint = if self.envelope.hint == [0; 16] { self.hint() } else { self.envelope.hint };
        let envelope = Envelope { hint, ..self.envelope.clone() };
        envelope.close(|aad| [ciphertext, commitment.to_vec(), aead(&key, &nonce, aad, &plain)].concat())
    }
}
