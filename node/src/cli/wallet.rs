//! `wallet`: passphrase, export, import, scan keys and wipe, on the wallet's files while no node runs.

use std::{
    io::{BufRead, IsTerminal, Write},
    path::Path,
};

use qasedak_wallet::{KdfCost, Wallet};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    Context,
    args::{ScanKeyCommand, WalletCommand},
    fetch,
};
use crate::{
    failure::{Failure, Outcome},
    node::{now, rng},
    passphrase,
};

/// What these commands print.
#[derive(Serialize)]
struct Done {
    /// Which command.
    done: &'static str,
    address: Option<String>,
}

pub(super) fn execute(context: &Context, command: &WalletCommand) -> Outcome {
    let _lock = context.paths.take()?;
    match command {
        WalletCommand::Passphrase { new_passphrase_file } => change(context, new_passphrase_file.as_deref()),
        WalletCommand::Export { file, export_passphrase_file } => {
            export(context, file, export_passphrase_file.as_deref())
        }
        WalletCommand::Import { file, export_passphrase_file } => {
            import(context, file, export_passphrase_file.as_deref())
        }
        WalletCommand::ScanKey(ScanKeyCommand::Export { identity, out }) => export_scan_key(context, identity, out),
        WalletCommand::Fetch { file, from, all } => fetch::fetch(context, file, *from, *all),
        WalletCommand::Wipe { yes } => wipe(context, *yes),
    }
}

pub(super) fn open(context: &Context) -> Outcome<Wallet> {
    let secret = passphrase::existing(context.passphrase_file.as_deref())?;
    Wallet::open(&context.paths.wallet(), &context.network, &secret, now()).map_err(Failure::failed)
}

fn change(context: &Context, file: Option<&Path>) -> Outcome {
    let mut wallet = open(context)?;
    let new = passphrase::chosen(file, "New passphrase for this wallet: ")?;
    wallet.change_passphrase(&new, KdfCost::STANDARD, &mut rng()?).map_err(Failure::failed)?;
    show(
        context,
        "passphrase",
        Some(&wallet),
        "the passphrase is changed; copies made before still open with the old one",
    )
}

fn export(context: &Context, file: &Path, secret: Option<&Path>) -> Outcome {
    let wallet = open(context)?;
    let secret = passphrase::chosen(secret, "Passphrase for the export: ")?;
    wallet.export(file, &secret, KdfCost::STANDARD, &mut rng()?).map_err(Failure::failed)?;
    let text = format!(
        "exported to {}\nwhoever has this file and its passphrase reads all that this wallet reads today, also after the \
         messages have ended: destroy the file when you need it no more",
        file.display()
    );
    show(context, "export", Some(&wallet), &text)
}

fn export_scan_key(context: &Context, identity: &str, out: &Path) -> Outcome {
    let wallet = open(context)?;
    let identity = wallet.export_scan_key(identity, out, &mut rng()?).map_err(Failure::failed)?;
    let text = format!(
        "wrote the scan key of {address} to {file}

Whoever has this file can tell which transactions are for you: all that are in the ledger, and all that ever will be, how
large each is, and when it came. Who knows your address, too, can tell that it is yours.
They cannot open one, see who wrote it, write as you, or change one unseen. They can keep from you what they found.
THIS CANNOT BE TAKEN BACK: the scan key follows from your 24 words and stays the same. Only another identity has another one
(qasedak id --new NAME). Give the file only to a node that is your own, or whose owner may know this much.

there:  qasedak run --find-for {name}
here:   qasedak wallet fetch {file} --from ADDR:PORT",
        address = identity.address,
        file = out.display(),
        name = out.file_name().map_or_else(|| "FILE".into(), |name| name.to_string_lossy()),
    );
    let done = Done { done: "scan-key export", address: Some(identity.address.to_string()) };
    context.output.show(&done, |_| text)
}

fn import(context: &Context, file: &Path, secret: Option<&Path>) -> Outcome {
    let dir = context.paths.wallet();
    if Wallet::exists(&dir).map_err(Failure::failed)? {
        return Err(Failure::failed(format!(
            "there is a wallet in {} already, and an import never touches one; wipe it first (qasedak wallet wipe), or choose \
             another directory with --data",
            dir.display()
        )));
    }
    let secret = passphrase::of_file(secret, "Passphrase of the export: ")?;
    let new = passphrase::new(context.passphrase_file.as_deref())?;
    let made = Wallet::import(&dir, &context.network, file, &secret, &new, KdfCost::STANDARD, now(), &mut rng()?);
    let wallet = made.map_err(Failure::failed)?;
    let text = format!(
        "imported {}\ndo not run the old copy again: two copies of one wallet miss each other's keys",
        wallet.address()
    );
    show(context, "import", Some(&wallet), &text)
}

fn wipe(context: &Context, yes: bool) -> Outcome {
    let dir = context.paths.wallet();
    if !Wallet::exists(&dir).map_err(Failure::failed)? {
        return Err(Failure::failed(format!("there is no wallet in {}", dir.display())));
    }
    if !yes && !confirmed(std::io::stdin().lock(), std::io::stdin().is_terminal())? {
        return Err(Failure::failed("nothing was wiped"));
    }
    Wallet::wipe(&dir).map_err(Failure::failed)?;
    show(context, "wipe", None, "the wallet is destroyed; exports and copies of the directory are not")
}

/// Asks on the terminal. Nothing but the whole word, in capitals, is a yes.
fn confirmed(mut input: impl BufRead, is_terminal: bool) -> Outcome<bool> {
    if !is_terminal {
        return Err(Failure::usage("wiping asks first and there is no terminal to ask on; say --yes if you mean it"));
    }
    let mut out = std::io::stdout();
    let question = "This destroys all keys, contacts and messages on this computer. The 24 words give back the address, and \
                    nothing else. Type WIPE to go on: ";
    let asked = write!(out, "{question}").and_then(|()| out.flush());
    asked.map_err(|error| Failure::failed(format!("cannot ask: {error}")))?;
    let mut answer = Zeroizing::new(String::new());
    input.read_line(&mut answer).map_err(|error| Failure::failed(format!("cannot read the answer: {error}")))?;
    Ok(answer.trim() == "WIPE")
}

fn show(context: &Context, done: &'static str, wallet: Option<&Wallet>, text: &str) -> Outcome {
    let done = Done { done, address: wallet.map(|wallet| wallet.address().to_string()) };
    context.output.show(&done, |_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wiping_takes_the_whole_word_on_a_terminal() {
        for (answer, yes) in
            [("WIPE\n", true), ("WIPE", true), ("wipe\n", false), ("y\n", false), ("\n", false), ("", false)]
        {
            assert_eq!(confirmed(answer.as_bytes(), true).unwrap(), yes, "{answer:?}");
        }
        assert_eq!(confirmed("WIPE\n".as_bytes(), false).unwrap_err().code(), 2);
        assert!(confirmed([0xff, b'\n'].as_slice(), true).is_err());
    }
}
