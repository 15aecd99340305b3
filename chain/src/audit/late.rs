//! Bodies that came after their records: where they stand, as the log tells.

use std::collections::BTreeMap;

use super::{
    files::Files,
    walk::{Item, Walk},
};
use crate::{
    network::Network,
    store::{StoreError, disk::segment::Place},
};

/// By position, where the body stands that came last. It may be told of in any segment behind its record's.
pub(super) fn late_bodies(files: &Files, network: &Network) -> Result<BTreeMap<u64, Place>, StoreError> {
    let mut late = BTreeMap::new();
    for (nth, segment) in files.segments.iter().enumerate() {
        let next = files.segments.get(nth.saturating_add(1)).map(|next| next.first);
        let loaded = files.load(network.ledger(), segment, next)?;
        if let Some(framing) = loaded.framing {
            let walk = Walk { network, framing, bytes: &loaded.bytes, first: segment.first, until: loaded.until };
            late.extend(walk.items().into_iter().filter_map(|item| match item {
                Item::LateBody { position, place } => Some((position, place)),
                _ => None,
            }));
        }
    }
    Ok(late)
}
