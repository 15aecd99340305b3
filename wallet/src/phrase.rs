//! The recovery phrase: 24 English words of BIP-39 that stand for 32 bytes of entropy.
//!
//! Everything that can be recovered follows from them (`docs/wallet-format.md`, "Phrase and keys").

use bip39::{Error, Language, Mnemonic};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// Words of a phrase.
pub const WORDS: usize = 24;

/// A recovery phrase. Zeroized on drop, never printed by `Debug`.
#[derive(Clone)]
pub struct Phrase {
    entropy: Zeroizing<[u8; 32]>,
    mnemonic: Mnemonic,
}

impl std::fmt::Debug for Phrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Phrase(…)")
    }
}

/// Why some text is no recovery phrase. The text itself is never repeated: it may be nearly the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhraseError {
    /// Not 24 words.
    #[error("a recovery phrase has 24 words, this has {found}; type all of them, in order, with spaces between")]
    WordCount {
        /// Words found.
        found: usize,
    },
    /// A word is not in the list of BIP-39.
    #[error("word {number} is not one of the 2,048 words of the list; check its spelling")]
    UnknownWord {
        /// Which word, counted from 1.
        number: usize,
    },
    /// All words exist, but not together.
    #[error("these 24 words do not belong together: one is wrong or two have changed places; compare with your note")]
    Checksum,
    /// No words stand for this entropy. Cannot happen with 32 bytes.
    #[error("no words could be made from the random bytes; install the program again")]
    Entropy,
}

impl Phrase {
    /// A new phrase from 32 random bytes.
    ///
    /// # Errors
    /// [`PhraseError::Entropy`], as [`from_entropy`](Self::from_entropy).
    pub fn generate(rng: &mut dyn CryptoRng) -> Result<Self, PhraseError> {
        let mut entropy = Zeroizing::new([0; 32]);
        rng.fill_bytes(entropy.as_mut());
        Self::from_entropy(&entropy)
    }

    /// The phrase that stands for these 32 bytes.
    ///
    /// # Errors
    /// [`PhraseError::Entropy`] if BIP-39 refused 32 bytes, which it never does.
    pub fn from_entropy(entropy: &[u8; 32]) -> Result<Self, PhraseError> {
        let mnemonic = Mnemonic::from_entropy_in(Language::English, entropy).map_err(|_| PhraseError::Entropy)?;
        Ok(Self { entropy: Zeroizing::new(*entropy), mnemonic })
    }

    /// Reads 24 words, in any case and with any white space between them.
    ///
    /// # Errors
    /// [`PhraseError`] says what is wrong, without repeating any word.
    pub fn parse(text: &str) -> Result<Self, PhraseError> {
        let found = text.split_whitespace().take(WORDS.saturating_add(1)).count();
        if found != WORDS {
            return Err(PhraseError::WordCount { found: text.split_whitespace().count() });
        }
        let lower = Zeroizing::new(text.to_lowercase());
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &lower).map_err(|error| match error {
            Error::UnknownWord(index) => PhraseError::UnknownWord { number: index.saturating_add(1) },
            Error::BadWordCount(found) => PhraseError::WordCount { found },
            _ => PhraseError::Checksum,
        })?;
        let bytes = Zeroizing::new(mnemonic.to_entropy());
        let entropy = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| PhraseError::Checksum)?;
        Ok(Self { entropy: Zeroizing::new(entropy), mnemonic })
    }

    /// The 24 words, lower case, one space between them: to be shown once and written down.
    pub fn words(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(256));
        for (index, word) in self.mnemonic.words().enumerate() {
            if index > 0 {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    }

    /// The entropy that the words stand for, 32 bytes.
    pub fn entropy(&self) -> &[u8; 32] {
        &self.entropy
    }

    /// The BIP-39 seed with an empty passphrase: PBKDF2-HMAC-SHA512, 2,048 rounds, 64 bytes.
    pub fn seed(&self) -> Zeroizing<[u8; 64]> {
        Zeroizing::new(self.mnemonic.to_seed_normalized(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words for 32 zero bytes, from the reference vectors of BIP-39.
    const ZEROS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
        abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art";

    #[test]
    fn reference_words() {
        let phrase = Phrase::from_entropy(&[0; 32]).unwrap();
        assert_eq!(phrase.words().as_str(), ZEROS);
        // PBKDF2-HMAC-SHA512 of the words with the salt "mnemonic", 2,048 rounds.
        let seed = "408b285c123836004f4b8842c89324c1f01382450c0d439af345ba7fc49acf70\
            5489c6fc77dbd4e3dc1dd8cc6bc9f043db8ada1e243c4a0eafb290d399480840";
        assert_eq!(hex::encode(phrase.seed().as_slice()), seed);
        assert_eq!(Phrase::from_entropy(&[0x7f; 32]).unwrap().words().split(' ').next_back(), Some("title"));
    }

    #[test]
    fn case_and_white_space_do_not_matter() {
        let words = ZEROS.to_uppercase().replace(' ', " \t\r\n ");
        assert_eq!(Phrase::parse(&format!("\n{words}  ")).unwrap().entropy(), &[0; 32]);
    }

    #[test]
    fn errors_say_what_is_wrong_and_never_repeat_a_word() {
        let parse = |text: &str| Phrase::parse(text).unwrap_err();
        assert_eq!(parse(""), PhraseError::WordCount { found: 0 });
        assert_eq!(parse(&format!("{ZEROS} art")), PhraseError::WordCount { found: 25 });
        assert_eq!(parse(&ZEROS.replace(" art", "")), PhraseError::WordCount { found: 23 });
        let misspelt = ZEROS.replacen("abandon abandon", "abandon abandom", 1);
        assert_eq!(parse(&misspelt), PhraseError::UnknownWord { number: 2 });
        assert!(!parse(&misspelt).to_string().contains("abandom"));
        assert_eq!(parse(&ZEROS.replace("art", "zoo")), PhraseError::Checksum);
        // Twelve words are a valid phrase of BIP-39, but not of this wallet.
        assert_eq!(parse(&["abandon "; 11].concat()), PhraseError::WordCount { found: 11 });
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Phrase::from_entropy(&[0; 32]).unwrap()), "Phrase(…)");
    }
}
