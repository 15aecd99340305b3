//! Lies in reconciliations. The victim reconciles a day of which the other side says that it has about as much as itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use qasedak_chain::time::DAY_SECS;
use qasedak_p2p::wire::{DayDigest, RECONCILE_ANSWER_MAX, Request, Response};

use crate::{
    field::{
        Case, Culprit, Culprits,
        Expect::{self, Either, LetGo, Stays},
        Field, case,
    },
    manners::{Manners, Reply, mirror, response},
    rogue::PATIENCE,
    stock::{now_secs, random},
};

/// What is said to the message of a round.
type Answer = fn(&[u8]) -> Vec<u8>;
/// What is said when transactions are asked for by their aliases.
type Sent = fn(&Field) -> Vec<Vec<u8>>;

/// How many transactions of today the rogue claims to have: more than are listed without reconciling, and few enough that
/// the victim has a part of it.
const CLAIMED: u64 = 100;
/// How long it goes on lying when it is not let go.
const TIME: Duration = Duration::from_secs(2);

pub fn cases() -> Vec<Case> {
    let nothing: Sent = |_| Vec::new();
    vec![
        lie("garbage", LetGo, |_| vec![0xff; 200], nothing).light(),
        lie("nothing at all", LetGo, |_| Vec::new(), nothing).light(),
        lie("a mode that is none", LetGo, |_| vec![0x61, 0, 0, 7], nothing).light(),
        lie("a list of 2^60 aliases", LetGo, |_| [&[0x61, 0, 0, 2, 0x90][..], &[0x80; 7], &[0]].concat(), nothing)
            .light(),
        lie("the victim's own message, one bit of it changed", Either, changed, nothing),
        lie("another fingerprint of everything, for ever", Either, |_| fingerprint(), nothing),
        lie("50 aliases that are made up", Stays, |_| aliases(50), nothing),
        lie("as many made-up aliases as an answer holds", Either, |_| aliases(RECONCILE_ANSWER_MAX / 8 - 2), nothing),
        lie(
            "made-up aliases, and transactions of other names",
            LetGo,
            |_| aliases(50),
            |field| field.stock.plain[..3].to_vec(),
        ),
        case("reconciling: too much for each span", Either, |field| {
            told(field, |request| match request {
                Request::Reconcile { .. } => Some(response(&Response::Reconciled(None))),
                _ => None,
            })
        }),
    ]
}

fn lie(name: &str, expect: Expect, answer: Answer, sent: Sent) -> Case {
    case(format!("reconciling: {name}"), expect, move |field| {
        let stock = Arc::clone(&field);
        told(field, move |request| match request {
            Request::Reconcile { message, .. } => Some(response(&Response::Reconciled(Some(answer(message))))),
            Request::Aliased { .. } => Some(response(&Response::Transactions(sent(&stock)))),
            _ => None,
        })
    })
}

/// Claims to have other transactions of today, and lies when they are reconciled.
async fn told(field: Arc<Field>, lie: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> Culprits {
    let asked = Arc::new(AtomicU64::new(0));
    let rounds = Arc::clone(&asked);
    let manners = Manners::answering(move |request| match request {
        Request::Digest { .. } => response(&Response::Digest { count: 1 << 40, digest: random() }),
        Request::Days { .. } => {
            let today = DayDigest { day: now_secs() / DAY_SECS, count: CLAIMED, digest: random() };
            response(&Response::Days(vec![today]))
        }
        other => {
            rounds.fetch_add(u64::from(matches!(other, Request::Reconcile { .. })), Ordering::Relaxed);
            lie(other).unwrap_or_else(|| mirror(other))
        }
    });
    let mut rogue = field.rogue(manners).await;
    // It may be let go before that.
    rogue.subscribe().await.ok();
    let began = Instant::now();
    while asked.load(Ordering::Relaxed) == 0 {
        assert!(began.elapsed() < PATIENCE, "the victim does not reconcile, so nothing is tried here");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(TIME).await;
    vec![Culprit::Rogue(Box::new(rogue))]
}

/// A range that is all there is, with a fingerprint that nobody has.
fn fingerprint() -> Vec<u8> {
    [&[0x61, 0, 0, 1][..], &random()[..16]].concat()
}

/// A range that is all there is, with a list of aliases that nobody has.
fn aliases(count: usize) -> Vec<u8> {
    let mut message = vec![0x61, 0, 0, 2];
    // Base 128, highest digit first.
    message.extend([(count >> 14) as u8 | 0x80, (count >> 7) as u8 | 0x80, count as u8 & 0x7f]);
    if count < 1 << 14 {
        message.remove(4);
    }
    if count < 1 << 7 {
        message.remove(4);
    }
    message.extend((0..count).flat_map(|_| random().into_iter().take(8)));
    message
}

fn changed(message: &[u8]) -> Vec<u8> {
    let mut other = message.to_vec();
    let at = usize::from(u16::from_le_bytes([random()[0], random()[1]])) % (other.len().max(2) - 1);
    // Not the version.
    if let Some(byte) = other.get_mut(at + 1) {
        *byte ^= 1;
    }
    other
}
