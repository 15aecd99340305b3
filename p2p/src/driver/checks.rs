//! Verification of stamps and signatures on blocking threads: as many at once as there are cores, and a queue that
//! the engine keeps short, since it bounds what it hands out. Threads take from the queue by themselves until it is empty: if they
//! waited for the loop each time, they would stand idle whenever that is busy with a page. A transaction that comes alone is
//! verified at once, by the loop itself: to hand it to another thread and to come back for the verdict takes about as long as the
//! verification.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use qasedak_chain::{
    Network, Transaction,
    rules::{self, RuleError, Verified},
};
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};

use crate::engine::io::Token;

/// Most transactions that a thread takes at once: it is what one delays the verdict on the next by.
const BATCH_MAX: usize = 16;

/// After it has verified one itself the loop verifies none for so many times as long as that took, so that nobody keeps it
/// from the sockets.
const REST: u32 = 4;

/// A verdict and the token that it belongs to.
pub(super) type Checked = (Token, Result<Box<Verified>, RuleError>);

/// A transaction that waits for its verdict.
type Waiting = (Token, Box<Transaction>);

/// What waits, oldest first.
#[derive(Clone, Debug, Default)]
struct Queue(Arc<Mutex<VecDeque<Waiting>>>);

impl Queue {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An even share for one of so many threads.
    fn take(&self, threads: usize) -> Vec<Waiting> {
        let mut queue = self.lock();
        let share = queue.len().div_ceil(threads.max(1)).min(BATCH_MAX);
        queue.drain(..share).collect()
    }
}

/// The queue and the threads at work.
#[derive(Debug)]
pub(super) struct Checks {
    network: Arc<Network>,
    queue: Queue,
    threads: JoinSet<()>,
    threads_max: usize,
    tell: mpsc::UnboundedSender<Vec<Checked>>,
    /// No more than the engine has handed out.
    verdicts: mpsc::UnboundedReceiver<Vec<Checked>>,
    /// The loop verifies none itself before this.
    here_from: Option<Instant>,
}

impl Checks {
    pub(super) fn new(network: Network) -> Self {
        let threads_max = thread::available_parallelism().map_or(1, usize::from);
        let (tell, verdicts) = mpsc::unbounded_channel();
        let (network, queue, threads) = (Arc::new(network), Queue::default(), JoinSet::new());
        Self { network, queue, threads, threads_max, tell, verdicts, here_from: None }
    }

    pub(super) fn push(&mut self, token: Token, transaction: Box<Transaction>) {
        self.queue.lock().push_back((token, transaction));
    }

    /// The verdict on a transaction that is alone, where the loop may give it itself.
    pub(super) fn one_here(&mut self) -> Option<Checked> {
        let start = Instant::now();
        let rests = self.here_from.is_some_and(|from| start < from);
        if !self.threads.is_empty() || rests {
            return None;
        }
        let mut queue = self.queue.lock();
        let (token, transaction) = if queue.len() == 1 { queue.pop_front() } else { None }?;
        drop(queue);
        let verdict = rules::verify(&self.network, *transaction).map(Box::new);
        self.here_from = start.elapsed().checked_mul(REST).and_then(|rest| Instant::now().checked_add(rest));
        Some((token, verdict))
    }

    /// Sets threads to work that are free, no more than there are transactions.
    pub(super) fn start(&mut self) {
        let waiting = self.queue.lock().len();
        let free = self.threads_max.saturating_sub(self.threads.len());
        for _ in 0..free.min(waiting) {
            let (network, queue, tell) = (Arc::clone(&self.network), self.queue.clone(), self.tell.clone());
            let threads = self.threads_max;
            self.threads.spawn_blocking(move || work(&network, &queue, threads, &tell));
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.lock().is_empty() && self.threads.is_empty() && self.verdicts.is_empty()
    }

    /// The next verdicts, or none when a thread has found nothing more to do: then [`start`](Self::start) is due. `None`
    /// when no thread is at work.
    pub(super) async fn next(&mut self) -> Option<Result<Vec<Checked>, JoinError>> {
        tokio::select! {
            biased;
            Some(verdicts) = self.verdicts.recv() => Some(Ok(verdicts)),
            ended = self.threads.join_next() => ended.map(|ended| ended.map(|()| Vec::new())),
        }
    }
}

/// Verifies until nothing is left, or nobody wants to know.
fn work(network: &Network, queue: &Queue, threads: usize, tell: &mpsc::UnboundedSender<Vec<Checked>>) {
    loop {
        let batch = queue.take(threads);
        let check = |(token, transaction): Waiting| (token, rules::verify(network, *transaction).map(Box::new));
        if batch.is_empty() || tell.send(batch.into_iter().map(check).collect()).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use qasedak_chain::{Time, time::DAY_SECS};

    use super::*;
    use crate::engine::tests::make::{make, noon};

    /// More than there are batches for come back once each, without the loop.
    #[tokio::test]
    async fn threads_go_on_until_the_queue_is_empty() {
        let network = Network::dev();
        let one = make(&network, &[network.genesis()], noon(), 1);
        let mut checks = Checks::new(network);
        let count = 3 * u64::try_from(BATCH_MAX * checks.threads_max).unwrap() + 1;
        (0..count).for_each(|number| checks.push(Token(number), Box::new(one.clone())));
        checks.start();
        let mut tokens = Vec::new();
        while let Some(done) = checks.next().await {
            tokens.extend(done.unwrap().into_iter().map(|(token, _)| token.0));
        }
        tokens.sort_unstable();
        assert!(tokens.into_iter().eq(0..count));
        assert!(checks.is_idle());
    }

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
