//! Eight processes that are killed, stopped, frozen and started again at random while all of them that have a wallet
//! send: nothing acknowledged is lost, and in the end all hold the same set.
//!
//! Half a minute here; two minutes with `QASEDAK_SOAK=1`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;

use crate::harness::{Node, run, seed, wait_for, wait_for_agreement};

const NODES: usize = 8;
/// Every other node has a wallet.
const WALLETS: usize = NODES / 2;
/// How long what follows the storm may take: eight nodes dial each other again after pauses of up to a minute.
const PATIENCE: Duration = Duration::from_secs(240);

/// A message that a node has acknowledged.
struct Sent {
    to: usize,
    text: String,
    id: String,
}

/// How often each thing was done to a node.
#[derive(Debug, Default)]
struct Blows {
    killed: usize,
    stopped: usize,
    frozen: usize,
}

#[test]
fn eight_processes_under_random_blows_lose_nothing() {
    let soak = std::env::var_os("QASEDAK_SOAK").is_some();
    let lasts = Duration::from_secs(if soak { 120 } else { 30 });
    let seed = seed();
    let home = tempfile::tempdir().unwrap();
    let mut nodes = fleet(home.path());
    let addresses: Vec<String> = nodes.iter().map(|node| node.listening().to_owned()).collect();
    let wallets: Vec<(PathBuf, String)> =
        (0..WALLETS).map(|nth| (nodes[nth * 2].data.clone(), nodes[nth * 2].address.clone())).collect();

    let until = Instant::now() + lasts;
    let (sent, blows): (Vec<Vec<Sent>>, Vec<Blows>) = thread::scope(|scope| {
        let senders: Vec<_> = (0..WALLETS)
            .map(|nth| {
                scope.spawn({
                    let wallets = &wallets;
                    move || send_until(wallets, nth, until)
                })
            })
            .collect();
        let lives = nodes.iter_mut().enumerate().map(|(nth, node)| {
            let peers = peers_of(nth, &addresses);
            let mut rng = StdRng::seed_from_u64(seed.wrapping_add(nth as u64));
            scope.spawn(move || live_until(node, &peers, &mut rng, until))
        });
        let lives: Vec<_> = lives.collect();
        let blows = lives.into_iter().map(|life| life.join().expect("life")).collect();
        (senders.into_iter().map(|sender| sender.join().expect("sender")).collect(), blows)
    });
    let sent: Vec<Sent> = sent.into_iter().flatten().collect();
    let times = |of: fn(&Blows) -> usize| blows.iter().map(of).sum::<usize>();
    let (killed, stopped, frozen) = (times(|one| one.killed), times(|one| one.stopped), times(|one| one.frozen));
    println!("{} acknowledged; {killed} kills, {stopped} stops, {frozen} freezes", sent.len());
    assert!(sent.len() > WALLETS && killed > 0 && stopped > 0 && frozen > 0, "the storm was none");
    settle(&mut nodes, &sent);
}

/// Eight nodes in a ring with chords, all of which have heard each other's cards.
fn fleet(home: &Path) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for nth in 0..NODES {
        let name = format!("n{nth}");
        let mut node = if nth % 2 == 0 { Node::with_wallet(home, &name) } else { Node::relay(home, &name) };
        node.log_level("warn");
        node.start(&nodes.last().into_iter().collect::<Vec<_>>());
        nodes.push(node);
    }
    for nth in 0..WALLETS {
        let next = nodes[(nth + 1) % WALLETS * 2].address.clone();
        // A stranger may have no more than a few messages wait.
        nodes[(nth + 1) % WALLETS * 2].json(&["contact", "add", "friend", &nodes[nth * 2].address]);
        nodes[nth * 2].send(&next, "ready");
    }
    nodes
}

/// The next one, and the one three further on.
fn peers_of(nth: usize, addresses: &[String]) -> Vec<String> {
    [1, 3].iter().map(|step| addresses[(nth + step) % NODES].clone()).collect()
}

/// Lets a node run, and then does something to it, over and over. In the end it runs.
fn live_until(node: &mut Node, peers: &[String], rng: &mut StdRng, until: Instant) -> Blows {
    let mut blows = Blows::default();
    let some = |rng: &mut StdRng, ms| Duration::from_millis(rng.random_range(0..ms));
    while Instant::now() < until {
        // The random moments themselves, not waits for anything.
        thread::sleep(some(rng, 4_000));
        match rng.random_range(0..3) {
            0 => {
                node.kill();
                blows.killed += 1;
            }
            1 => {
                node.stop();
                blows.stopped += 1;
            }
            _ => {
                node.signal("STOP");
                thread::sleep(some(rng, 4_000));
                node.signal("CONT");
                blows.frozen += 1;
                continue;
            }
        }
        thread::sleep(some(rng, 2_000));
        node.start_towards(peers);
    }
    blows
}

/// Sends to the next wallet without pause; returns what was acknowledged.
fn send_until(wallets: &[(PathBuf, String)], from: usize, until: Instant) -> Vec<Sent> {
    let to = (from + 1) % wallets.len();
    let mut sent = Vec::new();
    for number in 0.. {
        if Instant::now() >= until {
            break;
        }
        let text = format!("{from} says {number}");
        let output = run(&wallets[from].0, &["send", &wallets[to].1, &text]);
        if output.status.success() {
            let id = String::from_utf8(output.stdout).expect("text").trim().to_owned();
            sent.push(Sent { to, text, id });
        } else {
            // The node is down: not too many attempts a second.
            thread::sleep(Duration::from_millis(100));
        }
    }
    sent
}

/// Waits until all is calm, and looks for everything that was acknowledged.
fn settle(nodes: &mut [Node], sent: &[Sent]) {
    for node in nodes.iter().filter(|node| node.words.is_some()) {
        wait_for("empty outbox", PATIENCE, || (node.json(&["status"])["outbox"] == 0).then_some(()));
    }
    wait_for_agreement(&nodes.iter().collect::<Vec<_>>(), PATIENCE);
    // The digests are equal, so one ledger speaks for all.
    let held = ids_of(&nodes[1]);
    let lost: Vec<&String> = sent.iter().map(|one| &one.id).filter(|id| !held.contains(*id)).collect();
    assert!(lost.is_empty(), "lost of {}: {lost:?}", sent.len());
    for wallet in 0..WALLETS {
        let node = &nodes[wallet * 2];
        let wanted: BTreeSet<&str> = sent.iter().filter(|one| one.to == wallet).map(|one| &*one.text).collect();
        wait_for("every text", PATIENCE, || {
            let got = node.texts();
            wanted.iter().all(|text| got.iter().any(|one| one == text)).then_some(())
        });
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        node.texts().into_iter().for_each(|text| *counts.entry(text).or_default() += 1);
        let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "shown more than once: {twice:?}");
    }
    for node in nodes {
        node.stop();
        assert!(run(&node.data, &["audit", "verify"]).status.success(), "{}", node.data.display());
    }
}

/// The ids of all transactions of a node's ledger.
fn ids_of(node: &Node) -> BTreeSet<String> {
    let file = node.data.with_extension("jsonl");
    let export = run(&node.data, &["audit", "export", "-o", file.to_str().expect("a path in UTF-8")]);
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    let text = std::fs::read_to_string(file).expect("export");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter_map(|line| line["id"].as_str().map(str::to_owned)).collect()
}
