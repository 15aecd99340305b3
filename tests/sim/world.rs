//! The nodes, the queue of what is to happen, and the loop.
//!
//! Everything that happens is an event with a virtual time and a number, taken in that order. Nothing else decides what
//! comes next, so a seed gives the same run each time; [`World::trace`] is a hash over all of it.

use std::{
    collections::BTreeMap,
    io::{BufWriter, Write},
};

use qasedak_chain::{Network, Position, Time, Transaction, TxId, rules::Verified, time::DAY_SECS};
use qasedak_engine::engine::{Fault, Input, Output, Peer, Token};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    maker::{self, Draft},
    net::{Link, Packet},
    node::{KEPT_MS, Message, Node},
    oracle::Oracle,
    plan::Act,
};

/// How much is gathered of what happened before it is hashed.
const NOTED_BYTES: usize = 64 * 1_024;

/// The true time at which every run begins: late enough that clocks may be days behind and still behind the network's
/// start.
pub fn start() -> Time {
    Network::dev().start().plus(40 * DAY_SECS + DAY_SECS / 3)
}

/// What is to happen.
pub enum Event {
    Tick {
        node: usize,
        boot: u32,
    },
    /// Something that a node's own machine tells its engine.
    Input {
        node: usize,
        boot: u32,
        input: Box<Input>,
    },
    Packet {
        link: usize,
        epoch: u32,
        to: usize,
        packet: Packet,
    },
    BeginFlush {
        node: usize,
        boot: u32,
    },
    EndFlush {
        node: usize,
        boot: u32,
    },
    LinkUp {
        link: usize,
    },
    /// What the plan holds.
    Act(Act),
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub events: u64,
    pub written: u64,
    pub crashes: u64,
    pub banned: u64,
    /// Transactions that honest nodes were sent by honest nodes in answers.
    pub served: u64,
    /// Records that honest nodes stored.
    pub stored: u64,
}

/// A transaction that honest nodes have stored.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// When it was seen first.
    pub first_ms: u64,
    /// At how many of them it was seen.
    pub holders: usize,
}

/// See the module's page.
pub struct World {
    pub network: Network,
    pub rng: StdRng,
    pub now_ms: u64,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    pub nodes: Vec<Node>,
    pub links: Vec<Link>,
    pub oracle: Oracle,
    /// What honest nodes have stored; once it is calm, what was looked at since then.
    pub shown: BTreeMap<TxId, Shown>,
    /// With gossip off, every message is lost on its way.
    pub gossip: bool,
    pub calm: bool,
    /// How often the power goes in the middle of a flush.
    pub struck_percent: u32,
    /// Time between two ticks of an engine.
    pub tick_ms: u64,
    pub next_number: u64,
    pub next_name: u64,
    pub next_token: u64,
    pub counts: Counts,
    /// What happened, gathered: a long piece is hashed several times faster than the same bytes line by line.
    noted: BufWriter<blake3::Hasher>,
}

impl World {
    /// Nodes without links, all of them honest. Those for whom `on_disk` says so keep their ledger in a directory.
    pub fn new(seed: u64, count: usize, on_disk: impl Fn(usize) -> bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let nodes = (0..count).map(|number| Node::new(number, rng.random(), on_disk(number))).collect();
        let mut world = Self {
            network: Network::dev(),
            rng,
            now_ms: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            nodes,
            links: Vec::new(),
            oracle: Oracle::new(Network::dev()),
            shown: BTreeMap::new(),
            gossip: true,
            calm: false,
            struck_percent: 0,
            tick_ms: 1_000,
            next_number: 1,
            next_name: 1_000_000,
            next_token: 1,
            counts: Counts::default(),
            noted: BufWriter::with_capacity(NOTED_BYTES, blake3::Hasher::new()),
        };
        for node in 0..count {
            let phase_ms = world.rng.random_range(0..world.tick_ms);
            world.after(phase_ms, Event::Tick { node, boot: 0 });
        }
        world
    }

    /// A hash over everything that any engine was told and said.
    pub fn trace(&self) -> [u8; 32] {
        *self.noted.get_ref().clone().update(self.noted.buffer()).finalize().as_bytes()
    }

    pub fn after(&mut self, delay_ms: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now_ms + delay_ms, self.sequence), event);
    }

    pub fn input(&mut self, delay_ms: u64, node: usize, input: Input) {
        let boot = self.nodes[node].boot;
        self.after(delay_ms, Event::Input { node, boot, input: Box::new(input) });
    }

    /// Runs for so long.
    pub fn run(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end_ms {
                break;
            }
            let ((at_ms, _), event) = entry.remove_entry();
            self.now_ms = self.now_ms.max(at_ms);
            self.happen(event);
        }
        self.now_ms = end_ms;
    }

    /// All machines sleep for so long: clocks go on, nothing else does.
    pub fn sleep(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    pub fn honest(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_honest())
    }

    fn happen(&mut self, event: Event) {
        self.counts.events += 1;
        match event {
            Event::Tick { node, boot } => {
                if self.nodes[node].boot == boot {
                    self.after(self.tick_ms, Event::Tick { node, boot });
                    self.feed(node, Input::Tick);
                    self.look_at(node);
                }
            }
            Event::Input { node, boot, input } => {
                if self.nodes[node].boot == boot {
                    self.feed(node, *input);
                }
            }
            Event::Packet { link, epoch, to, packet } => {
                if self.links[link].carries(epoch) {
                    self.arrives(link, to, packet);
                }
            }
            Event::BeginFlush { node, boot } => {
                if self.nodes[node].boot == boot {
                    self.begin_flush(node);
                }
            }
            Event::EndFlush { node, boot } => {
                if self.nodes[node].boot == boot {
                    self.end_flush(node);
                }
            }
            Event::LinkUp { link } => self.link_up(link),
            Event::Act(act) => self.act(act),
        }
    }

    /// Notes something in the trace.
    pub fn note(&mut self, node: usize, what: u8, number: u64, bytes: &[u8]) {
        let mut line = [0; 25];
        line[..8].copy_from_slice(&self.now_ms.to_le_bytes());
        line[8..16].copy_from_slice(&(node as u64).to_le_bytes());
        line[16] = what;
        line[17..].copy_from_slice(&number.to_le_bytes());
        // A hash takes everything.
        self.noted.write_all(&line).unwrap();
        self.noted.write_all(bytes).unwrap();
    }

    /// Hands an engine an input and does what it says. What packets hold is noted where they arrive.
    pub fn feed(&mut self, at: usize, input: Input) {
        let now_ms = self.now_ms;
        self.note(at, 11, kind_of(&input), &[]);
        let node = &mut self.nodes[at];
        if !node.up {
            return;
        }
        let out = node.engine.handle(input, node.now(now_ms), &mut node.ledger);
        for output in out {
            self.obey(at, output);
        }
    }

    fn obey(&mut self, at: usize, output: Output) {
        match output {
            Output::Judge { token, from, verdict } => {
                self.note(at, 1, token.0, &[verdict as u8]);
                self.judged(at, token, from, verdict);
            }
            Output::Check { token, transaction } => {
                self.note(at, 2, token.0, transaction.id().as_bytes());
                let verdict = self.oracle.check(*transaction);
                let rule = verdict.as_ref().err().map(|rule| format!("{rule:?}"));
                self.note(at, 12, token.0, rule.unwrap_or_default().as_bytes());
                let delay_ms = self.rng.random_range(1..6);
                self.input(delay_ms, at, Input::Checked { token, verdict });
            }
            Output::Publish { id, bytes } => {
                self.note(at, 3, 0, id.as_bytes());
                self.note(at, 3, 1, &bytes);
                let sent = self.publish(at, bytes);
                self.input(1, at, Input::Published { id, sent });
            }
            Output::Ask { peer, token, request } => {
                let bytes = request.to_bytes().expect("a question that fits");
                self.note(at, 4, token.0, &bytes);
                self.ask(at, peer, token, bytes);
            }
            Output::Answer { token, response } => {
                let bytes = response.to_bytes().expect("an answer that fits");
                self.note(at, 5, token.0, &bytes);
                self.answer(at, token, response, bytes);
            }
            Output::Keep(_) | Output::Compared { .. } => {}
            Output::Grown => self.grown(at),
            Output::Released(ids) => {
                let bytes: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
                self.note(at, 6, ids.len() as u64, &bytes);
                self.release(at, &ids);
            }
            Output::StoreFailed(what) => {
                assert!(self.nodes[at].failing_until_ms > 0, "node {at}: the store failed by itself: {what}");
                self.grown(at);
            }
            Output::Disconnect { peer, fault } => {
                self.note(at, 7, peer.0, format!("{fault:?}").as_bytes());
                self.let_go(at, peer, fault);
            }
        }
    }

    /// The log grew: a flush begins soon, unless one is under way.
    pub fn grown(&mut self, at: usize) {
        let delay_ms = self.rng.random_range(0..4);
        let node = &mut self.nodes[at];
        node.grown = true;
        if node.flush.is_none() && !node.flush_due {
            node.flush_due = true;
            let boot = node.boot;
            self.after(delay_ms, Event::BeginFlush { node: at, boot });
        }
    }

    fn begin_flush(&mut self, at: usize) {
        let (now_ms, delay_ms) = (self.now_ms, self.rng.random_range(2..60));
        let node = &mut self.nodes[at];
        node.flush_due = false;
        node.grown = false;
        let count = node.ledger.summary().count;
        let Some(flush) = node.ledger.flush(node.now(now_ms).system).expect("a flush begins") else {
            return;
        };
        node.flush = Some((flush, count));
        let boot = node.boot;
        self.after(delay_ms, Event::EndFlush { node: at, boot });
        if self.struck_percent > 0 && !self.calm && self.rng.random_range(0..100) < self.struck_percent {
            self.after(delay_ms - 1, Event::Act(Act::Crash(at)));
            self.after(delay_ms + 1_000, Event::Act(Act::Restart(at)));
        }
    }

    fn end_flush(&mut self, at: usize) {
        let now_ms = self.now_ms;
        let node = &mut self.nodes[at];
        let boot = node.boot;
        let Some((flush, count)) = node.flush.take() else {
            return;
        };
        if now_ms < node.failing_until_ms {
            node.ledger.flushed(false);
            node.flush_due = true;
            return self.after(1_000, Event::BeginFlush { node: at, boot });
        }
        flush.run().expect("a disk that is well");
        node.ledger.flushed(true);
        node.acknowledged(count);
        let again = node.grown;
        self.note(at, 8, count, &[]);
        self.feed(at, Input::Durable(Position::new(count)));
        if again {
            self.grown(at);
        }
    }

    /// The outbox lets go of what is durably in the log.
    fn release(&mut self, at: usize, ids: &[TxId]) {
        let node = &mut self.nodes[at];
        for id in ids {
            let position = node.ledger.position(id).unwrap();
            let durable = position.is_some_and(|at| at.get() < node.durable.len() as u64);
            assert!(durable, "node {at}: the outbox lets go of what is not durable");
            node.outbox.remove(id);
        }
    }

    fn let_go(&mut self, at: usize, peer: Peer, fault: Fault) {
        let Some(link) = self.nodes[at].peers.get(&peer).copied() else {
            return;
        };
        let other = self.links[link].other(at);
        let both_honest = self.nodes[at].is_honest() && self.nodes[other].is_honest();
        assert!(!both_honest, "node {at} lets the honest node {other} go: {fault:?}");
        self.counts.banned += 1;
        self.cut(link, 1);
        if self.nodes[at].is_honest() {
            self.turned_out(link, other);
        }
    }

    /// A message's verdict.
    fn judged(&mut self, at: usize, token: Token, from: Peer, verdict: qasedak_engine::engine::Verdict) {
        let open = self.nodes[at].open.remove(&token);
        let Some((message, since_ms)) = open else {
            panic!("node {at}: a second verdict, or one on nothing");
        };
        if verdict == qasedak_engine::engine::Verdict::Accept && self.now_ms - since_ms < KEPT_MS {
            let but = self.nodes[at].peers.get(&from).copied();
            self.spread(at, but, &message);
        }
    }

    /// A node's own machine puts a transaction into its outbox.
    pub fn own(&mut self, at: usize, verified: Verified) {
        self.nodes[at].outbox.insert(verified.transaction().id(), verified.clone());
        self.input(0, at, Input::Own(Box::new(verified)));
    }

    /// An honest node writes a message. Parents and time come from its ledger, as in the program.
    pub fn write(&mut self, at: usize, lifetime_secs: u32) -> Option<Transaction> {
        let now_ms = self.now_ms;
        let node = &mut self.nodes[at];
        if !node.up {
            return None;
        }
        let system = node.now(now_ms).system;
        let (parents, time) = node.ledger.next_place(system, &mut self.rng).unwrap();
        let clock = node.ledger.clock(system);
        assert!(time <= clock, "node {at}: its next message would be dated {time}, its clock shows {clock}");
        for parent in &parents {
            assert!(
                node.has_for_good(parent),
                "node {at}: its next message would name {parent}, which a crash could take"
            );
        }
        let draft = Draft { parents, time, lifetime_secs, body_len: 512, number: self.number() };
        let transaction = maker::made_up(&self.network, &draft);
        let verified = self.oracle.paid(&transaction);
        self.oracle.is_sound(&transaction, true);
        self.counts.written += 1;
        self.own(at, verified);
        Some(transaction)
    }

    pub fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    pub fn crash(&mut self, at: usize) {
        self.counts.crashes += 1;
        for link in self.nodes[at].links.clone() {
            self.cut(link, 5_000);
        }
        let mut rng = StdRng::from_seed(self.rng.random());
        self.nodes[at].crash(&mut rng);
        let count = self.nodes[at].ledger.summary().count;
        self.note(at, 9, count, &[]);
    }

    pub fn restart(&mut self, at: usize) {
        let (seed, now_ms) = (self.rng.random(), self.now_ms);
        let node = &mut self.nodes[at];
        if node.up {
            return;
        }
        node.start(seed, now_ms);
        let boot = node.boot;
        for verified in node.outbox.values().cloned().collect::<Vec<_>>() {
            self.feed(at, Input::Own(Box::new(verified)));
        }
        self.after(self.tick_ms, Event::Tick { node: at, boot });
        for link in self.nodes[at].links.clone() {
            self.bring_up(link);
        }
    }

    /// A message as gossip names it.
    pub fn message(bytes: Vec<u8>) -> Message {
        Message { id: qasedak_engine::wire::gossip_message_id(&bytes), bytes: bytes.into() }
    }
}

/// Which kind of input it is, for the trace.
fn kind_of(input: &Input) -> u64 {
    match input {
        Input::Connected { .. } => 0,
        Input::Disconnected(_) => 1,
        Input::Subscribed(_) => 2,
        Input::Gossip { .. } => 3,
        Input::Unheard(_) => 4,
        Input::Asked { .. } => 5,
        Input::Answered { .. } => 6,
        Input::Failed { .. } => 7,
        Input::Unsupported { .. } => 8,
        Input::Checked { .. } => 9,
        Input::Own(_) => 10,
        Input::Published { .. } => 11,
        Input::Durable(_) => 12,
        Input::Signed(_) => 13,
        Input::Compare { .. } => 14,
        Input::Follow(_) => 15,
        Input::Tick => 16,
    }
}
