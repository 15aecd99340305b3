//! `audit …`: checking, exporting and proving what is in the ledger.

use qasedak_chain::{
    audit::{self, Progress, Report},
    store::disk::DiskCheckpoints,
};

use super::{Context, args::AuditCommand};
use crate::{
    failure::{Failure, Outcome},
    node::now,
};

mod check;
mod compare;
mod export;
mod log;
mod make;
mod out;
mod verify;

pub(super) use check::check;
pub(super) use verify::advice;

pub(super) fn execute(context: &Context, command: &AuditCommand) -> Outcome {
    match command {
        AuditCommand::Verify => verify::verify(context),
        AuditCommand::Log { all } => log::log(context, *all),
        AuditCommand::Compare { peer, from } => compare::compare(context, peer, from.as_deref()),
        AuditCommand::Export { out } => export::export(context, out.as_deref()),
        AuditCommand::Prove { id, block, out, .. } => make::prove(context, id, block.as_deref(), out),
        AuditCommand::Disclose { message, out } => make::disclose(context, message, out),
        AuditCommand::Check { file } => check(context.output, file),
    }
}

/// Checks the ledger, and that it is what its node has signed in the checkpoints beside it.
pub(super) fn audited(context: &Context, progress: &mut dyn FnMut(Progress)) -> Outcome<Report> {
    // Read first, so that a node that goes on never states more than is found.
    let book = DiskCheckpoints::read(&context.paths.checkpoints(), &context.network).map_err(Failure::failed)?;
    let own: Vec<_> = book.own_ones().map(|kept| kept.checkpoint).collect();
    audit::verify_against(&context.paths.ledger(), &context.network, &own, now(), progress).map_err(Failure::failed)
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
