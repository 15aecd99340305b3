//! Links, gossip, questions and answers: what libp2p does, as far as it matters.
//!
//! A link is up or down, has a delay with some scatter, so that packets overtake one another, loses some and carries
//! some twice. When it is cut, what is under way is lost, and each end is told after a while. Gossip is a flood: a
//! message goes to all neighbours of a node once that has accepted it, and no node looks twice at a message with the
//! same id, which it remembers before validation, as gossipsub does. A question that is lost, or its answer, fails
//! at the asker after ten seconds, as in the driver.

use std::sync::Arc;

use qasedak_engine::{
    engine::{Input, Peer, Token},
    wire::{Request, Response},
};
use rand::RngExt;

use crate::{
    byzantine::Vice,
    node::{Message, Pending},
    world::{Event, World},
};

/// How long a question may take in the driver.
const REQUEST_MS: u64 = 10_000;
/// How long a dripper takes for an answer.
const DRIP_MS: u64 = 9_500;
/// Bytes that a link carries in a millisecond: 10 Mbit/s.
const BYTES_PER_MS: usize = 1_250;

/// What travels.
pub enum Packet {
    Gossip(Message),
    Question { token: Token, bytes: Arc<[u8]> },
    Answer { token: Token, bytes: Arc<[u8]> },
}

impl Packet {
    fn len(&self) -> usize {
        self.bytes().len()
    }
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Gossip(message) => &message.bytes,
            Self::Question { bytes, .. } | Self::Answer { bytes, .. } => bytes,
        }
    }
}

/// How good a link is.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    pub delay_ms: u64,
    pub scatter_ms: u64,
    pub loss_percent: u32,
    pub twice_percent: u32,
}

impl Quality {
    /// In the calm: quick, and nothing is lost.
    pub const GOOD: Self = Self { delay_ms: 20, scatter_ms: 20, loss_percent: 0, twice_percent: 0 };
}

/// A link between two nodes.
#[derive(Debug)]
pub struct Link {
    pub ends: [usize; 2],
    /// By which name each end knows the other one: `names[0]` is that of `ends[0]`.
    pub names: [u64; 2],
    pub quality: Quality,
    up: bool,
    /// Grows with every cut, so that nothing of before arrives after.
    epoch: u32,
    /// Both ends know of the cut from then on.
    free_ms: u64,
    /// The plan holds it down.
    pub held: bool,
}

impl Link {
    pub fn other(&self, end: usize) -> usize {
        if self.ends[0] == end { self.ends[1] } else { self.ends[0] }
    }
    pub fn carries(&self, epoch: u32) -> bool {
        self.up && self.epoch == epoch
    }
    /// The name of the other end, as `end` knows it.
    pub fn peer_of(&self, end: usize) -> Peer {
        Peer(if self.ends[0] == end { self.names[1] } else { self.names[0] })
    }
}

/// A key for each name, which nobody has to sign with.
fn key_of(name: u64) -> [u8; 32] {
    let mut key = [0x6b; 32];
    key[..8].copy_from_slice(&name.to_le_bytes());
    key
}

impl World {
    /// A link, still down.
    pub fn link(&mut self, a: usize, b: usize, quality: Quality) -> usize {
        let link = self.links.len();
        let names = [a as u64, b as u64];
        self.links.push(Link { ends: [a, b], names, quality, up: false, epoch: 0, free_ms: 0, held: false });
        self.nodes[a].links.push(link);
        self.nodes[b].links.push(link);
        link
    }

    pub fn are_linked(&self, a: usize, b: usize) -> bool {
        self.nodes[a].links.iter().any(|link| self.links[*link].other(a) == b)
    }

    /// Whether every link between two honest nodes carries what they send.
    pub fn honest_links_are_up(&self) -> bool {
        let honest = |link: &Link| link.ends.iter().all(|end| self.nodes[*end].is_honest());
        self.links.iter().filter(|link| honest(link)).all(|link| link.up)
    }

    /// Lets a link come up as soon as both ends know that it was down.
    pub fn bring_up(&mut self, link: usize) {
        let delay_ms = self.links[link].free_ms.saturating_sub(self.now_ms) + self.rng.random_range(1..400);
        self.after(delay_ms, Event::LinkUp { link });
    }

    pub fn link_up(&mut self, link: usize) {
        let now_ms = self.now_ms;
        let state = &mut self.links[link];
        let [a, b] = state.ends;
        if state.up || state.held || !self.nodes[a].up || !self.nodes[b].up {
            return;
        }
        if now_ms < state.free_ms {
            return self.bring_up(link);
        }
        state.up = true;
        for end in [a, b] {
            let peer = self.links[link].peer_of(end);
            self.nodes[end].peers.insert(peer, link);
            self.feed(end, Input::Connected { peer, key: key_of(peer.0) });
        }
        for end in [a, b] {
            let peer = self.links[link].peer_of(end);
            let delay_ms = self.rng.random_range(5..80);
            self.input(delay_ms, end, Input::Subscribed(peer));
        }
    }

    /// Cuts a link. Each end is told within `told_ms`.
    pub fn cut(&mut self, link: usize, told_ms: u64) {
        if !self.links[link].up {
            return;
        }
        self.links[link].up = false;
        self.links[link].epoch += 1;
        let mut last_ms = 0;
        for end in self.links[link].ends {
            let peer = self.links[link].peer_of(end);
            self.nodes[end].peers.remove(&peer);
            let delay_ms = self.rng.random_range(0..told_ms.max(1));
            last_ms = last_ms.max(delay_ms);
            self.input(delay_ms, end, Input::Disconnected(peer));
        }
        self.links[link].free_ms = self.now_ms + last_ms + 1;
    }

    /// Sends a packet; whether it was lost.
    pub fn send(&mut self, link: usize, to: usize, bytes: usize, packet: Packet) -> bool {
        let Quality { delay_ms, scatter_ms, loss_percent, twice_percent } = self.links[link].quality;
        if loss_percent > 0 && self.rng.random_range(0..100) < loss_percent {
            return false;
        }
        let epoch = self.links[link].epoch;
        let transfer_ms = (bytes / BYTES_PER_MS) as u64;
        let mut delay = || delay_ms + transfer_ms + self.rng.random_range(0..=scatter_ms);
        let (first_ms, second_ms) = (delay(), delay());
        if twice_percent > 0 && self.rng.random_range(0..100) < twice_percent {
            let copy = match &packet {
                Packet::Gossip(message) => Packet::Gossip(message.clone()),
                Packet::Question { token, bytes } => Packet::Question { token: *token, bytes: Arc::clone(bytes) },
                Packet::Answer { token, bytes } => Packet::Answer { token: *token, bytes: Arc::clone(bytes) },
            };
            self.after(second_ms, Event::Packet { link, epoch, to, packet: copy });
        }
        self.after(first_ms, Event::Packet { link, epoch, to, packet });
        true
    }

    pub fn arrives(&mut self, link: usize, to: usize, packet: Packet) {
        let from = self.links[link].peer_of(to);
        if !self.nodes[to].peers.contains_key(&from) {
            return;
        }
        self.note(to, 10, from.0, packet.bytes());
        match packet {
            Packet::Gossip(message) => self.hears(link, to, from, message),
            Packet::Question { token, bytes } => {
                let Ok(request) = Request::from_bytes(&bytes) else {
                    return self.feed(to, Input::Failed { peer: from, token: Token(u64::MAX), fault: true });
                };
                if let Some(list) = self.hoarded(to, &request) {
                    return self.serves_from_hoard(to, link, token, list);
                }
                let name = self.token();
                let epoch = self.links[link].epoch;
                self.nodes[to].pending.insert(name, Pending { link, epoch, token });
                self.feed(to, Input::Asked { from, token: name, request });
            }
            Packet::Answer { token, bytes } => match Response::from_bytes(&bytes) {
                Ok(response) => {
                    self.count_served(to, link, &response);
                    self.feed(to, Input::Answered { from, token, response });
                }
                Err(_) => self.feed(to, Input::Failed { peer: from, token, fault: true }),
            },
        }
    }

    fn count_served(&mut self, to: usize, link: usize, response: &Response) {
        let other = self.links[link].other(to);
        if let Response::Transactions(list) = response
            && self.nodes[to].is_honest()
            && self.nodes[other].is_honest()
        {
            self.counts.served += list.len() as u64;
        }
    }

    /// A gossip message comes in.
    fn hears(&mut self, link: usize, to: usize, from: Peer, message: Message) {
        let now_ms = self.now_ms;
        if !self.nodes[to].sees(message.id, now_ms) {
            return;
        }
        if !self.nodes[to].is_honest() {
            self.overhears(to, link, &message);
        }
        let token = self.token();
        let bytes = message.bytes.to_vec();
        self.nodes[to].open.insert(token, (message, now_ms));
        self.feed(to, Input::Gossip { from, token, bytes });
    }

    /// Publishes an own message; whether it went to at least one neighbour.
    pub fn publish(&mut self, at: usize, bytes: Vec<u8>) -> bool {
        let message = Self::message(bytes);
        // A duplicate has been sent before, as in the driver.
        if self.nodes[at].has_seen(&message.id, self.now_ms) {
            return true;
        }
        if self.nodes[at].peers.is_empty() {
            return false;
        }
        let now_ms = self.now_ms;
        self.nodes[at].sees(message.id, now_ms);
        self.spread(at, None, &message);
        true
    }

    /// Sends a message to all neighbours but the one it came from.
    pub fn spread(&mut self, at: usize, but: Option<usize>, message: &Message) {
        if !self.gossip || !self.relays(at) {
            return;
        }
        let links: Vec<usize> = self.nodes[at].peers.values().copied().collect();
        for link in links {
            let to = self.links[link].other(at);
            // It would be dropped on arrival all the same.
            if but != Some(link) && !self.nodes[to].has_seen(&message.id, self.now_ms) {
                self.send(link, to, message.bytes.len(), Packet::Gossip(message.clone()));
            }
        }
    }

    pub fn ask(&mut self, at: usize, peer: Peer, token: Token, bytes: Vec<u8>) {
        if let Some(link) = self.nodes[at].peers.get(&peer).copied() {
            let to = self.links[link].other(at);
            self.send(link, to, bytes.len(), Packet::Question { token, bytes: bytes.into() });
        }
        self.input(REQUEST_MS, at, Input::Failed { peer, token, fault: false });
    }

    /// Sends an answer, unless the one who asked is gone. Those that lie say something else.
    pub fn answer(&mut self, at: usize, token: Token, response: Response, bytes: Vec<u8>) {
        let Some(Pending { link, epoch, token }) = self.nodes[at].pending.remove(&token) else {
            panic!("node {at}: an answer without a question");
        };
        if !self.links[link].carries(epoch) {
            return;
        }
        let bytes = if self.nodes[at].is_honest() { Some(bytes) } else { self.twist(at, response, bytes) };
        let Some(bytes) = bytes else {
            return;
        };
        let (to, packet) = (self.links[link].other(at), Packet::Answer { token, bytes: bytes.into() });
        if self.has_vice(at, Vice::Drip) {
            return self.after(DRIP_MS, Event::Packet { link, epoch, to, packet });
        }
        self.send(link, to, packet.len(), packet);
    }
}
