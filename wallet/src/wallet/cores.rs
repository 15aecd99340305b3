//! Scanning on several cores.

use std::{num::NonZeroUsize, thread};

use qasedak_chain::store::ScanEntry;

use crate::scan::Scanner;

/// Fewer sealed entries than this are not worth a second thread: they take a millisecond or two.
const SPLIT_MIN: usize = 64;

impl Scanner {
    /// [`matches`](Self::matches) on up to so many threads, each of which takes a part of the entries.
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
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use qasedak_chain::{Network, transaction::Kind};

    use super::*;
    use crate::{envelope::hint_for, keys::ScanKey};

    /// On any number of threads the same is found, in the same order.
    #[test]
    fn any_number_of_threads_finds_the_same() {
        let (mine, theirs) = (ScanKey::from_bytes(&[1; 32]), ScanKey::from_bytes(&[2; 32]));
        let scanner = Scanner::new(&Network::dev(), &mine).with_tags([[7; 16], [3; 16]]);
        let sealed = [&mine, &theirs].map(|to| {
            let author = SigningKey::from_bytes(&[9; 32]);
            let hint = hint_for(Network::dev().ledger(), &author, to.public()).unwrap();
            let author_u = author.verifying_key().to_montgomery().to_bytes();
            ScanEntry { kind: Kind::Sealed, hint, author_u, has_body: true }
        });
        // Every seventh is sealed, every second of those to this key.
        let entry = |nth: usize| match (nth % 7, nth % 11) {
            (0, _) => sealed[nth / 7 % 2],
            (_, tag) => ScanEntry { kind: Kind::Tagged, hint: [tag as u8; 16], author_u: [0; 32], has_body: true },
        };
        let is_found =
            |nth: usize| if nth.is_multiple_of(7) { (nth / 7).is_multiple_of(2) } else { [3, 7].contains(&(nth % 11)) };
        for count in [0, 1, 63, 64, 65, 200, 1_000] {
            let entries: Vec<ScanEntry> = (0..count).map(entry).collect();
            let expected: Vec<usize> = (0..count).filter(|nth| is_found(*nth)).collect();
            for threads in 1..6 {
                let threads = NonZeroUsize::new(threads).unwrap();
                assert_eq!(scanner.matches_on(&entries, threads), expected, "{count} on {threads}");
            }
        }
    }
}
