//! What a checkpoint states of this log, and the consistency paths between two of them (`docs/protocol.md`,
//! "Checkpoints").

use super::Ledger;
use crate::{
    checkpoint::Statement,
    hash::{Context, hash_prefix},
    ids::Position,
    merkle::{PathError, Tree},
    store::{Store, StoreError},
    time::Time,
};

/// The log id that checkpoints name: `H("log-id", log id on disk, peer key)[..16]`. A new peer key starts a new one, and
/// nobody can tell that both were of one log.
pub fn public_log_id(log_id: &[u8; 16], peer_key: &[u8; 32]) -> [u8; 16] {
    hash_prefix(Context::LogId, &[log_id, peer_key])
}

impl<S: Store> Ledger<S> {
    /// What there is to state of this log as it stands now, under the log id `log`; `None` while it is empty. Only to
    /// be signed once everything in it is durable: else a crash would make the node contradict itself.
    ///
    /// # Errors
    /// [`StoreError`] when the index fails.
    pub fn statement(&mut self, log: [u8; 16], system: Time) -> Result<Option<Statement>, StoreError> {
        let summary = self.summary();
        if summary.count == 0 {
            return Ok(None);
        }
        let time = self.clock(system);
        let closed = self.closed_blocks(time)?;
        Ok(Some(Statement {
            log,
            count: summary.count,
            link: summary.link,
            root: summary.root,
            digest: summary.digest,
            closed,
            time,
        }))
    }

    /// Path that shows that the log of `new` transactions begins with the one of `old` (RFC 9162 §2.1.4).
    ///
    /// # Errors
    /// [`PathError::OutOfRange`] when `old` is above `new` or the log is shorter, [`PathError::Nodes`] when it cannot be
    /// read.
    pub fn consistency_path(&self, old: u64, new: u64) -> Result<Vec<[u8; 32]>, PathError<StoreError>> {
        let (ledger, size) = (self.network.ledger(), self.state.count());
        let out_of_range = || PathError::OutOfRange { at: new, size };
        if new > size {
            return Err(out_of_range());
        }
        let mut tree = Tree::new(ledger);
        for position in 0..new {
            let record = self.store.record(Position::new(position))?.ok_or_else(out_of_range)?;
            tree.push(record.id.as_bytes());
        }
        tree.consistency_path(old, new).map_err(|_| PathError::OutOfRange { at: old, size: new })
    }
}
