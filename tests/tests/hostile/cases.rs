//! The table of cases: what each hostile peer does, and what must become of it.
//!
//! | module | attacks by |
//! |---|---|
//! | `transport` | TCP, Noise, Yamux, connection attempts |
//! | `streams` | streams, identify, ping |
//! | `asks` | questions of sync |
//! | `answers` | lies in answers of sync |
//! | `reconciling` | lies in reconciliations |
//! | `quic` | QUIC: datagrams, handshakes, connections |
//! | `gossip` | transactions, frames and control messages of gossip |
//! | `patient` | doing nothing, or hardly anything, for a long time |

pub mod answers;
pub mod asks;
pub mod gossip;
pub mod patient;
pub mod quic;
pub mod reconciling;
pub mod streams;
pub mod transport;
