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

/// What another thread has to tell.
enum Done {
    Flush(Result<(), StoreError>),
    Upkeep,
}

/// Appends, and flushes on another thread, one flush at a time; what grew meanwhile goes into the next. Upkeep goes on a
/// third one, step after step, as in the node.
pub struct Writer<'a> {
    ledger: &'a mut Ledger<DiskStore>,
    now: Time,
    flushes: mpsc::Sender<Flush>,
    flushing: bool,
    steps: mpsc::Sender<Upkeep>,
    keeping: bool,
    done: mpsc::Receiver<Done>,
}

impl<'a> Writer<'a> {
    /// Runs `feed` with a writer and flushes what it leaves.
    pub fn scope(ledger: &'a mut Ledger<DiskStore>, feed: impl FnOnce(&mut Writer<'_>)) {
        let now = clock(ledger.network());
        thread::scope(|scope| {
            let (tell, done) = mpsc::channel();
            let (flushes, work) = mpsc::channel::<Flush>();
            let told = tell.clone();
            scope.spawn(move || work.into_iter().for_each(|flush| told.send(Done::Flush(flush.run())).unwrap()));
            let (steps, work) = mpsc::channel::<Upkeep>();
            scope.spawn(move || {
                work.into_iter().for_each(|step| {
                    step.run();
                    tell.send(Done::Upkeep).unwrap();
                });
            });
            let mut writer = Writer { ledger, now, flushes, flushing: false, steps, keeping: false, done };
            feed(&mut writer);
            writer.rest();
        });
    }

    /// Makes durable what is there, and waits for that and for all upkeep.
    pub fn rest(&mut self) {
        self.wait();
        self.flush();
        self.wait();
        self.keep_up();
        while self.keeping {
            self.hear();
        }
    }

    pub fn append(&mut self, verified: Verified) {
        self.hear_what_is_done();
        self.ledger.append(verified, self.now, false).unwrap();
    }

    /// Starts a flush unless one is under way.
    pub fn flush(&mut self) {
        self.hear_what_is_done();
        if self.flushing {
            return;
        }
        self.ledger.settle(self.now).unwrap();
        if let Some(flush) = self.ledger.flush(self.now).unwrap() {
            self.flushes.send(flush).unwrap();
            self.flushing = true;
        }
        self.keep_up();
    }

    /// Waits for the flush under way.
    pub fn wait(&mut self) {
        while self.flushing {
            self.hear();
        }
    }

    /// Starts the next step of upkeep if there is one, and none is under way.
    fn keep_up(&mut self) {
        if !self.keeping
            && let Some(step) = self.ledger.upkeep()
        {
            self.steps.send(step).unwrap();
            self.keeping = true;
        }
    }

    fn hear_what_is_done(&mut self) {
        while let Ok(done) = self.done.try_recv() {
            self.take(done);
        }
    }

    fn hear(&mut self) {
        let done = self.done.recv().unwrap();
        self.take(done);
    }

    fn take(&mut self, done: Done) {
        match done {
            Done::Flush(result) => {
                self.flushing = false;
                self.ledger.flushed(result.is_ok());
                result.unwrap();
            }
            Done::Upkeep => {
                self.ledger.upkept();
                self.keeping = false;
                self.keep_up();
            }
        }
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
