//! The table of cases: what each hostile peer does, and what must become of it.
//!
//! | module | attacks by |
//! |---|---|
//! | `transport` | TCP, Noise, Yamux, connection attempts |
//! | `streams` | streams, identify, ping |
//! | `asks` | questions of sync |
//! | `answers` | lies in answers of sync |
//! | `gossip` | transactions, frames and control messages of gossip |
//! | `patient` | doing nothing, or hardly anything, for a long time |

pub mod answers;
pub mod asks;
pub mod gossip;
pub mod patient;
pub mod streams;
pub mod transport;
