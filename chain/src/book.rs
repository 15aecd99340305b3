//! The book of checkpoints: which of those that a node received it keeps, and what it keeps as evidence (DESIGN §6;
//! decision 0023).
//!
//! Pure policy, the same wherever it runs: the engine goes by a book, and the disk's file is rewritten from one.
//! Strangers can write into it, so everything has a bound, and what a stranger pays nothing for takes nobody's place:
//!
//! - A signer is *established* once a checkpoint of it was received [`ESTABLISHED_SECS`] after its first. Newcomers have
//!   places of their own ([`NEWCOMERS_MAX`]), in which the one heard of longest ago gives way; so a flood of throw-away
//!   keys only ever displaces other newcomers. Of too many established ones ([`ESTABLISHED_MAX`]), that one gives way which was
//!   known for the shortest time.
//! - Of each of a signer's last logs and its first one ([`LOGS_MAX`] in all) the first and the newest checkpoint are kept, and some between, evenly
//!   over time: proofs cite them for blocks that were closed then.
//! - Evidence never gives way. One piece per signer and reason is kept; newcomers' pieces and those of established signers
//!   have bounds of their own.

use std::collections::BTreeMap;

use crate::{
    checkpoint::{Contradiction, SignedCheckpoint},
    time::{DAY_SECS, Time},
};

/// How long a signer must have been known to be established: one day.
pub const ESTABLISHED_SECS: u64 = DAY_SECS;
/// Most signers that are not established.
pub const NEWCOMERS_MAX: usize = 256;
/// Most established signers.
pub const ESTABLISHED_MAX: usize = 256;
/// Most logs of one signer. A signer has a new one when it lost its disk.
pub const LOGS_MAX: usize = 3;
/// Most checkpoints of one log of a newcomer.
pub const NEWCOMER_CHECKPOINTS_MAX: usize = 4;
/// Most checkpoints of one log of an established signer.
pub const CHECKPOINTS_MAX: usize = 16;
/// How many times as much there may be of everything while a book is being loaded.
const SLACK: usize = 4;
/// Most pieces of evidence against newcomers, and as many against established signers.
pub const EVIDENCE_MAX: usize = 128;

/// A checkpoint, and when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The checkpoint.
    pub checkpoint: SignedCheckpoint,
    /// When this node received it (its own: made it), by its own clock.
    pub received: Time,
}

/// Two checkpoints of one signer and log that cannot both be true, or were not shown to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The one that was known first.
    pub first: SignedCheckpoint,
    /// The one that came then.
    pub second: SignedCheckpoint,
    /// The consistency path that came with it.
    pub path: Vec<[u8; 32]>,
    /// What contradicts what.
    pub reason: Contradiction,
    /// When the second one came.
    pub received: Time,
}

impl Evidence {
    /// Who signed both.
    pub fn signer(&self) -> &[u8; 32] {
        self.second.signer()
    }
}

/// What goes into a book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// This node's own checkpoint.
    Own(Kept),
    /// A peer's, sound as far as it can be judged.
    Peer(Kept),
    /// A contradiction.
    Evidence(Box<Evidence>),
}

/// What is kept of one signer.
#[derive(Clone, Debug)]
struct Signer {
    first: Time,
    last: Time,
    /// Order of the last arrival.
    heard: u64,
    logs: BTreeMap<[u8; 16], Log>,
}

/// What is kept of one log: checkpoints with the order of their arrival, oldest first.
#[derive(Clone, Debug, Default)]
struct Log(Vec<(u64, Kept)>);

impl Signer {
    fn known_secs(&self) -> u64 {
        self.last.secs().saturating_sub(self.first.secs())
    }
    fn is_established(&self) -> bool {
        self.known_secs() >= ESTABLISHED_SECS
    }

    fn take(&mut self, number: u64, kept: Kept, slack: usize) {
        self.first = self.first.min(kept.received);
        self.last = self.last.max(kept.received);
        self.heard = number;
        self.logs.entry(kept.checkpoint.statement().log).or_default().0.push((number, kept));
        self.thin(slack);
    }

    fn thin(&mut self, slack: usize) {
        let max = if self.is_established() { CHECKPOINTS_MAX } else { NEWCOMER_CHECKPOINTS_MAX };
        self.logs.values_mut().for_each(|log| log.thin(max.saturating_mul(slack)));
        while self.logs.len() > LOGS_MAX.saturating_mul(slack) {
            // The one that shows how long the signer has been known stays.
            let first = self.logs.iter().min_by_key(|(_, log)| log.first()).map(|(log, _)| *log);
            let others = self.logs.iter().filter(|(log, _)| Some(**log) != first);
            let Some(silent) = others.min_by_key(|(_, log)| log.heard()).map(|(log, _)| *log) else {
                return;
            };
            self.logs.remove(&silent);
        }
    }

    fn newest(&self) -> Option<&Kept> {
        self.logs.values().max_by_key(|log| log.heard())?.newest()
    }
}

impl Log {
    fn heard(&self) -> Option<u64> {
        self.0.last().map(|(number, _)| *number)
    }
    fn newest(&self) -> Option<&Kept> {
        self.0.last().map(|(_, kept)| kept)
    }
    fn first(&self) -> Option<(Time, u64)> {
        self.0.first().map(|(number, kept)| (kept.received, *number))
    }

    fn thin(&mut self, max: usize) {
        while self.0.len() > max {
            // The one between two others that stand nearest to each other in time says least.
            let gap = |three: &[(u64, Kept)]| match three {
                [(_, before), _, (_, after)] => after.received.secs().saturating_sub(before.received.secs()),
                _ => u64::MAX,
            };
            let least = self.0.windows(3).enumerate().min_by_key(|(_, three)| gap(three)).map(|(at, _)| at);
            self.0.remove(least.map_or(0, |at| at.saturating_add(1)));
        }
    }
}

/// The checkpoints that a node keeps. See the module's page.
#[derive(Clone, Debug, Default)]
pub struct Book {
    next: u64,
    own: Log,
    signers: BTreeMap<[u8; 32], Signer>,
    evidence: Vec<(u64, Box<Evidence>)>,
    /// How many signers gave way.
    displaced: u64,
}

impl Book {
    /// An empty book.
    pub fn new() -> Self {
        Self::default()
    }

    /// A book with these entries, in the order in which they came.
    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut book = Self::new();
        for entry in entries {
            book.next = book.next.saturating_add(1);
            match entry {
                Entry::Own(kept) => book.own.0.push((book.next, kept)),
                Entry::Peer(kept) => book.take(kept, SLACK),
                // It was let in once, when its signer may have stood otherwise.
                Entry::Evidence(evidence) if book.evidence.len() < 2 * EVIDENCE_MAX => book.push_evidence(evidence),
                Entry::Evidence(_) => {}
            }
            book.own.thin(CHECKPOINTS_MAX * SLACK);
        }
        // How long a signer has been known shows only at the end.
        book.own.thin(CHECKPOINTS_MAX);
        book.signers.values_mut().for_each(|signer| signer.thin(1));
        while book.make_room(1) {}
        book.displaced = 0;
        book
    }

    /// Takes an entry. `false` when it is evidence that is not kept: there is such a piece already, or no place.
    pub fn insert(&mut self, entry: Entry) -> bool {
        self.next = self.next.saturating_add(1);
        match entry {
            Entry::Own(kept) => {
                self.own.0.push((self.next, kept));
                self.own.thin(CHECKPOINTS_MAX);
            }
            Entry::Peer(kept) => self.take(kept, 1),
            Entry::Evidence(evidence) => return self.take_evidence(evidence),
        }
        true
    }

    fn take(&mut self, kept: Kept, slack: usize) {
        let signer = *kept.checkpoint.signer();
        let fresh = || Signer { first: kept.received, last: kept.received, heard: 0, logs: BTreeMap::new() };
        self.signers.entry(signer).or_insert_with(fresh).take(self.next, kept, slack);
        self.make_room(slack);
    }

    /// Has a signer give way where there are too many. Whether one did.
    fn make_room(&mut self, slack: usize) -> bool {
        let established = self.signers.values().filter(|signer| signer.is_established()).count();
        let newcomers = self.signers.len().saturating_sub(established);
        let gone = if newcomers > NEWCOMERS_MAX.saturating_mul(slack) {
            let unknown = self.signers.iter().filter(|(_, signer)| !signer.is_established());
            unknown.min_by_key(|(_, signer)| signer.heard).map(|(key, _)| *key)
        } else if established > ESTABLISHED_MAX.saturating_mul(slack) {
            let known = self.signers.iter().filter(|(_, signer)| signer.is_established());
            known.min_by_key(|(_, signer)| (signer.known_secs(), signer.heard)).map(|(key, _)| *key)
        } else {
            None
        };
        if let Some(key) = gone {
            self.signers.remove(&key);
            self.displaced = self.displaced.saturating_add(1);
        }
        gone.is_some()
    }

    fn take_evidence(&mut self, evidence: Box<Evidence>) -> bool {
        let established = |key: &[u8; 32]| self.signers.get(key).is_some_and(Signer::is_established);
        let same_kind = established(evidence.signer());
        let beside = self.evidence.iter().filter(|(_, kept)| established(kept.signer()) == same_kind).count();
        let known = |kept: &Evidence| kept.signer() == evidence.signer() && kept.reason == evidence.reason;
        let full = beside >= EVIDENCE_MAX || self.evidence.len() >= 2 * EVIDENCE_MAX;
        if full || self.evidence.iter().any(|(_, kept)| known(kept)) {
            return false;
        }
        self.push_evidence(evidence);
        true
    }

    fn push_evidence(&mut self, evidence: Box<Evidence>) {
        self.next = self.next.saturating_add(1);
        self.evidence.push((self.next, evidence));
    }

    /// The newest own checkpoint.
    pub fn own(&self) -> Option<&Kept> {
        self.own.newest()
    }
    /// The newest checkpoint of a signer, in whichever log.
    pub fn newest(&self, signer: &[u8; 32]) -> Option<&Kept> {
        self.signers.get(signer)?.newest()
    }
    /// The newest checkpoint of one log of a signer.
    pub fn newest_of(&self, signer: &[u8; 32], log: &[u8; 16]) -> Option<&Kept> {
        self.signers.get(signer)?.logs.get(log)?.newest()
    }
    /// The newest checkpoint of each log of each signer, own ones left out.
    pub fn newest_of_all(&self) -> impl Iterator<Item = &Kept> {
        self.signers.values().flat_map(|signer| signer.logs.values()).filter_map(Log::newest)
    }
    /// Every checkpoint of others that is kept: what proofs cite.
    pub fn of_peers(&self) -> impl Iterator<Item = &Kept> {
        self.signers.values().flat_map(|signer| signer.logs.values()).flat_map(|log| log.0.iter().map(|(_, kept)| kept))
    }
    /// Every own checkpoint that is kept, oldest first.
    pub fn own_ones(&self) -> impl Iterator<Item = &Kept> {
        self.own.0.iter().map(|(_, kept)| kept)
    }
    /// Contradictions, in the order in which they were found.
    pub fn evidence(&self) -> impl Iterator<Item = &Evidence> {
        self.evidence.iter().map(|(_, evidence)| &**evidence)
    }
    /// How many signers are kept.
    pub fn signers(&self) -> usize {
        self.signers.len()
    }
    /// How many signers gave way to others.
    pub fn displaced(&self) -> u64 {
        self.displaced
    }

    /// All entries in the order in which they came: a book made [`of`](Self::of) them keeps the same.
    pub fn entries(&self) -> Vec<Entry> {
        let own = self.own.0.iter().map(|(number, kept)| (*number, Entry::Own(*kept)));
        let logs = self.signers.values().flat_map(|signer| signer.logs.values());
        let peers = logs.flat_map(|log| log.0.iter().map(|(number, kept)| (*number, Entry::Peer(*kept))));
        let evidence = self.evidence.iter().map(|(number, evidence)| (*number, Entry::Evidence(evidence.clone())));
        let mut entries: Vec<(u64, Entry)> = own.chain(peers).chain(evidence).collect();
        entries.sort_unstable_by_key(|(number, _)| *number);
        entries.into_iter().map(|(_, entry)| entry).collect()
    }
}
