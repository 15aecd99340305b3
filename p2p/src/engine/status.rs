//! What an operator is shown of the engine: numbers only, nothing of what is said or by whom.

use qasedak_chain::store::StoreError;

use super::Peer;
pub use super::{budget::BudgetStatus, repair::RepairStatus};

/// The engine at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Connected peers, ascending.
    pub peers: Vec<PeerStatus>,
    /// What is being fetched, if anything is.
    pub syncing: Option<Syncing>,
    /// Transactions that are being verified.
    pub checking: usize,
    /// Verified transactions whose parents are not here yet.
    pub waiting: usize,
    /// Bytes of those under verification.
    pub checking_bytes: usize,
    /// Bytes of those that wait for their parents.
    pub waiting_bytes: usize,
    /// Transactions in the views that are kept for reconciliations of peers.
    pub viewed: usize,
    /// Verified headers whose bodies are being looked for.
    pub bare: usize,
    /// Own transactions that are not in the ledger yet.
    pub outbox: usize,
    /// Transactions that peers listed or that were named as parents, and that are not here yet.
    pub wanted: usize,
    /// Own transactions that break a rule: they stay in the outbox on disk and are not sent.
    pub refused: u64,
    /// Bodies that are missing or damaged here.
    pub repair: RepairStatus,
    /// What others' transactions may still cost, and what waits for that.
    pub budget: BudgetStatus,
    /// Failures of the store.
    pub failures: Failures,
}

/// One connected peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Which.
    pub peer: Peer,
    /// Whether it can be gossiped to.
    pub subscribed: bool,
    /// Whether it held the same set as this node when the two last compared; `None` before that.
    pub same: Option<bool>,
    /// Whether transactions are being fetched from it.
    pub syncing: bool,
}

/// Catching up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syncing {
    /// From how many peers.
    pub peers: usize,
    /// How many transactions came since the oldest of these sessions began.
    pub gained: u64,
    /// How many transactions they are known to have beyond that, at least.
    pub left: u64,
}

/// Failures of the store since the start. The input that met one was dropped, and nobody blamed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// How many.
    pub count: u64,
    /// What the store said last.
    pub last: Option<String>,
    /// One that means that nothing can be kept any more, and that was not reported yet.
    fatal: Option<String>,
}

impl Failures {
    /// Counts a failure. All but damage to what is already there is fatal: no other input will fare better.
    pub(super) fn note(&mut self, error: &StoreError) {
        self.note_unread(error);
        if !matches!(error, StoreError::Damaged { .. }) {
            self.fatal.clone_from(&self.last);
        }
    }

    /// Counts a failure to read one transaction, which leaves the others as they are.
    pub(super) fn note_unread(&mut self, error: &StoreError) {
        self.count = self.count.saturating_add(1);
        self.last = Some(error.to_string());
    }

    /// The fatal failure, once.
    pub(super) fn take_fatal(&mut self) -> Option<String> {
        self.fatal.take()
    }
}
