//! Who is connected. A peer is counted once, however many connections it has, and is told to the engine from the
//! moment that it is known to be of this network until its last connection ends.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};
use qasedak_chain::Time;

use super::{PeerInfo, Transport};
use crate::{
    engine::{comparison::CompareError, io::Peer},
    transport,
};

/// Longest agent name that is kept, in characters.
const AGENT_MAX_CHARS: usize = 64;

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: ConnectionId,
    pub(super) address: Multiaddr,
    pub(super) inbound: bool,
    pub(super) since: Time,
}

/// What the engine knows of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing: it has not shown yet that it is of this network.
    Unknown,
    /// This number.
    Announced(Peer),
    /// It was let go: its last words are not passed on.
    LetGo,
}

#[derive(Debug)]
struct Entry {
    standing: Standing,
    links: Vec<Link>,
    agent: String,
    opened: Instant,
}

/// The outcome of announcing a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// The engine does not know it yet.
    New(Peer),
    /// The engine knows it.
    Known(Peer),
}

/// All peers with a connection. The swarm's limits bound them.
#[derive(Debug, Default)]
pub(super) struct Peers {
    entries: HashMap<PeerId, Entry>,
    /// By number, which is the order of contact.
    announced: BTreeMap<Peer, PeerId>,
    next: u64,
}

impl Peers {
    pub(super) fn opened(&mut self, id: PeerId, link: Link, now: Instant) {
        let entry = self.entries.entry(id).or_insert_with(|| Entry {
            standing: Standing::Unknown,
            links: Vec::new(),
            agent: String::new(),
            opened: now,
        });
        entry.links.push(link);
    }

    /// Returns the peer's number when this was the last connection of a peer that the engine knows.
    pub(super) fn closed(&mut self, id: &PeerId, link: ConnectionId) -> Option<Peer> {
        let entry = self.entries.get_mut(id)?;
        entry.links.retain(|other| other.id != link);
        if !entry.links.is_empty() {
            return None;
        }
        match self.entries.remove(id)?.standing {
            Standing::Announced(number) => {
                self.announced.remove(&number);
                Some(number)
            }
            Standing::Unknown | Standing::LetGo => None,
        }
    }

    /// A peer has shown that it is of this network. `None` when it is not connected, or was let go.
    pub(super) fn announce(&mut self, id: &PeerId) -> Option<Announced> {
        let entry = self.entries.get_mut(id)?;
        match entry.standing {
            Standing::Announced(number) => Some(Announced::Known(number)),
            Standing::LetGo => None,
            Standing::Unknown => {
                let number = Peer(self.next);
                self.next = self.next.saturating_add(1);
                entry.standing = Standing::Announced(number);
                self.announced.insert(number, *id);
                Some(Announced::New(number))
            }
        }
    }

    /// Nothing of this peer is passed on any more. Returns its number if the engine knew it.
    pub(super) fn let_go(&mut self, id: &PeerId) -> Option<Peer> {
        let entry = self.entries.get_mut(id)?;
        match std::mem::replace(&mut entry.standing, Standing::LetGo) {
            Standing::Announced(number) => {
                self.announced.remove(&number);
                Some(number)
            }
            Standing::Unknown | Standing::LetGo => None,
        }
    }

    pub(super) fn id(&self, number: Peer) -> Option<PeerId> {
        self.announced.get(&number).copied()
    }

    /// The one announced peer whose id as text begins like this.
    ///
    /// # Errors
    /// [`CompareError`] when there is none, or more than one.
    pub(super) fn beginning_with(&self, begins: &str) -> Result<(Peer, PeerId), CompareError> {
        let mut found = self.announced.iter().filter(|(_, id)| id.to_string().starts_with(begins));
        match (found.next(), found.next()) {
            (Some((number, id)), None) => Ok((*number, *id)),
            (None, _) => Err(CompareError::NotConnected),
            (Some(_), Some(_)) => Err(CompareError::Ambiguous),
        }
    }

    pub(super) fn is_connected(&self, id: &PeerId) -> bool {
        self.entries.contains_key(id)
    }

    /// Keeps what a peer calls its program. It is shown on terminals, so only printable ASCII is kept.
    pub(super) fn set_agent(&mut self, id: &PeerId, agent: &str) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.agent = agent.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(AGENT_MAX_CHARS).collect();
        }
    }

    /// Peers that have been connected for `patience` and never showed that they are of this network.
    pub(super) fn strangers(&self, now: Instant, patience: Duration) -> Vec<PeerId> {
        let waited = |entry: &Entry| now.saturating_duration_since(entry.opened) >= patience;
        let unknown = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.standing != Standing::LetGo)
            .filter(|(_, entry)| !matches!(entry.standing, Standing::Announced(_)) && waited(entry));
        unknown.map(|(id, _)| *id).collect()
    }

    /// All that the engine knows.
    pub(super) fn ids(&self) -> impl Iterator<Item = PeerId> {
        self.announced.values().copied()
    }

    pub(super) fn infos(&self) -> Vec<PeerInfo> {
        self.announced.values().filter_map(|id| self.info(id)).collect()
    }

    fn info(&self, id: &PeerId) -> Option<PeerInfo> {
        let entry = self.entries.get(id)?;
        let link = entry.links.first()?;
        Some(PeerInfo {
            id: id.to_string(),
            address: link.address.clone(),
            inbound: link.inbound,
            since: link.since,
            transport: if transport::is_quic(&link.address) { Transport::Quic } else { Transport::Tcp },
            agent: entry.agent.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(id: usize) -> Link {
        Link {
            id: ConnectionId::new_unchecked(id),
            address: "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
            inbound: false,
            since: Time::from_secs(1),
        }
    }

    #[test]
    fn two_connections_are_one_peer() {
        let (mut peers, id, now) = (Peers::default(), PeerId::random(), Instant::now());
        peers.opened(id, link(1), now);
        peers.opened(id, link(2), now);
        assert_eq!(peers.announce(&id), Some(Announced::New(Peer(0))));
        assert_eq!(peers.announce(&id), Some(Announced::Known(Peer(0))));
        assert_eq!(peers.infos().len(), 1);
        assert_eq!(peers.closed(&id, ConnectionId::new_unchecked(1)), None);
        assert_eq!(peers.closed(&id, ConnectionId::new_unchecked(2)), Some(Peer(0)));
        assert_eq!(peers.announce(&id), None);
    }

    #[test]
    fn who_was_let_go_is_heard_no_more() {
        let (mut peers, id, now) = (Peers::default(), PeerId::random(), Instant::now());
        peers.opened(id, link(1), now);
        peers.announce(&id);
        assert_eq!(peers.let_go(&id), Some(Peer(0)));
        assert_eq!(peers.announce(&id), None);
        assert_eq!(peers.id(Peer(0)), None);
        assert_eq!(peers.closed(&id, ConnectionId::new_unchecked(1)), None);
        peers.opened(id, link(2), now);
        assert_eq!(peers.announce(&id), Some(Announced::New(Peer(1))), "numbers are never used again");
    }

    #[test]
    fn a_peer_is_found_by_the_beginning_of_its_id_if_no_other_begins_so() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        let (a, b) = (PeerId::random(), PeerId::random());
        for (number, id) in [a, b].iter().enumerate() {
            peers.opened(*id, link(number), now);
            peers.announce(id);
        }
        assert_eq!(peers.beginning_with(&a.to_string()), Ok((Peer(0), a)));
        assert_eq!(peers.beginning_with(""), Err(CompareError::Ambiguous));
        assert_eq!(peers.beginning_with("nobody"), Err(CompareError::NotConnected));
    }

    #[test]
    fn strangers_are_those_that_never_showed_themselves() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        let (known, stranger) = (PeerId::random(), PeerId::random());
        peers.opened(known, link(1), now);
        peers.opened(stranger, link(2), now);
        peers.announce(&known);
        let patience = Duration::from_secs(20);
        assert!(peers.strangers(now, patience).is_empty());
        assert_eq!(peers.strangers(now + patience, patience), [stranger]);
    }

    #[test]
    fn an_agent_cannot_write_to_a_terminal() {
        let (mut peers, id) = (Peers::default(), PeerId::random());
        peers.opened(id, link(1), Instant::now());
        peers.announce(&id);
        peers.set_agent(&id, &format!("a\u{1b}[2J\n{}", "x".repeat(200)));
        let agent = &peers.infos()[0].agent;
        assert!(agent.starts_with("a[2Jxx") && agent.len() == AGENT_MAX_CHARS, "{agent}");
    }
}
