//! `audit verify`: checks the whole ledger from its files, with or without a running node.

use std::time::Duration;

use qasedak_chain::{
    Time,
    audit::{Remedy, Report},
};
use serde::Serialize;

use super::{audited, ledger_dir};
use crate::{
    cli::{
        Context,
        output::fields,
        progress::{Bar, rate},
    },
    failure::{Failure, Outcome},
};

/// What `audit verify --json` prints.
#[derive(Debug, Serialize)]
struct Verdict {
    /// Whether nothing was found.
    intact: bool,
    /// Transactions that were checked.
    transactions: u64,
    /// The link after the last of them.
    link: String,
    /// Merkle root over the ids in log order.
    root: String,
    /// Digest of the set.
    digest: String,
    /// How many blocks they make.
    blocks: u64,
    /// Chain value of the last of these.
    chain: Option<String>,
    /// Bodies that are here.
    bodies: u64,
    /// Of these, those whose day has come: kept by an archive, or to be dropped soon.
    bodies_past_their_day: u64,
    /// Bodies that can no longer be shown, since their day has come.
    bodies_expired: u64,
    /// Bodies that can no longer be shown here, since they were dropped early to keep to the disk budget.
    bodies_dropped_early: u64,
    /// Bodies that never came.
    bodies_never_came: u64,
    /// Own checkpoints of this log that were compared with it.
    own_checkpoints: u64,
    /// How many transactions the newest of these states.
    own_transactions: Option<u64>,
    /// When it was signed, by this node's clock.
    own_time: Option<u64>,
    /// Own checkpoints of other logs: those before a repair, or before a new peer key.
    own_of_other_logs: u64,
    /// What is wrong, one sentence each; at most the first 1,000.
    findings: Vec<String>,
    /// How many findings there are in all.
    findings_total: u64,
    /// How long it took.
    seconds: f64,
    /// Transactions that were checked in a second.
    transactions_per_second: u64,
}

pub(super) fn verify(context: &Context) -> Outcome {
    ledger_dir(context)?;
    let mut bar = Bar::start(context.output.is_json());
    let report = audited(context, &mut |at| bar.update(at.checked, at.total));
    let elapsed = bar.elapsed();
    drop(bar);
    let report = report?;
    let verdict = verdict(&report, elapsed);
    context.output.show(&verdict, |verdict| text(context, verdict))?;
    match report.remedy {
        None => Ok(()),
        Some(remedy) => {
            let places = report.findings_total;
            Err(Failure::failed(format!("not as it was written, in {places} places: {}", advice(remedy))))
        }
    }
}

/// What to do about damage.
pub(in crate::cli) fn advice(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::Derive => {
            "in files that follow from the log alone; nothing is lost, and the node makes them anew: look after the disk"
        }
        Remedy::Fetch => {
            "in bodies; headers and proofs hold, and a running node fetches them again from peers while their lifetimes \
             last: look after the disk"
        }
        Remedy::Repair => {
            "in the log; stop the node and make a new log from what is whole, with: qasedak ledger repair; the old one is \
             kept, and peers send the rest"
        }
    }
}

fn verdict(report: &Report, elapsed: Duration) -> Verdict {
    let own = report.own_word;
    Verdict {
        intact: report.findings.is_empty(),
        transactions: report.count,
        link: report.link.to_string(),
        root: report.root.to_string(),
        digest: report.digest.to_string(),
        blocks: report.blocks,
        chain: report.newest_block.map(|block| block.chain.to_string()),
        bodies: report.bodies.present,
        bodies_past_their_day: report.bodies.past_their_day,
        bodies_expired: report.bodies.expired,
        bodies_dropped_early: report.bodies.dropped_early,
        bodies_never_came: report.bodies.never_came,
        own_checkpoints: own.compared,
        own_transactions: own.newest.map(|(count, _)| count),
        own_time: own.newest.map(|(_, time)| time.secs()),
        own_of_other_logs: own.of_other_logs,
        findings: report.findings.iter().map(ToString::to_string).collect(),
        findings_total: report.findings_total,
        seconds: elapsed.as_secs_f64(),
        transactions_per_second: rate(report.count, elapsed),
    }
}

/// What the node's own checkpoints say.
fn own_word(verdict: &Verdict) -> String {
    match (verdict.own_transactions, verdict.own_time, verdict.own_of_other_logs) {
        (Some(count), Some(secs), _) => format!(
            "{} own checkpoints compared, the newest over {count} transactions at {}",
            verdict.own_checkpoints,
            Time::from_secs(secs)
        ),
        (_, _, 0) => "this node has signed no checkpoint yet that this log could be compared with".to_owned(),
        (_, _, others) => {
            format!("none of this log; {others} own checkpoints of others, from before a repair or a new key")
        }
    }
}

fn text(context: &Context, verdict: &Verdict) -> String {
    let mut rows = vec![("transactions", verdict.transactions.to_string()), ("bodies", verdict.bodies.to_string())];
    let counts = [
        ("past their day", verdict.bodies_past_their_day, "of these, kept by an archive or to be dropped soon"),
        ("expired", verdict.bodies_expired, "can no longer be shown: their day has come"),
        (
            "dropped early",
            verdict.bodies_dropped_early,
            "can no longer be shown here: dropped to keep to the disk budget",
        ),
        ("never came", verdict.bodies_never_came, "cannot be shown: taken in as headers alone"),
    ];
    let counts = counts.into_iter().filter(|(_, count, _)| *count > 0);
    rows.extend(counts.map(|(name, count, what)| (name, format!("{count} {what}"))));
    rows.extend([
        ("blocks", verdict.blocks.to_string()),
        ("digest", verdict.digest.clone()),
        ("root", verdict.root.clone()),
        ("link", verdict.link.clone()),
        ("chain", verdict.chain.clone().unwrap_or_else(|| "none".to_owned())),
        ("own word", own_word(verdict)),
        ("took", format!("{:.1} s, {} transactions a second", verdict.seconds, verdict.transactions_per_second)),
    ]);
    let mut text = fields(&rows);
    text.extend(verdict.findings.iter().map(|finding| format!("{} {finding}\n", context.output.bad("damaged:"))));
    if verdict.intact {
        text.push_str(
            &context.output.good("intact: encodings, stamps, signatures, parents, links and bodies all check"),
        );
    }
    text
}
