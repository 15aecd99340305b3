//! The honest pair: one node that goes on sending, and one that receives, with nothing between them but the victim.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use qasedak_chain::{
    Ledger, Network, TxId,
    rules::{self, Verified},
    store::{Outbox, checkpoints::MemoryCheckpoints, disk::DiskStore, memory::MemoryOutbox},
};
use qasedak_p2p::{
    Multiaddr,
    driver::{self, Config, Handle, Limits, PeerKey},
};

use tempfile::TempDir;
use tokio::runtime::Handle as Threads;

use super::stock::{make, many, now_secs, random};

/// Time between two messages.
pub const EVERY: Duration = Duration::from_millis(25);

/// How many messages are made ahead: those of sixteen seconds, longer than most attacks take. Where one takes longer too few
/// are sent, which fails the test.
pub const AHEAD: usize = 640;
/// Those of 21 seconds, for the patient attacks and the long calm before.
pub const AHEAD_OF_PATIENT: usize = 840;

/// How often the receiver looks for what has come.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A node in this process. Its ledger is on disk, since a flush of the one in memory takes longer the more it holds.
pub struct Node {
    pub handle: Handle,
    ledger: Arc<RwLock<Ledger<DiskStore>>>,
    outbox: Arc<MemoryOutbox>,
    _dir: TempDir,
}

impl Node {
    /// A node that stays connected to the victim.
    pub async fn start(network: &Network, victim: &Multiaddr) -> Self {
        let config = Config {
            key: PeerKey::from_bytes(random()).unwrap(),
            listen: Vec::new(),
            peers: vec![victim.clone()],
            mdns: false,
            seed: random(),
            limits: Limits::default(),
            log_id: [7; 16],
        };
        let dir = tempfile::tempdir().unwrap();
        let store = DiskStore::open(dir.path(), network, [9; 16]).unwrap();
        let ledger = Arc::new(RwLock::new(Ledger::open(network.clone(), store).unwrap()));
        // It stays open until the process ends: sled, several of which are in this one, may come to no end when it is closed,
        // and then stops the others too (decision 0039). What is tested is the victim, a process of its own.
        std::mem::forget(Arc::clone(&ledger));
        let outbox = Arc::new(MemoryOutbox::default());
        let kept = Arc::new(MemoryCheckpoints::default());
        let handle =
            driver::start(config, Arc::clone(&ledger), Arc::clone(&outbox) as Arc<dyn Outbox>, kept).await.unwrap();
        Self { handle, ledger, outbox, _dir: dir }
    }

    fn holds(&self, id: &TxId) -> bool {
        self.ledger.read().unwrap().position(id).unwrap().is_some()
    }

    /// Whether the victim is connected.
    pub async fn is_connected(&self) -> bool {
        !self.handle.peers().await.unwrap().is_empty()
    }
}

/// When a message was sent, and how long it took; `None` while it is on its way.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    pub sent: Instant,
    pub took: Option<Duration>,
}

/// Messages to be sent.
type Made = Arc<Mutex<VecDeque<Verified>>>;

/// The pair at work.
pub struct Pair {
    pub sender: Arc<Node>,
    pub receiver: Arc<Node>,
    made: Made,
    deliveries: Arc<Mutex<Vec<Delivery>>>,
    stop: Arc<AtomicBool>,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

impl Pair {
    /// Connects both to the victim and begins to send, on the threads of `honest`.
    pub async fn start(honest: &Threads, network: &Network, victim: &Multiaddr) -> Self {
        let start = async || {
            let (network, victim) = (network.clone(), victim.clone());
            Arc::new(honest.spawn(async move { Node::start(&network, &victim).await }).await.unwrap())
        };
        let (sender, receiver) = (start().await, start().await);
        let (made, deliveries, stop) = Default::default();
        let pair = Self { sender, receiver, made, deliveries, stop };
        pair.make_ahead(network, AHEAD).await;
        let open: Arc<Mutex<HashMap<TxId, usize>>> = Arc::default();
        let [deliveries, again] = [&pair.deliveries; 2].map(Arc::clone);
        let [stop, too] = [&pair.stop; 2].map(Arc::clone);
        let made = Arc::clone(&pair.made);
        honest.spawn(send(Arc::clone(&pair.sender), made, deliveries, Arc::clone(&open), stop));
        honest.spawn(receive(Arc::clone(&pair.receiver), again, open, too));
        pair
    }

    /// Makes messages on all cores, until there are `count`. Not while deliveries are looked at: forty stamps a second
    /// take half a core, which no sender elsewhere would take from the victim.
    pub async fn make_ahead(&self, network: &Network, count: usize) {
        let missing = count.saturating_sub(self.made.lock().unwrap().len());
        let network = network.clone();
        let one = move || {
            let transaction = make(&network, vec![network.genesis()], now_secs(), 1_024);
            rules::verify(&network, transaction).unwrap()
        };
        let more = tokio::task::spawn_blocking(move || many(missing, &one)).await.unwrap();
        self.made.lock().unwrap().extend(more);
    }

    /// All messages that were sent between two moments.
    pub fn between(&self, from: Instant, to: Instant) -> Vec<Delivery> {
        let deliveries = self.deliveries.lock().unwrap();
        deliveries.iter().filter(|delivery| delivery.sent >= from && delivery.sent < to).copied().collect()
    }

    /// Waits until everything that was sent before now has arrived; `false` when it does not in time.
    pub async fn arrives_within(&self, patience: Duration) -> bool {
        let until = Instant::now();
        let arrived = async {
            loop {
                let open = self.deliveries.lock().unwrap().iter().any(|one| one.sent < until && one.took.is_none());
                if !open {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(patience, arrived).await.is_ok()
    }

    /// Waits until both are connected and messages come through.
    pub async fn is_up(&self, patience: Duration) -> bool {
        let enough = async {
            while self.deliveries.lock().unwrap().iter().filter(|one| one.took.is_some()).count() < 20 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(patience, enough).await.is_ok() && self.arrives_within(patience).await
    }
}

async fn send(
    node: Arc<Node>,
    made: Made,
    deliveries: Arc<Mutex<Vec<Delivery>>>,
    open: Arc<Mutex<HashMap<TxId, usize>>>,
    stop: Arc<AtomicBool>,
) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stop.load(Ordering::SeqCst) {
        every.tick().await;
        let Some(verified) = made.lock().unwrap().pop_front() else {
            continue;
        };
        node.outbox.put(verified.transaction()).unwrap();
        let id = verified.transaction().id();
        {
            let mut deliveries = deliveries.lock().unwrap();
            open.lock().unwrap().insert(id, deliveries.len());
            deliveries.push(Delivery { sent: Instant::now(), took: None });
        }
        node.handle.submit(verified).await.unwrap();
    }
}

async fn receive(
    node: Arc<Node>,
    deliveries: Arc<Mutex<Vec<Delivery>>>,
    open: Arc<Mutex<HashMap<TxId, usize>>>,
    stop: Arc<AtomicBool>,
) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    while !stop.load(Ordering::SeqCst) {
        look.tick().await;
        let now = Instant::now();
        let mut deliveries = deliveries.lock().unwrap();
        open.lock().unwrap().retain(|id, at| {
            let here = node.holds(id);
            if here {
                let delivery = &mut deliveries[*at];
                delivery.took = Some(now.duration_since(delivery.sent));
            }
            !here
        });
    }
}
