//! Verification of stamps and signatures on blocking threads: as many jobs at once as there are cores, and a queue that
//! the engine keeps short, since it bounds what it hands out. A transaction that comes alone is verified at once, by the loop
//! itself: to hand it to another thread and to come back for the verdict takes about as long as the verification.

use std::{collections::VecDeque, sync::Arc, thread, time::Instant};

use qasedak_chain::{
    Network, Transaction,
    rules::{self, RuleError, Verified},
};
use tokio::task::{JoinError, JoinSet};

use crate::engine::io::Token;

/// Most transactions that one job takes: it is what a job under way delays the next verdict by.
const JOB_MAX: usize = 16;

/// After it has verified one itself the loop verifies none for so many times as long as that took, so that nobody keeps it
/// from the sockets.
const REST: u32 = 4;

/// A verdict and the token that it belongs to.
pub(super) type Checked = (Token, Result<Box<Verified>, RuleError>);

/// The queue and the jobs under way.
#[derive(Debug)]
pub(super) struct Checks {
    network: Arc<Network>,
    queue: VecDeque<(Token, Box<Transaction>)>,
    jobs: JoinSet<Vec<Checked>>,
    jobs_max: usize,
    /// The loop verifies none itself before this.
    here_from: Option<Instant>,
}

impl Checks {
    pub(super) fn new(network: Network) -> Self {
        let jobs_max = thread::available_parallelism().map_or(1, usize::from);
        Self { network: Arc::new(network), queue: VecDeque::new(), jobs: JoinSet::new(), jobs_max, here_from: None }
    }

    pub(super) fn push(&mut self, token: Token, transaction: Box<Transaction>) {
        self.queue.push_back((token, transaction));
    }

    /// The verdict on a transaction that is alone, where the loop may give it itself.
    pub(super) fn one_here(&mut self) -> Option<Checked> {
        let start = Instant::now();
        let rests = self.here_from.is_some_and(|from| start < from);
        if self.queue.len() != 1 || !self.jobs.is_empty() || rests {
            return None;
        }
        let (token, transaction) = self.queue.pop_front()?;
        let verdict = rules::verify(&self.network, *transaction).map(Box::new);
        self.here_from = start.elapsed().checked_mul(REST).and_then(|rest| Instant::now().checked_add(rest));
        Some((token, verdict))
    }

    /// Gives what is queued to threads that are free, in even shares.
    pub(super) fn start(&mut self) {
        loop {
            let free = self.jobs_max.saturating_sub(self.jobs.len());
            if free == 0 || self.queue.is_empty() {
                return;
            }
            let share = self.queue.len().div_ceil(free).min(JOB_MAX);
            let batch: Vec<_> = self.queue.drain(..share).collect();
            let network = Arc::clone(&self.network);
            self.jobs.spawn_blocking(move || {
                let check = |(token, transaction): (Token, Box<Transaction>)| {
                    (token, rules::verify(&network, *transaction).map(Box::new))
                };
                batch.into_iter().map(check).collect()
            });
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.jobs.is_empty()
    }

    /// The verdicts of the next job that is done; `None` when none is under way.
    pub(super) async fn next(&mut self) -> Option<Result<Vec<Checked>, JoinError>> {
        self.jobs.join_next().await
    }
}

#[cfg(test)]
mod tests {
    use qasedak_chain::{Time, time::DAY_SECS};

    use super::*;
    use crate::engine::tests::make::{make, noon};

    /// One alone is judged here, rightly; two, or one soon after another, are for the threads, and lost is none.
    #[tokio::test]
    async fn one_alone_is_verified_here_and_more_elsewhere() {
        let network = Network::dev();
        let valid = |number| Box::new(make(&network, &[network.genesis()], noon(), number));
        // Before the network began.
        let early = Time::from_secs(network.start().secs() - 2 * DAY_SECS);
        let invalid = Box::new(make(&network, &[network.genesis()], early, 1));
        let mut checks = Checks::new(network.clone());
        assert!(checks.one_here().is_none(), "there is none");
        checks.push(Token(1), valid(1));
        let (token, verdict) = checks.one_here().expect("one is there, and nothing under way");
        assert_eq!((token, verdict.is_ok()), (Token(1), true));
        // The loop rests; then there are two.
        checks.here_from = Instant::now().checked_add(std::time::Duration::from_secs(600));
        checks.push(Token(2), valid(2));
        assert!(checks.one_here().is_none());
        checks.here_from = None;
        checks.push(Token(3), invalid);
        assert!(checks.one_here().is_none());
        checks.start();
        let mut verdicts = Vec::new();
        while let Some(done) = checks.next().await {
            verdicts.extend(done.unwrap().into_iter().map(|(token, verdict)| (token, verdict.is_ok())));
        }
        verdicts.sort_unstable();
        assert_eq!(verdicts, [(Token(2), true), (Token(3), false)]);
        assert!(checks.is_idle());
        checks.push(Token(4), valid(4));
        assert!(checks.one_here().is_some_and(|(token, verdict)| token == Token(4) && verdict.is_ok()));
        assert!(checks.here_from.is_some(), "the loop rests after each");
    }
}
