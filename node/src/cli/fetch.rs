//! `wallet fetch`: takes what another node found with a scan key, and treats all of it as hostile.
//!
//! That node is not trusted: each transaction is checked by every rule that needs no ledger, found again with the own scan
//! key, and opened as if a peer had sent it. What it can do is keep things back. How far one got is kept in the wallet
//! with the messages, in one commit.

use std::{net::SocketAddr, path::Path, time::Duration};

use qasedak_chain::{Network, Position, Time, Transaction, rules, transaction::TRANSACTION_MAX_BYTES};
use qasedak_wallet::{
    Opened, ScanKeyFile, Wallet,
    open::OpenError,
    wallet::{LogId, Scanned},
};

use super::{Context, wallet};
use crate::{
    api::{
        found::read_cursor,
        types::{Fetched, Found},
    },
    failure::{Failure, Outcome},
    finder::{self, PAGE_MAX},
    node::now,
};

/// How long a page may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longest answer: a full page in hexadecimal digits, with room.
const ANSWER_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Most pages at a time: more than the longest list has.
const PAGES_MAX: usize = 8_192;

pub(super) fn fetch(context: &Context, path: &Path, from: SocketAddr, all: bool) -> Outcome {
    if !from.ip().is_loopback() {
        return Err(Failure::usage(format!(
            "{from} is not on this computer, and the token would travel in the clear; make a tunnel to it first, like \
             ssh -L 7338:127.0.0.1:7338 HOST, and fetch from 127.0.0.1:7338"
        )));
    }
    let file = finder::read_file(path, &context.network)?;
    let mut wallet = wallet::open(context)?;
    if wallet.identity_of(&file).is_none() {
        return Err(Failure::failed(format!("{} is for no identity of this wallet", path.display())));
    }
    let log = LogId::from_bytes(file.cursor_name());
    let mut after = if all { 0 } else { wallet.cursor(&log).map_err(Failure::failed)?.get() };
    let source = Source::new(from, &file);
    let mut fetched = Fetched::default();
    for _ in 0..PAGES_MAX {
        let page = source.page(after)?;
        let next = read_cursor(&page.next).ok_or_else(|| source.foreign())?;
        take(&mut wallet, &context.network, &log, &page, next, now(), &mut fetched)?;
        if !page.more || next == after {
            break;
        }
        after = next;
    }
    context.output.show(&fetched, text)
}

/// Where a finder answers.
struct Source {
    agent: ureq::Agent,
    url: String,
    bearer: zeroize::Zeroizing<String>,
}

impl Source {
    fn new(from: SocketAddr, file: &ScanKeyFile) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            .proxy(None)
            .build();
        let bearer = zeroize::Zeroizing::new(format!("Bearer {}", *file.token_text()));
        Self { agent: config.into(), url: format!("http://{from}/v1/found"), bearer }
    }

    fn page(&self, after: u64) -> Outcome<Found> {
        let request = self.agent.get(&self.url).query("after", format!("{after:016x}"));
        let answer = request.header("Authorization", self.bearer.as_str()).call();
        let mut answer = answer.map_err(|_| {
            Failure::failed(format!("nothing answers at {}; is the other node running, and the tunnel open?", self.url))
        })?;
        // Its own words are not shown: nothing that it says is trusted.
        match answer.status().as_u16() {
            200 => {}
            401 => {
                return Err(Failure::failed(
                    "the other node does not know this file; it must run with --find-for and this very file",
                ));
            }
            status => {
                return Err(Failure::failed(format!("the other node refuses to hand over, with status {status}")));
            }
        }
        let page: Found =
            answer.body_mut().with_config().limit(ANSWER_MAX_BYTES).read_json().map_err(|_| self.foreign())?;
        if page.transactions.len() > PAGE_MAX { Err(self.foreign()) } else { Ok(page) }
    }

    fn foreign(&self) -> Failure {
        Failure::failed(format!("what answers at {} is not a node that hands over what it found", self.url))
    }
}

/// Keeps what opens of a page, and how far one got.
fn take(
    wallet: &mut Wallet,
    network: &Network,
    log: &LogId,
    page: &Found,
    next: u64,
    now: Time,
    fetched: &mut Fetched,
) -> Outcome {
    let mut opened: Vec<Opened> = Vec::new();
    for text in &page.transactions {
        let Some(transaction) = checked(network, text) else {
            fetched.refused += 1;
            continue;
        };
        match wallet.open_transaction(&transaction) {
            Ok(message) => opened.push(message),
            Err(OpenError::NotForUs | OpenError::NotSealed) => fetched.refused += 1,
            Err(_) => fetched.not_opened += 1,
        }
    }
    let scanned = Scanned { next: Position::new(next), opened, ..Scanned::default() };
    let recorded = wallet.record_scanned(log, scanned, now).map_err(Failure::failed)?;
    fetched.messages += recorded.kept.len();
    fetched.requests += recorded.requests;
    fetched.delivered += recorded.delivered;
    fetched.passed_over += recorded.duplicates + recorded.ended + recorded.blocked;
    fetched.missing = fetched.missing.saturating_add(page.missing);
    Ok(())
}

/// The transaction with its body, if it obeys every rule that can be checked without a ledger.
fn checked(network: &Network, text: &str) -> Option<Transaction> {
    if text.len() > 2 * TRANSACTION_MAX_BYTES {
        return None;
    }
    let transaction = Transaction::from_bytes(network, &hex::decode(text).ok()?).ok()?;
    Some(rules::verify(network, transaction).ok()?.into_transaction())
}

fn text(fetched: &Fetched) -> String {
    let mut text = match (fetched.messages, fetched.requests) {
        (0, 0) => "no new messages\n".to_owned(),
        (messages, 0) => format!("new messages: {messages}\n"),
        (messages, requests) => format!("new messages: {messages}, and {requests} of strangers\n"),
    };
    let notes: [(u64, &str); 5] = [
        (fetched.delivered as u64, "sent messages are known to be delivered now"),
        (fetched.passed_over as u64, "were known already, had ended, or are of people who are blocked"),
        (fetched.not_opened as u64, "are for this wallet and do not open"),
        (fetched.refused as u64, "are not valid, or not for this wallet: the other node is at fault"),
        (
            fetched.missing,
            "were found, but their bodies are not on the other node now; your own node may get them from peers",
        ),
    ];
    notes.iter().filter(|(count, _)| *count > 0).for_each(|(count, what)| text.push_str(&format!("{count} {what}\n")));
    text
}

#[cfg(test)]
mod tests;
