//! Peers that are not of this network, or break the protocol, are let go; a disk that fails is waited for.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use qasedak_chain::{
    LedgerId, Network, Position, Time, TxId,
    store::{
        Batch, Body, BodyUse, CommitPoint, DiskUse, Flush, Found, OrderKey, Outbox, Pair, Pairs, Record, ScanEntry,
        Store, StoreError, Tree, memory::MemoryStore,
    },
};
use qasedak_p2p::{driver::DriverError, wire::REQUEST_MAX_BYTES};

use crate::{
    node::{Node, TCP, config, until},
    stranger::Stranger,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_network_is_let_go() {
    let node = Node::start(&[TCP], &[]).await;
    let mut stranger = Stranger::of(&Network::named("elsewhere").unwrap());
    // It may be let go before the node has introduced itself.
    stranger.dial(&node.address());
    stranger.closed().await;
    assert!(node.handle.peers().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_networks_do_not_mix() {
    let other = Network::named("elsewhere").unwrap();
    let b = Node::start(&[TCP], &[]).await;
    let mut c = Node::start_with(other, config(&[], &[b.address()]), Arc::default()).await.unwrap();
    let mut a = Node::start(&[], &[b.address()]).await;
    c.send(b"of another network").await;
    a.send(b"of this one").await;
    b.durable(1).await;
    assert_eq!(b.summary().count, 1);
    assert_eq!(c.summary().count, 0);
    assert!(c.handle.peers().await.unwrap().is_empty());
}

async fn is_let_go_for_saying(bytes: &[u8]) {
    let node = Node::start(&[TCP], &[]).await;
    let mut stranger = Stranger::of(&Network::dev());
    stranger.connect(&node.address()).await;
    stranger.say(bytes);
    stranger.closed().await;
    until("end of the peer", async || node.handle.peers().await.unwrap().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_a_request_is_a_fault() {
    is_let_go_for_saying(b"\x04\0\0\0\xff\xff\xff\xff").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_over_the_limit_is_a_fault() {
    let length = u32::try_from(REQUEST_MAX_BYTES + 1).unwrap();
    is_let_go_for_saying(&length.to_le_bytes()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_an_answer_is_a_fault() {
    let node = Node::start(&[TCP], &[]).await;
    let mut stranger = Stranger::of(&Network::dev());
    stranger.connect(&node.address()).await;
    // The node compares digests on contact.
    stranger.answer(b"\x04\0\0\0\xff\xff\xff\xff").await;
    stranger.closed().await;
    // Who was at fault is refused for a while.
    let mut honest = Node::start(&[], &[node.address()]).await;
    honest.send(b"still served").await;
    node.durable(1).await;
    let peers = node.handle.peers().await.unwrap();
    assert!(peers.iter().all(|peer| peer.id != stranger.id()), "{peers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_stops_nothing_and_is_tried_again() {
    let b = Node::start(&[TCP], &[]).await;
    let full = Arc::new(AtomicBool::new(true));
    let disk = FullDisk(MemoryStore::new(), Arc::clone(&full));
    let mut a = Node::start_on(disk, Network::dev(), config(&[], &[b.address()]), Arc::default()).await.unwrap();
    let first = a.send(b"kept in memory on this disk").await;
    until("trouble", async || a.handle.disk_trouble().is_some()).await;
    let reason = a.handle.disk_trouble().unwrap().reason;
    assert!(reason.contains("no space"), "{reason}");
    assert!(a.handle.status().await.is_ok(), "it still answers");
    assert!(a.holds(&first), "and reads");
    assert_eq!(*a.handle.durable().borrow(), 0, "nothing was acknowledged");
    assert_eq!(a.outbox.all().unwrap().len(), 1, "and the outbox still has it");
    full.store(false, Ordering::SeqCst);
    a.durable(1).await;
    until("end of the trouble", async || a.handle.disk_trouble().is_none()).await;
    until("empty outbox", async || a.outbox.all().unwrap().is_empty()).await;
    let second = a.send(b"taken as ever").await;
    a.durable(2).await;
    assert!(a.holds(&first) && a.holds(&second));
    a.handle.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_relayed_before_it_is_on_disk() {
    let full = Arc::new(AtomicBool::new(true));
    let disk = FullDisk(MemoryStore::new(), Arc::clone(&full));
    let relay = Node::start_on(disk, Network::dev(), config(&[TCP], &[]), Arc::default()).await.unwrap();
    let mut sender = Node::start(&[], &[relay.address()]).await;
    let receiver = Node::start(&[], &[relay.address()]).await;
    relay.connected(2).await;
    let id = sender.send(b"through a node that cannot write").await;
    receiver.durable(1).await;
    assert!(receiver.holds(&id) && relay.holds(&id));
    assert_eq!(*relay.handle.durable().borrow(), 0, "the relay has nothing on disk yet");
    full.store(false, Ordering::SeqCst);
    relay.durable(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_while_its_disk_fails_says_why() {
    let b = Node::start(&[TCP], &[]).await;
    let disk = FullDisk(MemoryStore::new(), Arc::new(AtomicBool::new(true)));
    let mut a = Node::start_on(disk, Network::dev(), config(&[], &[b.address()]), Arc::default()).await.unwrap();
    a.send(b"kept in the outbox").await;
    until("trouble", async || a.handle.disk_trouble().is_some()).await;
    let ended = a.handle.shutdown().await;
    let Err(DriverError::Store(sentence)) = ended else { panic!("{ended:?}") };
    assert!(sentence.contains("no space"), "{sentence}");
    assert_eq!(a.outbox.all().unwrap().len(), 1);
}

/// A store whose flushes fail while its disk is full. What they were to write stays with it.
struct FullDisk(MemoryStore, Arc<AtomicBool>);

impl Store for FullDisk {
    fn flush(&mut self, point: CommitPoint) -> Result<Option<Flush>, StoreError> {
        let full = || StoreError::Io {
            what: "cannot write",
            path: "log".into(),
            source: std::io::Error::other("no space left on device"),
        };
        if self.1.load(Ordering::SeqCst) { Ok(Some(Flush::new(move || Err(full())))) } else { self.0.flush(point) }
    }
    fn len(&self) -> u64 {
        self.0.len()
    }
    fn last_commit(&self) -> Option<CommitPoint> {
        self.0.last_commit()
    }
    fn stage(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.0.stage(batch)
    }
    fn flushed(&mut self, success: bool) {
        self.0.flushed(success);
    }
    fn record(&self, position: Position) -> Result<Option<Record>, StoreError> {
        self.0.record(position)
    }
    fn body(&self, position: Position) -> Result<Body, StoreError> {
        self.0.body(position)
    }
    fn scan(&self, from: Position, max: usize) -> Result<Vec<ScanEntry>, StoreError> {
        self.0.scan(from, max)
    }
    fn records(&self, from: Position, max: usize) -> Result<Vec<Record>, StoreError> {
        self.0.records(from, max)
    }
    fn find(&self, id: &TxId) -> Result<Option<Found>, StoreError> {
        self.0.find(id)
    }
    fn tagged(&self, tag: &[u8; 16], from: Position, max: usize) -> Result<Vec<Position>, StoreError> {
        self.0.tagged(tag, from, max)
    }
    fn in_order(
        &self,
        from: Time,
        to: Time,
        after: Option<OrderKey>,
        max: usize,
    ) -> Result<Vec<(OrderKey, Position)>, StoreError> {
        self.0.in_order(from, to, after, max)
    }
    fn node(&self, ledger: LedgerId, level: u32, index: u64) -> Result<[u8; 32], StoreError> {
        self.0.node(ledger, level, index)
    }
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(tree, key)
    }
    fn range(&self, tree: Tree, from: &[u8], to: &[u8], max: usize) -> Result<Pairs, StoreError> {
        self.0.range(tree, from, to, max)
    }
    fn last_before(&self, tree: Tree, to: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.0.last_before(tree, to)
    }
    fn drop_bodies_before(&mut self, day: u64) -> Result<usize, StoreError> {
        self.0.drop_bodies_before(day)
    }
    fn drop_bodies_over(&mut self, budget: u64) -> Result<usize, StoreError> {
        self.0.drop_bodies_over(budget)
    }
    fn bodies(&self) -> BodyUse {
        self.0.bodies()
    }
    fn reset_trees(&mut self) -> Result<(), StoreError> {
        self.0.reset_trees()
    }
    fn reset_index(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        self.0.reset_index(progress)
    }
    fn disk(&self) -> DiskUse {
        self.0.disk()
    }
}
