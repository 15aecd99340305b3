//! A node's mail on a real ledger, outbox and wallet, with virtual days and without peers.

use std::{collections::BTreeSet, path::Path};

use qasedak_chain::{retention::Keep, store::disk::DiskCheckpoints, transaction::Header};
use qasedak_p2p::driver::{self, Limits, PeerKey};
use qasedak_wallet::{
    Account, Card, Opened, SealKey, SealKeyId,
    card::{LIFETIME_SECS, RENEW_AFTER_SECS},
    keys::Keys,
    wallet::{LogId, Scanned},
};

use super::*;
use crate::{
    node::read,
    testing::{append_at, card_of, ledger, letter, wallet},
};

const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;
const OWN: Account = Account::new(0);

/// The mail of a wallet on a node that runs nothing by itself but its network.
async fn mail_of(home: &Path, wallet: Wallet) -> Arc<Mail> {
    let dev = Network::dev();
    let ledger = ledger(&home.join("ledger"));
    let outbox = Arc::new(DiskOutbox::open(&home.join("outbox"), &dev).unwrap());
    let checkpoints = Arc::new(DiskCheckpoints::open(&home.join("checkpoints"), &dev).unwrap());
    let config = driver::Config {
        key: PeerKey::from_bytes([5; 32]).unwrap(),
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        peers: Vec::new(),
        mdns: false,
        seed: [1; 32],
        limits: Limits::default(),
        log_id: [6; 16],
    };
    let kept: Arc<dyn Outbox> = outbox.clone();
    let p2p = driver::start(config, Arc::clone(&ledger), kept, checkpoints).await.unwrap();
    Arc::new(Mail::new(wallet, ledger, outbox, p2p, Stamper::new(dev)))
}

/// The own cards in the outbox.
fn cards(mail: &Mail) -> Vec<(Transaction, Card)> {
    let own = mail.address;
    let all = mail.outbox.all().unwrap().into_iter();
    all.filter_map(|tx| Card::open(&Network::dev(), &own, &tx).ok().map(|card| (tx, card))).collect()
}

#[tokio::test]
async fn over_sixty_days_there_is_always_a_card_and_three_keys_do() {
    let home = tempfile::tempdir().unwrap();
    let mail = mail_of(home.path(), wallet(home.path(), 1)).await;
    let start = now();
    let mut made = BTreeSet::new();
    for hour in 0..60 * 24 {
        let now = start.plus(hour * HOUR);
        mail.publish_cards(now).await.unwrap();
        let cards = cards(&mail);
        let newest = cards.iter().max_by_key(|(_, card)| card.sequence()).unwrap();
        // Its body is on the ledger, and a message of 90 days may be sealed to it.
        assert!(newest.0.core().expires() > now && newest.1.opens_until() >= now.plus(90 * DAY), "hour {hour}");
        made.extend(cards.iter().map(|(_, card)| card.sequence()));
    }
    assert_eq!((made.len(), cards(&mail).len()), (3, 3), "one in {} days", RENEW_AFTER_SECS / DAY);
    assert!(u64::from(LIFETIME_SECS) > RENEW_AFTER_SECS);
    assert_eq!(mail.wallet().seal_keys(OWN).count(), 3);
}

/// However often a card does not get out, or is not found again, mail to the first one opens.
#[tokio::test]
async fn seal_keys_do_not_pile_up_while_a_card_is_not_found() {
    let home = tempfile::tempdir().unwrap();
    let mail = mail_of(home.path(), wallet(home.path(), 1)).await;
    let bob = wallet(home.path(), 2);
    let mut first = None;
    for attempt in 0..70 {
        mail.publish_cards(now().plus(attempt * HOUR)).await.unwrap();
        let [(transaction, card)] = cards(&mail).try_into().unwrap();
        mail.outbox.remove(&[transaction.id()]).unwrap();
        first.get_or_insert(card);
    }
    assert_eq!(mail.wallet().seal_keys(OWN).count(), 1);
    let place = mail.draft(now()).unwrap();
    let to_first = letter(&bob, &first.unwrap(), "hello", &place);
    assert!(mail.wallet().open_transaction(&to_first).is_ok());
}

/// The ledger's clock is ahead, as after a day on which the system's was: cards are dated by it, and found by it.
#[tokio::test]
async fn a_card_that_is_dated_ahead_is_found_again() {
    let home = tempfile::tempdir().unwrap();
    let mail = mail_of(home.path(), wallet(home.path(), 1)).await;
    let mut bob = wallet(home.path(), 2);
    let card = card_of(&mut bob, &mail.draft(now()).unwrap()).0;
    append_at(&mail.ledger, &card, now().plus(100 * DAY));
    for _ in 0..3 {
        mail.publish_cards(now()).await.unwrap();
    }
    let [(transaction, _)] = cards(&mail).try_into().unwrap();
    assert!(transaction.core().time() >= now().plus(99 * DAY));
    let found = mail.identities().await.unwrap();
    assert!(found[0].1.is_some());
}

/// With no room for bodies the own card's goes, too. Others have it: it is not published every hour.
#[tokio::test]
async fn a_card_whose_body_had_to_go_here_is_not_published_again_and_again() {
    let home = tempfile::tempdir().unwrap();
    let mail = mail_of(home.path(), wallet(home.path(), 1)).await;
    mail.publish_cards(now()).await.unwrap();
    let [(transaction, _)] = cards(&mail).try_into().unwrap();
    append_at(&mail.ledger, &transaction, now());
    mail.outbox.remove(&[transaction.id()]).unwrap();
    write(&mail.ledger, |ledger| {
        ledger.keep_bodies(Keep::Budget(1));
        while !ledger.prune(now()).unwrap().is_nothing() {}
        assert!(ledger.transaction(Position::new(0)).unwrap().unwrap().body().is_none());
    });
    for hour in 0..50 {
        mail.publish_cards(now().plus(hour * HOUR)).await.unwrap();
    }
    assert_eq!(cards(&mail).len(), 0);
    mail.publish_cards(now().plus(RENEW_AFTER_SECS)).await.unwrap();
    assert_eq!((cards(&mail).len(), mail.wallet().seal_keys(OWN).count()), (1, 2));
}

fn opened(mail: &Mail, sender: Address, number: u8) -> Opened {
    Opened {
        tx_id: TxId::from_bytes([number; 32]),
        inner_id: InnerId::from_bytes([number; 32]),
        sender,
        recipient: mail.address,
        message: Message::new(Content::Text(number.to_string()), 1),
        time: now(),
        lifetime_secs: 86_400,
        seal_key: SealKeyId::new(1),
    }
}

#[tokio::test]
async fn a_receipt_that_cannot_be_sent_keeps_none_back() {
    let home = tempfile::tempdir().unwrap();
    let mail = mail_of(home.path(), wallet(home.path(), 1)).await;
    // In the order in which receipts are sent the one whose card is too old comes first.
    let mut people: Vec<Keys> =
        (7..9).map(|number| Keys::derive(&qasedak_wallet::Phrase::from_entropy(&[number; 32]).unwrap(), OWN)).collect();
    people.sort_by_key(Keys::address);
    let made = [Time::from_secs(now().secs() - 120 * DAY), now()];
    {
        let mut wallet = mail.wallet();
        let mut letters = Vec::new();
        for (number, (keys, made)) in (1..).zip(people.iter().zip(made)) {
            let name = format!("contact {number}");
            wallet.add_contact(&name, keys.address()).unwrap();
            wallet.set_receipts(&name, true).unwrap();
            let seal_key = SealKey::from_bytes(SealKeyId::new(made.secs()), &[number; 32]);
            wallet.remember_card(&Card::sign(&Network::dev(), keys, &seal_key), now()).unwrap();
            letters.push(opened(&mail, keys.address(), number));
        }
        let scanned = Scanned { next: Position::new(1), opened: letters, unread: Vec::new() };
        wallet.record_scanned(&LogId::from_bytes([1; 16]), scanned, now()).unwrap();
        assert_eq!(wallet.receipts_owed().len(), 2);
    }
    mail.send_receipts().await.unwrap();
    let owed = mail.wallet().receipts_owed();
    assert_eq!(owed.iter().map(|owed| owed.to).collect::<Vec<_>>(), [people[0].address()]);
    assert_eq!(mail.outbox.all().unwrap().len(), 1);
}

/// What a power cut leaves between the wallet's row and the outbox: the message is told to be unsent, not to wait.
#[tokio::test]
async fn a_message_that_never_reached_the_outbox_is_told() {
    let home = tempfile::tempdir().unwrap();
    let mail = mail_of(home.path(), wallet(home.path(), 1)).await;
    let mut bob = wallet(home.path(), 2);
    let card = card_of(&mut bob, &mail.draft(now()).unwrap()).1;
    let message = Message::new(Content::Text("lost".to_owned()), now_ms());
    let place = mail.draft(now()).unwrap();
    let sealed = mail.wallet().seal(&card, message, &place, &mut rng().unwrap()).unwrap();
    let transaction = crate::testing::stamped(sealed.unstamped);
    mail.wallet().record_sent(transaction.id(), &sealed.record).unwrap();
    let to = bob.address().to_string();
    let fate = |mail: Arc<Mail>| async {
        let (mail, to) = (mail, to.clone());
        mail.note_posted().unwrap();
        let history = mail.history(to, None, 9, None).await.unwrap();
        let out = mail.not_out().await.unwrap();
        (history[0].1, out.first().map(|out| (out.state, out.id)))
    };
    let id = Some(transaction.id());
    assert_eq!(fate(Arc::clone(&mail)).await, (Some(Fate::Unsent), Some(("unsent", id))));
    // A broken write may turn up all the same.
    mail.outbox.put(&transaction).unwrap();
    assert_eq!(fate(Arc::clone(&mail)).await, (Some(Fate::Waiting), Some(("waiting", id))));
    // From now on it is known that it was posted: a ledger that has lost it, or not got it yet, makes it no unsent one.
    mail.outbox.remove(&[transaction.id()]).unwrap();
    assert_eq!(fate(Arc::clone(&mail)).await, (Some(Fate::Waiting), None));
}

/// Headers from far ahead, whose bodies nobody asks for, do not take the place of an envelope whose body comes.
#[tokio::test]
async fn envelopes_from_the_future_wait_for_their_bodies_last() {
    let home = tempfile::tempdir().unwrap();
    let mail = mail_of(home.path(), wallet(home.path(), 1)).await;
    let bob = wallet(home.path(), 2);
    let card = card_of(&mut mail.wallet(), &mail.draft(now()).unwrap()).1;
    let mut positions = Vec::new();
    for (ahead, lifetime_secs) in [(3 * DAY, 3_600), (4 * DAY, 3_600), (0, 86_400), (3 * DAY, 7_200), (0, 90_000)] {
        let mut place = mail.draft(now()).unwrap();
        (place.time, place.lifetime_secs) = (place.time.plus(ahead), lifetime_secs);
        let whole = letter(&bob, &card, "x", &place);
        let header = Header::from_bytes(&whole.header().to_bytes()).unwrap();
        append_at(&mail.ledger, &Transaction::new(&Network::dev(), header, None).unwrap(), now());
        positions.push(Position::new(read(&mail.ledger, |ledger| ledger.summary().count) - 1));
    }
    let kept = |most| mail.worth_waiting(positions.clone(), most).unwrap();
    assert_eq!(kept(5), positions);
    assert_eq!(kept(4), [positions[0], positions[2], positions[3], positions[4]]);
    assert_eq!(kept(2), [positions[2], positions[4]]);
    assert_eq!(kept(1), [positions[2]]);
}
