//! Where a passphrase comes from: `--passphrase-file`, else `QASEDAK_PASSPHRASE`, else a prompt.

use std::{io::IsTerminal, path::Path};

use zeroize::Zeroizing;

use crate::{
    failure::{Failure, Outcome, io_failure},
    paths::read_small,
};

/// Environment variable that may hold the passphrase.
pub const VARIABLE: &str = "QASEDAK_PASSPHRASE";

/// A passphrase for an existing wallet.
///
/// # Errors
/// [`Failure`] when no source has one.
pub fn existing(file: Option<&Path>) -> Outcome<Zeroizing<String>> {
    match given(file)? {
        Some(passphrase) => Ok(passphrase),
        None => prompt("Passphrase: "),
    }
}

/// A passphrase for a new wallet, asked for twice.
///
/// # Errors
/// [`Failure`] when no source has one, it is empty, or the two differ.
pub fn new(file: Option<&Path>) -> Outcome<Zeroizing<String>> {
    let passphrase = match given(file)? {
        Some(passphrase) => passphrase,
        None => {
            let first = prompt("New passphrase for this wallet: ")?;
            if *prompt("The same again: ")? != *first {
                return Err(Failure::failed("the two passphrases differ; nothing was made, run the command again"));
            }
            first
        }
    };
    if passphrase.is_empty() {
        return Err(Failure::failed(
            "an empty passphrase protects nothing; choose one that you can remember and others cannot guess",
        ));
    }
    Ok(passphrase)
}

fn given(file: Option<&Path>) -> Outcome<Option<Zeroizing<String>>> {
    if let Some(path) = file {
        let text = Zeroizing::new(read_small(path).map_err(io_failure("cannot read the passphrase file", path))?);
        return Ok(Some(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())));
    }
    Ok(std::env::var(VARIABLE).ok().map(Zeroizing::new))
}

fn prompt(question: &str) -> Outcome<Zeroizing<String>> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "a passphrase is needed and there is no terminal to ask on; set {VARIABLE} or give --passphrase-file FILE"
        )));
    }
    rpassword::prompt_password(question)
        .map(Zeroizing::new)
        .map_err(|error| Failure::failed(format!("cannot read the passphrase: {error}; try --passphrase-file FILE")))
}
