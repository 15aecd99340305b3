//! Calls that send and read messages.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Query, State, rejection::JsonRejection},
};
use qasedak_chain::transaction::{LIFETIME_DEFAULT_SECS, LIFETIME_MAX_SECS, LIFETIME_MIN_SECS};
use qasedak_wallet::{WalletError, wallet::HistoryEntry};
use serde::Deserialize;

use super::{Answer, Refusal, types};
use crate::{
    mail::{self, Fate, Letter, Mail, MailError, NewLetter},
    node::Node,
};

/// Messages in one page of the inbox.
const PAGE: usize = 200;
/// Longest wait for a new message, in seconds.
const WAIT_MAX_SECS: u64 = 30;

impl From<MailError> for Refusal {
    fn from(error: MailError) -> Self {
        match error {
            MailError::Store(_)
            | MailError::Broken
            | MailError::Wallet(
                WalletError::Store(_) | WalletError::DamagedJournal { .. } | WalletError::Damaged { .. },
            ) => Self::internal(error),
            _ => Self::unable(error),
        }
    }
}

pub(super) fn mail(node: &Node) -> Result<&Arc<Mail>, Refusal> {
    node.mail().ok_or_else(|| {
        Refusal::unable("this node is a relay and has no wallet; run one without --no-wallet, with its own --data")
    })
}

pub(super) async fn send(
    State(node): State<Arc<Node>>,
    body: Result<Json<types::NewMessage>, JsonRejection>,
) -> Answer<types::Sent> {
    let Json(message) = body.map_err(|error| Refusal::usage(error.body_text()))?;
    let letter = NewLetter {
        to: message.to.clone(),
        text: message.text.clone(),
        lifetime_secs: message.lifetime.unwrap_or(LIFETIME_DEFAULT_SECS),
        reply_to: message.reply_to,
        despite_key_change: message.despite_key_change,
    };
    if !(LIFETIME_MIN_SECS..=LIFETIME_MAX_SECS).contains(&letter.lifetime_secs) {
        return Err(Refusal::usage("a message lives for one hour at least and for 90 days at most"));
    }
    let accepted = mail(&node)?.send(letter).await?;
    let warning = mail(&node)?.warning_of(message.to).await?;
    Ok(Json(types::Sent { id: accepted.id.to_string(), stamping_ms: accepted.stamping_ms, warning }))
}

#[derive(Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait: u64,
}

pub(super) async fn inbox(State(node): State<Arc<Node>>, Query(page): Query<Page>) -> Answer<types::Inbox> {
    let wait = Duration::from_secs(page.wait.min(WAIT_MAX_SECS));
    let letters = mail(&node)?.inbox(page.after, PAGE, wait).await?;
    let requests = mail(&node)?.requests_waiting().await?;
    Ok(Json(types::Inbox { messages: letters.into_iter().map(message).collect(), requests }))
}

pub(super) fn message(letter: Letter) -> types::Message {
    let stored = letter.stored;
    types::Message {
        number: stored.seq,
        id: stored.tx_id.to_string(),
        from: stored.sender.to_string(),
        name: stored.contact.map(|name| name.to_string()),
        warning: stored.warning.map(mail::warning_text),
        time_ms: stored.time_ms,
        received: stored.received_at.secs(),
        ends: stored.ends.secs(),
        inner_id: stored.inner_id.to_string(),
        reply_to: stored.reply_to.map(|id| id.to_string()),
        text: letter.text,
    }
}

#[derive(Deserialize)]
pub(super) struct Which {
    with: String,
    before: Option<u64>,
    limit: Option<usize>,
    search: Option<String>,
}

pub(super) async fn history(State(node): State<Arc<Node>>, Query(which): Query<Which>) -> Answer<types::History> {
    let limit = which.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let page = mail(&node)?.history(which.with.clone(), which.before, limit, which.search).await?;
    let warning = mail(&node)?.warning_of(which.with).await?;
    Ok(Json(types::History { entries: page.into_iter().map(|(entry, fate)| said(entry, fate)).collect(), warning }))
}

fn said(entry: HistoryEntry, fate: Option<Fate>) -> types::Said {
    match entry {
        HistoryEntry::Received(stored) => {
            let ends = stored.ends.secs();
            let message = message(Letter::new(stored));
            types::Said {
                number: message.number,
                id: message.id.clone(),
                sent: false,
                time_ms: message.time_ms,
                ends,
                inner_id: message.inner_id.clone(),
                reply_to: message.reply_to.clone(),
                text: Some(message.text.clone()),
                state: None,
                peers: None,
                delivered: None,
            }
        }
        HistoryEntry::Sent(sent) => {
            let message = sent.record.map(|record| record.message);
            types::Said {
                number: sent.seq,
                id: sent.tx_id.to_string(),
                sent: true,
                time_ms: sent.time_ms,
                ends: sent.ends.secs(),
                inner_id: sent.inner_id.to_string(),
                reply_to: message.as_ref().and_then(|message| message.reply_to).map(|id| id.to_string()),
                text: message.map(|message| mail::shown(&message.content)),
                state: fate.map(state).map(str::to_owned),
                peers: match fate {
                    Some(Fate::Out(peers)) => peers,
                    _ => None,
                },
                delivered: match fate {
                    Some(Fate::Delivered(at)) => Some(at),
                    _ => None,
                },
            }
        }
    }
}

fn state(fate: Fate) -> &'static str {
    match fate {
        Fate::Waiting => "waiting",
        Fate::Out(_) => "out",
        Fate::Delivered(_) => "delivered",
        Fate::Expired => "expired",
        Fate::Unsent => "unsent",
    }
}

pub(super) async fn outbox(State(node): State<Arc<Node>>) -> Answer<Vec<types::NotOut>> {
    let all = mail(&node)?.not_out().await?;
    let shown = all.into_iter().map(|out| types::NotOut {
        id: out.id.map(|id| id.to_string()),
        to: out.to,
        state: out.state.to_owned(),
        peers: out.peers,
        reason: out.reason.to_owned(),
    });
    Ok(Json(shown.collect()))
}
