//! Stamps a transaction on all cores, off the async threads, one job at a time, and stops when nobody waits any more.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use qasedak_chain::{
    Network,
    rules::{self, Verified},
    stamp::{self, Effort, Stamp},
};
use qasedak_wallet::Unstamped;
use tokio::sync::{Semaphore, mpsc};

use crate::node::cores;

/// Why there is no stamp.
#[derive(Debug, thiserror::Error)]
pub enum StampingError {
    /// The node is stopping.
    #[error("the node is stopping; the message was not sent, send it again when the node runs")]
    Stopped,
    /// What was stamped breaks a rule: a fault of this program.
    #[error("the transaction that was made breaks a rule ({0}); nothing was sent, please report this")]
    Invalid(#[from] rules::RuleError),
    /// The system gives no randomness.
    #[error("the system gives no randomness; nothing was sent")]
    Randomness,
}

/// The node's stamper.
#[derive(Debug, Clone)]
pub struct Stamper {
    network: Network,
    turn: Arc<Semaphore>,
    stopping: Arc<AtomicBool>,
}

/// A transaction that is ready to go, and what its stamp took.
#[derive(Debug)]
pub struct Stamped {
    /// The transaction, verified.
    pub verified: Verified,
    /// How long the search took, in milliseconds.
    pub took_ms: u64,
}

impl Stamper {
    /// A stamper for a network.
    pub fn new(network: Network) -> Self {
        Self { network, turn: Arc::new(Semaphore::new(1)), stopping: Arc::default() }
    }

    /// Breaks off the running job and refuses further ones.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.turn.close();
    }

    /// Stamps and verifies. Dropping the future breaks the search off.
    ///
    /// # Errors
    /// [`StampingError`] when the node stops, or the result is not valid.
    pub async fn stamp(&self, unstamped: Unstamped) -> Result<Stamped, StampingError> {
        let _turn = self.turn.acquire().await.map_err(|_| StampingError::Stopped)?;
        let started = Instant::now();
        let (challenge, effort) = unstamped.work(&self.network);
        let stamp = self.search(challenge, effort).await?;
        let network = self.network.clone();
        let checked = tokio::task::spawn_blocking(move || rules::verify(&network, unstamped.stamped(&network, stamp)?));
        let verified = checked.await.map_err(|_| StampingError::Stopped)??;
        Ok(Stamped { verified, took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX) })
    }

    async fn search(&self, challenge: [u8; 32], effort: Effort) -> Result<Stamp, StampingError> {
        let threads = cores().get();
        // A random start: nonces say nothing of the machine.
        let start = getrandom::u64().map_err(|_| StampingError::Randomness)?;
        let (found, mut stamps) = mpsc::channel(threads);
        let given_up = Arc::new(GiveUp::default());
        for thread in 0..threads {
            let (found, given_up, stopping) = (found.clone(), Arc::clone(&given_up.0), Arc::clone(&self.stopping));
            tokio::task::spawn_blocking(move || {
                let nonces =
                    (0u64..).map(|n| start.wrapping_add(n.wrapping_mul(threads as u64)).wrapping_add(thread as u64));
                let go_on = || match given_up.load(Ordering::Relaxed) || stopping.load(Ordering::Relaxed) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                };
                if let Some(stamp) = stamp::search(&challenge, effort, nonces, go_on) {
                    // Only the first stamp is waited for.
                    let _ = found.try_send(stamp);
                }
            });
        }
        drop(found);
        stamps.recv().await.ok_or(StampingError::Stopped)
    }
}

/// Tells the searching threads to stop when the waiting future ends, however it ends.
#[derive(Debug, Default)]
struct GiveUp(Arc<AtomicBool>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
