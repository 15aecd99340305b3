//! A stranger: a bare libp2p node that says what it is told to, to see what a node makes of it.

use std::{io, time::Duration};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, StreamProtocol, Swarm, SwarmBuilder, identify, noise, request_response,
    request_response::{Codec, ProtocolSupport},
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use qasedak_chain::Network;
use qasedak_p2p::wire;

use crate::node::DEADLINE;

/// Sends any bytes as a request and takes any bytes as an answer.
#[derive(Clone, Default)]
pub struct Anything;

impl Codec for Anything {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        io.read_exact(&mut length).await?;
        let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
        io.read_exact(&mut bytes).await?;
        Ok(bytes)
    }
    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await?;
        Ok(bytes)
    }
    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&bytes).await
    }
    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&bytes).await
    }
}

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    identify: identify::Behaviour,
    pub sync: request_response::Behaviour<Anything>,
}

pub struct Stranger(Swarm<Behaviour>);

impl Stranger {
    /// A stranger that calls itself a node of `network`.
    pub fn of(network: &Network) -> Self {
        let sync = StreamProtocol::try_from_owned(wire::sync_protocol(network)).unwrap();
        let name = wire::identify_protocol(network);
        let swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|key| Behaviour {
                identify: identify::Behaviour::new(identify::Config::new(name, key.public())),
                sync: request_response::Behaviour::new(
                    [(sync, ProtocolSupport::Full)],
                    request_response::Config::default(),
                ),
            })
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
            .build();
        Self(swarm)
    }

    pub fn id(&self) -> String {
        self.0.local_peer_id().to_string()
    }

    /// Begins to connect.
    pub fn dial(&mut self, address: &Multiaddr) {
        self.0.dial(address.clone()).unwrap();
    }

    /// Connects, and serves the connection until the other side has introduced itself.
    pub async fn connect(&mut self, address: &Multiaddr) {
        self.dial(address);
        self.wait("introduction", |event| {
            matches!(event, SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { .. })))
        })
        .await;
    }

    /// Sends bytes on the sync protocol.
    pub fn say(&mut self, bytes: &[u8]) {
        let peer = *self.0.connected_peers().next().unwrap();
        self.0.behaviour_mut().sync.send_request(&peer, bytes.to_vec());
    }

    /// Answers the next request with bytes.
    pub async fn answer(&mut self, bytes: &[u8]) {
        use request_response::{Event, Message};
        let asked = async {
            loop {
                let event = self.0.select_next_some().await;
                let SwarmEvent::Behaviour(BehaviourEvent::Sync(Event::Message { message, .. })) = event else {
                    continue;
                };
                if let Message::Request { channel, .. } = message {
                    return channel;
                }
            }
        };
        let channel = tokio::time::timeout(DEADLINE, asked).await.expect("no request");
        self.0.behaviour_mut().sync.send_response(channel, bytes.to_vec()).unwrap();
    }

    /// Waits until the other side has closed the connection.
    pub async fn closed(&mut self) {
        self.wait("end", |event| matches!(event, SwarmEvent::ConnectionClosed { num_established: 0, .. })).await;
    }

    async fn wait(&mut self, what: &str, is_it: impl Fn(&SwarmEvent<BehaviourEvent>) -> bool) {
        let found = async { while !is_it(&self.0.select_next_some().await) {} };
        assert!(tokio::time::timeout(DEADLINE, found).await.is_ok(), "no {what} after {DEADLINE:?}");
    }
}
