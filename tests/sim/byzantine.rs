//! Nodes that lie.
//!
//! Each runs an engine and a ledger like everyone else, so that it knows what there is and is asked like everyone else;
//! what it says of it is another matter. It has one to three vices. When an honest node turns it out, it comes back
//! under a new name.
//!
//! | vice | does |
//! |---|---|
//! | `Garbage` | gossips and serves what breaks rules, each of them |
//! | `WrongBody` | passes on every right header with another body, or with none, and before everyone else |
//! | `Withhold` | lists everything and delivers nothing; takes its time, or says that it is busy; relays nothing |
//! | `Lie` | tells wrong digests, invented days, places and aliases, answers that belong to other questions |
//! | `Flood` | pays for many transactions at once and hangs them all on the same parents |
//! | `Dig` | pays for deep chains and shows their ends first, each to another node |
//! | `Misdate` | pays for transactions of long ago and of the far future, and for some dated before their parents |
//! | `Resign` | signs one core many times under one stamp, gossips some and lists others |
//! | `Replay` | says everything that it heard again, later |
//! | `Frame` | shows one node what it may not relay, so that others might ban that node |
//! | `Hide` | pays for transactions whose bodies it shows to nobody, of today and of the future |
//! | `Drip` | answers everything just before its time is over, mostly with one of the transactions that it was asked for |
//! | `Ask` | asks what is no question, and more than its share |
//!
//! What they answer stands in `lies`.

use std::{collections::BTreeMap, sync::Arc};

use qasedak_chain::{Time, Transaction, TxId, rules::Verified, time::DAY_SECS};
use qasedak_engine::{
    engine::Token,
    wire::{Request, Response},
};
use rand::RngExt;

use crate::{
    maker::{self, Draft},
    net::Packet,
    node::Message,
    plan::Act,
    stamped,
    world::{Event, World, start},
};

/// Most messages that it keeps for later.
const HEARD_MAX: usize = 64;
/// Questions at once for which a peer is let go: its share, what it may owe, and some more.
const FLOOD: usize = 700;
/// Most transactions that it pays for in a run.
const PAID_MAX: usize = 120;
/// How long a liar that was turned out stays away at least.
const AWAY_MS: u64 = 3_000;
/// The last minute that a transaction may be dated.
const LAST_MINUTE: u64 = ((1 << 40) - 1) / 60 * 60;

/// See the module's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vice {
    Garbage,
    WrongBody,
    Withhold,
    Lie,
    Flood,
    Dig,
    Misdate,
    Resign,
    Replay,
    Frame,
    Hide,
    Drip,
    Ask,
}

impl Vice {
    pub const ALL: [Self; 13] = [
        Self::Garbage,
        Self::WrongBody,
        Self::Withhold,
        Self::Lie,
        Self::Flood,
        Self::Dig,
        Self::Misdate,
        Self::Resign,
        Self::Replay,
        Self::Frame,
        Self::Hide,
        Self::Drip,
        Self::Ask,
    ];
}

/// What makes a node a liar.
#[derive(Debug, Default)]
pub struct Liar {
    pub vices: Vec<Vice>,
    /// What it paid for, whether it showed it or not.
    hoard: BTreeMap<TxId, Arc<[u8]>>,
    heard: Vec<Message>,
}

impl Liar {
    pub fn new(vices: Vec<Vice>) -> Self {
        Self { vices, ..Self::default() }
    }
    pub fn has(&self, vice: Vice) -> bool {
        self.vices.contains(&vice)
    }
}

impl World {
    pub fn has_vice(&self, at: usize, vice: Vice) -> bool {
        self.nodes[at].liar.as_ref().is_some_and(|liar| liar.has(vice))
    }

    /// Whether a node passes on what it accepted.
    pub fn relays(&self, at: usize) -> bool {
        !self.has_vice(at, Vice::Withhold)
    }

    /// An honest node turned this liar out: it comes back under another name.
    pub fn turned_out(&mut self, link: usize, liar: usize) {
        let end = usize::from(self.links[link].ends[1] == liar);
        self.next_name += 1;
        self.links[link].names[end] = self.next_name;
        let away_ms = AWAY_MS + self.rng.random_range(0..20_000);
        self.after(away_ms, Event::LinkUp { link });
    }

    /// One of its links, and the node at the other end.
    fn victim(&mut self, at: usize) -> Option<(usize, usize)> {
        let links: Vec<usize> = self.nodes[at].peers.values().copied().collect();
        let link = *links.get(self.rng.random_range(0..links.len().max(1)))?;
        Some((link, self.links[link].other(at)))
    }

    /// Gossips bytes to one neighbour.
    pub fn whisper(&mut self, at: usize, bytes: Vec<u8>) {
        if let Some((link, to)) = self.victim(at) {
            let message = Self::message(bytes);
            self.send(link, to, message.bytes.len(), Packet::Gossip(message));
        }
    }

    /// It heard a message, before it accepted it.
    pub fn overhears(&mut self, at: usize, link: usize, message: &Message) {
        if let Some(liar) = &mut self.nodes[at].liar
            && liar.heard.len() < HEARD_MAX
        {
            liar.heard.push(message.clone());
        }
        if !self.has_vice(at, Vice::WrongBody) || self.rng.random_range(0..4) > 0 {
            return;
        }
        let links: Vec<usize> = self.nodes[at].peers.values().copied().filter(|other| *other != link).collect();
        for link in links {
            let to = self.links[link].other(at);
            let mut bytes = message.bytes.to_vec();
            match self.rng.random_range(0..4) {
                0 => bytes.truncate(bytes.len().saturating_sub(512)),
                1 => bytes.truncate(bytes.len().saturating_sub(1)),
                _ => bytes.last_mut().into_iter().for_each(|last| *last ^= 1),
            }
            let wrong = Self::message(bytes);
            self.send(link, to, wrong.bytes.len(), Packet::Gossip(wrong));
        }
    }

    /// It does something of its own accord.
    pub fn mischief(&mut self, at: usize) {
        let Some(liar) = &self.nodes[at].liar else {
            return;
        };
        let vice = liar.vices[self.rng.random_range(0..liar.vices.len())];
        match vice {
            Vice::Garbage => {
                let broken = &stamped::all().broken;
                let bytes = broken[self.rng.random_range(0..broken.len())].clone();
                self.whisper(at, bytes);
            }
            Vice::Resign => {
                let resigned = &stamped::all().resigned;
                let bytes = resigned[self.rng.random_range(0..resigned.len())].to_bytes();
                self.whisper(at, bytes);
            }
            Vice::Replay => self.say_again(at),
            Vice::Flood if !self.calm => self.flood(at),
            Vice::Dig if !self.calm => self.dig(at),
            Vice::Misdate if !self.calm => self.misdate(at),
            Vice::Frame if !self.calm => self.frame(at),
            Vice::Hide if !self.calm => self.hide(at),
            Vice::Ask => self.asks_too_much(at),
            _ => {}
        }
        let pause_ms = self.rng.random_range(500..3_000);
        self.after(pause_ms, Event::Act(Act::Mischief(at)));
    }

    fn say_again(&mut self, at: usize) {
        let heard = self.nodes[at].liar.as_ref().map_or(0, |liar| liar.heard.len());
        if heard > 0 {
            let which = self.rng.random_range(0..heard);
            let bytes = self.nodes[at].liar.as_ref().unwrap().heard[which].bytes.to_vec();
            self.whisper(at, bytes);
        }
    }

    /// Pays for a transaction.
    pub fn pays(&mut self, at: usize, parents: Vec<TxId>, time: Time, sound: bool) -> Transaction {
        let draft = Draft { parents, time, lifetime_secs: 30 * 86_400, body_len: 512, number: self.number() };
        let transaction = maker::made_up(&self.network, &draft);
        self.oracle.paid(&transaction);
        if sound {
            self.oracle.is_sound(&transaction, false);
        }
        let bytes: Arc<[u8]> = transaction.to_bytes().into();
        self.nodes[at].liar.as_mut().unwrap().hoard.insert(transaction.id(), bytes);
        transaction
    }

    /// A transaction whose body nobody ever sees, in its own ledger: others find the header by sync.
    fn hide(&mut self, at: usize) {
        if !self.can_pay(at) || !self.nodes[at].up {
            return;
        }
        let (parents, place) = self.place(at);
        let (parents, time) = match self.rng.random_range(0..4) {
            0 => (vec![self.network.genesis()], start().rounded_down().plus(3 * DAY_SECS)),
            1 => (vec![self.network.genesis()], start().rounded_down().plus(6 * DAY_SECS)),
            _ => (parents, place),
        };
        let whole = self.pays(at, parents, time, true);
        let header = Transaction::new(&self.network, whole.header().clone(), None).unwrap();
        self.nodes[at].liar.as_mut().unwrap().hoard.remove(&whole.id());
        let now_ms = self.now_ms;
        let node = &mut self.nodes[at];
        let system = node.now(now_ms).system;
        // A failing disk takes nothing in; then it paid for nothing.
        if node.ledger.append_header_alone(Verified::unchecked(header), system).is_ok() {
            self.grown(at);
        }
    }

    /// Bytes that are no question, or so many questions that it has to be let go for them.
    fn asks_too_much(&mut self, at: usize) {
        let Some((link, to)) = self.victim(at) else {
            return;
        };
        let question = Request::Days { from: 0 }.to_bytes().unwrap();
        let many = self.rng.random_range(0..8) == 0;
        for _ in 0..if many { FLOOD } else { 1 } {
            let mut bytes = question.clone();
            if !many {
                let cut = self.rng.random_range(0..bytes.len());
                bytes.truncate(cut);
                bytes.extend((0..self.rng.random_range(0..40)).map(|_| self.rng.random::<u8>()).collect::<Vec<u8>>());
            }
            let token = self.token();
            self.send(link, to, bytes.len(), Packet::Question { token, bytes: bytes.into() });
        }
    }

    fn can_pay(&self, at: usize) -> bool {
        self.nodes[at].liar.as_ref().is_some_and(|liar| liar.hoard.len() < PAID_MAX)
    }

    /// Parents and time as an honest node would take them.
    fn place(&mut self, at: usize) -> (Vec<TxId>, Time) {
        let now_ms = self.now_ms;
        let node = &mut self.nodes[at];
        let system = node.now(now_ms).system;
        node.ledger.next_place(system, &mut self.rng).unwrap()
    }

    fn flood(&mut self, at: usize) {
        let (parents, time) = self.place(at);
        let genesis = vec![self.network.genesis()];
        for number in 0..self.rng.random_range(1..12) {
            if self.can_pay(at) {
                let parents = if number % 3 == 0 { genesis.clone() } else { parents.clone() };
                let bytes = self.pays(at, parents, time, true).to_bytes();
                self.whisper(at, bytes);
            }
        }
    }

    /// A chain, sometimes with a comb of eight parents at its end; the newest is shown first.
    fn dig(&mut self, at: usize) {
        let (mut parents, time) = self.place(at);
        let mut made: Vec<Transaction> = Vec::new();
        for _ in 0..self.rng.random_range(2..24) {
            if self.can_pay(at) {
                let next = self.pays(at, parents.clone(), time, true);
                parents = vec![next.id()];
                made.push(next);
            }
        }
        if made.len() >= 8 {
            let comb = made.iter().rev().take(8).map(Transaction::id).collect();
            let comb = self.pays(at, comb, time, true);
            made.push(comb);
        }
        let shown = self.rng.random_range(1..=made.len().max(1));
        for transaction in made.iter().rev().take(shown) {
            self.whisper(at, transaction.to_bytes());
        }
    }

    /// Transactions of long ago and of the far future; and children that are older than their parents.
    fn misdate(&mut self, at: usize) {
        if !self.can_pay(at) {
            return;
        }
        let genesis = vec![self.network.genesis()];
        let now = start().rounded_down();
        let times = [
            self.network.start(),
            Time::from_secs(now.secs() - 20 * DAY_SECS),
            now.plus(DAY_SECS),
            now.plus(3 * DAY_SECS),
            now.plus(400 * DAY_SECS),
            Time::from_secs(LAST_MINUTE),
        ];
        let time = times[self.rng.random_range(0..times.len())];
        let first = self.pays(at, genesis, time, true);
        self.whisper(at, first.to_bytes());
        if time.secs() < LAST_MINUTE && self.rng.random_range(0..2) == 0 {
            let child = self.pays(at, vec![first.id()], time.plus(60), true);
            self.whisper(at, child.to_bytes());
        } else {
            let earlier = Time::from_secs(time.secs() - 60);
            if earlier >= self.network.start() {
                let child = self.pays(at, vec![first.id()], earlier, false);
                self.whisper(at, child.to_bytes());
            }
        }
    }

    /// A child that is older than its parent, shown before the parent: whoever relays it before it knows the parent is
    /// banned by everyone who does.
    fn frame(&mut self, at: usize) {
        if !self.can_pay(at) {
            return;
        }
        let (parents, time) = self.place(at);
        let parent = self.pays(at, parents, time, true);
        let child = self.pays(at, vec![parent.id()], Time::from_secs(time.secs() - 60), false);
        let grandchild = self.pays(at, vec![child.id()], time, false);
        let Some((link, to)) = self.victim(at) else {
            return;
        };
        // Everyone else has the parent.
        let links: Vec<usize> = self.nodes[at].peers.values().copied().filter(|other| *other != link).collect();
        for link in links {
            let other = self.links[link].other(at);
            let message = Self::message(parent.to_bytes());
            self.send(link, other, message.bytes.len(), Packet::Gossip(message));
        }
        for shown in [grandchild, child] {
            let message = Self::message(shown.to_bytes());
            self.send(link, to, message.bytes.len(), Packet::Gossip(message));
        }
    }

    /// It serves what it paid for to those who ask for it by name, as long as it has not calmed down; and what it listed
    /// without having paid for it, always.
    pub fn hoarded(&self, at: usize, request: &Request) -> Option<Vec<Vec<u8>>> {
        let liar = self.nodes[at].liar.as_ref()?;
        let Request::Transactions { ids, .. } = request else {
            return None;
        };
        if liar.has(Vice::Resign)
            && let Some(listed) = stamped::all().resigned.iter().find(|one| ids.contains(one.id().as_bytes()))
        {
            return Some(vec![listed.to_bytes()]);
        }
        if self.calm {
            return None;
        }
        let found: Vec<Vec<u8>> =
            ids.iter().filter_map(|id| liar.hoard.get(&TxId::from_bytes(*id))).map(|bytes| bytes.to_vec()).collect();
        (!found.is_empty()).then_some(found)
    }

    /// Sends an answer of its own to a question that it knows the answer to.
    pub fn serves_from_hoard(&mut self, at: usize, link: usize, token: Token, list: Vec<Vec<u8>>) {
        if let Ok(bytes) = Response::Transactions(list).to_bytes() {
            let to = self.links[link].other(at);
            self.send(link, to, bytes.len(), Packet::Answer { token, bytes: bytes.into() });
        }
    }
}
