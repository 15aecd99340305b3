//! `ledger check` and `ledger rebuild-index`: upkeep of the ledger's files by hand, while no node runs.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use qasedak_chain::{
    Ledger,
    ledger::IndexCheck,
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
    if !dir.is_dir() {
        return Err(Failure::failed(format!("there is no ledger in {}; check --data and --network", dir.display())));
    }
    let _lock = context.paths.take()?;
    let store = DiskStore::open(&dir, &context.network, random()?).map_err(Failure::failed)?;
    let ledger = match command {
        LedgerCommand::Check => Ledger::open(context.network.clone(), store).map_err(Failure::failed)?,
        LedgerCommand::RebuildIndex => rebuild(context, store).map_err(Failure::failed)?,
    };
    check(context, &ledger)
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
