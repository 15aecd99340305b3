//! The libp2p composition: which protocols a node speaks, and within which bounds (DESIGN §7).
//!
//! gossipsub carries anonymous messages, validated by hand, under ids of their whole bytes; request-response
//! carries the sync protocol; identify tells networks apart. Nothing here decides anything: that is the engine's.

use std::{collections::HashSet, sync::Arc, time::Duration};

use libp2p::{
    PeerId, StreamProtocol, allow_block_list as block_list, connection_limits, gossipsub,
    gossipsub::{IdentTopic, MaxCountSubscriptionFilter, MessageId, WhitelistSubscriptionFilter},
    identify, mdns, ping, request_response,
    request_response::ProtocolSupport,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
};
use qasedak_chain::Network;

use crate::{
    driver::{DriverError, Limits, PeerKey},
    wire,
};

mod frame;
mod frames;
mod reopened;

use frames::Frames;
pub(crate) use frames::{Malformed, Traffic};
use reopened::Counted;
pub(crate) use reopened::Event as GossipEvent;

/// How long a request may go unanswered.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Most requests and answers under way on one connection. Each can be a page of a megabyte that a peer does not read, and
/// a peer may have two connections.
const REQUEST_STREAMS_MAX: usize = 20;
/// Room that the protobuf frame of a gossip message needs beside the message.
const GOSSIP_FRAME_BYTES: usize = 1_024;
/// What is read from a stream at once. gossipsub 0.50.1 holds everything that it has read, not just the first frame,
/// against the longest frame, and drops the stream for good when that is exceeded: without this room,
/// two large messages in a row would end gossip between two honest nodes.
const GOSSIP_READ_BYTES: usize = 8 * 1_024;
/// How often gossipsub tends its mesh.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// For how many heartbeats a message waits for its verdict and can be asked for. The engine withholds a verdict for a
/// few seconds while parents are fetched.
const HISTORY_HEARTBEATS: usize = 12;
/// How many messages wait for one peer. Who does not read must not cost much: twelve such peers in the mesh hold 50 MB at
/// most. What finds no room comes by sync.
const QUEUE_LEN: usize = 64;
/// What a node calls its program. No version, system or build: these tell nodes apart.
const AGENT: &str = "qasedak";

pub(crate) type Gossip = gossipsub::Behaviour<gossipsub::IdentityTransform, SubscriptionFilter>;
type SubscriptionFilter = MaxCountSubscriptionFilter<WhitelistSubscriptionFilter>;

/// All protocols of a node. Those that refuse connections stand first, so that the others never see these.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) blocked: block_list::Behaviour<block_list::BlockedPeers>,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) gossip: Counted<Gossip>,
    pub(crate) sync: request_response::Behaviour<Frames>,
    pub(crate) mdns: Toggle<mdns::tokio::Behaviour>,
}

impl Behaviour {
    /// The behaviour of a node of `network`, subscribed to its topic.
    ///
    /// # Errors
    /// [`DriverError::Setup`] when gossipsub refuses its parameters.
    pub(crate) fn new(
        network: &Network,
        key: &PeerKey,
        limits: Limits,
        mdns: bool,
        traffic: Arc<Traffic>,
    ) -> Result<Self, DriverError> {
        let identify = identify::Config::new(wire::identify_protocol(network), key.pair().public())
            .with_agent_version(AGENT.to_owned())
            .with_cache_size(0)
            .with_hide_listen_addrs(true);
        Ok(Self {
            limits: connection_limits::Behaviour::new(connection_limits(limits)),
            blocked: block_list::Behaviour::default(),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::default(),
            gossip: Counted::new(gossip(network).map_err(DriverError::Setup)?),
            sync: sync(network, traffic)?,
            mdns: mdns.then(|| multicast(key.id())).flatten().into(),
        })
    }
}

fn connection_limits(limits: Limits) -> connection_limits::ConnectionLimits {
    connection_limits::ConnectionLimits::default()
        .with_max_established(Some(limits.established))
        .with_max_established_incoming(Some(limits.established_incoming))
        .with_max_established_per_peer(Some(limits.per_peer))
        .with_max_pending_incoming(Some(limits.pending_incoming))
}

fn sync(network: &Network, traffic: Arc<Traffic>) -> Result<request_response::Behaviour<Frames>, DriverError> {
    let name = |name| StreamProtocol::try_from_owned(name).map_err(|error| DriverError::Setup(format!("{error}")));
    let newest = name(wire::sync_protocol(network))?;
    let (second, first) = (name(wire::second_sync_protocol(network))?, name(wire::first_sync_protocol(network))?);
    let frames = Frames { first: first.clone(), second: second.clone(), traffic };
    let config = request_response::Config::default()
        .with_request_timeout(REQUEST_TIMEOUT)
        .with_max_concurrent_streams(REQUEST_STREAMS_MAX);
    let protocols = [newest, second, first].map(|protocol| (protocol, ProtocolSupport::Full));
    Ok(request_response::Behaviour::with_codec(frames, protocols, config))
}

/// Multicast DNS, unless the system does not allow it: then a node goes without.
fn multicast(id: PeerId) -> Option<mdns::tokio::Behaviour> {
    mdns::tokio::Behaviour::new(mdns::Config::default(), id)
        .inspect_err(|error| tracing::warn!(%error, "no multicast DNS: peers on the local network are not found"))
        .ok()
}

impl Behaviour {
    /// The protocol of gossip itself.
    pub(crate) fn gossip(&mut self) -> &mut Gossip {
        &mut self.gossip.inner
    }

    /// Those of `peers` that gossipsub hears no more.
    pub(crate) fn unheard(&self, peers: impl Iterator<Item = PeerId>) -> Vec<PeerId> {
        let score = |peer: &PeerId| self.gossip.inner.peer_score(peer).unwrap_or_default();
        peers.filter(|peer| score(peer) < GRAYLIST).collect()
    }
}

/// The topic of a network.
pub(crate) fn topic(network: &Network) -> IdentTopic {
    IdentTopic::new(wire::topic(network))
}

/// How gossipsub is set up, but for validation by hand: for whoever wants to measure a node against bare gossipsub.
pub fn gossip_config() -> gossipsub::ConfigBuilder {
    let mut config = gossipsub::ConfigBuilder::default();
    config
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .flood_publish(false)
        .heartbeat_initial_delay(HEARTBEAT)
        .heartbeat_interval(HEARTBEAT)
        .history_length(HISTORY_HEARTBEATS)
        .connection_handler_queue_len(QUEUE_LEN)
        .max_transmit_size(wire::GOSSIP_MAX_BYTES.saturating_add(GOSSIP_FRAME_BYTES).saturating_add(GOSSIP_READ_BYTES))
        .message_id_fn(|message| MessageId::from(wire::gossip_message_id(&message.data).to_vec()));
    config
}

fn gossip(network: &Network) -> Result<Gossip, String> {
    let config = gossip_config().validate_messages().build().map_err(|error| error.to_string())?;
    let topic = topic(network);
    let filter = MaxCountSubscriptionFilter {
        filter: WhitelistSubscriptionFilter(HashSet::from([topic.hash()])),
        max_subscribed_topics: 1,
        max_subscriptions_per_request: 8,
    };
    let mut gossip: Gossip =
        gossipsub::Behaviour::new_with_subscription_filter(gossipsub::MessageAuthenticity::Anonymous, config, filter)?;
    gossip.with_peer_score(score(&topic), thresholds())?;
    gossip.subscribe(&topic).map_err(|error| error.to_string())?;
    Ok(gossip)
}

/// Peer scores: invalid messages cost much and are forgotten slowly; being useful earns a little.
///
/// No points are lost for a shared address: behind a carrier's NAT hundreds of honest people share one. None are lost
/// for few deliveries: a quiet hour is not misbehaviour.
fn score(topic: &IdentTopic) -> gossipsub::PeerScoreParams {
    let of_topic = gossipsub::TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 600.0,
        first_message_deliveries_weight: 0.1,
        first_message_deliveries_decay: 0.99,
        first_message_deliveries_cap: 100.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -100.0,
        invalid_message_deliveries_decay: 0.999,
        ..Default::default()
    };
    gossipsub::PeerScoreParams {
        topics: [(topic.hash(), of_topic)].into(),
        topic_score_cap: 20.0,
        app_specific_weight: 0.0,
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: -10.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: 0.9,
        slow_peer_weight: 0.0,
        retain_score: Duration::from_secs(600),
        ..Default::default()
    }
}

/// Below this score nothing of a peer is heard any more.
const GRAYLIST: f64 = -800.0;

/// One invalid message (−100) ends the exchange of message ids, three (−900) that of messages.
fn thresholds() -> gossipsub::PeerScoreThresholds {
    gossipsub::PeerScoreThresholds {
        gossip_threshold: -90.0,
        publish_threshold: -350.0,
        graylist_threshold: GRAYLIST,
        accept_px_threshold: 1_000.0,
        opportunistic_graft_threshold: 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_are_accepted() {
        let key = PeerKey::from_bytes([7; 32]).unwrap();
        assert!(Behaviour::new(&Network::dev(), &key, Limits::default(), false, Arc::default()).is_ok());
        assert!(score(&topic(&Network::main())).validate().is_ok());
        assert!(thresholds().validate().is_ok());
    }
}
