//! The network of Qasedak, in three layers that are strictly apart (DESIGN §7):
//!
//! | module | holds |
//! |---|---|
//! | [`engine`] | the pure state machine: gossip verdicts, outbox, sync, peers; no async, sockets, clock or own RNG |
//! | [`wire`] | the bytes of the sync protocol, and the names of protocols and topic |
//! | `behaviour`, `transport` | the libp2p composition |
//! | [`driver`] | the only task that polls the swarm: turns events into inputs and outputs into calls |
//!
//! The normative bytes are in `docs/protocol.md`. Without the feature `net`, which is on by default, the crate is [`engine`] and
//! [`wire`] alone, and no libp2p is built: so the simulator has it.

#[cfg(feature = "net")]
mod behaviour;
#[cfg(feature = "net")]
pub mod driver;
pub mod engine;
#[cfg(feature = "net")]
mod transport;
pub mod wire;

#[cfg(feature = "net")]
pub use behaviour::gossip_config;
#[cfg(feature = "net")]
pub use libp2p::Multiaddr;
