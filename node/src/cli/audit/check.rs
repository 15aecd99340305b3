//! `audit check FILE`: what a file proves, by whose word, and what it does not. Needs nothing but the file.

use std::path::Path;

use qasedak_chain::{
    Time,
    proof::{self, Fact, Limit, Proven},
    store::disk::files,
    time::HOUR_SECS,
};
use qasedak_p2p::driver::peer_id_of;
use qasedak_wallet::{
    Content, Disclosed, Disclosure,
    disclose::{self, Discloser},
    display::safe_text,
};
use serde::Serialize;

use crate::{
    cli::output::{Output, fields},
    failure::{Failure, Outcome, io_failure},
};

/// What `audit check --json` prints.
#[derive(Serialize)]
struct Report {
    /// `disclosure`, `inclusion` or `absence`.
    kind: &'static str,
    network: String,
    /// Id of the transaction that the file is about.
    transaction: String,
    /// What was disclosed.
    message: Option<Message>,
    /// The block that the file says something of.
    block: Option<BlockShown>,
    /// What authors claim and nobody proves.
    claimed: Option<Claimed>,
    /// By whose word.
    by: Vec<Witness>,
    /// Whether nobody but the prover says so; null without a proof.
    own_word_only: Option<bool>,
    /// What the file proves, one sentence each.
    proves: Vec<String>,
    /// What one might take it to prove, and it does not.
    does_not_prove: Vec<String>,
}

/// A disclosed message.
#[derive(Serialize)]
struct Message {
    from: String,
    to: String,
    /// By the sender's word, in milliseconds since 1970.
    time_ms: u64,
    inner_id: String,
    /// `sender` or `recipient`.
    disclosed_by: &'static str,
    /// As it was written: treat it as hostile.
    text: String,
}

/// A block.
#[derive(Serialize)]
struct BlockShown {
    number: u64,
    /// First second of its hour.
    start: u64,
    /// How many transactions it held; 0 when the hour had no block.
    count: u64,
}

/// Times by the word of authors.
#[derive(Serialize)]
struct Claimed {
    /// The transaction's own.
    time: u64,
    /// Those of its parents, whose ids it names.
    parents: Vec<Parent>,
}

/// A parent.
#[derive(Serialize)]
struct Parent {
    id: String,
    time: u64,
}

/// A peer whose checkpoint carries the block.
#[derive(Serialize)]
struct Witness {
    /// Its peer id.
    peer: String,
    /// The same as its Ed25519 public key.
    key: String,
    /// Whether the prover says that this is the prover's own key.
    own: bool,
    /// The log that the checkpoint is about.
    log: String,
    /// Transactions in that log then.
    transactions: u64,
    /// When, by that peer's clock.
    time: u64,
}

pub(in crate::cli) fn check(output: Output, path: &Path) -> Outcome {
    let bytes = read(path)?;
    let report = report(&bytes).map_err(|why| Failure::failed(format!("{} proves nothing: {why}", path.display())))?;
    output.show(&report, |report| text(output, report))
}

/// The file, if it is not longer than any file of ours.
fn read(path: &Path) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = disclose::FILE_MAX_BYTES.saturating_add(1);
    files::read_stream(path, most, &mut bytes).map_err(io_failure("cannot read", path))?;
    Ok(bytes)
}

fn report(bytes: &[u8]) -> Result<Report, String> {
    if Disclosure::is_meant(bytes) {
        return disclose::check(bytes).map(|disclosed| disclosure(&disclosed)).map_err(|error| error.to_string());
    }
    proof::check(bytes).map(|proven| of_proof(&proven)).map_err(|error| error.to_string())
}

/// What a proof file shows.
fn of_proof(proven: &Proven) -> Report {
    let block = |number: u64, count: u64| BlockShown { number, start: number.saturating_mul(HOUR_SECS), count };
    let (kind, id, block, claimed) = match proven.fact() {
        Fact::Included { id, time, number, count, parents } => {
            let parents = parents.iter().map(|parent| Parent { id: parent.id.to_string(), time: parent.time.secs() });
            let claimed = Claimed { time: time.secs(), parents: parents.collect() };
            ("inclusion", id, block(*number, *count), Some(claimed))
        }
        Fact::Absent { id, number, count } => ("absence", id, block(*number, *count), None),
        Fact::EmptyBlock { id, number } => ("absence", id, block(*number, 0), None),
    };
    let by = proven.words().iter().map(|word| Witness {
        peer: peer_id_of(&word.signer),
        key: hex::encode(word.signer),
        own: word.own,
        log: hex::encode(word.log),
        transactions: word.count,
        time: word.time.secs(),
    });
    Report {
        kind,
        network: proven.network().to_owned(),
        transaction: id.to_string(),
        message: None,
        block: Some(block),
        claimed,
        by: by.collect(),
        own_word_only: Some(proven.is_own_word_only()),
        proves: vec![proven.sentence()],
        does_not_prove: proven.limits().iter().map(ToString::to_string).collect(),
    }
}

/// What a disclosure shows, and the proof in it.
fn disclosure(disclosed: &Disclosed) -> Report {
    let Disclosed { sender, recipient, tx_id, .. } = disclosed;
    let (disclosed_by, secret) = match disclosed.discloser {
        Discloser::Sender => ("sender", "the sender's seed"),
        Discloser::Recipient => ("recipient", "the recipient's shared secret"),
    };
    let mut proves = vec![
        format!("{sender} signed this text, the time of writing, and {recipient} as its recipient."),
        format!("The text stands in the body of transaction {tx_id}; {secret} opens it."),
    ];
    let mut does_not_prove: Vec<String> = [
        "that it was written when it says: that time is the sender's word",
        "that the recipient ever received or read it",
        "who made this file or handed it on: everyone who has it can",
        "which person holds an address",
    ]
    .map(str::to_owned)
    .to_vec();
    let proof = disclosed.proof.as_ref().map(of_proof);
    match &disclosed.proof {
        Some(proven) => {
            proves.push(proven.sentence());
            // The disclosure itself shows who wrote it, and what it says.
            let left = proven.limits().iter().filter(|limit| !matches!(limit, Limit::Writer | Limit::Content));
            does_not_prove.extend(left.map(ToString::to_string));
        }
        None => {
            proves.push(format!("Transaction {tx_id} is valid: its stamp cost work, and nothing in it was changed."));
            does_not_prove.push("that the transaction is in the ledger: there is no proof in this file".to_owned());
        }
    }
    let text = match &disclosed.content {
        Content::Text(text) => text.clone(),
        Content::Receipt(ids) => format!("[a receipt: {} messages were opened]", ids.len()),
        Content::Unsupported { kind, bytes } => {
            format!("[a message of type {kind}, {} bytes, that this version cannot show]", bytes.len())
        }
    };
    let message = Message {
        from: sender.to_string(),
        to: recipient.to_string(),
        time_ms: disclosed.time_ms,
        inner_id: disclosed.inner_id.to_string(),
        disclosed_by,
        text,
    };
    let (block, claimed, by, own_word_only) = match proof {
        Some(Report { block, claimed, by, own_word_only, .. }) => (block, claimed, by, own_word_only),
        None => (None, None, Vec::new(), None),
    };
    Report {
        kind: "disclosure",
        network: disclosed.network.name().to_owned(),
        transaction: tx_id.to_string(),
        message: Some(message),
        block,
        claimed,
        by,
        own_word_only,
        proves,
        does_not_prove,
    }
}

fn text(output: Output, report: &Report) -> String {
    let mut text = fields(&[
        ("file", report.kind.to_owned()),
        ("network", report.network.clone()),
        ("transaction", report.transaction.clone()),
    ]);
    if let Some(message) = &report.message {
        text.push_str(&fields(&[
            ("from", message.from.clone()),
            ("to", message.to.clone()),
            ("written", format!("{}, by the sender's word", Time::from_secs(message.time_ms / 1_000))),
            ("inner id", message.inner_id.clone()),
        ]));
        // Indented line by line, so that no text can pass for what this program says.
        text.extend(safe_text(&message.text).lines().map(|line| format!("    {line}\n")));
    }
    let mut list = |heading: String, lines: Vec<String>| {
        text.push_str(&format!("{heading}\n"));
        text.extend(lines.iter().map(|line| format!("- {line}\n")));
    };
    list(output.good("proven:"), report.proves.clone());
    if !report.by.is_empty() {
        list(output.bold("in the ledger by the word of:"), report.by.iter().map(witness_line).collect());
    }
    if report.own_word_only == Some(true) {
        list(
            output.bad("note:"),
            vec!["this is the prover's own word only: no other peer's checkpoint is in the file".to_owned()],
        );
    }
    if let Some(claimed) = &report.claimed {
        let time = |secs: u64| Time::from_secs(secs);
        let mut lines = vec![format!("by its author: its time, {}", time(claimed.time))];
        let parents = claimed.parents.iter();
        lines.extend(parents.map(|parent| format!("by the author of its parent {}: {}", parent.id, time(parent.time))));
        list(output.bold("claimed:"), lines);
    }
    list(output.bad("not proven:"), report.does_not_prove.clone());
    text
}

fn witness_line(by: &Witness) -> String {
    let own = if by.own { " (the prover's own)" } else { "" };
    let time = Time::from_secs(by.time);
    format!(
        "peer {}{own}, at {time} by its clock, over {} transactions; public key {}",
        by.peer, by.transactions, by.key
    )
}
