//! `ledger check`, `ledger rebuild-index` and `ledger repair`: upkeep of the ledger's files by hand, while no node runs.

use qasedak_chain::{
    Ledger,
    audit::Remedy,
    ledger::IndexCheck,
    repair,
    store::{
        StoreError,
        disk::{DiskOptions, DiskStore, Notice},
    },
};
use serde::Serialize;

use super::{
    Context,
    args::LedgerCommand,
    audit::{advice, audited},
    progress::Bar,
};
use crate::{
    failure::{Failure, Outcome},
    node::{DiskLedger, now, random},
};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Verdict {
    /// Whether the index follows from the log.
    agrees: bool,
    /// Transactions in the log.
    transactions: u64,
    /// The first contradiction, if there is one.
    contradiction: Option<String>,
    /// Whether bytes were not what was written. All of it was made anew from the log.
    damaged: bool,
    /// What was not as it was left, and what was done about it, one sentence each.
    notices: Vec<String>,
}

pub(super) fn execute(context: &Context, command: &LedgerCommand) -> Outcome {
    let dir = context.paths.ledger();
    let nothing = || Failure::failed(format!("there is no ledger in {}; check --data and --network", dir.display()));
    if !context.paths.network_dir().is_dir() {
        return Err(nothing());
    }
    let _lock = context.paths.take()?;
    repair::finish(&dir).map_err(Failure::failed)?;
    if !dir.is_dir() {
        return Err(nothing());
    }
    if matches!(command, LedgerCommand::Repair) {
        return mend(context);
    }
    let ledger = open(context, command, random()?).map_err(Failure::failed)?;
    check(context, &ledger, command)
}

/// What `ledger repair --json` prints.
#[derive(Debug, Serialize)]
struct Mended {
    /// Whether there was damage, so that a new log was made.
    repaired: bool,
    /// Transactions that the log has now.
    transactions: u64,
    /// Transactions that could be read, and wait for what peers must send.
    waiting: u64,
    /// Where the damaged log is kept.
    set_aside: Option<String>,
}

fn mend(context: &Context) -> Outcome {
    let dir = context.paths.ledger();
    let mut bar = Bar::start(context.output.is_json());
    let report = audited(context, &mut |at| bar.update(at.checked, at.total));
    drop(bar);
    let report = report?;
    if report.remedy != Some(Remedy::Repair) {
        let mended = Mended { repaired: false, transactions: report.count, waiting: 0, set_aside: None };
        let beside = report.remedy.map(|remedy| {
            format!("; {} places are not as they were written, {}", report.findings_total, advice(remedy))
        });
        return context.output.show(&mended, |mended| {
            let count = mended.transactions;
            format!("the log is intact, so nothing was done: {count} transactions{}", beside.unwrap_or_default())
        });
    }
    let mut bar = Bar::start(context.output.is_json());
    let repaired =
        repair::repair(&dir, &context.network, random()?, now(), &mut |saved| bar.update(saved, report.count));
    drop(bar);
    let repaired = repaired.map_err(Failure::failed)?;
    let mended = Mended {
        repaired: true,
        transactions: repaired.saved,
        waiting: repaired.waiting,
        set_aside: Some(repaired.set_aside.display().to_string()),
    };
    context.output.show(&mended, |_| format!("{repaired}; start the node to fetch it: qasedak run"))
}

/// Opens the ledger, with its index set aside and derived anew if that is asked for.
fn open(context: &Context, command: &LedgerCommand, log_id: [u8; 16]) -> Result<DiskLedger, StoreError> {
    let dir = context.paths.ledger();
    let mut bar = Bar::start(context.output.is_json());
    let mut progress = |done, total| bar.update(done, total);
    let store = DiskStore::open_with(&dir, &context.network, log_id, DiskOptions::default(), &mut progress)?;
    if !matches!(command, LedgerCommand::RebuildIndex) {
        return Ledger::open_with(context.network.clone(), store, &mut progress);
    }
    let mut ledger = Ledger::rebuild_index_with(context.network.clone(), store, &mut progress)?;
    ledger.flush_now(now())?;
    Ok(ledger)
}

fn check(context: &Context, ledger: &DiskLedger, command: &LedgerCommand) -> Outcome {
    let total = ledger.summary().count;
    let mut bar = Bar::start(context.output.is_json());
    // Once in log order, once in canonical order.
    let steps = total.saturating_mul(2);
    let found = ledger.check_index(&mut |done| bar.update(done, steps));
    drop(bar);
    let contradiction = match found.map_err(Failure::failed)? {
        IndexCheck::Agrees => None,
        IndexCheck::Contradicts(what) => Some(what),
    };
    // Opening mends what follows from the log: what it had to mend is part of the answer.
    let found = ledger.store().notices();
    let verdict = Verdict {
        agrees: contradiction.is_none(),
        transactions: total,
        contradiction,
        damaged: found.iter().any(Notice::is_damage),
        notices: found.iter().map(Notice::to_string).collect(),
    };
    context.output.show(&verdict, |verdict| {
        let now = match &verdict.contradiction {
            None => format!("the index agrees with the log: {} transactions", verdict.transactions),
            Some(what) => format!("{} {what}", context.output.bad("contradicts the log:")),
        };
        verdict.notices.iter().map(|notice| format!("{notice}\n")).chain([now]).collect()
    })?;
    if !verdict.agrees {
        let advice = "the index does not follow from the log; make it anew with: qasedak ledger rebuild-index";
        return Err(Failure::failed(advice));
    }
    if verdict.damaged && matches!(command, LedgerCommand::Check) {
        let advice = "files were not as they were left, and were made anew from the log, as said above; look after the \
                      disk, and check what cannot be made anew with: qasedak audit verify";
        return Err(Failure::failed(advice));
    }
    Ok(())
}
