//! A node under test: driver, ledger and outbox, and what it takes to write transactions for it.

use std::{
    future::Future,
    sync::{Arc, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ed25519_dalek::SigningKey;
use qasedak_chain::{
    Ledger, Network, Time, Transaction, TxId,
    ledger::Summary,
    rules::{self, Verified},
    stamp::{self, Effort},
    store::{Outbox, Store, checkpoints::MemoryCheckpoints, memory::MemoryOutbox, memory::MemoryStore},
    transaction::{Core, CoreFields, Kind, LIFETIME_DEFAULT_SECS, body_hash},
};
use qasedak_p2p::{
    Multiaddr,
    driver::{self, Config, DriverError, Handle, Limits, PeerKey},
};
use rand::{SeedableRng, rngs::StdRng};

/// No condition takes a working node nearly as long, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// A TCP port that the system chooses.
pub const TCP: &str = "/ip4/127.0.0.1/tcp/0";
/// A QUIC port that the system chooses.
pub const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

pub struct Node<S = MemoryStore> {
    pub handle: Handle,
    pub ledger: Arc<RwLock<Ledger<S>>>,
    pub outbox: Arc<MemoryOutbox>,
    rng: StdRng,
}

/// Random bytes of the system's.
pub fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

pub fn config(listen: &[&str], peers: &[Multiaddr]) -> Config {
    Config {
        key: PeerKey::from_bytes(random()).unwrap(),
        listen: listen.iter().map(|address| address.parse().unwrap()).collect(),
        peers: peers.to_vec(),
        mdns: false,
        seed: random(),
        limits: Limits::default(),
        log_id: [7; 16],
    }
}

pub fn now() -> Time {
    Time::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

impl Node {
    /// A node of `dev` with an empty ledger.
    pub async fn start(listen: &[&str], peers: &[Multiaddr]) -> Self {
        Self::start_with(Network::dev(), config(listen, peers), Arc::default()).await.unwrap()
    }

    pub async fn start_with(network: Network, config: Config, outbox: Arc<MemoryOutbox>) -> Result<Self, DriverError> {
        Node::start_on(MemoryStore::new(), network, config, outbox).await
    }
}

impl<S: Store + Send + Sync + 'static> Node<S> {
    pub async fn start_on(
        store: S,
        network: Network,
        config: Config,
        outbox: Arc<MemoryOutbox>,
    ) -> Result<Self, DriverError> {
        let ledger = Arc::new(RwLock::new(Ledger::open(network, store).unwrap()));
        let rng = StdRng::from_seed(random());
        let kept = Arc::new(MemoryCheckpoints::default());
        let handle = driver::start(config, Arc::clone(&ledger), Arc::clone(&outbox) as Arc<dyn Outbox>, kept).await?;
        Ok(Self { handle, ledger, outbox, rng })
    }

    /// The address at which others reach this node, its first one.
    pub fn address(&self) -> Multiaddr {
        self.handle.listen_addresses()[0].clone()
    }

    /// Writes a transaction over this node's frontier, keeps it in the outbox, and sends it off.
    pub async fn send(&mut self, text: &[u8]) -> TxId {
        self.send_of(512, text).await
    }

    /// The same, with a body of so many bytes.
    pub async fn send_of(&mut self, body_len: u32, text: &[u8]) -> TxId {
        let verified = write(&self.ledger, body_len, text, &mut self.rng);
        let id = verified.transaction().id();
        self.outbox.put(verified.transaction()).unwrap();
        self.handle.submit(verified).await.unwrap();
        id
    }

    pub fn summary(&self) -> Summary {
        self.ledger.read().unwrap().summary()
    }

    pub fn holds(&self, id: &TxId) -> bool {
        self.ledger.read().unwrap().position(id).unwrap().is_some()
    }

    /// Waits until the log has durably reached a length.
    pub async fn durable(&self, count: u64) {
        let mut durable = self.handle.durable();
        let reached = tokio::time::timeout(DEADLINE, durable.wait_for(|durable| *durable >= count)).await;
        assert!(matches!(reached, Ok(Ok(_))), "{:?} of {count} after {DEADLINE:?}", self.summary().count);
    }

    /// Waits until this many peers are connected.
    pub async fn connected(&self, count: usize) {
        until("peers", async || self.handle.peers().await.unwrap().len() == count).await;
    }
}

/// Waits for a condition that has no signal of its own.
pub async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, holds).await.is_ok(), "no {what} after {DEADLINE:?}");
}

/// A transaction over the frontier of a ledger.
pub fn write<S: Store>(ledger: &RwLock<Ledger<S>>, body_len: u32, text: &[u8], rng: &mut StdRng) -> Verified {
    let (network, (parents, time)) = {
        let mut ledger = ledger.write().unwrap();
        (ledger.network().clone(), ledger.next_place(now(), rng).unwrap())
    };
    let key = SigningKey::from_bytes(&random());
    let mut body = text.to_vec();
    body.resize(body_len as usize, 0);
    let fields = CoreFields {
        parents,
        time,
        lifetime_secs: LIFETIME_DEFAULT_SECS,
        kind: Kind::Sealed,
        hint: [0; 16],
        body_hash: body_hash(&network, &body),
        body_len,
        author: key.verifying_key().to_bytes(),
    };
    let signed = Core::new(fields).unwrap().sign(&network, &key).unwrap();
    let effort = Effort::required(&network, signed.core());
    let go_on = || std::ops::ControlFlow::Continue(());
    let stamp = stamp::search(&signed.challenge(&network), effort, 0.., go_on).unwrap();
    let transaction = Transaction::new(&network, signed.stamped(stamp), Some(body)).unwrap();
    rules::verify(&network, transaction).unwrap()
}
