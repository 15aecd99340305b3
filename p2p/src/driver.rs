//! The driver: the only task that polls the swarm. It turns events into the engine's inputs and the engine's
//! outputs into calls (DESIGN §7).
//!
//! The clock is read here and nowhere below. The ledger's lock is held for one call of the engine at a time and never
//! across an await. Signatures and stamps are checked, and the log is flushed, on blocking threads; at most one
//! flush is under way, and what grew meanwhile goes into the next (group commit).
//!
//! | module | holds |
//! |---|---|
//! | [`Handle`], [`PeerInfo`] (`handle`) | what the node holds of the network |
//! | [`PeerKey`] (`key`), [`DriverError`] (`error`) | the node's key among peers; what can go wrong |
//! | `task` | the loop, start and ordered end |
//! | `events`, `outputs` | swarm events → inputs; outputs → calls |
//! | `peers`, `dialer`, `listeners` | who is connected; who is to be; where we listen |
//! | `compare` | comparisons with peers on an operator's behalf |
//! | `notary` | this node's own checkpoints, and keeping those of others |
//! | `checks`, `flusher`, `upkeep`, `outbox` | the work on blocking threads |

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use libp2p::Multiaddr;
use qasedak_chain::{
    Ledger,
    book::Book,
    store::{Outbox, Store, checkpoints::Checkpoints},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::transport;

mod checks;
mod compare;
mod dialer;
mod error;
mod events;
mod flusher;
mod handle;
mod key;
mod listeners;
mod notary;
mod outbox;
mod outputs;
mod peers;
mod task;
mod upkeep;

pub use error::DriverError;
pub use flusher::DiskTrouble;
pub use handle::{Comparison, Handle, Logged, PeerInfo, RefusedPeer, Transport};
pub use key::{PeerKey, peer_id_of};

/// How many connections a node keeps, and how much it takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most connections altogether.
    pub established: u32,
    /// Most connections that came in.
    pub established_incoming: u32,
    /// Most connections to one peer: two, since both sides may dial at once.
    pub per_peer: u32,
    /// Most incoming connections whose handshake is under way.
    pub pending_incoming: u32,
    /// Bytes of others' transactions that are taken in a day.
    pub daily_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            established: 256,
            established_incoming: 192,
            per_peer: 2,
            pending_incoming: 64,
            daily_bytes: crate::engine::DAILY_BYTES,
        }
    }
}

/// What the driver needs to know. The network is the ledger's.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this node is to others.
    pub key: PeerKey,
    /// Where to listen; port 0 lets the system choose.
    pub listen: Vec<Multiaddr>,
    /// Peers to stay connected to, with or without `/p2p/…` at the end.
    pub peers: Vec<Multiaddr>,
    /// Whether to find peers on the local network by multicast DNS (RFC 6762).
    pub mdns: bool,
    /// Seed of the engine's draws and of the jitter between dials: 32 random bytes, new at each start.
    pub seed: [u8; 32],
    /// How many connections to keep.
    pub limits: Limits,
    /// The log's id on disk, from which that in checkpoints follows.
    pub log_id: [u8; 16],
}

/// Starts the network: listens, loads the outbox, and spawns the driver on the current tokio runtime.
///
/// A refused listen address is reported by [`Handle::refused_addresses`] as long as another works.
///
/// # Errors
/// [`DriverError::Listen`] when no TCP listen address works, or none at all; [`DriverError::Address`] when an address
/// has no transport; [`DriverError::Store`] when outbox or checkpoints cannot be read; [`DriverError::Setup`] otherwise.
pub async fn start<S: Store + Send + Sync + 'static>(
    config: Config,
    ledger: Arc<RwLock<Ledger<S>>>,
    outbox: Arc<dyn Outbox>,
    checkpoints: Arc<dyn Checkpoints>,
) -> Result<Handle, DriverError> {
    if let Some(address) = config.listen.iter().chain(&config.peers).find(|address| !transport::is_supported(address)) {
        return Err(DriverError::Address { address: address.clone() });
    }
    let (network, durable_count) = {
        let ledger = ledger.read().unwrap_or_else(PoisonError::into_inner);
        (ledger.network().clone(), ledger.store().last_commit().map_or(0, |point| point.count))
    };
    let own = outbox::load(network.clone(), Arc::clone(&outbox)).await?;
    let book = load_book(Arc::clone(&checkpoints)).await?;
    let (commands, command_receiver) = mpsc::channel(handle::COMMANDS_MAX);
    let (durable_sender, durable) = watch::channel(durable_count);
    let (logged_sender, logged) = watch::channel(Logged { count: durable_count, since: Instant::now() });
    let (listening_sender, listening) = watch::channel(Vec::new());
    let (ended_sender, ended) = watch::channel(None);
    let stop = CancellationToken::new();
    let peer_id: Arc<str> = config.key.peer_id().into();
    let listen = config.listen.clone();
    let wires = task::Wires {
        commands: command_receiver,
        stop: stop.clone(),
        durable: durable_sender,
        logged: logged_sender,
        listening: listening_sender,
        traffic: Arc::default(),
    };
    let traffic = Arc::clone(&wires.traffic);
    let mut task = task::Task::new(config, network, ledger, outbox, (checkpoints, book), wires)?;
    let refused = task.listen(listen).await?.into();
    let trouble = task.flusher.watch();
    tokio::spawn(async move {
        let result = task.run(own).await;
        ended_sender.send_replace(Some(result));
    });
    Ok(Handle { commands, stop, durable, logged, listening, trouble, ended, refused, peer_id, traffic })
}

async fn load_book(checkpoints: Arc<dyn Checkpoints>) -> Result<Book, DriverError> {
    let loaded = tokio::task::spawn_blocking(move || checkpoints.book()).await.map_err(|_| DriverError::Task)?;
    loaded.map_err(|error| DriverError::Store(error.to_string()))
}
