//! Attacks by doing nothing, or hardly anything, for as long as the victim lets it. All of these go on at once.

use std::{sync::Arc, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::identity::Keypair;
use qasedak_p2p::wire::{Request, Response};

use crate::{
    field::{
        Case, Culprit, Culprits,
        Expect::{Either, LetGo, Stays},
        Field, case,
    },
    frames::{self, framed, gossip, line},
    manners::{Echo, Manners, Reply, mirror},
    rogue::{Fate, agree, connect, secure},
    stock::random,
};

/// Longer than the victim waits for anything but pings.
const LONG: Duration = Duration::from_secs(14);

pub fn cases() -> Vec<Case> {
    let mut cases = below();
    cases.extend(above());
    cases
}

fn below() -> Vec<Case> {
    vec![
        case("tcp: 40 that say nothing", LetGo, |field| silent(field, Vec::new(), 40)),
        case("tcp: half a line of negotiation", LetGo, |field| {
            silent(field, line("/multistream/1.0.0")[..9].to_vec(), 5)
        }),
        case("tcp: one byte a second", LetGo, trickle),
        case("noise: half a handshake", LetGo, half_a_handshake),
        case("yamux: never begun", LetGo, never_multiplexed),
        case("streams: 60 opened, and nothing said", Stays, silent_streams),
        case("streams: 60 that agreed on sync, and nothing asked", Stays, |field| half_asked(field, Vec::new())),
    ]
}

fn above() -> Vec<Case> {
    let question = frames::sync(&Request::Days { from: 0 }.to_bytes().unwrap());
    let half = question[..question.len() - 3].to_vec();
    vec![
        case("sync: 60 questions that never end", Stays, move |field| half_asked(field, half.clone())),
        case("sync: a question at a byte a second", Stays, slow_question),
        case("sync: an answer read at a byte a second", Stays, slow_reader),
        case("answers: none, ever", Stays, |field| tells(field, Reply::Never)),
        case("answers: two bytes a second", Stays, |field| tells(field, Reply::Dribble(frames::sync(&[0; 900])))),
        case("identify: no answer, and nothing else", LetGo, |field| nameless(field, Reply::Never)),
        case("identify: not spoken, and nothing else", LetGo, |field| nameless(field, Reply::Refused)),
        case("identify: a megabyte", LetGo, |field| nameless(field, Reply::Bytes(framed(&vec![7; 1_000_000])))),
        case("identify: a length of 2^62", LetGo, |field| nameless(field, Reply::Bytes(frames::varint(1 << 62)))),
        case("identify: garbage", LetGo, |field| nameless(field, Reply::Bytes(framed(&[0xff; 900])))),
        case("identify: two bytes a second", LetGo, |field| nameless(field, Reply::Dribble(framed(&[7; 900])))),
        case("ping: the wrong echo", LetGo, |field| echoes(field, Echo::Wrong)),
        case("ping: no echo", LetGo, |field| echoes(field, Echo::Never)),
        case("gossip: a frame that never ends", Stays, endless_frame),
        case("gossip: a frame at a byte a second", Stays, slow_frame),
        case("gossip: a member who does not read", Stays, deaf),
        case("sync: the digest of another set, each time", Either, restless),
    ]
}

async fn silent(field: Arc<Field>, bytes: Vec<u8>, count: usize) -> Culprits {
    let mut culprits = Vec::new();
    for _ in 0..count {
        let (reads, mut writes) = connect(&field.address()).await.unwrap().split();
        writes.write_all(&bytes).await.ok();
        culprits.push(Culprit::raw(reads, writes));
    }
    culprits
}

/// Writes bytes one each second until the other side ends it or time is over.
async fn write_slowly<T: futures::AsyncWrite + Unpin>(io: &mut T, bytes: &[u8]) {
    let slowly = async {
        for byte in bytes.iter().cycle() {
            if io.write_all(&[*byte]).await.is_err() || io.flush().await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(LONG, slowly).await.ok();
}

async fn trickle(field: Arc<Field>) -> Culprits {
    let (reads, mut writes) = connect(&field.address()).await.unwrap().split();
    let fate = Fate::of(reads);
    write_slowly(&mut writes, &line("/multistream/1.0.0")).await;
    vec![Culprit::Raw(fate, Box::new(writes))]
}

async fn half_a_handshake(field: Arc<Field>) -> Culprits {
    let agreed = async || {
        let mut socket = connect(&field.address()).await?;
        agree(&mut socket, "/noise").await.map(|_| socket)
    };
    let (reads, mut writes) = field.admitted(agreed).await.unwrap().split();
    // A frame of 32 bytes is announced, and half of it sent.
    writes.write_all(&[&[0, 32][..], &[7; 16]].concat()).await.ok();
    vec![Culprit::raw(reads, writes)]
}

async fn never_multiplexed(field: Arc<Field>) -> Culprits {
    let (address, key) = (field.address(), Keypair::generate_ed25519());
    let (reads, writes) = field.admitted(async || secure(&address, &key).await).await.unwrap().split();
    vec![Culprit::raw(reads, writes)]
}

async fn silent_streams(field: Arc<Field>) -> Culprits {
    let rogue = field.member(Manners::default()).await;
    let mut streams = Vec::new();
    for _ in 0..60 {
        streams.extend(rogue.open_bare().await.ok());
    }
    // A stream of Yamux is opened by its first bytes.
    for stream in &mut streams {
        stream.write_all(&line("/multistream/1.0.0")).await.ok();
        stream.flush().await.ok();
    }
    tokio::time::sleep(LONG).await;
    vec![Culprit::Rogue(Box::new(rogue))]
}

async fn half_asked(field: Arc<Field>, bytes: Vec<u8>) -> Culprits {
    let rogue = field.member(Manners::default()).await;
    let mut streams = Vec::new();
    for _ in 0..60 {
        let asked = tokio::time::timeout(Duration::from_millis(500), rogue.ask(&field.sync(), &bytes)).await;
        streams.extend(asked.ok().and_then(Result::ok));
    }
    tokio::time::sleep(LONG).await;
    drop(streams);
    vec![Culprit::Rogue(Box::new(rogue))]
}

async fn slow_question(field: Arc<Field>) -> Culprits {
    let rogue = field.member(Manners::default()).await;
    let mut stream = rogue.open(&field.sync()).await.unwrap();
    write_slowly(&mut stream, &frames::sync(&[0; 40])).await;
    vec![Culprit::Rogue(Box::new(rogue))]
}

async fn slow_reader(field: Arc<Field>) -> Culprits {
    let rogue = field.member(Manners::default()).await;
    let question = Request::Transactions { ids: vec![random()], max_bytes: 1 }.to_bytes().unwrap();
    let mut stream = rogue.ask(&field.sync(), &frames::sync(&question)).await.unwrap();
    let slowly = async {
        while stream.read_exact(&mut [0]).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(LONG, slowly).await.ok();
    vec![Culprit::Rogue(Box::new(rogue))]
}

async fn tells(field: Arc<Field>, reply: Reply) -> Culprits {
    let rogue = field.member(Manners::answering(move |_| reply.clone())).await;
    tokio::time::sleep(LONG).await;
    vec![Culprit::Rogue(Box::new(rogue))]
}

/// Never shows that it is of this network.
async fn nameless(field: Arc<Field>, reply: Reply) -> Culprits {
    vec![Culprit::Rogue(Box::new(field.rogue(Manners::identified(reply)).await))]
}

async fn echoes(field: Arc<Field>, ping: Echo) -> Culprits {
    vec![Culprit::Rogue(Box::new(field.member(Manners { ping, ..Manners::default() }).await))]
}

async fn endless_frame(field: Arc<Field>) -> Culprits {
    let mut rogue = field.member(Manners::default()).await;
    rogue.gossip_bytes(&framed(&vec![0; 60_000])[..50_000]).await.ok();
    tokio::time::sleep(LONG).await;
    vec![Culprit::Rogue(Box::new(rogue))]
}

async fn slow_frame(field: Arc<Field>) -> Culprits {
    let mut rogue = field.member(Manners::default()).await;
    if let Some(stream) = &mut rogue.gossip {
        write_slowly(stream, &framed(&gossip::publish(&field.topic, &[7; 600]))).await;
    }
    vec![Culprit::Rogue(Box::new(rogue))]
}

async fn deaf(field: Arc<Field>) -> Culprits {
    let mut rogue = field.member(Manners { reads_gossip: false, ..Manners::default() }).await;
    rogue.gossip(&gossip::graft(&field.topic)).await.ok();
    tokio::time::sleep(LONG).await;
    vec![Culprit::Rogue(Box::new(rogue))]
}

/// Tells the victim the digest of another set, again and again.
async fn restless(field: Arc<Field>) -> Culprits {
    let manners = Manners::answering(|request| match request {
        Request::Digest { .. } => crate::manners::response(&Response::Digest { count: 9, digest: random() }),
        _ => mirror(request),
    });
    let rogue = field.member(manners).await;
    let tell = async {
        loop {
            let question = Request::Digest { count: 9, digest: random() }.to_bytes().unwrap();
            let Ok(mut stream) = rogue.ask(&field.sync(), &frames::sync(&question)).await else { return };
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.ok();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LONG, tell).await.ok();
    vec![Culprit::Rogue(Box::new(rogue))]
}
