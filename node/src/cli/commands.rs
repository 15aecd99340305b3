//! Commands that talk to the running node over its local API.

use qasedak_chain::Time;

use super::{
    Context,
    args::Command,
    client::Client,
    messages,
    output::{bytes, fields},
    people, status,
};
use crate::{
    api::types::{Block, Peer, RefusedPeer, Transaction},
    failure::{Failure, Outcome},
};

pub(super) fn execute(context: &Context, command: Command) -> Outcome {
    let client = Client::connect(&context.paths, context.network.name())?;
    match command {
        Command::Id { qr, new } => people::id(context, &client, qr, new),
        Command::Contact(command) => people::contact(context, &client, command),
        Command::Request(command) => people::request(context, &client, command),
        Command::Send { who, text, expires, reply_to, despite_key_change } => {
            messages::send(context, &client, who, text, expires, reply_to, despite_key_change)
        }
        Command::Inbox { follow } => messages::inbox(context, &client, follow),
        Command::History { who, search, before, limit } => {
            messages::history(context, &client, &who, search.as_deref(), before, limit)
        }
        Command::Outbox => messages::outbox(context, &client),
        Command::Status => status::show(context, &client),
        Command::Peers { refused } => peers(context, &client, refused),
        Command::Block { which } => block(context, &client, which.as_deref()),
        Command::Show { id } => show(context, &client, &id),
        Command::Init { .. }
        | Command::Run(_)
        | Command::Audit(_)
        | Command::Ledger(_)
        | Command::Wallet(_)
        | Command::Demo => Ok(()),
    }
}

fn peers(context: &Context, client: &Client, only_refused: bool) -> Outcome {
    let refused: Vec<RefusedPeer> = client.get("/v1/peers/refused")?;
    if only_refused {
        return context.output.show(&refused, |refused| match refused.as_slice() {
            [] => "no peer is refused".to_owned(),
            refused => refused_text(refused),
        });
    }
    let peers: Vec<Peer> = client.get("/v1/peers")?;
    context.output.show(&peers, |peers| connected_text(peers) + &refused_text(&refused))
}

fn refused_text(refused: &[RefusedPeer]) -> String {
    let line = |p: &RefusedPeer| format!("{}  refused until {}: {}\n", p.id, Time::from_secs(p.until), p.reason);
    refused.iter().map(line).collect()
}

fn connected_text(peers: &[Peer]) -> String {
    match peers {
        [] => "no peers; connect to one with: qasedak run --peer MULTIADDR\n".to_owned(),
        peers => peers
            .iter()
            .map(|p| {
                format!(
                    "{}  {:<3} {}  since {}  {}\n",
                    p.id,
                    p.direction,
                    p.transport,
                    Time::from_secs(p.since),
                    p.address
                )
            })
            .collect(),
    }
}

/// Keeps what cannot be a block's name out of the path of a call.
pub(super) fn check_block(which: &str) -> Outcome {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-:".contains(c);
    if which.chars().all(plain) && !which.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!("{which:?} is no block; give its number, or its hour like 2026-11-22T14")))
}

fn block(context: &Context, client: &Client, which: Option<&str>) -> Outcome {
    let which = which.unwrap_or("newest");
    check_block(which)?;
    let block: Block = client.get(&format!("/v1/blocks/{which}"))?;
    context.output.show(&block, |block| {
        let ids = block.transactions.as_deref().unwrap_or_default();
        let mut text = fields(&[
            ("block", format!("{} ({})", block.number, block.state)),
            ("hour", Time::from_secs(block.start).to_string()),
            ("count", block.count.to_string()),
            ("root", block.root.clone()),
            ("chain", block.chain.clone()),
        ]);
        text.extend(ids.iter().map(|id| format!("  {id}\n")));
        if (ids.len() as u64) < block.count {
            text.push_str("  … more than are shown\n");
        }
        text
    })
}

/// What became of a body, for a person.
fn body_state(state: &str) -> &str {
    match state {
        "dropped early" => "dropped early (disk budget)",
        other => other,
    }
}

fn show(context: &Context, client: &Client, id: &str) -> Outcome {
    if id.len() != 64 || !id.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(Failure::usage(format!(
            "{id:?} is no transaction id: 64 hexadecimal digits; copy the whole of it"
        )));
    }
    let shown: Transaction = client.get(&format!("/v1/transactions/{id}"))?;
    context.output.show(&shown, |tx| {
        let number = |value: Option<u64>| value.map_or("none yet".to_owned(), |value| value.to_string());
        let mut rows = vec![
            ("id", tx.id.clone()),
            ("place", tx.place.clone()),
            ("position", number(tx.position)),
            ("depth", number(tx.depth)),
            ("block", tx.block.to_string()),
            ("time", Time::from_secs(tx.time).to_string()),
            ("arrival", tx.arrival.map_or("none yet".to_owned(), |secs| Time::from_secs(secs).to_string())),
            ("lifetime", format!("{} hours", tx.lifetime / 3_600)),
            ("kind", tx.kind.clone()),
            ("hint", tx.hint.clone()),
            ("author", tx.author.clone()),
            ("body", format!("{}, {}", bytes(u64::from(tx.body_len)), body_state(&tx.body))),
            ("body hash", tx.body_hash.clone()),
            ("work", tx.work.to_string()),
        ];
        rows.extend(tx.parents.iter().map(|parent| ("parent", parent.clone())));
        fields(&rows)
    })
}
