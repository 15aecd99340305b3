//! Starting and stopping: addresses that cannot be used are named, with what to do.

use std::{
    net::{TcpListener, UdpSocket},
    sync::Arc,
};

use qasedak_chain::Network;
use qasedak_p2p::driver::DriverError;

use crate::node::{DEADLINE, Node, TCP, config, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_occupied_port_is_an_error_that_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port());
    let refused = Node::start_with(Network::dev(), config(&[&address], &[]), Arc::default()).await;
    let error = refused.err().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot listen on {address}: another program uses it; stop the program that uses it, or choose another \
             address with --listen"
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_on_the_same_port_is_noticed() {
    let first = Node::start(&[TCP], &[]).await;
    let address = first.address().to_string();
    let second = Node::start_with(Network::dev(), config(&[&address], &[]), Arc::default()).await;
    assert!(matches!(second.err().unwrap(), DriverError::Listen { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_quic_a_node_goes_on_and_says_so() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let quic = format!("/ip4/127.0.0.1/udp/{}/quic-v1", taken.local_addr().unwrap().port());
    let b = Node::start(&[&quic, TCP], &[]).await;
    assert_eq!(b.handle.listen_addresses().len(), 1);
    let [DriverError::Listen { address, .. }] = b.handle.refused_addresses() else {
        panic!("{:?}", b.handle.refused_addresses())
    };
    assert_eq!(address.to_string(), quic);
    let mut a = Node::start(&[], &[b.address()]).await;
    a.send(b"by TCP then").await;
    b.durable(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_without_a_transport_is_refused() {
    let unix = "/ip4/127.0.0.1/sctp/7";
    let listen = Node::start_with(Network::dev(), config(&[unix], &[]), Arc::default()).await;
    assert!(matches!(listen.err().unwrap(), DriverError::Address { .. }));
    let peers = [unix.parse().unwrap()];
    let peer = Node::start_with(Network::dev(), config(&[], &peers), Arc::default()).await;
    assert!(matches!(peer.err().unwrap(), DriverError::Address { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_its_own_peer_does_no_harm() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = format!("/ip4/127.0.0.1/tcp/{}", free.local_addr().unwrap().port());
    drop(free);
    let b = Node::start(&[&own], &[own.parse().unwrap()]).await;
    let a = Node::start(&[], &[b.address()]).await;
    a.connected(1).await;
    until("one peer", async || b.handle.peers().await.unwrap().len() == 1).await;
    assert_eq!(b.handle.peers().await.unwrap()[0].id, a.handle.peer_id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_dialling_at_once_are_one_peer() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let at_b = format!("/ip4/127.0.0.1/tcp/{}", free.local_addr().unwrap().port());
    drop(free);
    let a = Node::start(&[TCP], &[at_b.parse().unwrap()]).await;
    let b = Node::start(&[&at_b], &[a.address()]).await;
    a.connected(1).await;
    b.connected(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_node_ends_without_an_error() {
    let node = Node::start(&[TCP], &[]).await;
    let address = node.address().to_string();
    tokio::time::timeout(DEADLINE, node.handle.shutdown()).await.unwrap().unwrap();
    assert_eq!(node.handle.ended().await, Ok(()));
    assert_eq!(node.handle.peers().await, Err(DriverError::Stopped));
    // The port is free again.
    Node::start(&[&address], &[]).await;
}
