//! Export, proofs and disclosures with the real binary: made on nodes, checked where there is nothing but the file.
//!
//! Blocks close hours after their messages, so what is to be proven is dated back: the test puts it into the files of a
//! node before that starts, as if the node had been off since.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    ops::ControlFlow,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use qasedak_chain::{Ledger, Network, Time, Transaction, rules, stamp, store::disk::DiskStore, time::HOUR_SECS};
use qasedak_wallet::{Account, Card, Content, Draft, Message, Unstamped, Wallet};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::Value;

use crate::harness::{
    Node, PASSPHRASE, PATIENCE, binary, command, files, node_with_relay, run, wait_for, wait_for_agreement,
};

const TEXT: &str = "The seeds are \u{1b}[31munder\u{202e} the third stone\nsecond line";
const OTHER: &str = "canary: this one is told to nobody";

fn dev() -> Network {
    Network::dev()
}

fn stamped(unstamped: Unstamped) -> Transaction {
    let (challenge, effort) = unstamped.work(&dev());
    let stamp = stamp::search(&challenge, effort, 0.., || ControlFlow::Continue(())).unwrap();
    unstamped.stamped(&dev(), stamp).unwrap()
}

fn hours_ago(hours: u64) -> Time {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Time::from_secs(now - hours * HOUR_SECS).rounded_down()
}

/// Two nodes that are off: `a` once wrote two messages to `b`, which stand in the files of `a`, ten hours old.
struct Past {
    a: Node,
    b: Node,
    /// Ids of the two messages' transactions.
    sent: Vec<String>,
    /// When: the first second of their hour.
    time: Time,
    /// Another one of that hour, which nobody has yet.
    late: Transaction,
}

fn past(home: &Path) -> Past {
    let (a, b) = (Node::with_wallet(home, "a"), Node::with_wallet(home, "b"));
    let mut rng = StdRng::seed_from_u64(9);
    // On the hour, so that all of it lies in one block.
    let time = Time::from_secs(hours_ago(10).hour() * HOUR_SECS);
    let wallet = |node: &Node| Wallet::open(&node.data.join("dev").join("wallet"), &dev(), PASSPHRASE, time).unwrap();
    let draft = |parents| Draft::new(parents, time);
    let (mut from, mut to) = (wallet(&a), wallet(&b));
    let card = stamped(to.make_card(Account::default(), time, None, &draft(vec![dev().genesis()]), &mut rng).unwrap());
    let keys = Card::open(&dev(), &to.address(), &card).unwrap();
    let mut all = vec![card];
    for text in [TEXT, OTHER] {
        let message = Message::new(Content::Text(text.to_owned()), time.secs() * 1_000);
        let place = draft(vec![all.last().unwrap().id()]);
        let sealed = from.seal(&keys, message, &place, &mut rng).unwrap();
        let transaction = stamped(sealed.unstamped);
        from.record_sent(transaction.id(), &sealed.record).unwrap();
        all.push(transaction);
    }
    append(&a, &all, time.plus(60));
    let message = Message::new(Content::Text("late".to_owned()), time.secs() * 1_000);
    let late = stamped(from.seal(&keys, message, &draft(vec![all[0].id()]), &mut rng).unwrap().unstamped);
    let sent = all[1..].iter().map(|transaction| transaction.id().to_string()).collect();
    Past { a, b, sent, time, late }
}

/// Puts transactions into the files of a node that is off.
fn append(node: &Node, transactions: &[Transaction], at: Time) {
    let store = DiskStore::open(&node.data.join("dev").join("ledger"), &dev(), [7; 16]).unwrap();
    let mut ledger = Ledger::open(dev(), store).unwrap();
    for transaction in transactions {
        let verified = rules::verify(&dev(), transaction.clone()).unwrap();
        ledger.append(verified, at, false).unwrap();
    }
    ledger.flush_now(at).unwrap();
}

impl Past {
    /// Starts both; `b` has fetched and opened all when this returns.
    fn start(&mut self) {
        self.a.start(&[]);
        self.b.start(&[&self.a]);
        self.b.wait_for_text(OTHER, PATIENCE);
        wait_for_agreement(&[&self.a, &self.b], PATIENCE);
    }
}

/// `audit check` on a machine that never had a node: no home, no data directory, another working directory.
fn check(file: &Path, json: bool) -> Output {
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    command.env_clear().current_dir(elsewhere.path()).stdin(Stdio::null());
    command.args(if json { &["--json"][..] } else { &[] }).args(["audit", "check"]).arg(file);
    let output = command.output().unwrap();
    assert_eq!(files(elsewhere.path()), Vec::<std::path::PathBuf>::new(), "a check leaves nothing behind");
    output
}

fn checked(file: &Path) -> Value {
    let output = check(file, true);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Changes of a file that anyone might try: each must be refused with exit code 1 and one sentence.
fn assert_no_change_passes(file: &Path) {
    let sound = fs::read(file).unwrap();
    let changed = file.with_extension("changed");
    let step = sound.len() / 17;
    for at in (0..sound.len()).step_by(step) {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        fs::write(&changed, bytes).unwrap();
        assert_refused(&changed, &format!("byte {at}"));
    }
    fs::write(&changed, &sound[..sound.len() - 1]).unwrap();
    assert_refused(&changed, "cut");
    fs::write(&changed, b"").unwrap();
    assert_refused(&changed, "empty");
}

fn assert_refused(file: &Path, what: &str) {
    let output = check(file, false);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{what}: {said}");
    assert!(output.stdout.is_empty() && said.contains("proves nothing") && said.lines().count() == 1, "{what}: {said}");
}

fn made(node: &Node, args: &[&str], file: &Path) -> Value {
    node.json(&[args, &["-o", file.to_str().unwrap()]].concat())
}

fn sentence(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_ledger_is_exported_while_the_node_runs() {
    let home = tempfile::tempdir().unwrap();
    let mut past = past(home.path());
    past.start();
    let file = home.path().join("ledger.jsonl");
    let shown = made(&past.b, &["audit", "export"], &file);
    assert_eq!(shown["damaged"], 0);
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (head, end) = (&lines[0], lines.last().unwrap());
    assert_eq!((head["type"].as_str(), end["type"].as_str()), (Some("head"), Some("end")));
    assert_eq!((&head["count"], &end["transactions"]), (&shown["transactions"], &shown["transactions"]));
    let verdict = past.b.json(&["audit", "verify"]);
    assert_eq!((&verdict["digest"], &verdict["link"]), (&head["digest"], &head["link"]));
    assert!(verdict["transactions_per_second"].as_u64().unwrap() > 0 && verdict["seconds"].as_f64().unwrap() > 0.0);
    assert!(past.sent.iter().all(|id| lines.iter().any(|line| line["id"] == **id)));

    // A file that is there is never overwritten.
    let again = run(&past.b.data, &["audit", "export", "-o", file.to_str().unwrap()]);
    assert!(sentence(&again).contains("not overwritten"));
    assert_eq!(fs::read_to_string(&file).unwrap(), text);

    // A reader that has enough is no failure; on standard output comes the same.
    let mut export = command(&past.b.data, &["audit", "export"]);
    let mut child = export.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    drop(out);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!said.contains("panicked"), "{said}");
    assert!(child.wait().unwrap().code().is_some());
    assert!(text.starts_with(&first));
}

#[test]
fn a_damaged_record_is_told_and_the_rest_is_exported() {
    let home = tempfile::tempdir().unwrap();
    let past = past(home.path());
    let headers = files(&past.a.data.join("dev").join("ledger").join("headers"));
    let segment = headers.iter().find(|file| file.extension().is_some_and(|kind| kind == "seg")).unwrap();
    let mut bytes = fs::read(segment).unwrap();
    bytes[300] ^= 1;
    fs::write(segment, bytes).unwrap();
    let output = run(&past.a.data, &["audit", "export"]);
    assert!(sentence(&output).contains("damaged: position 0"), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = lines.iter().filter_map(|line| line["type"].as_str()).collect();
    assert_eq!(kinds, ["head", "damaged", "transaction", "transaction", "end"]);
}

#[test]
fn both_sides_disclose_one_message_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let mut past = past(home.path());
    past.start();
    let id = past.sent[0].clone();
    let (by_a, by_b) = (home.path().join("by-a"), home.path().join("by-b"));
    for (node, file) in [(&past.a, &by_a), (&past.b, &by_b)] {
        let shown = made(node, &["audit", "disclose", &id], file);
        assert_eq!(shown["transaction"], id);
        private(file);
    }
    let shown = [checked(&by_a), checked(&by_b)];
    for (shown, by) in shown.iter().zip(["sender", "recipient"]) {
        assert_eq!((shown["kind"].as_str(), shown["transaction"].as_str()), (Some("disclosure"), Some(&*id)));
        let message = &shown["message"];
        assert_eq!((message["text"].as_str(), message["disclosed_by"].as_str()), (Some(TEXT), Some(by)));
        assert_eq!(
            (message["from"].as_str(), message["to"].as_str()),
            (Some(&*past.a.address), Some(&*past.b.address))
        );
    }
    assert_eq!(shown[0]["message"]["inner_id"], shown[1]["message"]["inner_id"]);

    // On a terminal's side nothing of the text can pass for what the program says, or move what stands around it.
    let text = String::from_utf8(check(&by_a, false).stdout).unwrap();
    assert!(text.contains("    The seeds are") && text.contains("\n    second line"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");

    for file in [&by_a, &by_b] {
        assert_no_change_passes(file);
        let bytes = fs::read(file).unwrap();
        let words = [past.a.words.as_deref().unwrap(), past.b.words.as_deref().unwrap()].join(" ");
        let words: Vec<&str> = words.split(' ').collect();
        let mut secrets: Vec<String> = words.windows(2).map(|pair| pair.join(" ")).collect();
        secrets.extend([OTHER.to_owned(), hex::encode(OTHER), PASSPHRASE.to_owned(), past.sent[1].clone()]);
        for secret in secrets {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
        }
    }
    let again = run(&past.a.data, &["audit", "disclose", &id, "-o", by_a.to_str().unwrap()]);
    assert!(sentence(&again).contains("not overwritten"));
    // The log says nothing of what was disclosed.
    for node in [&past.a, &past.b] {
        let log = fs::read_to_string(node.log()).unwrap();
        assert!(!log.contains("third stone") && !log.contains(&id), "{}", node.log().display());
    }
}

#[test]
fn who_cannot_disclose_is_told_why() {
    let home = tempfile::tempdir().unwrap();
    let mut past = past(home.path());
    past.start();
    let mut relay = Node::relay(home.path(), "r");
    relay.start(&[&past.a]);
    let mut other = Node::with_wallet(home.path(), "c");
    other.start(&[&past.a]);
    wait_for_agreement(&[&past.a, &relay, &other], PATIENCE);
    let file = home.path().join("file");
    let disclose = |node: &Node, id: &str| run(&node.data, &["audit", "disclose", id, "-o", file.to_str().unwrap()]);
    assert!(sentence(&disclose(&relay, &past.sent[0])).contains("relay"));
    assert!(sentence(&disclose(&other, &past.sent[0])).contains("no message that this wallet"));
    assert!(sentence(&disclose(&other, &"0".repeat(64))).contains("is not here"));
    assert_eq!(disclose(&other, "0123").status.code(), Some(2));
    assert!(!file.exists());
}

/// A message of this moment is not in a closed block: it can be disclosed, and the file says that no proof is in it.
#[test]
fn what_is_not_proven_yet_can_be_disclosed() {
    let home = tempfile::tempdir().unwrap();
    let (a, _relay) = node_with_relay(home.path());
    let address = a.address.clone();
    let id = a.send(&address, "to myself");
    wait_for("the message in the ledger", Duration::from_secs(30), || (a.texts() == ["to myself"]).then_some(()));
    let file = home.path().join("file");
    assert_eq!(made(&a, &["audit", "disclose", &id], &file)["proven"], false);
    let shown = checked(&file);
    assert_eq!(shown["message"]["text"], "to myself");
    assert!(shown["does_not_prove"].to_string().contains("is in the ledger"));
}

/// Runs a command that writes a file, until the file cites the checkpoint of another peer; returns what the file shows.
fn by_a_peer(node: &Node, args: &[&str], file: &Path) -> Value {
    wait_for("a proof by a peer's word", Duration::from_secs(150), || {
        drop(fs::remove_file(file));
        let output = run(&node.data, &[args, &["-o", file.to_str().unwrap()]].concat());
        let shown = output.status.success().then(|| checked(file))?;
        (shown["own_word_only"] == false).then_some(shown)
    })
}

fn peer_of(node: &Node) -> String {
    wait_for("own checkpoint", Duration::from_secs(150), || {
        node.json(&["audit", "log"])["own"]["peer"].as_str().map(str::to_owned)
    })
}

#[test]
fn what_is_in_the_ledger_and_what_is_not_is_proven_by_a_peers_word() {
    let home = tempfile::tempdir().unwrap();
    let mut past = past(home.path());
    past.start();
    let (id, number) = (past.sent[0].as_str(), past.time.hour());
    let file = home.path().join("inclusion");
    let shown = by_a_peer(&past.b, &["audit", "prove", id], &file);
    assert_eq!((shown["kind"].as_str(), shown["transaction"].as_str()), (Some("inclusion"), Some(id)));
    assert_eq!((shown["block"]["number"].as_u64(), shown["block"]["count"].as_u64()), (Some(number), Some(3)));
    assert_eq!(shown["claimed"]["time"], past.time.secs());
    let peers: Vec<&str> = shown["by"].as_array().unwrap().iter().filter_map(|by| by["peer"].as_str()).collect();
    let (a, b) = (peer_of(&past.a), peer_of(&past.b));
    assert!(
        peers.contains(&a.as_str()) && shown["by"].as_array().unwrap().iter().all(|by| by["own"] == (by["peer"] == *b))
    );
    let text = String::from_utf8(check(&file, false).stdout).unwrap();
    assert!(text.contains(&a) && text.contains("not proven:") && text.contains("what it says"), "{text}");
    assert_no_change_passes(&file);
    let again = run(&past.b.data, &["audit", "prove", id, "-o", file.to_str().unwrap()]);
    assert!(sentence(&again).contains("not overwritten"));

    let stranger = "5".repeat(64);
    let hour = (past.time.plus(HOUR_SECS)).to_string();
    let (full, empty, empty_hour) = (number.to_string(), (number + 1).to_string(), &hour[..13]);
    for (block, count) in [(full.as_str(), 3), (empty.as_str(), 0), (empty_hour, 0)] {
        let file = home.path().join(format!("absence-{block}"));
        let shown = by_a_peer(&past.b, &["audit", "prove", "--absent", &stranger, "--block", block], &file);
        assert_eq!((shown["kind"].as_str(), shown["transaction"].as_str()), (Some("absence"), Some(&*stranger)));
        assert_eq!(shown["block"]["count"], count);
        assert_no_change_passes(&file);
    }

    let file = home.path().join("none");
    let prove =
        |args: &[&str]| run(&past.b.data, &[&["audit", "prove"], args, &["-o", file.to_str().unwrap()]].concat());
    assert!(sentence(&prove(&[&stranger])).contains("is not in this node's ledger"));
    assert!(sentence(&prove(&["--absent", id, "--block", &empty])).contains("no absence of it"));
    let now = hours_ago(0).hour().to_string();
    assert!(sentence(&prove(&["--absent", &stranger, "--block", &now])).contains("still open"));
    for wrong in [
        &["--absent", &*stranger][..],
        &[&*stranger, "--block", "5"],
        &["0123"],
        &["--absent", &stranger, "--block", "x"],
    ] {
        assert_eq!(prove(wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert!(!file.exists());
}

#[test]
fn a_disclosure_proves_that_the_message_was_in_the_ledger() {
    let home = tempfile::tempdir().unwrap();
    let mut past = past(home.path());
    past.start();
    for (node, name) in [(&past.a, "by-a"), (&past.b, "by-b")] {
        let file = home.path().join(name);
        let shown = by_a_peer(node, &["audit", "disclose", &past.sent[0]], &file);
        assert_eq!((shown["kind"].as_str(), shown["message"]["text"].as_str()), (Some("disclosure"), Some(TEXT)));
        assert_eq!(shown["block"]["number"], past.time.hour());
        assert!(!shown["does_not_prove"].to_string().contains("what it says"));
        assert_no_change_passes(&file);
    }
}

/// What comes into a block that a peer has signed as closed is shown as late, and `--from` looks behind it.
#[test]
fn a_transaction_that_a_signed_block_lacks_is_late() {
    let home = tempfile::tempdir().unwrap();
    let mut past = past(home.path());
    past.start();
    let (peer, number) = (peer_of(&past.b), past.time.hour());
    wait_for("a checkpoint over the block", Duration::from_secs(150), || {
        let log = past.a.json(&["audit", "log"]);
        let received = log["received"].as_array().unwrap().iter().find(|one| one["peer"] == *peer).cloned()?;
        (received["closed"].as_u64() >= Some(number)).then_some(())
    });
    past.a.stop();
    append(&past.a, std::slice::from_ref(&past.late), hours_ago(0));
    // Its body is lost here, so that nobody can take it in, and it stays a difference.
    for body in files(&past.a.data.join("dev/ledger/bodies")) {
        if body.extension().is_some_and(|ending| ending == "seg") {
            fs::remove_file(body).unwrap();
        }
    }
    past.a.start(&[&past.b]);
    let compare = |args: &[&str]| {
        let output = run(&past.a.data, &[&["--json", "audit", "compare", &*peer], args].concat());
        assert_eq!(output.status.code(), Some(1));
        serde_json::from_slice::<Value>(&output.stdout).ok()
    };
    let found = wait_for("a comparison", PATIENCE, || compare(&[]));
    let late = past.late.id().to_string();
    let expected = serde_json::json!({
        "number": number,
        "only_here": { "count": 1, "late": true, "ids": [late] },
        "only_there": { "count": 0, "late": false, "ids": [] },
    });
    // What the node wrote itself meanwhile may have lost its body too.
    let first = |found: &Value| found["blocks"].as_array().unwrap().first().cloned();
    assert_eq!((first(&found), &found["next"]), (Some(expected.clone()), &Value::Null), "{found:#}");
    let text = String::from_utf8(run(&past.a.data, &["audit", "compare", &peer]).stdout).unwrap();
    assert!(text.contains(&late) && text.contains("signed this block as closed without them"), "{text}");

    let (at, behind, hour) = (number.to_string(), (number + 1).to_string(), past.time.to_string());
    for from in [&*at, &hour[..13]] {
        assert_eq!(first(&compare(&["--from", from]).unwrap()), Some(expected.clone()));
    }
    let found = compare(&["--from", &behind]).unwrap();
    assert_eq!(found["equal"], false);
    assert!(first(&found).is_none_or(|block| block["number"].as_u64() > Some(number)), "{found:#}");
    for wrong in ["x/y", "2026-13-40T99"] {
        let output = run(&past.a.data, &["audit", "compare", &peer, "--from", wrong]);
        assert!(output.stdout.is_empty() && !output.status.success());
    }
}

/// Only the owner may read it.
fn private(path: &Path) {
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777, 0o600);
}
