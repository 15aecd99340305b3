//! `run`: the peer, until Ctrl-C or SIGTERM.

use std::{
    io::{IsTerminal, Write},
    mem::{self, Discriminant},
    sync::Arc,
    time::{Duration, Instant},
};

use qasedak_p2p::{driver::DriverError, engine::status::Syncing};
use qasedak_wallet::Wallet;
use serde::Serialize;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Context, args::RunArgs, init, progress::Bar};
use crate::{
    allocator,
    config::{self, Config},
    failure::{Failure, Outcome},
    finder,
    harden::KEYS_NOT_LOCKED,
    logging,
    node::{self, Node, Options},
    passphrase,
};

/// How often it is looked how catching up goes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the log says so.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// What `run --json` prints once the node is ready.
#[derive(Debug, Serialize)]
struct Ready {
    network: String,
    address: Option<String>,
    peer: String,
    listen: Vec<String>,
    api: String,
    /// For how many scan keys it finds.
    finds_for: usize,
}

pub(super) fn run(context: &Context, flags: &RunArgs) -> Outcome {
    allocator::begin_anew_with_settings();
    let file = config::read_file(context.paths.data())?;
    let config = Config::resolve(&context.network, file, |name| std::env::var(name).ok(), flags)?;
    logging::start(&config.log)?;
    let find_for = finder::read_files(&config.find_for, &context.network)?;
    let lock = context.paths.take()?;
    let wallet = if config.wallet { Some(open_wallet(context)?) } else { None };
    if wallet.as_ref().is_some_and(|wallet| !wallet.keys_locked()) {
        super::notice(&context.output.bad(KEYS_NOT_LOCKED));
    }
    let options =
        Options { network: context.network.clone(), paths: context.paths.clone(), config, wallet, find_for, lock };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(run_node(context, options))
}

async fn run_node(context: &Context, options: Options) -> Outcome {
    // Signals are caught from here on, so that one that comes during the start is not lost.
    let stop = stop_signal()?;
    outlive_broken_streams()?;
    let running = node::start(options).await?;
    let node = running.node();
    let ready = Ready {
        network: node.network().name().to_owned(),
        address: node.mail().map(|mail| mail.address().to_string()),
        peer: node.p2p().peer_id().to_owned(),
        listen: node.p2p().listen_addresses().iter().map(ToString::to_string).collect(),
        api: running.api().to_string(),
        finds_for: node.finders().len(),
    };
    context.output.show(&ready, text)?;
    let result = tokio::select! {
        () = stop => Ok(()),
        ended = running.ended() => ended,
        () = tell_progress(Arc::clone(node), context.output.is_json()) => Ok(()),
    };
    let stopped = running.shutdown().await;
    result.and(stopped)
}

/// What takes long: how much of it is done, and of how much.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Long {
    CatchingUp { peers: usize, came: u64, left: u64 },
    Scanning { done: u64, total: u64 },
}

impl Long {
    /// What is under way. Catching up comes first: scanning follows it all the time.
    async fn of(node: &Node) -> Result<Option<Self>, DriverError> {
        let syncing = node.p2p().status().await?.syncing.filter(|sync| sync.gained > 0 || sync.left > 0);
        let catching_up = |sync: Syncing| Self::CatchingUp { peers: sync.peers, came: sync.gained, left: sync.left };
        let scanning = || node.mail()?.scanning().map(|scan| Self::Scanning { done: scan.done, total: scan.total });
        Ok(syncing.map(catching_up).or_else(scanning))
    }

    fn done_of(self) -> (u64, u64) {
        match self {
            Self::CatchingUp { came, left, .. } => (came, came.saturating_add(left)),
            Self::Scanning { done, total } => (done, total),
        }
    }

    fn say(self) {
        match self {
            Self::CatchingUp { peers, came, left } => {
                tracing::info!(peers, came, at_least_left = left, "catching up");
            }
            Self::Scanning { done, total } => tracing::info!(done, total, "looking for messages to this wallet"),
        }
    }
}

/// Tells how what takes long goes: a bar at a terminal, else a line in the log now and then. Ends with the network.
async fn tell_progress(node: Arc<Node>, json: bool) {
    let mut bar = None;
    let mut said: Option<(Instant, Discriminant<Long>)> = None;
    while let Ok(long) = Long::of(&node).await {
        match long {
            Some(long) => {
                let kind = mem::discriminant(&long);
                if said.is_some_and(|(_, before)| before != kind) {
                    (bar, said) = (None, None);
                }
                let (done, total) = long.done_of();
                bar.get_or_insert_with(|| Bar::start(json)).update(done, total);
                if said.is_none_or(|(at, _)| at.elapsed() >= SAY_EVERY) {
                    said = Some((Instant::now(), kind));
                    long.say();
                }
            }
            // Wiped away when it is dropped.
            None => (bar, said) = (None, None),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    std::future::pending().await
}

fn text(ready: &Ready) -> String {
    let who = ready.address.clone().unwrap_or_else(|| "a relay, without a wallet".to_owned());
    let listen: String =
        ready.listen.iter().map(|address| format!("  listens on {address}/p2p/{}\n", ready.peer)).collect();
    let finds = match ready.finds_for {
        0 => String::new(),
        1 => format!("  finds for one scan key, and hands over at {}\n", ready.api),
        count => format!("  finds for {count} scan keys, and hands over at {}\n", ready.api),
    };
    format!("running on network {} as {who}\n{listen}{finds}Ctrl-C stops it.", ready.network)
}

/// Has the process outlive a stream that its reader has closed, as Rust's programs do: writing gives an error. Trying to begin
/// anew takes that back, and where it failed a peer that hangs up would end the node.
fn outlive_broken_streams() -> Outcome {
    // What is caught once stays caught.
    #[cfg(unix)]
    drop(catch(SignalKind::pipe())?);
    Ok(())
}

#[cfg(unix)]
fn catch(kind: SignalKind) -> Outcome<Signal> {
    signal(kind).map_err(|error| Failure::failed(format!("cannot catch signals: {error}")))
}

/// Ends when the process is asked to stop.
fn stop_signal() -> Outcome<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        let (mut interrupt, mut terminate) = (catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?);
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}

fn open_wallet(context: &Context) -> Outcome<Wallet> {
    let dir = context.paths.wallet();
    if !Wallet::exists(&dir).map_err(Failure::failed)? {
        return offer_wallet(context);
    }
    let secret = passphrase::existing(context.passphrase_file.as_deref())?;
    Wallet::open(&dir, &context.network, &secret, node::now()).map_err(Failure::failed)
}

/// There is no wallet yet: on a terminal, make one if the person wants it.
fn offer_wallet(context: &Context) -> Outcome<Wallet> {
    let advice = format!(
        "there is no wallet in {} yet; make one with: qasedak --data {} --network {} init, or run as a relay with: run --no-wallet",
        context.paths.wallet().display(),
        context.paths.data().display(),
        context.network.name(),
    );
    if !std::io::stdin().is_terminal() {
        return Err(Failure::failed(advice));
    }
    let mut out = std::io::stdout();
    let asked = write!(out, "There is no wallet here yet. Make one now? [y/N] ").and_then(|()| out.flush());
    asked.map_err(|error| Failure::failed(format!("cannot ask: {error}")))?;
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Failure::failed(format!("cannot read the answer: {error}")))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { init::create(context, None) } else { Err(Failure::failed(advice)) }
}
