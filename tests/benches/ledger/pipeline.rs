//! The way into the ledger as the node goes it: checks on all cores, appends in order, flushes beside both.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use qasedak_chain::{
    Ledger, Network, Time, Transaction,
    rules::{self, Verified},
    store::{Flush, StoreError, Upkeep, disk::DiskStore},
};

/// Threads that check.
pub const CHECKERS: usize = 2;
/// Transactions that are checked in one go.
pub const CHUNK: usize = 128;

/// The own clock of all benchmarks: behind all transactions, before any body goes.
pub fn clock(network: &Network) -> Time {
    network.start().plus(31 * 86_400)
}

/// Opens, or starts, the ledger in a directory.
pub fn open(network: &Network, dir: &Path) -> Ledger<DiskStore> {
    let store = DiskStore::open(dir, network, [9; 16]).unwrap();
    Ledger::open(network.clone(), store).unwrap()
}

/// Appends, and flushes on another thread, one flush at a time; what grew meanwhile goes into the next.
pub struct Writer<'a> {
    ledger: &'a mut Ledger<DiskStore>,
    now: Time,
    work: mpsc::Sender<Flush>,
    done: mpsc::Receiver<Result<(), StoreError>>,
    running: bool,
    upkeep: mpsc::Sender<Upkeep>,
    kept: mpsc::Receiver<()>,
    keeping: bool,
}

impl<'a> Writer<'a> {
    /// Runs `feed` with a writer and flushes what it leaves.
    pub fn scope(ledger: &'a mut Ledger<DiskStore>, feed: impl FnOnce(&mut Writer<'_>)) {
        let now = clock(ledger.network());
        thread::scope(|scope| {
            let (work, works) = mpsc::channel::<Flush>();
            let (tell, done) = mpsc::channel();
            scope.spawn(move || works.into_iter().for_each(|flush| tell.send(flush.run()).unwrap()));
            let (upkeep, steps) = mpsc::channel::<Upkeep>();
            let (tell, kept) = mpsc::channel();
            scope.spawn(move || {
                steps.into_iter().for_each(|step| {
                    step.run();
                    tell.send(()).unwrap();
                });
            });
            let mut writer = Writer { ledger, now, work, done, running: false, upkeep, kept, keeping: false };
            feed(&mut writer);
            writer.rest();
        });
    }

    /// Makes durable what is there, and waits for that and for all upkeep.
    pub fn rest(&mut self) {
        self.wait();
        self.flush();
        self.wait();
        if !self.keeping {
            self.keep_up();
        }
        while self.keeping {
            self.kept.recv().unwrap();
            self.kept();
        }
    }

    pub fn append(&mut self, verified: Verified) {
        self.ledger.append(verified, self.now, false).unwrap();
    }

    /// Starts a flush unless one is under way.
    pub fn flush(&mut self) {
        if self.running {
            match self.done.try_recv() {
                Ok(result) => self.finished(result),
                Err(_) => return,
            }
        }
        self.ledger.settle(self.now).unwrap();
        if let Some(flush) = self.ledger.flush(self.now).unwrap() {
            self.work.send(flush).unwrap();
            self.running = true;
        }
        if !self.keeping {
            self.keep_up();
        } else if self.kept.try_recv().is_ok() {
            self.kept();
        }
    }

    /// Starts the next step of upkeep if there is one.
    fn keep_up(&mut self) {
        if let Some(step) = self.ledger.upkeep() {
            self.upkeep.send(step).unwrap();
            self.keeping = true;
        }
    }

    fn kept(&mut self) {
        self.ledger.upkept();
        self.keeping = false;
        self.keep_up();
    }

    /// Waits for the flush under way.
    pub fn wait(&mut self) {
        if self.running {
            let result = self.done.recv().unwrap();
            self.finished(result);
        }
    }

    fn finished(&mut self, result: Result<(), StoreError>) {
        self.running = false;
        self.ledger.flushed(result.is_ok());
        result.unwrap();
    }
}

fn check(network: &Network, wire: &[Vec<u8>]) -> Vec<Verified> {
    let verify = |bytes: &Vec<u8>| rules::verify(network, Transaction::from_bytes(network, bytes).unwrap()).unwrap();
    wire.iter().map(verify).collect()
}

/// Takes transactions in wire form into a new ledger in `dir`, with all checks, durably. Returns the time taken.
pub fn check_and_append(network: &Network, wire: &[Vec<u8>], dir: &Path) -> Duration {
    let mut ledger = open(network, dir);
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel::<(usize, Vec<Verified>)>(64);
        for _ in 0..CHECKERS {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    let Some(chunk) = wire.chunks(CHUNK).nth(nth) else {
                        return;
                    };
                    sender.send((nth, check(network, chunk))).unwrap();
                }
            });
        }
        drop(sender);
        Writer::scope(&mut ledger, |writer| {
            let (mut early, mut due) = (BTreeMap::new(), 0);
            for (nth, chunk) in receiver {
                early.insert(nth, chunk);
                while let Some(chunk) = early.remove(&due) {
                    chunk.into_iter().for_each(|verified| writer.append(verified));
                    due += 1;
                }
                writer.flush();
            }
        });
    });
    let taken = start.elapsed();
    assert_eq!(ledger.summary().count, wire.len() as u64);
    taken
}
