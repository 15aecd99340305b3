//! What can go wrong in the driver, one variant per cause, each with the next step for the person who reads it.

use libp2p::Multiaddr;

/// Why the network did not start, or stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// The system refused a listen address.
    #[error(
        "cannot listen on {address}: {reason}; stop the program that uses it, or choose another address with --listen"
    )]
    Listen {
        /// The address, as it was asked for.
        address: Multiaddr,
        /// The system's answer.
        reason: String,
    },
    /// An address is of a form that this build has no transport for.
    #[error(
        "{address} is no address that can be used here; write /ip4/ADDRESS/tcp/PORT, /ip4/ADDRESS/udp/PORT/quic-v1 or \
         /dns/NAME/tcp/PORT"
    )]
    Address {
        /// The address, as it was given.
        address: Multiaddr,
    },
    /// A part of the network could not be set up.
    #[error("the network could not be set up: {0}; please report this, with the version that you run")]
    Setup(String),
    /// Ledger or outbox could not be read or written. Holds the store's own sentence, which says what to do.
    #[error("{0}")]
    Store(String),
    /// A task of the network ended in a way that it never should.
    #[error("a task of the network broke off; start again, and report this with the log if it comes back")]
    Task,
    /// The network has been stopped.
    #[error("the network has been stopped; start the node again")]
    Stopped,
}
