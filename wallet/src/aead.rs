//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), the one cipher of the wallet, with plain byte arguments.

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use zeroize::Zeroizing;

/// Bytes that encryption adds.
pub(crate) const TAG_BYTES: usize = 16;
/// Bytes of a nonce: long enough to be drawn at random.
pub(crate) const NONCE_BYTES: usize = 24;

/// Encryption failed (the plaintext is beyond the cipher's limit), or the ciphertext is not genuine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AeadError;

/// Ciphertext and tag, 16 bytes longer than `plaintext`.
pub(crate) fn seal(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, AeadError> {
    XChaCha20Poly1305::new(key.into()).encrypt(nonce.into(), Payload { msg: plaintext, aad }).map_err(|_| AeadError)
}

/// The plaintext, if the ciphertext was made with the same key, nonce and associated data.
pub(crate) fn open(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, AeadError> {
    XChaCha20Poly1305::new(key.into())
        .decrypt(nonce.into(), Payload { msg: ciphertext, aad })
        .map(Zeroizing::new)
        .map_err(|_| AeadError)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Appendix A.3.1 of draft-irtf-cfrg-xchacha-03: the tag over the "sunscreen" text.
    #[test]
    fn draft_vector() {
        let key: [u8; 32] = std::array::from_fn(|i| 0x80 + i as u8);
        let nonce: [u8; 24] = std::array::from_fn(|i| 0x40 + i as u8);
        let aad = hex::decode("50515253c0c1c2c3c4c5c6c7").unwrap();
        let text = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
            sunscreen would be it.";
        let sealed = seal(&key, &nonce, &aad, text).unwrap();
        assert_eq!(hex::encode(&sealed[..16]), "bd6d179d3e83d43b9576579493c0e939");
        assert_eq!(hex::encode(&sealed[text.len()..]), "c0875924c1c7987947deafd8780acf49");
        assert_eq!(open(&key, &nonce, &aad, &sealed).unwrap().as_slice(), text);
        assert_eq!(open(&key, &nonce, b"", &sealed), Err(AeadError));
    }
}
