//! Nodes: drivers in this process, over real sockets, with ledgers on disk.

use std::{
    ops::ControlFlow,
    sync::{Arc, RwLock},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ed25519_dalek::SigningKey;
use qasedak_chain::{
    Ledger, Network, Time, Transaction, TxId,
    rules::{self, Verified},
    stamp::{self, Effort},
    store::{Outbox, checkpoints::MemoryCheckpoints, disk::DiskStore, memory::MemoryOutbox},
    transaction::{Core, CoreFields, Kind, LIFETIME_DEFAULT_SECS, body_hash},
};
use qasedak_p2p::{
    Multiaddr,
    driver::{self, Config, Handle, Limits, Logged, PeerKey},
};
use tempfile::TempDir;
use tokio::{sync::watch, time::timeout_at};

use crate::topology::Topology;

/// A transaction that is ready to go.
pub type Message = Verified;
/// Bytes of a body.
const BODY_BYTES: usize = 1_024;
/// How long connections may take, and what was given out may be on its way, with all nodes on one machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Connections are up and the mesh is grafted after this long, as gossipsub's heartbeat goes.
const WARM_UP: Duration = Duration::from_secs(4);

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// Writes transactions over genesis, on all cores.
pub fn write(network: &Network, count: usize) -> Vec<Message> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut all: Vec<Message> = thread::scope(|scope| {
        let some = |_| scope.spawn(|| (0..count.div_ceil(cores)).map(|_| one(network)).collect::<Vec<_>>());
        let threads: Vec<_> = (0..cores).map(some).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    all.truncate(count);
    all
}

fn one(network: &Network) -> Message {
    let (key, body) = (SigningKey::from_bytes(&random()), random().repeat(BODY_BYTES / 32));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let fields = CoreFields {
        parents: vec![network.genesis()],
        time: Time::from_secs(now).rounded_down(),
        lifetime_secs: LIFETIME_DEFAULT_SECS,
        kind: Kind::Sealed,
        hint: [0; 16],
        body_hash: body_hash(network, &body),
        body_len: BODY_BYTES as u32,
        author: key.verifying_key().to_bytes(),
    };
    let signed = Core::new(fields).unwrap().sign(network, &key).unwrap();
    let effort = Effort::required(network, signed.core());
    let stamp = stamp::search(&signed.challenge(network), effort, 0.., || ControlFlow::Continue(())).unwrap();
    rules::verify(network, Transaction::new(network, signed.stamped(stamp), Some(body)).unwrap()).unwrap()
}

/// One node.
struct Node {
    handle: Handle,
    ledger: Arc<RwLock<Ledger<DiskStore>>>,
    outbox: Arc<MemoryOutbox>,
    _dir: TempDir,
}

impl Node {
    async fn start(network: &Network, peers: Vec<Multiaddr>) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let store = DiskStore::open(dir.path(), network, [9; 16]).unwrap();
        let ledger = Arc::new(RwLock::new(Ledger::open(network.clone(), store).unwrap()));
        let config = Config {
            key: PeerKey::from_bytes(random()).unwrap(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
            peers,
            mdns: false,
            seed: random(),
            limits: Limits::default(),
            log_id: [9; 16],
        };
        let outbox = Arc::new(MemoryOutbox::default());
        let kept = Arc::new(MemoryCheckpoints::default());
        let handle = driver::start(config, Arc::clone(&ledger), Arc::clone(&outbox) as Arc<dyn Outbox>, kept);
        Self { handle: handle.await.unwrap(), ledger, outbox, _dir: dir }
    }

    fn position(&self, id: &TxId) -> u64 {
        self.ledger.read().unwrap().position(id).unwrap().unwrap().get()
    }
}

/// How long a log became, and when.
type Grown = Vec<(u64, Instant)>;

/// What was seen of one node's log: while messages are on their way, nothing more is done than to note it.
#[derive(Default)]
struct Watched {
    here: Grown,
    durable: Grown,
}

/// When the log first was so long that a position lies in it.
fn when(grown: &Grown, position: u64) -> Instant {
    grown[grown.partition_point(|(count, _)| *count <= position)].1
}

/// A network of nodes.
pub struct Nodes(Vec<Arc<Node>>);

impl Nodes {
    /// Connects all as the topology says.
    pub async fn start(network: &Network, topology: &Topology) -> Self {
        let mut nodes: Vec<Arc<Node>> = Vec::new();
        for node in 0..topology.len() {
            let address = |other: &usize| nodes[*other].handle.listen_addresses()[0].clone();
            let peers = topology.dials(node).iter().map(address).collect();
            nodes.push(Arc::new(Node::start(network, peers).await));
        }
        let start = Instant::now();
        for (nth, node) in nodes.iter().enumerate() {
            // Those that they were told of they dial again by themselves.
            while node.handle.peers().await.unwrap().len() < topology.degree(nth) {
                let peers = node.handle.peers().await.unwrap();
                let degree = topology.degree(nth);
                assert!(start.elapsed() < PATIENCE, "node {nth} has not {degree} peers in {PATIENCE:?}: {peers:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        tokio::time::sleep(WARM_UP).await;
        Self(nodes)
    }

    /// Gives messages out, each to the next node, and waits until all have all of them durably. Gives how long each took to
    /// each other node: to be in its log, and to be durable there.
    pub async fn round(&self, messages: Vec<Message>, pace: Duration) -> (Vec<Duration>, Vec<Duration>) {
        let watch = |node: &Arc<Node>| {
            let until = node.ledger.read().unwrap().summary().count + messages.len() as u64;
            tokio::spawn(watch(node.handle.logged(), node.handle.durable(), until))
        };
        let watched: Vec<_> = self.0.iter().map(watch).collect();
        let mut every = tokio::time::interval(pace);
        let mut sent = Vec::new();
        for (nth, message) in messages.into_iter().enumerate() {
            every.tick().await;
            let (sender, id) = (nth % self.0.len(), message.transaction().id());
            self.0[sender].outbox.put(message.transaction()).unwrap();
            sent.push((sender, id, Instant::now()));
            self.0[sender].handle.submit(message).await.unwrap();
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let (mut here, mut durable) = (Vec::new(), Vec::new());
        for (nth, (node, watched)) in self.0.iter().zip(watched).enumerate() {
            let Ok(watched) = timeout_at(deadline, watched).await else {
                panic!("what was given out has not reached every node within {PATIENCE:?}");
            };
            let watched = watched.unwrap();
            for (_, id, at) in sent.iter().filter(|(sender, ..)| *sender != nth) {
                let position = node.position(id);
                here.push(when(&watched.here, position).duration_since(*at));
                durable.push(when(&watched.durable, position).duration_since(*at));
            }
        }
        (here, durable)
    }

    pub async fn stop(self) {
        for node in &self.0 {
            node.handle.shutdown().await.unwrap();
        }
    }
}

/// Sees a log grow until it is durably so long.
async fn watch(mut logged: watch::Receiver<Logged>, mut durable: watch::Receiver<u64>, until: u64) -> Watched {
    let mut watched = Watched::default();
    while watched.durable.last().is_none_or(|(count, _)| *count < until) {
        tokio::select! {
            changed = logged.changed() => {
                changed.unwrap();
                let logged = *logged.borrow_and_update();
                watched.here.push((logged.count, logged.since));
            }
            changed = durable.changed() => {
                changed.unwrap();
                watched.durable.push((*durable.borrow_and_update(), Instant::now()));
            }
        }
    }
    watched
}
