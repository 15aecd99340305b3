//! Attacks by streams, and on the protocols that every connection has: identify and ping.

use std::{io, sync::Arc, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt};

use crate::{
    field::{
        Case, Culprit, Culprits,
        Expect::{LetGo, Stays},
        Field, case,
    },
    frames::{self, framed, line},
    manners::{Manners, Reply},
    rogue::{Rogue, agree},
};

const PING: &str = "/ipfs/ping/1.0.0";
const IDENTIFY: &str = "/ipfs/id/1.0.0";
const PUSH: &str = "/ipfs/id/push/1.0.0";
/// How long an attack without an end of its own goes on.
const A_WHILE: Duration = Duration::from_millis(1_500);

pub fn cases() -> Vec<Case> {
    vec![
        case("streams: 2,000 of unknown protocols", Stays, unknown_protocols),
        case("streams: 2,000 opened and dropped", Stays, opened_and_dropped),
        case("streams: 900 proposals on one", Stays, |field| bare(field, 1, proposals())),
        case("streams: garbage for a negotiation, 200 times", Stays, |field| bare(field, 200, vec![0x7f; 300])),
        case("streams: a proposal of 2^62 bytes", Stays, |field| bare(field, 50, frames::varint(1 << 62))),
        case("streams: one protocol agreed on, another spoken", LetGo, wrong_tongue).light(),
        case("ping: as fast as it goes", Stays, pings),
        case("ping: megabytes whose echo is not read", Stays, pings_unread),
        case("identify: asked 500 times", Stays, identify_asked),
        case("identify: says it is of another network", LetGo, |field| said(field, other_network)).light(),
        case("identify: an answer as long as it may be", Stays, |field| said(field, crowded)).light(),
        case("identify: pushes another network", LetGo, |field| pushed_until_over(field, other_network)).light(),
        case("identify: pushes 300 times", Stays, |field| pushed(field, 300, crowded)),
        case("identify: pushes garbage", Stays, |field| pushed(field, 5, |_, _| vec![0xff; 2_000])).light(),
        case("identify: pushes a length of 2^62", Stays, |field| pushed(field, 5, |_, _| frames::varint(1 << 62)))
            .light(),
    ]
}

async fn unknown_protocols(field: Arc<Field>) -> Culprits {
    let rogue = field.member(Manners::default()).await;
    for nth in 0..2_000 {
        let Ok(mut stream) = rogue.open_bare().await else { break };
        assert!(!agree(&mut stream, &format!("/nobody/speaks/{nth}")).await.unwrap_or_default());
    }
    vec![Culprit::Rogue(Box::new(rogue))]
}

async fn opened_and_dropped(field: Arc<Field>) -> Culprits {
    let rogue = field.member(Manners::default()).await;
    for _ in 0..2_000 {
        if rogue.open_bare().await.is_err() {
            break;
        }
    }
    vec![Culprit::Rogue(Box::new(rogue))]
}

fn proposals() -> Vec<u8> {
    let lines = (0..900).flat_map(|nth| line(&format!("/nobody/speaks/{nth}")));
    line("/multistream/1.0.0").into_iter().chain(lines).collect()
}

/// Says something on streams before any protocol is agreed on.
async fn bare(field: Arc<Field>, streams: usize, bytes: Vec<u8>) -> Culprits {
    let rogue = field.member(Manners::default()).await;
    for _ in 0..streams {
        let Ok(mut stream) = rogue.open_bare().await else { break };
        stream.write_all(&bytes).await.ok();
        stream.close().await.ok();
        // What comes back does not matter.
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(1), stream.read_to_end(&mut answer)).await.ok();
    }
    vec![Culprit::Rogue(Box::new(rogue))]
}

async fn wrong_tongue(field: Arc<Field>) -> Culprits {
    let rogue = field.member(Manners::default()).await;
    // Gossip where a question of sync belongs: its first four bytes are no length that a question can have.
    let rpc = framed(&[0x7f; 2_000]);
    rogue.ask(&field.sync(), &rpc).await.ok();
    vec![Culprit::Rogue(Box::new(rogue))]
}

async fn ping(rogue: &Rogue) -> io::Result<()> {
    let mut stream = rogue.open(PING).await?;
    let mut echo = [0; 32];
    loop {
        stream.write_all(&[7; 32]).await?;
        stream.flush().await?;
        stream.read_exact(&mut echo).await?;
    }
}

async fn pings(field: Arc<Field>) -> Culprits {
    let rogue = field.member(Manners::default()).await;
    tokio::time::timeout(A_WHILE, ping(&rogue)).await.ok();
    vec![Culprit::Rogue(Box::new(rogue))]
}

async fn pings_unread(field: Arc<Field>) -> Culprits {
    let rogue = field.member(Manners::default()).await;
    let flood = async {
        let mut stream = rogue.open(PING).await?;
        stream.write_all(&vec![7; 4 * 1_024 * 1_024]).await
    };
    tokio::time::timeout(A_WHILE, flood).await.ok();
    vec![Culprit::Rogue(Box::new(rogue))]
}

async fn identify_asked(field: Arc<Field>) -> Culprits {
    let rogue = field.member(Manners::default()).await;
    for _ in 0..500 {
        let Ok(mut stream) = rogue.open(IDENTIFY).await else { break };
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.ok();
    }
    vec![Culprit::Rogue(Box::new(rogue))]
}

/// What a rogue says of itself.
type Said = fn(&Field, &Rogue) -> Vec<u8>;

fn other_network(_: &Field, rogue: &Rogue) -> Vec<u8> {
    framed(&frames::identify("/qasedak/0123456789abcdef/1", &rogue.key.public()))
}

/// All the room that identify gives, with a name that would move a terminal's cursor.
fn crowded(field: &Field, rogue: &Rogue) -> Vec<u8> {
    let honest = frames::identify(&qasedak_p2p::wire::identify_protocol(&field.network), &rogue.key.public());
    let name = frames::field(6, b"\x1b[2J\x1b[31m");
    let protocols: Vec<u8> = (0..300).flat_map(|_| frames::field(3, b"/a")).collect();
    let addresses: Vec<u8> = (0..300).flat_map(|_| frames::field(2, &[4, 10, 0, 0, 1, 6, 0, 80])).collect();
    framed(&[honest, name, protocols, addresses].concat()[..])
}

/// Says it when it is asked, which is on contact.
async fn said(field: Arc<Field>, what: Said) -> Culprits {
    let key = libp2p::identity::Keypair::generate_ed25519();
    let address = field.address();
    let probe = |manners| Rogue::connect_as(key.clone(), &address, &field.network, manners);
    // The words need the rogue's key, so it is made before it connects.
    let words = {
        let rogue = probe(Manners::default()).await.unwrap();
        what(&field, &rogue)
    };
    vec![Culprit::Rogue(Box::new(probe(Manners::identified(Reply::Bytes(words))).await.unwrap()))]
}

/// Pushes once; `false` when there is no stream for it. Whether the victim reads to the end is its own affair.
async fn push(field: &Field, rogue: &Rogue, what: Said) -> bool {
    let Ok(mut stream) = rogue.open(PUSH).await else { return false };
    stream.write_all(&what(field, rogue)).await.ok();
    stream.close().await.ok();
    true
}

async fn pushed(field: Arc<Field>, times: usize, what: Said) -> Culprits {
    let rogue = field.member(Manners::default()).await;
    for _ in 0..times {
        if !push(&field, &rogue, what).await {
            break;
        }
    }
    vec![Culprit::Rogue(Box::new(rogue))]
}

/// Pushes until it is let go: libp2p takes no notice of what is pushed before identify was answered, which a busy machine may
/// put off.
async fn pushed_until_over(field: Arc<Field>, what: Said) -> Culprits {
    let rogue = field.member(Manners::default()).await;
    let mut fate = rogue.fate.clone();
    for _ in 0..100 {
        push(&field, &rogue, what).await;
        if fate.ends_within(Duration::from_millis(100)).await {
            break;
        }
    }
    vec![Culprit::Rogue(Box::new(rogue))]
}
