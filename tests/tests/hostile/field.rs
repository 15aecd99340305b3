//! What a case is, and what a case has: the victim's address, the names of its protocols, transactions to attack with.

use std::{
    any::Any,
    io,
    pin::Pin,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::AsyncRead;
use libp2p::Multiaddr;
use qasedak_chain::Network;
use qasedak_p2p::wire;

use super::{
    manners::Manners,
    rogue::{Fate, PATIENCE, Rogue},
    stock::Stock,
    victim::Victim,
};

/// What must become of the culprit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Its fault is provable: its connection is ended.
    LetGo,
    /// So, and before the victim loses patience with those that do not introduce themselves.
    AtOnce,
    /// It could be innocent: it stays connected, and is served.
    Stays,
    /// Either is right; what the case is about is that nobody else suffers.
    Either,
}

/// Whose fate is looked at.
pub enum Culprit {
    Rogue(Box<Rogue>),
    /// A connection below libp2p's, and what keeps it open.
    Raw(Fate, #[expect(dead_code, reason = "it is there to be dropped")] Box<dyn Any + Send>),
}

impl Culprit {
    /// A connection that is read until it ends, and whose other half is kept.
    pub fn raw(reads: impl AsyncRead + Unpin + Send + 'static, keeps: impl Any + Send) -> Self {
        Self::Raw(Fate::of(reads), Box::new(keeps))
    }

    pub fn fate(&self) -> Fate {
        match self {
            Self::Rogue(rogue) => rogue.fate.clone(),
            Self::Raw(fate, _) => fate.clone(),
        }
    }
}

/// What an attack leaves behind.
pub type Culprits = Vec<Culprit>;

/// An attack under way.
pub type Attack = Pin<Box<dyn Future<Output = Culprits>>>;

/// One case.
pub struct Case {
    pub name: String,
    pub expect: Expect,
    pub attack: Box<dyn Fn(Arc<Field>) -> Attack + Send + Sync>,
    /// Whether it costs the victim next to nothing, so that others may run beside it.
    pub is_light: bool,
}

impl Case {
    pub fn light(self) -> Self {
        Self { is_light: true, ..self }
    }
}

/// A case from a function.
pub fn case<F: Future<Output = Culprits> + 'static>(
    name: impl Into<String>,
    expect: Expect,
    attack: impl Fn(Arc<Field>) -> F + Send + Sync + 'static,
) -> Case {
    Case { name: name.into(), expect, attack: Box::new(move |field| Box::pin(attack(field))), is_light: false }
}

/// See the module's page.
pub struct Field {
    pub network: Network,
    /// The victim's, which may be another one in the next case.
    address: RwLock<Multiaddr>,
    quic: RwLock<Multiaddr>,
    pub topic: String,
    pub stock: Stock,
    /// Whether so many attack at once that the victim may have no place for one more handshake.
    crowded: AtomicBool,
}

impl Field {
    pub fn new(network: Network, victim: &Victim, stock: Stock) -> Self {
        let topic = wire::topic(&network);
        let (address, quic) = (RwLock::new(victim.address.clone()), RwLock::new(victim.quic.clone()));
        Self { network, address, quic, topic, stock, crowded: AtomicBool::new(false) }
    }

    pub fn address(&self) -> Multiaddr {
        self.address.read().unwrap().clone()
    }

    /// The same by QUIC.
    pub fn quic(&self) -> Multiaddr {
        self.quic.read().unwrap().clone()
    }

    /// There is another victim.
    pub fn turn_to(&self, victim: &Victim) {
        *self.address.write().unwrap() = victim.address.clone();
        *self.quic.write().unwrap() = victim.quic.clone();
    }

    /// From now on many attack at once.
    pub fn crowd(&self) {
        self.crowded.store(true, Ordering::Release);
    }

    /// Connects. Where many attack at once it tries again when it is refused: the victim has places for 64 handshakes at a
    /// time, of which those that never say anything hold 48, and the others come all together.
    pub async fn admitted<T>(&self, connect: impl AsyncFn() -> io::Result<T>) -> io::Result<T> {
        let began = Instant::now();
        loop {
            match connect().await {
                Err(_) if self.crowded.load(Ordering::Acquire) && began.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                done => return done,
            }
        }
    }

    /// The newest version of sync.
    pub fn sync(&self) -> String {
        wire::sync_protocol(&self.network)
    }

    /// A rogue on a connection of its own.
    pub async fn rogue(&self, manners: Manners) -> Rogue {
        let connect = async || Rogue::connect(&self.address(), &self.network, manners.clone()).await;
        self.admitted(connect).await.expect("the victim takes connections")
    }

    /// A rogue that has subscribed.
    pub async fn member(&self, manners: Manners) -> Rogue {
        let mut rogue = self.rogue(manners).await;
        rogue.subscribe().await.expect("the victim takes gossip");
        rogue
    }
}

/// All versions of sync that a network has, by name and number.
pub fn sync_versions(network: &Network) -> Vec<(String, u32)> {
    let newest = wire::sync_protocol(network);
    let (base, number) = newest.rsplit_once('/').unwrap();
    (1..=number.parse().unwrap()).map(|version| (format!("{base}/{version}"), version)).collect()
}
