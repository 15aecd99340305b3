//! A thread that does one job at a time, for as long as it is held.
//!
//! The allocator keeps for every thread what its largest job has once needed. Jobs that need much therefore stay on
//! one thread, and do not go round among those of a pool (decision 0049).

use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc as jobs,
    thread,
};

use tokio::sync::mpsc as results;

/// What a job says at its end; or what it panicked with.
pub(super) type Ended<T> = Result<T, Box<dyn Any + Send>>;

type Job<T> = Box<dyn FnOnce() -> T + Send>;

/// The thread, and the job that it is at.
#[derive(Debug)]
pub(super) struct Worker<T> {
    /// The thread ends when this is gone.
    jobs: jobs::SyncSender<Job<T>>,
    ended: results::Receiver<Ended<T>>,
    is_at_work: bool,
}

impl<T: Send + 'static> Worker<T> {
    /// Starts a thread of that name.
    ///
    /// # Errors
    /// What the system says when it has no thread to give.
    pub(super) fn start(name: &str) -> io::Result<Self> {
        let (jobs, receiver) = jobs::sync_channel::<Job<T>>(1);
        let (tell, ended) = results::channel(1);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Ok(job) = receiver.recv() {
                // What a job leaves half done is judged by whoever gave it: it is told.
                if tell.blocking_send(catch_unwind(AssertUnwindSafe(job))).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { jobs, ended, is_at_work: false })
    }

    /// Whether nothing is under way whose end has not been taken.
    pub(super) fn is_free(&self) -> bool {
        !self.is_at_work
    }

    /// Gives it a job, unless it has one.
    pub(super) fn give(&mut self, job: impl FnOnce() -> T + Send + 'static) {
        if self.is_free() {
            self.is_at_work = self.jobs.try_send(Box::new(job)).is_ok();
        }
    }

    /// How the job under way ended; `None` when there is none.
    pub(super) async fn next(&mut self) -> Option<Ended<T>> {
        if self.is_free() {
            return None;
        }
        let ended = self.ended.recv().await;
        self.is_at_work = false;
        ended
    }

    /// How a job ended that has; `None` when none has.
    pub(super) fn try_next(&mut self) -> Option<Ended<T>> {
        let ended = self.ended.try_recv().ok()?;
        self.is_at_work = false;
        Some(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn jobs_are_done_one_by_one_on_one_thread() {
        let mut worker = Worker::start("test").unwrap();
        assert!(worker.next().await.is_none(), "nothing was given");
        let mut threads = Vec::new();
        for _ in 0..3 {
            worker.give(|| thread::current().id());
            assert!(!worker.is_free());
            threads.push(worker.next().await.unwrap().unwrap());
        }
        assert!(threads.iter().all(|thread| *thread == threads[0] && *thread != thread::current().id()));
    }

    #[tokio::test]
    async fn a_job_that_panics_is_told_and_the_next_one_is_done() {
        let mut worker = Worker::<u8>::start("test").unwrap();
        worker.give(|| panic!("on purpose"));
        assert!(worker.next().await.unwrap().is_err());
        worker.give(|| 7);
        assert_eq!(worker.next().await.unwrap().unwrap(), 7);
        assert!(worker.is_free());
    }
}
