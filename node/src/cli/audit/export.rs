//! `audit export`: the ledger as JSON Lines, from its files alone, with or without a running node.

use std::{
    io::{self, BufWriter, ErrorKind},
    path::Path,
};

use qasedak_chain::audit::{self, ExportError, Exported, Finding};
use serde::Serialize;

use super::{ledger_dir, out::make_new};
use crate::{
    cli::{Context, notice, output::fields},
    failure::{Failure, Outcome},
};

/// Bytes that are written in one go.
const BUFFER_BYTES: usize = 256 * 1024;

/// What `audit export -o FILE --json` prints.
#[derive(Debug, Serialize)]
struct Shown {
    file: String,
    transactions: u64,
    bodies: u64,
    damaged: u64,
}

pub(super) fn export(context: &Context, out: Option<&Path>) -> Outcome {
    let dir = ledger_dir(context)?;
    let mut tell = |found: &Finding| notice(&format!("damaged: {found}"));
    let exported = match out {
        None => {
            let mut out = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
            match audit::export(&dir, &context.network, &mut out, &mut tell) {
                // Whoever reads has enough, as `head` does; a cut export shows by its missing last line.
                Err(ExportError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => {
                    // What is left in the buffer has no reader.
                    drop(out.into_parts());
                    return Ok(());
                }
                exported => exported.map_err(Failure::failed)?,
            }
        }
        Some(path) => {
            let exported = make_new(path, |file| {
                let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
                let exported = audit::export(&dir, &context.network, &mut out, &mut tell).map_err(Failure::failed);
                // What is left in the buffer of an export that broke off goes nowhere.
                drop(out.into_parts());
                exported
            })?;
            show(context, path, &exported)?;
            exported
        }
    };
    if exported.damaged == 0 {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "the ledger is damaged in {} places, which the export tells in their places; all else is in it; run \
         `qasedak audit verify` to see all damage",
        exported.damaged
    )))
}

fn show(context: &Context, path: &Path, exported: &Exported) -> Outcome {
    let Exported { transactions, bodies, damaged } = *exported;
    let shown = Shown { file: path.display().to_string(), transactions, bodies, damaged };
    context.output.show(&shown, |shown| {
        fields(&[
            ("file", shown.file.clone()),
            ("transactions", shown.transactions.to_string()),
            ("bodies", shown.bodies.to_string()),
        ])
    })
}
