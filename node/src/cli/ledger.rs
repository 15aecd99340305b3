//! `ledger check`, `ledger rebuild-index` and `ledger repair`: upkeep of the ledger's files by hand, while no node runs.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use qasedak_chain::{
    Ledger, audit,
    ledger::IndexCheck,
    repair,
    store::{StoreError, disk::DiskStore},
};
use serde::Serialize;

use super::{Context, args::LedgerCommand};
use crate::{
    failure::{Failure, Outcome},
    node::{DiskLedger, now, random},
};

/// Progress is shown once the work takes longer than this, and as often.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Verdict {
    /// Whether the index follows from the log.
    agrees: bool,
    /// Transactions in the log.
    transactions: u64,
    /// The first contradiction, if there is one.
    contradiction: Option<String>,
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
    let store = DiskStore::open(&dir, &context.network, random()?).map_err(Failure::failed)?;
    let ledger = match command {
        LedgerCommand::RebuildIndex => rebuild(context, store).map_err(Failure::failed)?,
        _ => Ledger::open(context.network.clone(), store).map_err(Failure::failed)?,
    };
    check(context, &ledger)
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
    let report = audit::verify(&dir, &context.network, now(), &mut |_| {}).map_err(Failure::failed)?;
    if report.is_clean() {
        let mended = Mended { repaired: false, transactions: report.count, waiting: 0, set_aside: None };
        return context.output.show(&mended, |mended| {
            format!("the ledger is intact, so nothing was done: {} transactions", mended.transactions)
        });
    }
    let repaired = repair::repair(&dir, &context.network, random()?, now(), &mut |_| {}).map_err(Failure::failed)?;
    let mended = Mended {
        repaired: true,
        transactions: repaired.saved,
        waiting: repaired.waiting,
        set_aside: Some(repaired.set_aside.display().to_string()),
    };
    context.output.show(&mended, |_| format!("{repaired}; start the node to fetch it: qasedak run"))
}

fn rebuild(context: &Context, store: DiskStore) -> Result<DiskLedger, StoreError> {
    let mut ledger = Ledger::rebuild_index(context.network.clone(), store)?;
    ledger.flush_now(now())?;
    Ok(ledger)
}

fn check(context: &Context, ledger: &DiskLedger) -> Outcome {
    let total = ledger.summary().count;
    let mut told = Instant::now();
    let show = std::io::stderr().is_terminal();
    let found = ledger.check_index(&mut |count| {
        if show && told.elapsed() >= PROGRESS_EVERY {
            told = Instant::now();
            super::notice(&format!("compared {count} of {total} transactions"));
        }
    });
    let contradiction = match found.map_err(Failure::failed)? {
        IndexCheck::Agrees => None,
        IndexCheck::Contradicts(what) => Some(what),
    };
    let verdict = Verdict { agrees: contradiction.is_none(), transactions: total, contradiction };
    context.output.show(&verdict, |verdict| match &verdict.contradiction {
        None => format!("the index agrees with the log: {} transactions", verdict.transactions),
        Some(what) => format!("{} {what}", context.output.bad("contradicts the log:")),
    })?;
    if verdict.agrees {
        Ok(())
    } else {
        Err(Failure::failed("the index does not follow from the log; make it anew with: qasedak ledger rebuild-index"))
    }
}
