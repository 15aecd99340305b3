//! A node for the benchmark: the driver over a ledger on disk.

use std::{
    path::Path,
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use qasedak_chain::{
    Ledger, Network,
    ledger::Summary,
    store::{checkpoints::MemoryCheckpoints, disk::DiskStore, memory::MemoryOutbox},
};
use qasedak_p2p::{
    Multiaddr,
    driver::{self, Config, Handle, Limits, PeerKey},
};

use crate::pipeline;

/// Longer than any part takes.
const DEADLINE: Duration = Duration::from_secs(900);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(2);

pub struct Node {
    pub handle: Handle,
    pub ledger: Arc<RwLock<Ledger<DiskStore>>>,
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

impl Node {
    /// A node over the ledger in `dir`, that listens on loopback and stays connected to `peers`.
    pub async fn start(dir: &Path, peers: &[Multiaddr]) -> Self {
        Self::over(pipeline::open(&Network::dev(), dir), peers).await
    }

    /// The same over an open ledger.
    pub async fn over(ledger: Ledger<DiskStore>, peers: &[Multiaddr]) -> Self {
        let ledger = Arc::new(RwLock::new(ledger));
        let config = Config {
            key: PeerKey::from_bytes(random()).unwrap(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
            peers: peers.to_vec(),
            mdns: false,
            seed: random(),
            limits: Limits::default(),
            log_id: random()[..16].try_into().unwrap(),
        };
        let (outbox, checkpoints) = (Arc::new(MemoryOutbox::default()), Arc::new(MemoryCheckpoints::default()));
        let handle = driver::start(config, Arc::clone(&ledger), outbox, checkpoints).await.unwrap();
        Self { handle, ledger }
    }

    pub fn address(&self) -> Multiaddr {
        self.handle.listen_addresses()[0].clone()
    }

    pub fn summary(&self) -> Summary {
        self.ledger.read().unwrap().summary()
    }

    /// Sent and received bytes of sync.
    pub fn bytes(&self) -> u64 {
        let (sent, received) = self.handle.sync_bytes();
        sent + received
    }

    /// Waits for this node to be connected to another.
    pub async fn connected(&self) {
        until(async || !self.handle.peers().await.unwrap().is_empty()).await;
    }
}

/// Waits for a condition.
pub async fn until(condition: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < DEADLINE, "this takes too long");
        tokio::time::sleep(LOOK).await;
    }
}
