//! Who is known to hold this node's own transactions: what "on N peers" is counted from (DESIGN §4, Parents).
//!
//! A peer is taken to hold what it relayed or listed, and everything of a day, or of all days, when its digest equals this
//! node's. That is the peer's word: it can claim to hold what it does not, and one person can run many peers. A peer counts
//! once, by its key, however often it comes back.
//!
//! On `main` an own transaction must be held by `HOLDERS` peers before it may become a parent; until then it is *held
//! back*.
//!
//! In memory only: a file that tells which transactions are this node's own would be one more thing to find. After a
//! restart the node names those that its wallet still shows, and counting begins again. Bounds: [`FOLLOWED_MAX`]
//! transactions, [`KEYS_MAX`] peers each; each is let go when its lifetime ends.

use std::collections::{BTreeMap, BTreeSet};

use qasedak_chain::{Time, TxId, transaction::Core};

/// How many peers must hold an own transaction before it may become a parent.
const HOLDERS: usize = 2;
/// Most own transactions whose holders are counted; the oldest give way, and one held back settles after the next start.
pub const FOLLOWED_MAX: usize = 4_096;
/// Most peers that are counted for one transaction.
pub const KEYS_MAX: usize = 32;

/// When an own transaction was made, and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Which.
    pub id: TxId,
    /// Its time.
    pub time: Time,
    /// The end of its lifetime.
    pub ends: Time,
}

impl Followed {
    /// What a transaction's own core says.
    pub(super) fn of(id: TxId, core: &Core) -> Self {
        let time = core.time();
        Self { id, time, ends: time.plus(u64::from(core.lifetime_secs())) }
    }
}

#[derive(Debug)]
struct Held {
    ends: Time,
    by: BTreeSet<[u8; 32]>,
    /// Whether it may not become a parent yet.
    back: bool,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// By day, since peers show that they hold days.
    held: BTreeMap<(u64, TxId), Held>,
    days: BTreeMap<TxId, u64>,
}

impl Holders {
    /// Counts the holders of one that is in the log. A second time changes nothing, but that it may be held back.
    pub(super) fn follow(&mut self, one: Followed, held_back: bool) {
        let day = one.time.day();
        let known = self.days.contains_key(&one.id);
        if !known && self.days.len() >= FOLLOWED_MAX {
            let oldest = self.held.pop_first();
            oldest.and_then(|((_, id), _)| self.days.remove(&id));
        }
        self.days.insert(one.id, day);
        let held =
            self.held.entry((day, one.id)).or_insert_with(|| Held { ends: one.ends, by: BTreeSet::new(), back: false });
        held.back |= held_back;
    }

    /// The peer with that key holds it; `true` when it need be held back no more.
    pub(super) fn add(&mut self, id: &TxId, key: [u8; 32]) -> bool {
        let held = self.days.get(id).and_then(|day| self.held.get_mut(&(*day, *id)));
        let Some(held) = held.filter(|held| held.by.len() < KEYS_MAX) else {
            return false;
        };
        held.by.insert(key);
        let enough = held.by.len() >= HOLDERS;
        let settles = held.back && enough;
        held.back &= !enough;
        settles
    }

    /// How many peers are known to hold it; `None` when that is not counted.
    pub(super) fn count(&self, id: &TxId) -> Option<usize> {
        self.days.get(id).and_then(|day| self.held.get(&(*day, *id))).map(|held| held.by.len())
    }

    /// Those for which another peer counts: of one day, or all.
    pub(super) fn counted_of(&self, day: Option<u64>) -> Vec<TxId> {
        let lowest = TxId::from_bytes([0; 32]);
        let from = (day.unwrap_or(0), lowest);
        let mine = self.held.range(from..).take_while(|((of, _), _)| day.is_none_or(|day| day == *of));
        mine.filter(|(_, held)| held.by.len() < KEYS_MAX).map(|((_, id), _)| *id).collect()
    }

    /// Lets go those that have ended. One that is held back stays until it is held, or gives way.
    pub(super) fn expire(&mut self, now: Time) {
        let days = &mut self.days;
        self.held.retain(|(_, id), held| {
            let stays = held.back || held.ends > now;
            if !stays {
                days.remove(id);
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(nth: u64, day: u64) -> Followed {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&nth.to_be_bytes());
        let time = Time::from_secs(day * 86_400);
        Followed { id: TxId::from_bytes(id), time, ends: time.plus(3_600) }
    }

    #[test]
    fn a_peer_counts_once_and_two_are_enough_once() {
        let (mut holders, own) = (Holders::default(), one(1, 5));
        assert!(!holders.add(&own.id, [1; 32]));
        assert_eq!(holders.count(&own.id), None);
        holders.follow(own, true);
        assert_eq!(holders.count(&own.id), Some(0));
        assert!(!holders.add(&own.id, [1; 32]) && !holders.add(&own.id, [1; 32]));
        assert_eq!(holders.count(&own.id), Some(1));
        assert!(holders.add(&own.id, [2; 32]), "two hold it");
        assert!(!holders.add(&own.id, [3; 32]), "and that is said once");
        assert_eq!(holders.count(&own.id), Some(3));
    }

    #[test]
    fn what_grows_is_bounded_and_the_oldest_gives_way() {
        let mut holders = Holders::default();
        let all: Vec<Followed> = (0..FOLLOWED_MAX as u64 + 1).map(|nth| one(nth, 10_000 - nth)).collect();
        all.iter().for_each(|one| holders.follow(*one, false));
        assert_eq!((holders.held.len(), holders.days.len()), (FOLLOWED_MAX, FOLLOWED_MAX));
        let gone: Vec<_> = all.iter().filter(|one| holders.count(&one.id).is_none()).collect();
        // The newcomer is the oldest by its time, and it takes the place of the oldest before it.
        assert_eq!(gone, [&all[FOLLOWED_MAX - 1]]);
        for key in 0..=u8::MAX {
            holders.add(&all[0].id, [key; 32]);
        }
        assert_eq!(holders.count(&all[0].id), Some(KEYS_MAX));
        assert!(!holders.counted_of(None).contains(&all[0].id), "no other peer counts for it");
    }

    #[test]
    fn days_are_apart_and_what_has_ended_goes() {
        let mut holders = Holders::default();
        let (first, second, back) = (one(9, 5), one(1, 6), one(2, 6));
        holders.follow(first, false);
        holders.follow(second, false);
        holders.follow(back, true);
        assert_eq!(holders.counted_of(Some(5)), [first.id]);
        assert_eq!(holders.counted_of(Some(6)), [second.id, back.id]);
        assert_eq!(holders.counted_of(None), [first.id, second.id, back.id]);
        assert!(holders.counted_of(Some(7)).is_empty());
        holders.expire(second.ends);
        assert_eq!((holders.counted_of(None), holders.days.len()), (vec![back.id], 1));
    }
}
