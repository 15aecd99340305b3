//! Waiting for several files to be durable at the same time, and working meanwhile.
//!
//! Where other cores are busy, a new thread runs once the one that made it sleeps. So who begins one has something to
//! wait for itself, and the last one works: the disk is asked for everything as early as one core can.

use std::thread::{self, Scope};

use crate::store::StoreError;

/// Threads that wait, at most.
const AT_ONCE: usize = 4;

/// Something that the disk is waited for.
pub(super) struct Wait<'a>(Box<dyn Fn() -> Result<(), StoreError> + Sync + 'a>);

impl<'a> Wait<'a> {
    pub(super) fn new(wait: impl Fn() -> Result<(), StoreError> + Sync + 'a) -> Self {
        Self(Box::new(wait))
    }
}

/// What some work came to.
type Done<T> = Result<T, StoreError>;

/// Waits for all of it at once, and works meanwhile. Gives the first failure of what was waited for, and what the work came to.
pub(super) fn wait_for_all<T: Send>(waits: &[Wait<'_>], work: &(dyn Fn() -> Done<T> + Sync)) -> (Done<()>, Done<T>) {
    let each = waits.len().div_ceil(AT_ONCE).max(1);
    thread::scope(|scope| wait_in(scope, waits, each, work))
}

fn wait_in<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    waits: &'scope [Wait<'scope>],
    each: usize,
    work: &'scope (dyn Fn() -> Done<T> + Sync),
) -> (Done<()>, Done<T>) {
    if waits.is_empty() {
        return (Ok(()), work());
    }
    let (here, rest) = waits.split_at_checked(each).unwrap_or((waits, &[]));
    let others = thread::Builder::new().spawn_scoped(scope, move || wait_in(scope, rest, each, work));
    let waited = here.iter().try_for_each(|wait| wait.0());
    let (others, done) = match others {
        Ok(others) => others.join().unwrap_or((Err(StoreError::BrokenOff), Err(StoreError::BrokenOff))),
        // Without a thread, this one does the rest behind it.
        Err(_) => wait_in(scope, rest, each, work),
    };
    (waited.and(others), done)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests say by panicking that something is wrong")]

    use std::sync::Barrier;

    use super::*;

    fn broken(what: &str) -> StoreError {
        StoreError::Failing { cause: what.to_owned() }
    }

    /// Up to as many as there are threads, they and the work meet: none waits for another to end.
    #[test]
    fn all_is_waited_for_at_once() {
        for count in 0..=AT_ONCE {
            let all = Barrier::new(count + 1);
            let meet = || {
                all.wait();
                Ok(())
            };
            let waits: Vec<Wait<'_>> = (0..count).map(|_| Wait::new(meet)).collect();
            let (waited, done) = wait_for_all(&waits, &|| meet().map(|()| count));
            waited.unwrap();
            assert_eq!(done.unwrap(), count);
        }
    }

    /// Many are shared out; each fails the whole, and the work is done all the same.
    #[test]
    fn whichever_fails_is_told_of() {
        for failing in 0..11 {
            let wait = |nth: usize| Wait::new(move || if nth == failing { Err(broken("one")) } else { Ok(()) });
            let waits: Vec<Wait<'_>> = (0..10).map(wait).collect();
            let (waited, done) = wait_for_all(&waits, &|| Ok(failing));
            assert_eq!(
                waited.map_err(|error| error.to_string()).err(),
                (failing < 10).then(|| broken("one").to_string())
            );
            assert_eq!(done.unwrap(), failing);
        }
    }

    /// What panics has broken off, and is not taken for done.
    #[test]
    fn a_panic_is_a_failure() {
        let waits = [Wait::new(|| Ok(())), Wait::new(|| panic!("a wait"))];
        let (waited, _) = wait_for_all(&waits, &|| Ok(()));
        assert!(matches!(waited, Err(StoreError::BrokenOff)));
        let (waited, done) = wait_for_all::<()>(&[Wait::new(|| Ok(()))], &|| panic!("the work"));
        assert!(matches!((waited, done), (Err(StoreError::BrokenOff), Err(StoreError::BrokenOff))));
    }
}
