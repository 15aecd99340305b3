//! People and what they say, by the real commands: strangers, safety numbers, histories, receipts, ends; and the wallet's files.

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::harness::{Node, PASSPHRASE, run, wait_for};

const PATIENCE: Duration = Duration::from_secs(30);

fn digits(node: &Node, name: &str) -> String {
    node.json(&["contact", "verify", name])["number"].as_str().unwrap().to_owned()
}

#[test]
fn strangers_become_contacts_who_know_each_other_and_what_arrived() {
    let home = tempfile::tempdir().unwrap();
    let mut a = Node::with_wallet(home.path(), "a");
    let mut b = Node::with_wallet(home.path(), "b");
    a.start(&[]);
    b.start(&[&a]);
    a.json(&["contact", "add", "Bob", &b.address]);
    a.send("Bob", "who I am");
    wait_for("request", PATIENCE, || {
        let waiting = b.json(&["request", "list"]);
        (waiting["messages"][0]["text"] == "who I am").then_some(())
    });
    let inbox = b.json(&["inbox"]);
    assert_eq!((inbox["messages"].as_array().unwrap().len(), inbox["requests"].as_u64()), (0, Some(1)));
    b.json(&["request", "accept", &a.address, "Ann"]);
    assert_eq!(b.json(&["inbox"])["messages"][0]["name"], "Ann");

    // Both see one number; a wrong one is refused and says so.
    let number = digits(&a, "Bob");
    assert_eq!((number.len(), &number), (60, &digits(&b, "Ann")));
    let wrong = run(&a.data, &["contact", "verify", "Bob", &format!("{}0", &number[1..])]);
    assert_eq!(wrong.status.code(), Some(1));
    assert_eq!(a.json(&["contact", "verify", "Bob", &number[..30], &number[30..]])["matches"], true);
    assert!(a.json(&["contact", "list"])[0]["verified"].is_u64());

    // A reply, found again by search, and what became of it.
    b.json(&["contact", "receipts", "Ann", "on"]);
    let number = b.json(&["history", "Ann"])["entries"][0]["number"].to_string();
    let output = run(&b.data, &["send", "Ann", "an answer", "--reply-to", &number, "--expires", "2h"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    wait_for("answer", PATIENCE, || a.texts().iter().any(|text| text == "an answer").then_some(()));
    let said = &a.json(&["history", "Bob", "--search", "ANSWER"])["entries"][0];
    let first = &a.json(&["history", "Bob"])["entries"][0];
    assert_eq!((&said["reply_to"], &said["sent"]), (&first["inner_id"], &false.into()));
    let lives = said["ends"].as_u64().unwrap() * 1_000 - said["time_ms"].as_u64().unwrap();
    assert!(lives <= 7_200_000, "{lives}");
    assert_eq!(run(&b.data, &["send", "Ann", "x", "--expires", "91d"]).status.code(), Some(2));
    wait_for("everything out", PATIENCE, || a.json(&["outbox"]).as_array().unwrap().is_empty().then_some(()));

    b.json(&["contact", "block", "Ann"]);
    a.send("Bob", "unheard");
    wait_for("word of what is not heard", PATIENCE, || {
        fs::read_to_string(b.log()).unwrap().contains("of people who are blocked").then_some(())
    });
    // Who is blocked can be seen, and taken back: by the address, too.
    let blocked = b.json(&["contact", "list", "--blocked"]);
    assert_eq!((&blocked[0]["name"], &blocked[0]["address"]), (&"Ann".into(), &a.address.as_str().into()));
    assert!(blocked[0]["since"].is_u64() && blocked.as_array().unwrap().len() == 1);
    let shown = String::from_utf8(run(&b.data, &["contact", "list", "--blocked"]).stdout).unwrap();
    assert!(shown.contains(&a.address) && shown.contains("Ann"), "{shown}");
    b.json(&["contact", "unblock", &a.address]);
    let shown = String::from_utf8(run(&b.data, &["contact", "list", "--blocked"]).stdout).unwrap();
    assert_eq!(shown.trim(), "nobody is blocked");
    a.send("Bob", "heard again");
    b.wait_for_text("heard again", PATIENCE);
    assert!(!b.texts().iter().any(|text| text == "unheard"), "what was dropped stays so");
    a.json(&["contact", "remove", "Bob"]);
    assert_eq!(run(&a.data, &["history", "Bob"]).status.code(), Some(1));
}

#[test]
fn a_wallet_moves_by_export_and_is_wiped() {
    let home = tempfile::tempdir().unwrap();
    let mut a = Node::with_wallet(home.path(), "a");
    a.start(&[]);
    a.json(&["contact", "add", "Me", &a.address]);
    let file = |name: &str, text: &str| {
        let path = home.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (new, other) = (file("new", "another passphrase"), file("export-pass", "for the export"));
    let export = home.path().join("wallet.export").display().to_string();
    // Not while the node runs.
    assert_eq!(run(&a.data, &["wallet", "export", &export, "--export-passphrase-file", &other]).status.code(), Some(1));
    a.stop();
    a.json(&["wallet", "export", &export, "--export-passphrase-file", &other]);
    assert_eq!(run(&a.data, &["wallet", "wipe"]).status.code(), Some(2), "asks, and there is nobody to ask");
    a.json(&["wallet", "wipe", "--yes"]);
    assert!(!a.data.join("dev").join("wallet").exists());
    let wrong = run(&a.data, &["wallet", "import", &export, "--export-passphrase-file", &new]);
    assert_eq!(wrong.status.code(), Some(1));
    let done = a.json(&["wallet", "import", &export, "--export-passphrase-file", &other]);
    assert_eq!(done["address"], a.address.as_str());
    a.start(&[]);
    assert_eq!(a.json(&["contact", "list"])[0]["name"], "Me");
    a.stop();
    a.json(&["wallet", "passphrase", "--new-passphrase-file", &new]);
    let refused = run(&a.data, &["wallet", "passphrase", "--new-passphrase-file", &new]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("passphrase is wrong"), "{PASSPHRASE} opens no more");
}

/// What a command prints for people.
fn shown(node: &Node, args: &[&str]) -> String {
    let output = run(&node.data, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// On an empty machine the words give back the address, a newer card and new mail; old mail they do not. Whoever knows the
/// address sees that its keys came early, also when they only read.
#[test]
fn twenty_four_words_on_an_empty_machine() {
    let home = tempfile::tempdir().unwrap();
    let mut a = Node::with_wallet(home.path(), "a");
    let mut b = Node::with_wallet(home.path(), "b");
    a.start(&[]);
    b.start(&[&a]);
    a.json(&["contact", "add", "Bob", &b.address]);
    a.send("Bob", "old mail");
    wait_for("old mail", PATIENCE, || b.json(&["request", "list"])["requests"].as_u64().filter(|count| *count == 1));
    let first_card = a.json(&["contact", "list"])[0]["card"].as_u64().unwrap();
    let number = digits(&a, "Bob");
    a.json(&["contact", "verify", "Bob", &number]);
    b.stop();

    let mut c = Node::relay(home.path(), "c");
    let words = home.path().join("words");
    fs::write(&words, b.words.as_ref().unwrap()).unwrap();
    let restored = run(&c.data, &["init", "--phrase-file", &words.display().to_string()]);
    let said = String::from_utf8(restored.stdout).unwrap();
    assert!(said.contains(&b.address) && said.contains("export") && said.contains("wallet import"), "{said}");
    (c.words, c.address) = (b.words.clone(), b.address.clone());
    // A card's number is the second in which it was made, and nobody restores a wallet in the one in which it was begun.
    let since_1970 = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    wait_for("another second", PATIENCE, || (since_1970() > first_card).then_some(()));
    c.start(&[&a]);
    let newer = wait_for("newer card", PATIENCE, || {
        a.json(&["contact", "list"])[0]["card"].as_u64().filter(|card| *card > first_card)
    });
    assert_eq!(c.json(&["id"])["card_published"].as_u64(), Some(newer));
    wait_for("word of old mail", PATIENCE, || {
        fs::read_to_string(c.log()).unwrap().contains("sealed to a key that this wallet does not have").then_some(())
    });

    // Nothing goes to the new keys unasked, and everything that is read says why.
    let refused = run(&a.data, &["send", "Bob", "to whom?"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1));
    assert!(said.contains("--despite-key-change") && said.contains("contact verify"), "{said}");
    c.json(&["contact", "add", "Ann", &a.address]);
    c.send("Ann", "from the new machine");
    a.wait_for_text("from the new machine", PATIENCE);
    for args in [["inbox"].as_slice(), &["history", "Bob"], &["contact", "list"], &["status"]] {
        let said = shown(&a, args);
        assert!(said.contains("WARNING"), "{args:?}: {said}");
    }
    assert!(a.json(&["contact", "list"])[0]["verified"].is_null());
    a.json(&["send", "Bob", "all the same", "--despite-key-change"]);
    c.wait_for_text("all the same", PATIENCE);
    a.json(&["contact", "verify", "Bob", &number]);
    assert!(!shown(&a, &["inbox"]).contains("WARNING"));
    a.send("Bob", "as before");
    c.wait_for_text("as before", PATIENCE);
    assert_eq!(c.json(&["inbox"])["messages"].as_array().unwrap().len(), 2, "old mail opens no more");
    assert_eq!(c.json(&["request", "list"])["requests"], 0);
}

/// A further identity has a card and mail of its own; histories are read page by page.
#[test]
fn a_second_identity_gets_mail_and_histories_have_pages() {
    let home = tempfile::tempdir().unwrap();
    let mut a = Node::with_wallet(home.path(), "a");
    let mut b = Node::with_wallet(home.path(), "b");
    a.start(&[]);
    b.start(&[&a]);
    let work = b.json(&["id", "--new", "work"])["address"].as_str().unwrap().to_owned();
    b.json(&["contact", "add", "Ann", &a.address]);
    a.json(&["contact", "add", "Bob", &b.address]);
    a.json(&["contact", "add", "Bob at work", &work]);
    a.send("Bob at work", "to work");
    b.wait_for_text("to work", PATIENCE);
    a.send("Bob", "one");
    ["two", "three", "four"].iter().for_each(|text| drop(a.send("Bob", text)));
    let page = |args: &[&str]| {
        let page = a.json(&[&["history", "Bob"], args].concat());
        let entries = page["entries"].as_array().unwrap().clone();
        let texts: Vec<String> = entries.iter().map(|entry| entry["text"].as_str().unwrap().to_owned()).collect();
        (texts, entries.first().map(|entry| entry["number"].to_string()))
    };
    let (newest, first) = page(&["--limit", "2"]);
    assert_eq!(newest, ["three", "four"]);
    let first = first.unwrap();
    assert_eq!(page(&["--limit", "2", "--before", &first]).0, ["one", "two"]);
    assert_eq!(page(&["--limit", "1", "--before", &first]).0, ["two"]);
    assert_eq!(page(&["--before", "1"]).0, [""; 0]);
}
