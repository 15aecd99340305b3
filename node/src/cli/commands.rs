//! Commands that talk to the running node over its local API.

use std::{
    io::{IsTerminal, Read},
    sync::mpsc,
    thread,
    time::Duration,
};

use qasedak_chain::Time;
use qasedak_wallet::display::safe_text;
use qrcode::render::unicode::Dense1x2;

use super::{
    Context,
    args::{Command, ContactCommand},
    client::Client,
    output::{bytes, fields},
    status,
};
use crate::{
    api::types::{
        Block, Contact, Identity, Inbox, Message, NewContact, NewMessage, Peer, RefusedPeer, Sent, Transaction,
    },
    failure::{Failure, Outcome},
};

/// After this long `send` says that it is stamping.
const STAMPING_NOTICE: Duration = Duration::from_millis(1_500);
/// Longest text that is read from standard input, in bytes: more than any message holds.
const TEXT_MAX_BYTES: u64 = 128 * 1024;
/// How long one call of `inbox --follow` waits for a new message, in seconds.
const FOLLOW_WAIT_SECS: u64 = 20;

pub(super) fn execute(context: &Context, command: Command) -> Outcome {
    let client = Client::connect(&context.paths, context.network.name())?;
    match command {
        Command::Id { qr } => id(context, &client, qr),
        Command::Contact(command) => contact(context, &client, command),
        Command::Send { who, text } => send(context, &client, who, text),
        Command::Inbox { follow } => inbox(context, &client, follow),
        Command::Status => status::show(context, &client),
        Command::Peers { refused } => peers(context, &client, refused),
        Command::Block { which } => block(context, &client, which.as_deref()),
        Command::Show { id } => show(context, &client, &id),
        Command::Init { .. } | Command::Run(_) | Command::Audit(_) | Command::Ledger(_) | Command::Demo => Ok(()),
    }
}

fn id(context: &Context, client: &Client, qr: bool) -> Outcome {
    let identity: Identity = client.get("/v1/identity")?;
    context.output.show(&identity, |identity| identity.address.clone())?;
    if qr && !context.output.is_json() {
        // Upper case fits QR's denser alphanumeric mode, and reads as the same address.
        let code = qrcode::QrCode::new(identity.address.to_uppercase())
            .map_err(|error| Failure::failed(format!("cannot draw the address: {error}; copy it as text")))?;
        // Terminals are mostly dark: their foreground is the code's light colour.
        let drawn = code.render().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).quiet_zone(true).build();
        context.output.line(&drawn)?;
    }
    Ok(())
}

fn contact(context: &Context, client: &Client, command: ContactCommand) -> Outcome {
    match command {
        ContactCommand::Add { name, address } => {
            let added: Contact = client.post("/v1/contacts", &NewContact { name, address })?;
            context.output.show(&added, |added| format!("{} is {}", safe_text(&added.name), added.address))
        }
        ContactCommand::List => {
            let contacts: Vec<Contact> = client.get("/v1/contacts")?;
            context.output.show(&contacts, |contacts| match contacts.as_slice() {
                [] => "no contacts yet; add one with: qasedak contact add NAME ADDRESS".to_owned(),
                contacts => contacts.iter().map(|contact| contact_line(context, contact)).collect(),
            })
        }
        ContactCommand::Remove { name } => {
            let removed: Contact = client.delete("/v1/contacts", &name)?;
            context.output.show(&removed, |removed| format!("{} is forgotten", safe_text(&removed.name)))
        }
    }
}

fn contact_line(context: &Context, contact: &Contact) -> String {
    let card = match contact.card {
        Some(made) => context.output.dim(&format!("card of {}", Time::from_secs(made))),
        None => context.output.bad("no card found yet"),
    };
    format!("{}  {}  {card}\n", safe_text(&contact.name), contact.address)
}

fn send(context: &Context, client: &Client, who: String, text: String) -> Outcome {
    let text = if text == "-" { read_text()? } else { text };
    let notice = StampingNotice::start();
    let sent: Outcome<Sent> = client.post("/v1/messages", &NewMessage { to: who, text });
    drop(notice);
    context.output.show(&sent?, |sent| sent.id.clone())
}

fn read_text() -> Outcome<String> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(TEXT_MAX_BYTES.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
    if bytes.len() as u64 > TEXT_MAX_BYTES {
        return Err(Failure::failed(
            "the text on standard input is longer than any message may be; send a shorter one",
        ));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::failed("standard input is no UTF-8 text; only text can be sent"))?;
    Ok(text.strip_suffix('\n').map_or(text.clone(), str::to_owned))
}

/// Says on a terminal that a stamp is being made, once that takes long.
struct StampingNotice {
    /// Dropping it tells the waiting thread that the stamp is done.
    _done: Option<mpsc::Sender<()>>,
}

impl StampingNotice {
    fn start() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { _done: None };
        }
        let (done, waits) = mpsc::channel();
        thread::spawn(move || {
            if waits.recv_timeout(STAMPING_NOTICE) == Err(mpsc::RecvTimeoutError::Timeout) {
                super::notice("stamping: this computer is working for the message's postage…");
            }
        });
        Self { _done: Some(done) }
    }
}

fn inbox(context: &Context, client: &Client, follow: bool) -> Outcome {
    let mut last = 0;
    let mut shown = Vec::new();
    loop {
        let wait = if follow { FOLLOW_WAIT_SECS } else { 0 };
        let page: Inbox = client.get(&format!("/v1/messages?after={last}&wait={wait}"))?;
        let more = !page.messages.is_empty();
        last = page.messages.last().map_or(last, |message| message.number);
        if follow {
            page.messages.iter().try_for_each(|message| context.output.show(message, |m| message_text(context, m)))?;
            continue;
        }
        shown.extend(page.messages);
        if !more {
            break;
        }
    }
    context.output.show(&Inbox { messages: shown }, |inbox| match inbox.messages.as_slice() {
        [] => "no messages yet".to_owned(),
        messages => messages.iter().map(|message| message_text(context, message)).collect(),
    })
}

fn message_text(context: &Context, message: &Message) -> String {
    let from = message.name.as_deref().map_or_else(|| message.from.clone(), safe_text);
    let head = format!("{}  {}", Time::from_secs(message.time_ms / 1_000), context.output.bold(&from));
    format!("{head}  {}\n{}\n", context.output.dim(short(&message.id)), indented(&safe_text(&message.text)))
}

/// Indents every line, so that a text cannot pass for the head of another message.
fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// The first 16 digits of an id, for a glance.
fn short(id: &str) -> &str {
    id.get(..16).unwrap_or(id)
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
