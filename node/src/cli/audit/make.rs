//! `audit prove` and `audit disclose`: files for others, made by the running node.

use std::{io::Write, path::Path};

use qasedak_chain::proof::CHECKPOINTS_MAX;
use serde::Serialize;

use super::out::{make_new, must_be_free};
use crate::{
    api::types::Made,
    cli::{Context, client::Client, commands::check_block, output::fields},
    failure::{Failure, Outcome},
};

/// What is printed of a file that was made.
#[derive(Debug, Serialize)]
struct Shown {
    file: String,
    transaction: String,
    /// Whether it proves that the transaction is, or is not, in the ledger.
    proven: bool,
    /// Checkpoints that this node keeps and that were not looked at.
    left_out: u64,
}

impl Shown {
    /// What the file could have cited beyond what is in it.
    fn left_out(&self) -> String {
        match self.left_out {
            0 => String::new(),
            count => format!(
                "left out: {count} more checkpoints that this node keeps; a file cites {CHECKPOINTS_MAX}, this node's own and \
                 the newest of its peers first\n"
            ),
        }
    }
}

fn checked_id(id: &str) -> Outcome<&str> {
    if id.len() == 64 && id.chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok(id);
    }
    Err(Failure::usage(format!("{id:?} is no transaction id: 64 hexadecimal digits; copy the whole of it")))
}

/// `block`: prove that the transaction is not in that one.
pub(super) fn prove(context: &Context, id: &str, block: Option<&str>, out: &Path) -> Outcome {
    let id = checked_id(id)?;
    let path = match block {
        None => format!("/v1/transactions/{id}/proof"),
        Some(block) => {
            check_block(block)?;
            format!("/v1/blocks/{block}/absence/{id}")
        }
    };
    let shown = make(context, id, &path, out)?;
    context.output.show(&shown, |shown| {
        let about = if block.is_some() { "proves the absence of" } else { "proves" };
        let mut text = fields(&[("file", shown.file.clone()), (about, shown.transaction.clone())]);
        text.push_str(&shown.left_out());
        text.push_str(&format!("to see by whose word: qasedak audit check {}\n", shown.file));
        text
    })
}

pub(super) fn disclose(context: &Context, message: &str, out: &Path) -> Outcome {
    let id = checked_id(message)?;
    let shown = make(context, id, &format!("/v1/transactions/{id}/disclosure"), out)?;
    context.output.show(&shown, |shown| {
        let ledger = if shown.proven {
            "yes"
        } else {
            "no: the transaction is not in a closed block of this node yet; disclose it again some hours later"
        };
        let mut text = fields(&[
            ("file", shown.file.clone()),
            ("opens", shown.transaction.clone()),
            ("proof inside", ledger.to_owned()),
        ]);
        text.push_str(&shown.left_out());
        text.push_str("whoever has this file can read this one message; nothing else of your wallet is in it\n");
        text
    })
}

/// Has the node make a file and writes it; it is there as a whole or not at all.
fn make(context: &Context, id: &str, path: &str, out: &Path) -> Outcome<Shown> {
    // Told before the work, and again when the file is made.
    must_be_free(out)?;
    let client = Client::connect(&context.paths, context.network.name())?;
    let made: Made = client.get(path)?;
    make_new(out, |file| file.write_all(made.file.as_bytes()).map_err(Failure::failed))?;
    Ok(Shown {
        file: out.display().to_string(),
        transaction: id.to_owned(),
        proven: made.proven,
        left_out: made.left_out,
    })
}
