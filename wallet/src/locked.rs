//! Memory for secrets that live long: pages of their own, which the system is asked not to write to swap, and which are
//! overwritten before they are given back (`docs/decisions/0038-keys-locked-in-memory.md`).
//!
//! Systems lock whole pages and do not count how often: to unlock one secret would unlock every other on its page. So each
//! value begins a page and has its pages to itself. Where the system refuses, the value is kept all the same, and
//! [`Locked::is_locked`] says so.
//!
//! What a secret passes through on its way in or out (registers, stacks, buffers that are overwritten after use) is not
//! locked.

use std::ops::{Deref, DerefMut};

use region::LockGuard;
use zeroize::Zeroize;

/// A value on pages of its own. The alignment is the largest page that systems on these processors use.
#[cfg_attr(any(target_arch = "x86_64", target_arch = "x86"), repr(C, align(4096)))]
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "x86")), repr(C, align(65536)))]
struct Alone<T>(T);

/// A long-lived secret, locked in memory where the system allows it. Overwritten with zeros on drop, then unlocked.
pub(crate) struct Locked<T: Zeroize> {
    alone: Box<Alone<T>>,
    guard: Option<LockGuard>,
}

impl<T: Zeroize> Locked<T> {
    /// Gives a value a place. To keep a secret from the stack, give a blank one and write to it afterwards.
    pub(crate) fn new(value: T) -> Self {
        let alone = Box::new(Alone(value));
        let own_pages = region::page::size() <= align_of::<Alone<T>>();
        // Refused mostly for want of a limit (RLIMIT_MEMLOCK, ulimit -l): that is said once, where a person reads it.
        let guard = if own_pages { region::lock(&raw const alone.0, size_of::<T>().max(1)).ok() } else { None };
        Self { alone, guard }
    }

    /// Whether the system keeps it out of swap.
    pub(crate) fn is_locked(&self) -> bool {
        self.guard.is_some()
    }
}

impl Locked<[u8; 32]> {
    /// A copy of a key.
    pub(crate) fn copy_of(key: &[u8; 32]) -> Self {
        let mut locked = Self::new([0; 32]);
        locked.copy_from_slice(key);
        locked
    }
}

impl<T: Zeroize> Deref for Locked<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.alone.0
    }
}

impl<T: Zeroize> DerefMut for Locked<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.alone.0
    }
}

impl<T: Zeroize> Drop for Locked<T> {
    fn drop(&mut self) {
        self.alone.0.zeroize();
        // Before the memory is given back: it may be someone else's locked page in the next moment.
        drop(self.guard.take());
    }
}

impl<T: Zeroize> std::fmt::Debug for Locked<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Locked(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_pages_to_itself() {
        let all: Vec<Locked<[u8; 32]>> = (0..20).map(|n| Locked::copy_of(&[n; 32])).collect();
        let mut places: Vec<usize> = all.iter().map(|one| (&raw const **one).addr()).collect();
        places.sort_unstable();
        let page = region::page::size();
        assert!(places.iter().all(|place| place % page == 0));
        assert!(places.windows(2).all(|two| two[1] - two[0] >= page), "{places:?}");
        assert!(all.iter().zip(0..).all(|(one, n)| **one == [n; 32]));
    }

    #[test]
    fn it_can_be_written_to_and_shows_nothing() {
        let mut keys = Locked::new([[0; 32]; 3]);
        keys[1] = [7; 32];
        assert_eq!(*keys, [[0; 32], [7; 32], [0; 32]]);
        assert_eq!(format!("{keys:?}"), "Locked(…)");
    }

    /// Overwritten on drop: seen through a value that notes it.
    #[test]
    fn it_is_overwritten_on_drop() {
        struct Noting<'a>(&'a std::cell::Cell<u32>);
        impl Zeroize for Noting<'_> {
            fn zeroize(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let count = std::cell::Cell::new(0);
        drop(Locked::new(Noting(&count)));
        assert_eq!(count.get(), 1);
    }
}
