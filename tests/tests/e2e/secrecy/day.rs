//! A day's use by script, over the real binary and with everything logged; then the canaries are looked for everywhere.
//!
//! A canary is a secret that stands for its kind: texts, names of contacts, words, passphrases. Each belongs in few places: a
//! text on the output of the commands that show it, a name on that of the
//! commands for people. It may stand in no file of a node, no log, no file beside them, no answer to a caller without
//! authority, and no answer about the ledger.
//!
//! The end of a message is not waited for here, since the shortest life is an hour: what is left after it, the wallet's own
//! tests show with a clock of theirs.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use super::search::Search;
use crate::harness::{Node, PASSPHRASE, api_call, command, run, wait_for, wait_for_agreement};
use qasedak_wallet::Phrase;

const PATIENCE: Duration = Duration::from_secs(60);

const FIRST: &str = "canary-first-8c1e the key is under the blue pot";
const REPLY: &str = "canary-reply-44d0";
const SHORT_LIVED: &str = "canary-short-lived-e29b";
const PERSIAN: &str = "canary-persian-0f7c فردا ساعت نه، کنار پل";
const OF_STRANGER: &str = "canary-stranger-b5a3";
const UNHEARD: &str = "canary-unheard-19ce";
const UNSENT: &str = "canary-unsent-6e02";
const SEARCHED: &str = "canary-searched-d7f4";
const NAME_B: &str = "canary-name-bob-2c9a";
const NAME_A: &str = "canary-name-ann-71f6";
const OWN_NAME: &str = "canary-own-name-a8d3";
const NEW_PASSPHRASE: &str = "canary-new-passphrase-55be";
const EXPORT_PASSPHRASE: &str = "canary-export-passphrase-c03f";
const WRONG_PASSPHRASE: &str = "canary-wrong-passphrase-9e47";
const MISTYPED_WORD: &str = "canarymistypedword";

const CANARIES: [&str; 16] = [
    FIRST,
    REPLY,
    SHORT_LIVED,
    PERSIAN,
    OF_STRANGER,
    UNHEARD,
    UNSENT,
    SEARCHED,
    NAME_B,
    NAME_A,
    OWN_NAME,
    PASSPHRASE,
    NEW_PASSPHRASE,
    EXPORT_PASSPHRASE,
    WRONG_PASSPHRASE,
    MISTYPED_WORD,
];

/// The directories of one day, and what commands said that must hold no canary.
struct Day {
    /// Searched: data directories, logs, what nodes print, and what programs put in the directory for such things.
    nodes: PathBuf,
    /// Not searched: what a person typed into files.
    given: PathBuf,
    /// Searched: files that commands made.
    made: PathBuf,
    heard: Vec<(String, Vec<u8>)>,
}

impl Day {
    fn begin(home: &Path) -> Self {
        let dir = |name: &str| {
            let dir = home.join(name);
            fs::create_dir(&dir).unwrap();
            dir
        };
        Self { nodes: dir("nodes"), given: dir("given"), made: dir("made"), heard: Vec::new() }
    }

    /// A file that a person wrote.
    fn given(&self, name: &str, text: &str) -> String {
        let path = self.given.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn made(&self, name: &str) -> String {
        self.made.join(name).display().to_string()
    }

    /// A command whose output is to hold no canary.
    fn hear(&mut self, node: &Node, args: &[&str]) -> Output {
        let output = run(&node.data, args);
        self.note(&args.join(" "), &output);
        output
    }

    /// The same, and it must succeed.
    fn do_it(&mut self, node: &Node, args: &[&str]) {
        let output = self.hear(node, args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The same, and it must fail.
    fn refuse(&mut self, node: &Node, args: &[&str]) {
        assert!(!self.hear(node, args).status.success(), "{args:?}");
    }

    fn note(&mut self, what: &str, output: &Output) {
        self.heard.push((format!("what `{what}` says"), [output.stdout.as_slice(), &output.stderr].concat()));
    }

    fn search(&self, nodes: &[&Node]) -> Search {
        let mut search = Search::of(CANARIES);
        for words in nodes.iter().filter_map(|node| node.words.as_deref()) {
            let entropy = *Phrase::parse(words).unwrap().entropy();
            search.add_bytes("the entropy of the words", &entropy);
            // Three words in a row do not occur by chance.
            let words: Vec<&str> = words.split(' ').collect();
            words.windows(3).for_each(|three| search.add_text(&three.join(" ")));
        }
        search
    }

    fn is_clean(&self, search: &Search) {
        let (count, bytes) = search.absent_below(&self.nodes);
        println!("searched {count} files of the nodes, {bytes} bytes");
        assert!(count > 50 && bytes > 1_000_000, "{count} files with {bytes} bytes are not what three nodes leave");
        self.heard.iter().for_each(|(what, said)| search.absent_from(what, said));
    }
}

#[test]
fn after_a_day_no_canary_is_where_it_does_not_belong() {
    let home = tempfile::tempdir().unwrap();
    let mut day = Day::begin(home.path());
    let mut relay = Node::relay(&day.nodes, "relay");
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(|name| Node::with_wallet(&day.nodes, name));
    relay.log_level("trace");
    relay.start(&[]);
    for node in [&mut a, &mut b, &mut c] {
        node.log_level("trace");
        node.start(&[&relay]);
    }
    let search = day.search(&[&a, &b, &c]);
    let first = people_talk(&a, &b);
    strangers(&a, &c);
    mistakes(&mut day, &a);
    wait_for_agreement(&[&a, &b, &c, &relay], PATIENCE);
    ledger_is_audited(&mut day, &a, &first);
    for node in [&a, &relay] {
        strangers_call(node, &first, &search);
        ledger_calls_tell_nothing(node, &first, &search);
    }
    day.is_clean(&search);

    wallet_is_looked_after(&mut day, &mut a);
    a.start(&[&relay]);
    assert!(a.texts().iter().any(|text| text == REPLY), "nothing is lost");
    // One ends as in a power cut, so that what is never tidied up is searched too.
    b.kill();
    [&mut a, &mut c, &mut relay].into_iter().for_each(Node::stop);
    day.is_clean(&search);
    made_files_hold_no_text(&day, &search);
}

/// Contacts, a request, a reply, receipts, a short life, a search; returns the first message.
fn people_talk(a: &Node, b: &Node) -> String {
    a.json(&["contact", "add", NAME_B, &b.address]);
    let first = a.send(NAME_B, FIRST);
    wait_for("request", PATIENCE, || (b.json(&["request", "list"])["messages"][0]["text"] == FIRST).then_some(()));
    b.json(&["request", "accept", &a.address, NAME_A]);
    b.json(&["contact", "receipts", NAME_A, "on"]);
    let number = b.json(&["history", NAME_A])["entries"][0]["number"].to_string();
    b.send(NAME_A, "opens the way");
    assert!(run(&b.data, &["send", NAME_A, REPLY, "--reply-to", &number]).status.success());
    a.wait_for_text(REPLY, PATIENCE);
    assert!(run(&a.data, &["send", NAME_B, SHORT_LIVED, "--expires", "1h"]).status.success());
    let mut send =
        command(&a.data, &["send", NAME_B, "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    send.stdin.take().unwrap().write_all(PERSIAN.as_bytes()).unwrap();
    assert!(send.wait().unwrap().success());
    b.wait_for_text(PERSIAN, PATIENCE);
    // Receipts go out once a minute.
    wait_for("receipt", 3 * PATIENCE, || {
        let entries = a.json(&["history", NAME_B]);
        entries["entries"].as_array().unwrap().iter().any(|said| said["state"] == "delivered").then_some(())
    });
    a.json(&["history", NAME_B, "--search", SEARCHED]);
    a.json(&["id", "--new", OWN_NAME]);
    a.json(&["contact", "identity", NAME_B, OWN_NAME]);
    a.json(&["contact", "identity", NAME_B, &a.address]);
    let number = a.json(&["contact", "verify", NAME_B])["number"].as_str().unwrap().to_owned();
    a.json(&["contact", "verify", NAME_B, &number]);
    assert!(!run(&b.data, &["contact", "verify", NAME_A, &"0".repeat(60)]).status.success());
    first
}

fn strangers(a: &Node, c: &Node) {
    c.send(&a.address, OF_STRANGER);
    let waiting = || a.json(&["request", "list"])["messages"].as_array().unwrap().len();
    wait_for("request of a stranger", PATIENCE, || (waiting() == 1).then_some(()));
    a.json(&["contact", "block", &c.address]);
    c.send(&a.address, UNHEARD);
    wait_for("word of what is not heard", PATIENCE, || {
        fs::read_to_string(a.log()).unwrap().contains("of people who are blocked").then_some(())
    });
    assert_eq!((waiting(), &a.json(&["contact", "list", "--blocked"])[0]["address"]), (0, &c.address.as_str().into()));
    a.json(&["contact", "unblock", &c.address]);
}

/// What people get wrong. What they typed stands in their own window; here it may stand in no answer either, but for the
/// names that a sentence repeats.
fn mistakes(day: &mut Day, a: &Node) {
    day.refuse(a, &["send", "nobody", UNSENT]);
    day.refuse(a, &["send", NAME_B, &UNSENT.repeat(4_000)]);
    day.refuse(a, &["send", NAME_B, UNSENT, "--reply-to", "999999"]);
    day.refuse(a, &["send", NAME_B, UNSENT, "--expires", "91d"]);
    day.refuse(a, &["send", &format!("{}x", a.address), UNSENT]);
    day.refuse(a, &["history", "nobody", "--search", SEARCHED]);
    day.refuse(a, &["show", "zz"]);
    let words = day.given("words", &format!("{MISTYPED_WORD} {}", &["abandon"; 23].join(" ")));
    day.refuse(&Node::relay(&day.nodes, "never"), &["init", "--phrase-file", &words]);
    // Programs that call the API in a wrong way: their answers are theirs, the log is not.
    let right = Some(fs::read_to_string(a.data.join("dev").join("api.token")).unwrap());
    let wrong = [
        format!(r#"{{"to": "{NAME_B}", "text": "{UNSENT}", "lifetime": "{UNSENT}"}}"#),
        format!(r#"{{"to": ["{NAME_B}"], "text": "{UNSENT}"}}"#),
        format!(r#"{{"to": "{NAME_B}", "text": "{UNSENT}", "{UNSENT}"#),
        format!("\"{UNSENT}\""),
    ];
    for body in wrong {
        let answer = api_call(&a.data, "POST", "/v1/messages", right.as_deref(), &body);
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    for path in [
        format!("/v1/history?with={NAME_B}&search={SEARCHED}&limit={UNSENT}"),
        format!("/v1/{UNSENT}"),
        format!("/v1/transactions/{UNSENT}"),
        format!("/v1/blocks/{UNSENT}"),
    ] {
        let answer = api_call(&a.data, "GET", &path, right.as_deref(), "");
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
}

fn ledger_is_audited(day: &mut Day, a: &Node, first: &str) {
    for args in [
        &["status"][..],
        &["peers"],
        &["peers", "--refused"],
        &["block"],
        &["show", first],
        &["audit", "verify"],
        &["audit", "log"],
        &["--json", "status"],
    ] {
        day.do_it(a, args);
    }
    let (export, proof, disclosure) = (day.made("ledger.jsonl"), day.made("proof"), day.made("disclosure"));
    day.do_it(a, &["audit", "export", "-o", &export]);
    // The block is open for some hours yet.
    day.refuse(a, &["audit", "prove", first, "-o", &proof]);
    day.do_it(a, &["audit", "disclose", first, "-o", &disclosure]);
    let checked = run(&a.data, &["audit", "check", &disclosure]);
    assert!(String::from_utf8_lossy(&checked.stdout).contains(FIRST), "a disclosure is there to be read");
}

/// Every call, without authority and with a wrong one: refused, and nothing told.
fn strangers_call(node: &Node, id: &str, search: &Search) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("node/src/api.rs");
    let source = fs::read_to_string(source).unwrap();
    let paths = source.split('"').filter(|text| text.starts_with("/v1/"));
    let paths: Vec<String> =
        paths.map(|path| path.replace("{id}", id).replace("{which}", "newest").replace("{peer}", "1")).collect();
    assert!(paths.len() >= 20, "{paths:?} are not all calls");
    for path in paths.iter().map(String::as_str).chain(["/", "/v1", "/metrics", "/v1/messages?after=0&wait=0"]) {
        for method in ["GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS"] {
            for authority in [None, Some("0".repeat(64))] {
                let answer = api_call(&node.data, method, path, authority.as_deref(), "{}");
                assert!(answer.starts_with("HTTP/1.1 401"), "{method} {path}: {answer}");
                search.absent_from(&format!("the answer to {method} {path} without authority"), answer.as_bytes());
            }
        }
    }
}

/// What the owner is told of the ledger, holds nothing of what is in the envelopes.
fn ledger_calls_tell_nothing(node: &Node, id: &str, search: &Search) {
    let right = fs::read_to_string(node.data.join("dev").join("api.token")).unwrap();
    for path in [
        "/v1/status",
        "/v1/peers",
        "/v1/peers/refused",
        "/v1/blocks/newest",
        &format!("/v1/transactions/{id}"),
        &format!("/v1/transactions/{id}/proof"),
        "/v1/checkpoints",
    ] {
        let answer = api_call(&node.data, "GET", path, Some(&right), "");
        // The block is open yet, so that nothing is proven.
        let expected = if path.ends_with("/proof") { "HTTP/1.1 422" } else { "HTTP/1.1 200" };
        assert!(answer.starts_with(expected), "{path}: {answer}");
        search.absent_from(&format!("the answer to GET {path}"), answer.as_bytes());
    }
}

/// Wrong passphrases, an export, another passphrase and back, an import elsewhere: on the files, while the node is stopped.
fn wallet_is_looked_after(day: &mut Day, a: &mut Node) {
    a.stop();
    for args in [&["run"][..], &["wallet", "passphrase"], &["wallet", "export", "nowhere"]] {
        let output = command(&a.data, args).env("QASEDAK_PASSPHRASE", WRONG_PASSPHRASE).output().unwrap();
        assert!(!output.status.success(), "{args:?}");
        day.note(&args.join(" "), &output);
    }
    let [new, old] = [("new", NEW_PASSPHRASE), ("old", PASSPHRASE)].map(|(name, text)| day.given(name, text));
    let [of_export, wrong] =
        [("export", EXPORT_PASSPHRASE), ("wrong", WRONG_PASSPHRASE)].map(|(name, text)| day.given(name, text));
    let export = day.made("wallet.export");
    day.do_it(a, &["wallet", "export", &export, "--export-passphrase-file", &of_export]);
    day.do_it(a, &["wallet", "passphrase", "--new-passphrase-file", &new]);
    day.refuse(a, &["wallet", "passphrase", "--new-passphrase-file", &new]);
    day.do_it(a, &["wallet", "passphrase", "--new-passphrase-file", &old, "--passphrase-file", &new]);
    let elsewhere = Node::relay(&day.nodes, "elsewhere");
    day.refuse(&elsewhere, &["wallet", "import", &export, "--export-passphrase-file", &wrong]);
    day.do_it(&elsewhere, &["wallet", "import", &export, "--export-passphrase-file", &of_export]);
    day.do_it(&elsewhere, &["wallet", "wipe", "--yes"]);
    day.do_it(a, &["ledger", "check"]);
}

/// Exports of wallet and ledger are sealed. A disclosure opens one message to whoever checks it, and holds no text either.
fn made_files_hold_no_text(day: &Day, search: &Search) {
    for name in ["ledger.jsonl", "wallet.export", "disclosure"] {
        search.absent_from(name, &fs::read(day.made.join(name)).unwrap());
    }
}
