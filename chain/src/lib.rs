//! The ledger of Qasedak: transactions, the rules they obey, and the log that keeps them.
//!
//! Pure code: rules, ledger, stamps and blocks take time and randomness as arguments; only [`store::disk`] touches
//! files, [`audit`] reads them, and [`repair`] renames their directory. Dependencies run one way, from the top of this list to its bottom:
//!
//! | module | holds |
//! |---|---|
//! | [`audit`] | the check of a whole ledger from its files alone |
//! | [`repair`] | a new log from what is whole in a damaged one |
//! | [`ledger`] | one network's transactions in a store: append, index, frontier, blocks, per-day digests |
//! | [`store`] | log and index: the trait, a store on disk, a store in memory |
//! | [`proof`] | the file that shows that a transaction is in a block, or is not, by whose word |
//! | [`book`] | which checkpoints and what evidence a node keeps |
//! | [`checkpoint`] | a peer's signed statement about its log and its blocks, and when two contradict each other |
//! | [`block`], [`merkle`], [`digest`], [`link`] | what is derived from sets and sequences of ids |
//! | [`rules`], [`retention`] | what every node demands of every transaction, and how long it keeps what |
//! | [`transaction`], [`stamp`] | the format and the proof of work |
//! | [`network`], [`time`], [`ids`], [`hash`], [`codec`] | parameters, clocks, newtypes, the hash, the encoding |
//!
//! The normative bytes are in `docs/protocol.md`, the reasons in `docs/decisions/`.

pub mod audit;
pub mod block;
pub mod book;
pub mod checkpoint;
pub mod codec;
pub mod digest;
pub mod hash;
pub mod ids;
pub mod ledger;
pub mod link;
pub mod merkle;
pub mod network;
pub mod proof;
pub mod repair;
pub mod retention;
pub mod rules;
pub mod stamp;
pub mod store;
pub mod time;
pub mod transaction;

pub use ids::{Chain, Depth, Digest, LedgerId, Link, Position, Root, TxId};
pub use ledger::Ledger;
pub use network::Network;
pub use time::Time;
pub use transaction::Transaction;
