//! `audit …`: checking, exporting and proving what is in the ledger.

use std::{
    fs::{File, OpenOptions},
    io::ErrorKind,
    path::Path,
};

use super::{Context, args::AuditCommand};
use crate::failure::{Failure, Outcome, io_failure};

mod check;
mod compare;
mod export;
mod log;
mod make;
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

/// Makes a new file, readable by its owner only; one that is there already is never touched.
fn create(path: &Path) -> Outcome<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::failed(format!(
            "{} exists already and is not overwritten; give another name with -o, or remove it",
            path.display()
        )),
        _ => io_failure("cannot write", path)(error),
    })
}
