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
//! | `Lie` | tells wrong digests, invented days and places, answers that belong to other questions |
//! | `Flood` | pays for many transactions at once and hangs them all on the same parents |
//! | `Dig` | pays for deep chains and shows their ends first, each to another node |
//! | `Misdate` | pays for transactions of long ago and of the far future, and for some dated before their parents |
//! | `Resign` | signs one core many times under one stamp |
//! | `Replay` | says everything that it heard again, later |
//! | `Frame` | shows one node what it may not relay, so that others might ban that node |

use std::{collections::BTreeMap, sync::Arc};

use qasedak_chain::{Time, Transaction, TxId, time::DAY_SECS};
use qasedak_engine::{
    engine::Token,
    wire::{DayDigest, Place, Request, Response},
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
}

impl Vice {
    pub const ALL: [Self; 10] = [
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
    fn has_vice(&self, at: usize, vice: Vice) -> bool {
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
    fn whisper(&mut self, at: usize, bytes: Vec<u8>) {
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
    fn pays(&mut self, at: usize, parents: Vec<TxId>, time: Time, sound: bool) -> Transaction {
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

    /// What it answers instead; `None` when it keeps silent.
    pub fn twist(&mut self, at: usize, response: Response, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let liar = self.nodes[at].liar.as_ref()?;
        let vice = liar.vices[self.rng.random_range(0..liar.vices.len())];
        let twisted = match vice {
            Vice::Withhold => match (self.rng.random_range(0..4), &response) {
                (0, _) => return None,
                (1, _) => Response::Busy,
                (_, Response::Transactions(_)) => Response::Transactions(Vec::new()),
                _ => return Some(bytes),
            },
            Vice::Lie if self.rng.random_range(0..2) == 0 => self.lie(response),
            Vice::Garbage if self.rng.random_range(0..3) == 0 => self.spoil(response)?,
            Vice::WrongBody => self.without_bodies(response),
            _ => return Some(bytes),
        };
        Some(twisted.to_bytes().unwrap_or_else(|_| vec![0xff; 40]))
    }

    fn lie(&mut self, response: Response) -> Response {
        let day = start().day();
        let number = self.rng.random_range(0..40);
        let (id, digest): ([u8; 32], [u8; 32]) = (self.rng.random(), self.rng.random());
        match (self.rng.random_range(0..5), response) {
            (0, Response::Digest { .. }) => Response::Days(Vec::new()),
            (_, Response::Digest { count, .. }) => Response::Digest { count: count + number, digest },
            (0, Response::Days(_)) => Response::Digest { count: number, digest },
            (_, Response::Days(mut days)) => {
                days.iter_mut().for_each(|day| day.digest[0] ^= 1);
                let last = days.last().map_or(day, |last| last.day);
                days.push(DayDigest { day: last + 1 + number, count: number + 1, digest });
                Response::Days(days)
            }
            (0, Response::Day(_)) => Response::Day(Vec::new()),
            (1, Response::Day(_)) => Response::Transactions(Vec::new()),
            (_, Response::Day(mut places)) => {
                let time = places.last().map_or(day * DAY_SECS, |last| last.time);
                let depth = places.last().map_or(1, |last| last.depth + 1);
                places.push(Place { time, depth, id });
                Response::Day(places)
            }
            (0, Response::Transactions(mut list)) => {
                list.reverse();
                Response::Transactions(list)
            }
            (1, Response::Transactions(mut list)) => {
                list.extend(stamped::all().sound.iter().map(Transaction::to_bytes));
                Response::Transactions(list)
            }
            (_, Response::Transactions(_)) => Response::Transactions(Vec::new()),
            (_, other) => other,
        }
    }

    /// One transaction of a page is broken, or the whole answer is.
    fn spoil(&mut self, response: Response) -> Option<Response> {
        let broken = &stamped::all().broken;
        let bytes = broken[self.rng.random_range(0..broken.len())].clone();
        match response {
            Response::Transactions(mut list) if !list.is_empty() => {
                let at = self.rng.random_range(0..list.len());
                list[at] = bytes;
                Some(Response::Transactions(list))
            }
            other => Some(other),
        }
    }

    /// Right headers, and no bodies or wrong ones.
    fn without_bodies(&mut self, response: Response) -> Response {
        let Response::Transactions(mut list) = response else {
            return response;
        };
        let wrong = self.rng.random_range(0..8) == 0;
        for bytes in &mut list {
            let Ok(transaction) = Transaction::from_bytes(&self.network, bytes) else {
                continue;
            };
            // See decision 0029: what nobody has the body of cannot be had by those whose clocks run ahead.
            let honest = self.oracle.sound().get(&transaction.id()).is_some_and(|sound| sound.honest);
            if wrong {
                *bytes.last_mut().unwrap() ^= 1;
            } else if honest && transaction.body().is_some() {
                bytes.truncate(bytes.len() - 512);
            }
        }
        Response::Transactions(list)
    }

    /// It serves what it paid for to those who ask for it by name, as long as it has not calmed down.
    pub fn hoarded(&self, at: usize, request: &Request) -> Option<Vec<Vec<u8>>> {
        let liar = self.nodes[at].liar.as_ref().filter(|_| !self.calm)?;
        let Request::Transactions { ids, .. } = request else {
            return None;
        };
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
