//! Assembly: one running node out of ledger, wallet, network and API, started and stopped in order.
//!
//! Start: lock → ledger → network → mail → API; each is ready before the next begins. Shutdown goes the other way:
//! no more calls, no more stamps, then the network, which flushes the ledger last. All channels are bounded.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use qasedak_chain::{
    Ledger, Network, Time, Transaction, repair,
    retention::Keep,
    store::{
        Outbox, StoreError,
        checkpoints::Checkpoints,
        disk::{
            DiskCheckpoints, DiskOptions, DiskOutbox, DiskStore,
            files::{self, Lock},
        },
    },
};
use qasedak_p2p::driver::{self, Handle, Limits};
use qasedak_wallet::{ScanKeyFile, Wallet};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    api::{self, Guard},
    config::Config,
    failure::{Failure, Outcome},
    finder::{self, Finder},
    mail::Mail,
    pace::Pace,
    paths::Paths,
    peer_key,
    stamping::Stamper,
};

/// How often bodies are looked for whose day has come.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(3_600);

/// How often a long start says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// The ledger on disk.
pub type DiskLedger = Ledger<DiskStore>;

/// The system's clock. Read at the edge of the node; everything below is handed the time.
pub fn now() -> Time {
    Time::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// Threads that work which takes all cores is split among.
pub(crate) fn cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// A running node, as its API sees it.
pub struct Node {
    network: Network,
    ledger: Arc<RwLock<DiskLedger>>,
    outbox: Arc<DiskOutbox>,
    p2p: Handle,
    stamper: Stamper,
    mail: Option<Arc<Mail>>,
    finders: Vec<Arc<Finder>>,
    paths: Paths,
}

/// Bytes of what a node keeps besides its ledger and its outbox.
#[derive(Debug, Clone, Copy)]
pub struct DiskBeside {
    /// Checkpoints and evidence.
    pub checkpoints: u64,
    /// The wallet.
    pub wallet: u64,
    /// Everything in the network's directory: these, ledger, outbox, and what was set aside.
    pub all: u64,
}

impl Node {
    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }
    /// The handle on the network.
    pub fn p2p(&self) -> &Handle {
        &self.p2p
    }
    /// What belongs to the wallet; `None` on a relay.
    pub fn mail(&self) -> Option<&Arc<Mail>> {
        self.mail.as_ref()
    }
    /// What it finds for others, by scan key.
    pub fn finders(&self) -> &[Arc<Finder>] {
        &self.finders
    }

    /// Works with the ledger on a blocking thread, under its lock: keep it short.
    ///
    /// # Errors
    /// The store's own.
    pub async fn with_ledger<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut DiskLedger) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let ledger = Arc::clone(&self.ledger);
        off_thread(move || write(&ledger, work)).await
    }

    /// Bytes that the outbox takes on disk.
    pub fn outbox_bytes(&self) -> u64 {
        self.outbox.bytes()
    }

    /// What it keeps on disk besides.
    ///
    /// # Errors
    /// [`StoreError::BrokenOff`].
    pub async fn disk_beside(&self) -> Result<DiskBeside, StoreError> {
        let paths = self.paths.clone();
        off_thread(move || {
            let (checkpoints, wallet) = (files::bytes_under(&paths.checkpoints()), files::bytes_under(&paths.wallet()));
            Ok(DiskBeside { checkpoints, wallet, all: files::bytes_under(&paths.network_dir()) })
        })
        .await
    }

    /// Own transactions that are not in the ledger yet.
    ///
    /// # Errors
    /// The store's own.
    pub async fn outbox(&self) -> Result<Vec<Transaction>, StoreError> {
        let outbox = Arc::clone(&self.outbox);
        off_thread(move || outbox.all()).await
    }
}

/// Works with the ledger under its lock. A closure, so that no guard can outlive its statement: two read locks of one
/// thread wait for each other as soon as a writer stands between them.
///
/// A panic of another holder does not spread: every change to the ledger is staged as a whole.
pub(crate) fn write<T>(ledger: &RwLock<DiskLedger>, work: impl FnOnce(&mut DiskLedger) -> T) -> T {
    work(&mut ledger.write().unwrap_or_else(PoisonError::into_inner))
}

/// Reads the ledger under its lock, shared with other readers.
pub(crate) fn read<T>(ledger: &RwLock<DiskLedger>, work: impl FnOnce(&DiskLedger) -> T) -> T {
    work(&ledger.read().unwrap_or_else(PoisonError::into_inner))
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::BrokenOff))
}

/// What a node is started from.
pub struct Options {
    /// The network.
    pub network: Network,
    /// Where its files are.
    pub paths: Paths,
    /// How it runs.
    pub config: Config,
    /// The opened wallet; `None` makes the node a relay.
    pub wallet: Option<Wallet>,
    /// For which scan keys it finds, besides.
    pub find_for: Vec<ScanKeyFile>,
    /// The lock on the data directory, from [`Paths::take`]; held until the node has stopped.
    pub lock: Lock,
}

/// A started node and what it takes to stop it.
pub struct Running {
    node: Arc<Node>,
    api: SocketAddr,
    server: JoinHandle<std::io::Result<()>>,
    mail_task: Option<JoinHandle<()>>,
    finding: Vec<JoinHandle<()>>,
    housekeeping: JoinHandle<()>,
    paths: Paths,
    _lock: Lock,
}

impl Running {
    /// The node.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }
    /// Where the API listens.
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// Waits until the network ends by itself, which it does only when something is broken.
    ///
    /// # Errors
    /// [`Failure`] that says what.
    pub async fn ended(&self) -> Outcome {
        self.node.p2p.ended().await.map_err(Failure::failed)
    }

    /// Stops in order; when it returns, everything acknowledged is on disk and the files are free.
    ///
    /// # Errors
    /// [`Failure`] when the ledger could not be flushed.
    pub async fn shutdown(self) -> Outcome {
        // The address goes first, so that a command started now says that no node runs.
        drop(files::remove(&self.paths.api_address()));
        self.node.stamper.stop();
        // Long polls must not hold the shutdown up: what is not answered now will not be.
        self.server.abort();
        self.housekeeping.abort();
        self.mail_task.iter().chain(&self.finding).for_each(JoinHandle::abort);
        let result = self.node.p2p.shutdown().await.map_err(Failure::failed);
        if let Some(mail) = &self.node.mail {
            mail.finish().await;
        }
        for finder in &self.node.finders {
            finder.finish().await;
        }
        result
    }
}

/// Starts a node on the current tokio runtime.
///
/// # Errors
/// [`Failure`] in one sentence: what could not be started, and what to do.
pub async fn start(options: Options) -> Outcome<Running> {
    let Options { network, paths, config, wallet, find_for, lock } = options;
    let (ledger, outbox) = open_files(&network, &paths, config.keep).await?;
    let finders = open_finders(&network, &paths, find_for, &ledger).await?;
    let driver_config = driver::Config {
        key: peer_key::open(&paths.peer_key())?,
        listen: config.listen.clone(),
        peers: config.peers.clone(),
        mdns: config.mdns,
        seed: random()?,
        limits: Limits { daily_bytes: config.daily_bytes, ..Limits::default() },
        log_id: read(&ledger, |ledger| ledger.store().log_id()),
    };
    let kept: Arc<dyn Outbox> = outbox.clone();
    let checkpoints = open_checkpoints(&network, &paths).await?;
    let p2p = driver::start(driver_config, Arc::clone(&ledger), kept, checkpoints).await.map_err(Failure::failed)?;
    for refused in p2p.refused_addresses() {
        tracing::warn!("{refused}");
    }
    let stamper = Stamper::new(network.clone());
    let mail = wallet.map(|wallet| {
        Arc::new(Mail::new(wallet, Arc::clone(&ledger), Arc::clone(&outbox), p2p.clone(), stamper.clone()))
    });
    let node = Arc::new(Node { network, ledger, outbox, p2p, stamper, mail, finders, paths: paths.clone() });
    let (api, server) = match serve(&node, &config, &paths).await {
        Ok(served) => served,
        Err(failure) => {
            drop(node.p2p.shutdown().await);
            return Err(failure);
        }
    };
    let mail_task = node.mail.clone().map(|mail| tokio::spawn(mail.run()));
    let find = |finder: &Arc<Finder>| tokio::spawn(Arc::clone(finder).run(node.p2p.durable()));
    let finding = node.finders.iter().map(find).collect();
    let housekeeping = tokio::spawn(keep_house(Arc::clone(&node)));
    Ok(Running { node, api, server, mail_task, finding, housekeeping, paths, _lock: lock })
}

/// Lets bodies go whose day has come, at start and every hour. To keep to the disk budget is the ledger's own business
/// at each flush; here it makes room at the start, and is reported when it fails.
async fn keep_house(node: Arc<Node>) {
    loop {
        match node.with_ledger(|ledger| ledger.prune(now())).await {
            Ok(pruned) if !pruned.is_nothing() => {
                tracing::info!(
                    "dropped bodies: {} files whose day has come, {} early, to keep to the disk budget",
                    pruned.expired,
                    pruned.early
                );
                // More may be waiting; others get the ledger in between.
                continue;
            }
            Ok(_) => {}
            Err(error) => tracing::error!("cannot drop bodies: {error}"),
        }
        tokio::time::sleep(HOUSEKEEPING_EVERY).await;
    }
}

async fn open_files(
    network: &Network,
    paths: &Paths,
    keep: Keep,
) -> Outcome<(Arc<RwLock<DiskLedger>>, Arc<DiskOutbox>)> {
    let (network, ledger_dir, outbox_dir) = (network.clone(), paths.ledger(), paths.outbox());
    let log_id: [u8; 16] = random()?;
    let open = move || -> Result<_, StoreError> {
        let mut ledger = open_ledger(&ledger_dir, &network, log_id)?;
        let outbox = DiskOutbox::open(&outbox_dir, &network)?;
        ledger.keep_bodies(keep);
        // What a rebuilt index gained is written now, while nothing waits for it.
        ledger.flush_now(now())?;
        Ok((Arc::new(RwLock::new(ledger)), Arc::new(outbox)))
    };
    off_thread(open).await.map_err(Failure::failed)
}

/// Opens the ledger; one that is damaged is repaired first, and loudly.
fn open_ledger(dir: &Path, network: &Network, log_id: [u8; 16]) -> Result<DiskLedger, StoreError> {
    repair::finish(dir)?;
    let open = || {
        let mut pace = Pace::since(Instant::now(), PROGRESS_EVERY);
        let mut progress = |done, total| {
            if pace.is_due(Instant::now()) {
                tracing::info!("bringing the index up to date with the log: {done} of {total} transactions");
            }
        };
        let store = DiskStore::open_with(dir, network, log_id, DiskOptions::default(), &mut progress)?;
        let ledger = Ledger::open_with(network.clone(), store, &mut progress)?;
        for notice in ledger.store().notices() {
            if notice.is_damage() {
                tracing::warn!("{notice}");
            } else {
                tracing::info!("{notice}");
            }
        }
        Ok(ledger)
    };
    match open() {
        Err(StoreError::Damaged { path, offset, what }) => {
            tracing::error!("{path} is damaged at byte {offset}: {what}; a new log is made from what is whole");
            let repaired = repair::repair(dir, network, log_id, now(), &mut |saved| {
                tracing::info!("{saved} transactions saved");
            })?;
            tracing::error!("{repaired}");
            open()
        }
        opened => opened,
    }
}

async fn open_finders(
    network: &Network,
    paths: &Paths,
    files: Vec<ScanKeyFile>,
    ledger: &Arc<RwLock<DiskLedger>>,
) -> Outcome<Vec<Arc<Finder>>> {
    if !files.is_empty() {
        tracing::info!("finding for {} scan keys", files.len());
    }
    let (network, dir, ledger) = (network.clone(), paths.found(), Arc::clone(ledger));
    let open = move || {
        if let Err(error) = finder::remove_other_lists(&dir, &files) {
            tracing::warn!("lists of scan keys that are not found for any more cannot be removed: {error}");
        }
        let finders =
            files.into_iter().map(|file| Finder::open(&network, &dir, file, Arc::clone(&ledger)).map(Arc::new));
        finders.collect::<Result<_, _>>()
    };
    let opened = tokio::task::spawn_blocking(open).await.map_err(Failure::failed)?;
    opened.map_err(Failure::failed)
}

async fn open_checkpoints(network: &Network, paths: &Paths) -> Outcome<Arc<dyn Checkpoints>> {
    let (network, dir) = (network.clone(), paths.checkpoints());
    let kept = off_thread(move || DiskCheckpoints::open(&dir, &network)).await.map_err(Failure::failed)?;
    for damage in kept.damage() {
        tracing::error!("{damage}; the file was set aside, and what is right in it is kept");
    }
    Ok(Arc::new(kept))
}

async fn serve(
    node: &Arc<Node>,
    config: &Config,
    paths: &Paths,
) -> Outcome<(SocketAddr, JoinHandle<std::io::Result<()>>)> {
    let refused = |error| {
        Failure::failed(format!(
            "the API cannot listen on {}: {error}; stop the program that uses that port, or leave --api out to take a free one",
            config.api
        ))
    };
    let listener = TcpListener::bind(config.api).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let token = hex::encode(random::<32>()?);
    files::create_whole(&paths.api_token(), token.as_bytes()).map_err(Failure::failed)?;
    files::create_whole(&paths.api_address(), address.to_string().as_bytes()).map_err(Failure::failed)?;
    let router = api::router(Arc::clone(node), Arc::new(Guard::new(token, address)));
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((address, server))
}

/// Fresh random bytes from the system.
pub(crate) fn random<const N: usize>() -> Outcome<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::failed(format!("the system gives no randomness: {error}; try again after a restart"))
    })?;
    Ok(bytes)
}

/// A generator for wallets and drafts, seeded by the system.
pub(crate) fn rng() -> Outcome<rand::rngs::StdRng> {
    Ok(rand::SeedableRng::from_seed(random::<32>()?))
}
