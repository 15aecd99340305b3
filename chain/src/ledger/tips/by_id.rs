//! Values by id, in the order of ids. Ids are hashes: by their first bits they fall evenly into places that hold a few each,
//! so that one is found, comes and goes with a look at one of these. Should somebody have seen to it that they do not,
//! that costs him a thousand stamps for one of ours, and a place only becomes long.

use crate::ids::TxId;

/// How many leading bits of an id say in which place it is.
const BITS: u32 = 10;

/// Values by id.
#[derive(Clone, Debug)]
pub(super) struct ById<V> {
    /// Each ascends.
    places: Vec<Vec<(TxId, V)>>,
    len: usize,
}

impl<V> Default for ById<V> {
    fn default() -> Self {
        Self { places: std::iter::repeat_with(Vec::new).take(1 << BITS).collect(), len: 0 }
    }
}

fn place_of(id: &TxId) -> usize {
    let leading = id.as_bytes().first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes));
    usize::from(leading >> u16::BITS.saturating_sub(BITS))
}

impl<V> ById<V> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, id: &TxId) -> Option<&V> {
        let place = self.places.get(place_of(id))?;
        let nth = place.binary_search_by(|(found, _)| found.cmp(id)).ok()?;
        place.get(nth).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, id: &TxId) -> Option<&mut V> {
        let place = self.places.get_mut(place_of(id))?;
        let nth = place.binary_search_by(|(found, _)| found.cmp(id)).ok()?;
        place.get_mut(nth).map(|(_, value)| value)
    }

    /// Gives an id its value unless it has one; whether it had none.
    pub(super) fn add(&mut self, id: TxId, value: V) -> bool {
        let Some(place) = self.places.get_mut(place_of(&id)) else {
            return false;
        };
        let Err(nth) = place.binary_search_by(|(found, _)| found.cmp(&id)) else {
            return false;
        };
        place.insert(nth, (id, value));
        self.len = self.len.saturating_add(1);
        true
    }

    pub(super) fn remove(&mut self, id: &TxId) -> Option<V> {
        let place = self.places.get_mut(place_of(id))?;
        let nth = place.binary_search_by(|(found, _)| found.cmp(id)).ok()?;
        self.len = self.len.saturating_sub(1);
        Some(place.remove(nth).1)
    }

    /// All of them, by ascending id.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&TxId, &mut V)> {
        self.places.iter_mut().flatten().map(|(id, value)| (&*id, value))
    }

    /// All ids, ascending.
    pub(super) fn ids(&self) -> impl Iterator<Item = &TxId> {
        self.places.iter().flatten().map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
        /// Whatever comes and goes, it is the map that it stands for.
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0..4u8, 0..3u8, 0..200u8), 0..600)) {
            let (mut by_id, mut map) = (ById::default(), BTreeMap::new());
            for (nth, (what, first, last)) in steps.into_iter().enumerate() {
                let mut id = [last; 32];
                [id[0], id[1]] = [first.wrapping_mul(127), last / 50];
                let id = TxId::from_bytes(id);
                if what == 0 {
                    prop_assert_eq!(by_id.remove(&id), map.remove(&id));
                } else {
                    prop_assert_eq!(by_id.add(id, nth), !map.contains_key(&id));
                    map.entry(id).or_insert(nth);
                }
                prop_assert_eq!(by_id.get(&id), map.get(&id));
                prop_assert_eq!(by_id.get_mut(&id), map.get_mut(&id));
                prop_assert_eq!(by_id.len(), map.len());
            }
            prop_assert!(by_id.ids().eq(map.keys()));
            prop_assert!(by_id.iter_mut().eq(map.iter_mut()));
        }
    }
}
