//! Attacks by QUIC: datagrams that are none, handshakes that are begun, and what is said on a whole connection.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, identity::Keypair, multiaddr::Protocol};
use tokio::net::UdpSocket;

use crate::{
    field::{
        Case, Culprit, Culprits,
        Expect::{Either, LetGo},
        Field, case,
    },
    frames,
    manners::{Manners, Reply},
    rogue::{PATIENCE, Rogue, dial_quic},
    stock::random,
};

/// A datagram as large as QUIC asks a first one to be.
const DATAGRAM_BYTES: usize = 1_200;
/// Datagrams of garbage.
const GARBAGE: usize = 20_000;
/// First packets of handshakes that are not gone on with.
const BEGUN: usize = 1_000;

pub fn cases() -> Vec<Case> {
    vec![
        case("quic: 20,000 datagrams of garbage", Either, |field| datagrams(field, garbage)),
        case("quic: 20,000 first packets that are none", Either, |field| datagrams(field, first_packet)),
        case("quic: 1,000 handshakes that are begun and left", Either, half_open),
        case("quic: garbage in place of a question", LetGo, asked_garbage).light(),
    ]
}

/// Those that take their time.
pub fn patient() -> Vec<Case> {
    vec![case("quic: connected, and silent", LetGo, silent)]
}

fn socket_address(address: &Multiaddr) -> SocketAddr {
    let port = address.iter().find_map(|part| if let Protocol::Udp(port) = part { Some(port) } else { None });
    (Ipv4Addr::LOCALHOST, port.expect("a UDP port")).into()
}

async fn socket() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

/// Bytes of no packet: all lengths, and first bytes of any kind.
fn garbage(nth: usize) -> Vec<u8> {
    random().repeat(DATAGRAM_BYTES / 32 + 1)[..1 + nth % DATAGRAM_BYTES].to_vec()
}

/// What passes for a client's first packet until it is decrypted: long header, version 1 or one that does not exist, new
/// connection ids.
fn first_packet(nth: usize) -> Vec<u8> {
    let version: [u8; 4] = if nth.is_multiple_of(2) { [0, 0, 0, 1] } else { [0x0a, 0x1a, 0x2a, 0x3a] };
    let ids = [&[8][..], &random()[..8], &[8], &random()[..8]].concat();
    // No token; the length of the rest in two bytes.
    let mut packet = [&[0xc3][..], &version, &ids, &[0, 0x44, 0x96]].concat();
    packet.extend(random().repeat(DATAGRAM_BYTES / 32));
    packet.truncate(DATAGRAM_BYTES);
    packet
}

async fn datagrams(field: Arc<Field>, make: fn(usize) -> Vec<u8>) -> Culprits {
    let (to, socket) = (socket_address(&field.quic()), socket().await);
    for nth in 0..GARBAGE {
        // What the system's buffers do not take is lost, as on any network.
        socket.send_to(&make(nth), to).await.ok();
        if nth % 500 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Vec::new()
}

/// First packets of true handshakes, each from a port of its own; whatever is answered is not read. They are made by dialling
/// a socket that writes down what it gets.
async fn half_open(field: Arc<Field>) -> Culprits {
    let (to, sink) = (socket_address(&field.quic()), socket().await);
    let port = sink.local_addr().unwrap().port();
    let address: Multiaddr = format!("/ip4/127.0.0.1/udp/{port}/quic-v1").parse().unwrap();
    let (key, began) = (Keypair::generate_ed25519(), Instant::now());
    let (mut sockets, mut buffer) = (Vec::new(), vec![0; 2_048]);
    while sockets.len() < BEGUN && began.elapsed() < PATIENCE {
        let dialling = tokio::spawn(dial_quic(address.clone(), key.clone()));
        if let Ok(Ok(length)) = tokio::time::timeout(PATIENCE, sink.recv(&mut buffer)).await {
            let from = socket().await;
            from.send_to(&buffer[..length], to).await.ok();
            sockets.push(from);
        }
        dialling.abort();
    }
    // Until the victim gives them up.
    tokio::time::sleep(Duration::from_secs(6)).await;
    Vec::new()
}

async fn connected(field: &Field, manners: Manners) -> Rogue {
    let connect = async || Rogue::connect_quic(&field.quic(), &field.network, manners.clone()).await;
    field.admitted(connect).await.expect("the victim takes QUIC")
}

async fn asked_garbage(field: Arc<Field>) -> Culprits {
    let rogue = connected(&field, Manners::default()).await;
    rogue.ask(&field.sync(), &frames::sync(&[0xff; 64])).await.ok();
    vec![Culprit::Rogue(Box::new(rogue))]
}

async fn silent(field: Arc<Field>) -> Culprits {
    vec![Culprit::Rogue(Box::new(connected(&field, Manners::identified(Reply::Never)).await))]
}
