//! Gossipsub, and an eye on how often a peer opens its stream.
//!
//! A node gossips on one stream as long as a connection lasts. gossipsub closes a stream on which something comes that
//! is no frame, says nothing of it to anyone, and after the fifth stream of a connection neither hears nor
//! speaks to its peer any more. So a peer that opens the stream again and again breaks the protocol, and
//! a connection on which nothing can be gossiped is of no use: it is reported before gossipsub falls silent.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
        SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, handler::ConnectionEvent,
    },
};

/// So many streams that a peer opened on one connection are one too many. gossipsub bears four.
const STREAMS_MAX: usize = 4;

/// What happens in the behaviour inside, and with its streams.
#[derive(Debug)]
pub(crate) enum Event<E> {
    /// Of the behaviour inside.
    Inner(E),
    /// A peer has opened the stream too often on one connection.
    Reopened(PeerId),
}

/// A behaviour whose streams are counted.
pub(crate) struct Counted<B> {
    pub(crate) inner: B,
    reopened: VecDeque<PeerId>,
}

impl<B> Counted<B> {
    pub(crate) fn new(inner: B) -> Self {
        Self { inner, reopened: VecDeque::new() }
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Counted<B> {
    type ConnectionHandler = Counting<THandler<B>>;
    type ToSwarm = Event<B::ToSwarm>;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<Self::ConnectionHandler, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local, remote).map(Counting::new)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<Self::ConnectionHandler, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, address, role, port_use).map(Counting::new)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {
            Said::Inner(event) => self.inner.on_connection_handler_event(peer, id, event),
            Said::TooOften => self.reopened.push_back(peer),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.reopened.pop_front() {
            Some(peer) => Poll::Ready(ToSwarm::GenerateEvent(Event::Reopened(peer))),
            None => self.inner.poll(cx).map(|to_swarm| to_swarm.map_out(Event::Inner)),
        }
    }
}

/// What the handler of a connection says.
#[derive(Debug)]
pub(crate) enum Said<E> {
    Inner(E),
    TooOften,
}

/// The handler of one connection.
pub(crate) struct Counting<H> {
    inner: H,
    streams: usize,
    said: bool,
}

impl<H> Counting<H> {
    fn new(inner: H) -> Self {
        Self { inner, streams: 0, said: false }
    }
}

impl<H: ConnectionHandler> ConnectionHandler for Counting<H> {
    type FromBehaviour = H::FromBehaviour;
    type ToBehaviour = Said<H::ToBehaviour>;
    type InboundProtocol = H::InboundProtocol;
    type OutboundProtocol = H::OutboundProtocol;
    type InboundOpenInfo = H::InboundOpenInfo;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        self.inner.listen_protocol()
    }

    fn connection_keep_alive(&self) -> bool {
        self.inner.connection_keep_alive()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        if self.streams >= STREAMS_MAX && !std::mem::replace(&mut self.said, true) {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(Said::TooOften));
        }
        self.inner.poll(cx).map(|event| event.map_custom(Said::Inner))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.inner.poll_close(cx).map(|event| event.map(Said::Inner))
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        self.inner.on_behaviour_event(event);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            '_,
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        if matches!(event, ConnectionEvent::FullyNegotiatedInbound(_)) {
            self.streams = self.streams.saturating_add(1);
        }
        self.inner.on_connection_event(event);
    }
}
