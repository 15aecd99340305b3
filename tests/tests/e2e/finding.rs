//! Delegated finding: a node without the wallet finds with a scan key, hands over to whoever has the token, and can do
//! nothing else with the file.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use crate::harness::{Node, PATIENCE, files, run, wait_for, wait_for_agreement};

/// Writes the scan key file of a stopped node's first identity.
fn scan_key(owner: &Node, home: &Path, name: &str) -> PathBuf {
    let file = home.join(name);
    let done = owner.json(&["wallet", "scan-key", "export", &owner.address, "-o", file.to_str().unwrap()]);
    assert_eq!(done["address"], owner.address.as_str());
    file
}

fn api(node: &Node) -> String {
    fs::read_to_string(node.data.join("dev").join("api.address")).unwrap().trim().to_owned()
}

/// One call as anybody could make it: status and body.
fn call(node: &Node, path: &str, headers: &[&str]) -> (u16, String) {
    let mut stream = TcpStream::connect(api(node)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nConnection: close\r\n{}\r\n\r\n", headers.join("\r\n")).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

fn token(file: &Path) -> String {
    fs::read(file).unwrap()[73..105].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The transactions that a finder hands over from the beginning.
fn handed_over(node: &Node, file: &Path) -> Vec<String> {
    let bearer = format!("Authorization: Bearer {}", token(file));
    let (status, body) = call(node, "/v1/found", &["Host: localhost:1", &bearer]);
    assert_eq!(status, 200, "{body}");
    let page: Value = serde_json::from_str(&body[body.find('{').unwrap()..=body.rfind('}').unwrap()]).unwrap();
    assert_eq!(page["more"], false);
    page["transactions"].as_array().unwrap().iter().map(|hex| hex.as_str().unwrap().to_owned()).collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_node_without_the_wallet_finds_and_hands_over_what_the_owner_opens() {
    let home = tempfile::tempdir().unwrap();
    let mut owner = Node::with_wallet(home.path(), "owner");
    let mut sender = Node::with_wallet(home.path(), "sender");
    let mut finder = Node::relay(home.path(), "finder");
    let file = scan_key(&owner, home.path(), "owner.scan");
    let second = scan_key(&owner, home.path(), "owner-2.scan");
    let again = run(&owner.data, &["wallet", "scan-key", "export", &owner.address, "-o", file.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1), "a file is never written over");

    // The owner's card spreads, then the owner is away. One message comes before the finder has the file.
    finder.start(&[]);
    owner.start(&[&finder]);
    sender.start(&[&finder]);
    sender.json(&["contact", "add", "Owner", &owner.address]);
    sender.send(&sender.address.clone(), "a note to myself");
    wait_for_agreement(&[&owner, &sender, &finder], Duration::from_secs(30));
    sender.json(&["send", "Owner", "before"]);
    owner.wait_for_text("before", Duration::from_secs(30));
    owner.stop();
    finder.stop();
    finder.find_for(&[&file, &second]);
    finder.start(&[]);
    sender.stop();
    sender.start(&[&finder]);
    let last = sender.send("Owner", "canary-found under the third stone");
    let found = wait_for("both messages at the finder", PATIENCE, || {
        Some(handed_over(&finder, &file)).filter(|found| found.len() == 2)
    });
    // Exactly these: neither cards nor what the sender wrote to others. In both lists.
    wait_for("the other list", PATIENCE, || (handed_over(&finder, &second) == found).then_some(()));

    // No token, a wrong one, the API's own; from a page; under another name.
    let good = format!("Authorization: Bearer {}", token(&file));
    let own = fs::read_to_string(finder.data.join("dev").join("api.token")).unwrap();
    let wrong = format!("Authorization: Bearer {}", "ab".repeat(32));
    for bearer in
        ["X-Nothing: 1", wrong.as_str(), &format!("Authorization: Bearer {}", own.trim()), &good[..good.len() - 2]]
    {
        assert_eq!(call(&finder, "/v1/found", &["Host: localhost", bearer]).0, 401, "{bearer}");
    }
    assert_eq!(call(&finder, "/v1/found", &["Host: localhost", "Origin: http://localhost", &good]).0, 403);
    assert_eq!(call(&finder, "/v1/found", &["Host: example.org", &good]).0, 403);
    assert_eq!(call(&finder, "/v1/found?after=x", &["Host: localhost", &good]).0, 400);
    let host = format!("Host: {}", api(&finder));
    for other in ["/v1/status", "/v1/outbox", "/v1/peers"] {
        assert_eq!(call(&finder, other, &[&host, &good]).0, 401, "the token opens nothing else");
    }

    // The finder's disk and log do not tell what was found, or for whom; the list outlives a kill.
    finder.kill();
    let id: Vec<u8> = (0..32).map(|n| u8::from_str_radix(&last[2 * n..2 * n + 2], 16).unwrap()).collect();
    let list = finder.data.join("dev").join("found");
    assert!(!files(&list).is_empty());
    let secrets = fs::read(&file).unwrap();
    for path in files(&finder.data) {
        let bytes = fs::read(&path).unwrap();
        assert!(!contains(&bytes, &secrets[41..73]) && !contains(&bytes, &secrets[73..105]), "{}", path.display());
        assert!(!path.starts_with(&list) || !contains(&bytes, &id), "{}", path.display());
    }
    let log = fs::read_to_string(finder.log()).unwrap();
    assert!(!log.contains(&token(&file)) && !log.contains(&owner.address) && !log.contains("canary-found"));
    assert!(log.contains("finding for 2 scan keys"));
    finder.start(&[]);
    assert_eq!(handed_over(&finder, &file), found);

    // The owner, still away from every peer, fetches and opens. What was known already is not shown twice.
    sender.stop();
    let from = api(&finder);
    let fetch = ["wallet", "fetch", file.to_str().unwrap(), "--from", &from];
    let fetched = owner.json(&fetch);
    assert_eq!((&fetched["requests"], &fetched["passed_over"], &fetched["refused"]), (&1.into(), &1.into(), &0.into()));
    let fetched = owner.json(&fetch);
    assert_eq!((&fetched["requests"], &fetched["passed_over"]), (&0.into(), &0.into()), "it goes on where it ended");
    let fetched = owner.json(&[&fetch[..], &["--all"]].concat());
    assert_eq!((&fetched["requests"], &fetched["passed_over"]), (&0.into(), &2.into()));
    finder.stop();
    owner.start(&[]);
    assert_eq!(owner.texts(), ["before", "canary-found under the third stone"]);
}

#[test]
fn files_that_are_none_and_fetching_from_afar_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let (owner, other) = (Node::with_wallet(home.path(), "owner"), Node::with_wallet(home.path(), "other"));
    let file = scan_key(&owner, home.path(), "owner.scan");
    let refused = |data: &Path, args: &[&str], code: i32, words: &str| {
        let output = run(data, args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(words), "{args:?}: {said}");
    };
    let path = file.to_str().unwrap();
    let nobody = home.path().join("nobody.scan");
    let export = ["wallet", "scan-key", "export", &other.address, "-o", nobody.to_str().unwrap()];
    refused(&owner.data, &export, 1, "no identity");
    assert!(!nobody.exists());
    refused(&owner.data, &["wallet", "fetch", path, "--from", "192.0.2.7:80"], 2, "tunnel");
    refused(&other.data, &["wallet", "fetch", path, "--from", "127.0.0.1:1"], 1, "no identity of this wallet");
    refused(&owner.data, &["wallet", "fetch", path, "--from", "127.0.0.1:1"], 1, "nothing answers");
    let mut bytes = fs::read(&file).unwrap();
    bytes[50] ^= 1;
    let damaged = home.path().join("damaged.scan");
    fs::write(&damaged, bytes).unwrap();
    let data = home.path().join("finder");
    refused(&data, &["run", "--no-wallet", "--find-for", damaged.to_str().unwrap()], 1, "damaged");
    refused(&data, &["run", "--no-wallet", "--find-for", path, "--find-for", path], 2, "twice");
    refused(&data, &["--network", "other", "run", "--no-wallet", "--find-for", path], 1, "another network");
    refused(&data, &["run", "--no-wallet", "--find-for", "nothing.scan"], 1, "cannot read");
}
