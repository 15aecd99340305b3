//! What goes into the engine and what comes out of it: the whole of its contact with the world.

use std::fmt;

use qasedak_chain::{
    Position, Transaction, TxId,
    book::Entry,
    checkpoint::SignedCheckpoint,
    rules::{RuleError, Verified},
};

use super::{
    comparison::{CompareError, report::Report},
    holders::Followed,
};
use crate::wire::{Request, Response};

/// A peer, numbered by the driver in the order of first contact; the engine knows nothing of libp2p's ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer(pub u64);

/// Binds a response to its request, and a verdict to its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A peer of this network is connected and speaks the sync protocol.
    Connected {
        /// Who.
        peer: Peer,
        /// Its Ed25519 public key, which it has proved to hold.
        key: [u8; 32],
    },
    /// The last connection to a peer ended.
    Disconnected(Peer),
    /// A peer subscribed to the topic: it can now be gossiped to.
    Subscribed(Peer),
    /// A gossip message came in; the driver waits for its verdict.
    Gossip {
        /// Who relayed it.
        from: Peer,
        /// The driver's name for the message.
        token: Token,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Gossip to a peer found no room in its queue: it may lack what was relayed.
    Unheard(Peer),
    /// A peer asks something.
    Asked {
        /// Who.
        from: Peer,
        /// To be given back with the answer.
        token: Token,
        /// What.
        request: Request,
    },
    /// A peer answered a request of the engine's.
    Answered {
        /// Who.
        from: Peer,
        /// Of which request.
        token: Token,
        /// What.
        response: Response,
    },
    /// A request of the engine's failed: time-out, closed stream, or bytes that are no response.
    Failed {
        /// Of whom it was asked.
        peer: Peer,
        /// Which request.
        token: Token,
        /// Whether the peer broke the protocol, and not just the connection.
        fault: bool,
    },
    /// A request of the engine's was not sent, since the version of the protocol that was agreed on does not know it.
    Unsupported {
        /// Of whom it was asked.
        peer: Peer,
        /// Which request.
        token: Token,
    },
    /// The verdict on a transaction that was handed out for verification.
    Checked {
        /// Which.
        token: Token,
        /// The verdict.
        verdict: Result<Box<Verified>, RuleError>,
    },
    /// A transaction of this node, already kept in the outbox.
    Own(Box<Verified>),
    /// How publishing a transaction went.
    Published {
        /// Which.
        id: TxId,
        /// Whether at least one subscriber was sent it.
        sent: bool,
    },
    /// Everything before this position is durable.
    Durable(Position),
    /// This node signed a checkpoint over what is durable, and keeps it durably: peers may see it.
    Signed(Box<SignedCheckpoint>),
    /// An operator wants to know what a peer and this node differ in; answered with [`Output::Compared`].
    Compare {
        /// Whom to compare with.
        peer: Peer,
        /// The first block to look at.
        from: u64,
        /// To be given back.
        token: Token,
    },
    /// Own transactions of an earlier run of the node whose holders are to be counted again, as many as
    /// [`holders`](super::holders) has room for.
    Follow(Vec<Followed>),
    /// Time went by; comes at least once a second.
    Tick,
}

/// What the engine says of a gossip message (gossipsub's validation results).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Valid and new: relay it.
    Accept,
    /// Not to be relayed, and nobody's fault.
    Ignore,
    /// Provably the relay's fault.
    Reject,
}

/// Why a peer is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Sent bytes that are no transaction, or one that breaks a rule which a relay must check.
    InvalidTransaction(RuleError),
    /// Answered something else than what was asked.
    WrongAnswer,
    /// Broke the framing of a protocol.
    Malformed,
    /// Asked more than its share, again and again.
    Flooding,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidTransaction(rule) => write!(f, "sent a transaction that breaks a rule: {rule}"),
            Self::WrongAnswer => f.write_str("answered something else than what was asked"),
            Self::Malformed => f.write_str("broke the framing of a protocol"),
            Self::Flooding => f.write_str("asked more than its share, again and again"),
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Give gossipsub its verdict.
    Judge {
        /// Which message.
        token: Token,
        /// Who relayed it.
        from: Peer,
        /// The verdict.
        verdict: Verdict,
    },
    /// Verify a transaction off the driver's task and answer with [`Input::Checked`].
    Check {
        /// To be given back.
        token: Token,
        /// What to verify.
        transaction: Box<Transaction>,
    },
    /// Publish a transaction of this node's and answer with [`Input::Published`].
    Publish {
        /// Its id.
        id: TxId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Ask a peer something.
    Ask {
        /// Whom.
        peer: Peer,
        /// Binds the answer.
        token: Token,
        /// What.
        request: Request,
    },
    /// Answer a peer.
    Answer {
        /// From [`Input::Asked`].
        token: Token,
        /// What.
        response: Response,
    },
    /// Keep a peer's checkpoint, or evidence.
    Keep(Box<Entry>),
    /// A comparison came to its end.
    Compared {
        /// From [`Input::Compare`].
        token: Token,
        /// What differs, or why that cannot be said.
        result: Result<Box<Report>, CompareError>,
    },
    /// The log grew: flush it, then say [`Input::Durable`].
    Grown,
    /// These are durably in the log: the outbox may let them go.
    Released(Vec<TxId>),
    /// The ledger's store failed: nothing more is kept until it is well again. Holds the store's own sentence.
    StoreFailed(String),
    /// Let a peer go.
    Disconnect {
        /// Whom.
        peer: Peer,
        /// Why.
        fault: Fault,
    },
}
