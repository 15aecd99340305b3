//! Calls about people: own identities, contacts, safety numbers, requests of strangers, and who is blocked.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State, rejection::JsonRejection},
};
use serde::Deserialize;

use super::{
    Answer, Refusal,
    mail::{mail, message},
    types,
};
use crate::{
    mail::{Change, Known, Unheard},
    node::Node,
};

/// A body that is JSON of the right form, or a refusal that says what is wrong with it.
fn body<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Refusal> {
    body.map(|Json(body)| body).map_err(|error| Refusal::usage(error.body_text()))
}

pub(super) async fn identity(State(node): State<Arc<Node>>) -> Answer<types::Identity> {
    let all = identities(State(node)).await?.0;
    all.into_iter().next().map(Json).ok_or_else(|| Refusal::internal("the wallet has no identity"))
}

pub(super) async fn identities(State(node): State<Arc<Node>>) -> Answer<Vec<types::Identity>> {
    let all = mail(&node)?.identities().await?;
    let shown = all.into_iter().map(|(own, card_published)| types::Identity {
        address: own.address.to_string(),
        name: own.name,
        card_published,
    });
    Ok(Json(shown.collect()))
}

pub(super) async fn add_identity(
    State(node): State<Arc<Node>>,
    new: Result<Json<types::NewIdentity>, JsonRejection>,
) -> Answer<types::Identity> {
    let made = mail(&node)?.add_identity(body(new)?.name).await?;
    Ok(Json(types::Identity { address: made.address.to_string(), name: made.name, card_published: None }))
}

pub(super) async fn contacts(State(node): State<Arc<Node>>) -> Answer<Vec<types::Contact>> {
    Ok(Json(mail(&node)?.contacts().await?.into_iter().map(shown).collect()))
}

pub(super) async fn add_contact(
    State(node): State<Arc<Node>>,
    new: Result<Json<types::NewContact>, JsonRejection>,
) -> Answer<types::Contact> {
    let new = body(new)?;
    Ok(Json(shown(mail(&node)?.add_contact(&new.name, &new.address).await?)))
}

pub(super) async fn change_contact(
    State(node): State<Arc<Node>>,
    Query(named): Query<Named>,
    change: Result<Json<types::ContactChange>, JsonRejection>,
) -> Answer<types::Contact> {
    let change = match body(change)? {
        types::ContactChange::Address(address) => Change::Address(address),
        types::ContactChange::Receipts(on) => Change::Receipts(on),
        types::ContactChange::Identity(identity) => Change::Identity(identity),
    };
    Ok(Json(shown(mail(&node)?.change_contact(named.name, change).await?)))
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

pub(super) async fn verify(
    State(node): State<Arc<Node>>,
    ask: Result<Json<types::Verify>, JsonRejection>,
) -> Answer<types::Verification> {
    let ask = body(ask)?;
    let found = mail(&node)?.verify(ask.name, ask.number).await?;
    Ok(Json(types::Verification { name: found.name, number: found.digits, matches: found.matches }))
}

pub(super) async fn block(
    State(node): State<Arc<Node>>,
    ask: Result<Json<types::Blocking>, JsonRejection>,
) -> Answer<types::Blocked> {
    let ask = body(ask)?;
    let address = mail(&node)?.block(ask.who, ask.blocked).await?;
    Ok(Json(types::Blocked { address: address.to_string(), blocked: ask.blocked }))
}

pub(super) async fn blocked(State(node): State<Arc<Node>>) -> Answer<Vec<types::Unheard>> {
    let all = mail(&node)?.blocked().await?;
    let shown = |one: Unheard| types::Unheard { address: one.address.to_string(), name: one.name, since: one.since };
    Ok(Json(all.into_iter().map(shown).collect()))
}

pub(super) async fn requests(State(node): State<Arc<Node>>) -> Answer<types::Inbox> {
    let messages: Vec<types::Message> = mail(&node)?.requests().await?.into_iter().map(message).collect();
    Ok(Json(types::Inbox { requests: messages.len(), messages }))
}

#[derive(Deserialize)]
pub(super) struct From {
    name: String,
}

pub(super) async fn decline(State(node): State<Arc<Node>>, Query(from): Query<From>) -> Answer<types::Declined> {
    let messages = mail(&node)?.decline(&from.name).await?;
    Ok(Json(types::Declined { messages }))
}

fn shown(known: Known) -> types::Contact {
    types::Contact {
        name: known.name,
        address: known.address.to_string(),
        card: known.card,
        verified: known.verified,
        receipts: known.receipts,
        warning: known.warning,
        blocked: known.blocked,
    }
}
