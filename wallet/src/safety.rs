//! Safety numbers: 60 digits that two people compare to know that each has the other's true address.
//!
//! In the manner of Signal: an iterated hash of each side's identity key gives 30 digits, the lower 30 stand first, so both
//! sides see the same. Half of it is another key's whole fingerprint, 30 digits or some 99 bits, and each guess takes
//! [`ROUNDS`] hashes (`docs/wallet-format.md`, "Safety number").

use std::fmt;

use qasedak_chain::{
    Network,
    hash::{Context, hash},
};

use crate::address::Address;

/// Rounds of the hash, as many as Signal takes.
pub const ROUNDS: usize = 5_200;
/// Digits of a number.
pub const DIGITS: usize = 60;

/// A safety number: 60 digits.
#[derive(Clone, PartialEq, Eq)]
pub struct SafetyNumber(String);

impl SafetyNumber {
    /// That of two people, in either order.
    pub fn of(network: &Network, one: &Address, other: &Address) -> Self {
        let mut halves = [fingerprint(network, one), fingerprint(network, other)];
        halves.sort();
        Self(halves.concat())
    }

    /// The digits without spaces: what a QR code holds.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// Whether what someone typed or scanned is this number. Spaces do not count, nor in which script the digits are.
    pub fn matches(&self, typed: &str) -> bool {
        let digits: String = typed.chars().filter(|c| !c.is_whitespace()).filter_map(digit).collect();
        let stray = typed.chars().any(|c| !c.is_whitespace() && digit(c).is_none());
        !stray && digits == self.0
    }
}

impl fmt::Debug for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SafetyNumber(…)")
    }
}

impl fmt::Display for SafetyNumber {
    /// Twelve groups of five.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, digit) in self.0.chars().enumerate() {
            if place > 0 && place % 5 == 0 {
                f.write_str(" ")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// A digit, in ASCII, Persian or Arabic script.
fn digit(c: char) -> Option<char> {
    let value = match c {
        '0'..='9' => return Some(c),
        '\u{6f0}'..='\u{6f9}' => u32::from(c).saturating_sub(0x6f0),
        '\u{660}'..='\u{669}' => u32::from(c).saturating_sub(0x660),
        _ => return None,
    };
    char::from_digit(value, 10)
}

/// 30 digits of one identity key.
fn fingerprint(network: &Network, address: &Address) -> String {
    let mut state = hash(Context::Safety, &[network.ledger().as_bytes(), address.as_bytes()]);
    for _ in 0..ROUNDS {
        state = hash(Context::Safety, &[&state, address.as_bytes()]);
    }
    let groups = state.chunks_exact(5).take(6);
    groups
        .map(|group| format!("{:05}", group.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte)) % 100_000))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::person;

    #[test]
    fn both_sides_see_one_number_and_others_another() {
        let (ann, bob, eve) = (person(1).card.address(), person(2).card.address(), person(3).card.address());
        let dev = Network::dev();
        let number = SafetyNumber::of(&dev, &ann, &bob);
        assert_eq!(number, SafetyNumber::of(&dev, &bob, &ann));
        assert_ne!(number, SafetyNumber::of(&dev, &ann, &eve));
        assert_ne!(number, SafetyNumber::of(&Network::main(), &ann, &bob));
        assert_eq!((number.digits().len(), number.to_string().split(' ').count()), (DIGITS, 12));
        assert!(number.digits().chars().all(|c| c.is_ascii_digit()));
        assert!(number.digits()[..30] < number.digits()[30..]);
    }

    /// Pinned: the vector of `docs/wallet-format.md`.
    #[test]
    fn vector() {
        let (ann, bob) = (person(1).card.address(), person(2).card.address());
        let number = SafetyNumber::of(&Network::dev(), &ann, &bob);
        assert_eq!(number.to_string(), VECTOR);
    }
    const VECTOR: &str = "54071 65448 73955 57882 93497 04076 71861 71391 52051 56292 48851 98381";

    #[test]
    fn what_is_typed_may_have_spaces_and_persian_digits() {
        let number = SafetyNumber::of(&Network::dev(), &person(1).card.address(), &person(2).card.address());
        assert!(number.matches(&number.to_string()) && number.matches(number.digits()));
        let persian = |c: char| c.to_digit(10).map_or(c, |d| char::from_u32(0x6f0 + d).unwrap());
        assert!(number.matches(&number.to_string().chars().map(persian).collect::<String>()));
        assert!(!number.matches(""));
        assert!(!number.matches(&format!("{number}0")));
        assert!(!number.matches(&format!("{number}x")));
        assert!(!number.matches(&number.digits()[..30]));
    }
}
