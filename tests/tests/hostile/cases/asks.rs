//! Questions of sync that are none, that are too many, and whose answers nobody reads.

use std::{sync::Arc, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt, future::join_all};
use qasedak_chain::Network;
use qasedak_p2p::wire::{IDS_MAX, RECONCILE_ASK_MAX, REQUEST_MAX_BYTES, Request, WANT_MAX};

use crate::{
    field::{
        Case, Culprit, Culprits,
        Expect::{Either, LetGo, Stays},
        Field, case, sync_versions,
    },
    frames,
    manners::Manners,
    rogue::Rogue,
    stock::random,
};

pub fn cases(network: &Network) -> Vec<Case> {
    let mut cases = Vec::new();
    let newest = sync_versions(network).len() as u32;
    for (protocol, version) in sync_versions(network) {
        let more = if version == newest { malformed_newest() } else { Vec::new() };
        for (name, bytes) in malformed().into_iter().chain(more) {
            let protocol = protocol.clone();
            let name = format!("sync/{version}: {name}");
            let attack = move |field| asked(field, protocol.clone(), bytes.clone());
            cases.push(case(name, LetGo, attack).light());
        }
        let protocol = protocol.clone();
        cases.push(case(format!("sync/{version}: cut off in the middle, 300 times"), Stays, move |field| {
            cut_off(field, protocol.clone())
        }));
    }
    let [old, second] = [0, 1].map(|nth| sync_versions(network).swap_remove(nth).0);
    let reconcile = Request::Reconcile { salt: [7; 16], from: 0, to: 60, message: vec![0x61] };
    let reconcile = frames::sync(&reconcile.to_bytes().unwrap());
    let checkpoint = frames::sync(&Request::Checkpoint { known: None }.to_bytes().unwrap());
    cases.extend([
        case("sync/1: a question that only later versions have", LetGo, move |field| {
            asked(field, old.clone(), checkpoint.clone())
        })
        .light(),
        case("sync/2: a question that only the newest version has", LetGo, move |field| {
            asked(field, second.clone(), reconcile.clone())
        })
        .light(),
        case("sync: 2,000 questions in a row", LetGo, flood),
        case("sync: 1,000 transactions that nobody has", Stays, unknown_transactions),
        case("sync: answers of a megabyte that nobody reads", Either, unread),
        case("sync: the end right behind each question", Stays, half_closed),
    ]);
    cases
}

/// Frames that no honest peer sends, whatever the version.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let variant = |number: u32| number.to_le_bytes().to_vec();
    let whole = Request::Days { from: 7 }.to_bytes().unwrap();
    let ids =
        |count: u64| [variant(3), count.to_le_bytes().to_vec(), vec![7; 32 * count as usize], variant(0)].concat();
    let day = |max: u32| [variant(2), vec![0; 8], vec![0], max.to_le_bytes().to_vec()].concat();
    vec![
        ("garbage", frames::sync(&[0xff; 64])),
        ("nothing at all", frames::sync(&[])),
        ("one byte over the longest frame", (REQUEST_MAX_BYTES as u32 + 1).to_le_bytes().to_vec()),
        ("a frame of 4 GiB", u32::MAX.to_le_bytes().to_vec()),
        ("a list of 2^60 ids", frames::sync(&[variant(3), (1_u64 << 60).to_le_bytes().to_vec()].concat())),
        ("no ids", frames::sync(&ids(0))),
        ("one id too many", frames::sync(&ids(WANT_MAX as u64 + 1))),
        ("a page of no places", frames::sync(&day(0))),
        ("a page of too many places", frames::sync(&day(IDS_MAX as u32 + 1))),
        ("a byte behind the question", frames::sync(&[&whole[..], &[0]].concat())),
        ("a question that ends early", frames::sync(&whole[..whole.len() - 1])),
    ]
}

/// Reconciliations and lists of aliases that no honest peer asks for.
fn malformed_newest() -> Vec<(&'static str, Vec<u8>)> {
    let spanned = |number: u32, from: u64, to: u64, rest: &[u8]| {
        let front = [&number.to_le_bytes()[..], &[7; 16], &from.to_le_bytes(), &to.to_le_bytes()].concat();
        frames::sync(&[&front, rest].concat())
    };
    let listed = |count: u64, bytes: &[u8]| [&count.to_le_bytes()[..], bytes].concat();
    let message = |bytes: &[u8]| spanned(5, 0, 86_400, &listed(bytes.len() as u64, bytes));
    let aliases = |from, to, count: u64| {
        let list = listed(count, &vec![9; 8 * count as usize]);
        spanned(6, from, to, &[&list[..], &[0, 0, 1, 0]].concat())
    };
    let whole = listed(1, &[0x61]);
    vec![
        ("a reconciliation of nothing", message(&[])),
        ("a reconciliation of another version", message(&[0x60, 0, 0, 0])),
        ("a reconciliation of garbage", message(&[&[0x61][..], &[0xff; 400]].concat())),
        ("a reconciliation with a mode that is none", message(&[0x61, 0, 0, 7])),
        ("a reconciliation that ends early", message(&[0x61, 0, 0, 1, 9, 9, 9])),
        (
            "a reconciliation that lists 2^60 aliases",
            message(&[0x61, 0, 0, 2, 0x90, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0]),
        ),
        ("a reconciliation with a bound of 9 bytes", message(&[&[0x61, 5, 9][..], &[1; 9], &[0]].concat())),
        ("a reconciliation longer than may be", message(&vec![0x61; RECONCILE_ASK_MAX + 1])),
        ("a reconciliation that claims 2^60 bytes", spanned(5, 0, 60, &(1_u64 << 60).to_le_bytes())),
        ("a span that ends where it begins", spanned(5, 60, 60, &whole)),
        ("a span that runs backwards", spanned(5, 120, 60, &whole)),
        ("a span of half a minute", spanned(5, 0, 30, &whole)),
        ("a span behind the end of time", spanned(5, 0, (1 << 40) + 60, &whole)),
        ("no aliases", aliases(0, 60, 0)),
        ("one alias too many", aliases(0, 60, WANT_MAX as u64 + 1)),
        ("a list of 2^60 aliases", spanned(6, 0, 60, &(1_u64 << 60).to_le_bytes())),
        ("aliases in a span that runs backwards", aliases(120, 60, 1)),
    ]
}

async fn asked(field: Arc<Field>, protocol: String, bytes: Vec<u8>) -> Culprits {
    let rogue = field.rogue(Manners::default()).await;
    rogue.ask(&protocol, &bytes).await.ok();
    vec![Culprit::Rogue(Box::new(rogue))]
}

async fn cut_off(field: Arc<Field>, protocol: String) -> Culprits {
    let rogue = field.member(Manners::default()).await;
    for _ in 0..300 {
        if rogue.ask(&protocol, &[200, 0]).await.is_err() {
            break;
        }
    }
    vec![Culprit::Rogue(Box::new(rogue))]
}

async fn flood(field: Arc<Field>) -> Culprits {
    let rogue = field.member(Manners::default()).await;
    let question = frames::sync(&Request::Days { from: 0 }.to_bytes().unwrap());
    for _ in 0..2_000 {
        let Ok(mut stream) = rogue.ask(&field.sync(), &question).await else { break };
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
    }
    vec![Culprit::Rogue(Box::new(rogue))]
}

async fn unknown_transactions(field: Arc<Field>) -> Culprits {
    let rogue = field.member(Manners::default()).await;
    for _ in 0..4 {
        let ids = (0..250).map(|_| random()).collect();
        let question = Request::Transactions { ids, max_bytes: u32::MAX }.to_bytes().unwrap();
        let mut stream = rogue.ask(&field.sync(), &frames::sync(&question)).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
    }
    vec![Culprit::Rogue(Box::new(rogue))]
}

/// Gives the victim large transactions, and asks for them on all streams at once, on both connections that one peer may
/// have, without reading.
async fn unread(field: Arc<Field>) -> Culprits {
    let network = &field.network;
    let mut rogue = field.member(Manners::default()).await;
    let given = &field.stock.large[..16];
    rogue.publish(given).await.ok();
    let id = |message| *qasedak_chain::Transaction::from_bytes(network, message).unwrap().id().as_bytes();
    let question = Request::Transactions { ids: given.iter().map(|m| id(m)).collect(), max_bytes: u32::MAX };
    let question = frames::sync(&question.to_bytes().unwrap());
    let second = Rogue::connect_as(rogue.key.clone(), &field.address(), network, Manners::default()).await.unwrap();
    let (mut streams, protocol) = (Vec::new(), field.sync());
    for rogue in [&rogue, &second] {
        let asked = join_all((0..48).map(|_| rogue.ask(&protocol, &question)));
        streams.extend(tokio::time::timeout(Duration::from_secs(5), asked).await.unwrap_or_default());
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    drop(streams);
    vec![Culprit::Rogue(Box::new(rogue)), Culprit::Rogue(Box::new(second))]
}

async fn half_closed(field: Arc<Field>) -> Culprits {
    let rogue = field.member(Manners::default()).await;
    let question = frames::sync(&Request::Days { from: 0 }.to_bytes().unwrap());
    for _ in 0..50 {
        let mut stream = rogue.ask(&field.sync(), &question).await.unwrap();
        stream.close().await.ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        assert!(answer.len() > 4, "a question whose end is closed is answered");
    }
    vec![Culprit::Rogue(Box::new(rogue))]
}
