//! X25519 (RFC 7748) by the fastest sound implementation that this machine has: graviola's assembly where the
//! processor supports it, else x25519-dalek. Both are held against each other and the RFC's vectors in tests.
//!
//! A Diffie-Hellman whose result is all zero (the other key has small order) is refused, as RFC 7748 §6.1 allows.

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A long-lived secret scalar, clamped when used (RFC 7748 §5). Zeroized on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("x25519::Secret(…)")
    }
}

impl Secret {
    /// From any 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// The 32 bytes, as they were given.
    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// The public u coordinate.
    pub fn public(&self) -> [u8; 32] {
        x25519_dalek::x25519(self.0, x25519_dalek::X25519_BASEPOINT_BYTES)
    }
    /// The shared secret with the u coordinate `their`; `None` when it is all zero.
    pub fn diffie_hellman(&self, their: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        if fast::is_supported() {
            return fast::diffie_hellman(&self.0, their);
        }
        portable(&self.0, their)
    }
}

/// Whether a u coordinate has small order, so that every Diffie-Hellman with it is all zero.
pub fn has_small_order(u: &[u8; 32]) -> bool {
    // Any clamped scalar is a multiple of the cofactor, so one trial answers for all of them.
    portable(&[1; 32], u).is_none()
}

fn portable(secret: &[u8; 32], their: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    let shared = x25519_dalek::StaticSecret::from(*secret).diffie_hellman(&x25519_dalek::PublicKey::from(*their));
    shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()))
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod fast {
    use std::sync::LazyLock;

    use graviola::key_agreement::x25519::{PublicKey, StaticPrivateKey};
    use zeroize::Zeroizing;

    // graviola panics on a processor that it does not support, so it must be asked first.
    static SUPPORTED: LazyLock<bool> = LazyLock::new(graviola::util::is_cpu_supported);

    pub(super) fn is_supported() -> bool {
        *SUPPORTED
    }

    pub(super) fn diffie_hellman(secret: &[u8; 32], their: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        let shared = StaticPrivateKey::from_array(secret).diffie_hellman(&PublicKey::from_array(their)).ok()?;
        Some(Zeroizing::new(shared.as_bytes()))
    }
}

#[cfg(test)]
mod tests;
