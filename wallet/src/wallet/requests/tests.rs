//! Strangers: apart, bounded, blocked; they hide nothing that contacts send.

use qasedak_chain::{Network, Position, Time, TxId};
use tempfile::TempDir;

use super::*;
use crate::{
    Content, Draft, KdfCost, Message, Opened, Phrase, SealKeyId,
    card::Card,
    inner::InnerId,
    testing::{NOW, Person, draft, message, person, rng, text},
    wallet::{HistoryEntry, LogId, Recorded, Scanned, SentState},
};

const LOG: LogId = LogId::from_bytes([1; 16]);

fn wallet() -> (TempDir, Wallet) {
    let dir = tempfile::tempdir().unwrap();
    let phrase = Phrase::from_entropy(&[9; 32]).unwrap();
    let cost = KdfCost::for_tests();
    let wallet = Wallet::create(dir.path(), &Network::dev(), &phrase, "p", cost, NOW, &mut rng(1)).unwrap();
    (dir, wallet)
}

/// What opening a message gives.
fn from(sender: &Person, to: &Wallet, number: u64, content: Content) -> Opened {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_le_bytes());
    id[8..].copy_from_slice(&sender.card.address().as_bytes()[..24]);
    Opened {
        tx_id: TxId::from_bytes(id),
        inner_id: InnerId::from_bytes(id),
        sender: sender.card.address(),
        recipient: to.address(),
        message: Message::new(content, number),
        time: NOW,
        lifetime_secs: 30 * 86_400,
        seal_key: SealKeyId::new(1),
    }
}

fn record(wallet: &mut Wallet, opened: Vec<Opened>, now: Time) -> Recorded {
    wallet.record_scanned(&LOG, Scanned { next: Position::new(1), opened, ..Scanned::default() }, now).unwrap()
}

fn texts(messages: &[StoredMessage]) -> Vec<&str> {
    messages.iter().map(|message| message.content.text().unwrap()).collect()
}

#[test]
fn strangers_wait_until_they_are_accepted() {
    let (dir, mut wallet) = wallet();
    let (ann, eve) = (person(1), person(2));
    let mail = vec![from(&ann, &wallet, 1, text("hello")), from(&eve, &wallet, 2, text("buy"))];
    let recorded = record(&mut wallet, mail.clone(), NOW);
    assert_eq!((recorded.kept.len(), recorded.requests), (0, 2));
    assert_eq!(record(&mut wallet, mail, NOW).duplicates, 2);
    assert_eq!(texts(&wallet.requests().unwrap()), ["hello", "buy"]);
    drop(wallet);
    let mut wallet = Wallet::open(dir.path(), &Network::dev(), "p", NOW).unwrap();
    assert_eq!((wallet.requests_waiting(), wallet.inbox(None, 9).unwrap().len()), (2, 0));
    wallet.add_contact("Ann", ann.card.address()).unwrap();
    wallet.set_receipts("Ann", true).unwrap();
    // They come to the inbox as new, and no receipt is owed for what was a request.
    let inbox = wallet.inbox(Some(2), 9).unwrap();
    assert_eq!((texts(&inbox), inbox[0].seq), (vec!["hello"], 3));
    assert_eq!((wallet.receipts_owed(), wallet.requests_waiting()), (vec![], 1));
    let again = vec![from(&ann, &wallet, 1, text("hello"))];
    assert_eq!(record(&mut wallet, again, NOW).duplicates, 1);
    // Whom one writes to is a stranger no more.
    let sealed = wallet.seal(&eve.card, message("no, thanks"), &draft(), &mut rng(3)).unwrap();
    wallet.record_sent(TxId::from_bytes([3; 32]), &sealed.record).unwrap();
    assert_eq!((wallet.requests_waiting(), wallet.inbox(None, 9).unwrap().len()), (0, 2));
}

#[test]
fn who_is_blocked_is_not_heard() {
    let (dir, mut wallet) = wallet();
    let (ann, eve) = (person(1), person(2));
    wallet.add_contact("Ann", ann.card.address()).unwrap();
    let first = vec![from(&eve, &wallet, 1, text("one")), from(&ann, &wallet, 2, text("from a contact"))];
    record(&mut wallet, first, NOW);
    for blocked in [&ann, &eve] {
        wallet.block(&blocked.card.address(), NOW).unwrap();
    }
    assert_eq!(wallet.requests_waiting(), 0);
    drop(wallet);
    let mut wallet = Wallet::open(dir.path(), &Network::dev(), "p", NOW).unwrap();
    let more = vec![from(&eve, &wallet, 3, text("two")), from(&ann, &wallet, 4, text("three"))];
    let recorded = record(&mut wallet, more, NOW);
    assert_eq!((recorded.blocked, recorded.kept.len(), recorded.requests), (2, 0, 0));
    // Once more, later: they are blocked since the first time.
    wallet.block(&ann.card.address(), NOW.plus(500)).unwrap();
    let mut blocked: Vec<_> = [&ann, &eve].map(|person| (person.card.address(), NOW)).into();
    blocked.sort();
    assert_eq!(wallet.blocked().map(|(address, since)| (*address, since)).collect::<Vec<_>>(), blocked);
    assert!(wallet.unblock(&ann.card.address()).unwrap());
    let more = vec![from(&ann, &wallet, 5, text("four"))];
    assert_eq!(texts(&record(&mut wallet, more, NOW).kept), ["four"]);
}

#[test]
fn a_flood_is_bounded_and_hides_nothing() {
    let (dir, mut wallet) = wallet();
    let (ann, eve) = (person(1), person(2));
    wallet.add_contact("Ann", ann.card.address()).unwrap();
    let long = "x".repeat(60_000);
    let before = vec![from(&ann, &wallet, 1, text("before the flood"))];
    record(&mut wallet, before, NOW);
    // One sender, then many with long texts, then many with short ones.
    let flood: Vec<Opened> = (10..60).map(|n| from(&eve, &wallet, n, text("flood"))).collect();
    assert_eq!(record(&mut wallet, flood, NOW).requests, 50);
    assert_eq!(wallet.requests_waiting(), REQUESTS_PER_SENDER_MAX);
    for n in 0..3u64 {
        let strangers = (0..50u8).map(|k| Opened {
            sender: person(k + 10).card.address(),
            ..from(&person(k + 10), &wallet, 100 + n, text(&long))
        });
        let mut mail: Vec<Opened> = strangers.collect();
        mail.push(from(&ann, &wallet, 200 + n, text("in the flood")));
        assert_eq!(record(&mut wallet, mail, NOW).kept.len(), 1);
        assert!(wallet.requests_waiting() * long.len() <= REQUEST_BYTES_MAX + long.len());
    }
    for n in 0..8u64 {
        let mail = (0..50u8).map(|k| from(&person(k + 10), &wallet, 1_000 + n, text("short"))).collect();
        record(&mut wallet, mail, NOW);
    }
    assert_eq!(wallet.requests_waiting(), REQUESTS_MAX);
    assert_eq!(
        texts(&wallet.inbox(None, 9).unwrap()),
        ["before the flood", "in the flood", "in the flood", "in the flood"]
    );
    // However long it goes on, the file holds at most twice what is alive, and the commit that filled it up.
    for n in 0..40u64 {
        let flood = (0..16u8).map(|k| from(&person(k + 10), &wallet, 2_000 + n, text(&long))).collect();
        record(&mut wallet, flood, NOW);
        let bytes = std::fs::metadata(dir.path().join("db").join("journal.seg")).unwrap().len();
        assert!(bytes <= 3 * REQUEST_BYTES_MAX as u64, "{bytes} after {n}");
    }
    for n in 0..8u64 {
        let mail = (0..50u8).map(|k| from(&person(k + 10), &wallet, 3_000 + n, text("short"))).collect();
        record(&mut wallet, mail, NOW);
    }
    let rows = wallet.vault.raw(Class::Request).unwrap().len() + wallet.vault.raw(Class::Known).unwrap().len();
    assert_eq!(rows, 2 * REQUESTS_MAX + 4, "what fell out left nothing behind");
    drop(wallet);
    assert_eq!(Wallet::open(dir.path(), &Network::dev(), "p", NOW).unwrap().requests_waiting(), REQUESTS_MAX);
}

#[test]
fn receipts_are_owed_to_whom_they_are_on_for_and_believed_of_the_recipient_only() {
    let (dir, mut wallet) = wallet();
    let (ann, bob, eve) = (person(1), person(2), person(3));
    wallet.add_contact("Ann", ann.card.address()).unwrap();
    wallet.add_contact("Bob", bob.card.address()).unwrap();
    wallet.set_receipts("Ann", true).unwrap();
    let mail: Vec<Opened> = [&ann, &bob, &eve].iter().map(|sender| from(sender, &wallet, 1, text("hi"))).collect();
    record(&mut wallet, mail.clone(), NOW);
    drop(wallet);
    let mut wallet = Wallet::open(dir.path(), &Network::dev(), "p", NOW).unwrap();
    let owed = wallet.receipts_owed();
    assert_eq!(owed.len(), 1);
    assert_eq!(
        (owed[0].to, &owed[0].content),
        (ann.card.address(), &Content::Receipt(vec![*mail[0].inner_id.as_bytes()]))
    );
    let sealed = wallet.seal_receipt(&owed[0], &ann.card, 1, &draft(), &mut rng(2)).unwrap();
    assert_eq!((sealed.record.message.content, sealed.record.sender), (owed[0].content.clone(), wallet.address()));
    wallet.record_receipt(&owed[0]).unwrap();
    assert_eq!(wallet.receipts_owed(), []);

    let sealed = wallet.seal(&bob.card, message("did it come?"), &draft(), &mut rng(3)).unwrap();
    let number = wallet.record_sent(TxId::from_bytes([3; 32]), &sealed.record).unwrap();
    let receipt = Content::Receipt(vec![[1; 32], *sealed.record.inner_id.as_bytes()]);
    let state = |wallet: &Wallet| wallet.sent(Some(number - 1), 1).unwrap()[0].state;
    for (sender, delivered) in [(&eve, 0), (&ann, 0), (&bob, 1), (&bob, 0)] {
        assert_eq!(state(&wallet) == SentState::Sent, delivered == 1 || sender.card != bob.card);
        let mail = vec![from(sender, &wallet, 50, receipt.clone())];
        let recorded = record(&mut wallet, mail, NOW.plus(7));
        assert_eq!((recorded.delivered, recorded.kept.len(), recorded.requests), (delivered, 0, 0));
    }
    assert_eq!(state(&wallet), SentState::Delivered(NOW.plus(7)));
    // A receipt is answered by none, and is no message in a history.
    assert_eq!(wallet.receipts_owed(), []);
    assert_eq!(wallet.history(&bob.card.address(), None, 9, None).unwrap().len(), 2);
}

#[test]
fn histories_page_backwards_and_are_searched() {
    let (_dir, mut wallet) = wallet();
    let (ann, bob) = (person(1), person(2));
    wallet.add_contact("Ann", ann.card.address()).unwrap();
    wallet.add_contact("Bob", bob.card.address()).unwrap();
    for n in 0..10u64 {
        let mail = vec![from(&ann, &wallet, n, text(&format!("Ann {n}"))), from(&bob, &wallet, n, text("Bob"))];
        record(&mut wallet, mail, NOW);
        let reply_to = Some(wallet.inbox(None, 99).unwrap().last().unwrap().inner_id);
        let answer = Message { content: text(&format!("ÉTÉ {n}")), time_ms: 1, reply_to };
        let place = Draft { lifetime_secs: 86_400, ..draft() };
        let card: &Card = &ann.card;
        let sealed = wallet.seal(card, answer, &place, &mut rng(n)).unwrap();
        wallet.record_sent(TxId::from_bytes([n as u8; 32]), &sealed.record).unwrap();
    }
    let page = |before, search| {
        let page = wallet.history(&ann.card.address(), before, 3, search).unwrap();
        let shown: Vec<String> = page.iter().map(|entry| entry.text().unwrap().to_owned()).collect();
        (shown, page.first().map(HistoryEntry::number))
    };
    let (newest, first) = page(None, None);
    assert_eq!(newest, ["ÉTÉ 8", "Ann 9", "ÉTÉ 9"]);
    assert_eq!(page(first, None).0, ["Ann 7", "ÉTÉ 7", "Ann 8"]);
    assert_eq!(page(None, Some("e\u{301}te\u{301} 4")).0, ["ÉTÉ 4"]);
    assert_eq!(page(None, Some("nowhere")).0, [""; 0]);
    let HistoryEntry::Sent(sent) = &wallet.history(&ann.card.address(), None, 1, None).unwrap()[0] else {
        panic!("the newest was sent");
    };
    assert!(sent.record.as_ref().unwrap().message.reply_to.is_some());
}
