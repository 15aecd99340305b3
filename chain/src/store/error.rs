//! What can go wrong below the ledger: one variant per cause.

/// What went wrong below the ledger.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused a read or a write.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was being done, as a verb: "cannot read".
        what: &'static str,
        /// The file.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Bytes on disk are not what was written.
    #[error(
        "damaged: {path} at byte {offset}: {what}; run `qasedak audit verify` to see all damage, and keep the file"
    )]
    Damaged {
        /// The file.
        path: String,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// Something in a journal is not what was written, or is gone. Nothing was changed.
    #[error(
        "damaged: {path} at byte {offset}: {what}; nothing was changed: put a sound copy of its directory in its place, or \
         rename the directory to go on without what it holds"
    )]
    DamagedJournal {
        /// The file.
        path: String,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A commit to a journal is larger than any may be. Nothing was written.
    #[error("{path} takes at most {max} bytes at once, and these are {bytes}; do it in several steps")]
    TooMuch {
        /// The file.
        path: String,
        /// Bytes of the commit.
        bytes: usize,
        /// Most bytes of one.
        max: usize,
    },
    /// Another process has the directory open.
    #[error(
        "{path} is in use by another qasedak process; stop that one first, or choose another directory with --data"
    )]
    InUse {
        /// The directory.
        path: String,
    },
    /// The files belong to another network or were written by a newer version.
    #[error("{path}: {what}")]
    Foreign {
        /// The file.
        path: String,
        /// What it is instead.
        what: String,
    },
    /// The index failed.
    #[error("index {path}: {what}; the log is unharmed, and the index can be made anew from it")]
    Index {
        /// The index directory.
        path: String,
        /// What the index said.
        what: String,
    },
    /// A write failed, and so far none has succeeded since: what is here stays readable, nothing new is taken in, and
    /// the next flush tries again.
    #[error(
        "the disk takes nothing in at the moment ({cause}); free space or mend the disk: the node then goes on by itself"
    )]
    Failing {
        /// What failed, and why.
        cause: String,
    },
    /// Work on another thread broke off.
    #[error("work on the ledger broke off; start the node again, and report this")]
    BrokenOff,
}
