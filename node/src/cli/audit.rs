//! `audit …`: checking, exporting and proving what is in the ledger.

use super::{Context, args::AuditCommand};
use crate::failure::{Failure, Outcome};

mod check;
mod compare;
mod export;
mod log;
mod make;
mod out;
mod verify;

pub(super) use check::check;

pub(super) fn execute(context: &Context, command: &AuditCommand) -> Outcome {
    match command {
        AuditCommand::Verify => verify::verify(context),
        AuditCommand::Log => log::log(context),
        AuditCommand::Compare { peer } => compare::compare(context, peer),
        AuditCommand::Export { out } => export::export(context, out.as_deref()),
        AuditCommand::Prove { id, block, out, .. } => make::prove(context, id, block.as_deref(), out),
        AuditCommand::Disclose { message, out } => make::disclose(context, message, out),
        AuditCommand::Check { file } => check(context.output, file),
    }
}

/// The ledger's directory, if there is one.
fn ledger_dir(context: &Context) -> Outcome<std::path::PathBuf> {
    let dir = context.paths.ledger();
    if dir.is_dir() {
        return Ok(dir);
    }
    Err(Failure::failed(format!(
        "there is no ledger in {}; check --data and --network, or make one with: qasedak run",
        dir.display()
    )))
}
