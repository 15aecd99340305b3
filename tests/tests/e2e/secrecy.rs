//! Point 7: what relays keep, log and answer holds no text, passphrase or words; and the senders' own files hold none
//! of it in the clear. The parts: `search` finds a secret in any form, `day` is a day's use, `process` is the running program.

use std::{fs, time::Duration};

use serde_json::Value;

mod day;
mod process;
mod search;

use search::Search;

use crate::harness::{Node, PASSPHRASE, files, run, wait_for, wait_for_agreement};

const TEXT: &str = "canary-text-93f2 the seeds are under the third stone";
const NAME: &str = "canary-name-51aa";

#[test]
fn nothing_secret_is_in_files_logs_or_answers() {
    let home = tempfile::tempdir().unwrap();
    let mut a = Node::with_wallet(home.path(), "a");
    let mut relays = [Node::relay(home.path(), "r1"), Node::relay(home.path(), "r2")];
    let mut b = Node::with_wallet(home.path(), "b");
    relays[0].start(&[]);
    let [first, second] = &mut relays;
    second.start(&[first]);
    a.start(&[first]);
    b.start(&[second]);
    a.json(&["contact", "add", NAME, &b.address]);
    a.send(NAME, TEXT);
    b.wait_for_text(TEXT, Duration::from_secs(30));
    wait_for_agreement(&[&a, &relays[0], &relays[1], &b], Duration::from_secs(30));

    let words: Vec<&str> = [&a, &b].iter().map(|node| node.words.as_deref().unwrap()).collect();
    // Three words in a row do not occur by chance.
    let triples = words.iter().flat_map(|words| {
        let list: Vec<&str> = words.split(' ').collect();
        list.windows(3).map(|three| three.join(" ")).collect::<Vec<_>>()
    });
    let mut secrets: Vec<String> = triples.collect();
    secrets.extend([TEXT, NAME, PASSPHRASE, "canary-text-93f2"].map(str::to_owned));
    let people = [a.address.clone(), b.address.clone()];

    let everything = Search::of(secrets.iter().chain(&people));
    for relay in &relays {
        for answer in answers(relay) {
            everything.absent_from("an answer of the API", &answer);
        }
        everything.absent_below(&relay.data);
        everything.absent_from("a relay's log", &fs::read(relay.log()).unwrap());
    }
    let secrets = Search::of(&secrets);
    for node in [&mut a, &mut b] {
        node.stop();
        secrets.absent_below(&node.data);
        everything.absent_from("a log", &fs::read(node.log()).unwrap());
    }
}

/// Everything that a relay's API answers about the ledger.
fn answers(relay: &Node) -> Vec<Vec<u8>> {
    let mut answers: Vec<Vec<u8>> = [["status"], ["peers"], ["block"], ["inbox"], ["id"]]
        .iter()
        .map(|args| run(&relay.data, args))
        .map(|output| [output.stdout, output.stderr].concat())
        .collect();
    let block = relay.json(&["block"]);
    let ids = block["transactions"].as_array().unwrap().iter().filter_map(Value::as_str);
    answers.extend(ids.map(|id| run(&relay.data, &["--json", "show", id]).stdout));
    answers
}

/// A damaged envelope must neither keep later messages away nor be named in the log: that would tell whose it was.
#[test]
fn a_damaged_envelope_stops_nothing_and_is_not_named_in_the_log() {
    let home = tempfile::tempdir().unwrap();
    let mut a = Node::with_wallet(home.path(), "a");
    let mut b = Node::with_wallet(home.path(), "b");
    a.start(&[]);
    b.start(&[&a]);
    a.send(&b.address, "before");
    b.wait_for_text("before", Duration::from_secs(30));
    b.stop();

    // B's files take the next envelope in while its wallet is closed, so that the damage comes before the scan.
    let words = b.words.take();
    b.start(&[&a]);
    let id = a.send(&b.address, "damaged");
    wait_for_agreement(&[&a, &b], Duration::from_secs(30));
    b.stop();
    b.words = words;
    let bodies = files(&b.data.join("dev").join("ledger").join("bodies"));
    let last = bodies.iter().filter(|file| file.extension().is_some_and(|kind| kind == "seg")).max().unwrap();
    let mut bytes = fs::read(last).unwrap();
    let inside = bytes.len() - 100;
    bytes[inside] ^= 1;
    fs::write(last, bytes).unwrap();

    // Alone, so that nobody sends a whole one before the scan comes to the damaged one.
    b.start(&[]);
    wait_for("a word of the damage", Duration::from_secs(30), || (!told_of(&b).is_empty()).then_some(()));
    b.stop();
    b.start(&[&a]);
    a.send(&b.address, "after");
    b.wait_for_text("after", Duration::from_secs(30));
    // The damaged one may have come back from the other node by now.
    let texts = b.texts();
    let others: Vec<&String> = texts.iter().filter(|text| *text != "damaged").collect();
    assert_eq!(others, ["before", "after"]);
    let told = told_of(&b);
    assert!(!told.is_empty(), "nothing was said of the damage");
    assert!(told.iter().all(|line| !line.contains(&id)), "{told:?}");
}

/// What a node's log says of envelopes for its wallet.
fn told_of(node: &Node) -> Vec<String> {
    let log = fs::read_to_string(node.log()).unwrap();
    log.lines().filter(|line| line.contains("for this wallet")).map(str::to_owned).collect()
}
