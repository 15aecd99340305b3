//! Contacts: names that a person gives to addresses.
//!
//! A name is what one types after `send`, so two names never differ only in case or in how accents are encoded, and none
//! contains characters that cannot be seen.

use std::fmt;

use qasedak_chain::Time;

use crate::{address::Address, display, keys::Account, wallet::KeyWarning};

/// Longest name, in characters.
pub const NAME_MAX_CHARS: usize = 64;

/// A name, the address that it stands for, and what is known of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Contact {
    /// The name.
    pub name: ContactName,
    /// The address.
    pub address: Address,
    /// By which of the wallet's identities they are written to.
    pub account: Account,
    /// Whether receipts are sent to them. Off unless it is asked for.
    pub receipts: bool,
    /// When their safety number was compared.
    pub verified: Option<Time>,
    /// What is odd about their keys, and since when.
    pub warning: Option<(KeyWarning, Time)>,
}

impl Contact {
    /// A new one, of whom nothing is known yet.
    pub fn new(name: ContactName, address: Address, account: Account) -> Self {
        Self { name, address, account, receipts: false, verified: None, warning: None }
    }
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contact(…)")
    }
}

/// A name that obeys the rules: 1 to 64 characters, trimmed, none of them invisible but U+200C and U+200D.
#[derive(Clone, PartialEq, Eq)]
pub struct ContactName(String);

impl fmt::Debug for ContactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContactName(…)")
    }
}

impl fmt::Display for ContactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why some text cannot be a contact's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or only white space.
    #[error("a contact needs a name of 1 to {NAME_MAX_CHARS} characters")]
    Empty,
    /// Too long.
    #[error("the name is too long; a contact's name has at most {NAME_MAX_CHARS} characters")]
    TooLong,
    /// A control character, or one that cannot be seen.
    #[error(
        "the name contains a character that cannot be seen (a line break, control or direction character); type it"
    )]
    Invisible,
    /// It starts like an address.
    #[error("a contact's name must not start like an address (qsd1…); choose another")]
    LikeAddress,
}

impl ContactName {
    /// Checks and trims a name.
    ///
    /// # Errors
    /// [`NameError`] names the rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let name = text.trim();
        // Looked at first, so that the rest of the work is bounded.
        if name.chars().nth(NAME_MAX_CHARS).is_some() {
            return Err(NameError::TooLong);
        }
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.chars().any(is_invisible) {
            return Err(NameError::Invisible);
        }
        if Address::is_meant(name) {
            return Err(NameError::LikeAddress);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What two names must not share: lower case, compatibility-decomposed (NFKD).
    pub(crate) fn folded(&self) -> String {
        fold(&self.0)
    }
}

pub(crate) fn fold(text: &str) -> String {
    let mut folded = text.trim().to_lowercase().into();
    bip39::Mnemonic::normalize_utf8_cow(&mut folded);
    folded.into_owned()
}

fn is_invisible(c: char) -> bool {
    c == '\n'
        || c == '\t'
        || display::is_unsafe(c)
        || display::is_direction_mark(c)
        || matches!(c, '\u{ad}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        let parse = ContactName::parse;
        assert_eq!(parse("  Ann B.  ").unwrap().as_str(), "Ann B.");
        assert!(parse(&"ق".repeat(64)).is_ok());
        assert!(parse("می\u{200c}نا").is_ok());
        assert_eq!(parse(""), Err(NameError::Empty));
        assert_eq!(parse(" \u{3000}\n"), Err(NameError::Empty));
        assert_eq!(parse(&"x".repeat(65)), Err(NameError::TooLong));
        for name in ["a\nb", "a\tb", "a\u{202e}b", "a\u{200f}b", "a\u{200b}b", "a\u{0}b", "\u{feff}a\u{feff}"] {
            assert_eq!(parse(name), Err(NameError::Invisible), "{name:?}");
        }
        assert_eq!(parse("qsd1ann"), Err(NameError::LikeAddress));
        assert_eq!(parse("QSD1ann"), Err(NameError::LikeAddress));
    }

    #[test]
    fn names_that_look_the_same_fold_to_the_same() {
        let folded = |text: &str| ContactName::parse(text).unwrap().folded();
        assert_eq!(folded("ANN"), folded("ann"));
        assert_eq!(folded("Zo\u{eb}"), folded("zoe\u{308}"));
        assert_ne!(folded("ann"), folded("anne"));
    }
}
