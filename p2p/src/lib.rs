//! The network of Qasedak, in three layers that are strictly apart (DESIGN §7):
//!
//! | module | holds |
//! |---|---|
//! | [`engine`] | the pure state machine: gossip verdicts, outbox, sync, peers; no async, sockets, clock or own RNG |
//! | [`wire`] | the bytes of the sync protocol, and the names of protocols and topic |
//! | `behaviour`, `transport` | the libp2p composition |
//! | [`driver`] | the only task that polls the swarm: turns events into inputs and outputs into calls |
//!
//! The normative bytes are in `docs/protocol.md`.

mod behaviour;
pub mod driver;
pub mod engine;
mod transport;
pub mod wire;

pub use behaviour::gossip_config;
pub use libp2p::Multiaddr;
