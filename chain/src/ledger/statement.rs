//! What a checkpoint states of this log (`docs/protocol.md`, "Checkpoints").

use super::Ledger;
use crate::{
    checkpoint::Statement,
    hash::{Context, hash_prefix},
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
}
