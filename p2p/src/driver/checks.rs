//! Verification of stamps and signatures on blocking threads: as many jobs at once as there are cores, and a queue that
//! the engine keeps short, since it bounds what it hands out.

use std::{collections::VecDeque, sync::Arc, thread};

use qasedak_chain::{
    Network, Transaction,
    rules::{self, RuleError, Verified},
};
use tokio::task::{JoinError, JoinSet};

use crate::engine::io::Token;

/// Most transactions that one job takes: it is what a job under way delays the next verdict by.
const JOB_MAX: usize = 16;

/// A verdict and the token that it belongs to.
pub(super) type Checked = (Token, Result<Box<Verified>, RuleError>);

/// The queue and the jobs under way.
#[derive(Debug)]
pub(super) struct Checks {
    network: Arc<Network>,
    queue: VecDeque<(Token, Box<Transaction>)>,
    jobs: JoinSet<Vec<Checked>>,
    jobs_max: usize,
}

impl Checks {
    pub(super) fn new(network: Network) -> Self {
        let jobs_max = thread::available_parallelism().map_or(1, usize::from);
        Self { network: Arc::new(network), queue: VecDeque::new(), jobs: JoinSet::new(), jobs_max }
    }

    pub(super) fn push(&mut self, token: Token, transaction: Box<Transaction>) {
        self.queue.push_back((token, transaction));
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
