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
    match given(file)? {
        Some(passphrase) => not_empty(passphrase),
        None => chosen(None, "New passphrase for this wallet: "),
    }
}

/// Another new passphrase than the one that file and environment give for the wallet: from its own file, else asked for
/// twice.
///
/// # Errors
/// [`Failure`] when no source has one, it is empty, or the two differ.
pub fn chosen(file: Option<&Path>, question: &str) -> Outcome<Zeroizing<String>> {
    if let Some(path) = file {
        return not_empty(first_line(path)?);
    }
    let first = prompt(question)?;
    if *prompt("The same again: ")? != *first {
        return Err(Failure::failed("the two passphrases differ; nothing was done, run the command again"));
    }
    not_empty(first)
}

/// The passphrase of a file that was made elsewhere: from its own file, else asked for.
///
/// # Errors
/// [`Failure`] when no source has one.
pub fn of_file(file: Option<&Path>, question: &str) -> Outcome<Zeroizing<String>> {
    file.map_or_else(|| prompt(question), first_line)
}

fn not_empty(passphrase: Zeroizing<String>) -> Outcome<Zeroizing<String>> {
    if passphrase.is_empty() {
        return Err(Failure::failed(
            "an empty passphrase protects nothing; choose one that you can remember and others cannot guess",
        ));
    }
    Ok(passphrase)
}

fn first_line(path: &Path) -> Outcome<Zeroizing<String>> {
    let text = Zeroizing::new(read_small(path).map_err(io_failure("cannot read the passphrase file", path))?);
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

fn given(file: Option<&Path>) -> Outcome<Option<Zeroizing<String>>> {
    if let Some(path) = file {
        return first_line(path).map(Some);
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
