//! What the commands print, on two nodes that talk to each other, and who may call the API behind them.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::Stdio,
    time::Duration,
};

use serde_json::Value;

use crate::harness::{Node, command, wait_for};

fn two_nodes(home: &std::path::Path) -> (Node, Node) {
    let mut a = Node::with_wallet(home, "a");
    let mut b = Node::with_wallet(home, "b");
    a.start(&[]);
    b.start(&[&a]);
    (a, b)
}

#[test]
fn texts_come_from_standard_input_and_are_followed_as_they_arrive() {
    let home = tempfile::tempdir().unwrap();
    let (a, b) = two_nodes(home.path());
    b.json(&["contact", "add", "a", &a.address]);
    a.send(&b.address, "opens the way");
    let mut follow = command(&b.data, &["--json", "inbox", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["text"], "opens the way");

    let text = "خط یک\nline two, \u{202e}reversed\u{202c}";
    let mut send =
        command(&a.data, &["send", &b.address, "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    send.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let id = String::from_utf8(send.wait_with_output().unwrap().stdout).unwrap().trim().to_owned();
    let message = next();
    assert_eq!((message["text"].as_str(), message["id"].as_str()), (Some(text), Some(id.as_str())));
    assert_eq!((message["from"].as_str(), message["number"].as_u64()), (Some(a.address.as_str()), Some(2)));
    drop(follow.kill());
    drop(follow.wait());

    // On a terminal's side nothing may reorder what stands around it, and no line may pass for another message.
    let shown = command(&b.data, &["inbox"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(!shown.contains('\u{202e}') && !shown.contains('\u{1b}'), "{shown}");
    assert!(shown.contains("    خط یک\n    line two"), "{shown}");
}

#[test]
fn blocks_transactions_and_peers_are_shown_with_their_fields() {
    let home = tempfile::tempdir().unwrap();
    let (a, b) = two_nodes(home.path());
    let id = a.send(&b.address, "hello");
    b.wait_for_text("hello", Duration::from_secs(30));
    let shown = b.json(&["show", &id]);
    assert_eq!(
        (shown["id"].as_str(), shown["place"].as_str(), shown["kind"].as_str()),
        (Some(&*id), Some("ledger"), Some("sealed"))
    );
    assert_eq!((shown["body"].as_str(), shown["body_len"].as_u64()), (Some("present"), Some(2_048)));
    let number = shown["block"].as_u64().unwrap();
    let block = b.json(&["block", &number.to_string()]);
    assert!(block["transactions"].as_array().unwrap().contains(&Value::from(id)));
    assert_eq!(block["count"].as_u64(), Some(block["transactions"].as_array().unwrap().len() as u64));
    assert_eq!((block["state"].as_str(), block["start"].as_u64()), (Some("open"), Some(number * 3_600)));
    let newest = b.json(&["status"])["newest_block"]["chain"].clone();
    assert_eq!(b.json(&["block"])["chain"], newest);

    let peers = b.json(&["peers"]);
    let peer = &peers[0];
    assert_eq!((peer["direction"].as_str(), peer["transport"].as_str()), (Some("out"), Some("tcp")));
    assert_eq!(a.json(&["peers"])[0]["direction"], "in");
    assert!(b.json(&["id"])["card_published"].is_u64());
}

/// The status line of a raw call.
fn call(address: &str, headers: &[String]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET /v1/status HTTP/1.1\r\nConnection: close\r\n{}\r\n\r\n", headers.join("\r\n")).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn the_api_takes_the_token_under_a_loopback_name_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let mut node = Node::relay(home.path(), "r");
    node.start(&[]);
    let file = |name: &str| fs::read_to_string(node.data.join("dev").join(name)).unwrap();
    let (address, token) = (file("api.address"), file("api.token"));
    let host = format!("Host: {address}");
    let bearer = format!("Authorization: Bearer {token}");
    assert!(call(&address, &[host.clone(), bearer.clone()]).contains("200"));
    assert!(call(&address, std::slice::from_ref(&host)).contains("401"));
    assert!(call(&address, &[host.clone(), format!("Authorization: Bearer {}", "0".repeat(64))]).contains("401"));
    assert!(call(&address, &["Host: evil.example".to_owned(), bearer.clone()]).contains("403"));
    assert!(call(&address, &[host, bearer, "Origin: https://evil.example".to_owned()]).contains("403"));
    private(&node.data.join("dev").join("api.token"));
    node.stop();
    wait_for("no address file", Duration::from_secs(5), || {
        (!node.data.join("dev").join("api.address").exists()).then_some(())
    });
}

/// Only the owner may read it.
fn private(path: &std::path::Path) {
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777, 0o600);
}
