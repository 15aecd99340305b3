//! This node's own checkpoints, and keeping those of others.
//!
//! A checkpoint only ever speaks of durable records: else a crash would make the node contradict itself. What there is to
//! state is captured under the ledger's lock, with the count that it speaks of; it is signed once at least as many
//! records are durable, since the log only grows; it is shown to peers once it is kept durably. So after any crash the
//! log holds all that was ever signed, and the last own checkpoint is here to be held against the next one: a log that
//! does not continue it (an old copy of the data directory, say) is signed no more.

use std::{
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use qasedak_chain::{
    Ledger, Network, Time,
    book::{Book, Entry, Kept},
    checkpoint::{Checkpoint, SignedCheckpoint, judge},
    ledger::public_log_id,
    merkle::PathError,
    store::{Store, StoreError, checkpoints::Checkpoints},
};
use tokio::task::{JoinError, JoinSet};

use super::{
    DriverError, PeerKey,
    key::peer_id_of,
    task::{Task, system_time},
};
use crate::engine::Input;

/// How often there is a new checkpoint at most.
const EVERY: Duration = Duration::from_secs(60);
/// When to look again at a log that is empty.
const EMPTY_AGAIN: Duration = Duration::from_secs(5);
/// How long to wait after the disk failed.
const PAUSE: Duration = Duration::from_secs(10);
/// Most entries that wait for the disk. What goes beyond is kept in memory only, until a peer tells it again.
const WAITING_MAX: usize = 1_024;

/// What a job kept, and how that ended.
pub(super) type Done = (Vec<Entry>, Result<(), StoreError>);

/// Signs and keeps checkpoints.
pub(super) struct Notary {
    key: PeerKey,
    network: Network,
    log: [u8; 16],
    keeper: Arc<dyn Checkpoints>,
    /// The last own checkpoint in this log, of this run or an earlier one.
    last: Option<SignedCheckpoint>,
    /// Whether the log is known to continue it.
    continues: bool,
    refuses: bool,
    /// Whether there was a checkpoint in this run.
    shown: bool,
    /// Captured, and not all durable yet.
    pending: Option<Checkpoint>,
    /// Nothing is captured before this.
    next: Instant,
    waiting: Vec<Entry>,
    running: JoinSet<Done>,
    /// After a failure nothing is written before this.
    resume: Option<Instant>,
}

impl Notary {
    /// `log_id` is the log's id on disk; `book` is what the keeper holds.
    pub(super) fn new(
        key: PeerKey,
        network: Network,
        log_id: [u8; 16],
        keeper: Arc<dyn Checkpoints>,
        book: &Book,
        now: Instant,
    ) -> Self {
        let signer = key.public();
        let log = public_log_id(&log_id, &signer);
        let own = book.own_ones().map(|kept| kept.checkpoint);
        let last = own.filter(|own| *own.signer() == signer && own.statement().log == log).last();
        Self {
            key,
            network,
            log,
            keeper,
            last,
            continues: last.is_none(),
            refuses: false,
            shown: false,
            pending: None,
            next: now,
            waiting: Vec::new(),
            running: JoinSet::new(),
            resume: None,
        }
    }

    /// Captures what there is to state, when that is due. The ledger's lock is taken only then.
    ///
    /// # Errors
    /// [`DriverError::Task`] when the lock is poisoned.
    pub(super) fn capture<S: Store>(
        &mut self,
        ledger: &Arc<RwLock<Ledger<S>>>,
        system: Time,
        now: Instant,
    ) -> Result<(), DriverError> {
        if self.refuses || self.pending.is_some() || now < self.next {
            return Ok(());
        }
        self.next = now + EVERY;
        let mut ledger = ledger.write().map_err(|_| DriverError::Task)?;
        if ledger.store().len() == 0 {
            self.next = now + EMPTY_AGAIN;
        }
        match self.state(&mut ledger, system) {
            Ok(checkpoint) => self.pending = checkpoint,
            // The ledger's other users say so too; the next attempt may fare better.
            Err(error) => tracing::debug!(%error, "no checkpoint could be made"),
        }
        Ok(())
    }

    fn state<S: Store>(&mut self, ledger: &mut Ledger<S>, system: Time) -> Result<Option<Checkpoint>, StoreError> {
        let Some(statement) = ledger.statement(self.log, system)? else {
            return Ok(self.refuse_if_emptied());
        };
        if let Some(last) = &self.last {
            let last = last.statement();
            let same = last.count == statement.count && last.link == statement.link && last.closed == statement.closed;
            let closed = |closed: Option<qasedak_chain::checkpoint::Closed>| closed.map(|closed| closed.number);
            // A clock that was set back is waited for: own checkpoints never contradict each other.
            let back = statement.time < last.time || closed(statement.closed) < closed(last.closed);
            if (same && self.shown) || (back && statement.count >= last.count) {
                return Ok(None);
            }
        }
        match Checkpoint::new(&self.network, statement) {
            Ok(checkpoint) if self.check_continues(ledger, &checkpoint)? => Ok(Some(checkpoint)),
            Ok(_) => Ok(None),
            Err(error) => {
                tracing::debug!(%error, "no checkpoint could be made");
                Ok(None)
            }
        }
    }

    /// Whether the log continues the last own checkpoint: asked of the first one after a start; from then on the log only
    /// grows.
    fn check_continues<S: Store>(&mut self, ledger: &Ledger<S>, next: &Checkpoint) -> Result<bool, StoreError> {
        let Some(last) = self.last.filter(|_| !self.continues) else {
            return Ok(true);
        };
        let path = match ledger.consistency_path(last.statement().count, next.statement().count) {
            Ok(path) => Some(path),
            Err(PathError::OutOfRange { .. }) => None,
            Err(PathError::Nodes(error)) => return Err(error),
        };
        let signed = self.sign(*next);
        self.continues = signed.is_some_and(|next| judge(&self.network, &last, &next, path.as_deref()).is_ok());
        if !self.continues {
            self.refuse();
        }
        Ok(self.continues)
    }

    fn refuse_if_emptied(&mut self) -> Option<Checkpoint> {
        if self.last.is_some() {
            self.refuse();
        }
        None
    }

    fn refuse(&mut self) {
        if !self.refuses {
            tracing::error!(
                "the ledger does not continue what this node has signed (an old copy of it, perhaps); no more checkpoints \
                 are signed. See what differs with `qasedak audit verify`; to sign again, stop the node and begin a new log from \
                 what is here with `qasedak ledger repair`"
            );
        }
        self.refuses = true;
    }

    fn sign(&self, checkpoint: Checkpoint) -> Option<SignedCheckpoint> {
        let sign = |message: &[u8; 32]| self.key.sign(message);
        checkpoint.sign(&self.network, self.key.public(), sign).ok()
    }

    /// Signs what was captured if all of it is durable now, and has it kept.
    pub(super) fn release(&mut self, durable_count: u64, system: Time) {
        if self.pending.is_some_and(|pending| pending.statement().count <= durable_count)
            && let Some(checkpoint) = self.pending.take().and_then(|pending| self.sign(pending))
        {
            self.last = Some(checkpoint);
            self.shown = true;
            self.keep(Entry::Own(Kept { checkpoint, received: system }));
        }
    }

    /// Has an entry kept.
    pub(super) fn keep(&mut self, entry: Entry) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push(entry);
        }
    }

    /// Starts keeping what waits, when nothing else is being kept.
    pub(super) fn start(&mut self, now: Instant) {
        let paused = self.resume.is_some_and(|resume| now < resume);
        if self.waiting.is_empty() || !self.running.is_empty() || paused {
            return;
        }
        let (entries, keeper) = (std::mem::take(&mut self.waiting), Arc::clone(&self.keeper));
        self.running.spawn_blocking(move || {
            let kept = entries.iter().try_for_each(|entry| keeper.keep(entry));
            (entries, kept)
        });
    }

    /// How the job under way ended; `None` when there is none.
    pub(super) async fn next(&mut self) -> Option<Result<Done, JoinError>> {
        self.running.join_next().await
    }

    /// Takes note of how it ended. Returns the newest own checkpoint that is durable now.
    pub(super) fn ended(&mut self, (entries, kept): Done, now: Instant) -> Option<SignedCheckpoint> {
        if let Err(error) = kept {
            if self.resume.replace(now + PAUSE).is_none() {
                tracing::error!(%error, "checkpoints cannot be kept");
            }
            // What was signed must be kept before anyone sees it; the rest comes again.
            let own = entries.into_iter().filter(|entry| matches!(entry, Entry::Own(_)));
            self.waiting.extend(own.take(1));
            return None;
        }
        self.resume = None;
        let mut own = entries.iter().filter_map(|entry| match entry {
            Entry::Own(kept) => Some(kept.checkpoint),
            Entry::Peer(_) | Entry::Evidence(_) => None,
        });
        own.next_back()
    }
}

impl<S: Store + Send + Sync + 'static> Task<S> {
    /// Makes a checkpoint when one is due: at once where all is durable, else after the next flush.
    pub(super) fn state_checkpoint(&mut self, now: Instant) {
        if let Err(error) = self.notary.capture(&self.ledger, system_time(), now) {
            return self.fail(error);
        }
        let durable = *self.wires.durable.borrow();
        self.notary.release(durable, system_time());
    }

    /// Has a peer's checkpoint or evidence kept, and says of the latter in the log whose it is.
    pub(super) fn keep(&mut self, entry: Entry) {
        if let Entry::Evidence(evidence) = &entry {
            let peer = peer_id_of(evidence.signer());
            tracing::warn!(%peer, reason = %evidence.reason, "a peer's checkpoints contradict each other: `audit log` shows them");
        }
        self.notary.keep(entry);
    }

    pub(super) fn on_kept(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(done) => {
                if let Some(checkpoint) = self.notary.ended(done, Instant::now()) {
                    self.feed(Input::Signed(Box::new(checkpoint)));
                }
                self.start_work();
            }
            Err(_) => self.fail(DriverError::Task),
        }
    }
}

#[cfg(test)]
mod tests {
    use qasedak_chain::store::{checkpoints::MemoryCheckpoints, memory::MemoryStore};

    use super::*;
    use crate::engine::tests::make;

    fn notary(keeper: &Arc<MemoryCheckpoints>) -> Notary {
        let key = PeerKey::from_bytes([7; 32]).unwrap();
        let book = keeper.book().unwrap();
        Notary::new(key, Network::dev(), [1; 16], Arc::clone(keeper) as Arc<dyn Checkpoints>, &book, Instant::now())
    }

    fn ledger(count: usize) -> Arc<RwLock<Ledger<MemoryStore>>> {
        let mut ledger = Ledger::open(Network::dev(), MemoryStore::new()).unwrap();
        for transaction in make::world().iter().take(count) {
            ledger.append(make::verified(&Network::dev(), transaction), make::noon(), false).unwrap();
        }
        Arc::new(RwLock::new(ledger))
    }

    /// Carries out what waits for the disk.
    fn write(notary: &mut Notary) -> Option<SignedCheckpoint> {
        let entries = std::mem::take(&mut notary.waiting);
        let kept = entries.iter().try_for_each(|entry| notary.keeper.keep(entry));
        notary.ended((entries, kept), Instant::now())
    }

    #[test]
    fn what_is_not_durable_is_not_signed() {
        let keeper = Arc::default();
        let (mut notary, ledger, now) = (notary(&keeper), ledger(5), Instant::now());
        notary.capture(&ledger, make::noon(), now).unwrap();
        for durable in 0..5 {
            notary.release(durable, make::noon());
            assert!(notary.waiting.is_empty(), "{durable} of 5 are durable");
        }
        notary.release(5, make::noon());
        let signed = write(&mut notary).expect("a checkpoint");
        assert_eq!(signed.statement().count, 5);
        assert_eq!(keeper.book().unwrap().own().unwrap().checkpoint, signed);
        // Nothing changed: nothing is said again in this run, and once in the next.
        notary.capture(&ledger, make::noon(), now + EVERY * 2).unwrap();
        notary.release(5, make::noon());
        assert!(notary.waiting.is_empty());
    }

    #[test]
    fn a_log_that_does_not_continue_the_last_one_is_not_signed() {
        let keeper = Arc::default();
        let mut first = notary(&keeper);
        first.capture(&ledger(5), make::noon().plus(60), Instant::now()).unwrap();
        first.release(5, make::noon());
        assert!(write(&mut first).is_some());
        for (count, later, signs) in [(3, 120, false), (0, 120, false), (5, 120, true), (9, 120, true)] {
            let mut next = notary(&keeper);
            next.capture(&ledger(count), make::noon().plus(later), Instant::now()).unwrap();
            next.release(count as u64, make::noon());
            assert_eq!(!next.waiting.is_empty(), signs, "{count} transactions");
            assert_eq!(next.refuses, !signs);
        }
        // A clock that was set back is waited for.
        let mut next = notary(&keeper);
        next.capture(&ledger(9), make::noon(), Instant::now()).unwrap();
        assert!(next.pending.is_none() && !next.refuses);
    }
}
