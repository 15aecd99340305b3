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
    use qasedak_chain::{Network, transaction::Kind};

    use super::*;
    use crate::keys::ScanKey;

    /// On any number of threads the same is found, in the same order.
    #[test]
    fn any_number_of_threads_finds_the_same() {
        let scanner = Scanner::new(&Network::dev(), &ScanKey::from_bytes(&[1; 32])).with_tags([[7; 16], [3; 16]]);
        let entry = |nth: u8| ScanEntry { kind: Kind::Tagged, hint: [nth % 11; 16], author_u: [0; 32], has_body: true };
        for count in [0, 1, 63, 64, 65, 200, 1_000] {
            let entries: Vec<ScanEntry> = (0..count).map(|nth: usize| entry((nth % 251) as u8)).collect();
            let expected: Vec<usize> = (0..count).filter(|nth| [3, 7].contains(&(nth % 251 % 11))).collect();
            for threads in 1..6 {
                let threads = NonZeroUsize::new(threads).unwrap();
                assert_eq!(scanner.matches_on(&entries, threads), expected, "{count} on {threads}");
            }
        }
    }
}
