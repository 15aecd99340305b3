//! `audit log`: the checkpoints that peers have signed, contradictions first. From the running node, or from the files
//! when none runs.

use qasedak_chain::{Time, store::disk::DiskCheckpoints};

use crate::{
    api::{
        audit::shown_book,
        types::{Checkpoint, CheckpointLog, Contradiction},
    },
    cli::{Context, client::Client},
    failure::{Failure, Outcome},
};

/// `all`: not the newest of each log alone.
pub(super) fn log(context: &Context, all: bool) -> Outcome {
    let log = if context.paths.api_address().exists() {
        let path = if all { "/v1/checkpoints?all=true" } else { "/v1/checkpoints" };
        Client::connect(&context.paths, context.network.name())?.get(path)?
    } else {
        let dir = context.paths.checkpoints();
        shown_book(&DiskCheckpoints::read(&dir, &context.network).map_err(Failure::failed)?, all)
    };
    context.output.show(&log, |log: &CheckpointLog| text(context, log))
}

fn text(context: &Context, log: &CheckpointLog) -> String {
    let mut text: String = log.contradictions.iter().map(|found| contradiction(context, found)).collect();
    match log.received.as_slice() {
        [] => text.push_str("no checkpoints of peers yet; they are exchanged a few seconds after two nodes meet\n"),
        received => {
            let heading = format!("checkpoints of peers: {}", received.len());
            text.push_str(&format!("{}\n", context.output.bold(&heading)));
            text.extend(received.iter().map(|checkpoint| format!("{}  {}\n", checkpoint.peer, said(checkpoint))));
        }
    }
    if !log.own_kept.is_empty() {
        let heading = format!("own checkpoints: {}", log.own_kept.len());
        text.push_str(&format!("{}\n", context.output.bold(&heading)));
        text.extend(log.own_kept.iter().map(|own| format!("{}  {}\n", own.peer, said(own))));
    } else if let Some(own) = &log.own {
        text.push_str(&format!("{}\n{}  {}\n", context.output.bold("own checkpoint"), own.peer, said(own)));
    }
    if log.contradictions.is_empty() {
        text.push_str(&context.output.good("none contradicts another"));
    }
    text
}

fn said(checkpoint: &Checkpoint) -> String {
    let closed =
        checkpoint.closed.map_or("no closed block yet".to_owned(), |block| format!("closed up to block {block}"));
    let time = Time::from_secs(checkpoint.time);
    format!("log {}  {} transactions, {closed}, said at {time}", checkpoint.log, checkpoint.transactions)
}

fn contradiction(context: &Context, found: &Contradiction) -> String {
    let convinces = if found.convinces {
        "These two, both signed by this peer, cannot both be true, and convince anyone."
    } else {
        "The peer was asked twice and did not show that its log has only grown. That convinces nobody else."
    };
    format!(
        "{} {}\n  {}\n  first:  {}\n  then:   {}\n  {convinces}\n",
        context.output.bad("contradiction of peer"),
        found.peer,
        found.reason,
        said(&found.first),
        said(&found.second),
    )
}
