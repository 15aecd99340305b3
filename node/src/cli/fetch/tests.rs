//! What a hostile finder may answer: nothing but what is genuine and for this wallet gets in.

use super::*;
use crate::testing::{card_of, draft, letter, wallet};

const LOG: LogId = LogId::from_bytes([3; 16]);

fn fetched(wallet: &mut Wallet, transactions: Vec<String>, next: u64) -> Fetched {
    let page = Found { transactions, next: String::new(), more: false, missing: 2 };
    let mut fetched = Fetched::default();
    take(wallet, &Network::dev(), &LOG, &page, next, now(), &mut fetched).unwrap();
    fetched
}

#[test]
fn only_what_is_genuine_and_for_this_wallet_gets_in() {
    let home = tempfile::tempdir().unwrap();
    let (mut ann, mut bob) = (wallet(home.path(), 1), wallet(home.path(), 2));
    let ((own_card, to_ann), (_, to_bob)) = (card_of(&mut ann, &draft()), card_of(&mut bob, &draft()));
    let good = letter(&bob, &to_ann, "the parcel is here", &draft());
    let hex_of = |transaction: &Transaction| hex::encode(transaction.to_bytes());
    let others = vec![
        hex_of(&letter(&ann, &to_bob, "for Bob", &draft())),
        hex_of(&own_card),
        hex::encode(good.header().to_bytes()),
        String::new(),
        "zz".to_owned(),
        "00".repeat(TRANSACTION_MAX_BYTES + 1),
        hex_of(&good)[2..].to_owned(),
        hex_of(&good) + "00",
    ];
    // A header without its body is well formed: it is for this wallet and does not open.
    let count = others.len();
    let came = fetched(&mut ann, others, 5);
    assert_eq!((came.refused, came.not_opened, came.messages, came.requests), (count - 1, 1, 0, 0));
    assert_eq!((came.missing, ann.cursor(&LOG).unwrap()), (2, Position::new(5)));

    // Every byte of the header and some of the body, changed.
    let bytes = good.to_bytes();
    let places = (0..good.header().to_bytes().len()).chain((250..bytes.len()).step_by(97));
    let changed: Vec<String> = places
        .map(|at| {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            hex::encode(changed)
        })
        .collect();
    for page in changed.chunks(PAGE_MAX) {
        let came = fetched(&mut ann, page.to_vec(), 6);
        assert_eq!((came.refused, came.requests), (page.len(), 0), "{came:?}");
    }

    // The genuine one gets in, once. Bob is a stranger.
    let came = fetched(&mut ann, vec![hex_of(&good), hex_of(&good)], 7);
    assert_eq!((came.requests, came.passed_over, came.refused), (1, 1, 0));
    assert_eq!(fetched(&mut ann, vec![hex_of(&good)], 8).passed_over, 1);
}

/// Whatever is said, it is said in sentences of this program.
#[test]
fn counts_are_told_in_plain_words() {
    assert_eq!(text(&Fetched::default()), "no new messages\n");
    let told = text(&Fetched { messages: 2, requests: 1, refused: 3, ..Fetched::default() });
    assert!(told.starts_with("new messages: 2, and 1 of strangers\n3 are not valid"), "{told}");
}
