//! Epoch keys in memory: one for each UTC day on which something goes, in locked pages, some hundred to a page.
//!
//! A key has one place for as long as it lives; when its day is dropped the place is overwritten, and may hold another.

use std::collections::BTreeMap;

use zeroize::Zeroize;

use super::{EPOCHS_MAX, KeystoreError};
use crate::locked::Locked;

/// Keys on a page of 4 KiB.
const KEYS_PER_PAGE: usize = 128;

/// Epoch keys by their day.
#[derive(Default)]
pub(super) struct Epochs {
    /// Page and place of a day's key.
    days: BTreeMap<u64, (usize, usize)>,
    free: Vec<(usize, usize)>,
    pages: Vec<Locked<[[u8; 32]; KEYS_PER_PAGE]>>,
}

impl Epochs {
    pub(super) fn len(&self) -> usize {
        self.days.len()
    }

    /// The days that have a key, ascending.
    pub(super) fn days(&self) -> impl Iterator<Item = u64> {
        self.days.keys().copied()
    }

    /// Days and keys, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &[u8; 32])> {
        self.days.iter().filter_map(|(day, place)| Some((*day, self.at(*place)?)))
    }

    pub(super) fn get(&self, day: u64) -> Option<&[u8; 32]> {
        self.days.get(&day).and_then(|place| self.at(*place))
    }

    fn at(&self, (page, place): (usize, usize)) -> Option<&[u8; 32]> {
        self.pages.get(page)?.get(place)
    }

    /// Gives a day its key, unless it has one. Day 0 has none.
    ///
    /// # Errors
    /// [`KeystoreError::Full`] when there are [`EPOCHS_MAX`] already, and for day 0.
    pub(super) fn add(&mut self, day: u64, key: &[u8; 32]) -> Result<(), KeystoreError> {
        if self.days.contains_key(&day) {
            return Ok(());
        }
        if day == 0 || self.len() >= EPOCHS_MAX {
            return Err(KeystoreError::Full);
        }
        if self.free.is_empty() {
            let page = self.pages.len();
            self.pages.push(Locked::new([[0; 32]; KEYS_PER_PAGE]));
            self.free.extend((0..KEYS_PER_PAGE).rev().map(|place| (page, place)));
        }
        let (page, place) = self.free.pop().ok_or(KeystoreError::Full)?;
        let slot = self.pages.get_mut(page).and_then(|page| page.get_mut(place)).ok_or(KeystoreError::Full)?;
        slot.copy_from_slice(key);
        self.days.insert(day, (page, place));
        Ok(())
    }

    /// Overwrites the keys of all days before `day`; says whether there were any.
    pub(super) fn drop_before(&mut self, day: u64) -> bool {
        let later = self.days.split_off(&day);
        let gone = std::mem::replace(&mut self.days, later);
        for (page, place) in gone.values() {
            if let Some(slot) = self.pages.get_mut(*page).and_then(|page| page.get_mut(*place)) {
                slot.zeroize();
            }
        }
        let any = !gone.is_empty();
        self.free.extend(gone.into_values());
        any
    }

    /// Whether all of them are locked in memory.
    pub(super) fn is_locked(&self) -> bool {
        self.pages.iter().all(Locked::is_locked)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// It holds what a map of days to keys holds, and overwrites what it drops.
        #[test]
        fn it_is_a_map_that_overwrites(steps in prop::collection::vec((any::<bool>(), 1u64..300), 0..400)) {
            let (mut epochs, mut model) = (Epochs::default(), BTreeMap::new());
            for (nth, (drops, day)) in steps.into_iter().enumerate() {
                if drops && day % 8 == 0 {
                    let later = model.split_off(&day);
                    prop_assert_eq!(epochs.drop_before(day), !std::mem::replace(&mut model, later).is_empty());
                } else {
                    let key = [(nth % 255) as u8 + 1; 32];
                    epochs.add(day, &key).unwrap();
                    model.entry(day).or_insert(key);
                }
            }
            prop_assert!(epochs.iter().eq(model.iter().map(|(day, key)| (*day, key))));
            prop_assert!(model.iter().all(|(day, key)| epochs.get(*day) == Some(key)));
            let kept = epochs.pages.iter().flat_map(|page| page.iter()).filter(|key| **key != [0; 32]).count();
            prop_assert_eq!(kept, model.len(), "a dropped key is still there");
        }
    }

    #[test]
    fn it_is_full_at_last_and_has_no_day_0() {
        let mut epochs = Epochs::default();
        (1..=EPOCHS_MAX as u64).for_each(|day| epochs.add(day, &[1; 32]).unwrap());
        assert_eq!(epochs.add(5_000, &[1; 32]), Err(KeystoreError::Full));
        assert_eq!(epochs.add(7, &[2; 32]), Ok(()), "it has one");
        assert_eq!(epochs.get(7), Some(&[1; 32]));
        assert_eq!(Epochs::default().add(0, &[1; 32]), Err(KeystoreError::Full));
        assert_eq!(epochs.pages.len(), EPOCHS_MAX / KEYS_PER_PAGE);
        epochs.drop_before(1_000);
        (2_000..2_900).for_each(|day| epochs.add(day, &[3; 32]).unwrap());
        assert_eq!(epochs.pages.len(), EPOCHS_MAX / KEYS_PER_PAGE, "places are used again");
    }
}
