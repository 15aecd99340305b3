//! One machine: its engine, its ledger, what is on its disk, what its clock shows, and what gossip has seen there.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use qasedak_chain::{
    Ledger, Network, Position, Time, TxId,
    rules::Verified,
    store::{
        Flush, Store,
        disk::{
            DiskOptions, DiskStore,
            faults::{Faults, Kind},
        },
    },
};
use qasedak_engine::engine::{Engine, Now, Peer, Token};
use rand::{RngExt, rngs::StdRng};

use crate::{byzantine::Liar, store::SimStore, world::start};

/// How long gossip remembers what it has seen, as gossipsub does.
pub const SEEN_MS: u64 = 60_000;
/// How long gossip keeps a message to be relayed: gossipsub's history.
pub const KEPT_MS: u64 = 12_000;
/// Sizes with which a few records make a segment, a run, and a write to the index.
const SMALL: DiskOptions = DiskOptions { segment_bytes: 4_000, memtable_records: 8, overlay_entries: 32 };

/// What a machine's clock shows: so far off, and so much too quick.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    pub offset_secs: i64,
    pub drift_ppm: i64,
}

impl Clock {
    pub fn shows(&self, now_ms: u64) -> Time {
        let passed_ms = i64::try_from(now_ms).unwrap();
        let passed_secs = (passed_ms + passed_ms / 1_000_000 * self.drift_ppm) / 1_000;
        let secs = i64::try_from(start().secs()).unwrap() + passed_secs + self.offset_secs;
        Time::from_secs(u64::try_from(secs).unwrap_or_default())
    }
}

/// A gossip message, with its id.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: [u8; 32],
    pub bytes: Arc<[u8]>,
}

/// A question of a peer that the engine has not answered yet.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    pub link: usize,
    pub epoch: u32,
    /// The asker's own name for it.
    pub token: Token,
}

/// A directory that the power is cut under.
pub struct Directory {
    pub path: PathBuf,
    pub faults: Faults,
    _home: tempfile::TempDir,
}

impl Directory {
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("ledger");
        Self { faults: Faults::below(&path), path, _home: home }
    }

    fn open(&self, number: usize) -> SimStore {
        let log_id = [u8::try_from(number % 251).unwrap() + 1; 16];
        let store = DiskStore::open_with(&self.path, &Network::dev(), log_id, SMALL, &mut |_, _| {});
        SimStore::Disk(Box::new(store.expect("the disk store opens again")))
    }
}

/// See the module's page.
pub struct Node {
    pub number: usize,
    pub engine: Engine,
    pub ledger: Ledger<SimStore>,
    pub directory: Option<Directory>,
    /// What the disk keeps for the outbox.
    pub outbox: BTreeMap<TxId, Verified>,
    /// How often it started.
    pub boot: u32,
    pub booted_ms: u64,
    pub up: bool,
    pub clock: Clock,
    /// Gossip messages, and when they were seen.
    pub seen: BTreeMap<[u8; 32], u64>,
    /// Messages whose verdict is open, and when they came.
    pub open: BTreeMap<Token, (Message, u64)>,
    pub pending: BTreeMap<Token, Pending>,
    /// Ids of its links.
    pub links: Vec<usize>,
    /// By which link a peer is reached.
    pub peers: BTreeMap<Peer, usize>,
    /// The log grew since the last flush began.
    pub grown: bool,
    pub flush: Option<(Flush, u64)>,
    pub flush_due: bool,
    /// Until when the disk fails.
    pub failing_until_ms: u64,
    /// Ids that were acknowledged as durable, in log order.
    pub durable: Vec<TxId>,
    /// How many records were looked at.
    pub looked_at: u64,
    /// The latest day by its clock on which it let bodies go.
    pub pruned_day: u64,
    pub liar: Option<Liar>,
}

impl Node {
    pub fn new(number: usize, seed: [u8; 32], on_disk: bool) -> Self {
        let directory = on_disk.then(Directory::new);
        let store =
            directory.as_ref().map_or_else(|| SimStore::Memory(Box::default()), |directory| directory.open(number));
        Self {
            number,
            engine: Engine::new(Network::dev(), seed),
            ledger: Ledger::open(Network::dev(), store).unwrap(),
            directory,
            outbox: BTreeMap::new(),
            boot: 0,
            booted_ms: 0,
            up: true,
            clock: Clock::default(),
            seen: BTreeMap::new(),
            open: BTreeMap::new(),
            pending: BTreeMap::new(),
            links: Vec::new(),
            peers: BTreeMap::new(),
            grown: false,
            flush: None,
            flush_due: false,
            failing_until_ms: 0,
            durable: Vec::new(),
            looked_at: 0,
            pruned_day: 0,
            liar: None,
        }
    }

    pub fn is_honest(&self) -> bool {
        self.liar.is_none()
    }

    pub fn now(&self, now_ms: u64) -> Now {
        Now { system: self.clock.shows(now_ms), elapsed_ms: now_ms - self.booted_ms }
    }

    /// Whether gossip sees a message for the first time.
    pub fn sees(&mut self, id: [u8; 32], now_ms: u64) -> bool {
        match self.seen.get(&id) {
            Some(at) if now_ms - at < SEEN_MS => false,
            _ => {
                self.seen.insert(id, now_ms);
                true
            }
        }
    }

    /// Whether gossip has a message already.
    pub fn has_seen(&self, id: &[u8; 32], now_ms: u64) -> bool {
        self.seen.get(id).is_some_and(|at| now_ms - at < SEEN_MS)
    }

    /// The power goes: what was not flushed is gone, and so is all that was in memory. The outbox is not.
    pub fn crash(&mut self, rng: &mut StdRng) {
        self.up = false;
        self.boot += 1;
        self.seen.clear();
        self.open.clear();
        self.pending.clear();
        self.peers.clear();
        self.grown = false;
        self.flush_due = false;
        let flush = self.flush.take().map(|(flush, _)| flush);
        let store = match (&self.directory, self.ledger.store()) {
            (Some(directory), _) => {
                let percent = [100, 90, 50, 10, 0][rng.random_range(0..5)];
                if let Some(flush) = flush {
                    directory.faults.fail_from(rng.random_range(1..24), Kind::NoSpace);
                    drop(flush.run());
                }
                // The old store closes its files before the power goes.
                self.ledger = Ledger::open(Network::dev(), SimStore::Memory(Box::default())).unwrap();
                directory.faults.heal();
                directory.faults.cut_power(&mut || rng.random_range(0..100) < percent).unwrap();
                directory.open(self.number)
            }
            (None, SimStore::Memory(store)) => SimStore::Memory(Box::new(store.crashed())),
            (None, SimStore::Disk(_)) => unreachable!("a store on disk has a directory"),
        };
        self.ledger = Ledger::open(Network::dev(), store).expect("the ledger opens again");
        self.looked_at = 0;
        let count = usize::try_from(self.ledger.summary().count).unwrap();
        assert!(
            count >= self.durable.len(),
            "node {}: {} transactions were acknowledged, {count} are here after the crash",
            self.number,
            self.durable.len()
        );
        for (position, id) in (0..).zip(&self.durable) {
            let record = self.ledger.record(Position::new(position)).unwrap().unwrap();
            assert_eq!(record.id, *id, "node {}: another transaction at position {position}", self.number);
        }
        // What reached the disk without having been acknowledged is as durable as the rest.
        let count = self.ledger.store().last_commit().map_or(0, |point| point.count);
        self.acknowledged(count);
        self.can_still_send();
    }

    /// Own messages that wait name nothing that the crash took: nobody else might ever show that again.
    fn can_still_send(&self) {
        for (id, waiting) in &self.outbox {
            for parent in waiting.transaction().core().parents() {
                let node = self.number;
                assert!(
                    self.has_for_good(parent),
                    "node {node}: its message {id} waits, and {parent} is gone, which it names"
                );
            }
        }
    }

    /// Whether no crash could take this parent.
    pub fn has_for_good(&self, parent: &TxId) -> bool {
        let position = self.ledger.position(parent).unwrap();
        let genesis = self.ledger.network().genesis();
        *parent == genesis || position.is_some_and(|position| position.get() < self.durable.len() as u64)
    }

    /// Starts again.
    pub fn start(&mut self, seed: [u8; 32], now_ms: u64) {
        self.up = true;
        self.booted_ms = now_ms;
        self.engine = Engine::new(Network::dev(), seed);
    }

    /// A flush ended well: everything before `count` is acknowledged.
    pub fn acknowledged(&mut self, count: u64) {
        let from = self.durable.len() as u64;
        let max = usize::try_from(count.saturating_sub(from)).unwrap();
        self.durable.extend(self.ledger.records(Position::new(from), max).unwrap().iter().map(|record| record.id));
    }
}
