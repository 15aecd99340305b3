//! What an audit can find, one variant per cause, each a sentence for a person.

use crate::{
    ids::{Depth, TxId},
    rules::RuleError,
    time::Time,
};

/// What is wrong with a file, a record, or what it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A file header is not what was written.
    #[error("the head of this file is not what was written: {0}")]
    FileHeader(String),
    /// A header segment does not begin where the one before it ended.
    #[error("header segments are missing or do not follow each other: {0}")]
    Segments(String),
    /// The bytes of a transaction's record are not what was written.
    #[error("the record of this transaction was changed: {0}")]
    Record(&'static str),
    /// Records cannot be read at all.
    #[error("{0} transactions from this position on cannot be read")]
    Unreadable(u64),
    /// The bytes of a commit marker, or of another record that is no transaction, are not what was written.
    #[error("a commit marker was changed: {0}")]
    CommitMarker(&'static str),
    /// Nothing behind this place could be recognised.
    #[error("the last {0} bytes of this segment could not be checked, since no record could be recognised in them")]
    RestUnchecked(u64),
    /// Records that were committed are gone.
    #[error("{claimed} transactions were committed once, but the log holds only {count}")]
    Lost {
        /// What the columns show to have been committed.
        claimed: u64,
        /// What the log holds.
        count: u64,
    },
    /// The node has signed more transactions of this log than it holds.
    #[error(
        "this node stated {stated} transactions at {time}, but the log holds only {count}: it is an older copy, or records \
         are gone"
    )]
    RolledBack {
        /// What the node signed.
        stated: u64,
        /// When, by its own clock.
        time: Time,
        /// What the log holds.
        count: u64,
    },
    /// The node has signed other transactions of this log than it holds.
    #[error("the first {count} transactions are not those that this node stated at {time}: the log was written anew")]
    Rewritten {
        /// Of how many transactions.
        count: u64,
        /// When, by its own clock.
        time: Time,
    },
    /// A record stands at a position other than its own, or says what cannot be.
    #[error("this record contradicts those before it: {0}")]
    Contradiction(&'static str),
    /// The header is not the canonical encoding of one.
    #[error("the header cannot be decoded: {0}")]
    Encoding(RuleError),
    /// The header does not hash to the id.
    #[error("the header hashes to another id, {0}")]
    Id(TxId),
    /// Stamp, signature or form breaks a rule.
    #[error("a rule is broken: {0}")]
    Rule(RuleError),
    /// A parent does not stand before its child.
    #[error("its parent {0} does not stand before it in the log")]
    Parent(TxId),
    /// The depth is not one more than the greatest among the parents.
    #[error("its depth is given as {found}, but follows as {expected} from its parents")]
    Depth {
        /// As the record has it.
        found: Depth,
        /// As it follows.
        expected: Depth,
    },
    /// The same id stands in the log twice.
    #[error("this transaction stands in the log a second time")]
    Duplicate,
    /// A commit marker's link is not the one that follows from the ids before it.
    #[error("the link chain is broken: this commit marker does not follow from the transactions before it")]
    Link,
    /// A body that should be here is not.
    #[error("its body is gone, though its day has not been dropped")]
    BodyMissing,
    /// A body was dropped before its time.
    #[error("its body was dropped before its day, {0}, counted from 1970, and no disk budget asked for that")]
    BodyDroppedEarly(u32),
    /// The bytes of a body are not what was written.
    #[error("its body was changed: {0}")]
    Body(String),
    /// An entry of the scan column is not the one that follows from the log.
    #[error("its entry of the scan column is not what the log says")]
    ScanEntry,
    /// An entry of an offset column is not the one that follows from the log.
    #[error("its entry of the offset column is not what the log says")]
    OffsetEntry,
}

/// What is to be done about a finding, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// Nothing: it follows from the log, and a node makes it anew.
    Derive,
    /// Nothing: a running node fetches the body again from peers while its lifetime lasts.
    Fetch,
    /// A new log from what is whole: [`repair`](mod@crate::repair).
    Repair,
}

impl Problem {
    /// What is to be done about it in that file, whose name is relative to the ledger's directory.
    pub(super) fn remedy(&self, file: &str) -> Remedy {
        match self {
            Self::ScanEntry | Self::OffsetEntry => Remedy::Derive,
            Self::Body(_) | Self::BodyMissing | Self::BodyDroppedEarly(_) => Remedy::Fetch,
            Self::FileHeader(_) if file.starts_with("bodies/") => Remedy::Fetch,
            Self::FileHeader(_) if !file.ends_with(".seg") => Remedy::Derive,
            _ => Remedy::Repair,
        }
    }
}
