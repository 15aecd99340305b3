//! What the rest of the node holds of the network: a handle that can be cloned, and answers while the driver runs.

use std::{fmt, sync::Arc, time::Instant};

use libp2p::Multiaddr;
use qasedak_chain::{Time, TxId, book::Book, rules::Verified};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{DiskTrouble, DriverError};
use crate::{
    behaviour::Traffic,
    engine::{
        Status,
        comparison::{CompareError, report::Report},
        holders::Followed,
    },
};

/// How many commands wait for the driver before their senders wait too.
pub(super) const COMMANDS_MAX: usize = 64;

/// What a handle asks of the driver.
pub(super) enum Command {
    Submit(Box<Verified>),
    Follow(Vec<Followed>),
    Holders(Vec<TxId>, oneshot::Sender<Vec<Option<usize>>>),
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    Refused(oneshot::Sender<Vec<RefusedPeer>>),
    Status(oneshot::Sender<Status>),
    Book(oneshot::Sender<Box<Book>>),
    Compare(String, u64, oneshot::Sender<Result<Comparison, CompareError>>),
}

/// How a peer is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP with Noise and Yamux.
    Tcp,
    /// QUIC, over UDP.
    Quic,
}

impl Transport {
    /// The name in lower case: "tcp" or "quic".
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A connected peer of this network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its peer id as text.
    pub id: String,
    /// Where it was reached, or where it came from.
    pub address: Multiaddr,
    /// Whether it came to us.
    pub inbound: bool,
    /// Since when it is connected.
    pub since: Time,
    /// By what.
    pub transport: Transport,
    /// What it calls its program, at most 64 printable ASCII characters; empty while unknown. Its own word only.
    pub agent: String,
}

/// A peer that is refused for a while, since it was provably at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedPeer {
    /// Its peer id as text.
    pub id: String,
    /// What it did, in a sentence.
    pub reason: String,
    /// Since when.
    pub since: Time,
    /// Until when.
    pub until: Time,
}

/// A comparison with a peer, and with which one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The peer's id as text.
    pub peer: String,
    /// What both differ in.
    pub report: Report,
}

/// How long the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Transactions in it, durable or not.
    pub count: u64,
    /// When it became so long.
    pub since: Instant,
}

/// A handle on the running network. Cheap to clone; the network runs on when all handles are gone.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) stop: CancellationToken,
    pub(super) durable: watch::Receiver<u64>,
    pub(super) logged: watch::Receiver<Logged>,
    pub(super) listening: watch::Receiver<Vec<Multiaddr>>,
    pub(super) trouble: watch::Receiver<Option<DiskTrouble>>,
    pub(super) ended: watch::Receiver<Option<Result<(), DriverError>>>,
    pub(super) refused: Arc<[DriverError]>,
    pub(super) peer_id: Arc<str>,
    pub(super) traffic: Arc<Traffic>,
}

impl Handle {
    /// Sends off a transaction of this node, which the caller has durably put in the outbox. It goes into the ledger once
    /// it was sent to a peer; with no peer it waits, over restarts too.
    ///
    /// # Errors
    /// [`DriverError::Stopped`] when the driver has ended; the transaction stays in the outbox for the next start.
    pub async fn submit(&self, verified: Verified) -> Result<(), DriverError> {
        self.commands.send(Command::Submit(Box::new(verified))).await.map_err(|_| DriverError::Stopped)
    }

    /// Counts again who is known to hold these own transactions of an earlier run: at most as many as
    /// [`holders`](crate::engine::holders) has room for.
    ///
    /// # Errors
    /// [`DriverError::Stopped`] when the driver has ended.
    pub async fn follow(&self, own: Vec<Followed>) -> Result<(), DriverError> {
        self.commands.send(Command::Follow(own)).await.map_err(|_| DriverError::Stopped)
    }

    /// How many peers are known to hold each of these own transactions, by the peers' own word and since this start;
    /// `None` for one whose holders are not counted.
    ///
    /// # Errors
    /// [`DriverError::Stopped`] when the driver has ended.
    pub async fn holders(&self, own: Vec<TxId>) -> Result<Vec<Option<usize>>, DriverError> {
        self.ask(|answer| Command::Holders(own, answer)).await
    }

    /// The peers of this network that are connected, in order of contact.
    ///
    /// # Errors
    /// [`DriverError::Stopped`] when the driver has ended.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, DriverError> {
        self.ask(Command::Peers).await
    }

    /// The peers that are refused at the moment, the longest refused first.
    ///
    /// # Errors
    /// [`DriverError::Stopped`] when the driver has ended.
    pub async fn refused_peers(&self) -> Result<Vec<RefusedPeer>, DriverError> {
        self.ask(Command::Refused).await
    }

    /// What the engine is at.
    ///
    /// # Errors
    /// [`DriverError::Stopped`] when the driver has ended.
    pub async fn status(&self) -> Result<Status, DriverError> {
        self.ask(Command::Status).await
    }

    /// The checkpoints and the evidence that this node keeps.
    ///
    /// # Errors
    /// [`DriverError::Stopped`] when the driver has ended.
    pub async fn book(&self) -> Result<Box<Book>, DriverError> {
        self.ask(Command::Book).await
    }

    /// Finds out what a connected peer and this node differ in. `peer` is its id as text, or a beginning of it that no
    /// other connected peer's id has. Blocks before `from` are left out. Takes up to [`LIMIT_MS`](crate::engine::comparison::LIMIT_MS).
    ///
    /// # Errors
    /// [`DriverError::Stopped`] when the driver has ended, or ends meanwhile. The inner [`CompareError`] says why no
    /// answer can be given.
    pub async fn compare(&self, peer: &str, from: u64) -> Result<Result<Comparison, CompareError>, DriverError> {
        self.ask(|answer| Command::Compare(peer.to_owned(), from, answer)).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, DriverError> {
        let (sender, answer) = oneshot::channel();
        self.commands.send(command(sender)).await.map_err(|_| DriverError::Stopped)?;
        answer.await.map_err(|_| DriverError::Stopped)
    }

    /// The addresses that this node listens on, ports filled in, one per interface where all were asked for.
    pub fn listen_addresses(&self) -> Vec<Multiaddr> {
        self.listening.borrow().clone()
    }

    /// Listen addresses that the system refused at start, while others worked.
    pub fn refused_addresses(&self) -> &[DriverError] {
        &self.refused
    }

    /// This node's own peer id, as text.
    pub fn peer_id(&self) -> &str {
        &self.peer_id
    }

    /// Bytes of the sync protocol that were sent and received since the start, frames with their lengths; what TCP, Noise
    /// and Yamux add is not in it.
    pub fn sync_bytes(&self) -> (u64, u64) {
        self.traffic.bytes()
    }

    /// How many transactions of the log are durable, and a signal whenever there are more: what a wallet scans by.
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.durable.clone()
    }

    /// How long the log is, durable or not, and a signal whenever it has grown.
    pub fn logged(&self) -> watch::Receiver<Logged> {
        self.logged.clone()
    }

    /// What is wrong with the disk that the ledger is on, `None` when it is well. Meanwhile nothing new is taken in, and
    /// writing is tried again and again.
    pub fn disk_trouble(&self) -> Option<DiskTrouble> {
        self.trouble.borrow().clone()
    }

    /// Waits for the driver to end, by [`shutdown`](Self::shutdown) or by itself.
    ///
    /// # Errors
    /// The [`DriverError`] that made it stop.
    pub async fn ended(&self) -> Result<(), DriverError> {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or(Err(DriverError::Task)),
            Err(_) => Err(DriverError::Task),
        }
    }

    /// Stops: takes nothing more in, finishes the checks under way within five seconds, flushes the ledger, ends.
    ///
    /// # Errors
    /// The [`DriverError`] that made it stop, also when that came before.
    pub async fn shutdown(&self) -> Result<(), DriverError> {
        self.stop.cancel();
        self.ended().await
    }
}
