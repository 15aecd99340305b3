//! A network of engines in one thread: messages, verdicts and questions travel with delays that follow from the order
//! in which they were sent, so a run is the same each time.
//!
//! It behaves as libp2p does where that matters: gossip drops what a node has seen before (by message, not by
//! transaction) before the engine hears of it, forwards only what was accepted while the cache still has it, and
//! refuses to publish what it has seen; requests and responses pass through their encoding.

use std::collections::{BTreeMap, BTreeSet};

use qasedak_chain::{
    Ledger, Network, Position, Transaction, TxId,
    book::Entry,
    checkpoint::Checkpoint,
    rules::{self, Verified},
    store::memory::MemoryStore,
};

use super::make;
use crate::{
    engine::{
        Engine, Fault, Input, Now, Output, Peer, Token, Verdict,
        comparison::{CompareError, report::Report},
    },
    wire::{Request, Response, gossip_message_id},
};

/// How long gossip keeps a message.
const CACHE_MS: u64 = 5_000;

pub(super) struct Node {
    pub(super) engine: Engine,
    pub(super) ledger: Ledger<MemoryStore>,
    /// What the disk keeps for the outbox.
    pub(super) outbox: BTreeMap<TxId, Verified>,
    seen: BTreeSet<[u8; 32]>,
    /// Messages whose verdict is open: their bytes and when they came.
    open: BTreeMap<Token, (Vec<u8>, u64)>,
    /// Questions of others: who asked, and under which token.
    asked: BTreeMap<Token, (usize, Token)>,
    pub(super) running: bool,
}

pub(super) struct Net {
    pub(super) nodes: Vec<Node>,
    links: BTreeSet<(usize, usize)>,
    queue: BTreeMap<(u64, u64), (usize, Input)>,
    pub(super) now_ms: u64,
    sent: u64,
    /// Whether messages are gossiped at all.
    pub(super) gossip: bool,
    /// Nodes that never answer.
    pub(super) mute: BTreeSet<usize>,
    pub(super) faults: Vec<(usize, Peer, Fault)>,
    /// What engines wanted kept.
    pub(super) kept: Vec<(usize, Entry)>,
    pub(super) compared: Vec<(usize, Result<Box<Report>, CompareError>)>,
    pub(super) verdicts: BTreeMap<(usize, Token), Vec<Verdict>>,
    /// How many transactions each node was sent in answers.
    sent_in_answers: BTreeMap<usize, usize>,
    /// How many questions were asked.
    pub(super) questions: usize,
    /// Hash over everything that any engine said.
    pub(super) trace: blake3::Hasher,
}

impl Net {
    pub(super) fn new(nodes: usize, seed: u8) -> Self {
        let node = |number: usize| Node {
            engine: Engine::new(Network::dev(), [seed.wrapping_add(number as u8); 32]),
            ledger: Ledger::open(Network::dev(), MemoryStore::new()).unwrap(),
            outbox: BTreeMap::new(),
            seen: BTreeSet::new(),
            open: BTreeMap::new(),
            asked: BTreeMap::new(),
            running: true,
        };
        Self {
            nodes: (0..nodes).map(node).collect(),
            links: BTreeSet::new(),
            queue: BTreeMap::new(),
            now_ms: 0,
            sent: 0,
            gossip: true,
            mute: BTreeSet::new(),
            faults: Vec::new(),
            kept: Vec::new(),
            compared: Vec::new(),
            verdicts: BTreeMap::new(),
            sent_in_answers: BTreeMap::new(),
            questions: 0,
            trace: blake3::Hasher::new(),
        }
    }

    fn now(&self) -> Now {
        Now { system: make::noon().plus(self.now_ms / 1_000), elapsed_ms: self.now_ms }
    }

    fn post(&mut self, delay_ms: u64, to: usize, input: Input) {
        self.sent += 1;
        // Some scatter, so that nothing arrives in order by mere luck.
        let scatter = self.sent * 7 % 13;
        self.queue.insert((self.now_ms + delay_ms + scatter, self.sent), (to, input));
    }

    fn linked(&self, a: usize, b: usize) -> bool {
        self.links.contains(&(a.min(b), a.max(b)))
    }

    fn neighbours(&self, node: usize) -> Vec<usize> {
        (0..self.nodes.len()).filter(|other| self.linked(node, *other)).collect()
    }

    pub(super) fn link(&mut self, a: usize, b: usize) {
        self.links.insert((a.min(b), a.max(b)));
        for (node, other) in [(a, b), (b, a)] {
            self.post(0, node, make::connected(other as u64));
            self.post(40, node, Input::Subscribed(Peer(other as u64)));
        }
    }

    pub(super) fn cut(&mut self, a: usize, b: usize) {
        self.links.remove(&(a.min(b), a.max(b)));
        self.post(0, a, Input::Disconnected(Peer(b as u64)));
        self.post(0, b, Input::Disconnected(Peer(a as u64)));
    }

    pub(super) fn line(nodes: usize, seed: u8) -> Self {
        let mut net = Self::new(nodes, seed);
        (1..nodes).for_each(|node| net.link(node - 1, node));
        net
    }

    /// Puts transactions straight into a node's log, as if it had long had them.
    pub(super) fn give(&mut self, node: usize, transactions: &[Transaction]) {
        let now = self.now().system;
        let ledger = &mut self.nodes[node].ledger;
        for transaction in transactions {
            ledger.append(make::verified(&Network::dev(), transaction), now, false).unwrap();
        }
        ledger.flush_now(now).unwrap();
    }

    /// A node makes a transaction.
    pub(super) fn own(&mut self, node: usize, transaction: &Transaction) {
        let verified = make::verified(&Network::dev(), transaction);
        self.nodes[node].outbox.insert(transaction.id(), verified.clone());
        self.post(0, node, Input::Own(Box::new(verified)));
    }

    /// A node is asked to compare itself with another.
    pub(super) fn compare(&mut self, node: usize, with: usize) {
        self.post(0, node, Input::Compare { peer: Peer(with as u64), token: Token(node as u64), from: 0 });
    }

    /// A node signs a checkpoint over what it has, all of which is durable in this network.
    pub(super) fn sign(&mut self, node: usize) {
        use ed25519_dalek::Signer;
        let (network, key, now) = (Network::dev(), make::peer_key(node as u64), self.now().system);
        let Some(statement) = self.nodes[node].ledger.statement([node as u8; 16], now).unwrap() else {
            return;
        };
        let checkpoint = Checkpoint::new(&network, statement).unwrap();
        let public = key.verifying_key().to_bytes();
        let signed = checkpoint.sign(&network, public, |message| key.sign(message).to_bytes()).unwrap();
        self.post(0, node, Input::Signed(Box::new(signed)));
    }

    /// Power cut and restart: what was not flushed is gone, the outbox is not.
    pub(super) fn restart(&mut self, node: usize) {
        for other in self.neighbours(node) {
            self.cut(node, other);
        }
        self.queue.retain(|_, (to, _)| *to != node);
        let old = &mut self.nodes[node];
        old.ledger = Ledger::open(Network::dev(), old.ledger.store().crashed()).unwrap();
        old.engine = Engine::new(Network::dev(), [200; 32]);
        old.seen.clear();
        old.open.clear();
        old.asked.clear();
        let kept: Vec<Verified> = old.outbox.values().cloned().collect();
        kept.into_iter().for_each(|own| self.post(0, node, Input::Own(Box::new(own))));
    }

    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            let next_tick = (self.now_ms / 1_000 + 1) * 1_000;
            let next = self.queue.first_key_value().map_or(u64::MAX, |(key, _)| key.0);
            if next.min(next_tick) > end {
                self.now_ms = end;
            } else if next <= next_tick {
                let ((at, _), (to, input)) = self.queue.pop_first().unwrap();
                self.now_ms = self.now_ms.max(at);
                self.feed(to, input);
            } else {
                self.now_ms = next_tick;
                (0..self.nodes.len()).for_each(|node| self.feed(node, Input::Tick));
            }
        }
    }

    fn feed(&mut self, at: usize, input: Input) {
        let now = self.now();
        let node = &mut self.nodes[at];
        if !node.running {
            return;
        }
        let out = node.engine.handle(input, now, &mut node.ledger);
        for output in out {
            self.trace.update(format!("{} {at} {output:?}\n", self.now_ms).as_bytes());
            self.obey(at, output);
        }
    }

    fn obey(&mut self, at: usize, output: Output) {
        match output {
            Output::Judge { token, from, verdict } => self.judged(at, token, from, verdict),
            Output::Check { token, transaction } => {
                let verdict = rules::verify(&Network::dev(), *transaction).map(Box::new);
                self.post(3, at, Input::Checked { token, verdict });
            }
            Output::Publish { id, bytes } => {
                let sent = self.gossip && !self.neighbours(at).is_empty();
                if sent && self.nodes[at].seen.insert(gossip_message_id(&bytes)) {
                    self.spread(at, None, &bytes);
                }
                self.post(1, at, Input::Published { id, sent });
            }
            Output::Ask { peer, token, request } => self.question(at, peer.0 as usize, token, &request),
            Output::Answer { token, response } => {
                let response = Response::from_bytes(&response.to_bytes().unwrap()).unwrap();
                let Some((asker, token)) = self.nodes[at].asked.remove(&token) else {
                    panic!("an answer without a question");
                };
                if let Response::Transactions(list) = &response {
                    *self.sent_in_answers.entry(asker).or_default() += list.len();
                }
                if self.linked(at, asker) && !self.mute.contains(&at) {
                    self.post(10, asker, Input::Answered { from: Peer(at as u64), token, response });
                }
            }
            Output::Grown => {
                let now = self.now().system;
                let ledger = &mut self.nodes[at].ledger;
                ledger.flush_now(now).unwrap();
                let durable = Position::new(ledger.summary().count);
                self.post(5, at, Input::Durable(durable));
            }
            Output::Keep(entry) => self.kept.push((at, *entry)),
            Output::Compared { result, .. } => self.compared.push((at, result)),
            Output::Released(ids) => ids.iter().for_each(|id| drop(self.nodes[at].outbox.remove(id))),
            Output::StoreFailed(what) => panic!("{what}"),
            Output::Disconnect { peer, fault } => {
                self.faults.push((at, peer, fault));
                self.cut(at, peer.0 as usize);
            }
        }
    }

    fn judged(&mut self, at: usize, token: Token, from: Peer, verdict: Verdict) {
        self.verdicts.entry((at, token)).or_default().push(verdict);
        let (bytes, since_ms) = self.nodes[at].open.remove(&token).expect("one verdict for each message");
        if verdict == Verdict::Accept {
            assert!(self.now_ms - since_ms < CACHE_MS, "the message is gone from the cache");
            self.spread(at, Some(from), &bytes);
        }
    }

    /// Sends a message to all neighbours of a node but the one it came from.
    fn spread(&mut self, at: usize, but: Option<Peer>, bytes: &[u8]) {
        for other in self.neighbours(at) {
            if but == Some(Peer(other as u64)) || !self.gossip || !self.nodes[other].running {
                continue;
            }
            if self.nodes[other].seen.insert(gossip_message_id(bytes)) {
                self.sent += 1;
                let token = Token(1_000_000 + self.sent);
                self.nodes[other].open.insert(token, (bytes.to_vec(), self.now_ms + 10));
                self.post(10, other, Input::Gossip { from: Peer(at as u64), token, bytes: bytes.to_vec() });
            }
        }
    }

    fn question(&mut self, at: usize, to: usize, token: Token, request: &Request) {
        self.sent += 1;
        self.questions += usize::from(!matches!(request, Request::Checkpoint { .. }));
        let request = Request::from_bytes(&request.to_bytes().unwrap()).unwrap();
        let from = Peer(at as u64);
        if !self.linked(at, to) || !self.nodes[to].running {
            return self.post(10, at, Input::Failed { peer: Peer(to as u64), token, fault: false });
        }
        let name = Token(2_000_000 + self.sent);
        self.nodes[to].asked.insert(name, (at, token));
        self.post(10, to, Input::Asked { from, token: name, request });
    }

    /// How many transactions a node was sent in answers to its questions.
    pub(super) fn transactions_sent(&self, to: usize) -> usize {
        self.sent_in_answers.get(&to).copied().unwrap_or_default()
    }

    pub(super) fn count(&self, node: usize) -> u64 {
        self.nodes[node].ledger.summary().count
    }

    /// All nodes hold the same `count` transactions, nobody was blamed, and no verdict is open or was given twice.
    pub(super) fn assert_converged(&self, count: usize) {
        assert_eq!(self.faults, Vec::new());
        let digest = self.nodes[0].ledger.summary().digest;
        for (number, node) in self.nodes.iter().enumerate() {
            let summary = node.ledger.summary();
            assert_eq!(summary.count, count as u64, "node {number}: {:?}", node.engine.status());
            assert_eq!(summary.digest, digest, "node {number}");
            assert_eq!(node.open.len(), 0, "node {number} has open verdicts");
        }
        assert!(self.verdicts.values().all(|given| given.len() == 1));
    }
}
