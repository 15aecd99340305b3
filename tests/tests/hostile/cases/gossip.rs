//! Attacks by gossip: transactions that break rules, floods of those that break none, frames and control messages.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::AsyncWriteExt;
use libp2p::PeerId;
use qasedak_chain::transaction::HEADER_MIN_BYTES;

use crate::{
    field::{
        Case, Culprit, Culprits, Expect,
        Expect::{Either, LetGo, Stays},
        Field, case,
    },
    frames::{self, framed, gossip},
    manners::Manners,
    rogue::Rogue,
    stock::{BODY_AT, Messages, flipped, random},
};

/// How many culprits a flood of invalid messages has: each is let go at its first one.
const FLOODERS: usize = 8;

pub fn cases() -> Vec<Case> {
    let mut cases = transactions();
    cases.extend(control());
    cases.extend(streams());
    cases
}

fn transactions() -> Vec<Case> {
    let from_plain =
        |change: fn(&[u8]) -> Vec<u8>| move |field: &Field| field.stock.plain[..60].iter().map(|m| change(m)).collect();
    vec![
        invalid("garbage", |_| vec![vec![0x55; 700]; 60]),
        invalid("the right header under wrong bodies", from_plain(|m| flipped(m, BODY_AT + 9))),
        invalid("wrong signatures", from_plain(|m| flipped(m, BODY_AT - 60))),
        invalid("wrong stamps", from_plain(|m| flipped(m, BODY_AT - 2))),
        invalid("bodies cut off", from_plain(|m| m[..m.len() - 1].to_vec())),
        invalid("a byte too many", from_plain(|m| [m, &[0]].concat())),
        invalid("nothing", |_| vec![Vec::new(); 60]),
        valid("10,000 copies of a message", Stays, |field| vec![field.stock.plain[100].clone(); 20_000]),
        valid("transactions of this evening", Stays, |field| field.stock.future.clone()),
        valid("transactions of years to come", Stays, |field| field.stock.far_future.clone()),
        valid("transactions without parents here", Stays, |field| field.stock.parentless.clone()),
        valid("large transactions without parents here", Stays, |field| field.stock.parentless_large.clone()),
        valid("large transactions", Stays, |field| field.stock.large[16..].to_vec()),
        valid("headers without bodies", Stays, |field| {
            field.stock.plain[60..100].iter().map(|m| m[..HEADER_MIN_BYTES].to_vec()).collect()
        }),
    ]
}

fn control() -> Vec<Case> {
    vec![
        rpcs("500 messages in one frame", Stays, |field, _| {
            let one = gossip::publish(&field.topic, &field.stock.plain[101]);
            (0..20).map(|_| one.repeat(80)).collect()
        }),
        rpcs("signed messages", LetGo, |field, nth| vec![gossip::publish_signed(&field.topic, &[nth as u8; 600])])
            .light(),
        rpcs("messages of other topics", Stays, |_, nth| vec![gossip::publish(&format!("elsewhere/{nth}"), &[7; 600])])
            .light(),
        rpcs("200 topics at once", Stays, |_, nth| {
            vec![(0..8).flat_map(|one| gossip::subscribe(&format!("elsewhere/{nth}/{one}"), true)).collect()]
        })
        .light(),
        rpcs("coming and going", Stays, |field, _| {
            vec![[gossip::subscribe(&field.topic, false), gossip::subscribe(&field.topic, true)].concat()]
        })
        .light(),
        rpcs("IHAVE of what it never sends", LetGo, |field, _| {
            let ids: Vec<_> = (0..400).map(|_| random()).collect();
            vec![gossip::ihave(&field.topic, &ids)]
        }),
        rpcs("IWANT of what nobody has", Stays, |_, _| {
            vec![gossip::iwant(&(0..400).map(|_| random()).collect::<Vec<_>>())]
        })
        .light(),
        case("gossip: IWANT of the same messages, over and over", Stays, iwant_again),
        rpcs("IDONTWANT of everything", Stays, |_, _| {
            vec![gossip::idontwant(&(0..400).map(|_| random()).collect::<Vec<_>>())]
        })
        .light(),
        rpcs("GRAFT over and over", Either, |field, _| vec![gossip::graft(&field.topic).repeat(50)]),
        rpcs("GRAFT of other topics", Stays, |_, nth| vec![gossip::graft(&format!("elsewhere/{nth}"))]).light(),
        rpcs("GRAFT right behind PRUNE", Either, |field, _| {
            vec![[gossip::prune(&field.topic, 60, &[]), gossip::graft(&field.topic)].concat()]
        }),
        rpcs("PRUNE for the longest time", Stays, |field, _| vec![gossip::prune(&field.topic, u64::MAX, &[])]).light(),
        rpcs("PRUNE for no time", Stays, |field, _| vec![gossip::prune(&field.topic, 0, &[])]).light(),
        rpcs("PRUNE with 300 peers to try", Stays, |field, _| {
            let peers: Vec<_> = (0..300).map(|_| PeerId::random().to_bytes()).collect();
            vec![gossip::prune(&field.topic, 10, &peers)]
        })
        .light(),
        rpcs("fields that nobody knows", Stays, |_, nth| vec![frames::field(1_000 + nth as u64, &[7; 900])]).light(),
    ]
}

fn streams() -> Vec<Case> {
    vec![
        frame("frames that are no protobuf", LetGo, || framed(&[0xff; 300])),
        frame("a frame of 2^62 bytes", LetGo, || frames::varint(1 << 62)),
        frame("a frame over the limit", LetGo, || framed(&vec![0; 70_000])),
        frame("a message of 2^60 bytes in a frame", LetGo, || {
            framed(&[&[0x12][..], &frames::varint(1 << 60)].concat())
        }),
        frame("501 messages in a frame", LetGo, || framed(&gossip::publish("t", &[]).repeat(501))),
        frame("control messages over the limit", LetGo, || framed(&gossip::graft("t").repeat(4_000))),
        frame("streams opened over and over", LetGo, Vec::new),
        case("gossip: large messages to one who does not read", Stays, unread),
    ]
}

/// A flood of messages each of which is the relay's fault.
fn invalid(name: &str, messages: impl Fn(&Field) -> Messages + Send + Sync + 'static) -> Case {
    let messages = Arc::new(messages);
    case(format!("gossip: {name}"), LetGo, move |field| {
        let messages = messages(&field);
        async move {
            let mut culprits = Vec::new();
            for _ in 0..FLOODERS {
                let mut rogue = field.member(Manners::default()).await;
                rogue.publish(&messages).await.ok();
                culprits.push(Culprit::Rogue(Box::new(rogue)));
            }
            culprits
        }
    })
    .light()
}

/// A flood of messages that the relay need not know to be of no use. The victim takes all of it: a stream that it stopped to
/// read would show as an attack without an end. Each attempt has messages of its own, half of them, since those that
/// were sent before cost nothing.
fn valid(name: &str, expect: Expect, messages: fn(&Field) -> Messages) -> Case {
    let attempts = Arc::new(AtomicUsize::new(0));
    case(format!("gossip: {name}"), expect, move |field| {
        let attempts = Arc::clone(&attempts);
        async move {
            let messages = messages(&field);
            let half = messages.len().div_ceil(2);
            let nth = attempts.fetch_add(1, Ordering::Relaxed) % 2;
            let mut rogue = field.member(Manners::default()).await;
            rogue.publish(messages.chunks(half).nth(nth).unwrap_or_default()).await.ok();
            vec![Culprit::Rogue(Box::new(rogue))]
        }
    })
}

/// 300 rounds of RPCs, in four seconds at most.
fn rpcs(name: &str, expect: Expect, rpc: fn(&Field, usize) -> Vec<Vec<u8>>) -> Case {
    case(format!("gossip: {name}"), expect, move |field| async move {
        let mut rogue = field.member(Manners::default()).await;
        let flood = async {
            for nth in 0..300 {
                for rpc in rpc(&field, nth) {
                    if rogue.gossip(&rpc).await.is_err() {
                        return;
                    }
                }
                // Over several heartbeats: some bounds are for each.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(4), flood).await.ok();
        vec![Culprit::Rogue(Box::new(rogue))]
    })
}

/// A frame that ends its stream, on one stream after the other.
fn frame(name: &str, expect: Expect, bytes: fn() -> Vec<u8>) -> Case {
    case(format!("gossip: {name}"), expect, move |field| async move {
        let mut rogue = field.rogue(Manners::default()).await;
        for _ in 0..10 {
            if rogue.subscribe().await.is_err() {
                break;
            }
            rogue.gossip_bytes(&bytes()).await.ok();
            if let Some(mut stream) = rogue.gossip.take() {
                stream.close().await.ok();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        vec![Culprit::Rogue(Box::new(rogue))]
    })
    .light()
}

/// Sends messages through the victim and asks for each of them again and again.
async fn iwant_again(field: Arc<Field>) -> Culprits {
    let mut rogue = field.member(Manners::default()).await;
    let mut other = field.member(Manners::default()).await;
    let sent = &field.stock.large[..16];
    other.publish(sent).await.ok();
    let ids: Vec<_> = sent.iter().map(|message| qasedak_p2p::wire::gossip_message_id(message)).collect();
    for _ in 0..100 {
        if rogue.gossip(&gossip::iwant(&ids)).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // gossipsub sends one message at most three times to one who asks for it, and once unasked.
    let heard = rogue.heard.load(Ordering::Relaxed);
    assert!(heard < 16 * 4 * 70_000 + 1_000_000, "{heard} bytes were sent to one who asks again");
    vec![Culprit::Rogue(Box::new(rogue)), Culprit::Rogue(Box::new(other))]
}

/// Eight members of the mesh that read nothing, while large messages flow.
async fn unread(field: Arc<Field>) -> Culprits {
    let mut culprits = Vec::new();
    for _ in 0..8 {
        let manners = Manners { reads_gossip: false, ..Manners::default() };
        let mut rogue: Rogue = field.member(manners).await;
        rogue.gossip(&gossip::graft(&field.topic)).await.ok();
        culprits.push(Culprit::Rogue(Box::new(rogue)));
    }
    let mut other = field.member(Manners::default()).await;
    other.publish(&field.stock.large[150..]).await.ok();
    tokio::time::sleep(Duration::from_secs(1)).await;
    culprits.push(Culprit::Rogue(Box::new(other)));
    culprits
}
