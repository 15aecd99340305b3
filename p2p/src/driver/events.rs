//! Events of the swarm, turned into inputs of the engine. A peer is told to the engine before anything that it says.

use std::{
    collections::HashMap,
    io,
    time::{Duration, Instant},
};

use libp2p::{
    PeerId,
    core::ConnectedPoint,
    gossipsub::{self, MessageAcceptance, MessageId},
    identify, mdns, ping,
    request_response::{self, InboundRequestId, OutboundFailure, OutboundRequestId, ResponseChannel},
    swarm::{ConnectionId, SwarmEvent},
};
use qasedak_chain::store::Store;

use super::{
    key::public_of,
    peers::{Announced, Link},
    task::{Task, system_time},
};
use crate::{
    behaviour::{BehaviourEvent, GossipEvent, Malformed},
    engine::{Fault, Input, Peer, Token},
    wire::{Request, Response},
};

/// Most gossip messages that wait for their verdict.
const GOSSIPED_MAX: usize = 4_096;
/// After so long gossipsub has forgotten a message, and its verdict means nothing.
const VERDICT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a peer may be connected without showing that it is of this network.
const STRANGER_PATIENCE: Duration = Duration::from_secs(20);
/// Most requests that wait for their answer. The engine answers at once; this is for those whose stream broke.
const ANSWERS_MAX: usize = 4_096;

/// A gossip message that waits for its verdict.
pub(super) struct Gossiped {
    pub(super) id: MessageId,
    pub(super) source: PeerId,
    at: Instant,
}

/// A request of ours that waits for its answer.
pub(super) struct Asks {
    pub(super) peer: Peer,
    pub(super) token: Token,
}

/// Requests of peers that wait for their answer.
pub(super) type Answers = HashMap<Token, (InboundRequestId, ResponseChannel<Response>)>;

impl<S: Store + Send + Sync + 'static> Task<S> {
    pub(super) fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_opened(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => self.on_closed(&peer_id, connection_id),
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                tracing::debug!(%error, "a dial failed");
                self.dialer.failed(connection_id, &error, Instant::now());
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.listeners.opened(listener_id, address);
                self.show_listeners();
            }
            SwarmEvent::ExpiredListenAddr { listener_id, address } => {
                self.listeners.expired(listener_id, &address);
                self.show_listeners();
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                tracing::warn!(?reason, "a listen address is gone");
                self.listeners.closed(listener_id, &reason);
                self.show_listeners();
            }
            SwarmEvent::ListenerError { error, .. } => tracing::debug!(%error, "a listener stumbled"),
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(GossipEvent::Inner(event)) => self.on_gossip(event),
            BehaviourEvent::Gossip(GossipEvent::Reopened(peer)) => self.part_from_noisy(&peer),
            BehaviourEvent::Sync(event) => self.on_sync(event),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identified(peer_id, &info);
            }
            BehaviourEvent::Ping(event) => self.on_ping(&event),
            BehaviourEvent::Mdns(event) => self.on_mdns(event),
            BehaviourEvent::Identify(_) => {}
            BehaviourEvent::Limits(never) | BehaviourEvent::Blocked(never) => match never {},
        }
    }

    fn show_listeners(&self) {
        self.wires.listening.send_replace(self.listeners.addresses());
    }

    fn on_opened(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let link = Link {
            id: connection,
            address: endpoint.get_remote_address().clone(),
            inbound: endpoint.is_listener(),
            since: system_time(),
        };
        self.peers.opened(peer, link, Instant::now());
        self.dialer.connected(connection, peer);
    }

    fn on_closed(&mut self, peer: &PeerId, connection: ConnectionId) {
        if let Some(number) = self.peers.closed(peer, connection) {
            self.asks.retain(|_, ask| ask.peer != number);
            self.feed(Input::Disconnected(number));
        }
        if !self.peers.is_connected(peer) {
            self.dialer.gone(peer, Instant::now());
        }
    }

    /// The number of a peer that has shown that it is of this network, telling the engine when it is new. `None`
    /// when it was let go.
    fn announced(&mut self, peer: &PeerId) -> Option<Peer> {
        match self.peers.announce(peer)? {
            Announced::Known(number) => Some(number),
            Announced::New(number) => {
                self.dialer.welcome(peer);
                // Without a key that can be told from its id there is no word of its own to go by.
                let key = public_of(peer).unwrap_or_default();
                self.feed(Input::Connected { peer: number, key });
                Some(number)
            }
        }
    }

    fn on_identified(&mut self, peer: PeerId, info: &identify::Info) {
        if info.protocol_version == self.identify_protocol {
            self.peers.set_agent(&peer, &info.agent_version);
            self.announced(&peer);
            return;
        }
        if self.dialer.unwelcome(&peer) {
            tracing::warn!("a configured peer is of another network: compare --network on both sides");
        }
        self.part_from(&peer);
        self.drain();
    }

    /// Ends all connections to a peer. The engine hears no more of it than that, with the next [`drain`](Self::drain).
    pub(super) fn part_from(&mut self, peer: &PeerId) {
        if let Some(number) = self.peers.let_go(peer) {
            self.asks.retain(|_, ask| ask.peer != number);
            self.inputs.push_back(Input::Disconnected(number));
        }
        // It fails when there is no connection any more, which is what is wanted.
        let _ = self.swarm.disconnect_peer_id(*peer);
    }

    /// Lets a peer go with which gossip has come to an end. It may come back: on a bad line an honest one gets there too.
    fn part_from_noisy(&mut self, peer: &PeerId) {
        tracing::debug!(%peer, "a peer is let go with which gossip does not get on");
        self.part_from(peer);
        self.drain();
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Subscribed { peer_id, topic } if topic == self.topic.hash() => {
                if let Some(number) = self.announced(&peer_id) {
                    self.feed(Input::Subscribed(number));
                }
            }
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                self.on_message(propagation_source, message_id, message.data);
            }
            // What found no room in its queue comes by sync, if it is told at once that there is something.
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                if let Some(number) = self.announced(&peer_id) {
                    self.feed(Input::Unheard(number));
                }
            }
            _ => {}
        }
    }

    fn on_message(&mut self, source: PeerId, id: MessageId, bytes: Vec<u8>) {
        let waits = Gossiped { id, source, at: Instant::now() };
        let from = if self.gossiped.len() < GOSSIPED_MAX { self.announced(&source) } else { None };
        let Some(from) = from else {
            // Sync brings it later, if it is worth having.
            return self.judge(&waits, MessageAcceptance::Ignore);
        };
        let token = self.token();
        self.gossiped.insert(token, waits);
        self.feed(Input::Gossip { from, token, bytes });
    }

    pub(super) fn judge(&mut self, waits: &Gossiped, verdict: MessageAcceptance) {
        self.swarm.behaviour_mut().gossip().report_message_validation_result(&waits.id, &waits.source, verdict);
    }

    pub(super) fn token(&mut self) -> Token {
        let token = Token(self.next_token);
        self.next_token = self.next_token.wrapping_add(1);
        token
    }

    fn on_sync(&mut self, event: request_response::Event<Result<Request, Malformed>, Response>) {
        use request_response::{Event, Message};
        match event {
            Event::Message { peer, message: Message::Request { request_id, request, channel }, .. } => {
                self.on_asked(&peer, request_id, request, channel);
            }
            Event::Message { message: Message::Response { request_id, response }, .. } => {
                if let Some(Asks { peer: from, token }) = self.asks.remove(&request_id) {
                    self.feed(Input::Answered { from, token, response });
                }
            }
            Event::OutboundFailure { request_id, error, .. } => self.on_ask_failed(request_id, &error),
            Event::InboundFailure { request_id, .. } => self.answers.retain(|_, (id, _)| *id != request_id),
            Event::ResponseSent { .. } => {}
        }
    }

    fn on_asked(
        &mut self,
        peer: &PeerId,
        id: InboundRequestId,
        request: Result<Request, Malformed>,
        channel: ResponseChannel<Response>,
    ) {
        let Ok(request) = request else {
            self.turn_out(peer, Fault::Malformed);
            return self.drain();
        };
        let from = if self.answers.len() < ANSWERS_MAX { self.announced(peer) } else { None };
        let Some(from) = from else {
            return;
        };
        let token = self.token();
        self.answers.insert(token, (id, channel));
        self.feed(Input::Asked { from, token, request });
    }

    fn on_ask_failed(&mut self, id: OutboundRequestId, error: &OutboundFailure) {
        if let Some(Asks { peer, token }) = self.asks.remove(&id) {
            let kind = if let OutboundFailure::Io(error) = error { Some(error.kind()) } else { None };
            self.feed(match kind {
                Some(io::ErrorKind::Unsupported) => Input::Unsupported { peer, token },
                kind => Input::Failed { peer, token, fault: kind == Some(io::ErrorKind::InvalidData) },
            });
        }
    }

    /// A connection over which no ping comes back is dead, whatever the system says. The first failure is forgiven by
    /// libp2p.
    fn on_ping(&mut self, event: &ping::Event) {
        if matches!(event.result, Err(ping::Failure::Timeout | ping::Failure::Other { .. })) {
            self.swarm.close_connection(event.connection);
        }
    }

    fn on_mdns(&mut self, event: mdns::Event) {
        let now = Instant::now();
        match event {
            mdns::Event::Discovered(found) => {
                for (peer, address) in found {
                    self.dialer.found(peer, address, now);
                }
                self.dial_due(now);
            }
            mdns::Event::Expired(lost) => {
                for (peer, _) in lost {
                    self.dialer.lost(&peer);
                }
            }
        }
    }

    pub(super) fn dial_due(&mut self, now: Instant) {
        for opts in self.dialer.due(now, |peer| self.peers.is_connected(peer)) {
            let connection = opts.connection_id();
            if let Err(error) = self.swarm.dial(opts) {
                tracing::debug!(%error, "a dial failed");
                self.dialer.failed(connection, &error, now);
            }
        }
    }

    /// Forgets what nobody waits for any more, and lets strangers go.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.answers.retain(|_, (_, channel)| channel.is_open());
        self.gossiped.retain(|_, waits| now.saturating_duration_since(waits.at) < VERDICT_TIMEOUT);
        for peer in self.peers.strangers(now, STRANGER_PATIENCE) {
            self.part_from(&peer);
        }
        let unheard = self.swarm.behaviour().unheard(self.peers.ids());
        for peer in unheard {
            self.part_from_noisy(&peer);
        }
        self.drain();
        for peer in self.refusals.over(now) {
            self.swarm.behaviour_mut().blocked.unblock_peer(peer);
        }
    }
}
