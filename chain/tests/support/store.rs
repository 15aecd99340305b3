//! A store without a ledger above it, for tests: records with ids of one's own, flushes, upkeep.

// Each test binary compiles this file for itself and uses a part of it.
#![allow(dead_code)]

use qasedak_chain::{
    Depth, Position, TxId,
    store::{Batch, CommitPoint, NewRecord, Record, Store},
};

use crate::{
    disk::dev,
    pool::{after_pool, pool},
};

/// A record of the pool with another id, depth and time: the store believes what it is given.
pub fn record(nth: u64, seed: u64) -> Record {
    let header = pool()[(seed % pool().len() as u64) as usize].header().clone();
    let mut id = [0; 32];
    // Many ids agree in their first bytes, so that ties must be resolved by the whole ids.
    id[..8].copy_from_slice(&(seed / 7 % 3).to_be_bytes());
    id[8..16].copy_from_slice(&seed.to_le_bytes());
    id[16..24].copy_from_slice(&nth.to_le_bytes());
    Record { id: TxId::from_bytes(id), arrival: after_pool(), depth: Depth::new(seed % 5), header }
}

pub fn stage(store: &mut impl Store, record: Record) {
    let new = NewRecord { record, body: None, body_day: 30_000, author_u: [3; 32] };
    store.stage(Batch { records: vec![new], ..Batch::default() }).unwrap();
}

/// A flush, and all that is to be done beside it.
pub fn flush(store: &mut impl Store) {
    flush_alone(store);
    while let Some(step) = store.upkeep() {
        step.run();
        store.upkept();
    }
}

pub fn flush_alone(store: &mut impl Store) {
    let link = qasedak_chain::link::first_link(dev().ledger());
    let link = (0..store.len()).fold(link, |link, at| {
        let record = store.record(Position::new(at)).unwrap().unwrap();
        qasedak_chain::link::next_link(link, &record.id)
    });
    let point = CommitPoint { count: store.len(), link, time: after_pool() };
    if let Some(flush) = store.flush(point).unwrap() {
        let done = flush.run();
        store.flushed(done.is_ok());
        done.unwrap();
    }
}
