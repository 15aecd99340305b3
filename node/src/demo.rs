//! `qasedak demo`: the whole of Qasedak in ten seconds, on this machine, with nothing faked.
//!
//! Three real nodes on 127.0.0.1 with files of their own: Ann, a relay without a wallet, and Bob. Ann and Bob know
//! only the relay. What is printed comes out of these nodes; the demo fails when any of it is not so.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use qasedak_chain::{Network, TxId, audit, retention::Keep, store::Body, transaction::LIFETIME_DEFAULT_SECS};
use qasedak_wallet::{KdfCost, Phrase, Wallet, display::safe_text};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    cli::output::{Output, fields},
    config::{self, Config},
    failure::{Failure, Outcome, io_failure},
    mail::{Mail, NewLetter},
    node::{self, Node, Options, Running, now, rng},
    paths::Paths,
};

/// The longest that any step may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

const MESSAGE: &str = "Salaam Bob, did the seeds reach you?";
const REPLY: &str = "They did. The wind was kind.";

/// What `demo --json` prints.
#[derive(Debug, Serialize)]
struct Summary {
    message: String,
    reply: String,
    digest: String,
    block: u64,
    chain: String,
    transactions: u64,
    audit_intact: bool,
    damage_found: String,
    seconds: f64,
}

/// Runs the demo and prints it as it goes.
///
/// # Errors
/// [`Failure`] at the first step that does not go as it must.
pub fn demo(output: Output) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(play(output))
}

/// Prints the story unless JSON was asked for.
struct Story(Output);

impl Story {
    fn tell(&self, title: &str, rows: &[(&str, String)]) -> Outcome {
        if self.0.is_json() {
            return Ok(());
        }
        let indented: String = fields(rows).lines().map(|row| format!("   {row}\n")).collect();
        self.0.line(&format!("{}\n{indented}", self.0.bold(title)))
    }
}

async fn play(output: Output) -> Outcome {
    let started = Instant::now();
    let story = Story(output);
    let home =
        tempfile::tempdir().map_err(|error| Failure::failed(format!("cannot make a temporary directory: {error}")))?;
    let network = Network::named("demo").map_err(Failure::failed)?;
    let (relay, ann, bob) = start_nodes(&network, home.path()).await?;
    introduce(&story, &relay, &ann, &bob)?;
    let first = converse(&story, &relay, &ann, &bob).await?;
    let agreed = agree(&story, [&ann, &relay, &bob]).await?;
    let ledger = relay_paths(home.path(), &network)?.ledger();
    for running in [ann, bob, relay] {
        running.shutdown().await?;
    }
    let transactions = verify_intact(&story, &network, &ledger)?;
    let damage = verify_damaged(&story, &network, &ledger, home.path(), &first)?;
    let seconds = started.elapsed().as_secs_f64();
    let summary = Summary {
        message: MESSAGE.to_owned(),
        reply: REPLY.to_owned(),
        digest: agreed.digest,
        block: agreed.block,
        chain: agreed.chain,
        transactions,
        audit_intact: true,
        damage_found: damage,
        seconds,
    };
    output.show(&summary, |summary| format!("{} in {:.1} s", output.good("all of it held"), summary.seconds))
}

fn relay_paths(home: &Path, network: &Network) -> Outcome<Paths> {
    Paths::new(Some(home.join("relay")), network.name())
}

async fn start_nodes(network: &Network, home: &Path) -> Outcome<(Running, Running, Running)> {
    let relay = start_node(network, relay_paths(home, network)?, &[], None).await?;
    let meet: Vec<_> = relay.node().p2p().listen_addresses();
    let mut people = Vec::new();
    for name in ["ann", "bob"] {
        let paths = Paths::new(Some(home.join(name)), network.name())?;
        paths.create()?;
        let (dir, network_of_wallet) = (paths.wallet(), network.clone());
        let made = tokio::task::spawn_blocking(move || make_wallet(&dir, &network_of_wallet)).await;
        let wallet = made.map_err(|_| Failure::failed("making a wallet broke off"))??;
        people.push(start_node(network, paths, &meet, Some(wallet)).await?);
    }
    match <[Running; 2]>::try_from(people) {
        Ok([ann, bob]) => Ok((relay, ann, bob)),
        Err(_) => Err(Failure::failed("the nodes did not start")),
    }
}

fn make_wallet(dir: &Path, network: &Network) -> Outcome<Wallet> {
    let mut rng = rng()?;
    let phrase = Phrase::generate(&mut rng).map_err(Failure::failed)?;
    let passphrase = Zeroizing::new(hex::encode(node::random::<16>()?));
    Wallet::create(dir, network, &phrase, &passphrase, KdfCost::STANDARD, now(), &mut rng).map_err(Failure::failed)
}

async fn start_node(
    network: &Network,
    paths: Paths,
    peers: &[qasedak_p2p::Multiaddr],
    wallet: Option<Wallet>,
) -> Outcome<Running> {
    let lock = paths.take()?;
    let any_port = |text: &str| text.parse().map_err(|_| Failure::failed("the demo's own address is not valid"));
    let config = Config {
        keep: Keep::default(),
        daily_bytes: config::DAILY_BYTES_DEFAULT.bytes(),
        listen: vec![any_port("/ip4/127.0.0.1/tcp/0")?],
        peers: peers.to_vec(),
        api: ([127, 0, 0, 1], 0).into(),
        mdns: false,
        log: String::new(),
        wallet: wallet.is_some(),
        find_for: Vec::new(),
    };
    let find_for = Vec::new();
    node::start(Options { network: network.clone(), paths, config, wallet, find_for, lock }).await
}

fn mail(running: &Running) -> Outcome<&Arc<Mail>> {
    running.node().mail().ok_or_else(|| Failure::failed("a node of the demo has no wallet"))
}

fn introduce(story: &Story, relay: &Running, ann: &Running, bob: &Running) -> Outcome {
    story.tell(
        "Three nodes on this machine. Ann and Bob know only the relay.",
        &[
            ("Ann", mail(ann)?.address().to_string()),
            ("Bob", mail(bob)?.address().to_string()),
            (
                "relay",
                format!(
                    "no wallet, {}",
                    relay.node().p2p().listen_addresses().first().map_or(String::new(), ToString::to_string)
                ),
            ),
        ],
    )
}

/// Ann writes to Bob, Bob answers. Returns the id of Ann's transaction.
async fn converse(story: &Story, relay: &Running, ann: &Running, bob: &Running) -> Outcome<TxId> {
    let sent = deliver(ann, bob, MESSAGE).await?;
    let sealed = body_at(relay.node(), sent.id).await?;
    let shown: String = sealed.get(..24).unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect();
    let gist = sealed.windows(MESSAGE.len()).any(|window| window == MESSAGE.as_bytes());
    if gist {
        return Err(Failure::failed("the relay can read the message: this must never happen, please report it"));
    }
    story.tell(
        "Ann writes to Bob: knowing his address is enough, his card is on the ledger.",
        &[
            ("Ann sends", MESSAGE.to_owned()),
            ("transaction", sent.id.to_string()),
            ("stamp", format!("{} ms of work", sent.stamping_ms)),
            ("the relay has", format!("{} sealed bytes: {shown}…", sealed.len())),
            ("Bob opens", format!("{} ms after it was sent: {}", sent.after_ms, safe_text(&sent.opened))),
        ],
    )?;
    let reply = deliver(bob, ann, REPLY).await?;
    story.tell("Bob answers.", &[("transaction", reply.id.to_string()), ("Ann opens", safe_text(&reply.opened))])?;
    Ok(sent.id)
}

struct Delivery {
    id: TxId,
    stamping_ms: u64,
    after_ms: u128,
    opened: String,
}

async fn deliver(from: &Running, to: &Running, text: &str) -> Outcome<Delivery> {
    let (sender, receiver) = (mail(from)?, mail(to)?);
    let address = receiver.address().to_string();
    // What strangers send waits among the requests.
    receiver.add_contact("friend", &sender.address().to_string()).await.map_err(Failure::failed)?;
    // The receiver's card has to travel first: the send is refused until it is there.
    let until = Instant::now() + PATIENCE;
    let sent = loop {
        let (to, text) = (address.clone(), text.to_owned());
        match sender
            .send(NewLetter {
                to,
                text,
                lifetime_secs: LIFETIME_DEFAULT_SECS,
                reply_to: None,
                despite_key_change: false,
            })
            .await
        {
            Ok(sent) => break sent,
            Err(error) if Instant::now() > until => return Err(Failure::failed(error)),
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    };
    let at = Instant::now();
    let messages = receiver.inbox(0, 1, PATIENCE).await.map_err(Failure::failed)?;
    let opened = messages.into_iter().next().filter(|letter| letter.text == text && letter.stored.tx_id == sent.id);
    let opened = opened.ok_or_else(|| Failure::failed("the message was not opened in time; run the demo again"))?;
    Ok(Delivery { id: sent.id, stamping_ms: sent.stamping_ms, after_ms: at.elapsed().as_millis(), opened: opened.text })
}

async fn body_at(node: &Node, id: TxId) -> Outcome<Vec<u8>> {
    let body = node.with_ledger(move |ledger| {
        ledger.position(&id)?.map(|at| qasedak_chain::store::Store::body(ledger.store(), at)).transpose()
    });
    match body.await.map_err(Failure::failed)? {
        Some(Body::Present(body)) => Ok(body),
        _ => Err(Failure::failed("the relay does not have the sealed message; run the demo again")),
    }
}

struct Agreed {
    digest: String,
    block: u64,
    chain: String,
}

/// Waits until all nodes derive the same block and the same digest.
async fn agree(story: &Story, nodes: [&Running; 3]) -> Outcome<Agreed> {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut views = Vec::new();
        for running in nodes {
            let view = running
                .node()
                .with_ledger(|ledger| Ok((ledger.summary().digest, ledger.newest_block(ledger.clock(now()))?)));
            views.push(view.await.map_err(Failure::failed)?);
        }
        if let [(digest, Some(block)), ..] = views.as_slice()
            && views.iter().all(|view| view.0 == *digest && view.1 == Some(*block))
        {
            story.tell(
                "All three hold the same set, in whatever order it reached them, and derive the same block.",
                &[
                    ("digest", digest.to_string()),
                    ("block", format!("{}, {} transactions", block.number, block.count)),
                    ("chain", block.chain.to_string()),
                ],
            )?;
            return Ok(Agreed { digest: digest.to_string(), block: block.number, chain: block.chain.to_string() });
        }
        if Instant::now() > until {
            return Err(Failure::failed("the three nodes did not agree in time; run the demo again"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn verify_intact(story: &Story, network: &Network, ledger: &Path) -> Outcome<u64> {
    let report = audit::verify(ledger, network, now(), &mut |_| {}).map_err(Failure::failed)?;
    if let Some(finding) = report.findings.first() {
        return Err(Failure::failed(format!("the audit found damage where there must be none: {finding}")));
    }
    story.tell(
        "audit verify on the relay's files: every stamp, signature, parent, link and body checks.",
        &[("transactions", report.count.to_string()), ("link", report.link.to_string())],
    )?;
    Ok(report.count)
}

/// Changes one byte of Ann's transaction in a copy of the relay's log; returns what the audit says of it.
fn verify_damaged(story: &Story, network: &Network, ledger: &Path, home: &Path, id: &TxId) -> Outcome<String> {
    let copy = home.join("copy");
    copy_dir(ledger, &copy).map_err(io_failure("cannot copy the log to", &copy))?;
    let (file, offset) = flip_byte_behind(&copy.join("headers"), id.as_bytes())?;
    let report = audit::verify(&copy, network, now(), &mut |_| {}).map_err(Failure::failed)?;
    let wanted = id.to_string();
    let named = report.findings.iter().map(ToString::to_string).find(|finding| finding.contains(&wanted));
    let named =
        named.ok_or_else(|| Failure::failed("the audit did not name the damaged transaction; please report this"))?;
    story.tell(
        "One byte is changed in a copy of the relay's log. The audit names the transaction.",
        &[("changed", format!("byte {offset} of {file}")), ("the audit says", named.clone())],
    )?;
    Ok(named)
}

fn copy_dir(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?
        } else {
            fs::copy(entry.path(), target).map(drop)?
        }
    }
    Ok(())
}

/// Flips a bit of the header that follows the given id in a segment; says where.
fn flip_byte_behind(dir: &Path, id: &[u8; 32]) -> Outcome<(String, usize)> {
    /// Far enough behind the id to lie in the header itself.
    const INTO_HEADER: usize = 100;
    for entry in fs::read_dir(dir).map_err(io_failure("cannot read", dir))?.flatten() {
        let path = entry.path();
        let mut bytes = fs::read(&path).map_err(io_failure("cannot read", &path))?;
        let found = bytes.windows(id.len()).position(|window| window == id);
        let Some(offset) = found.map(|at| at + INTO_HEADER) else {
            continue;
        };
        if let Some(byte) = bytes.get_mut(offset) {
            *byte ^= 1;
            fs::write(&path, &bytes).map_err(io_failure("cannot write", &path))?;
            return Ok((entry.file_name().to_string_lossy().into_owned(), offset));
        }
    }
    Err(Failure::failed("the copy of the log does not hold the transaction"))
}
