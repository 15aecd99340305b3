//! `audit compare PEER`: what the running node and one of its peers differ in. Exit code 0: equal; 1: different, or it
//! could not be found out.

use std::time::Duration;

use qasedak_chain::{Time, time::HOUR_SECS};

use crate::{
    api::types::{BlockDifference, Comparison, Side},
    cli::{Context, client::Client, commands::check_block, output::fields},
    failure::{Failure, Outcome},
};

/// Longer than a comparison may take.
const TIMEOUT: Duration = Duration::from_secs(360);

pub(super) fn compare(context: &Context, peer: &str, from: Option<&str>) -> Outcome {
    if peer.is_empty() || !peer.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(Failure::usage(format!("{peer:?} is no peer id; copy one from: qasedak peers")));
    }
    from.map_or(Ok(()), check_block)?;
    let client = Client::connect(&context.paths, context.network.name())?;
    let query = from.map(|from| format!("?from={from}")).unwrap_or_default();
    let found: Comparison = client.get_within(&format!("/v1/compare/{peer}{query}"), TIMEOUT)?;
    context.output.show(&found, |found| text(context, found, from))?;
    if found.equal {
        Ok(())
    } else {
        Err(Failure::failed("the two sets differ; nodes that stay connected become equal by themselves"))
    }
}

fn text(context: &Context, found: &Comparison, from: Option<&str>) -> String {
    let closed = |block: Option<u64>| block.map_or("none yet".to_owned(), |number| number.to_string());
    let mut text = fields(&[
        ("peer", found.peer.clone()),
        ("transactions here", found.count_here.to_string()),
        ("transactions there", found.count_there.to_string()),
        ("signed as closed here, up to block", closed(found.closed_here)),
        ("signed as closed there, up to block", closed(found.closed_there)),
    ]);
    if found.equal {
        text.push_str(&context.output.good("equal: both hold the same transactions"));
        return text;
    }
    if found.blocks.is_empty() && found.beyond == 0 {
        let before = from.map(|from| format!(" or in blocks before {from}")).unwrap_or_default();
        text.push_str(&format!("different, but only in what is on its way between the two right now{before}\n"));
    }
    for block in &found.blocks {
        let start = Time::from_secs(block.number.saturating_mul(HOUR_SECS));
        text.push_str(&format!("block {} ({start})\n", block.number));
        text.push_str(&sides(context, block));
    }
    if found.beyond > 0 {
        text.push_str(&format!("{} more ids in further blocks\n", found.beyond));
    }
    if let Some(next) = found.next {
        text.push_str(&format!("for more: qasedak audit compare {} --from {next}\n", found.peer));
    }
    text
}

fn sides(context: &Context, block: &BlockDifference) -> String {
    let one = |what: &str, signer: &str, side: &Side| {
        if side.count == 0 {
            return String::new();
        }
        let late = if side.late {
            context.output.bad(&format!(" late: {signer} has signed this block as closed without them"))
        } else {
            String::new()
        };
        let ids: String = side.ids.iter().map(|id| format!("    {id}\n")).collect();
        let more = side.count.saturating_sub(side.ids.len() as u64);
        let more = if more > 0 { format!("    … and {more} more\n") } else { String::new() };
        format!("  {what}: {}{late}\n{ids}{more}", side.count)
    };
    one("only here", "the peer", &block.only_here) + &one("only there", "this node", &block.only_there)
}
