//! Scanning: which entries of the scan column are for this wallet. Finds envelopes, reads none.
//!
//! A sealed entry costs one X25519 and one hash for each key, a tagged one a look-up. A [`Scanner`] is immutable, so a slice
//! of entries can be split among threads ([`Scanner::matches_on`]).

use qasedak_chain::{LedgerId, Network, store::ScanEntry, transaction::Kind};
use subtle::{Choice, ConstantTimeEq};

use self::tags::Tags;
use crate::{envelope::hint_from, keys::ScanKey};

mod tags;

/// Finds the envelopes of one or more scan keys, and those with expected tags.
#[derive(Clone, Debug)]
pub struct Scanner {
    ledger: LedgerId,
    keys: Vec<ScanKey>,
    tags: Tags,
}

impl Scanner {
    /// A scanner for one scan key.
    pub fn new(network: &Network, key: &ScanKey) -> Self {
        Self { ledger: network.ledger(), keys: vec![key.clone()], tags: Tags::default() }
    }
    /// Also finds the envelopes of another key, as when a phrase has several identities.
    #[must_use]
    pub fn with_key(mut self, key: &ScanKey) -> Self {
        self.keys.push(key.clone());
        self
    }
    /// Also finds tagged envelopes with these tags.
    #[must_use]
    pub fn with_tags(mut self, tags: impl IntoIterator<Item = [u8; 16]>) -> Self {
        self.tags.extend(tags);
        self
    }
    /// Indices of the entries that match, ascending. Of sealed ones at most one in 2^128 matches by chance.
    pub fn matches(&self, entries: &[ScanEntry]) -> Vec<usize> {
        entries.iter().enumerate().filter(|(_, entry)| self.is_match(entry)).map(|(index, _)| index).collect()
    }
    /// Whether one entry matches.
    pub fn is_match(&self, entry: &ScanEntry) -> bool {
        match entry.kind {
            Kind::Tagged => self.tags.contains(&entry.hint),
            // Over all keys, so that time does not tell for which identity it is.
            Kind::Sealed => {
                let of = |key| hint_from(self.ledger, key, &entry.author_u).map(|hint| hint.ct_eq(&entry.hint));
                self.keys.iter().fold(Choice::from(0), |found, key| found | of(key).unwrap_or(Choice::from(0))).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    use super::*;
    use crate::envelope::hint_for;

    fn entry(network: &Network, author: [u8; 32], to: &ScanKey) -> ScanEntry {
        let author = SigningKey::from_bytes(&author);
        ScanEntry {
            kind: Kind::Sealed,
            hint: hint_for(network.ledger(), &author, to.public()).unwrap(),
            author_u: author.verifying_key().to_montgomery().to_bytes(),
            has_body: true,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Exactly the own entries match, wherever the slice is split.
        #[test]
        fn exactly_the_own_entries_match(own in prop::collection::vec(any::<bool>(), 0..40), split in 0usize..40) {
            let network = Network::dev();
            let (mine, theirs) = (ScanKey::from_bytes(&[1; 32]), ScanKey::from_bytes(&[2; 32]));
            let entries: Vec<ScanEntry> = own
                .iter()
                .enumerate()
                .map(|(i, own)| entry(&network, [i as u8; 32], if *own { &mine } else { &theirs }))
                .collect();
            let expected: Vec<usize> = (0..own.len()).filter(|i| own[*i]).collect();
            let scanner = Scanner::new(&network, &mine);
            prop_assert_eq!(scanner.matches(&entries), expected.clone());
            let (head, tail) = entries.split_at(split.min(entries.len()));
            let mut parts = scanner.matches(head);
            parts.extend(scanner.matches(tail).iter().map(|i| i + head.len()));
            prop_assert_eq!(parts, expected);
            prop_assert_eq!(scanner.with_key(&theirs).matches(&entries).len(), entries.len());
        }
    }

    #[test]
    fn other_networks_small_orders_and_kinds_do_not_match() {
        let network = Network::dev();
        let key = ScanKey::from_bytes(&[1; 32]);
        let good = entry(&network, [3; 32], &key);
        let scanner = Scanner::new(&network, &key);
        assert!(scanner.is_match(&good));
        assert!(!Scanner::new(&Network::main(), &key).is_match(&good));
        assert!(!scanner.is_match(&ScanEntry { author_u: [0; 32], ..good }));
        assert!(!scanner.is_match(&ScanEntry { kind: Kind::Tagged, ..good }));
        assert!(scanner.with_tags([good.hint]).is_match(&ScanEntry { kind: Kind::Tagged, ..good }));
    }
}
