//! Places in canonical order, to which most come at the end, or a little before it: pieces of a few hundred, so that none
//! costs much wherever it comes in, and the usual one next to nothing.

use crate::store::OrderKey;

/// Most places of a piece.
const PIECE: usize = 512;

/// Places in canonical order with their positions.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// None is empty; each ascends, and the next one goes on from there.
    pieces: Vec<Vec<(OrderKey, u64)>>,
}

impl Sorted {
    /// Adds a place.
    pub(super) fn insert(&mut self, key: OrderKey, position: u64) {
        // All that begin at the key or before it, the last of which it belongs to.
        let begun = match self.pieces.last().and_then(|piece| piece.first()) {
            Some((first, _)) if *first <= key => self.pieces.len(),
            _ => self.pieces.partition_point(|piece| piece.first().is_some_and(|(first, _)| *first <= key)),
        };
        let (nth, in_last) = (begun.saturating_sub(1), begun == self.pieces.len());
        let Some(piece) = self.pieces.get_mut(nth) else {
            self.pieces.push(piece_of(key, position));
            return;
        };
        let at = match piece.last() {
            Some((last, _)) if *last < key => piece.len(),
            _ => piece.partition_point(|(before, _)| *before < key),
        };
        if piece.len() < PIECE {
            piece.insert(at, (key, position));
        } else if at == piece.len() && in_last {
            self.pieces.push(piece_of(key, position));
        } else {
            let behind = piece.split_off(PIECE / 2);
            self.pieces.insert(nth.saturating_add(1), behind);
            self.insert(key, position);
        }
    }

    /// Places from `from` on.
    pub(super) fn from(&self, from: OrderKey) -> impl Iterator<Item = (OrderKey, u64)> + '_ {
        let before = self.pieces.partition_point(|piece| piece.last().is_some_and(|(last, _)| *last < from));
        let places = self.pieces.iter().skip(before).flatten();
        places.skip_while(move |(key, _)| *key < from).copied()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(OrderKey, u64)> {
        self.pieces.iter().flatten()
    }
}

fn piece_of(key: OrderKey, position: u64) -> Vec<(OrderKey, u64)> {
    let mut piece = Vec::with_capacity(PIECE);
    piece.push((key, position));
    piece
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        ids::{Depth, TxId},
        time::Time,
    };

    fn key(time: u64, id: u8) -> OrderKey {
        OrderKey { time: Time::from_secs(time), depth: Depth::new(0), id: TxId::from_bytes([id; 32]) }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
        /// Whatever comes in whatever order, it is the map that it stands for.
        #[test]
        fn it_is_sorted(
            rising in 0..3u64,
            times in prop::collection::vec((0..900u64, any::<u8>()), 0..4_000),
            asked in (0..3_000u64, any::<u8>()),
        ) {
            let (mut sorted, mut map) = (Sorted::default(), BTreeMap::new());
            for (position, (time, id)) in (0u64..).zip(times) {
                let key = key(time + position * rising / 2, id);
                if map.insert(key, position).is_none() {
                    sorted.insert(key, position);
                } else {
                    map.insert(key, sorted.from(key).next().map_or(0, |(_, position)| position));
                }
            }
            prop_assert!(sorted.iter().map(|(key, position)| (key, position)).eq(map.iter()));
            prop_assert!(sorted.pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= PIECE));
            let from = key(asked.0, asked.1);
            prop_assert!(sorted.from(from).eq(map.range(from..).map(|(key, position)| (*key, *position))));
        }
    }
}
