//! `audit check FILE`: what a file proves, by whose word, and what it does not. Needs nothing but the file.

use std::{fs::File, io::Read, path::Path};

use qasedak_chain::Time;
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

pub(in crate::cli) fn check(output: Output, path: &Path) -> Outcome {
    let bytes = read(path)?;
    let report = report(&bytes).map_err(|why| Failure::failed(format!("{} proves nothing: {why}", path.display())))?;
    output.show(&report, |report| text(output, report))
}

/// The file, if it is not longer than any file of ours.
fn read(path: &Path) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = disclose::FILE_MAX_BYTES as u64;
    File::open(path)
        .and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(io_failure("cannot read", path))?;
    Ok(bytes)
}

fn report(bytes: &[u8]) -> Result<Report, String> {
    if Disclosure::is_meant(bytes) {
        let disclosed = disclose::check(bytes).map_err(|error| error.to_string())?;
        return disclosure(&disclosed);
    }
    Err("it is neither a proof nor a disclosure, or was changed beyond recognition; ask for it again".to_owned())
}

fn disclosure(disclosed: &Disclosed) -> Result<Report, String> {
    let Disclosed { sender, recipient, .. } = disclosed;
    let (disclosed_by, secret) = match disclosed.discloser {
        Discloser::Sender => ("sender", "the sender's seed"),
        Discloser::Recipient => ("recipient", "the recipient's shared secret"),
    };
    let proves = vec![
        format!("{sender} signed this text, this time, and {recipient} as its recipient."),
        format!("The text stands in the body of transaction {}; {secret} opens it.", disclosed.tx_id),
        "The transaction is valid: its stamp cost work, and nothing in it was changed since.".to_owned(),
    ];
    let does_not_prove = vec![
        "That the text was written when it says: that time is the sender's word.".to_owned(),
        "That the recipient ever received or read it.".to_owned(),
        "Who made this file or handed it on: everyone who has it can.".to_owned(),
        "Which person holds an address.".to_owned(),
        "That the transaction is in the ledger: no proof is in this file.".to_owned(),
    ];
    let text = match &disclosed.content {
        Content::Text(text) => text.clone(),
        Content::Unsupported { kind, bytes } => {
            format!("[a message of type {kind}, {} bytes, that this version cannot show]", bytes.len())
        }
    };
    Ok(Report {
        kind: "disclosure",
        network: disclosed.network.name().to_owned(),
        transaction: disclosed.tx_id.to_string(),
        message: Some(Message {
            from: sender.to_string(),
            to: recipient.to_string(),
            time_ms: disclosed.time_ms,
            inner_id: disclosed.inner_id.to_string(),
            disclosed_by,
            text,
        }),
        proves,
        does_not_prove,
    })
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
    text.push_str(&format!("{}\n", output.good("proves:")));
    text.extend(report.proves.iter().map(|sentence| format!("- {sentence}\n")));
    text.push_str(&format!("{}\n", output.bad("does not prove:")));
    text.extend(report.does_not_prove.iter().map(|sentence| format!("- {sentence}\n")));
    text
}
