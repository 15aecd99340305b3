//! The peer key: who a node is to other nodes. It is separate from every wallet identity and can be replaced at
//! any start (DESIGN §7).

use std::fmt;

use libp2p::{PeerId, identity::Keypair};
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
    pub(crate) fn id(&self) -> PeerId {
        self.0.public().to_peer_id()
    }
    pub(crate) fn pair(&self) -> &Keypair {
        &self.0
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerKey(secret)")
    }
}
