//! Calls that need a wallet: identity, contacts, sending, the inbox.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Query, State, rejection::JsonRejection},
};
use qasedak_wallet::WalletError;
use serde::Deserialize;

use super::{Answer, Refusal, types};
use crate::{
    mail::{Known, Letter, Mail, MailError},
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
            | MailError::Wallet(WalletError::Database { .. } | WalletError::Damaged { .. } | WalletError::Poisoned) => {
                Self::internal(error)
            }
            _ => Self::unable(error),
        }
    }
}

pub(super) fn mail(node: &Node) -> Result<&Arc<Mail>, Refusal> {
    node.mail().ok_or_else(|| {
        Refusal::unable("this node is a relay and has no wallet; run one without --no-wallet, with its own --data")
    })
}

pub(super) async fn identity(State(node): State<Arc<Node>>) -> Answer<types::Identity> {
    let mail = mail(&node)?;
    let card_published = mail.card_published().await?;
    Ok(Json(types::Identity { address: mail.address().to_string(), card_published }))
}

pub(super) async fn contacts(State(node): State<Arc<Node>>) -> Answer<Vec<types::Contact>> {
    Ok(Json(mail(&node)?.contacts().await?.into_iter().map(shown).collect()))
}

pub(super) async fn add_contact(
    State(node): State<Arc<Node>>,
    body: Result<Json<types::NewContact>, JsonRejection>,
) -> Answer<types::Contact> {
    let Json(new) = body.map_err(|error| Refusal::usage(error.body_text()))?;
    Ok(Json(shown(mail(&node)?.add_contact(&new.name, &new.address).await?)))
}

#[derive(Deserialize)]
pub(super) struct Named {
    name: String,
}

pub(super) async fn remove_contact(
    State(node): State<Arc<Node>>,
    Query(named): Query<Named>,
) -> Answer<types::Contact> {
    Ok(Json(shown(mail(&node)?.remove_contact(&named.name).await?)))
}

pub(super) async fn send(
    State(node): State<Arc<Node>>,
    body: Result<Json<types::NewMessage>, JsonRejection>,
) -> Answer<types::Sent> {
    let Json(message) = body.map_err(|error| Refusal::usage(error.body_text()))?;
    let accepted = mail(&node)?.send(&message.to, &message.text).await?;
    Ok(Json(types::Sent { id: accepted.id.to_string(), stamping_ms: accepted.stamping_ms }))
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
    Ok(Json(types::Inbox { messages: letters.into_iter().map(message).collect() }))
}

fn shown(known: Known) -> types::Contact {
    types::Contact { name: known.name, address: known.address.to_string(), card: known.card }
}

fn message(letter: Letter) -> types::Message {
    let stored = letter.stored;
    types::Message {
        number: stored.seq,
        id: stored.tx_id.to_string(),
        from: stored.sender.to_string(),
        name: stored.contact.map(|name| name.to_string()),
        time_ms: stored.time_ms,
        received: stored.received_at.secs(),
        text: letter.text,
    }
}
