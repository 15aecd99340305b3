//! Attacks below the protocols: TCP, Noise, Yamux, and connection attempts by the thousand.

use std::{sync::Arc, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, stream};
use libp2p::identity::Keypair;

use crate::{
    field::{
        Case, Culprit, Culprits,
        Expect::{AtOnce, Either, LetGo},
        Field, case,
    },
    frames,
    manners::Manners,
    rogue::{Fate, Pipe, Rogue, agree, connect, secure},
};

/// Kinds and flags of Yamux.
const DATA: u8 = 0;
const WINDOW: u8 = 1;
const PING: u8 = 2;
const GO_AWAY: u8 = 3;
const SYN: u16 = 1;
const RST: u16 = 8;

/// How many streams are negotiated at a time, by libp2p's default.
const NEGOTIATED: u32 = 128;
/// What may be sent on a stream before it was read.
const WINDOW_BYTES: usize = 256 * 1_024;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("tcp: a web browser", LetGo, |field| tcp(field, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec())).light(),
        case("tcp: a negotiation line of 2^62 bytes", LetGo, |field| tcp(field, frames::varint(1 << 62))).light(),
        case("tcp: ten thousand bytes of ff", LetGo, |field| tcp(field, vec![0xff; 10_000])).light(),
        case("noise: a handshake of zeros", LetGo, noise_of_zeros).light(),
        case("yamux: a data frame past the window", AtOnce, |field| yamux(field, past_the_window())),
        case("yamux: 10,000 streams in one go", AtOnce, |field| yamux(field, many(10_000, &[(WINDOW, SYN, 0)]))),
        case("yamux: 20,000 streams opened and reset", Either, |field| {
            yamux(field, many(20_000, &[(WINDOW, SYN, 0), (WINDOW, RST, 0)]))
        }),
        case("yamux: 100,000 pings whose answers are not read", Either, pings_unread),
        case("yamux: the windows of all streams filled", Either, windows_filled),
        case("connections: 2,000 dropped at once", Either, |field| attempts(field, false)),
        case("connections: 2,000 handshakes with new keys", Either, |field| attempts(field, true)),
        case("connections: 50 with one key", Either, one_key),
    ];
    let frames = [
        ("an unknown version", [&[9_u8][..], &[0; 11]].concat()),
        ("an unknown kind of frame", frames::yamux(9, 0, 1, 0).to_vec()),
        ("a data frame of 4 GiB", frames::yamux(DATA, SYN, 1, u32::MAX).to_vec()),
        ("a stream number of the other side", frames::yamux(WINDOW, SYN, 2, 0).to_vec()),
        ("one stream opened twice", many_of(1, &[(WINDOW, SYN, 0), (WINDOW, SYN, 0)])),
        ("credit past 2^32", many_of(1, &[(WINDOW, SYN, u32::MAX)])),
        ("the end, and then more", many_of(1, &[(GO_AWAY, 0, 0), (WINDOW, SYN, 0)])),
    ];
    cases.extend(
        frames.map(|(name, bytes)| case(format!("yamux: {name}"), AtOnce, move |f| yamux(f, bytes.clone())).light()),
    );
    cases
}

async fn tcp(field: Arc<Field>, bytes: Vec<u8>) -> Culprits {
    let (reads, mut writes) = connect(&field.address()).await.unwrap().split();
    writes.write_all(&bytes).await.ok();
    vec![Culprit::raw(reads, writes)]
}

async fn noise_of_zeros(field: Arc<Field>) -> Culprits {
    let mut socket = connect(&field.address()).await.unwrap();
    agree(&mut socket, "/noise").await.unwrap();
    let (reads, mut writes) = socket.split();
    let frame = [&[0xff; 2][..], &[0; 0xffff]].concat();
    writes.write_all(&frame).await.ok();
    vec![Culprit::raw(reads, writes)]
}

async fn pipe(field: &Field) -> Pipe {
    let mut pipe = secure(&field.address(), &Keypair::generate_ed25519()).await.unwrap();
    agree(&mut pipe, "/yamux/1.0.0").await.unwrap();
    pipe
}

/// Writes frames of Yamux while what comes back is read.
async fn yamux(field: Arc<Field>, bytes: Vec<u8>) -> Culprits {
    let (reads, mut writes) = pipe(&field).await.split();
    let fate = Fate::of(reads);
    tokio::time::timeout(Duration::from_secs(20), async {
        writes.write_all(&bytes).await.ok();
        writes.flush().await.ok();
    })
    .await
    .ok();
    vec![Culprit::Raw(fate, Box::new(writes))]
}

/// Headers on one stream.
fn many_of(stream: u32, headers: &[(u8, u16, u32)]) -> Vec<u8> {
    headers.iter().flat_map(|(kind, flags, length)| frames::yamux(*kind, *flags, stream, *length)).collect()
}

/// The same headers on each of many streams.
fn many(streams: u32, headers: &[(u8, u16, u32)]) -> Vec<u8> {
    (0..streams).flat_map(|nth| many_of(nth * 2 + 1, headers)).collect()
}

/// In the first frame of its stream, so that nothing can have been read before.
fn past_the_window() -> Vec<u8> {
    let length = WINDOW_BYTES + 1_024;
    [&frames::yamux(DATA, SYN, 1, length as u32)[..], &vec![0; length]].concat()
}

async fn pings_unread(field: Arc<Field>) -> Culprits {
    let (reads, mut writes) = pipe(&field).await.split();
    let bytes: Vec<u8> = (0..100_000).flat_map(|nth| frames::yamux(PING, SYN, 0, nth)).collect();
    // The victim stops reading when it can write no more, so this may not get through.
    tokio::time::timeout(Duration::from_secs(2), async {
        writes.write_all(&bytes).await.ok();
        writes.flush().await.ok();
    })
    .await
    .ok();
    vec![Culprit::Raw(Fate::of(reads), Box::new(writes))]
}

/// As many streams as the victim allows, on as many connections as one peer may have. On the first ones a negotiation is
/// begun and never ended; those behind them wait unread for their turn, and each is sent as much as may be sent unread.
async fn windows_filled(field: Arc<Field>) -> Culprits {
    let key = Keypair::generate_ed25519();
    let mut culprits = Vec::new();
    for _ in 0..2 {
        let mut pipe = secure(&field.address(), &key).await.unwrap();
        agree(&mut pipe, "/yamux/1.0.0").await.unwrap();
        let (reads, mut writes) = pipe.split();
        let fate = Fate::of(reads);
        let filled = async {
            let body = vec![0; WINDOW_BYTES];
            let begun: Vec<u8> = (0..NEGOTIATED)
                .flat_map(|nth| [&frames::yamux(DATA, SYN, nth * 2 + 1, 1)[..], &[19]].concat())
                .collect();
            if writes.write_all(&begun).await.is_err() {
                return;
            }
            for stream in (NEGOTIATED * 2 + 1..1_024).step_by(2) {
                let header = frames::yamux(DATA, SYN, stream, WINDOW_BYTES as u32);
                if writes.write_all(&header).await.is_err() || writes.write_all(&body).await.is_err() {
                    return;
                }
            }
            writes.flush().await.ok();
        };
        tokio::time::timeout(Duration::from_secs(5), filled).await.ok();
        culprits.push(Culprit::Raw(fate, Box::new(writes)));
    }
    culprits
}

/// As fast as sixteen at a time go.
async fn attempts(field: Arc<Field>, with_handshake: bool) -> Culprits {
    let attempt = |_| {
        let field = Arc::clone(&field);
        async move {
            let attempt = async {
                if with_handshake {
                    let mut pipe = secure(&field.address(), &Keypair::generate_ed25519()).await.ok()?;
                    agree(&mut pipe, "/yamux/1.0.0").await.ok()
                } else {
                    connect(&field.address()).await.ok().map(|_| true)
                }
            };
            tokio::time::timeout(Duration::from_secs(10), attempt).await.ok();
        }
    };
    stream::iter(0..2_000).map(attempt).buffer_unordered(16).count().await;
    Vec::new()
}

async fn one_key(field: Arc<Field>) -> Culprits {
    let key = Keypair::generate_ed25519();
    let mut all = Vec::new();
    for _ in 0..50 {
        let rogue = Rogue::connect_as(key.clone(), &field.address(), &field.network, Manners::default()).await;
        all.extend(rogue.ok().map(|rogue| Culprit::Rogue(Box::new(rogue))));
    }
    let mut kept = 0;
    for culprit in &all {
        // The first two may stay. Whether the others are gone is not seen at once.
        kept += usize::from(!culprit.fate().ends_within(Duration::from_millis(500)).await);
    }
    assert!(kept <= 2, "{kept} connections of one peer");
    all
}
