//! Scanning: which entries of the scan column are for this wallet. Finds envelopes, reads none.
//!
//! A sealed entry costs one X25519 and one hash for each key, a tagged one a look-up. A [`Scanner`] is immutable, so a slice
//! of entries can be split among threads.

use std::{collections::HashSet, num::NonZeroUsize, thread};

use foldhash::quality::RandomState;
use qasedak_chain::{LedgerId, Network, store::ScanEntry, transaction::Kind};
use subtle::ConstantTimeEq;

use crate::{envelope::hint_from, keys::ScanKey};

/// Fewer sealed entries than this are not worth a second thread: they take a millisecond or two.
const SPLIT_MIN: usize = 64;

/// Finds the envelopes of one or more scan keys, and those with expected tags.
#[derive(Clone, Debug)]
pub struct Scanner {
    ledger: LedgerId,
    keys: Vec<ScanKey>,
    /// Asked for one tag after the other and never gone through. Its hash is keyed by chance: strangers choose hints. As
    /// numbers, which hash several times as fast as byte strings.
    tags: HashSet<u128, RandomState>,
}

impl Scanner {
    /// A scanner for one scan key.
    pub fn new(network: &Network, key: &ScanKey) -> Self {
        Self { ledger: network.ledger(), keys: vec![key.clone()], tags: HashSet::default() }
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
        self.tags.extend(tags.into_iter().map(u128::from_le_bytes));
        self
    }
    /// Indices of the entries that match, ascending. Of sealed ones at most one in 2^128 matches by chance.
    pub fn matches(&self, entries: &[ScanEntry]) -> Vec<usize> {
        entries.iter().enumerate().filter(|(_, entry)| self.is_match(entry)).map(|(index, _)| index).collect()
    }
    /// The same on up to so many threads, each of which takes a part of the entries.
    pub fn matches_on(&self, entries: &[ScanEntry], threads: NonZeroUsize) -> Vec<usize> {
        let part = entries.len().div_ceil(threads.get()).max(SPLIT_MIN);
        let mut parts = entries.chunks(part);
        let Some(here) = parts.next().filter(|here| here.len() < entries.len()) else {
            return self.matches(entries);
        };
        thread::scope(|scope| {
            let start = |part| (part, thread::Builder::new().spawn_scoped(scope, move || self.matches(part)));
            let beside: Vec<_> = parts.map(start).collect();
            let mut found = self.matches(here);
            let mut before = here.len();
            for (part, thread) in beside {
                // What no thread could be had for is done here.
                let there = thread.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(|| self.matches(part));
                found.extend(there.into_iter().map(|index| index.saturating_add(before)));
                before = before.saturating_add(part.len());
            }
            found
        })
    }
    /// Whether one entry matches.
    pub fn is_match(&self, entry: &ScanEntry) -> bool {
        match entry.kind {
            Kind::Tagged => self.tags.contains(&u128::from_le_bytes(entry.hint)),
            Kind::Sealed => self.keys.iter().any(|key| {
                hint_from(self.ledger, key, &entry.author_u).is_some_and(|hint| hint.ct_eq(&entry.hint).into())
            }),
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
            let many: Vec<ScanEntry> = entries.iter().cycle().take(entries.len() * 9).copied().collect();
            for threads in 1..6 {
                let threads = NonZeroUsize::new(threads).unwrap();
                prop_assert_eq!(scanner.matches_on(&many, threads), scanner.matches(&many));
            }
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
