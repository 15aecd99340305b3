//! An address: a person's Ed25519 identity key as text, bech32m (BIP-350) with the prefix `qsd`: `qsd1…`, 62 characters.
//!
//! An [`Address`] always holds a canonical point that is not of small order, so a signature under it means something.

use std::{fmt, str::FromStr};

use bech32::{
    Bech32m, Hrp,
    primitives::decode::{CharError, CheckedHrpstring, CheckedHrpstringError, UncheckedHrpstringError},
};
use ed25519_dalek::{SigningKey, VerifyingKey};

/// What stands before the `1` of an address.
pub const PREFIX: &str = "qsd";
/// Characters of an address.
pub const CHARS: usize = 62;

const HRP: Hrp = Hrp::parse_unchecked(PREFIX);

/// A person's identity: an Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address([u8; 32]);

/// Why some text or bytes are no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No bech32 text at all.
    #[error("this is not an address; an address starts with qsd1 and has 62 characters, copy all of it")]
    Form,
    /// Bech32 of something else.
    #[error("this is not a Qasedak address but something else in the same notation; one of Qasedak starts with qsd1")]
    Prefix,
    /// Upper and lower case in one text.
    #[error("the address mixes upper and lower case, so it was changed on its way; copy it again")]
    MixedCase,
    /// A character that no address has.
    #[error("the address contains a character that no address has; copy it again from where you got it")]
    Character,
    /// The checksum does not fit.
    #[error("the address is damaged: at least one character is wrong or missing; copy it again from where you got it")]
    Checksum,
    /// The checksum fits, the length does not.
    #[error("the address has the wrong length; an address has 62 characters, ask its owner for it again")]
    Length,
    /// The bytes are no usable public key: nobody can own this address.
    #[error("nobody can own this address: it holds no usable key; ask its owner for it again")]
    Key,
}

impl Address {
    /// From the 32 bytes of an Ed25519 public key.
    ///
    /// # Errors
    /// [`AddressError::Key`] when they are no point of the curve, not in canonical form, or of small order.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, AddressError> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| AddressError::Key)?;
        let canonical = key.to_edwards().compress().to_bytes() == bytes;
        if key.is_weak() || !canonical { Err(AddressError::Key) } else { Ok(Self(bytes)) }
    }
    /// The address of a secret key, which is never of small order.
    pub(crate) fn of(key: &SigningKey) -> Self {
        Self(key.verifying_key().to_bytes())
    }
    /// The 32 bytes of the public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// Whether some text is meant to be an address, well-formed or not.
    pub fn is_meant(text: &str) -> bool {
        let mut chars = text.trim_start().chars().map(|c| c.to_ascii_lowercase());
        PREFIX.chars().chain(['1']).all(|expected| chars.next() == Some(expected))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads an address: all lower or all upper case (as QR codes like it), white space around it is ignored.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        // Bech32's checksum is meant for texts of up to 1,023 characters; nothing near that is an address.
        if text.len() > 4 * CHARS {
            return Err(if Self::is_meant(text) { AddressError::Length } else { AddressError::Form });
        }
        let parsed = CheckedHrpstring::new::<Bech32m>(text).map_err(|error| cause(text, &error))?;
        if !parsed.hrp().as_str().eq_ignore_ascii_case(PREFIX) {
            return Err(AddressError::Prefix);
        }
        let bytes = parsed.byte_iter().collect::<Vec<u8>>();
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| AddressError::Length)?;
        let address = Self::from_bytes(bytes)?;
        // One text for one address: also the four bits that fill the last character are zero.
        if !address.to_string().eq_ignore_ascii_case(text) {
            return Err(AddressError::Length);
        }
        Ok(address)
    }
}

fn cause(text: &str, error: &CheckedHrpstringError) -> AddressError {
    let meant = Address::is_meant(text);
    match error {
        CheckedHrpstringError::Checksum(_) if meant => AddressError::Checksum,
        CheckedHrpstringError::Checksum(_) => AddressError::Prefix,
        CheckedHrpstringError::Parse(UncheckedHrpstringError::Char(error)) if meant => match error {
            CharError::MixedCase => AddressError::MixedCase,
            CharError::InvalidChar(_) => AddressError::Character,
            _ => AddressError::Checksum,
        },
        _ => AddressError::Form,
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_lower_to_fmt::<Bech32m, _>(f, HRP, &self.0).map_err(|_| fmt::Error)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use bech32::Bech32;
    use proptest::prelude::*;

    use super::*;

    fn address(seed: u8) -> Address {
        Address::of(&SigningKey::from_bytes(&[seed; 32]))
    }

    fn parse(text: &str) -> Result<Address, AddressError> {
        text.parse()
    }

    /// The public key of RFC 8032 §7.1, test 1.
    #[test]
    fn vector() {
        let bytes = hex::decode("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap();
        let address = Address::from_bytes(bytes.try_into().unwrap()).unwrap();
        let text = "qsd16adfsqvzky9t042tlmfujeq88g8wzuhnm2nzxfd0qgdx3ac82ydqr403wu";
        assert_eq!(address.to_string(), text);
        assert_eq!(text.len(), CHARS);
        assert_eq!(parse(text), Ok(address));
    }

    #[test]
    fn whole_upper_case_is_accepted_mixed_is_not() {
        let text = address(1).to_string();
        assert_eq!(parse(&text.to_uppercase()), Ok(address(1)));
        assert_eq!(parse(&format!("  {text}\n")), Ok(address(1)));
        assert_eq!(parse(&text.replacen("qsd", "Qsd", 1)), Err(AddressError::MixedCase));
    }

    #[test]
    fn each_cause_has_its_error() {
        let key = *address(1).as_bytes();
        let encode = |hrp: &str, bytes: &[u8]| bech32::encode::<Bech32m>(Hrp::parse(hrp).unwrap(), bytes).unwrap();
        for text in ["", "ann", "qsd", "قاصدک", &"x".repeat(5000)] {
            assert_eq!(parse(text), Err(AddressError::Form), "{text}");
        }
        assert_eq!(parse(&encode("bc", &key)), Err(AddressError::Prefix));
        assert_eq!(parse(&encode("qsd", &key[1..])), Err(AddressError::Length));
        assert_eq!(parse(&encode("qsd", &[key.as_slice(), &[0]].concat())), Err(AddressError::Length));
        assert_eq!(parse(&format!("qsd1{}", "q".repeat(5000))), Err(AddressError::Length));
        assert_eq!(parse(&bech32::encode::<Bech32>(HRP, &key).unwrap()), Err(AddressError::Checksum));
        assert_eq!(parse(&address(1).to_string().replacen("qsd1", "qsd1b", 1)), Err(AddressError::Character));
        assert_eq!(parse(&address(1).to_string()[..40]), Err(AddressError::Checksum));
    }

    #[test]
    fn keys_that_nobody_can_own_are_refused() {
        let mut identity_point = [0; 32];
        identity_point[0] = 1;
        let mut past_p = [0xff; 32];
        past_p[31] = 0x7f; // y = 2^255 - 1 = 18 mod p
        for bytes in [[0; 32], identity_point, past_p, [2; 32]] {
            assert_eq!(Address::from_bytes(bytes), Err(AddressError::Key), "{bytes:?}");
        }
    }

    proptest! {
        /// Any one wrong character is noticed (BIP-350 promises up to four).
        #[test]
        fn a_wrong_character_is_noticed(seed: u8, place in 4usize..CHARS, other in 0usize..31) {
            let alphabet = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
            let mut text = address(seed).to_string().into_bytes();
            let wrong: Vec<u8> = alphabet.iter().copied().filter(|c| *c != text[place]).collect();
            text[place] = wrong[other];
            prop_assert_eq!(parse(std::str::from_utf8(&text).unwrap()), Err(AddressError::Checksum));
        }

        /// No text makes parsing panic, and what parses prints the same.
        #[test]
        fn any_text_is_safe(text in "(qsd1)?\\PC{0,80}") {
            if let Ok(address) = parse(&text) {
                prop_assert!(address.to_string().eq_ignore_ascii_case(text.trim()));
            }
        }
    }
}
