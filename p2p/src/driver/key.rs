//! The peer key: who a node is to other nodes. It is separate from every wallet identity and can be replaced at
//! any start (DESIGN §7).

use std::fmt;

use libp2p::{
    PeerId,
    identity::{Keypair, PublicKey, ed25519},
    multihash::Multihash,
};
use rand_core::CryptoRng;

use super::DriverError;

/// A node's Ed25519 key pair. The secret is wiped when it is dropped, and never shown.
#[derive(Clone)]
pub struct PeerKey(Keypair);

impl PeerKey {
    /// The key pair of 32 secret bytes (RFC 8032, 5.1.5). The bytes handed in are wiped.
    ///
    /// # Errors
    /// [`DriverError::Setup`], which 32 bytes never cause.
    pub fn from_bytes(mut secret: [u8; 32]) -> Result<Self, DriverError> {
        let pair =
            Keypair::ed25519_from_bytes(&mut secret[..]).map_err(|error| DriverError::Setup(error.to_string()))?;
        Ok(Self(pair))
    }
    /// A new key pair, for a node that needs no lasting one.
    ///
    /// # Errors
    /// [`DriverError::Setup`], as [`from_bytes`](Self::from_bytes).
    pub fn generate(rng: &mut dyn CryptoRng) -> Result<Self, DriverError> {
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        Self::from_bytes(secret)
    }
    /// The peer id that other nodes know this key by, as text (`12D3Koo…`).
    pub fn peer_id(&self) -> String {
        self.id().to_string()
    }
    /// The Ed25519 public key.
    pub fn public(&self) -> [u8; 32] {
        // Cannot fail: the pair was made as an Ed25519 pair.
        self.0.public().try_into_ed25519().map_or([0; 32], |key| key.to_bytes())
    }
    /// Signs a message (RFC 8032).
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        // Cannot fail either; what does not verify is noticed by who asked for it.
        self.0.sign(message).ok().and_then(|signature| signature.try_into().ok()).unwrap_or([0; 64])
    }
    pub(crate) fn id(&self) -> PeerId {
        self.0.public().to_peer_id()
    }
    pub(crate) fn pair(&self) -> &Keypair {
        &self.0
    }
}

/// The Ed25519 public key that a peer id embeds; `None` when it embeds none.
pub(crate) fn public_of(id: &PeerId) -> Option<[u8; 32]> {
    let hash: &Multihash<64> = id.as_ref();
    // Code 0 is the identity: the digest is the key's own encoding.
    if hash.code() != 0 {
        return None;
    }
    let key = PublicKey::try_decode_protobuf(hash.digest()).ok()?;
    key.try_into_ed25519().ok().map(|key| key.to_bytes())
}

/// The peer id of an Ed25519 public key, as text; its hexadecimal digits when it is no key.
pub fn peer_id_of(key: &[u8; 32]) -> String {
    match ed25519::PublicKey::try_from_bytes(key) {
        Ok(key) => PublicKey::from(key).to_peer_id().to_string(),
        Err(_) => key.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerKey(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_id_embeds_the_key() {
        let key = PeerKey::from_bytes([7; 32]).unwrap();
        assert_eq!(public_of(&key.id()), Some(key.public()));
        assert_eq!(peer_id_of(&key.public()), key.peer_id());
        assert_ne!(key.public(), [0; 32]);
    }
}
