//! Commands that send and read messages.

use std::{
    io::{IsTerminal, Read},
    sync::mpsc,
    thread,
    time::Duration,
};

use qasedak_chain::Time;
use qasedak_p2p::engine::holders::KEYS_MAX;
use qasedak_wallet::display::safe_text;

use super::{Context, args::Lifetime, client::Client};
use crate::{
    api::types::{History, Inbox, Message, NewMessage, NotOut, Said, Sent},
    failure::{Failure, Outcome},
};

/// After this long `send` says that it is stamping.
const STAMPING_NOTICE: Duration = Duration::from_millis(1_500);
/// Longest text that is read from standard input, in bytes: more than any message holds.
const TEXT_MAX_BYTES: u64 = 128 * 1024;
/// How long one call of `inbox --follow` waits for a new message, in seconds.
const FOLLOW_WAIT_SECS: u64 = 20;

pub(super) fn send(
    context: &Context,
    client: &Client,
    who: String,
    text: String,
    expires: Lifetime,
    reply_to: Option<u64>,
    despite_key_change: bool,
) -> Outcome {
    let text = if text == "-" { read_text()? } else { text };
    let message = NewMessage { to: who, text, lifetime: Some(expires.secs()), reply_to, despite_key_change };
    let notice = StampingNotice::start();
    let sent: Outcome<Sent> = client.post("/v1/messages", &message);
    drop(notice);
    let sent = sent?;
    if let Some(why) = &sent.warning {
        super::notice(&context.output.bad(&format!("WARNING about the recipient, {}", safe_text(why))));
    }
    context.output.show(&sent, |sent| sent.id.clone())
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

pub(super) fn inbox(context: &Context, client: &Client, follow: bool) -> Outcome {
    let mut last = 0;
    let mut shown = Vec::new();
    let requests = loop {
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
            break page.requests;
        }
    };
    context.output.show(&Inbox { messages: shown, requests }, |inbox| {
        let mut text = match inbox.messages.as_slice() {
            [] => "no messages\n".to_owned(),
            messages => messages.iter().map(|message| message_text(context, message)).collect(),
        };
        if inbox.requests > 0 {
            text.push_str(&format!("{} messages of strangers wait: qasedak request list\n", inbox.requests));
        }
        text
    })
}

pub(super) fn message_text(context: &Context, message: &Message) -> String {
    let from = message.name.as_deref().map_or_else(|| message.from.clone(), safe_text);
    let head =
        format!("{:>5}  {}  {}", message.number, Time::from_secs(message.time_ms / 1_000), context.output.bold(&from));
    let (id, text) = (context.output.dim(short(&message.id)), indented(&safe_text(&message.text)));
    format!("{head}  {id}\n{}{text}\n", warning_line(context, &from, message.warning.as_deref()))
}

/// A change of keys must not be overlooked by somebody who only reads.
fn warning_line(context: &Context, who: &str, warning: Option<&str>) -> String {
    warning
        .map_or_else(String::new, |why| context.output.bad(&format!("WARNING about {who}, {}", safe_text(why))) + "\n")
}

/// Indents every line, so that a text cannot pass for the head of another message.
fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// The first 16 digits of an id, for a glance.
fn short(id: &str) -> &str {
    id.get(..16).unwrap_or(id)
}

pub(super) fn history(
    context: &Context,
    client: &Client,
    who: &str,
    search: Option<&str>,
    before: Option<u64>,
    limit: usize,
) -> Outcome {
    let (limit, before) = (limit.to_string(), before.map(|before| before.to_string()));
    let mut query = vec![("with", who), ("limit", limit.as_str())];
    query.extend(before.as_deref().map(|before| ("before", before)));
    query.extend(search.map(|search| ("search", search)));
    let page: History = client.get_with("/v1/history", &query)?;
    context.output.show(&page, |page| {
        let shown: String = page.entries.iter().map(|said| said_text(context, said, &page.entries)).collect();
        let warning = warning_line(context, "them", page.warning.as_deref());
        if shown.is_empty() {
            warning + "nothing, or nothing any more: messages end when their time is over"
        } else {
            warning + &shown
        }
    })
}

fn said_text(context: &Context, said: &Said, page: &[Said]) -> String {
    let who = if said.sent { "to them" } else { "from them" };
    let head = format!("{:>5}  {}  {}", said.number, Time::from_secs(said.time_ms / 1_000), context.output.bold(who));
    let state = match (&said.state, said.delivered) {
        (_, Some(at)) => format!("  delivered {}", Time::from_secs(at)),
        (Some(state), None) => format!("  {}", state_text(state, said.peers)),
        (None, None) => String::new(),
    };
    let reply = said.reply_to.as_ref().map(|id| match page.iter().find(|other| other.inner_id == *id) {
        Some(other) => format!("  answers {}", other.number),
        None => "  answers an earlier one".to_owned(),
    });
    let text = said.text.as_deref().map_or("[its time is over]".to_owned(), safe_text);
    let ends = context.output.dim(&format!("ends {}", Time::from_secs(said.ends)));
    format!("{head}{state}{}  {ends}\n{}\n", reply.unwrap_or_default(), indented(&text))
}

/// The state of a message in words: of one that is out, on how many peers it is known to be.
fn state_text(state: &str, peers: Option<usize>) -> String {
    match peers {
        None => state.to_owned(),
        Some(0) => "out, on no peer that says so yet".to_owned(),
        Some(1) => "on 1 peer".to_owned(),
        Some(all) if all >= KEYS_MAX => format!("on {all} peers or more"),
        Some(some) => format!("on {some} peers"),
    }
}

pub(super) fn outbox(context: &Context, client: &Client) -> Outcome {
    let all: Vec<NotOut> = client.get("/v1/outbox")?;
    context.output.show(&all, |all| match all.as_slice() {
        [] => "everything is out".to_owned(),
        all => all
            .iter()
            .map(|out| {
                let id = out.id.as_deref().map_or("-", short);
                let to = out.to.as_deref().map_or("no message: your card, or a receipt".to_owned(), safe_text);
                format!("{id:<16}  {}  {to}: {}\n", state_text(&out.state, out.peers), out.reason)
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_told_in_words() {
        assert_eq!(state_text("waiting", None), "waiting");
        assert_eq!(state_text("out", None), "out");
        assert_eq!(state_text("out", Some(0)), "out, on no peer that says so yet");
        assert_eq!(state_text("out", Some(1)), "on 1 peer");
        assert_eq!(state_text("out", Some(7)), "on 7 peers");
        assert_eq!(state_text("out", Some(KEYS_MAX)), format!("on {KEYS_MAX} peers or more"));
    }
}
