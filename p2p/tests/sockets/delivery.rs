//! What one node sends, the others get: each transaction once, and in the end the same digest.

use std::{sync::Arc, time::Duration};

use qasedak_chain::{Network, store::Outbox};

use crate::node::{DEADLINE, Node, QUIC, TCP, config, until};

async fn two_nodes_deliver(listen: &str, transport: &str) {
    let b = Node::start(&[listen], &[]).await;
    let mut a = Node::start(&[], &[b.address()]).await;
    let id = a.send(b"hello").await;
    b.durable(1).await;
    a.durable(1).await;
    assert!(a.holds(&id) && b.holds(&id));
    assert_eq!(a.summary(), b.summary());
    until("empty outbox", async || a.outbox.all().unwrap().is_empty()).await;

    let (to_b, from_a) = (a.handle.peers().await.unwrap(), b.handle.peers().await.unwrap());
    assert_eq!((to_b.len(), from_a.len()), (1, 1));
    assert_eq!(to_b[0].id, b.handle.peer_id());
    assert_eq!(from_a[0].id, a.handle.peer_id());
    assert_eq!((to_b[0].inbound, from_a[0].inbound), (false, true));
    assert_eq!((to_b[0].transport.name(), from_a[0].transport.name()), (transport, transport));
    until("agent", async || a.handle.peers().await.unwrap()[0].agent == "qasedak").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_deliver_over_tcp() {
    two_nodes_deliver(TCP, "tcp").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_deliver_over_quic() {
    two_nodes_deliver(QUIC, "quic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_three_delivers_end_to_end() {
    let b = Node::start(&[TCP], &[]).await;
    let mut a = Node::start(&[], &[b.address()]).await;
    let mut c = Node::start(&[], &[b.address()]).await;
    let there = a.send(b"there").await;
    c.durable(1).await;
    let back = c.send(b"back").await;
    for node in [&a, &b, &c] {
        node.durable(2).await;
        assert!(node.holds(&there) && node.holds(&back));
        assert_eq!(node.summary().digest, a.summary().digest);
    }
    assert_eq!(b.handle.peers().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_arrive_each_once() {
    let b = Node::start(&[TCP], &[]).await;
    let mut a = Node::start(&[], &[b.address()]).await;
    for number in 0..100_u8 {
        a.send(&[number]).await;
    }
    a.durable(100).await;
    b.durable(100).await;
    assert_eq!(b.summary().count, 100);
    assert_eq!(a.summary().digest, b.summary().digest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_transactions_in_a_row_are_gossiped() {
    let b = Node::start(&[TCP], &[]).await;
    let mut a = Node::start(&[], &[b.address()]).await;
    a.connected(1).await;
    for _ in 0..20 {
        a.send_of(65_536, b"as large as they get").await;
    }
    // Sync compares when the two meet and not before 15 s later, so what comes earlier came by gossip.
    let early = tokio::time::timeout(Duration::from_secs(12), b.durable(20)).await;
    assert!(early.is_ok(), "{} of 20 came by gossip", b.summary().count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_late_gets_what_was_sent_before() {
    let b = Node::start(&[TCP], &[]).await;
    let mut a = Node::start(&[], &[b.address()]).await;
    for number in 0..50_u8 {
        a.send(&[number]).await;
    }
    b.durable(50).await;
    a.handle.shutdown().await.unwrap();
    let late = Node::start(&[], &[b.address()]).await;
    late.durable(50).await;
    assert_eq!(late.summary().digest, b.summary().digest);
    assert_eq!(late.summary().count, 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_the_outbox_is_sent_after_a_restart() {
    let outbox = Arc::default();
    let mut lonely = Node::start_with(Network::dev(), config(&[], &[]), Arc::clone(&outbox)).await.unwrap();
    let id = lonely.send(b"nobody is there").await;
    lonely.handle.shutdown().await.unwrap();
    assert_eq!(outbox.all().unwrap().len(), 1);
    assert!(!lonely.holds(&id), "without a peer it is not part of the ledger");

    let b = Node::start(&[TCP], &[]).await;
    let again = Node::start_with(Network::dev(), config(&[], &[b.address()]), Arc::clone(&outbox)).await.unwrap();
    b.durable(1).await;
    assert!(b.holds(&id));
    again.durable(1).await;
    until("empty outbox", async || outbox.all().unwrap().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_comes_back_is_found_again() {
    let b = Node::start(&[TCP], &[]).await;
    let address = b.address();
    let mut a = Node::start(&[], std::slice::from_ref(&address)).await;
    a.connected(1).await;
    b.handle.shutdown().await.unwrap();
    a.connected(0).await;
    let listen = address.to_string();
    let b = Node::start(&[listen.as_str()], &[]).await;
    let id = a.send(b"welcome back").await;
    b.durable(1).await;
    assert!(b.holds(&id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_words_before_a_shutdown_go_out() {
    let b = Node::start(&[TCP], &[]).await;
    let mut a = Node::start(&[], &[b.address()]).await;
    a.connected(1).await;
    until("subscriber", async || a.handle.status().await.unwrap().peers.iter().any(|peer| peer.subscribed)).await;
    let id = a.send(b"goodbye").await;
    tokio::time::timeout(DEADLINE, a.handle.shutdown()).await.unwrap().unwrap();
    b.durable(1).await;
    assert!(b.holds(&id));
    assert!(a.handle.peers().await.is_err(), "a stopped driver answers nothing");
}
